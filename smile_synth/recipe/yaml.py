"""YAML as recipes use it: plain values, every key once, and errors that name the line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from smile_synth.errors import RecipeError
from smile_synth.params import DEEPEST_NESTING, shown

# Far above any recipe, and read within a second or two.
LARGEST_FILE_NBYTES = 256 * 2**10
MOST_VALUES = 50_000
MOST_DIGITS = 40

_TAG = "tag:yaml.org,2002:"
# Dates would be no plain values, "1:30" would be the number 90, and "=" has no meaning at all: they all stay text.
_UNUSED = {_TAG + name for name in ("timestamp", "int", "float", "value")}
_INTEGER = re.compile(
    r"[-+]?(?:0|[1-9][0-9_]*|0b_*[01][01_]*|0o_*[0-7][0-7_]*|0x_*[0-9a-fA-F][0-9a-fA-F_]*)$",
)
# As in YAML 1.2, 1e-3 is a number; in YAML 1.1, which PyYAML implements, it would be text.
_FLOAT = re.compile(
    r"[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$",
)


class _Refused(Exception):  # noqa: N818 - it never leaves this module
    """Valid YAML that has no place in a recipe, and its line."""

    def __init__(self, what: str, at: yaml.Event | yaml.Node) -> None:
        super().__init__(what)
        self.line = 1 + (at.start_mark.line if at.start_mark else 0)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2, without tags and without endless nesting."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if self._depth > DEEPEST_NESTING:
            raise _Refused(f"values are nested deeper than {DEEPEST_NESTING} levels", event)
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise _Refused(f"tags such as {shown(tag.replace(_TAG, '!!'))} are not allowed; leave it out", event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _UNUSED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_TAG + "int", _INTEGER, list("-+0123456789"))
_Loader.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+.0123456789"))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a recipe's file.

    Args:
        path: a regular file of at most ``LARGEST_FILE_NBYTES``.

    Returns:
        Keys and values as written; an empty file has none.

    Raises:
        RecipeError: it cannot be read, is too large, is not YAML, or holds something else than keys and values.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_NBYTES + 1)
    except OSError as error:
        raise RecipeError(f"recipe {path} cannot be read: {error.strerror}") from None
    if len(content) > LARGEST_FILE_NBYTES:
        raise RecipeError(f"recipe {path} is larger than {LARGEST_FILE_NBYTES // 2**10} KiB; is it a recipe?")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"recipe {path} is not text in UTF-8 (byte {error.start}); is it a recipe?") from None
    values = parse_yaml(text, where=f"recipe {path}")
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise RecipeError(f"recipe {path} must hold keys and values, got {type(values).__name__}")
    return values


def parse_yaml(text: str, *, where: str) -> Any:
    """Return the values of a YAML document: numbers, strings, booleans, null, lists and mappings with string keys.

    Args:
        text: one document.
        where: what to call the text in an error.

    Raises:
        RecipeError: it is not valid YAML, a key is repeated or no string, or it has a tag, a number of more than
            ``MOST_DIGITS`` digits, deep nesting, or aliases that stand for very many values.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _check(root)
        return loader.construct_document(root)
    except _Refused as error:
        raise RecipeError(f"{where}, line {error.line}: {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        advice = "; indent with spaces, not tabs" if "'\\t'" in str(error.problem) else ""
        raise RecipeError(f"{where} is not valid YAML: {error.problem or error.context}{place}{advice}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from None


def _check(root: yaml.Node) -> None:
    """Walk over all values, those behind aliases as often as they are named, and refuse what has no place."""
    rest, count = [(root, "", 0)], 0
    while rest:
        node, path, depth = rest.pop()
        count += 1
        if count > MOST_VALUES:
            raise _Refused(f"its aliases stand for more than {MOST_VALUES:,} values", node)
        if depth > DEEPEST_NESTING:
            raise _Refused("an alias refers to a value that contains it", node)
        if isinstance(node, yaml.ScalarNode) and not _is_text(node.value):
            raise _Refused(f"{path or 'the value'} holds half of a surrogate pair, which is no character", node)
        if node.tag == _TAG + "int" and len(node.value) > MOST_DIGITS:
            raise _Refused(f"{path or 'the value'} is a number of {len(node.value):,} digits", node)
        rest += reversed([(inner, where, depth + 1) for inner, where in _inside(node, path)])


def _inside(node: yaml.Node, path: str) -> Iterator[tuple[yaml.Node, str]]:
    """Yield the values inside a list or mapping, and where each stands; check the keys of a mapping."""
    if isinstance(node, yaml.SequenceNode):
        for place, item in enumerate(node.value):
            yield item, f"{path}.{place}".lstrip(".")
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            if key.tag not in (_TAG + "str", _TAG + "merge"):
                said = f"got {key.tag.removeprefix(_TAG)}"
                said += f" {shown(key.value)}; write it in quotes" if isinstance(key, yaml.ScalarNode) else ""
                raise _Refused(f"a key must be a string, {said}", key)
            if not _is_text(key.value):
                raise _Refused("a key must be a string, got half a surrogate pair", key)
            where = f"{path}.{key.value}".lstrip(".")
            if key.value in lines:
                raise _Refused(f"key {shown(where)} is repeated; it first stands in line {lines[key.value]}", key)
            lines[key.value] = key.start_mark.line + 1
            yield value, where


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True

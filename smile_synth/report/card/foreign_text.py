"""Texts that somebody else chose, on a page that is published: they say what they say and do nothing else."""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import yaml

from smile_synth.errors import printable

# What Markdown, or the HTML inside it, could take for its own; a backslash makes each of them plain.
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#|~&$@]|:(?=//)|(?<=www)\.)")
_LOCAL = re.compile(r"(?:file:/*)?(?:/|~[\w.-]*[/\\]|\.\.?[/\\]|[A-Za-z]:[/\\]|\\\\)")
# Inside a longer text, a path ends at a space; "https://" and "and/or" are none.
_LOCAL_INSIDE = re.compile(r"(?<![\w:/\\.~])(?:file:/*)?(?:/|~/|[A-Za-z]:[/\\])(?:[^/\\\s'\":|,;]+[/\\])+")


def markdown(text: str) -> str:
    """Return a text for one line of Markdown or one cell of a table: no markup, link, HTML or new line comes of it."""
    return _MARKDOWN.sub(r"\\\1", printable(" ".join(without_paths(text).split())))


def markdown_code(text: str) -> str:
    """Return a text as code inside a line or a cell; backticks and pipes, which would end either, are replaced."""
    return f"`{printable(without_paths(text)).replace('`', chr(39)).replace('|', '/')}`"


def fence(text: str) -> str:
    """Return the backticks around a block of code, more of them than any line of ``text`` has."""
    return "`" * (1 + max((len(run) for run in re.findall(r"`+", text)), default=2))


def without_paths(text: str) -> str:
    """Return a text in which every absolute path is cut to its last part."""
    if _LOCAL.match(text) and "\n" not in text:
        plain = text.removeprefix("file:")
        name = PureWindowsPath(plain).name if "\\" in plain else PurePosixPath(plain).name
        return "" if name == ".." else name
    return _LOCAL_INSIDE.sub("", text)


def publishable(value: Any) -> Any:
    """Return plain values with every local path in their texts and keys cut to its last part."""
    if isinstance(value, str):
        return without_paths(value)
    if isinstance(value, dict):
        return {without_paths(str(key)): publishable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [publishable(inner) for inner in value]
    return value


def yaml_text(values: Any) -> str:
    """Return plain values as YAML that can be published."""
    values = publishable(values)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=10_000).strip()
    return text if _is_plain(text) else yaml.safe_dump(values, sort_keys=False, width=10_000).strip()


def json_text(values: Any) -> str:
    """Return plain values as JSON that can be published."""
    values = publishable(values)
    text = json.dumps(values, indent=1, ensure_ascii=False)
    return text if _is_plain(text) else json.dumps(values, indent=1)


def _is_plain(text: str) -> bool:
    return all(printable(line) == line for line in text.split("\n"))

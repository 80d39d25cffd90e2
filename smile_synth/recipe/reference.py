"""docs/recipes.md: every key of a recipe, as tables made from the schema."""

from __future__ import annotations

from smile_synth.recipe.keys import NAME, PLACE, Key, keys_of
from smile_synth.recipe.recipe import EXTENDS, Recipe

INTRODUCTION = """\
# Recipes

One YAML file decides every result: what is rendered, how a student is trained, what it is asked. Each key is checked:
an unknown one is refused with the nearest that exists, and a key without effect is refused too. This page is made from
the schema by `smile-synth recipes explain --markdown > docs/recipes.md`.

```console
$ smile-synth recipes explain pretrain.optimizer.learning_rate    # one key: type, range, unit, default, meaning
$ smile-synth recipes explain pretrain.optimizer                  # a section and its keys
$ smile-synth recipes explain shapes                              # the parameters of a generator
$ smile-synth recipes show demo --resolved                        # every value, and which recipe wrote it
$ smile-synth recipes check mine.yaml                             # sections against each other, images, disk space
$ smile-synth recipes schema > recipe.schema.json                 # for editors: completion and checks while you type
```

An editor with a YAML language server takes the schema from a first line
`# yaml-language-server: $schema=recipe.schema.json`.

`extends` names another recipe whose values hold where this one has none. Mappings are merged key by key, lists are
replaced whole, and another `generator` drops the inherited `params`, which belong to the generator of before.
`--set key.sub=value` changes one value on the command line and is read as YAML. Relative paths start from the recipe's
folder.

"""


def reference_page() -> str:
    """Return the page as Markdown, the same for the same schema."""
    keys = list(keys_of(Recipe))
    repeated = _repeated(keys)
    sections = ["## The whole file\n", *_table([EXTENDS, *_inside(keys, "")])]
    written: dict[type, str] = {}
    for key in keys:
        path = _path(key)
        if key.model is None or any(path.startswith(f"{other}.") for other in repeated):
            continue
        sections.append(f"\n## {path}\n\n{_sentence(key)}")
        if key.model in written:
            first = written[key.model]
            sections.append(f"\nIts keys are those of [`{first}`](#{_anchor(first)}).")
        else:
            written[key.model] = path
            sections += ["", *_table(_inside(keys, path))]
    return INTRODUCTION + "\n".join(sections) + "\n"


def _repeated(keys: list[Key]) -> list[str]:
    """Return the sections whose keys are listed further up already."""
    first: dict[type, str] = {}
    for key in keys:
        if key.model is not None:
            first.setdefault(key.model, key.path)
    return [_path(key) for key in keys if key.model is not None and first[key.model] != key.path]


def _path(key: Key) -> str:
    """Return the path of a section, of one item where it is a list or mapping of sections."""
    step = {"list": f".{PLACE}", "{str": f".{NAME}"}.get(key.kind[:4], "")
    return key.path + step


def _inside(keys: list[Key], path: str) -> list[Key]:
    return [key for key in keys if key.path.rpartition(".")[0] == path]


def _table(keys: list[Key]) -> list[str]:
    rows = ["| key | type | range | unit | default | meaning |", "|---|---|---|---|---|---|"]
    for key in keys:
        name = key.path.rpartition(".")[2]
        link = f"[`{name}`](#{_anchor(_path(key))})" if key.model else f"`{name}`"
        default = f"`{key.default}`" if key.default else "" if key.model else "must be given"
        cells = [link, key.kind, key.allowed, key.unit, default, _sentence(key)]
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return rows


def _anchor(path: str) -> str:
    """Return the anchor that Markdown renderers give a heading."""
    return path.lower().replace(".", "")


def _sentence(key: Key) -> str:
    """Return a description as sentences in one line, with Markdown's own marks of code."""
    text = " ".join(key.description.replace("``", "`").split())
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"

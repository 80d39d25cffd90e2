"""Bundled recipes, damaged at random: each still loads, or is refused in one clear line."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from smile_synth.errors import SmileSynthError, in_one_line
from smile_synth.generator.dataset import Dataset
from smile_synth.recipe.recipe import bundled_recipes, load_recipe

TRIALS = 600
LONGEST_LINE = 1500

# What stands in the place of a value, as YAML writes it.
ODD_VALUES = (
    "null", "true", "false", "-1", "0", "1e400", ".nan", "-.inf", "''", "x", "[]", "{}", "[[]]", "[1, 2, 3]", "{a: 1}",
    "2024-13-45", "2024-02-30T99:00:00Z", "1:30", "010", "0x", "9" * 5000, "0x" + "f" * 5000, "[" * 900 + "]" * 900,
    "{a: " * 900 + "1" + "}" * 900, "&x [*x]", "*nowhere", "!!binary aGk=", "!!python/name:os.system ''", "1e-3", "yes",
    '"\\0\\e[31m"', '"\\ud800"', "'" + "long " * 2000 + "'", "1.0000000000000000000000000001", "=", "<<", "{1: 2}",
    "{a: 1, a: 2}", "{? [a]: 1}", "no-such.module:Class", "nothing.py:Class", "../../etc/passwd", "/dev/zero",
    "\U0001f3b2", "99999999999999999999",
)  # fmt: skip

ODD_KEYS = (
    "dataset.clips", "dataset.params.num_objects", "probe.questions.0.name", "probe.questions.\u00b2", "seed", "a..b",
    "x", "probe.questions." + "9" * 5000, "dataset." * 900 + "x", "dataset.params" + ".x" * 900,
    "probe.questions.-1.name", "pretrain.optimizer.betas.0", "\x1b[31m", "",
)  # fmt: skip


def leaves(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values inside."""
    inner = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [path, *(leaf for key, value in inner for leaf in leaves(value, (*path, key)))] if path or inner else []


def with_odd_value(text: str, order: random.Random) -> str:
    """Put an odd value in the place of any value."""
    values = yaml.safe_load(text)
    path = order.choice([leaf for leaf in leaves(values) if leaf])
    here = values
    for part in path[:-1]:
        here = here[part]
    here[path[-1]] = "PLACE"
    return yaml.safe_dump(values, sort_keys=False, width=10**6).replace("PLACE", order.choice(ODD_VALUES))


def with_odd_key(text: str, order: random.Random) -> str:
    """Rename, remove or repeat a key."""
    lines = [n for n, line in enumerate(text.splitlines()) if ":" in line and not line.lstrip().startswith("#")]
    chosen = order.choice(lines)
    written = text.splitlines()
    key, _, rest = written[chosen].partition(":")
    written[chosen] = order.choice(
        [
            f"{key}x:{rest}",
            "",
            f"{written[chosen]}\n{written[chosen]}",
            f"{key[:-1]}:{rest}",
            f"\t{key}:{rest}",
            f"1:{rest}",
        ]
    )
    return "\n".join(written)


def with_odd_bytes(text: str, order: random.Random) -> str:
    """Change, remove or insert a few characters anywhere."""
    characters = list(text)
    for _ in range(order.randint(1, 5)):
        place = order.randrange(len(characters))
        characters[place] = order.choice(["", "\t", "\0", "{", "]", ":", "&", "*", "\n", "\x1b", "é", "-", "'", '"'])
    return "".join(characters)


@pytest.mark.slow
@pytest.mark.parametrize("mutate", [with_odd_value, with_odd_key, with_odd_bytes], ids=lambda mutate: mutate.__name__)
def test_a_damaged_recipe_loads_or_is_refused_in_one_line(mutate: Any, tmp_path: Path) -> None:
    order, lines = random.Random(mutate.__name__), []
    texts = {name: file.read_text(encoding="utf-8") for name, file in bundled_recipes().items()}
    for trial in range(TRIALS):
        name = order.choice(sorted(texts))
        damaged = mutate(texts[name], order)
        (tmp_path / "r.yaml").write_text(damaged, encoding="utf-8")
        try:
            recipe = load_recipe(tmp_path / "r.yaml")
            if recipe.dataset is not None:
                Dataset.of(recipe)
        except SmileSynthError as error:
            lines.append(in_one_line(error))
        except BaseException as error:
            raise AssertionError(f"trial {trial} with {name}: {type(error).__name__}\n{damaged[:3000]}") from error
    assert len(lines) > TRIALS / 8
    assert all(line.isprintable() and 10 < len(line) < LONGEST_LINE for line in lines)


@pytest.mark.slow
def test_an_odd_override_is_taken_or_refused_in_one_line() -> None:
    order = random.Random(0)
    lines = []
    for trial in range(TRIALS):
        override = f"{order.choice(ODD_KEYS)}={order.choice(ODD_VALUES)}"
        try:
            load_recipe("demo", [override])
        except SmileSynthError as error:
            lines.append(in_one_line(error))
        except BaseException as error:
            raise AssertionError(f"trial {trial}: {override[:300]}") from error
    assert len(lines) > TRIALS / 8
    assert all(line.isprintable() and 10 < len(line) < LONGEST_LINE for line in lines)

"""YAML that recipes have no use for is refused in one line, with the place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from smile_synth.errors import RecipeError
from smile_synth.recipe.yaml import LARGEST_FILE_NBYTES, parse_yaml, read_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in ("ab", "bc", "cd", "de", "ef")
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-1.5E+2", -150.0),
        (".5", 0.5),
        ("2_000_003", 2_000_003),
        ("0x1F", 31),
        ("0o17", 15),
        ("-7", -7),
        ("010", "010"),
        ("1:30", "1:30"),
        ("2024-13-45", "2024-13-45"),
        ("2024-01-02", "2024-01-02"),
        ("=", "="),
        ("true", True),
        ("no", False),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("[1, a]", [1, "a"]),
        ("{a: &x {b: 1}, c: {<<: *x, b: 2, d: 3}}", {"a": {"b": 1}, "c": {"b": 2, "d": 3}}),
    ],
)
def test_values_are_read_as_people_mean_them(text: str, value: Any) -> None:
    read = parse_yaml(text, where="it")
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:\n  b: 1\n  c: 2\n  b: 3", "it, line 4: key 'a.b' is repeated; it first stands in line 2"),
        ("a: 1\nb: {c: 1, c: 1}", "it, line 2: key 'b.c' is repeated; it first stands in line 2"),
        ("1: x", "it, line 1: a key must be a string, got int '1'; write it in quotes"),
        ("a:\n  on: x", "it, line 2: a key must be a string, got bool 'on'; write it in quotes"),
        ("? [a]\n: 1", "it, line 1: a key must be a string, got seq"),
        (f"a: {'1' * 5000}", "it, line 1: a is a number of 5,000 digits"),
        (f"a: 0x{'f' * 5000}", "it, line 1: a is a number of 5,002 digits"),
        (f"a: {'[' * 900}{']' * 900}", "it, line 1: values are nested deeper than 64 levels"),
        (f"{'{a: ' * 900}1{'}' * 900}", "it, line 1: values are nested deeper than 64 levels"),
        ("a: &x [*x]", "it, line 1: an alias refers to a value that contains it"),
        (BOMB, "its aliases stand for more than 50,000 values"),
        ("a: !!timestamp 2024-13-45", "it, line 1: tags such as '!!timestamp' are not allowed; leave it out"),
        ("a: !!python/object/apply:os.system ['true']", "tags such as '!!python/object/apply:os.system'"),
        ('a: "\\ud800"', "it, line 1: a holds half of a surrogate pair"),
        ("a:\n\tb: 1", "(line 2, column 1); indent with spaces, not tabs"),
        ("a: [1", "it is not valid YAML: expected ',' or ']', but got '<stream end>' (line 1, column 6)"),
        ("a: 1\n---\nb: 2", "another document (line 2, column 1)"),
        ("a: \x00", "it is not valid YAML: unacceptable character #x0000"),
        ("a: *b", "found undefined alias 'b' (line 1, column 4)"),
    ],
)
def test_what_has_no_place_in_a_recipe_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_yaml(text, where="it")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe\x00", "is not text in UTF-8 (byte 0)"),
        (b"#" * (LARGEST_FILE_NBYTES + 1), "is larger than 256 KiB"),
        (b"- 1", "must hold keys and values, got list"),
        (b"just text", "must hold keys and values, got str"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "r.yaml").write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        read_yaml(tmp_path / "r.yaml")
    assert said in str(caught.value)


def test_an_empty_file_has_no_values_and_a_closed_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(b"# nothing yet\n")
    assert read_yaml(tmp_path / "r.yaml") == {}
    with pytest.raises(RecipeError, match=rf"{tmp_path} cannot be read: {os.strerror(21)}"):
        read_yaml(tmp_path)

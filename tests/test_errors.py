"""What people read of an error: one line, and nothing that a terminal would obey."""

from __future__ import annotations

import errno

import pytest

from smile_synth.errors import AssetError, counted, in_one_line, nearest, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("naïve 猫 ½ 🐈.png", "naïve 猫 ½ 🐈.png"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\nb\tc\x7f\x9b", r"a\nb\tc\x7f\x9b"),
        ("abc\u202egnp", r"abc\u202egnp"),
        ("caf\udce9", r"caf\udce9"),
        ("line\u2028end", r"line\u2028end"),
        ("no\u00a0break", "no\u00a0break"),
    ],
)
def test_printable_text_has_nothing_that_a_terminal_obeys(text: str, shown: str) -> None:
    assert printable(text) == shown
    printable(text).encode("utf-8")


@pytest.mark.parametrize(("number", "text"), [(0, "0 places"), (1, "1 place"), (2, "2 places")])
def test_one_is_singular(number: int, text: str) -> None:
    assert counted(number, "place") == text


def test_an_error_is_one_line_whatever_the_file_is_called() -> None:
    assert in_one_line(AssetError("image a\x1b]0;title\x07b.png\nis damaged")) == (
        r"image a\x1b]0;title\x07b.png is damaged"
    )


def test_an_error_of_the_system_names_file_and_next_step() -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "out\x1b.png")
    assert in_one_line(error) == r"out\x1b.png: no space left on device; free some space, or name another place"


def test_initials_find_a_name() -> None:
    assert nearest("lr", ["floor", "learning_rate", "weight_decay"]) == " Did you mean 'learning_rate'?"
    assert nearest("flor", ["floor", "learning_rate"]) == " Did you mean 'floor'?"

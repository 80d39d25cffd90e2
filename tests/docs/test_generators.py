"""docs/generators.md: a section and a picture for every family, made by commands that work."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from smile_synth.cli import app
from smile_synth.generator.registry import BUNDLED, list_generators

PAGE = Path(__file__).parents[2] / "docs" / "generators.md"
TEXT = PAGE.read_text(encoding="utf-8")
LARGEST_PICTURE_BYTES = 150_000


def commands() -> list[list[str]]:
    """Return the page's preview commands, each as the arguments after ``smile-synth``."""
    joined = TEXT.replace("\\\n", " ")
    lines = re.findall(r"^    smile-synth (preview .*?)(?:  #.*)?$", joined, flags=re.MULTILINE)
    return [shlex.split(line) for line in lines]


def test_every_bundled_family_has_a_section_and_a_row() -> None:
    for entry in list_generators():
        if entry.target.startswith(BUNDLED):
            assert f"\n## {entry.name}\n" in TEXT
            assert f"| [`{entry.name}`](#{entry.name}) |" in TEXT


def test_every_picture_exists_is_small_and_has_its_command() -> None:
    pictures = re.findall(r"!\[[^]]+\]\((images/[^)]+)\)", TEXT)
    made = {command[command.index("-o") + 1] for command in commands()}
    assert len(pictures) >= 12
    for picture in pictures:
        assert (PAGE.parent / picture).stat().st_size < LARGEST_PICTURE_BYTES
        assert Path(picture).name in made


@pytest.mark.slow
@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_works(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert Path(command[command.index("-o") + 1]).stat().st_size > 0

"""docs/writing-a-generator.md: its commands run as they stand, and its code is the code that `new` writes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from smile_synth.generator.scaffold import write_generator
from smile_synth.testing.contract import Subject
from smile_synth.testing.run import run_checks

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-generator.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def files() -> dict[str, str]:
    """Return the page's own files by name."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.findall(r'^```python title="([^"]+)"\n(.*?)^```$', text, flags=re.MULTILINE | re.DOTALL)
    return dict(found)


def run(command: str, folder: Path) -> str:
    program, *arguments = shlex.split(command)
    module = {"smile-synth": "smile_synth", "pytest": "pytest"}[program]
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("name", sorted(files()))
def test_every_file_of_the_page_keeps_the_contract(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(files()[name], encoding="utf-8")
    verdicts = list(run_checks(Subject(name, folder=tmp_path)))
    assert len(verdicts) > 10
    assert [verdict.problem for verdict in verdicts if verdict.problem] == []


@pytest.mark.slow
def test_every_command_runs_and_prints_what_the_page_shows(tmp_path: Path) -> None:
    for name, code in files().items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    for block in blocks("console"):
        command, *shown = block.splitlines()
        printed = [line.rstrip() for line in run(command.removeprefix("$ "), tmp_path).splitlines()]
        for line in shown:
            assert any(fnmatchcase(out, line.replace("[", "[[]")) for out in printed), f"{line!r} not in {printed}"


def test_the_code_shown_is_the_code_that_is_written(tmp_path: Path) -> None:
    module, _, _ = write_generator("confetti", tmp_path)
    written = module.read_text(encoding="utf-8")
    shown = blocks("python")
    assert shown
    for block in shown:
        assert block in written

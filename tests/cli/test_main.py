"""The command line as a user meets it: help, one-line errors, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CommandLine
from typer.testing import CliRunner

from smile_synth import cli
from smile_synth.cli import COMMANDS, app
from smile_synth.errors import StoreError

EXAMPLES_STAND_IN_SUBCOMMANDS = {"recipes", "generators"}


def test_help_is_there_without_loading_torch() -> None:
    code = "import sys, smile_synth.cli; sys.exit(bool({'torch', 'numba', 'tensorstore', 'timm'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_examples(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert command in EXAMPLES_STAND_IN_SUBCOMMANDS or f"smile-synth {command}" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["render", "dmeo", "--out", "x.zarr"], "there is no recipe 'dmeo'. Did you mean 'demo'?"),
        (["render", "demo", "--out", "x.zarr", "--set", "dataset.clisp=3"], "Did you mean 'clips'?"),
        (["info", "nothing.zarr"], "nothing.zarr"),
        (["report", "nothing.zarr"], "nothing.zarr"),
        (["pretrain", "demo", "--data", "nothing.zarr", "--out", "run"], "nothing.zarr"),
        (["probe", "nothing"], "nothing"),
        (["export", "nothing", "--format", "videomae"], "nothing"),
        (["generators", "show", "cutuots"], "Did you mean 'cutouts'?"),
    ],
)
def test_bad_input_gives_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("smile-synth: ")
    assert len(result.stderr.splitlines()) == 1
    assert said in result.stderr
    assert list(tmp_path.iterdir()) == [], "bad input leaves nothing behind"


def test_a_process_ends_with_one_line_and_exit_code_2(smile_synth: CommandLine) -> None:
    done = smile_synth("info", "nothing.zarr")
    assert done.returncode == 2
    assert done.stderr.startswith("smile-synth: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--debug", "info", "nothing.zarr"], ["info", "nothing.zarr", "--debug"]])
def test_debug_shows_the_error_itself_wherever_it_stands(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, StoreError)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (StoreError("two\nlines"), 2, "smile-synth: two lines\n"),
        (
            OSError(28, "No space left on device", "x.zarr"),
            2,
            "smile-synth: x.zarr: no space left on device; free some space, or name another place\n",
        ),
        (KeyboardInterrupt(), 130, "smile-synth: interrupted; run the same command again to resume\n"),
    ],
)
def test_errors_become_one_line(monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("smile_synth.recipe.recipe.bundled_recipes", fail)
    result = CliRunner().invoke(app, ["recipes", "list"])
    assert (result.exit_code, result.stderr) == (code, said)


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m smile_synth recipes show demo --resolved | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_the_version_is_printed() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"smile-synth {cli.__version__}\n"


def test_doctor_names_versions_devices_and_plug_ins(smile_synth: CommandLine) -> None:
    done = smile_synth("doctor")
    assert done.returncode == 0, done.stderr
    for word in ("torch", "cores", "cutouts", "Next: smile-synth demo"):
        assert word in done.stdout


def test_sigterm_ends_a_render_as_ctrl_c_does(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "smile_synth",
        "render",
        "demo",
        "--out",
        "x.zarr",
        "--set",
        "dataset.clips=100000",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("render: "), "it has begun"
    process.terminate()
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said.splitlines()[-1] == "smile-synth: interrupted; run the same command again to resume"

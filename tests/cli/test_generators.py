"""``smile-synth generators``: list, show, new, check."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as PilImage
from typer.testing import CliRunner, Result

from smile_synth.cli import app

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, ["generators", *arguments])


def test_list_names_every_family_and_where_it_comes_from(run: Run) -> None:
    result = run("list")
    assert result.exit_code == 0
    assert "Cut-out objects on smooth, straight, curved or bouncing paths" in result.output
    assert "smile-synth 0.1.0" in result.output
    assert "broken" not in result.output


def test_list_imports_no_bundled_generator_and_nothing_heavy() -> None:
    code = textwrap.dedent("""
        import sys
        from typer.testing import CliRunner
        from smile_synth.cli import app
        assert CliRunner().invoke(app, ["generators", "list"]).exit_code == 0
        heavy = {"torch", "numba", "tensorstore", "timm", "smile_synth_generators.cutouts"} & set(sys.modules)
        assert not heavy, heavy
    """)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_show_tells_parameters_ranges_units_and_labels(run: Run) -> None:
    output = run("show", "cutouts").output
    assert "motion.rotation_deg_per_frame: float (>= 0, <= 180) = 6.0" in output
    assert "px at 224 px" in output
    assert "direction, per object" in output


def test_show_draws_a_picture(run: Run, tmp_path: Path) -> None:
    result = run("show", "patches", "--preview", "deep/p.png", "--set", "num_objects=[1, 1]")
    assert result.exit_code == 0, result.output
    assert PilImage.open(tmp_path / "deep" / "p.png").width > 500


def test_show_refuses_an_animation_as_picture(run: Run) -> None:
    result = run("show", "patches", "--preview", "p.mp4")
    assert result.exit_code == 2
    assert "draws a picture (.png, .jpg, .jpeg), got '.mp4'" in result.output


def test_new_then_check(run: Run, tmp_path: Path) -> None:
    assert run("new", "confetti").exit_code == 0
    assert {file.name for file in tmp_path.iterdir()} == {"confetti.py", "test_confetti.py", "confetti.yaml"}
    result = run("check", "confetti.py:Confetti", "--set", "num_objects=2")
    assert result.exit_code == 0, result.output
    assert "clips/s on one core" in result.output
    assert "confetti.py:Confetti keeps the contract" in result.output


def test_check_says_what_is_broken_and_ends_with_1(run: Run, tmp_path: Path) -> None:
    run("new", "confetti")
    code = (tmp_path / "confetti.py").read_text()
    (tmp_path / "confetti.py").write_text(code.replace("rng.integers(1, ", "np.random.randint(1, "))
    result = run("check", "confetti.py")
    assert result.exit_code == 1
    assert "BROKEN touches neither numpy's nor Python's global random numbers" in result.output
    assert "use `rng`" in result.output


def test_check_of_parameters_that_are_not_valid_is_one_line(run: Run) -> None:
    result = run("check", "cutouts", "--set", "num_objets=[1,2]")
    assert result.exit_code == 2
    assert "Did you mean 'num_objects'?" in result.output


def test_an_unknown_generator_is_one_line(run: Run) -> None:
    result = run("show", "cutout")
    assert result.exit_code == 2
    assert "there is no generator 'cutout'. Did you mean 'cutouts'?" in result.output

"""``smile-synth init``: a recipe for two folders, which loads, previews and renders."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from smile_synth.cli import app
from smile_synth.recipe.recipe import load_recipe
from smile_synth.store import Store


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with six photographs, one broken, and five cut-outs of two classes, one without transparency."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.Generator(np.random.Philox(0))
    (tmp_path / "photos").mkdir()
    for number in range(6):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "photos" / "drawing.svg").write_text("<svg/>")
    for number in range(5):
        pixels = rng.integers(0, 256, (32, 32, 4), np.uint8)
        pixels[..., 3] = 0
        pixels[4:28, 4:28, 3] = 255
        place = tmp_path / "crops" / ("cat" if number % 2 else "dog")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number}.png")
    Image.fromarray(np.full((32, 32, 3), 9, np.uint8)).save(tmp_path / "crops" / "cat" / "opaque.png")
    return tmp_path


def test_next_commands_can_be_typed_where_names_have_spaces(folders: Path) -> None:
    made = run("init", "my set.yaml", "--backgrounds", "photos", "--clips", 8)
    command = next(line for line in made.output.splitlines() if line.startswith("Look at it: smile-synth "))
    assert run(*shlex.split(command)[4:]).exit_code == 0
    assert (folders / "my set.png").exists()


def test_absolute_folders_stay_absolute(folders: Path) -> None:
    assert run("init", "mine.yaml", "--backgrounds", folders / "photos", "--clips", 8).exit_code == 0
    assert f'backgrounds: "{folders / "photos"}"' in (folders / "mine.yaml").read_text()
    assert run("info", "mine.yaml").output.endswith(
        "there is no store at mine.yaml, which is a file; render it with: smile-synth render mine.yaml --out STORE\n"
    )


def test_two_folders_make_a_recipe_that_renders(folders: Path) -> None:
    made = run("init", "own/mine.yaml", "--backgrounds", "photos", "--objects", "crops", "--clips", 8)
    assert made.exit_code == 0, made.output
    assert "backgrounds: 6 of 7 images in" in made.output
    assert "1 other file (1 .svg)" in made.output
    assert "1 skipped (" in made.output
    assert "objects: 5 of 6 images in" in made.output
    assert "Render it:  smile-synth render own/mine.yaml --out mine.zarr" in made.output
    dataset = load_recipe("own/mine.yaml").section("dataset")
    assert (dataset.clips, dataset.assets.backgrounds, dataset.assets.objects) == (8, "../photos", "../crops")
    assert (dataset.assets.split, dataset.assets.on_bad) == ("pretrain", "skip")
    done = run("render", "own/mine.yaml", "--out", "mine.zarr", "--workers", 0)
    assert done.exit_code == 0, done.output
    assert "smile-synth pretrain own/mine.yaml --data mine.zarr --out runs/first" in done.output
    assert {row.source for row in Store.open("mine.zarr").assets} != set()


def test_a_folder_called_like_built_in_images_is_a_folder(folders: Path) -> None:
    assert run("init", "--objects", "crops", "--like", "smile-vit-s").exit_code == 0
    dataset = load_recipe("mine.yaml").section("dataset")
    assert (dataset.assets.backgrounds, dataset.assets.objects) == ("builtin", "./crops")


def test_few_images_are_not_split(folders: Path) -> None:
    for name in "12345":
        (folders / "photos" / f"{name}.png").unlink()
    (folders / "photos" / "broken.jpg").unlink()
    made = run("init", "--backgrounds", "photos")
    assert made.exit_code == 0, made.output
    dataset = load_recipe("mine.yaml").section("dataset")
    assert (dataset.assets.split, dataset.assets.on_bad) == ("all", "stop")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backgrounds", "nowhere"], "nowhere"),
        (["there.yaml", "--backgrounds", "photos"], "there.yaml exists already; name another file"),
        (["mine", "--backgrounds", "photos"], "a recipe is a YAML file, got mine; name it mine.yaml"),
        (["--backgrounds", "photos", "--like", "dmeo"], "Did you mean 'demo'?"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(folders: Path, arguments: list[str], message: str) -> None:
    (folders / "there.yaml").write_text("seed: 1\n")
    result = run("init", *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert [file.name for file in folders.glob("*.yaml")] == ["there.yaml"]
    assert (folders / "there.yaml").read_text() == "seed: 1\n"

"""``smile-synth preview``: recipes, stores and generators as pictures and animations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage
from typer.testing import CliRunner, Result

from smile_synth.cli import app
from smile_synth.generator.dataset import Dataset
from smile_synth.recipe.recipe import load_recipe
from smile_synth.store import Store, render_store

Run = Callable[..., Result]

RECIPE = """
seed: 3
dataset:
  clips: 5
  canvas: {height: 32, width: 40, frames: 4}
  generator: mixture
  params:
    parts:
      cutouts: {params: {num_objects: [1, 1]}}
      gratings: {}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in this process, in a folder that holds a recipe."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "mine.yaml").write_text(RECIPE)
    return lambda *arguments: CliRunner().invoke(app, ["preview", *arguments])


def frames_shown(output: str) -> list[str]:
    return [line.split(" · ")[0] for line in output.splitlines() if line.startswith("clip ")]


def test_a_recipe_shows_its_first_clips_and_what_to_do_next(run: Run) -> None:
    result = run("mine.yaml", "-o", "x.png")
    assert result.exit_code == 0, result.output
    assert frames_shown(result.output) == ["clip 0", "clip 1", "clip 2", "clip 3"]
    assert "next: smile-synth render mine.yaml --out data/mine.zarr" in result.output
    assert PilImage.open("x.png").width == 2 + 4 * (3 * 40 + 2)


def test_motion_of_a_recipe_is_that_of_its_store(run: Run, tmp_path: Path) -> None:
    result = run("mine.yaml", "--motion", "-o", "recipe.png")
    assert result.exit_code == 0, result.output
    recipe = load_recipe(tmp_path / "mine.yaml")
    render_store(Dataset.of(recipe), tmp_path / "mine.zarr", recipe=recipe.resolved())
    assert run("mine.zarr", "--motion", "-o", "store.png").exit_code == 0
    assert np.array_equal(np.asarray(PilImage.open("recipe.png")), np.asarray(PilImage.open("store.png")))
    run("mine.yaml", "-o", "without.png")
    assert PilImage.open("recipe.png").height > 1.8 * PilImage.open("without.png").height


def test_motion_that_is_not_kept_cannot_be_shown(run: Run, tmp_path: Path) -> None:
    result = run("mine.yaml", "--motion", "--set", "dataset.store.motion=null")
    assert result.exit_code != 0
    recipe = load_recipe(tmp_path / "mine.yaml", ["dataset.store.motion=null"])
    render_store(Dataset.of(recipe), tmp_path / "still.zarr", recipe=recipe.resolved())
    result = run("still.zarr", "--motion")
    assert "still.zarr holds no motion" in result.output


def test_one_clip_alone_is_the_same_clip_as_among_others(run: Run) -> None:
    run("mine.yaml", "--clips", "5", "-o", "all.png")
    result = run("mine.yaml", "--clip", "3", "-o", "one.png")
    assert frames_shown(result.output) == ["clip 3"]
    height = 3 * 32 + 12 + 2
    row = np.asarray(PilImage.open("all.png"))[2 + 3 * height + 12 : 2 + 4 * height - 2]
    assert np.array_equal(np.asarray(PilImage.open("one.png"))[14:-2], row)


def test_a_store_shows_what_was_rendered_with_its_labels(run: Run, tmp_path: Path) -> None:
    recipe = load_recipe("mine.yaml")
    render_store(Dataset.of(recipe), tmp_path / "mine.zarr", recipe=recipe.resolved(), workers=1)
    from_store = run("mine.zarr", "--clips", "5", "--boxes", "--paths", "-o", "store.png")
    from_recipe = run("mine.yaml", "--clips", "5", "--boxes", "--paths", "-o", "recipe.png")
    assert from_store.exit_code == 0, from_store.output
    assert "next: smile-synth report mine.zarr" in from_store.output
    assert np.array_equal(np.asarray(PilImage.open("store.png")), np.asarray(PilImage.open("recipe.png")))
    said = [line for line in from_store.output.splitlines() if line.startswith("clip ")]
    assert said == [line for line in from_recipe.output.splitlines() if line.startswith("clip ")]
    assert Store.open(tmp_path / "mine.zarr").num_clips == 5


def test_the_next_command_renders_what_was_shown_and_sizes_are_bytes(run: Run, tmp_path: Path) -> None:
    result = run("mine.yaml", "--clips", "1", "--set", "dataset.canvas.width=40", "--seed", "5", "-o", "x.png")
    assert result.exit_code == 0, result.output
    assert "next: smile-synth render mine.yaml --set dataset.canvas.width=40 --seed 5 --out" in result.output
    size = (tmp_path / "x.png").stat().st_size
    assert f"wrote x.png ({size / 1000:.3g} KB)" in result.output


@pytest.mark.parametrize("name", ["x.gif", "x.webp"])
def test_an_animation_has_every_frame(run: Run, name: str) -> None:
    assert run("mine.yaml", "--clips", "4", "-o", name).exit_code == 0
    with PilImage.open(name) as picture:
        assert picture.n_frames == 4
        assert picture.size == (2 + 2 * (3 * 40 + 2), 2 + 2 * (3 * 32 + 2))


def test_a_generator_takes_its_own_parameters(run: Run) -> None:
    result = run("shapes", "--set", "level=static-circles", "--set", "num_shapes=[3, 3]", "--clips", "1", "-o", "x.png")
    assert result.exit_code == 0, result.output
    assert "clip 0 · shapes · 3 objects" in result.output
    assert "next: smile-synth generators show shapes" in result.output


def test_another_seed_shows_other_clips(run: Run) -> None:
    run("mine.yaml", "--clip", "0", "-o", "a.png")
    run("mine.yaml", "--clip", "0", "--seed", "4", "-o", "b.png")
    assert Path("a.png").read_bytes() != Path("b.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shpes", "-o", "x.png"), "Did you mean 'shapes'"),
        (("shapes", "--set", "levle=textured", "-o", "x.png"), "unknown key 'levle'"),
        (("mine.yaml", "-o", "x.bmp"), "must end in .png"),
        (("mine.yaml", "--clip", "5", "-o", "x.png"), "--clip must be 0 to 4, got 5"),
        ((".", "-o", "x.png"), "no smile-synth store"),
        (("none.yaml", "-o", "x.png"), "no recipe 'none.yaml'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_file(run: Run, arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not Path("x.png").exists()


def test_a_store_takes_neither_seed_nor_settings(run: Run, tmp_path: Path) -> None:
    result = run(str(tmp_path), "--seed", "3", "-o", "x.png")
    assert result.exit_code == 2
    assert "--set and --seed go with a recipe or generator" in result.output


def test_a_source_that_is_nothing_is_told_what_there_is(run: Run) -> None:
    result = run("cutoutz")
    assert result.exit_code == 2
    assert "'cutoutz' is no store, recipe or generator. Did you mean 'cutouts'?" in result.output
    assert "cutouts, dead_leaves" in result.output
    assert "demo" in result.output


def test_a_place_that_cannot_be_written_is_named_with_the_next_step(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("cutouts", "--clips", "1", "-o", str(tmp_path / "file" / "x.png"))
    assert result.exit_code == 2
    assert f"{tmp_path / 'file'}: " in result.output
    assert "is in the way, so name another place" in result.output


def test_images_of_ones_own_are_counted_and_their_names_harmless(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "photos\x1b[2J"
    folder.mkdir()
    for n in range(3):
        PilImage.new("RGB", (64, 64), (n, 90, 30)).save(folder / f"{n}.png")
    (folder / "empty.png").touch()
    settings = (r'dataset.assets.backgrounds="photos\x1b[2J"', "dataset.assets.on_bad=skip")
    result = run("mine.yaml", *(f"--set={setting}" for setting in settings), "--clips", "1", "-o", "x.png")
    assert result.exit_code == 0, result.output
    assert r"photos\x1b[2J used; 1 skipped (1 empty)" in result.output
    assert "backgrounds: 3 of 4 images in " in result.output
    assert "\x1b" not in result.output


def test_captions_of_pseudo_motion_name_the_transforms(run: Run) -> None:
    one = run("pseudo_motion", "--clips", "1", "--set", "transforms={zoom: 1}", "--set", "num_joined=[1, 1]")
    assert "· transform zoom ·" in one.output, one.output
    assert "joined" not in one.output
    two = run("pseudo_motion", "--clips", "1", "--set", "transforms={zoom: 1, fade: 1}", "--set", "num_joined=[2, 2]")
    assert "joined_first" in two.output, two.output
    assert "zoom" in two.output
    assert "fade" in two.output
    assert "transform " not in two.output

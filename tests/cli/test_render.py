"""``smile-synth render``, ``verify`` and ``info``, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import CommandLine
from PIL import Image as PilImage
from tiny import TinyDataset, tree
from typer.testing import CliRunner, Result

from smile_synth.cli import app
from smile_synth.store import Store, render_store

RECIPE = """
name: small
seed: 3
dataset:
  clips: 10
  canvas: {height: 16, width: 16, frames: 4}
  generator: shapes
  store: {clips_per_shard: 4}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


def run(*arguments: object) -> Result:
    """Run the command line in this process, rendering in this process too."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def rendered(recipe: Path, out: Path, *arguments: object) -> Result:
    return run("render", recipe, "--out", out, "--workers", 0, *arguments)


def test_render_names_the_store_and_what_comes_next(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "clips.zarr"
    result = rendered(recipe, out)
    assert result.exit_code == 0, result.output
    assert f"Store {out}: 10 clips of 4 frames, 16x16" in result.output
    assert f"smile-synth preview {out}" in result.output
    assert f"smile-synth pretrain RECIPE --data {out}" in result.output
    assert "complete already" in rendered(recipe, out).output


def test_seed_and_set_go_into_the_recipe_of_the_store(recipe: Path, tmp_path: Path) -> None:
    assert rendered(recipe, tmp_path / "clips", "--seed", 9, "--set", "dataset.clips=3").exit_code == 0
    store = Store.open(tmp_path / "clips")
    assert (store.seed, store.num_clips) == (9, 3)
    assert store.recipe["seed"] == 9
    assert store.recipe["dataset"]["clips"] == 3


def test_parts_and_finish_give_the_same_store(recipe: Path, tmp_path: Path) -> None:
    rendered(recipe, tmp_path / "whole")
    out = tmp_path / "parts"
    result = rendered(recipe, out, "--shards", "2/2")
    assert f"--finish --out {out}" in result.output
    unfinished = run("render", "--finish", "--out", out)
    assert unfinished.exit_code == 2
    assert "lacks 2 of 3 shards (0, 2)" in unfinished.output
    assert rendered(recipe, out, "--shards", "1/2").exit_code == 0
    assert run("render", "--finish", "--out", out).exit_code == 0
    assert tree(out) == tree(tmp_path / "whole")


def test_array_jobs_take_their_parts(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered(recipe, tmp_path / "whole")
    out = tmp_path / "parts"
    for number, place in ((4, 1), (6, 2)):
        for name, value in {"ID": number, "COUNT": 2, "MIN": 4, "MAX": 6, "STEP": 2}.items():
            monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
        result = rendered(recipe, out, "--shards", "auto")
        assert f"Part {place}/2 of the shards, by Slurm (SLURM_ARRAY_TASK_ID={number}, array 4-6:2)." in result.output
        assert f"Part {place}/2 of {out} is complete" in result.output
    assert run("render", "--finish", "--out", out).exit_code == 0
    assert tree(out) == tree(tmp_path / "whole")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", 4], "seed is 3 in the store and 4 now"),
        (["--set", "dataset.canvas.width=32"], "dataset.canvas.width is 16 in the store and 32 now"),
        (["--shards", "4/3"], "written 1/4 to 4/4, got 4/3"),
        (["--shards", "auto"], "--shards auto finds no array job here"),
        (["--shards", "auto/many"], "such as auto/16, got 'auto/many'"),
        (["--engine", "boat"], "--engine is 'processes' or 'ray', got 'boat'"),
        (["--set", "dataset.clips=0"], "dataset.clips"),
    ],
)
def test_bad_input_ends_in_one_line_and_changes_nothing(
    recipe: Path, tmp_path: Path, arguments: list[object], message: str
) -> None:
    out = tmp_path / "clips"
    rendered(recipe, out)
    before = tree(out)
    result = rendered(recipe, out, *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert tree(out) == before


def test_out_that_is_a_file_or_no_store_is_refused(recipe: Path, tmp_path: Path) -> None:
    result = rendered(recipe, recipe)
    assert result.exit_code == 2
    assert "is a file; give --out a new folder" in result.output
    result = rendered(recipe, tmp_path)
    assert result.exit_code == 2
    assert "holds files that are no store of ours" in result.output


def test_verify_finds_and_repairs(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "clips"
    rendered(recipe, out)
    before = tree(out)
    assert "is sound" in run("verify", out, "--rerender", 3).output
    file = out / "frames" / "c.1.0.0.0.0"
    file.write_bytes(b"\0" + file.read_bytes()[1:])
    damaged = run("verify", out)
    assert damaged.exit_code == 1
    assert "DAMAGED array frames, shard 1, clip 4: the chunk fails its checksum" in damaged.output
    assert f"smile-synth verify {out} --repair" in damaged.output
    assert "has 1 damaged place;" in damaged.output
    repaired = run("verify", out, "--repair")
    assert repaired.exit_code == 0, repaired.output
    assert "1 of 1 damaged place repaired." in repaired.output
    assert tree(out) == before


def test_a_store_of_own_images_verifies_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    (here / "photos").mkdir(parents=True)
    elsewhere.mkdir()
    pixels = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    for name in ("a.png", "b.png"):
        PilImage.fromarray(pixels).save(here / "photos" / name)
    (here / "own.yaml").write_text(RECIPE.replace("shapes", "cutouts\n  assets: {backgrounds: photos/}"))
    monkeypatch.chdir(here)
    assert rendered(Path("own.yaml"), Path("clips")).exit_code == 0
    same = run("verify", "clips", "--rerender", 2)
    monkeypatch.chdir(elsewhere)
    other = run("verify", here / "clips", "--rerender", 2, "--folder", "../here")
    for result in (same, other):
        assert result.exit_code == 0, result.output
        assert "Note:" not in result.output
        assert "2 clips were rendered again" in result.output
    assert rendered(Path("../here/own.yaml"), Path("clips")).exit_code == 0
    assert tree(elsewhere / "clips") == tree(here / "clips")
    PilImage.fromarray(255 - pixels).save(here / "photos" / "b.png")
    changed = run("verify", here / "clips", "--rerender", 1, "--folder", here)
    assert "Note: background 'b.png': its digest is '" in changed.output


def test_info_shows_what_is_in_a_store(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "clips"
    rendered(recipe, out)
    text = run("info", out).output
    for word in ("10", "4 frames of 16x16", "3 of 4 clips", "small, digest", "shapes", "times smaller than raw"):
        assert word in text
    facts = json.loads(run("info", out, "--json").output)
    assert facts["clips"] == 10
    assert facts["digest"] == Store.open(out).digest


def test_text_of_others_cannot_command_the_terminal(tmp_path: Path) -> None:
    dataset = TinyDataset()
    hostile = "\x1b]0;owned\x07\x7f\u202e\n"
    path = render_store(dataset, tmp_path / "clips", recipe={**dataset.recipe(), "name": hostile}).path
    (path / "frames" / "\x1b[2J").write_text("x")
    for arguments in (["info"], ["info", "--json"], ["verify"]):
        result = run(*arguments, path)
        assert not set("\x1b\x07\x7f\u202e") & set(result.output), arguments
    assert json.loads(run("info", path, "--json").output)["recipe"].startswith(hostile)
    assert "DAMAGED metadata: no file of this store; move it away (frames/\\x1b[2J)" in run("verify", path).output


def test_no_store_is_one_line(tmp_path: Path) -> None:
    for command in ("verify", "info"):
        result = run(command, tmp_path / "nothing")
        assert result.exit_code == 2
        assert "there is no store at" in result.output


@pytest.mark.slow
def test_worker_processes_through_the_real_command(smile_synth: CommandLine, recipe: Path, tmp_path: Path) -> None:
    rendered(recipe, tmp_path / "alone")
    done = smile_synth("render", str(recipe), "--out", str(tmp_path / "clips"), "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "clips") == tree(tmp_path / "alone")


@pytest.mark.slow
def test_one_two_and_eight_workers_write_the_same_bytes(smile_synth: CommandLine, tmp_path: Path) -> None:
    sizes = (
        "dataset.clips=32",
        "dataset.canvas.height=64",
        "dataset.canvas.width=64",
        "dataset.store.clips_per_shard=4",
    )
    settings = [part for size in sizes for part in ("--set", size)]
    for workers in ("1", "2", "8"):
        done = smile_synth("render", "demo", "--out", f"{workers}.zarr", "--workers", workers, *settings)
        assert done.returncode == 0, done.stderr
    one, two, eight = (tree(tmp_path / f"{workers}.zarr") for workers in ("1", "2", "8"))
    assert len(one) > 8
    assert one == two == eight

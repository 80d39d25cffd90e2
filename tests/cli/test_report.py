"""``smile-synth report`` and ``card``: what they write, and one line for everything that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_samples import tiny_store
from tiny import TinyDataset
from typer.testing import CliRunner

from smile_synth.cli import app
from smile_synth.generator.dataset import Dataset
from smile_synth.recipe.recipe import parse_recipe
from smile_synth.store import render_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny_store(tmp_path_factory.mktemp("cli")).path


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_report_writes_page_and_json_and_names_the_next_command(store, tmp_path):
    code, text = run("report", store, "-o", tmp_path / "r.html", "--feature-model", "none", "--clips", 30)
    assert code == 0, text
    assert f"next: smile-synth pretrain RECIPE --data {store} --out runs/first" in text
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["overview"]["sampled_clips"] == 30
    assert content["features"] is None
    assert "<!doctype html>" in (tmp_path / "r.html").read_text()


def test_report_names_the_recipe_that_was_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("extends: demo\ndataset: {clips: 8}\n")
    assert run("render", "mine.yaml", "--out", "clips.zarr")[0] == 0
    code, text = run("report", "clips.zarr", "--feature-model", "none")
    assert code == 0, text
    assert "next: smile-synth pretrain mine.yaml --data" in text
    Path("other.yaml").write_text("extends: demo\ndataset: {clips: 16}\n")
    code, text = run("report", "clips.zarr", "--feature-model", "none", "--recipe", "other.yaml")
    assert "next: smile-synth pretrain other.yaml --data" in text, text


def test_report_names_no_recipe_that_trains_on_clips_of_another_size(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("render", "demo", "--set", "dataset.clips=8", "--out", "clips.zarr")[0] == 0
    code, text = run("report", "clips.zarr", "--feature-model", "none", "--recipe", "smile-vit-s")
    assert code == 0, text
    assert "next: smile-synth pretrain RECIPE --data" in text, text


def test_report_goes_beside_the_store_by_default(store):
    code, text = run("report", store, "--feature-model", "none", "--all")
    assert code == 0, text
    content = json.loads((store.parent / "tiny-7-report" / "report.json").read_text())
    assert content["overview"]["sampled_clips"] == 70


def images(folder):
    folder.mkdir(parents=True)
    for i in range(3):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


def natural_of(*arguments, out):
    code, text = run("report", *arguments, "-o", out, "--feature-model", "none", "--clips", 10)
    assert code == 0, text
    return json.loads(out.with_suffix(".json").read_text())["natural"], text


def test_natural_folder_of_a_recipe_is_compared_with(store, tmp_path):
    images(tmp_path / "photos")
    recipe = natural_recipe(tmp_path, "photos")
    found, _ = natural_of(store, "--recipe", recipe, out=tmp_path / "a.html")
    assert (found["folder"], found["images"]) == ("photos", 3)
    assert natural_of(store, "--recipe", recipe, "--no-natural", out=tmp_path / "b.html")[0] is None


def test_natural_folder_of_a_stores_recipe_is_compared_with_where_it_is(tmp_path):
    dataset = TinyDataset(clips=4, size=32, frames=2)
    store = render_store(
        dataset, tmp_path / "own.zarr", recipe={**dataset.recipe(), "report": {"natural": "photos"}}
    ).path
    found, text = natural_of(store, "--folder", tmp_path, out=tmp_path / "a.html")
    assert found is None
    assert "note: report.natural photos of the store's recipe is not in" in text
    images(tmp_path / "photos")
    assert natural_of(store, "--folder", tmp_path, out=tmp_path / "b.html")[0]["images"] == 3


@pytest.mark.parametrize("named", ["/", "..", ".", "~", "photos/../.."])
def test_a_store_names_no_folder_outside_the_users(named, tmp_path):
    images(tmp_path / "mine" / "photos")
    dataset = TinyDataset(clips=4, size=32, frames=2)
    recipe = {**dataset.recipe(), "report": {"natural": named}}
    store = render_store(dataset, tmp_path / "theirs.zarr", recipe=recipe).path
    found, text = natural_of(store, "--folder", tmp_path / "mine", out=tmp_path / "a.html")
    assert found is None
    assert f"note: report.natural {named} of the store's recipe is not in" in text


def test_names_with_dollar_signs_are_shown_as_they_are(tmp_path):
    parts = {r"$\foo$": {"generator": "shapes"}, "cost $5 and $6": {"generator": "dead_leaves"}}
    values = {"clips": 8, "generator": "mixture", "params": {"parts": parts}}
    recipe = {"dataset": {**values, "canvas": {"height": 32, "width": 32, "frames": 2}}}
    store = render_store(
        Dataset.of(parse_recipe(recipe, folder=tmp_path, origin="")), tmp_path / "s.zarr", recipe=recipe
    )
    assert natural_of(store.path, out=tmp_path / "a.html")[0] is None
    assert "cost $5 and $6" in (tmp_path / "a.html").read_text()


def test_fail_on_sets_the_exit_code(store, tmp_path):
    code, text = run("report", store, "--feature-model", "none", "-o", tmp_path, "--fail-on", "static-clips")
    assert code == 1
    assert "failed on tiny-7.zarr: static-clips" in text
    assert (tmp_path / "report.html").is_file()


def test_compare_writes_one_page_for_all(store, tmp_path):
    code, text = run("report", "--compare", store, store, "--feature-model", "none", "-o", tmp_path)
    assert code == 0, text
    assert json.loads((tmp_path / "comparison.json").read_text())["names"] == ["tiny-7.zarr (1)", "tiny-7.zarr (2)"]


def test_schema_is_printed():
    code, text = run("report", "--schema")
    assert code == 0
    assert json.loads(text)["title"] == "Report"


def test_card_writes_both_files(store, tmp_path):
    code, text = run("card", store, "-o", tmp_path / "card", "--creator", "us", "--licence", "cc0-1.0")
    assert code == 0, text
    assert "license: cc0-1.0" in (tmp_path / "card" / "README.md").read_text()
    assert json.loads((tmp_path / "card" / "croissant.json").read_text())["name"] == "tiny-7"


def unfinished(tmp_path):
    (tmp_path / "draft.zarr").mkdir()
    return tmp_path / "draft.zarr"


def a_file(tmp_path):
    (tmp_path / "file").write_text("")
    return tmp_path / "file"


BAD = {
    "no store": (lambda s, t: ("report", t / "nothing"), "nothing"),
    "unfinished store": (lambda s, t: ("report", unfinished(t)), "draft.zarr"),
    "no store named": (lambda s, t: ("report",), "got 0 stores"),
    "two without --compare": (lambda s, t: ("report", s, s), "got 2 stores without --compare"),
    "one with --compare": (lambda s, t: ("report", s, "--compare"), "got 1 stores with --compare"),
    "unknown warning": (lambda s, t: ("report", s, "--fail-on", "static"), "Did you mean 'static-clips'"),
    "no folder": (lambda s, t: ("report", s, "--natural", t / "videos"), "is no folder"),
    "both": (lambda s, t: ("report", s, "--natural", t, "--no-natural"), "exclude each other"),
    "folder of a recipe": (lambda s, t: ("report", s, "--recipe", natural_recipe(t)), "report.natural takes a folder"),
    "empty folder": (lambda s, t: ("report", s, "--natural", t), "name a folder of videos or images"),
    "output below a file": (lambda s, t: ("report", s, "-o", a_file(t) / "out"), "give another place with --out"),
    "unknown model": (lambda s, t: ("report", s, "--feature-model", "vgg"), "--feature-model must be"),
    "unknown recipe": (lambda s, t: ("report", s, "--recipe", "dem"), "Did you mean"),
    "recipe that does not train": (lambda s, t: ("report", s, "--recipe", only_dataset(t)), "no section 'pretrain'"),
    "recipe that does not fit": (lambda s, t: ("report", s, "--recipe", large_patches(t)), "patch_size 20"),
    "card of no store": (lambda s, t: ("card", t / "nothing"), "nothing"),
    "card below a file": (lambda s, t: ("card", s, "-o", a_file(t) / "out"), "give another --out"),
    "card with no report": (lambda s, t: ("card", s, "--report", t / "r.json"), "not a report"),
}


def only_dataset(tmp_path):
    (tmp_path / "r.yaml").write_text("dataset: {clips: 3}\n")
    return tmp_path / "r.yaml"


def natural_recipe(tmp_path, folder="nowhere"):
    (tmp_path / "n.yaml").write_text(
        f"pretrain: {{epochs: 1, student: {{patch_size: 8}}}}\nreport: {{natural: {folder}}}\n"
    )
    return tmp_path / "n.yaml"


def large_patches(tmp_path):
    (tmp_path / "r.yaml").write_text("pretrain: {epochs: 1, student: {patch_size: 20}}\n")
    return tmp_path / "r.yaml"


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_line_and_exit_code_2(store, tmp_path, case):
    arguments, expected = BAD[case]
    code, text = run(*arguments(store, tmp_path))
    assert code == 2, text
    assert text.startswith("smile-synth: ")
    assert len(text.splitlines()) == 1
    assert expected in text

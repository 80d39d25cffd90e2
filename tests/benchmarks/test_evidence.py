"""The evidence: what its tables say, that nothing half done gets into them, and how time is made equal."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from smile_synth.recipe.recipe import load_recipe

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CLIPS = 400


@pytest.fixture(scope="module", autouse=True)
def _benchmarks_are_found():
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def evidence() -> ModuleType:
    """The benchmark, which is a script beside the package."""
    return importlib.import_module("evidence")


@pytest.fixture
def tables() -> ModuleType:
    return importlib.import_module("evidence_tables")


@pytest.fixture
def plan(evidence: ModuleType, tmp_path: Path):
    return evidence.Plan(tmp_path, ("smile-motion", "smile"), (0, 1), 1.0, 2)


def keep(folder: Path, shares: dict[str, float], *, classifier: str = "linear") -> None:
    """Answers as a probe leaves them: of every kind of features, a share is right."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    arrays = {f"direction/{classifier}/{features}": rng.random(CLIPS) < share for features, share in shares.items()}
    np.savez(folder / "right.npz", **arrays)
    (folder / "results.json").write_text(json.dumps({"questions": [{"name": "direction", "chance": 0.125}]}))


def fill(plan) -> None:
    for arm, share in (("smile-motion", 0.6), ("smile", 0.3)):
        for seed in plan.seeds:
            keep(plan.probe(f"{arm}-{seed}"), {"trained": share, "block-2": share - 0.2})


def cells(line: str) -> list[float]:
    return [float(cell.split()[0]) for cell in line.split("|")[2:-1] if cell.strip() != "-"]


def test_interval_holds_the_mean_and_widens_with_the_seeds(tables: ModuleType) -> None:
    clips = np.random.default_rng(0).random((3, CLIPS)) < 0.5
    value, low, high = tables.interval(clips.astype(float))
    assert low < value < high
    assert high - low == pytest.approx(4 * 0.5 / (3 * CLIPS) ** 0.5, rel=0.5)
    apart = np.concatenate([clips[:1], np.zeros((1, CLIPS)), np.ones((1, CLIPS))])
    assert np.ptp(tables.interval(apart.astype(float))[1:]) > 5 * (high - low)


def test_tables_give_arms_baselines_the_middle_block_and_what_ours_adds(tables: ModuleType, plan) -> None:
    fill(plan)
    keep(plan.probe("baselines"), {"untrained": 0.2, "differences": 0.9})
    results = tables.Results.read(plan.out, plan.arms, plan.seeds)
    lines = tables.tables(results, dict.fromkeys(plan.arms, 10), dict.fromkeys(plan.arms, 128)).splitlines()
    assert "| smile | 10 | 1,280 | nan nan |" in lines
    at = lines.index("| question | chance | smile-motion | smile | untrained | differences |")
    assert cells(lines[at + 2]) == pytest.approx([12, 60, 30, 20, 90], abs=6)
    at = lines.index("| block minus last, first seed | smile-motion | smile |")
    assert cells(lines[at + 2]) == pytest.approx([-20, -20], abs=6)
    at = lines.index("### smile-motion minus each other, linear")
    assert lines[at + 2] == "| question | smile | untrained | differences | teacher |"
    assert cells(lines[at + 4]) == pytest.approx([30, 40, -30], abs=6)


def test_an_arm_without_all_its_seeds_is_left_out_and_named(tables: ModuleType, plan) -> None:
    fill(plan)
    (plan.probe("smile-1") / "right.npz").unlink()
    results = tables.Results.read(plan.out, plan.arms, plan.seeds)
    assert results.arms == ("smile-motion",)
    assert results.missing == ("smile-1", "baselines")
    (plan.probe("smile-motion-0") / "right.npz").unlink()
    with pytest.raises(RuntimeError, match=r"no arm in .* is complete"):
        tables.Results.read(plan.out, plan.arms, plan.seeds)


def test_answers_about_real_videos_stand_beside_the_others(tables: ModuleType, plan) -> None:
    fill(plan)
    for arm, seed in plan.runs:
        folder = plan.probe(f"transfer-{arm}-{seed}")
        folder.mkdir(parents=True)
        np.savez(folder / "right.npz", **{"arrow/linear/trained": np.ones(30, bool)})
        (folder / "results.json").write_text(json.dumps({"questions": [{"name": "arrow", "chance": 0.5}]}))
    results = tables.Results.read(plan.out, plan.arms, plan.seeds)
    assert results.asked == ["direction", "arrow"]
    assert results.chance == {"direction": 0.125, "arrow": 0.5}


def test_tables_replace_those_of_a_document_and_nothing_else(tables: ModuleType, plan, tmp_path: Path) -> None:
    fill(plan)
    results = tables.Results.read(plan.out, plan.arms, plan.seeds)
    document = tmp_path / "evidence.md"
    document.write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n")
    for _ in range(2):
        tables.put_tables(document, results, dict.fromkeys(plan.arms, 1), dict.fromkeys(plan.arms, 1))
    text = document.read_text()
    assert text.startswith(f"before\n{tables.BEGIN}\n\n| arm |")
    assert text.endswith(f"\n{tables.END}\nafter\n")
    assert "old" not in text
    document.write_text("no marks")
    with pytest.raises(RuntimeError, match="no place for the tables"):
        tables.put_tables(document, results, {}, {})


def test_the_curve_is_drawn_from_checkpoints_on_a_log_axis(evidence: ModuleType, tables: ModuleType, plan) -> None:
    assert evidence.curve_steps(1000) == [7, 14, 28, 56, 112, 224, 448, 896]
    assert len(evidence.curve_steps(1280)) == evidence.CURVE_POINTS
    assert evidence.curve_steps(3) == [1, 2]
    fill(plan)
    folders = {}
    for number, share in enumerate((0.1, 0.5)):
        folders[128 * (number + 1)] = folder = plan.probe(f"curve-{number:06d}")
        folder.mkdir(parents=True)
        right = np.arange(CLIPS) < share * CLIPS
        np.savez(folder / "right.npz", **{f"direction/{name}/trained": right for name in ("linear", "attentive")})
    results = tables.Results.read(plan.out, plan.arms, plan.seeds)
    picture = plan.out / "curve.png"
    tables.draw_curve(folders, "motion", results, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_training_that_ended_early_is_not_probed(evidence: ModuleType, plan, monkeypatch: pytest.MonkeyPatch) -> None:
    run = plan.run("smile", 0)

    def end_early(*_: object) -> float:
        run.mkdir(parents=True)
        (run / "summary.json").write_text(json.dumps({"steps": 3, "total_steps": 9}))
        return 1.0

    monkeypatch.setattr(evidence, "command", end_early)
    with pytest.raises(RuntimeError, match="ended after 3 of 9 steps; run this again"):
        evidence.train(plan, "smile", run)


def test_cpu_seconds_are_those_of_the_command_and_of_all_its_parts(
    evidence: ModuleType, tables: ModuleType, plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    burner = plan.out / "burner.py"
    burner.write_text("import time\nwhile time.process_time() < 0.5: pass\ntime.sleep(0.5)\n")
    real = evidence.subprocess.Popen
    monkeypatch.setattr(evidence.subprocess, "Popen", lambda words, **rest: real([words[0], str(burner)], **rest))
    assert 0.4 < evidence.command(plan, "runs-smile-0") < 0.95
    evidence.command(plan, "runs-smile-0")
    fill(plan)
    assert 0.9 < tables.Results.read(plan.out, plan.arms, plan.seeds).cpu_s["smile"][0] < 1.9


def test_a_failing_command_names_its_log(evidence: ModuleType, plan) -> None:
    with pytest.raises(RuntimeError, match=r"trial stopped with exit code 2; see .*trial\.log"):
        evidence.command(plan, "trial", "no-such-command")
    assert "no-such-command" in (plan.out / "logs" / "trial.log").read_text()


def test_equal_time_is_steps_by_the_pace_of_each_arm(evidence: ModuleType, plan) -> None:
    for arm, pace in (("smile", 0.25), ("smile-motion", 0.5)):
        file = evidence.pace_file(plan, arm)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"cpu_s_per_step": pace, "batch_size": 128, "at_once": 2, "overrides": []}))
    assert (evidence.num_steps(plan, "smile"), evidence.num_steps(plan, "smile-motion")) == (240, 120)
    # All are there under these circumstances: nothing is measured again.
    evidence.measure_paces(plan)
    other = evidence.Plan(plan.out, plan.arms, plan.seeds, 1.0, 1)
    with pytest.raises(RuntimeError, match="another --at-once or --set"):
        evidence.measure_paces(other)


def test_after_a_failure_no_further_job_is_begun(evidence: ModuleType, plan) -> None:
    begun = []

    def fail() -> None:
        begun.append("fail")
        raise RuntimeError("no")

    one_by_one = evidence.Plan(plan.out, plan.arms, plan.seeds, 1.0, 1)
    with pytest.raises(RuntimeError, match="no"):
        evidence.side_by_side(one_by_one, [fail, lambda: begun.append("next")])
    assert begun == ["fail"]


def test_every_arm_asks_the_same_of_a_student_of_the_same_size(evidence: ModuleType) -> None:
    recipes = [load_recipe(f"evidence-{arm}") for arm in evidence.ARMS]
    first = recipes[0]
    for recipe in recipes:
        assert recipe.section("probe") == first.section("probe")
        assert recipe.section("pretrain").student == first.section("pretrain").student
        assert recipe.section("pretrain").optimizer == first.section("pretrain").optimizer
        assert recipe.section("dataset").assets.split == "pretrain"
    curve = load_recipe("evidence-curve").section("probe")
    asked = first.section("probe")
    assert (curve.seed, curve.sources["straight"]) == (asked.seed, asked.sources["straight"])
    assert (curve.train_clips, curve.test_clips) == (asked.train_clips, asked.test_clips)

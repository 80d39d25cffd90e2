"""The table of the evidence, and that nothing half done gets into it."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def evidence() -> ModuleType:
    """The benchmark, which is a script beside the package."""
    file = Path(__file__).parents[2] / "benchmarks" / "evidence.py"
    spec = importlib.util.spec_from_file_location("evidence", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["evidence"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def plan(evidence: ModuleType, tmp_path: Path):
    return evidence.Plan(tmp_path, ("features", "trajectory"), (0, 1), 1.0, 2, ())


def keep(folder: Path, **right: float) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    arrays = {f"direction/linear/{features}": rng.random(400) < share for features, share in right.items()}
    np.savez(folder / "right.npz", **arrays)


def test_interval_holds_the_mean_and_widens_with_the_seeds(evidence: ModuleType) -> None:
    clips = np.random.default_rng(0).random((3, 400)) < 0.5
    value, low, high = evidence.interval(clips.astype(float))
    assert low < value < high
    apart = np.concatenate([clips[:1], np.zeros((1, 400)), np.ones((1, 400))])
    assert np.ptp(evidence.interval(apart.astype(float))[1:]) > 5 * (high - low)


def test_table_gives_arms_baselines_and_what_ours_adds(evidence: ModuleType, plan) -> None:
    keep(plan.baselines, trained=0.1, untrained=0.2, differences=0.9)
    for arm, share in (("features", 0.3), ("trajectory", 0.6)):
        for seed in plan.seeds:
            keep(plan.out / "probes" / f"{arm}-{seed}", trained=share)
    lines = evidence.table(plan).splitlines()
    assert lines[0] == "| question | features | trajectory | untrained | differences |"
    cells = [float(cell.split()[0]) for cell in lines[2].split("|")[2:-1]]
    assert cells == pytest.approx([30, 60, 20, 90], abs=6)
    assert lines[4] == "| trajectory minus | features |"
    assert float(lines[6].split("|")[2].split()[0]) == pytest.approx(30, abs=5)


def test_a_training_that_ended_early_is_not_probed(evidence: ModuleType, plan, monkeypatch: pytest.MonkeyPatch) -> None:
    run = plan.run("features", 0)

    def end_early(*_: object) -> None:
        run.mkdir(parents=True)
        (run / "summary.json").write_text(json.dumps({"steps": 3, "total_steps": 9}))

    monkeypatch.setattr(evidence, "command", end_early)
    with pytest.raises(RuntimeError, match="ended after 3 of 9 updates; run this again"):
        evidence.train(plan, "features", run)


def test_after_a_failure_no_further_job_is_begun(evidence: ModuleType, plan) -> None:
    begun = []

    def fail() -> None:
        begun.append("fail")
        raise RuntimeError("no")

    one_by_one = evidence.Plan(plan.out, plan.arms, plan.seeds, 1.0, 1, ())
    with pytest.raises(RuntimeError, match="no"):
        evidence.side_by_side(one_by_one, [fail, lambda: begun.append("next")])
    assert begun == ["fail"]


def test_a_pace_under_other_circumstances_is_refused(evidence: ModuleType, plan) -> None:
    for arm in plan.arms:
        file = evidence.pace_file(plan, arm)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"updates_per_second": 2.0, "at_once": 1, "overrides": []}))
    with pytest.raises(RuntimeError, match="another --at-once or --set"):
        evidence.measure_paces(plan)

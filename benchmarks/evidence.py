"""Does the method work here? Four ways of pretraining, equal time, several seeds, one table of probes.

- pixels: normalised pixels under tube masks (VideoMAE)
- features: features of EfficientNet-Lite0 under tube masks
- trajectory: the same features under masks that follow the objects (SMILE)
- still: as trajectory, on clips whose objects do not move

Every arm trains for the same time, with a schedule that ends then: its pace is measured first. Questions, their clips
and the untrained network are the same for all. Run it again after an interruption: what is done is kept.

    python benchmarks/evidence.py --dry-run
    python benchmarks/evidence.py --out evidence --minutes 4
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from smile_synth.probe.evaluation import ProbePlace, probe_features
from smile_synth.probe.files import write_results
from smile_synth.probe.results import TRAINED, ProbeResults
from smile_synth.probe.subject import extractors_of, open_subject
from smile_synth.randomness import stream
from smile_synth.recipe import load_recipe

ARMS = ("pixels", "features", "trajectory", "still")
OURS = "trajectory"
STEPS_TO_TIME = 24
RESAMPLES = 4000

Right = dict[str, npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class Plan:
    """What is run, and where.

    Args:
        out: folder of everything.
        arms: which of ``ARMS``.
        seeds: of the training; the clips are the same.
        minutes: training time of one run.
        overrides: over every recipe.
    """

    out: Path
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    minutes: float
    overrides: tuple[str, ...]

    def store(self, arm: str) -> Path:
        """Where the clips of an arm lie; three arms share theirs."""
        return self.out / ("still.zarr" if arm == "still" else "moving.zarr")

    def run(self, arm: str, seed: int) -> Path:
        """Where a run lies."""
        return self.out / "runs" / f"{arm}-{seed}"


def command(*arguments: str) -> None:
    """Run the command line as a user would."""
    print("$ smile-synth", *arguments, flush=True)
    code = subprocess.run([sys.executable, "-m", "smile_synth", *arguments], check=False).returncode
    if code:
        # The command has said why; what is done is kept.
        sys.exit(code)


def settings(*overrides: str) -> list[str]:
    """Return overrides as options of the command line."""
    return [part for override in overrides for part in ("--set", override)]


def measure_pace(plan: Plan, arm: str) -> float:
    """Return the updates a second of an arm, measured once and kept."""
    kept = plan.out / "pace" / f"{arm}.json"
    if kept.is_file():
        return float(json.loads(kept.read_text())["updates_per_second"])
    run = plan.out / "pace" / arm
    short = (f"pretrain.max_steps={STEPS_TO_TIME}", "pretrain.optimizer.warmup_steps=2", "pretrain.watch.every_steps=1")
    train(plan, arm, run, *short)
    recipe = load_recipe(f"evidence-{arm}", plan.overrides)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    # The first updates are slower: caches are cold.
    pace = float(np.median([row["clips_per_second"] for row in rows[STEPS_TO_TIME // 3 :]]))
    updates = pace / recipe.section("pretrain").batch_size
    kept.write_text(json.dumps({"updates_per_second": updates}))
    return updates


def train(plan: Plan, arm: str, run: Path, *overrides: str) -> None:
    """Train one run, or go on with it."""
    arguments = ["pretrain", f"evidence-{arm}", "--data", str(plan.store(arm)), "--out", str(run), "--resume"]
    command(*arguments, *settings(*plan.overrides, *overrides))


def probe(plan: Plan, arm: str, seed: int) -> Right:
    """Probe one run, once; return which test clips it and the baselines answer rightly."""
    run = plan.run(arm, seed)
    kept = run / "probe" / "right.npz"
    if not kept.is_file():
        params = load_recipe(f"evidence-{arm}", plan.overrides).section("probe")
        subject = open_subject(run, torch.device("cpu"))
        # Shared by all runs: clips, and the features of what is the same for all.
        place = ProbePlace(plan.out / "features", plan.out / "clips", Path.cwd(), subject.device)
        extractors = extractors_of(subject, params)
        results = probe_features(extractors, params, subject.canvas, place, checkpoint=str(run))
        write_results(results, run / "probe")
        np.savez(kept, **right_answers(results))
    with np.load(kept) as arrays:
        return {name: arrays[name] for name in arrays.files}


def right_answers(results: ProbeResults) -> dict[str, Any]:
    """Return right or wrong of every test clip by ``question/classifier/features``."""
    return {
        f"{question.name}/{reading.classifier}/{reading.features}": reading.score.is_right
        for question in results.questions
        for reading in question.readings
    }


def interval(right_SC: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the mean over seeds and clips, with the interval of 95 % of resamples of both.

    Args:
        right_SC: (seeds, test clips), or differences of such.
    """
    rng = stream(0, "evidence")
    seeds, clips = right_SC.shape
    means = np.empty(RESAMPLES)
    for resample in range(RESAMPLES):
        rows, columns = rng.integers(0, seeds, seeds), rng.integers(0, clips, clips)
        means[resample] = right_SC[np.ix_(rows, columns)].mean()
    low, high = np.quantile(means, (0.025, 0.975))
    return float(right_SC.mean()), float(low), float(high)


def table(plan: Plan, right: dict[tuple[str, int], Right]) -> str:
    """Return accuracies of every arm, and by how much ours is better, as Markdown."""
    first = right[plan.arms[0], plan.seeds[0]]
    asked = list(dict.fromkeys(name.rpartition("/")[0] for name in first))
    baselines = [name for name in dict.fromkeys(name.rpartition("/")[2] for name in first) if name != TRAINED]
    lines = [row("question", *plan.arms, *baselines), row(*["---"] * (1 + len(plan.arms) + len(baselines)))]
    for question in asked:
        cells = [_cell(_right(right, plan, arm, f"{question}/{TRAINED}")) for arm in plan.arms]
        cells += [_cell(first[name][None].astype(np.float64)) if (name := f"{question}/{b}") in first else "-"
                  for b in baselines]  # fmt: skip
        lines.append(row(question, *cells))
    return "\n".join([*lines, "", *_differences(plan, right, asked)])


def _differences(plan: Plan, right: dict[tuple[str, int], Right], asked: Sequence[str]) -> list[str]:
    others = [arm for arm in plan.arms if arm != OURS]
    if OURS not in plan.arms or not others:
        return []
    lines = [row(f"{OURS} minus", *others), row(*["---"] * (1 + len(others)))]
    for question in asked:
        ours = _right(right, plan, OURS, f"{question}/{TRAINED}")
        cells = [_cell(ours - _right(right, plan, arm, f"{question}/{TRAINED}"), signed=True) for arm in others]
        lines.append(row(question, *cells))
    return lines


def _right(right: dict[tuple[str, int], Right], plan: Plan, arm: str, name: str) -> npt.NDArray[np.float64]:
    return np.stack([right[arm, seed][name] for seed in plan.seeds]).astype(np.float64)


def _cell(right_SC: npt.NDArray[np.float64], *, signed: bool = False) -> str:
    value, low, high = (100 * figure for figure in interval(right_SC))
    sign = "+" if signed else ""
    return f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def row(*cells: str) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def show_plan(plan: Plan) -> None:
    """Say what would be run and how long it takes."""
    runs = len(plan.arms) * len(plan.seeds)
    print(f"{runs} runs of {plan.minutes:g} minutes: arms {', '.join(plan.arms)}; seeds {plan.seeds}; in {plan.out}")
    for arm in plan.arms:
        recipe = load_recipe(f"evidence-{arm}", plan.overrides)
        pretrain = recipe.section("pretrain")
        mask = pretrain.plan[0].mask.kind
        print(f"  {arm}: target {pretrain.target.kind}, mask {mask}, {recipe.section('dataset').clips} clips")
    print(f"training alone takes {runs * plan.minutes / 60:.1f} hours; probes come on top")


def main() -> None:
    """Render, time, train, probe, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("evidence"))
    parser.add_argument("--minutes", type=float, default=4.0, help="training time of one run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="key.sub=value over every recipe")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run")
    given = parser.parse_args()
    plan = Plan(given.out, tuple(given.arms), tuple(given.seeds), given.minutes, tuple(given.overrides))
    show_plan(plan)
    if given.dry_run:
        return
    for arm in plan.arms:
        command("render", f"evidence-{arm}", "--out", str(plan.store(arm)), *settings(*plan.overrides))
    steps = {arm: max(2, int(60 * plan.minutes * measure_pace(plan, arm))) for arm in plan.arms}
    right: dict[tuple[str, int], Right] = {}
    for seed in plan.seeds:
        for arm in plan.arms:
            warmup = max(1, steps[arm] // 10)
            length = (f"pretrain.max_steps={steps[arm]}", f"pretrain.optimizer.warmup_steps={warmup}")
            train(plan, arm, plan.run(arm, seed), f"seed={seed}", *length)
            right[arm, seed] = probe(plan, arm, seed)
    text = table(plan, right)
    (plan.out / "table.md").write_text(text + "\n", encoding="utf-8")
    print(f"\nupdates of a run: {steps}\n\n{text}\n\nwritten to {plan.out / 'table.md'}")


if __name__ == "__main__":
    main()

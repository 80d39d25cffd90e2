"""Does the method work here? Four ways of pretraining, equal time, several seeds, one table of probes.

- pixels: normalised pixels under tube masks (VideoMAE)
- features: features of EfficientNet-Lite0 under tube masks
- trajectory: the same features under masks that follow the objects (SMILE)
- still: as trajectory, on clips whose objects do not move

Every arm trains for the same time, with a schedule that ends then: its pace is measured first, beside as many others as
later. Runs go side by side, each on its share of the cores: small students waste a second thread. Questions, their
clips and the untrained network are the same for all. Run it again after an interruption: what is done is kept.

    python benchmarks/evidence.py --dry-run
    python benchmarks/evidence.py --out evidence --minutes 6
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from smile_synth.errors import SmileSynthError
from smile_synth.machine.cores import num_cores
from smile_synth.probe.evaluation import ProbePlace, prepare_materials
from smile_synth.probe.files import RIGHT_FILE
from smile_synth.probe.results import TRAINED
from smile_synth.randomness import stream
from smile_synth.recipe.recipe import load_recipe

ARMS = ("pixels", "features", "trajectory", "still")
OURS = "trajectory"
STEPS_TO_TIME = 32
SHORT = (f"pretrain.max_steps={STEPS_TO_TIME}", "pretrain.optimizer.warmup_steps=2", "pretrain.watch.every_steps=1")
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
        at_once: runs side by side.
        overrides: over every recipe.
    """

    out: Path
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    minutes: float
    at_once: int
    overrides: tuple[str, ...]

    def store(self, arm: str) -> Path:
        """Where the clips of an arm lie; three arms share theirs."""
        return self.out / ("still.zarr" if arm == "still" else "moving.zarr")

    def run(self, arm: str, seed: int) -> Path:
        """Where a run lies."""
        return self.out / "runs" / f"{arm}-{seed}"

    @property
    def baselines(self) -> Path:
        """Where the untrained network, frame differences and the teacher are probed."""
        return self.out / "baselines"

    @property
    def threads(self) -> int:
        """Threads of one run."""
        return max(1, num_cores() // self.at_once)


def command(plan: Plan, name: str, *arguments: str) -> None:
    """Run the command line as a user would, with a log of its own.

    Raises:
        RuntimeError: it failed; the message names the log.
    """
    log = plan.out / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    threads = str(plan.threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
    began_s = time.monotonic()
    with log.open("a", encoding="utf-8") as file:
        print("$ smile-synth", *arguments, file=file, flush=True)
        words = [sys.executable, "-m", "smile_synth", *arguments]
        code = subprocess.run(words, check=False, stdout=file, stderr=file, env=environment).returncode
    if code:
        raise RuntimeError(f"{name} stopped with exit code {code}; see {log}. What is done is kept")
    print(f"{time.strftime('%H:%M:%S')} {name}: {time.monotonic() - began_s:.0f} s", flush=True)


def settings(*overrides: str) -> list[str]:
    """Return overrides as options of the command line."""
    return [part for override in overrides for part in ("--set", override)]


def pace_file(plan: Plan, arm: str) -> Path:
    """Where the pace of an arm is kept."""
    return plan.out / "pace" / f"{arm}.json"


def measure_pace(plan: Plan, arm: str) -> None:
    """Measure the updates a second of an arm."""
    kept = pace_file(plan, arm)
    run = kept.with_suffix("")
    train(plan, arm, run, *SHORT)
    recipe = load_recipe(f"evidence-{arm}", plan.overrides)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    # The first updates are slower: caches are cold.
    pace = float(np.median([row["clips_per_second"] for row in rows[STEPS_TO_TIME // 3 :]]))
    updates = pace / recipe.section("pretrain").batch_size
    kept.write_text(json.dumps({"updates_per_second": updates, **circumstances(plan)}))


def circumstances(plan: Plan) -> dict[str, Any]:
    """Return what a pace depends on beside the arm."""
    return {"at_once": plan.at_once, "overrides": list(plan.overrides)}


def measure_paces(plan: Plan) -> None:
    """Measure all paces side by side, as the runs go later; once."""
    kept = [json.loads(pace_file(plan, arm).read_text()) for arm in plan.arms if pace_file(plan, arm).is_file()]
    if len(kept) == len(plan.arms):
        if any(pace[name] != value for pace in kept for name, value in circumstances(plan).items()):
            raise RuntimeError(f"{plan.out} holds paces under another --at-once or --set; choose another --out")
        return
    shutil.rmtree(plan.out / "pace", ignore_errors=True)
    # The last ones are not to be alone.
    company = [f"company-{number}" for number in range(-len(plan.arms) % plan.at_once)]
    jobs: list[Callable[[], None]] = [partial(measure_pace, plan, arm) for arm in plan.arms]
    jobs += [partial(train, plan, plan.arms[0], plan.out / "pace" / name, *SHORT) for name in company]
    side_by_side(plan, jobs)


def num_steps(plan: Plan, arm: str) -> int:
    """Return how many updates an arm makes in the time of a run."""
    pace = json.loads(pace_file(plan, arm).read_text())["updates_per_second"]
    return max(2, int(60 * plan.minutes * pace))


def train(plan: Plan, arm: str, run: Path, *overrides: str) -> None:
    """Train one run to its end, or go on with it.

    Raises:
        RuntimeError: it ended early, as a training does after Ctrl-C; what is done is kept.
    """
    arguments = ["pretrain", f"evidence-{arm}", "--data", str(plan.store(arm)), "--out", str(run), "--resume"]
    command(plan, f"{run.parent.name}-{run.name}", *arguments, *settings(*plan.overrides, *overrides))
    summary = json.loads((run / "summary.json").read_text())
    if summary["steps"] < summary["total_steps"]:
        raise RuntimeError(f"{run} ended after {summary['steps']} of {summary['total_steps']} updates; run this again")


def probe(plan: Plan, arm: str, model: Path, out: Path, baselines: str) -> None:
    """Probe one run, once."""
    if (out / RIGHT_FILE).is_file():
        return
    arguments = ["probe", str(model), "--recipe", f"evidence-{arm}", "--out", str(out)]
    arguments += ["--clips", str(plan.out / "clips"), "--workers", str(plan.threads)]
    command(plan, f"probe-{out.name}", *arguments, *settings(*plan.overrides, f"probe.baselines={baselines}"))


def render_questions(plan: Plan) -> None:
    """Render the clips that all probes share, before several would do so at once."""
    recipe = load_recipe(f"evidence-{plan.arms[0]}", plan.overrides)
    place = ProbePlace(plan.baselines, plan.out / "clips", recipe.folder, torch.device("cpu"), num_cores())
    prepare_materials(recipe.section("probe"), recipe.section("dataset").canvas, place)


def probe_baselines(plan: Plan) -> None:
    """Probe what stands beside all runs."""
    # Any run does: what is asked of it is its untrained twin, its teacher and the frames.
    arm = OURS if OURS in plan.arms else plan.arms[0]
    probe(plan, arm, plan.out / "pace" / arm, plan.baselines, "[untrained,differences,teacher]")


def train_and_probe(plan: Plan, arm: str, seed: int) -> None:
    """Train and probe one of the runs that the table is made of."""
    steps, run = num_steps(plan, arm), plan.run(arm, seed)
    length = (f"pretrain.max_steps={steps}", f"pretrain.optimizer.warmup_steps={max(1, steps // 10)}")
    train(plan, arm, run, f"seed={seed}", *length)
    probe(plan, arm, run, plan.out / "probes" / run.name, "[]")


def side_by_side(plan: Plan, jobs: Iterable[Callable[[], None]]) -> None:
    """Run jobs, as many at once as planned; after the first failure none is begun any more."""
    has_failed = Event()

    def run(job: Callable[[], None]) -> None:
        if not has_failed.is_set():
            try:
                job()
            except BaseException:
                has_failed.set()
                raise

    with ThreadPoolExecutor(plan.at_once) as pool:
        futures: list[Future[None]] = [pool.submit(run, job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            # Ctrl-C reaches the commands too: trainings save where they are and end, and nothing follows them.
            has_failed.set()
            raise


def read_right(folder: Path) -> Right:
    """Return which test clips were answered rightly, by ``question/classifier/features``."""
    with np.load(folder / RIGHT_FILE) as arrays:
        return {name: arrays[name] for name in arrays.files}


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


def table(plan: Plan) -> str:
    """Return accuracies of every arm, and by how much ours is better, as Markdown."""
    right = {
        (arm, seed): read_right(plan.out / "probes" / plan.run(arm, seed).name)
        for arm in plan.arms
        for seed in plan.seeds
    }
    first = read_right(plan.baselines)
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
    hours = -(-runs // plan.at_once) * plan.minutes / 60
    print(
        f"{plan.at_once} at once, threads of each: {plan.threads}; training takes {hours:.1f} hours, probes come on top"
    )


def run_plan(plan: Plan) -> str:
    """Render, time, train and probe; return the table."""
    for store, arm in {plan.store(arm): arm for arm in plan.arms}.items():
        command(plan, store.stem, "render", f"evidence-{arm}", "--out", str(store), *settings(*plan.overrides))
    measure_paces(plan)
    render_questions(plan)
    runs = [(arm, seed) for seed in plan.seeds for arm in plan.arms]
    jobs: list[Callable[[], None]] = [partial(probe_baselines, plan)]
    jobs += [partial(train_and_probe, plan, arm, seed) for arm, seed in runs]
    side_by_side(plan, jobs)
    steps = ", ".join(f"{arm} {num_steps(plan, arm)}" for arm in plan.arms)
    return f"updates of a run: {steps}\nseconds of each: {seconds(plan)}\n\n{table(plan)}"


def seconds(plan: Plan) -> str:
    """Return how long the runs of every arm took in fact."""
    runs = {arm: [plan.run(arm, seed) / "summary.json" for seed in plan.seeds] for arm in plan.arms}
    took = {arm: [json.loads(file.read_text())["seconds"] for file in files] for arm, files in runs.items()}
    return ", ".join(f"{arm} {' '.join(f'{second:.0f}' for second in took[arm])}" for arm in plan.arms)


def main() -> int:
    """Render, time, train, probe, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("evidence"))
    parser.add_argument("--minutes", type=float, default=6.0, help="training time of one run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument(
        "--at-once",
        type=int,
        default=num_cores(),
        choices=range(1, 65),
        metavar="N",
        help="side by side; else all cores",
    )
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="key.sub=value over every recipe")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run")
    given = parser.parse_args()
    overrides = tuple(given.overrides)
    plan = Plan(given.out, tuple(given.arms), tuple(given.seeds), given.minutes, given.at_once, overrides)
    try:
        show_plan(plan)
        if given.dry_run:
            return 0
        text = run_plan(plan)
    except (RuntimeError, SmileSynthError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    (plan.out / "table.md").write_text(text + "\n", encoding="utf-8")
    print(f"\n{text}\n\nwritten to {plan.out / 'table.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

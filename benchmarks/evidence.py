"""What does a student learn here? Seven arms, equal CPU time, several seeds, one set of questions.

- pixels: normalised pixels under tube masks (VideoMAE)
- features: features of EfficientNet-Lite0 under tube masks
- smile: the same features under masks that follow the objects (SMILE)
- motion: exact motion of the visible tokens, and nothing else
- smile-motion: as smile, and exact motion
- still: as smile-motion, on clips in which nothing moves
- images: as smile-motion, on whole photographs in pseudo-motion, under tube masks

The teacher's features are computed once for every store and read from then on. Every arm trains for the same CPU time
of one core, loader included: its pace is measured first, beside as many others as later, and its schedule is made for
the steps that fit. Runs go side by side, one thread each. Questions,
their clips and the baselines are the same for all. Interrupt it at any moment; the same command resumes.

    python benchmarks/evidence.py --dry-run
    python benchmarks/evidence.py --out evidence --minutes 2
    python benchmarks/transfer_clips.py --out evidence-videos
    python benchmarks/evidence.py --out evidence --minutes 2 --videos evidence-videos
    python benchmarks/evidence.py --out evidence --table docs/evidence.md
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import Any

import torch
from evidence_tables import Results, draw_curve, put_tables

from smile_synth.errors import SmileSynthError
from smile_synth.machine.cores import num_cores
from smile_synth.probe.evaluation import ProbePlace, prepare_materials
from smile_synth.probe.files import RIGHT_FILE
from smile_synth.recipe.recipe import load_recipe

# The most telling first: what is interrupted has whole arms to show.
ARMS = ("smile-motion", "smile", "motion", "pixels", "still", "features", "images")
STORES = {"still": "still", "images": "images"}
CURVE_ARM = "motion"
CURVE_POINTS = 8
SHORT_STEPS = 8
TIMED_S = 30.0
BASELINES = "[untrained,differences,teacher,supervised]"
SUPERVISED_EPOCHS = 12
TRANSFER_RECIPE = "evidence-transfer"

_log_lock = Lock()


@dataclass(frozen=True)
class Plan:
    """What is run, and where.

    Args:
        out: folder of everything.
        arms: which of ``ARMS``.
        seeds: of the training; the clips are the same.
        minutes: CPU time of one run.
        at_once: runs side by side.
        overrides: over every arm's recipe.
        videos: folder of labelled clips of real videos; None leaves them out.
    """

    out: Path
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    minutes: float
    at_once: int
    overrides: tuple[str, ...] = ()
    videos: Path | None = None

    def store(self, arm: str) -> Path:
        """Where the clips of an arm lie; five arms share theirs."""
        return self.out / f"{STORES.get(arm, 'moving')}.zarr"

    def run(self, arm: str, seed: int) -> Path:
        """Where a run lies."""
        return self.out / "runs" / f"{arm}-{seed}"

    def probe(self, name: str) -> Path:
        """Where the answers of a run, or of ``baselines``, lie."""
        return self.out / "probes" / name

    @property
    def runs(self) -> list[tuple[str, int]]:
        """All runs, whole arms first to last."""
        return [(arm, seed) for arm in self.arms for seed in self.seeds]


def command(plan: Plan, name: str, *arguments: str) -> float:
    """Run the command line as a user would, on one thread, with a log of its own; return its CPU seconds.

    Raises:
        RuntimeError: it failed; the message names the log.
    """
    log = plan.out / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    began_s = time.monotonic()
    with log.open("a", encoding="utf-8") as file:
        print("$ smile-synth", *arguments, file=file, flush=True)
        words = [sys.executable, "-m", "smile_synth", *arguments]
        process = subprocess.Popen(words, stdout=file, stderr=file, env=environment)
        # What this child and its own children used, whatever else the machine does.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{name} stopped with exit code {process.returncode}; see {log}. What is done is kept")
    cpu_s = usage.ru_utime + usage.ru_stime
    wall_s = time.monotonic() - began_s
    append(plan.out / "commands.jsonl", {"name": name, "cpu_s": round(cpu_s, 2), "wall_s": round(wall_s, 2)})
    print(f"{time.strftime('%H:%M:%S')} {name}: {cpu_s:.0f} s of CPU in {wall_s:.0f} s", flush=True)
    return cpu_s


def append(file: Path, row: dict[str, Any]) -> None:
    """Add a line of JSON."""
    with _log_lock, file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")


def settings(*overrides: str) -> list[str]:
    """Return overrides as options of the command line."""
    return [part for override in overrides for part in ("--set", override)]


def pace_file(plan: Plan, arm: str) -> Path:
    """Where the pace of an arm is kept."""
    return plan.out / "pace" / f"{arm}.json"


def timed(plan: Plan, arm: str, name: str, steps: int) -> tuple[float, Path]:
    """Return the CPU seconds of a short training, and its folder."""
    run = plan.out / "pace" / f"{arm}-{name}"
    overrides = (f"pretrain.max_steps={steps}", "pretrain.optimizer.warmup_steps=2", "pretrain.watch.every_steps=1")
    return train(plan, arm, run, *overrides), run


def has_teacher(plan: Plan, arm: str) -> bool:
    """Whether an arm predicts features."""
    return load_recipe(f"evidence-{arm}", plan.overrides).section("pretrain").teacher_or_default is not None


def cache_features(plan: Plan) -> None:
    """Compute the teacher's features of every store whose arms predict them, side by side; once."""
    arm_of = {plan.store(arm): arm for arm in plan.arms if has_teacher(plan, arm)}
    jobs = [
        partial(
            command,
            plan,
            f"cache-{store.stem}",
            "cache",
            str(store),
            "--recipe",
            f"evidence-{arm}",
            *settings(*plan.overrides),
        )
        for store, arm in arm_of.items()
    ]
    side_by_side(plan, jobs)


def measure_pace(plan: Plan, arm: str) -> None:
    """Measure the CPU seconds of a step of an arm: the difference of two trainings, so that no start counts.

    Raises:
        RuntimeError: the difference means nothing.
    """
    if pace_file(plan, arm).is_file():
        return
    for old in (plan.out / "pace").glob(f"{arm}-*"):
        shutil.rmtree(old)
    # The very first start compiles kernels, and keeps them.
    timed(plan, arm, "cold", SHORT_STEPS)
    short_s, run = timed(plan, arm, "short", SHORT_STEPS)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    batch_size = load_recipe(f"evidence-{arm}", plan.overrides).section("pretrain").batch_size
    further = max(SHORT_STEPS, int(TIMED_S * rows[-1]["clips_per_second"] / batch_size))
    long_s, _ = timed(plan, arm, "long", SHORT_STEPS + further)
    if long_s <= short_s:
        raise RuntimeError(f"{arm}: {SHORT_STEPS + further} steps took no longer than {SHORT_STEPS}; run this again")
    pace = {"cpu_s_per_step": (long_s - short_s) / further, "batch_size": batch_size, **circumstances(plan)}
    pace_file(plan, arm).write_text(json.dumps(pace))


def circumstances(plan: Plan) -> dict[str, Any]:
    """Return what a pace depends on beside the arm."""
    return {"at_once": plan.at_once, "overrides": list(plan.overrides)}


def measure_paces(plan: Plan) -> None:
    """Measure all paces side by side, as the runs go later; once.

    Raises:
        RuntimeError: paces were measured under other circumstances.
    """
    kept = [json.loads(pace_file(plan, arm).read_text()) for arm in plan.arms if pace_file(plan, arm).is_file()]
    if any(pace[name] != value for pace in kept for name, value in circumstances(plan).items()):
        raise RuntimeError(f"{plan.out} holds paces under another --at-once or --set; choose another --out")
    if len(kept) < len(plan.arms):
        side_by_side(plan, [partial(measure_pace, plan, arm) for arm in plan.arms])


def num_steps(plan: Plan, arm: str) -> int:
    """Return how many steps an arm makes in the time of a run."""
    pace = json.loads(pace_file(plan, arm).read_text())["cpu_s_per_step"]
    return max(2, int(60 * plan.minutes / pace))


def train(plan: Plan, arm: str, run: Path, *overrides: str) -> float:
    """Train one run to its end, or resume it; return the CPU seconds of this part.

    Raises:
        RuntimeError: it ended early, as a training does after Ctrl-C; what is done is kept.
    """
    arguments = ["pretrain", f"evidence-{arm}", "--data", str(plan.store(arm)), "--out", str(run), "--resume"]
    cached = ("pretrain.teacher.cache=require",) if has_teacher(plan, arm) else ()
    cpu_s = command(plan, f"{run.parent.name}-{run.name}", *arguments, *settings(*plan.overrides, *cached, *overrides))
    summary = json.loads((run / "summary.json").read_text())
    if summary["steps"] < summary["total_steps"]:
        raise RuntimeError(f"{run} ended after {summary['steps']} of {summary['total_steps']} steps; run this again")
    return cpu_s


def probe(plan: Plan, recipe: str, model: Path, name: str, *overrides: str) -> None:
    """Put the questions of a recipe to a model, once."""
    out = plan.probe(name)
    if (out / RIGHT_FILE).is_file():
        return
    arguments = ["probe", str(model), "--recipe", recipe, "--out", str(out), "--clips", str(plan.out / "clips")]
    command(plan, f"probe-{name}", *arguments, "--workers", "1", *settings(*overrides))
    shutil.rmtree(out / "features")
    rows = json.loads((out / "results.json").read_text())["questions"]
    readings = [
        {"question": row["name"], "classifier": r["classifier"], "features": r["features"], **r["accuracy"]}
        for row in rows
        for r in row["readings"]
    ]
    append(plan.out / "results.jsonl", {"name": name, "readings": readings})


def probe_all(plan: Plan, recipe: str, model: Path, name: str, baselines: str, *, with_blocks: bool) -> None:
    """Put the questions about generated clips to a model, and those about real videos where there are any."""
    blocks = () if with_blocks else ("probe.blocks=[]",)
    length = (f"probe.supervised.epochs={SUPERVISED_EPOCHS}",) if "supervised" in baselines else ()
    asked = (f"probe.baselines={baselines}", *length)
    probe(plan, recipe, model, name, *plan.overrides, *asked, *blocks)
    if plan.videos is None:
        return
    folders = [
        f"probe.questions.{number}.videos.{part}={plan.videos.resolve() / question.name / part}"
        for number, question in enumerate(load_recipe(TRANSFER_RECIPE).section("probe").questions)
        for part in ("train", "test")
    ]
    probe(plan, TRANSFER_RECIPE, model, f"transfer-{name}", *folders, *asked)


def render_questions(plan: Plan) -> None:
    """Render the clips that all probes share, before several would do so at once."""
    recipe = load_recipe(f"evidence-{plan.arms[0]}", plan.overrides)
    place = ProbePlace(plan.probe("baselines"), plan.out / "clips", recipe.folder, torch.device("cpu"), num_cores())
    prepare_materials(recipe.section("probe"), recipe.section("dataset").canvas, place)


def probe_baselines(plan: Plan) -> None:
    """Ask the untrained network, frame differences, the teacher, and the network that is trained on the answers."""
    # Any run does: what is asked of it is its size and its teacher.
    arm = plan.arms[0]
    probe_all(plan, f"evidence-{arm}", plan.out / "pace" / f"{arm}-short", "baselines", BASELINES, with_blocks=False)


def train_and_probe(plan: Plan, arm: str, seed: int) -> None:
    """Train and probe one of the runs that the tables are made of."""
    steps, run = num_steps(plan, arm), plan.run(arm, seed)
    length = (f"pretrain.max_steps={steps}", f"pretrain.optimizer.warmup_steps={max(1, steps // 20)}")
    every = max(1, steps // 2 ** (CURVE_POINTS - 1))
    kept = (f"pretrain.checkpoint.milestone_every_steps={every}", "pretrain.checkpoint.keep_milestones=1000000")
    is_curve = (arm, seed) == (CURVE_ARM, plan.seeds[0])
    train(plan, arm, run, f"seed={seed}", *length, *(kept if is_curve else ()))
    # One seed is enough to see whether an earlier block would do better.
    probe_all(plan, f"evidence-{arm}", run, run.name, "[]", with_blocks=seed == plan.seeds[0])
    if is_curve:
        probe_curve(plan, run, steps)


def curve_steps(steps: int) -> list[int]:
    """Return the steps of the curve's points, each about twice the one before."""
    every = max(1, steps // 2 ** (CURVE_POINTS - 1))
    return [every * 2**point for point in range(CURVE_POINTS) if every * 2**point <= steps]


def probe_curve(plan: Plan, run: Path, steps: int) -> None:
    """Ask for directions at checkpoints of a run."""
    for step in curve_steps(steps):
        checkpoint = run / "checkpoints" / f"step-{step:08d}.pt"
        probe(plan, "evidence-curve", checkpoint, f"curve-{step:06d}")


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


def show_plan(plan: Plan) -> None:
    """Say what would be run and how long it takes."""
    count = len(plan.runs)
    print(f"{count} runs of {plan.minutes:g} minutes of CPU: arms {', '.join(plan.arms)}; seeds {plan.seeds}")
    for arm in plan.arms:
        recipe = load_recipe(f"evidence-{arm}", plan.overrides)
        pretrain = recipe.section("pretrain")
        mask = pretrain.plan[0].mask.kind
        motion = " and motion" if pretrain.target.motion and pretrain.target.kind != "motion" else ""
        print(f"  {arm}: target {pretrain.target.kind}{motion}, mask {mask}, {recipe.section('dataset').clips} clips")
    hours = -(-count // plan.at_once) * plan.minutes / 60
    print(
        f"{plan.at_once} at once, one thread each, in {plan.out}: training takes {hours:.1f} hours, probes come on top"
    )


def run_plan(plan: Plan) -> None:
    """Render, time, train and probe what is not there yet."""
    for store, arm in {plan.store(arm): arm for arm in plan.arms}.items():
        command(plan, store.stem, "render", f"evidence-{arm}", "--out", str(store), *settings(*plan.overrides))
    cache_features(plan)
    measure_paces(plan)
    render_questions(plan)
    jobs: list[Callable[[], None]] = [partial(train_and_probe, plan, arm, seed) for arm, seed in plan.runs]
    side_by_side(plan, [*jobs, partial(probe_baselines, plan)])


def write_tables(plan: Plan, document: Path) -> None:
    """Put what is complete into the document's tables, and draw the curve beside it.

    Raises:
        RuntimeError: there is no complete arm.
    """
    results = Results.read(plan.out, plan.arms, plan.seeds)
    for missing in results.missing:
        print(f"left out, not complete: {missing}", file=sys.stderr)
    steps = {arm: num_steps(plan, arm) for arm in results.arms}
    batch = {arm: json.loads(pace_file(plan, arm).read_text())["batch_size"] for arm in results.arms}
    put_tables(document, results, steps, batch)
    points = {int(folder.name.split("-")[1]): folder for folder in sorted((plan.out / "probes").glob("curve-*"))}
    if points and CURVE_ARM in batch:
        picture = document.parent / "images" / "evidence-curve.png"
        picture.parent.mkdir(exist_ok=True)
        draw_curve({step * batch[CURVE_ARM]: folder for step, folder in points.items()}, CURVE_ARM, results, picture)
        print(f"wrote {picture}")
    print(f"wrote the tables of {document}")


def parse() -> tuple[Plan, argparse.Namespace]:
    """Return the plan that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("evidence"))
    parser.add_argument("--minutes", type=float, default=2.0, help="CPU minutes of one run's training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--at-once", type=int, default=num_cores(), metavar="N", help="side by side; else all cores")
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="key.sub=value over every recipe")
    parser.add_argument("--videos", type=Path, help="labelled clips of real videos, from transfer_clips.py")
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="only write the tables of this document, and its curve"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be run")
    given = parser.parse_args()
    if given.at_once < 1 or given.minutes <= 0:
        parser.error(f"--at-once and --minutes must be positive, got {given.at_once} and {given.minutes:g}")
    if given.videos is not None and not given.videos.is_dir():
        parser.error(
            f"there is no folder {given.videos}; make it: python benchmarks/transfer_clips.py --out {given.videos}"
        )
    arms = tuple(arm for arm in ARMS if arm in given.arms)
    plan = Plan(given.out, arms, tuple(given.seeds), given.minutes, given.at_once, tuple(given.overrides), given.videos)
    return plan, given


def main() -> int:
    """Run the plan, say what it is, or write the tables."""
    plan, given = parse()
    try:
        if given.table is not None:
            write_tables(plan, given.table)
            return 0
        show_plan(plan)
        if not given.dry_run:
            run_plan(plan)
    except (RuntimeError, SmileSynthError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to resume", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What makes a small student learn fast? Settings of the recipe `demo`, each trained for the same time of one core.

Every setting is timed over a few updates, trained for as many as fit into the time, and probed on the same clips. One
thread each, so that runs can go side by side. What is done is kept: run it again after an interruption.

    python benchmarks/learning.py --out learning --seconds 90
    python benchmarks/learning.py --out learning --seconds 90 --only demo,tubelet-2 --seeds 0,1,2
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from smile_synth.training.metrics import read_rows

STUDENT = "pretrain.student"
# Name of a setting -> what it changes of the recipe `demo`.
SETTINGS: dict[str, tuple[str, ...]] = {
    "demo": (),
    "tubelet-2": (f"{STUDENT}.tubelet_size=2",),
    "tubelet-8": (f"{STUDENT}.tubelet_size=8",),
    "half-hidden": ("pretrain.mask.ratio=0.5",),
    "all-tokens": ("pretrain.target.motion.tokens=all",),
    "hidden-tokens": ("pretrain.target.motion.tokens=hidden",),
    "pixels": ("pretrain.target={kind: pixels}",),
    "rate-3e-3": ("pretrain.optimizer.learning_rate=3.0e-3",),
    "batch-64": ("pretrain.batch_size=64",),
    "flat-positions": (f"{STUDENT}.positions=flat",),
    "depth-6": (f"{STUDENT}.depth=6",),
    "float32": ("pretrain.runtime.precision=float32",),
}
# Not the seed that the demo reports on.
PROBE = (
    "probe.seed=4000037",
    "probe.train_clips=2048",
    "probe.test_clips=2048",
    "probe.classifiers=[linear, attentive]",
)
STEPS_TO_TIME = 64
QUIET = ("pretrain.watch.pictures_every_steps=0", "pretrain.watch.trackers=[]")
WARMUP_SHARE = 0.05


def main() -> None:
    """Train and probe every setting, then print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("learning"))
    parser.add_argument("--seconds", type=float, default=90.0, help="training time of one core a run")
    parser.add_argument("--only", default=",".join(SETTINGS), help="names of settings, with commas")
    parser.add_argument("--seeds", default="0", help="seeds of the training, with commas")
    args = parser.parse_args()
    unknown = [name for name in args.only.split(",") if name not in SETTINGS]
    if unknown:
        parser.error(f"unknown settings {', '.join(unknown)}; there are {', '.join(SETTINGS)}")
    store = args.out / "clips.zarr"
    run_command("render", "demo", "--out", str(store), "--set", "dataset.clips=24576")
    for name in args.only.split(","):
        for seed in args.seeds.split(","):
            train_and_probe(args.out, store, name, int(seed), args.seconds)
    print(table(args.out))


def train_and_probe(out: Path, store: Path, name: str, seed: int, seconds: float) -> None:
    """Train one setting with one seed for so many seconds, and probe it."""
    run = out / f"{name}-{seed}"
    if (run / "probe" / "results.json").is_file():
        return
    settings = [*SETTINGS[name], *QUIET, f"seed={seed}", "dataset.clips=24576"]
    if not (run / "recipe.yaml").is_file():
        pace = clips_per_second(out / "pace", store, settings)
        batch_size = next((int(s.split("=")[1]) for s in settings if s.startswith("pretrain.batch_size")), 128)
        steps = max(STEPS_TO_TIME, round(seconds * pace / batch_size))
        settings += [f"pretrain.max_steps={steps}", f"pretrain.optimizer.warmup_steps={round(WARMUP_SHARE * steps)}"]
        (out / f"{run.name}.json").write_text(json.dumps({"settings": settings, "pace": pace, "steps": steps}))
    plan = json.loads((out / f"{run.name}.json").read_text())
    run_command("pretrain", "demo", "--data", str(store), "--out", str(run), "--resume", *overrides(plan["settings"]))
    run_command("probe", str(run), "--recipe", "demo", "--clips", str(out / "clips"), *overrides(PROBE))


def clips_per_second(folder: Path, store: Path, settings: list[str]) -> float:
    """Return how fast a setting trains, from the second half of a short run."""
    shutil.rmtree(folder, ignore_errors=True)
    short = (f"pretrain.max_steps={STEPS_TO_TIME}", f"pretrain.watch.every_steps={STEPS_TO_TIME // 2}")
    short += ("pretrain.optimizer.warmup_steps=2", "pretrain.watch.features_every_steps=1000000")
    run_command("pretrain", "demo", "--data", str(store), "--out", str(folder), *overrides([*settings, *short]))
    return float(read_rows(folder / "metrics.jsonl")[-1]["clips_per_second"])


def overrides(settings: Any) -> list[str]:
    """Return settings as arguments of the command line."""
    return [word for setting in settings for word in ("--set", setting)]


def run_command(*arguments: str) -> None:
    """Run smile-synth on one core."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "smile_synth", *arguments], check=True, env=environment, stdout=sys.stderr)


def table(out: Path) -> str:
    """Return a row a run: clips, pace, and accuracies in percent with their 95 % intervals."""
    lines = ["run                    steps  clips/s  question/classifier: trained [low, high], over untrained"]
    for plan_file in sorted(out.glob("*-*.json")):
        results_file = out / plan_file.stem / "probe" / "results.json"
        if not results_file.is_file():
            continue
        plan, results = json.loads(plan_file.read_text()), json.loads(results_file.read_text())
        cells = [
            f"{question['name']}/{reading['classifier']}: {percent(reading['accuracy'])}, "
            f"{100 * reading['over_untrained']['value']:+.1f}"
            for question in results["questions"]
            for reading in question["readings"]
            if reading["features"] == "trained"
        ]
        lines.append(f"{plan_file.stem:22} {plan['steps']:5d} {plan['pace']:8.0f}  {'; '.join(cells)}")
    return "\n".join(lines)


def percent(interval: dict[str, float]) -> str:
    """Return an accuracy in percent with its interval."""
    return f"{100 * interval['value']:.1f} [{100 * interval['low']:.1f}, {100 * interval['high']:.1f}]"


if __name__ == "__main__":
    main()

"""What makes a small student learn fast? Settings of a recipe, each trained for the same time of one core.

`--recipe demo` tries the student of motion alone, `--recipe evidence-smile-motion` one of a teacher's features and
motion; its features are computed once, before the clock starts. Every setting is timed over a few updates, trained for
as many as fit into the time, and probed on the same clips. One thread each, so that runs can go side by side. What is
done is kept: run it again after an interruption.

    python benchmarks/learning.py --out learning --seconds 90
    python benchmarks/learning.py --out learning --seconds 90 --only as-is,tubelet-2 --seeds 0,1,2
    python benchmarks/learning.py --out learning-features --seconds 90 --recipe evidence-smile-motion
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from smile_synth.recipe.recipe import load_recipe
from smile_synth.training.metrics import read_rows

STUDENT = "pretrain.student"
# Recipe -> name of a setting -> what it changes of the recipe.
SETTINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "demo": {
        "as-is": (),
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
        "average-0.998": ("pretrain.ema_decay=0.998",),
        "float32": ("pretrain.runtime.precision=float32",),
    },
    "evidence-smile-motion": {
        "as-is": (),
        "no-motion": ("pretrain.target.motion=null",),
        "visible-features": ("pretrain.target.visible_weight=1",),
        "two-masks": ("pretrain.mask.masks_per_clip=2",),
        "decoder-1": (f"{STUDENT}.decoder_depth=1",),
        "decoder-4": (f"{STUDENT}.decoder_depth=4",),
        "average-0.998": ("pretrain.ema_decay=0.998",),
        "batch-128": ("pretrain.batch_size=128",),
    },
}
# Not the seed that the demo reports on.
PROBE = (
    "probe.seed=4000037",
    "probe.train_clips=2048",
    "probe.test_clips=2048",
    "probe.classifiers=[linear, attentive]",
)
CLIPS = "dataset.clips=24576"
STEPS_TO_TIME = 64
QUIET = ("pretrain.watch.pictures_every_steps=0", "pretrain.watch.trackers=[]")
WARMUP_SHARE = 0.05


def main() -> None:
    """Train and probe every setting, then print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("learning"))
    parser.add_argument("--recipe", choices=SETTINGS, default="demo", help="what the settings are settings of")
    parser.add_argument("--seconds", type=float, default=90.0, help="training time of one core a run")
    parser.add_argument("--only", help="names of settings, with commas; absent: all of the recipe's")
    parser.add_argument("--seeds", default="0", help="seeds of the training, with commas")
    args = parser.parse_args()
    settings = SETTINGS[args.recipe]
    names = args.only.split(",") if args.only else list(settings)
    unknown = [name for name in names if name not in settings]
    if unknown:
        parser.error(f"unknown settings {', '.join(unknown)}; there are {', '.join(settings)}")
    trial = Trial(args.out, args.recipe, args.seconds)
    trial.prepare()
    for name in names:
        for seed in args.seeds.split(","):
            trial.train_and_probe(name, int(seed))
    print(table(args.out))


@dataclass(frozen=True)
class Trial:
    """Settings of one recipe under equal time.

    Args:
        out: folder of everything.
        recipe: what is trained.
        seconds: training time of a run.
    """

    out: Path
    recipe: str
    seconds: float

    @property
    def store(self) -> Path:
        """The clips that all settings train on."""
        return self.out / "clips.zarr"

    @property
    def has_teacher(self) -> bool:
        """Whether features are predicted."""
        return load_recipe(self.recipe).section("pretrain").teacher_or_default is not None

    def prepare(self) -> None:
        """Render the clips, and compute a teacher's features of them."""
        run_command("render", self.recipe, "--out", str(self.store), "--set", CLIPS)
        if self.has_teacher:
            run_command("cache", str(self.store), "--recipe", self.recipe)

    def train_and_probe(self, name: str, seed: int) -> None:
        """Train one setting with one seed for so many seconds, and probe it."""
        run = self.out / f"{name}-{seed}"
        if (run / "probe" / "results.json").is_file():
            return
        required = ("pretrain.teacher.cache=require",) if self.has_teacher else ()
        settings = [*SETTINGS[self.recipe][name], *required, *QUIET, f"seed={seed}", CLIPS]
        if not (run / "recipe.yaml").is_file():
            pace = self._clips_per_second(settings)
            batch_size = load_recipe(self.recipe, settings).section("pretrain").batch_size
            steps = max(STEPS_TO_TIME, round(self.seconds * pace / batch_size))
            settings += [
                f"pretrain.max_steps={steps}",
                f"pretrain.optimizer.warmup_steps={round(WARMUP_SHARE * steps)}",
            ]
            (self.out / f"{run.name}.json").write_text(json.dumps({"settings": settings, "pace": pace, "steps": steps}))
        plan = json.loads((self.out / f"{run.name}.json").read_text())
        data = ("--data", str(self.store), "--out", str(run), "--resume")
        run_command("pretrain", self.recipe, *data, *overrides(plan["settings"]))
        # The questions of the demo, whatever was trained.
        folders = ("--out", str(run / "probe"), "--clips", str(self.out / "clips"))
        run_command("probe", str(run), "--recipe", "demo", *folders, *overrides(PROBE))

    def _clips_per_second(self, settings: Sequence[str]) -> float:
        """Return how fast a setting trains, masked clips, from the second half of a short run."""
        folder = self.out / "pace"
        shutil.rmtree(folder, ignore_errors=True)
        short = (f"pretrain.max_steps={STEPS_TO_TIME}", f"pretrain.watch.every_steps={STEPS_TO_TIME // 2}")
        short += ("pretrain.optimizer.warmup_steps=2", "pretrain.watch.features_every_steps=1000000")
        data = ("--data", str(self.store), "--out", str(folder))
        run_command("pretrain", self.recipe, *data, *overrides([*settings, *short]))
        masks = load_recipe(self.recipe, settings).section("pretrain").plan[0].mask.masks_per_clip
        return masks * float(read_rows(folder / "metrics.jsonl")[-1]["clips_per_second"])


def overrides(settings: Iterable[str]) -> list[str]:
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

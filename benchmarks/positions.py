"""How fast a small student learns where its tokens stand, with flat and with separable positions.

    python benchmarks/positions.py [--out FOLDER] [--updates 240]

A few clips are trained on again and again: what is left of the loss after so many updates says how fast the student
can tell one place from another. The loss of predicting the mean is 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

POSITIONS = ("flat", "separable")
CLIPS = 8
# 392 tokens of 16 x 112 x 112: enough places for one to be taken for another.
RECIPE = f"""
description: Positions, flat or separable
dataset:
  clips: {CLIPS}
  canvas: {{height: 112, width: 112, frames: 16}}
  params: {{num_objects: [1, 3], motion: {{path: {{gaussian: 1, linear: 1}}}}}}
  assets: {{split: pretrain}}
pretrain:
  student: {{size: tiny, depth: 6, decoder_width: 96, decoder_depth: 2}}
  teacher: {{library: efficientnet_lite0}}
  mask: {{kind: trajectory, ratio: 0.8}}
  batch_size: {CLIPS}
  max_steps: 240
  optimizer: {{learning_rate: 1.0e-3, floor: 1.0e-5, scale_with_batch: false, warmup_steps: 20, clip_grad_norm: 1.0}}
  watch: {{every_steps: 10, pictures_every_steps: 0, trackers: []}}
"""


def command(*arguments: str) -> None:
    """Run the command line; its progress is shown."""
    subprocess.run([sys.executable, "-m", "smile_synth", *arguments], check=True)


def losses(run: Path) -> dict[int, float]:
    """Return the loss by update."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows}


def main() -> None:
    """Render, train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where clips and runs stay; else nowhere")
    parser.add_argument("--updates", type=int, default=240)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        curves = train_all(given.out or Path(folder), given.updates)
    steps = [step for step in curves[POSITIONS[0]] if step % 40 == 0 or step == given.updates]
    print(f"\n| updates | {' | '.join(POSITIONS)} |\n|---|{'---|' * len(POSITIONS)}")
    for step in steps:
        print(f"| {step} | {' | '.join(f'{curves[kind][step]:.3f}' for kind in POSITIONS)} |")


def train_all(out: Path, updates: int) -> dict[str, dict[int, float]]:
    """Render the clips and train on them with either kind of positions; return the losses."""
    out.mkdir(parents=True, exist_ok=True)
    recipe, store = out / "positions.yaml", out / "clips.zarr"
    recipe.write_text(RECIPE, encoding="utf-8")
    command("render", str(recipe), "--out", str(store))
    curves = {}
    for kind in POSITIONS:
        values = (
            f"pretrain.student.positions={kind}",
            f"pretrain.max_steps={updates}",
            f"pretrain.optimizer.warmup_steps={updates // 12}",
        )
        settings = [part for value in values for part in ("--set", value)]
        command("pretrain", str(recipe), "--data", str(store), "--out", str(out / kind), "--resume", *settings)
        curves[kind] = losses(out / kind)
    return curves


if __name__ == "__main__":
    main()

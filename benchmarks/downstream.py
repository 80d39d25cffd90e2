"""What does pretraining without natural video save? Fine-tuning a student of the evidence against training anew.

Both learn the fifteen actions of benchmarks/actions.py from 4, 16 and 64 videos a class, for as many updates, and are
tested on the same videos of unseen objects over unseen photographs. One pretrained student a seed; several seeds.

    python benchmarks/actions.py --out actions
    python benchmarks/downstream.py --videos actions --pretrained evidence/runs/smile-motion-{0,1,2} --out downstream
    python benchmarks/downstream.py --out downstream --table docs/downstream.md

Runs go side by side, one thread each. Interrupt it at any moment; the same command resumes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from smile_synth.errors import SmileSynthError
from smile_synth.files import replace_file
from smile_synth.machine.cores import num_cores

RECIPE = "finetune-actions"
FEW = (4, 16, 64)
ARMS = ("pretrained", "scratch")
COLOURS = {"pretrained": "tab:blue", "scratch": "tab:grey"}
BEGIN, END = "<!-- downstream: begin -->", "<!-- downstream: end -->"
FILE = "results.json"


@dataclass(frozen=True)
class Run:
    """One fine-tuning.

    Args:
        arm: one of ``ARMS``.
        few: training videos a class.
        seed: of everything but the videos.
    """

    arm: str
    few: int
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.arm}-{self.few}-{self.seed}"


def work(run: Run, given: argparse.Namespace) -> dict[str, Any]:
    """Fine-tune and test, unless that is done; returns what came out.

    Raises:
        SmileSynthError: something does not fit, or the run was asked to stop.
    """
    # Imported once by each of the processes that share the runs.
    import torch

    from smile_synth.downstream.evaluation import evaluate, write_results
    from smile_synth.downstream.finetune import finetune
    from smile_synth.interop.formats import read_student
    from smile_synth.recipe.recipe import load_recipe
    from smile_synth.videos.lists import read_videos

    folder = given.out / "runs" / run.name
    result = folder / "evaluation" / "evaluation.json"
    if not result.is_file():
        model = "scratch"
        if run.arm == "pretrained":
            model = str(given.pretrained[run.seed % len(given.pretrained)])
        few = [f"videos.train=ucfTrainTestlist/trainlist-{run.few}.txt", f"seed={run.seed}"]
        recipe = load_recipe(RECIPE, [*few, *given.set])
        began_s, cpu_s = time.monotonic(), time.process_time()
        summary = finetune(recipe, model, given.videos, folder, resume=True, device="cpu", view=None)
        if not summary.finished:
            raise SmileSynthError(f"{run.name} was stopped ({summary.reason}); the same command resumes")
        tests = read_videos(recipe.section("videos"), "test", given.videos)
        params = recipe.section("finetune")
        torch.set_num_threads(1)
        found = evaluate(
            read_student(folder),
            tests,
            recipe.section("videos"),
            params.test,
            result.parent,
            device=torch.device("cpu"),
            threads=1,
        )
        write_results(found, result.parent, model=str(folder))
        spent = f"{time.process_time() - cpu_s:.0f} s of CPU in {time.monotonic() - began_s:.0f} s"
        print(f"{run.name}: top-1 {100 * found.top(1).value:.1f} %, {spent}", flush=True)
    known = json.loads(result.read_text(encoding="utf-8"))
    return {"arm": run.arm, "few": run.few, "seed": run.seed, "top1": known["top1"], "videos": known["videos"]}


def table(results: list[dict[str, Any]]) -> str:
    """Return mean and standard deviation over the seeds of every arm, in %, as Markdown."""
    few = sorted({one["few"] for one in results})
    lines = [f"| start | {' | '.join(f'{count} a class' for count in few)} |", "|---|" + "---|" * len(few)]
    for arm in ARMS:
        cells = []
        for count in few:
            shares = [100 * one["top1"]["value"] for one in results if (one["arm"], one["few"]) == (arm, count)]
            spread = f" ± {np.std(shares, ddof=1):.1f}" if len(shares) > 1 else ""
            cells.append(f"{np.mean(shares):.1f}{spread} (n = {len(shares)})" if shares else "not run")
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Write top-1 over the number of videos as a PNG: every seed, and the mean of each arm."""
    figure = Figure(figsize=(5.5, 4), layout="constrained")
    axis = figure.subplots()
    for arm in ARMS:
        mine = [one for one in results if one["arm"] == arm]
        few = sorted({one["few"] for one in mine})
        means = [np.mean([100 * one["top1"]["value"] for one in mine if one["few"] == count]) for count in few]
        axis.plot(few, means, color=COLOURS[arm], label=arm)
        points = [(one["few"], 100 * one["top1"]["value"]) for one in mine]
        axis.scatter(*zip(*points, strict=True) if points else ([], []), color=COLOURS[arm], s=14)
    axis.axhline(100 / 15, color="black", linewidth=0.8, linestyle=":", label="chance")
    axis.set_xscale("log", base=2)
    axis.set_xticks(FEW, [str(count) for count in FEW])
    axis.set_xlabel("training videos a class")
    axis.set_ylim(bottom=0)
    axis.set_ylabel("top-1 on unseen objects and photographs, %")
    axis.legend()
    replace_file(path, lambda draft: figure.savefig(draft, dpi=120, format="png"))


def put_table(page: Path, results: list[dict[str, Any]]) -> None:
    """Put the table between its marks in a page.

    Raises:
        SmileSynthError: the page has no marks.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SmileSynthError(f"{page} has no lines {BEGIN} and {END} for the table to stand between")
    replace_file(page, f"{before}{BEGIN}\n{table(results)}\n{END}{after}")
    draw(results, page.parent / "images" / "downstream.png")


def main() -> int:
    """Run what is not yet done, and show all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("downstream"), help="folder; run again to resume")
    parser.add_argument("--videos", type=Path, default=Path("actions"), help="what benchmarks/actions.py made")
    parser.add_argument("--pretrained", type=Path, nargs="+", default=[], help="pretrained runs, one a seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=num_cores(), help="runs side by side, one thread each")
    parser.add_argument("--set", action="append", default=[], help="key.sub=value over the recipe; repeatable")
    parser.add_argument("--table", type=Path, help="put the table into this page and the plot beside it, run nothing")
    given = parser.parse_args()
    file = given.out / FILE
    try:
        if given.table is not None:
            put_table(given.table, json.loads(file.read_text(encoding="utf-8")))
            return 0
        if not given.pretrained:
            raise SmileSynthError("name the pretrained runs with --pretrained")
        # Seed by seed, so that what is interrupted is a whole comparison of fewer seeds.
        runs = [Run(arm, few, seed) for seed in range(given.seeds) for few in FEW for arm in ARMS]
        given.out.mkdir(parents=True, exist_ok=True)
        results: list[dict[str, Any]] = []
        os.environ["OMP_NUM_THREADS"] = "1"
        with ProcessPoolExecutor(given.at_once, multiprocessing.get_context("spawn")) as pool:
            for one in pool.map(work, runs, [given] * len(runs)):
                results.append(one)
                replace_file(file, json.dumps(results, indent=1) + "\n")
        draw(results, given.out / "downstream.png")
    except (SmileSynthError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    print(table(results))
    print(f"wrote {file} and {given.out / 'downstream.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

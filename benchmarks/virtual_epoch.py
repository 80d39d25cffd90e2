"""Clips that are never stored, with kills in between: rendered virtually, trained on for an epoch, the same weights.

Every step is the real command line in a process of its own:

1. ``render --virtual``, killed (SIGKILL, all processes of it) and resumed several times; then ``verify``
2. ``pretrain`` for one epoch, undisturbed; the memory of all its processes is watched
3. the same, killed and resumed (``--resume``) several times
4. the weights of 2 and 3 are compared bit by bit

    python benchmarks/virtual_epoch.py                     # 100,000 clips of 8x32x32
    python benchmarks/virtual_epoch.py --clips 10000 --kills 2
    python benchmarks/virtual_epoch.py --stream            # without a store: step 1 is left out
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
import yaml

from smile_synth.store import Store
from smile_synth.store.manifest import virtual_clips_per_shard
from smile_synth.store.summary import store_nbytes
from smile_synth.training.checkpoint import read_checkpoint
from smile_synth.training.metrics import read_rows

SECONDS_BETWEEN_LOOKS = 0.5
BATCH = 64
PAGE_NBYTES = os.sysconf("SC_PAGE_SIZE")
# Of the part of an epoch that a kill may hit; not so early that nothing was done, nor so late that all was.
EARLIEST, LATEST = 0.1, 0.9


def recipe(clips: int, workers: int) -> dict[str, object]:
    """Return the demo's clips and a student of 60,000 weights that learns their exact motion."""
    return {
        "name": "virtual-epoch",
        "seed": 11,
        "dataset": {
            "clips": clips,
            "canvas": {"height": 32, "width": 32, "frames": 8},
            "generator": "cutouts",
            "params": {"num_objects": [2, 2], "motion": {"size": {"scales_px": [64, 96, 128]}}},
        },
        "pretrain": {
            "student": {"size": "tiny", "width": 48, "depth": 2, "heads": 2, "patch_size": 8, "tubelet_size": 4},
            "target": {"kind": "motion", "motion": {"tokens": "visible"}},
            "mask": {"kind": "tube", "ratio": 0.75},
            "batch_size": BATCH,
            "epochs": 1,
            "optimizer": {"learning_rate": 1e-3, "scale_with_batch": False, "warmup_steps": 10},
            "loading": {"render_workers": workers},
            "runtime": {"threads": 1, "precision": "float32"},
            "watch": {"every_steps": 5, "pictures_every_steps": 0, "features_every_steps": 1000, "trackers": []},
            "checkpoint": {"every_steps": max(1, clips // BATCH // 20)},
        },
    }


@dataclass
class Watched:
    """A process and all that it started, while it runs.

    Args:
        process: leader of a group of its own.
        memory_nbytes: of all of them together, one value a look; what they share is counted once.
    """

    process: subprocess.Popen[bytes]
    memory_nbytes: list[int] = field(default_factory=list)

    def kill(self) -> None:
        """Kill all of them at once, as a lost machine does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def look(self) -> None:
        """Note how much memory they take."""
        self.memory_nbytes.append(sum(_memory_nbytes(pid) for pid in _group(self.process.pid)))


def start(*arguments: object, log: Path) -> Watched:
    """Start the command line in a process group of its own."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "smile_synth", *map(str, arguments)],
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    return Watched(process)


def _group(leader: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal() and os.getpgid(int(folder.name)) == leader:
                found.append(int(folder.name))
        except ProcessLookupError:
            continue
    return found


def _memory_nbytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def run_to_end(watched: Watched, log: Path) -> float:
    """Wait until it ends well, watch its memory, and return the seconds it took."""
    began = time.monotonic()
    while watched.process.poll() is None:
        watched.look()
        time.sleep(SECONDS_BETWEEN_LOOKS)
    if watched.process.returncode:
        raise SystemExit(f"exit code {watched.process.returncode}: {log.read_text(errors='replace')[-2000:]}")
    return time.monotonic() - began


def killed_at(share: float, watched: Watched, total: int, progress: Path, log: Path) -> bool:
    """Kill once ``progress`` says that this share is done; returns whether it was killed before it ended."""
    while watched.process.poll() is None:
        if _done(progress) >= share * total:
            watched.kill()
            return True
        time.sleep(SECONDS_BETWEEN_LOOKS)
    if watched.process.returncode:
        raise SystemExit(f"exit code {watched.process.returncode}: {log.read_text(errors='replace')[-2000:]}")
    return False


def _done(progress: Path) -> int:
    """Return the steps in a file of metrics, or the receipts in a folder of them."""
    if progress.suffix == ".jsonl":
        rows = read_rows(progress)
        return int(rows[-1]["step"]) if rows else 0
    return sum(1 for _ in progress.glob("*.json"))


def with_kills(arguments: list[object], kills: int, total: int, progress: Path, log: Path, rng: random.Random) -> int:
    """Run a command to its end through kills at random moments; returns how many hit it."""
    hits = 0
    for share in sorted(rng.uniform(EARLIEST, LATEST) for _ in range(kills)):
        hits += killed_at(share, start(*arguments, log=log), total, progress, log)
    run_to_end(start(*arguments, log=log), log)
    return hits


def same_bits(one: Path, other: Path) -> bool:
    """Whether the latest checkpoints of two runs hold the same weights."""
    ours, theirs = (read_checkpoint(run / "checkpoints" / "latest.pt")["model"] for run in (one, other))
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())


def main() -> None:
    """Run the four steps, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=4, help="of the rendering, and again of the training")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--stream", action="store_true", help="train on the stream of the recipe, without a store")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    options = parser.parse_args()
    rng, folder = random.Random(options.seed), Path(tempfile.mkdtemp(prefix="virtual-epoch-"))
    try:
        experiment(options, rng, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def experiment(options: argparse.Namespace, rng: random.Random, folder: Path) -> None:
    """Run the four steps in a folder."""
    source, log, store = folder / "recipe.yaml", folder / "log.txt", folder / "clips.zarr"
    source.write_text(yaml.safe_dump(recipe(options.clips, options.workers)))
    data = f"stream:{source}" if options.stream else str(store)
    if not options.stream:
        render_with_kills(options, rng, source, store, log)
    train: list[object] = ["pretrain", source, "--data", data, "--device", "cpu", "--resume", "--out"]
    steps = options.clips // BATCH
    whole = start(*train, folder / "whole", log=log)
    seconds = run_to_end(whole, log)
    print(f"trained undisturbed: {steps} updates on {steps * BATCH} clips in {seconds:.0f} s", flush=True)
    memory = whole.memory_nbytes
    quarters = [memory[place * len(memory) // 4 : (place + 1) * len(memory) // 4] for place in range(4)]
    print(
        "memory of all processes, median of each quarter of the run: "
        + ", ".join(f"{statistics.median(quarter) / 1e6:.0f}" for quarter in quarters if quarter)
        + f" MB; most {max(memory) / 1e6:.0f} MB",
        flush=True,
    )
    parts = folder / "parts"
    hits = with_kills([*train, parts], options.kills, steps, parts / "metrics.jsonl", log, rng)
    verdict = "the same weights, bit by bit" if same_bits(folder / "whole", parts) else "OTHER WEIGHTS"
    print(f"trained with {hits} kills: {verdict}", flush=True)
    if verdict == "OTHER WEIGHTS":
        raise SystemExit(1)


def render_with_kills(options: argparse.Namespace, rng: random.Random, source: Path, store: Path, log: Path) -> None:
    """Render the virtual store through kills, check it, and say how large it is."""
    began = time.monotonic()
    render: list[object] = ["render", source, "--virtual", "--out", store, "--workers", options.workers]
    shards = -(-options.clips // virtual_clips_per_shard(options.clips))
    hits = with_kills(render, options.kills, shards, store / ".render" / "shards", log, rng)
    opened = Store.open(store)
    print(
        f"rendered {len(opened)} clips virtually with {hits} kills in {time.monotonic() - began:.0f} s: "
        f"{store_nbytes(store) / len(opened):.0f} bytes a clip",
        flush=True,
    )
    run_to_end(start("verify", store, log=log), log)
    print("verified: every byte, and the digests of the sampled clips", flush=True)


if __name__ == "__main__":
    main()

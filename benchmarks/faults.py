"""Faults on purpose: killed processes, failing disks, damaged, foreign and crafted files; what came of each.

Every trial runs the real command line in a child of its own. What must never happen: a silent error (exit code 0 and
wrong bytes), lost clips (the same command again does not give the undisturbed result), a traceback, a hang.

    python benchmarks/faults.py                     all kinds, 2,400 trials, about 20 minutes on two cores
    python benchmarks/faults.py --share 0.05        a twentieth of each
    python benchmarks/faults.py --only pretrain     kinds whose name has the word
    python benchmarks/faults.py --results faults.json          keep the tallies, so that kinds can be run one by one
    python benchmarks/faults.py --results faults.json --write docs/reliability.md    put their table on the page

Needs a C compiler: the failing disk is a small library before the C library (LD_PRELOAD), Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from fault_lab import OUTCOMES, Tally, with_shim

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


def main() -> int:
    arguments = parse()
    with_shim(sys.argv)
    # Children inherit what is imported here; nothing may start a thread before they are forked.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        tallies = run_all(folder, arguments.seed, arguments.share, arguments.only)
        if arguments.results is not None:
            tallies = kept_with(tallies, arguments.results)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(tallies))
    for tally in tallies:
        for example in tally.examples:
            print(f"\n{example}")
    if arguments.write is not None:
        write_table(arguments.write, tallies, arguments.seed)
    return 0 if all(tally.is_clean for tally in tallies) else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="share of the trials of each kind")
    parser.add_argument("--only", default="", help="kinds of fault whose name has this in it")
    parser.add_argument("--results", type=Path, help="JSON file of tallies; kinds that were run replace their entry")
    parser.add_argument("--write", type=Path, help="page whose table is replaced")
    return parser.parse_args()


def run_all(folder: Path, seed: int, share: float, only: str) -> list[Tally]:
    """Run every kind of fault that was asked for; progress goes to standard error."""
    import fault_trials as trials
    from fault_seeds import Seeds

    import smile_synth.cli
    import smile_synth.training.trainer  # noqa: F401

    bench = trials.Bench(folder, seed)
    seeds = Seeds(bench)
    kinds: list[tuple[str, int, Callable[[int], Tally]]] = [
        ("render killed", 150, lambda n: trials.kills_of_render(bench, n)),
        ("pretrain killed", 60, lambda n: trials.kills_of_pretrain(bench, n)),
        ("render disk", 300, lambda n: trials.failing_disk_under_render(bench, n)),
        ("pretrain disk", 100, lambda n: trials.failing_disk_under_pretrain(bench, n)),
        ("store damaged", 300, lambda n: trials.damaged_stores(bench, n)),
        ("store misplaced", 128, lambda n: trials.misplaced_shards(bench, n)),
        ("store foreign", 64, lambda n: trials.foreign_roots(bench, n)),
        ("store crafted", 150, lambda n: trials.crafted_roots(bench, n)),
        ("recipe mutated", 400, seeds.recipes),
        ("checkpoint mutated", 100, seeds.checkpoints),
        ("checkpoint crafted", 150, lambda n: trials.crafted_checkpoints(bench, n)),
        ("export mutated", 150, seeds.exports),
        ("image mutated", 200, seeds.images),
        ("video mutated", 150, seeds.videos),
    ]
    tallies = []
    for name, count, kind in kinds:
        if only in name:
            began = time.monotonic()
            tallies.append(kind(max(1, round(count * share))))
            print(
                f"{name}: {dict(tallies[-1].outcomes)}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True
            )
    return tallies


def kept_with(tallies: list[Tally], file: Path) -> list[Tally]:
    """Write the tallies into a file over those that are there, and return all of them."""
    before = json.loads(file.read_text()) if file.is_file() else {}
    values = {**before, **{tally.fault: [dict(tally.outcomes), tally.examples] for tally in tallies}}
    file.write_text(json.dumps(values, indent=1) + "\n")
    return [Tally(fault, Counter(outcomes), examples) for fault, (outcomes, examples) in values.items()]


def table(tallies: list[Tally]) -> str:
    """Return the tallies as a Markdown table, with a line for all of them."""
    columns = OUTCOMES[2:]
    rows = [("fault", "trials", "silent errors", "lost clips", "tracebacks", "hangs")]
    rows.append(("---", *["---:"] * (1 + len(columns))))
    rows += [(t.fault, f"{t.trials:,}", *[str(t.outcomes[name]) for name in columns]) for t in tallies]
    totals = [sum(t.outcomes[name] for t in tallies) for name in columns]
    rows.append(("**all**", f"**{sum(t.trials for t in tallies):,}**", *[f"**{total}**" for total in totals]))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write_table(page: Path, tallies: list[Tally], seed: int) -> None:
    """Put the table, and on what it was made, between the marks of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    made = f"Seed {seed}, {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}."
    page.write_text(f"{before}{BEGIN}\n\n{table(tallies)}\n\n{made}\n\n{END}{after}")


if __name__ == "__main__":
    raise SystemExit(main())

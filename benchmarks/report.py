"""How fast a report looks at clips, beside only reading them.

    python benchmarks/report.py [--store STORE] [--clips 256]

Without a store, clips of SMILE's size are rendered first. Measures, in one run on the same clips: reading frames and
small arrays and nothing else; everything a report measures without a feature model; and with EfficientNet-Lite0. Prints
clips a second and the ratio to reading.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from smile_synth.generator.dataset import Dataset
from smile_synth.recipe.recipe import load_recipe
from smile_synth.report.measure.feature_statistics import DEFAULT_MODEL, build_model, parse_model
from smile_synth.report.measure.sample import choose_clips, read_batches
from smile_synth.report.measure.survey import SurveyParams, survey
from smile_synth.store import Store, render_store


def best_rate(work: Callable[[], object], clips: int, repeats: int) -> float:
    """Return the highest rate, in clips a second, of several runs."""
    rates = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        rates.append(clips / (time.perf_counter() - began))
    return max(rates)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="a finished store; else one is rendered")
    parser.add_argument("--clips", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Store.open(options.store) if options.store else rendered(Path(folder), options.clips), options)


def rendered(folder: Path, clips: int) -> Store:
    """Return a store of clips as SMILE has them, over built-in photographs."""
    overrides = [f"dataset.clips={clips}", "dataset.assets.backgrounds=builtin", "dataset.assets.objects=builtin"]
    recipe = load_recipe("smile-vit-b", overrides)
    return render_store(Dataset.of(recipe), folder / "clips.zarr", recipe=recipe.resolved(), workers=2)


def measure(store: Store, options: argparse.Namespace) -> None:
    """Measure on one store, and print."""
    clips = choose_clips(store.num_clips, options.clips, seed=0)
    canvas = store.canvas
    teacher = parse_model(DEFAULT_MODEL)
    assert teacher is not None
    model = build_model(teacher, height=canvas.height, width=canvas.width)
    work: dict[str, Callable[[], object]] = {
        "read only": lambda: [len(batch.clips_B) for batch in read_batches(store, clips)],
        "report, no feature model": lambda: survey(store, SurveyParams(clips=len(clips))),
        "report, EfficientNet-Lite0": lambda: survey(store, SurveyParams(clips=len(clips), model=model)),
    }
    print(f"{len(clips)} clips of {canvas.num_frames}x{canvas.height}x{canvas.width}, best of {options.repeats}")
    reading = 0.0
    for name, run in work.items():
        rate = best_rate(run, len(clips), options.repeats)
        reading = reading or rate
        print(f"{name:30} {rate:8.1f} clips/s   {rate / reading:6.2f} of reading")


if __name__ == "__main__":
    main()

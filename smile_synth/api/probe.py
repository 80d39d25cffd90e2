"""Asking a trained model what its frozen features know."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple, TextIO

from smile_synth.api.inputs import RecipeLike, as_recipe, as_stores
from smile_synth.generator.registry import registered_only
from smile_synth.machine.cores import num_cores
from smile_synth.probe.evaluation import ProbePlace, probe_features
from smile_synth.probe.files import write_results
from smile_synth.probe.probed_model import extractors_of, open_model, pretraining_assets, run_of, supervised_of
from smile_synth.probe.results import ProbeResults
from smile_synth.recipe.recipe import Recipe, load_recipe
from smile_synth.store.reader import StoreLike
from smile_synth.training.device import keep_freed_memory, pick_device
from smile_synth.training.run_folder import RunFolder

DEFAULT_RECIPE = "probe-motion"


class Probed(NamedTuple):
    """What a probe found, and where it is written.

    Args:
        results: every reading.
        files: the most telling first: table, metrics, answers, pictures.
        folder: that they lie in.
    """

    results: ProbeResults
    files: list[Path]
    folder: Path


def probe(
    model: str | Path,
    recipe: RecipeLike | None = None,
    *,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    clips: str | Path | None = None,
    data: StoreLike | Iterable[StoreLike] = (),
    heads: int | None = None,
    device: str = "auto",
    workers: int | None = None,
    trust_code: bool = False,
    view: TextIO | None = sys.stderr,
) -> Probed:
    """Measure what a model's frozen features know, with the same network untrained as baseline.

    Clips and features are kept; called again after an interruption, it resumes. Table, metrics and pictures are written
    into ``out``, or, of a recipe that is given without it, into a folder of the recipe's name in ``probe``.

    Args:
        model: run folder, checkpoint, export, published VideoMAE file, or Hugging Face folder.
        recipe: with a section ``probe``; None: that of the run, or ``probe-motion``.
        overrides: ``key.sub=value`` each, over a recipe that is given by name or path.
        out: folder for results, features and clips; None: ``probe`` in the run's folder, and for results ``probe/NAME``
            where a recipe NAME is given.
        clips: folder of rendered clips, for several models to share; None: ``clips`` in ``out`` or in ``probe``.
        data: stores that it was pretrained on, to check for shared images.
        heads: attention heads, where the file does not tell.
        device: ``auto``, ``cpu`` or ``cuda``.
        workers: processes and threads; None: one per core.
        trust_code: run generator files that the run's own recipe names; read them first.
        view: where to show progress; None shows nothing.

    Returns:
        All readings (``results.table()`` for people, ``results.metrics()`` by name), and the files that hold them.

    Raises:
        SmileSynthError: model, questions and clips do not fit.

    Examples:
        >>> small = ["probe.train_clips=256", "probe.test_clips=128", "probe.min_clips_per_class=2"]
        >>> probed = ss.probe("run", "demo", overrides=[*small, "probe.baselines=[untrained]"], out="probed")
        >>> sorted(probed.results.metrics())
        ['direction/linear', 'speed/linear']
    """
    keep_freed_memory()
    where = pick_device(device)
    chosen, is_ours = choose_recipe(recipe, Path(model), overrides)
    params = chosen.section("probe")
    probed = open_model(Path(model), where, canvas=params.canvas, heads=heads)
    base = probed.out if out is None else Path(out)
    # What one recipe found stays when another is asked.
    folder = base / _recipe_name(recipe) if out is None and recipe is not None else base
    known, note = pretraining_assets(probed, as_stores(data))
    place = ProbePlace(
        features=base / "features",
        clips=base / "clips" if clips is None else Path(clips),
        recipe_folder=chosen.folder,
        device=where,
        workers=workers or num_cores(),
        pretraining_assets=known,
        notes=(note,) if note and params.sources else (),
        shown_on=view or io.StringIO(),
    )
    extractors = extractors_of(probed, params)
    # The run may be a stranger's, and its recipe may name a file to be run.
    with nullcontext() if is_ours or trust_code else registered_only(f"the recipe of {model}"):
        results = probe_features(
            extractors, params, probed.canvas, place, checkpoint=str(model), supervised=supervised_of(probed, params)
        )
    return Probed(results, write_results(results, folder), folder)


def _recipe_name(recipe: RecipeLike) -> str:
    """Return what a folder for a recipe's results is called: the recipe's name, or that of its file."""
    name = recipe.name if isinstance(recipe, Recipe) else Path(recipe).stem
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "recipe"


def choose_recipe(recipe: RecipeLike | None, model: Path, overrides: Sequence[str]) -> tuple[Recipe, bool]:
    """Return the recipe to probe by, and whether the user chose it: the given one, the run's own, or the bundled one.

    Raises:
        RecipeError: there is no such recipe, or an override does not fit it.
    """
    if recipe is not None:
        return as_recipe(recipe, overrides), True
    run = run_of(model)
    if run is not None and load_recipe(RunFolder(run).recipe).probe is not None:
        return load_recipe(RunFolder(run).recipe, overrides), False
    return load_recipe(DEFAULT_RECIPE, overrides), True

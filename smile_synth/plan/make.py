"""Making a forecast: render a sample here, measure it, and do the arithmetic."""

from __future__ import annotations

import tempfile
from pathlib import Path

from smile_synth.errors import ClusterError, RecipeError
from smile_synth.generator.dataset import Dataset
from smile_synth.plan.forecast import Cluster, Forecast, Rendering, Training
from smile_synth.plan.sample import measure
from smile_synth.plan.training_cost import training_cost
from smile_synth.recipe.recipe import Recipe
from smile_synth.training.agreement import takes_canvas


def make_forecast(
    recipe: Recipe, model: Recipe | None, cluster: Cluster, *, seconds: float, workers: int, scratch: Path | None
) -> Forecast:
    """Return what rendering a recipe and training on it will take.

    Args:
        recipe: what is rendered, with as many clips as are forecast.
        model: recipe of the training, or None for rendering alone.
        cluster: where.
        seconds: about how long the sample renders.
        workers: processes that render it, one for each core here.
        scratch: where the sample lies until it is measured; None: where temporary files go.

    Raises:
        ClusterError: there is no such folder, or a process was killed.
        SmileSynthError: a clip cannot be rendered, or the training does not fit the clips.
    """
    if scratch is not None and not scratch.is_dir():
        raise ClusterError(f"--scratch must be a folder that exists, got {scratch}")
    dataset = Dataset.of(recipe)
    # First what can be refused at once.
    if model is not None and model.dataset is not None and not takes_canvas(model, dataset.canvas):
        raise RecipeError(
            f"{model.typed} trains on clips of {model.dataset.canvas.canvas}, those of {recipe.typed} are "
            f"{dataset.canvas}; set dataset.canvas of one of them to the other's size"
        )
    cost = None if model is None else training_cost(model, dataset.canvas, len(dataset))
    with tempfile.TemporaryDirectory(prefix="smile-synth-plan-", dir=scratch) as folder:
        sample = measure(recipe, dataset, Path(folder), seconds=seconds, workers=workers)
    clips_per_shard = min(dataset.params.store.clips_per_shard, len(dataset))
    rendering = Rendering(sample, len(dataset), clips_per_shard, cluster.cores)
    training = None if cost is None else Training(sample, cost, cluster, len(dataset))
    return Forecast(recipe.typed, rendering, cluster, training)

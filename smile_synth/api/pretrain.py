"""Training a student on stores."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from smile_synth.api.inputs import RecipeLike, as_recipe, as_stores
from smile_synth.probe.student_probe import evaluation_of
from smile_synth.store.reader import StoreLike
from smile_synth.training import trainer
from smile_synth.training.callbacks import Callback
from smile_synth.training.summary import RunSummary


def pretrain(
    recipe: RecipeLike,
    data: StoreLike | Iterable[StoreLike],
    out: str | Path,
    *,
    overrides: Sequence[str] = (),
    callbacks: Sequence[Callback] = (),
    resume: bool = False,
    device: str = "auto",
    max_hours: float | None = None,
    view: TextIO | None = sys.stderr,
) -> RunSummary:
    """Train a student, from the start or from where a run stopped.

    Args:
        recipe: with a section ``pretrain``; a bundled name, the path of a YAML file, or what ``load_recipe`` returned.
        data: finished stores with clips of one size, opened or by path.
        out: the run's folder.
        overrides: ``key.sub=value`` each, over a recipe that is given by name or path.
        callbacks: are told of steps, epochs and checkpoints.
        resume: resume from the latest checkpoint in ``out``; without one, start.
        device: ``auto``, ``cpu`` or ``cuda``.
        max_hours: write a checkpoint and return after so long.
        view: where to show progress; None shows nothing.

    Returns:
        What was done; ``reason`` says why where it ended early.

    Raises:
        SmileSynthError: something does not fit, before any work starts; or the loss is not finite.

    Examples:
        >>> class Losses(ss.Callback):
        ...     def __init__(self):
        ...         self.seen = []
        ...
        ...     def on_step(self, event):
        ...         self.seen.append(event.loss)
        >>> losses = Losses()
        >>> short = ["pretrain.max_steps=3", "pretrain.optimizer.warmup_steps=1", "pretrain.batch_size=16"]
        >>> summary = ss.pretrain("demo", "clips.zarr", "run-3", overrides=short, callbacks=[losses], view=None)
        >>> summary.steps, summary.finished, len(losses.seen)
        (3, True, 3)
    """
    loaded = as_recipe(recipe, overrides)
    return trainer.pretrain(
        loaded,
        as_stores(data),
        Path(out),
        resume=resume,
        device=device,
        max_hours=max_hours,
        view=view,
        evaluation=evaluation_of(loaded),
        callbacks=callbacks,
    )

"""What gets a training's metrics besides its own files. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import field_validator, model_validator

from smile_synth.params import StrictParams

TrackerName = Literal["tensorboard", "wandb", "mlflow", "trackio"]


class TrackersParams(StrictParams):
    """Experiment trackers by name; base of what a training measures and shows."""

    trackers: tuple[TrackerName, ...] = ("tensorboard",)
    """What gets the metrics in addition to ``metrics.jsonl``: ``tensorboard`` files in the run's folder, ``wandb``,
    ``mlflow`` or ``trackio``; each of the last three needs the extra of its name."""

    @model_validator(mode="before")
    @classmethod
    def _read_tensorboard(cls, values: Any) -> Any:
        # Runs that began before there were other trackers have ``tensorboard: true`` or ``false`` in their recipe.
        if isinstance(values, Mapping) and isinstance(values.get("tensorboard"), bool) and "trackers" not in values:
            rest = {key: value for key, value in values.items() if key != "tensorboard"}
            return {**rest, "trackers": ("tensorboard",) if values["tensorboard"] else ()}
        return values

    @field_validator("trackers")
    @classmethod
    def _check_trackers(cls, trackers: tuple[TrackerName, ...]) -> tuple[TrackerName, ...]:
        if len(set(trackers)) < len(trackers):
            raise ValueError(f"each tracker may be named once, got {', '.join(trackers)}")
        return trackers

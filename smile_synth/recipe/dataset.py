"""What to render: clips, canvas, generator, assets and store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from smile_synth.params import StrictParams
from smile_synth.recipe.assets import BUILTIN_BACKGROUNDS, BUILTIN_OBJECTS, AssetsParams
from smile_synth.scene import Canvas


class CanvasParams(StrictParams):
    """Size of every clip."""

    height: int = Field(224, ge=8, le=2048, description="rows", json_schema_extra={"unit": "px"})
    width: int = Field(224, ge=8, le=2048, description="columns", json_schema_extra={"unit": "px"})
    frames: int = Field(16, ge=1, le=1024, description="frames of a clip")

    @property
    def canvas(self) -> Canvas:
        """The same as a ``Canvas``."""
        return Canvas(self.height, self.width, self.frames)


TruthKind = Literal["flow", "visibility", "tracks"]
# The default size of cells: half a usual patch, or the nearest size that divides the canvas.
USUAL_CELL_PX = 8
DEFAULT_CELLS_PX = range(4, 17)


class MotionParams(StrictParams):
    """The exact motion of what is visible, stored with the frames."""

    cell_px: int | None = Field(
        None,
        ge=1,
        le=16,
        description="side of the cells whose mean motion is kept, in pixels; it must divide both sides of the canvas. "
        "null: the size of 4 to 16 px nearest to 8 that does; no motion if none does",
    )


class StoreParams(StrictParams):
    """How clips are laid out in the store."""

    clips_per_shard: int = Field(64, ge=1, le=65536, description="clips in one shard file")
    zstd_level: int = Field(-4, ge=-50, le=19, description="zstd level of the frames; larger is smaller and slower")
    motion: MotionParams | None = Field(
        MotionParams(), description="exact motion of what is visible, in cells; null keeps none"
    )
    truth: tuple[TruthKind, ...] = Field(
        (),
        description="dense ground truth to store: flow (forward and backward), visibility (the layer that "
        "every pixel shows), tracks (of a grid of points)",
    )

    @field_validator("truth")
    @classmethod
    def _check_truth(cls, kinds: tuple[TruthKind, ...]) -> tuple[TruthKind, ...]:
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"each kind of truth may be named once, got {', '.join(kinds)}")
        return kinds


class DatasetParams(StrictParams):
    """What to render, and how many clips of it."""

    clips: int = Field(1024, ge=1, le=1_000_000_000, description="number of clips")
    canvas: CanvasParams = Field(CanvasParams(), description="size of every clip")
    generator: str = Field("cutouts", description="name, package.module:Class, or file.py:Class relative to the recipe")
    params: dict[str, Any] = Field(default_factory=dict, description="the generator's own parameters")
    clip_timeout_s: float = Field(
        60.0, gt=0, le=86400, description="seconds after which sampling a clip counts as hung and stops the render"
    )
    assets: AssetsParams = Field(AssetsParams(), description="where backgrounds and objects come from")
    store: StoreParams = Field(StoreParams(), description="layout of the store")

    @property
    def motion_cell_px(self) -> int | None:
        """Side of the cells of the store's motion, in pixels; None for a store without motion."""
        if self.store.motion is None or self.store.motion.cell_px is not None:
            return None if self.store.motion is None else self.store.motion.cell_px
        fitting = [px for px in DEFAULT_CELLS_PX if self._is_tiled_by(px)]
        return min(fitting, key=lambda px: (abs(px - USUAL_CELL_PX), px), default=None)

    def names_paths(self, folder: Path) -> bool:
        """Whether it names files or folders relative to ``folder``, as far as can be told."""
        assets = self.assets
        own = (assets.backgrounds not in BUILTIN_BACKGROUNDS, assets.objects not in BUILTIN_OBJECTS)
        names = [name for name, is_own in zip((assets.backgrounds, assets.objects), own, strict=True) if is_own]
        names += [self.generator.partition(":")[0]] if ".py" in self.generator else []
        names += [text for text in _texts(self.params) if text and "\0" not in text and _exists(folder / text)]
        return any(not Path(name).expanduser().is_absolute() for name in names)

    @model_validator(mode="after")
    def _check_cells(self) -> DatasetParams:
        cell_px = self.motion_cell_px
        if cell_px is not None and not self._is_tiled_by(cell_px):
            raise ValueError(
                f"store.motion.cell_px must divide both sides of the canvas, {self.canvas.height} and "
                f"{self.canvas.width} px, got {cell_px}; leave it out for a size that does, or write motion: null"
            )
        return self

    def _is_tiled_by(self, cell_px: int) -> bool:
        return self.canvas.height % cell_px == 0 and self.canvas.width % cell_px == 0


def _texts(value: Any) -> Iterator[str]:
    """Yield every text inside nested mappings and lists, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in (*value.keys(), *value.values()):
            yield from _texts(item)
    elif isinstance(value, Sequence):
        for item in value:
            yield from _texts(item)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a text that is too long for a file's name
        return False

"""What files of others say of a student's sizes, checked before anything is made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator

from smile_synth.errors import WeightsError
from smile_synth.model.student import LAYER_NORM_EPS, StudentShape
from smile_synth.params import StrictParams, first_problem, shown
from smile_synth.recipe.student import PositionCode

# Far more than any published model has, and little enough to be compared with the weights.
Width = Annotated[int, Field(ge=1, le=2**14)]
Depth = Annotated[int, Field(ge=1, le=512)]
Side = Annotated[int, Field(ge=1, le=2**14)]
Values = Annotated[int, Field(ge=0, le=2**20)]
MOST_TOKENS = 2**17
MOST_CONFIG_NBYTES = 2**20


class _Declared(StrictParams):
    # A file may be anybody's: a text is no number, and 3.0 is no 3.
    model_config = ConfigDict(strict=True)


class DeclaredStack(_Declared):
    """A stack of transformer blocks."""

    width: Width
    """Embedding dimension."""
    depth: Depth
    """Blocks."""
    heads: Width
    """Attention heads; they divide the embedding dimension."""

    @model_validator(mode="after")
    def _divides(self) -> DeclaredStack:
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"width must be even and divisible by heads, got {self.width} and {self.heads}")
        return self


class DeclaredGrid(_Declared):
    """The tokens of a clip."""

    tubelets: Side
    """Tokens along time."""
    rows: Side
    """Tokens along height."""
    columns: Side
    """Tokens along width."""
    tubelet_size: Side
    """Frames of a token."""
    patch_size: Side
    """Pixels of a token along height and width."""

    @model_validator(mode="after")
    def _fits(self) -> DeclaredGrid:
        check_tokens(self.tubelets * self.rows * self.columns)
        return self


class DeclaredHeads(_Declared):
    """What is predicted besides features of hidden tokens."""

    visible_dim: Values = 0
    """Values for a visible token."""
    motion_dim: Values = 0
    """Values for a hidden token's motion."""
    motion_decoder_depth: Annotated[int, Field(ge=0, le=512)] = 0
    """Blocks of the decoder of motion."""


class DeclaredShape(_Declared):
    """Every size of a student, as our checkpoints and exports state it."""

    encoder: DeclaredStack
    """Of visible tokens."""
    decoder: DeclaredStack
    """Of hidden tokens."""
    mlp_ratio: Annotated[float, Field(gt=0, le=64)]
    """Hidden dimension of a block's MLP over the embedding dimension."""
    grid: DeclaredGrid
    """Tokens of a clip."""
    target_dim: Values
    """Values predicted for a hidden token."""
    layer_norm_eps: Annotated[float, Field(gt=0, le=1)] = LAYER_NORM_EPS
    """Added to the variance by every norm."""
    positions: PositionCode = "flat"
    """How a token's place is coded."""
    heads: DeclaredHeads = DeclaredHeads()
    """What is predicted besides."""


class DeclaredHuggingFace(_Declared):
    """What we read of a Hugging Face folder's ``config.json``; its other keys do not change an encoder."""

    model_config = ConfigDict(extra="ignore", strict=True)

    hidden_size: Width
    """Embedding dimension."""
    num_hidden_layers: Depth
    """Blocks."""
    num_attention_heads: Width
    """Attention heads."""
    intermediate_size: Annotated[int, Field(ge=1, le=2**18)]
    """Hidden dimension of a block's MLP."""
    image_size: Side | Annotated[list[Side], Field(min_length=2, max_length=2)] = 224
    """Side, or height and width, of a clip in pixels."""
    num_frames: Side = 16
    """Frames of a clip."""
    tubelet_size: Side = 2
    """Frames of a token."""
    patch_size: Side = 16
    """Side of a token in pixels."""
    num_channels: Literal[3] = 3
    """Red, green, blue."""
    hidden_act: Literal["gelu"] = "gelu"
    """Between the layers of an MLP."""
    layer_norm_eps: Annotated[float, Field(gt=0, le=1)] = 1e-12
    """Added to the variance by every norm."""
    id2label: Annotated[dict[str, str], Field(max_length=2**17, default_factory=dict)]
    """Names of a classifier's classes by their numbers."""

    @property
    def num_classes(self) -> int:
        """Classes that are named, where their numbers run from 0 without a gap."""
        count = len(self.id2label)
        return count if set(self.id2label) == {str(number) for number in range(count)} else 0

    @model_validator(mode="after")
    def _divides(self) -> DeclaredHuggingFace:
        if self.hidden_size % self.num_attention_heads or self.hidden_size % 2:
            raise ValueError(
                "hidden_size must be even and divisible by num_attention_heads, "
                f"got {self.hidden_size} and {self.num_attention_heads}"
            )
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a clip in pixels."""
        sides = self.image_size
        return (sides, sides) if isinstance(sides, int) else (sides[0], sides[1])


def check_tokens(count: int) -> None:
    """Raise ValueError where a clip would have more tokens than any encoder can take."""
    if count > MOST_TOKENS:
        raise ValueError(f"a clip of {count:,} tokens is declared, at most {MOST_TOKENS:,} are allowed")


def student_shape(values: Any, origin: str) -> StudentShape:
    """Return the shape that one of our files states.

    Args:
        values: as read.
        origin: the file, for messages.

    Raises:
        WeightsError: they are not the sizes of a student, or no machine could hold it.
    """
    if not isinstance(values, Mapping):
        raise WeightsError(f"{origin}: the sizes of the student must be keys and values, got {shown(values)}")
    try:
        declared = DeclaredShape.model_validate(dict(values))
    except ValidationError as error:
        raise WeightsError(first_problem(error, DeclaredShape, where=f"{origin}: sizes of the student")) from None
    return StudentShape.from_dict(declared.model_dump())


def huggingface_config(path: Path) -> DeclaredHuggingFace:
    """Return what a ``config.json`` says of a VideoMAE model.

    Raises:
        WeightsError: it cannot be read, describes another model, or a size is absent or impossible.
    """
    config = read_json(path)
    kind = config.get("model_type") if isinstance(config, dict) else type(config).__name__
    if not isinstance(config, dict) or kind != "videomae":
        raise WeightsError(f"{path} describes no VideoMAE model, it describes {shown(kind)}")
    try:
        return DeclaredHuggingFace.model_validate(config)
    except ValidationError as error:
        raise WeightsError(first_problem(error, DeclaredHuggingFace, where=str(path))) from None


def read_json(path: Path) -> Any:
    """Return what a small JSON file of somebody else's holds.

    Raises:
        WeightsError: it cannot be read, is no JSON, or far too large.
    """
    try:
        if path.stat().st_size > MOST_CONFIG_NBYTES:
            raise WeightsError(f"{path} has {path.stat().st_size:,} bytes, a config has at most {MOST_CONFIG_NBYTES:,}")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise WeightsError(f"cannot read {path}: {problem}") from problem

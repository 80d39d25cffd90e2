"""A student, or its encoder alone, apart from any file format: weights by published key names, and a shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from smile_synth.errors import WeightsError, printable
from smile_synth.interop.declared import check_tokens
from smile_synth.masking.grid import TokenGrid
from smile_synth.model.classifier import Classifier, fold_head_norm
from smile_synth.model.student import EXTRA_WEIGHTS, NO_EXTRA_HEADS, Encoder, Student, StudentShape
from smile_synth.model.weights import check_fit, load_strictly
from smile_synth.recipe.student import DECODER_SIZES, ENCODER_SIZES, Transformer
from smile_synth.scene import Canvas

PUBLISHED_CANVAS = Canvas(224, 224, 16)
_ENCODER = "encoder."


@dataclass(frozen=True)
class Sizes:
    """What a file of weights alone does not tell; None takes what the file says, or else what is published.

    Args:
        heads: attention heads of the encoder.
        num_frames: frames of the clips.
        image_size: side, or (height, width), of the clips in pixels.
    """

    heads: int | None = None
    num_frames: int | None = None
    image_size: int | tuple[int, int] | None = None

    def canvas(self, default: Canvas) -> Canvas:
        """Return the size of the clips."""
        size = self.image_size if self.image_size is not None else (default.height, default.width)
        height, width = (size, size) if isinstance(size, int) else size
        return Canvas(height, width, self.num_frames or default.num_frames)

    def change(self, shape: StudentShape) -> StudentShape:
        """Return the shape with what was asked for in place of what was stored."""
        grid, canvas = shape.grid, self.canvas(shape.grid.canvas)
        grid = TokenGrid.of(canvas, tubelet_size=grid.tubelet_size, patch_size=grid.patch_size)
        encoder = shape.encoder if self.heads is None else shape.encoder._replace(heads=self.heads)
        return replace(shape, grid=grid, encoder=encoder)


@dataclass(frozen=True)
class StoredStudent:
    """Weights and shape.

    Args:
        weights: by published key names, the encoder's with their prefix ``encoder.``.
        shape: every size; the decoder's means nothing where there is no decoder.
        source: where it was found, for messages.
        classes: names of a classifier's classes; empty where there is none, or its file does not name them.
        mean_eps: added to the variance by the norm of the mean, where that is not the norms' own.
    """

    weights: dict[str, Tensor]
    shape: StudentShape
    source: str
    classes: tuple[str, ...] = ()
    mean_eps: float | None = None

    @classmethod
    def of(cls, student: Student) -> StoredStudent:
        """Return what is to be stored of a student in memory."""
        weights = {name: value.detach().cpu() for name, value in student.state_dict().items()}
        return cls(weights, student.shape, "a student in memory")

    def checked(self) -> StoredStudent:
        """Return the student itself once its encoder's weights are known to be those that its shape asks for.

        Nothing of the declared sizes is allocated.

        Raises:
            WeightsError: a weight is missing, too many, or of another shape; or a clip would have too many tokens.
        """
        weights = _without_head(self.encoder_weights)
        self._check_sizes(weights)
        with torch.device("meta"):
            encoder = Encoder(self.shape, has_norm=not self.is_fine_tuned)
        check_fit(encoder, weights, self.source)
        if self.is_fine_tuned:
            width = (self.shape.encoder.width,)
            for kind in ("weight", "bias"):
                norm = self.weights.get(f"{_ENCODER}fc_norm.{kind}")
                if norm is None or norm.shape != width:
                    raise WeightsError(f"{self.source} does not fit the model: fc_norm.{kind} must be {width}")
        return self

    def check_student(self) -> None:
        """Refuse a whole student whose weights are not those that its shape asks for.

        Raises:
            WeightsError: a weight is missing, too many, or of another shape.
        """
        if self.shape.has_decoder and _num_blocks(self.weights, "decoder.") != self.shape.decoder.depth:
            raise WeightsError(
                f"{self.source} declares a decoder of {self.shape.decoder.depth} blocks, "
                f"its weights are of {_num_blocks(self.weights, 'decoder.')}"
            )
        with torch.device("meta"):
            student = Student(self.shape)
        check_fit(student, self.weights, self.source)

    def _check_sizes(self, weights: Mapping[str, Tensor]) -> None:
        """Compare what decides over the network's size with the weights, before even its outline is built."""
        width, depth, heads = self.shape.encoder
        patches = weights.get("patch_embed.proj.weight")
        found = (None if patches is None or not patches.ndim else patches.shape[0], _num_blocks(weights))
        if found != (width, depth):
            raise WeightsError(
                f"{self.source} declares an encoder of embedding dimension {width} and {depth} blocks, "
                f"its weights have {found[0]} and {found[1]}"
            )
        if width % heads or width % 2:
            raise WeightsError(
                f"{self.source}: the encoder's embedding dimension must be even and divisible by its heads, "
                f"got {width} and {heads}"
            )
        try:
            check_tokens(self.shape.grid.num_tokens)
        except ValueError as error:
            raise WeightsError(f"{self.source}: {error}") from None

    @property
    def encoder_weights(self) -> dict[str, Tensor]:
        """The encoder's weights, without prefix."""
        return {name.removeprefix(_ENCODER): value for name, value in self.weights.items() if name.startswith(_ENCODER)}

    @property
    def has_decoder(self) -> bool:
        """Whether the whole student is there."""
        return "mask_token" in self.weights

    @property
    def is_fine_tuned(self) -> bool:
        """Whether the mean of the tokens is normalised, rather than the tokens."""
        return f"{_ENCODER}fc_norm.weight" in self.weights

    @property
    def published(self) -> StoredStudent:
        """The student as published ones are: without extra heads, and without a decoder that predicts nothing else."""
        left_out: tuple[str, ...] = EXTRA_WEIGHTS
        if not self.shape.target_dim:
            left_out += ("decoder.", "encoder_to_decoder.", "mask_token")
        weights = {name: value for name, value in self.weights.items() if not name.startswith(left_out)}
        return replace(self, weights=weights, shape=replace(self.shape, heads=NO_EXTRA_HEADS))

    @property
    def num_classes(self) -> int:
        """Classes that it names; 0 where it is no classifier."""
        head = self.weights.get(f"{_ENCODER}head.weight")
        return 0 if head is None or head.ndim != 2 else len(head)

    def build_classifier(self) -> Classifier:
        """Return the fine-tuned classifier with its weights.

        Raises:
            WeightsError: it is not fine-tuned, or the weights do not fit the shape.
        """
        if not self.is_fine_tuned or not self.num_classes:
            raise WeightsError(f"{self.source} holds no classifier: fine-tune it first (smile-synth finetune)")
        if self.classes and len(self.classes) != self.num_classes:
            raise WeightsError(f"{self.source} names {len(self.classes)} classes, its head has {self.num_classes}")
        classifier = Classifier(self.shape, self.num_classes)
        load_strictly(classifier, self.encoder_weights, self.source)
        classifier.fc_norm.eps = self.mean_eps or classifier.fc_norm.eps
        return classifier

    def build_encoder(self) -> Encoder:
        """Return the encoder with its weights; a fine-tuned one is without final norm.

        Raises:
            WeightsError: the weights do not fit the shape.
        """
        encoder = Encoder(self.shape, has_norm=not self.is_fine_tuned)
        load_strictly(encoder, _without_head(self.encoder_weights), self.source)
        return encoder

    def build_student(self) -> Student:
        """Return the whole student with its weights.

        Raises:
            WeightsError: there is no decoder, or the weights do not fit the shape.
        """
        if not self.has_decoder:
            raise WeightsError(f"{self.source} holds an encoder without its decoder: it can be used, not trained on")
        student = Student(self.shape)
        load_strictly(student, self.weights, self.source)
        return student


def with_prefix(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with the prefix of the encoder, which fine-tuned files leave out, and a plain head."""
    if any(name.startswith(_ENCODER) for name in weights):
        return dict(weights)
    return {f"{_ENCODER}{name}": value for name, value in fold_head_norm(weights).items()}


def from_published(
    weights: Mapping[str, Tensor], settings: Mapping[str, Any], sizes: Sizes, source: str
) -> StoredStudent:
    """Return what published weights hold, working out their shape.

    Args:
        weights: by published key names, the encoder's with or without their prefix ``encoder.``.
        settings: of the run that made them, where the file has them: ``num_frames`` and ``input_size`` are looked at.
        sizes: what is known besides.
        source: where the weights were found.

    Raises:
        WeightsError: these are not weights of a VideoMAE student, or their sizes cannot be told.
        ModelError: the sizes do not fit each other.
    """
    weights = with_prefix(weights)
    patches = weights.get(f"{_ENCODER}patch_embed.proj.weight")
    hidden = weights.get(f"{_ENCODER}blocks.0.mlp.fc1.weight")
    fits = patches is not None and patches.ndim == 5 and patches.shape[3] == patches.shape[4] and min(patches.shape) > 0
    if patches is None or hidden is None or not fits or hidden.ndim != 2:
        raise WeightsError(
            f"{source} holds no VideoMAE encoder with square patches: encoder.patch_embed.proj.weight and "
            f"encoder.blocks.* are needed, it has {printable(', '.join(list(weights)[:4]))[:200]}, …"
        )
    width, _, tubelet_size, patch_size, _ = patches.shape
    default = Canvas(
        _size(settings, "input_size", PUBLISHED_CANVAS.height),
        _size(settings, "input_size", PUBLISHED_CANVAS.width),
        _size(settings, "num_frames", PUBLISHED_CANVAS.num_frames),
    )
    grid = TokenGrid.of(sizes.canvas(default), tubelet_size=tubelet_size, patch_size=patch_size)
    encoder = Transformer(width, _num_blocks(weights, _ENCODER), sizes.heads or _encoder_heads(width, source))
    head = weights.get("decoder.head.weight")
    decoder, target_dim = encoder, 1
    if head is not None and head.ndim == 2 and min(head.shape) > 0:
        decoder = Transformer(head.shape[1], _num_blocks(weights, "decoder."), _decoder_heads(head.shape[1]))
        target_dim = head.shape[0]
    shape = StudentShape(encoder, decoder, hidden.shape[0] / width, grid, target_dim)
    return StoredStudent(dict(weights), shape, source)


def _num_blocks(weights: Mapping[str, Tensor], stack: str = "") -> int:
    """Return how many blocks weights are of; their numbers must run from 0 without a gap."""
    named = {match[1] for name in weights if (match := re.match(rf"{re.escape(stack)}blocks\.([0-9]{{1,6}})\.", name))}
    return len(named) if named == {str(n) for n in range(len(named))} else 0


def _encoder_heads(width: int, source: str) -> int:
    published = {size.width: size.heads for size in ENCODER_SIZES.values()}
    if width not in published:
        raise WeightsError(
            f"{source} does not tell how many attention heads its encoder of embedding dimension {width} has: "
            "give heads"
        )
    return published[width]


def _decoder_heads(width: int) -> int:
    published = {size.width: size.heads for size in DECODER_SIZES.values()}
    # Heads leave no trace in the weights; 64 channels a head is what most models have.
    return published.get(width, max(1, width // 64))


def _size(settings: Mapping[str, Any], name: str, default: int) -> int:
    value = settings.get(name)
    return value if type(value) is int and value > 0 else default


def _without_head(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that an encoder wants of a fine-tuned model's."""
    return {name: value for name, value in weights.items() if not name.startswith(("head.", "fc_norm."))}

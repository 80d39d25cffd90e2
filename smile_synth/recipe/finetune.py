"""Parameters of fine-tuning: what is trained, how clips are varied, rates and tests. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from smile_synth.params import NoEffect, Positive, Span, StrictParams
from smile_synth.recipe.loading import USUAL_ASPECTS
from smile_synth.recipe.pretrain import CheckpointParams, OptimizerParams, RuntimeParams
from smile_synth.recipe.student import PositionCode, StudentParams, StudentSize
from smile_synth.recipe.trackers import TrackersParams

Share = Annotated[float, Field(ge=0, le=1)]


class ScratchParams(StrictParams):
    """The network where it is trained from scratch; a pretrained model brings its own sizes."""

    size: StudentSize = "base"
    """A published size; the fields below change parts of it."""
    width: Positive | None = None
    """Embedding dimension, divisible by the heads; absent: that of the size."""
    depth: Positive | None = None
    """Blocks; absent: that of the size."""
    heads: Positive | None = None
    """Attention heads; absent: that of the size."""
    mlp_ratio: float = Field(default=4.0, gt=0, le=16)
    """Hidden dimension of a block's MLP over the embedding dimension."""
    patch_size: Positive = 16
    """Side of a token in pixels; divides ``image_size``."""
    tubelet_size: Positive = 2
    """Frames that a token spans; divides ``videos.frames``."""
    positions: PositionCode = "flat"
    """How a token's place is coded, as in ``pretrain.student``."""

    @property
    def student(self) -> StudentParams:
        """The student whose encoder this is."""
        return StudentParams(**self.model_dump())

    @model_validator(mode="after")
    def _check_sizes(self) -> ScratchParams:
        # Pydantic tells an error of the student's own as one of ours.
        _ = self.student
        return self


class HeadParams(StrictParams):
    """The linear layer that names the class, on the normalised mean of all tokens."""

    init_scale: float = Field(default=1e-3, gt=0, le=1)
    """Factor on the head's first weights, which are normal with a standard deviation of 0.02."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Chance that a channel is dropped before the head in training."""
    batch_norm: bool = False
    """Standardise every channel over the batch before the head, without weights of its own, as linear probes of masked
    autoencoders do; only with ``freeze``, and not with ``runtime.sharding: shard``. In use, running averages take the
    batch's place."""


class VaryParams(StrictParams):
    """How clips are varied in training; every draw holds for all frames of a clip."""

    NO_EFFECT = (
        NoEffect(("crop_aspect",), when=lambda vary: vary.crop_area is None, why="without crop_area"),
        NoEffect(
            ("cutmix_share",), when=lambda vary: not (vary.mixup and vary.cutmix), why="unless mixup and cutmix are on"
        ),
    )

    rand_augment: str | None = "rand-m7-n4-mstd0.5-inc1"
    """RandAugment in timm's notation: magnitude m, operations n, standard deviation mstd of the magnitude, and whether
    more means stronger (inc1). Null: none."""
    crop_area: Span[Annotated[float, Field(gt=0, le=1)]] | None = (0.08, 1.0)
    """Smallest and largest part of a frame's area that a random crop keeps; null: the square in the centre."""
    crop_aspect: Span[Annotated[float, Field(gt=0)]] = USUAL_ASPECTS
    """Smallest and largest width over height of a crop."""
    flip_probability: Share = 0.5
    """Chance that a clip is mirrored; 0 where left and right decide the class, as in Something-Something."""
    erase_probability: Share = 0.25
    """Chance that a rectangle of a clip is replaced by noise, as timm's RandomErasing does by pixel."""
    mixup: float = Field(default=0.8, ge=0)
    """Alpha of mixup; 0: none."""
    cutmix: float = Field(default=1.0, ge=0)
    """Alpha of cutmix; 0: none."""
    cutmix_share: Share = 0.5
    """How often cutmix takes the place of mixup, where both are on."""
    repeats: int = Field(default=2, ge=1, le=16)
    """Clips that one decoded video gives a batch, each varied anew."""

    @property
    def mixes(self) -> bool:
        """Whether pairs of clips are mixed."""
        return self.mixup > 0 or self.cutmix > 0


class ReadingParams(StrictParams):
    """How videos are read ahead while a model is trained."""

    threads: Positive | None = None
    """Threads that decode and vary clips; absent: one a core."""
    prefetch_batches: int = Field(default=2, ge=0, le=64)
    """Batches read ahead, each in memory."""
    last: Literal["drop", "pad"] = "drop"
    """The last incomplete batch of an epoch: dropped, or filled with videos from its beginning."""


class LogParams(TrackersParams):
    """What is measured and shown while a model is fine-tuned."""

    every_steps: Positive = 10
    """Steps between two lines of metrics."""
    evaluate_every_epochs: int = Field(default=0, ge=0)
    """Epochs between two tests on the validation part, one view a video; 0: none."""


class EvaluationParams(StrictParams):
    """How a fine-tuned model is tested; ``videos`` says on which views."""

    batch_size: Positive = 8
    """Views that a device takes at a time."""
    resamples: int = Field(default=2000, ge=100, le=100_000)
    """Bootstrap resamples of the test videos behind an interval."""


PUBLISHED_OPTIMIZER = OptimizerParams(
    learning_rate=1e-3, floor=1e-6, start=1e-6, betas=(0.9, 0.999), weight_decay=0.05, warmup_epochs=5
)


# Nothing but the head is trained with ``freeze``, and no path is dropped.
WITHOUT_EFFECT_ON_HEADS = ("layer_decay", "drop_path")


class FinetuneParams(StrictParams):
    """How a pretrained model learns to name the classes of labelled videos. Defaults are VideoMAE's on Kinetics-400."""

    NO_EFFECT = (
        NoEffect(("layers",), when=lambda tune: tune.freeze, why="with freeze: nothing but the head is trained"),
        NoEffect(WITHOUT_EFFECT_ON_HEADS, when=lambda tune: tune.freeze, why="with freeze"),
    )

    image_size: Positive = 224
    """Side of a clip in pixels; frames are cropped to it, and scaled in a test."""
    scratch: ScratchParams = ScratchParams()
    """The network where MODEL is ``scratch``."""
    freeze: bool = False
    """Train the head alone, on frozen features: a linear probe. Sharded only where ``runtime.sharding`` says so."""
    layers: Positive | None = None
    """Train the last so many blocks, the norm and the head, and with all blocks the patch embedding; absent:
    everything."""
    head: HeadParams = HeadParams()
    """What names the class."""
    drop_path: float = Field(default=0.1, ge=0, lt=1)
    """Chance that the last block is skipped in training; grows evenly from 0 at the first."""
    layer_decay: float = Field(default=0.75, gt=0, le=1)
    """The learning rate of a layer over that of the one above it: of L blocks, block i (from 0) learns with
    layer_decay^(L - i) of the rate, the patch embedding with layer_decay^(L + 1), norm and head with all of it."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Share of the target that is spread evenly over all classes."""
    batch_size: Positive = 128
    """Videos of one step over all processes; ``vary.repeats`` clips come from each."""
    epochs: int | None = Field(default=None, ge=1)
    """Epochs; every video is read once an epoch."""
    max_steps: int | None = Field(default=None, ge=1)
    """Steps after which training ends; its schedule is made for them."""
    optimizer: OptimizerParams = PUBLISHED_OPTIMIZER
    """AdamW and its learning rate."""
    vary: VaryParams = VaryParams()
    """How clips are varied."""
    reading: ReadingParams = ReadingParams()
    """How videos are read ahead."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Keep an exponential moving average of the weights with this decay per step, and test that; absent: none."""
    activation_checkpointing: bool = False
    """Recompute blocks in the backward pass: less memory, about a third more time."""
    runtime: RuntimeParams = RuntimeParams()
    """How the arithmetic is done."""
    watch: LogParams = LogParams()
    """What is measured and shown."""
    checkpoint: CheckpointParams = CheckpointParams()
    """When the state is saved."""
    test: EvaluationParams = EvaluationParams()
    """How the model is tested."""

    @model_validator(mode="after")
    def _check_values(self) -> FinetuneParams:
        if self.epochs is None and self.max_steps is None:
            raise ValueError("give epochs or max_steps")
        if self.head.batch_norm and not self.freeze:
            raise ValueError("head.batch_norm needs freeze: it has no gradient to pass on")
        if self.head.batch_norm and self.runtime.sharding == "shard":
            raise ValueError("head.batch_norm cannot be sharded: leave runtime.sharding out")
        if self.optimizer.schedule != "exact":
            raise ValueError("optimizer.schedule has no effect in fine-tuning: leave it out")
        return self

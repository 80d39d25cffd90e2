"""Parameters of pretraining: student, masks, teacher, target, optimizer, stages. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from smile_synth.params import NoEffect, Positive, StrictParams
from smile_synth.recipe.loading import LoadingParams
from smile_synth.recipe.student import StudentParams
from smile_synth.recipe.trackers import TrackersParams

MaskKind = Literal["random", "tube", "trajectory", "trajectory_visible_tubelet", "motion"]
RegionRule = Literal["published", "tight"]


class MaskParams(StrictParams):
    """Which tokens are hidden from the student.

    Examples:
        >>> ss.MaskParams(kind="tube", ratio=0.75).masks_per_clip
        1
    """

    NO_EFFECT = (
        NoEffect(("visible_object_fraction",), when=lambda mask: mask.kind != "trajectory", why="on {kind!r} masks"),
        NoEffect(("region",), when=lambda mask: not mask.uses_boxes, why="on {kind!r} masks"),
        NoEffect(("fraction",), when=lambda mask: not mask.uses_motion, why="on {kind!r} masks"),
        NoEffect(("further_masks",), when=lambda mask: mask.masks_per_clip == 1, why="with masks_per_clip 1"),
    )

    kind: MaskKind = "trajectory"
    """``random``; ``tube``: one spatial mask for all frames; ``trajectory``: object tokens hidden but for a fraction;
    ``trajectory_visible_tubelet``: object tokens hidden but in one tubelet of the clip; ``motion``: a tube, its visible
    places drawn from the half that moves most and from the other half, as TrackMAE has it."""
    ratio: float = Field(default=0.8, gt=0, lt=1)
    """Share of all tokens that is hidden; exactly tubelets x floor(ratio x rows x columns) tokens."""
    visible_object_fraction: float | None = Field(default=None, ge=0, le=1)
    """Share of object tokens left visible, for ``trajectory`` only; absent: the published 0.1."""
    region: RegionRule | None = None
    """Which tokens an object covers, for trajectory kinds only. ``tight``: those its box overlaps. ``published``: one
    row and one column more on the far side. Absent: ``published``."""
    fraction: float | None = Field(default=None, ge=0, le=1)
    """Share of the visible places drawn from the half that moves most, for ``motion`` only; absent: 0.5."""
    masks_per_clip: int = Field(default=1, ge=1, le=16)
    """Masks drawn for every clip of a batch; the teacher runs once for all of them."""
    further_masks: Literal["fresh", "permuted"] | None = None
    """Where the second and later masks come from, if there are any. ``fresh``: drawn for the clip. ``permuted``: the
    first masks, handed to other clips of a process's share of the batch, as the released SMILE code does. Absent:
    ``fresh``."""

    @property
    def uses_boxes(self) -> bool:
        """Whether the masks depend on where the objects are."""
        return self.kind.startswith("trajectory")

    @property
    def uses_motion(self) -> bool:
        """Whether the masks depend on what moves."""
        return self.kind == "motion"


class TeacherParams(StrictParams):
    """The frozen image model whose features the student predicts."""

    NO_EFFECT = (
        NoEffect(
            ("model", "weights_file"),
            when=lambda teacher: teacher.library == "efficientnet_lite0",
            why="on the teacher 'efficientnet_lite0'",
        ),
        NoEffect(
            ("pretrained",),
            when=lambda teacher: teacher.library == "efficientnet_lite0" and teacher.pretrained != "random",
            why="on the teacher 'efficientnet_lite0', unless it is 'random'",
        ),
    )

    library: Literal["efficientnet_lite0", "open_clip", "timm"] = "open_clip"
    """``efficientnet_lite0``: ImageNet weights that come as a Python package, nothing to download; ``open_clip`` or
    ``timm``: any model of these."""
    model: str | None = None
    """Name of the model in its library, such as ``ViT-B-16-quickgelu``; not for ``efficientnet_lite0``."""
    pretrained: str | None = None
    """Tag of the weights that the library downloads, such as ``openai``; ``random`` leaves the model untrained (for
    controls). Absent: the library's default tag. Not together with ``weights_file``."""
    weights_file: str | None = None
    """Weights on disk, relative to the recipe: ``.pt``, ``.pth``, ``.bin``, ``.safetensors``, or a TorchScript archive
    of OpenAI's CLIP. Nothing is downloaded."""
    layer: str | None = None
    """Layer whose output is the target, by its name in the model, such as ``blocks.4``. Absent: the last (patch tokens
    after the final norm); for ``efficientnet_lite0`` the last at stride 16, ``blocks.4``."""
    image_size: Positive | None = None
    """Side in pixels of the frames that the teacher sees, a multiple of its stride. Absent: for transformers the size
    they were trained at, for convolutional models the clip's own, rounded up to a multiple of the stride."""
    normalisation: Literal["own", "imagenet", "clip"] = "own"
    """Mean and standard deviation of the pixels that the teacher sees. ``own``: those it was trained with. The released
    SMILE code feeds CLIP ``imagenet``-normalised pixels."""
    frames: Literal["first", "middle", "average"] = "first"
    """Which frame of a tubelet the teacher sees; ``average`` takes the mean of the features of all of them."""
    grid: Literal["resize", "exact"] = "resize"
    """What to do where the teacher's grid of tokens is not the student's: resize its features, or refuse."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Arithmetic of the teacher; ``auto``: bfloat16 on CUDA, float32 elsewhere."""
    cache: Literal["auto", "never", "require"] = "auto"
    """Features that ``smile-synth cache`` wrote beside the stores. ``auto``: read where every store has its own and no
    frame is changed by augmentation; ``never``: always run the teacher; ``require``: refuse to run it."""

    @model_validator(mode="after")
    def _check_model(self) -> TeacherParams:
        if self.library == "timm" and self.model is None:
            raise ValueError("a teacher from timm needs the name of its model")
        if self.weights_file is not None and self.pretrained is not None:
            raise ValueError("weights_file and pretrained exclude each other: give one of them")
        return self

    @property
    def model_name(self) -> str:
        """Name of the model in its library, defaults applied."""
        if self.library == "efficientnet_lite0":
            return "tf_efficientnet_lite0"
        return self.model or "ViT-B-16-quickgelu"


class MotionTargetParams(StrictParams):
    """Exact motion as a target: the displacement within each token's tubelet, known from the scene.

    It is divided by one standard deviation for the whole dataset, never per token: the speed of a token is part of what
    is to be learned.
    """

    NO_EFFECT = (NoEffect(("head",), when=lambda motion: not motion.of_hidden, why="where tokens are {tokens!r}"),)

    weight: float | None = Field(default=None, gt=0)
    """Weight of the motion losses relative to features or pixels; absent: 1."""
    tokens: Literal["all", "hidden", "visible"] = "all"
    """Whose motion is predicted: that of ``hidden`` tokens by the decoder, that of ``visible`` ones by one linear layer
    on the encoder's output, or both, each with its own mean."""
    cells: Literal[1, 4] = 1
    """Displacements a token: their mean, or one for each quarter (2 x 2)."""
    loss: Literal["mse", "smooth_l1"] = "mse"
    """Error of predicted motion: mean squared, or smooth L1."""
    head: Literal["shared", "decoder"] | None = None
    """What predicts hidden motion: the decoder by a second output (``shared``), or a second ``decoder`` of two blocks
    with its own linear layer from the encoder, as TrackMAE has it. Absent: ``shared``."""

    @property
    def dim(self) -> int:
        """Values predicted for a token: x and y of every cell."""
        return 2 * self.cells

    @property
    def of_hidden(self) -> bool:
        """Whether hidden tokens' motion is predicted."""
        return self.tokens != "visible"

    @property
    def of_visible(self) -> bool:
        """Whether visible tokens' motion is predicted."""
        return self.tokens != "hidden"


class TargetParams(StrictParams):
    """What the student predicts, and how its error is measured."""

    NO_EFFECT = (
        NoEffect(
            ("standardise", "loss", "visible_weight", "visible_falloff"),
            when=lambda target: not target.uses_teacher,
            why="where the target's kind is {kind!r}",
        ),
        NoEffect(
            ("pixel_loss",), when=lambda target: not target.uses_pixels, why="where the target's kind is {kind!r}"
        ),
        NoEffect(
            ("feature_weight", "pixel_weight"),
            when=lambda target: target.kind != "both",
            why="where the target's kind is {kind!r}",
        ),
        NoEffect(("visible_falloff",), when=lambda target: target.visible_weight is None, why="without visible_weight"),
    )

    kind: Literal["features", "pixels", "both", "motion"] = "features"
    """Features of the teacher, normalised pixels, both, or ``motion`` alone."""
    standardise: Literal["channel", "token", "none"] | None = None
    """How features are standardised: per ``channel`` over all tokens of the clip (published, and the default), per
    ``token`` over its channels, or not."""
    loss: Literal["mse", "smooth_l1", "cosine"] | None = None
    """Error of predicted features: mean squared (published, and the default), smooth L1, or one minus cosine."""
    pixel_loss: Literal["mse", "smooth_l1"] | None = None
    """Error of predicted pixels: mean squared (published, and the default) or smooth L1."""
    feature_weight: float | None = Field(default=None, gt=0)
    """Weight of the features' loss where ``kind`` is ``both``; absent: 1."""
    pixel_weight: float | None = Field(default=None, gt=0)
    """Weight of the pixels' loss where ``kind`` is ``both``; absent: 1."""
    visible_weight: float | None = Field(default=None, gt=0)
    """Predict the features of visible tokens too, by one linear layer on the encoder's output, with this weight
    (V-JEPA 2.1); absent: hidden tokens only."""
    visible_falloff: Literal["distance", "none"] | None = None
    """How the weight of a visible token falls off: by the root of its ``distance`` to the nearest hidden token, in
    tokens (published, and the default), or not."""
    motion: MotionTargetParams | None = None
    """Exact motion as a further target. Needs stores with the array ``motion``. Absent: none, unless ``kind`` is
    ``motion``."""

    @property
    def uses_teacher(self) -> bool:
        """Whether a teacher is needed."""
        return self.kind in ("features", "both")

    @property
    def uses_pixels(self) -> bool:
        """Whether pixels are predicted."""
        return self.kind in ("pixels", "both")

    @property
    def motion_or_default(self) -> MotionTargetParams | None:
        """How motion is predicted, defaults applied; None where it is not."""
        return self.motion or (MotionTargetParams() if self.kind == "motion" else None)

    @model_validator(mode="after")
    def _check_motion_weight(self) -> TargetParams:
        if self.kind == "motion" and self.motion is not None and self.motion.weight is not None:
            raise ValueError("motion.weight has no effect where motion is the only target: leave it out")
        return self


class OptimizerParams(StrictParams):
    """AdamW and its learning rate over a stage."""

    learning_rate: float = Field(default=1.5e-4, gt=0, le=1)
    """Rate after the warm-up; for a batch of 256 where ``scale_with_batch`` is on."""
    floor: float = Field(default=1e-5, ge=0, le=1)
    """Rate that the cosine runs towards; for a batch of 256 where ``scale_with_batch`` is on."""
    start: float = Field(default=0.0, ge=0, le=1)
    """Rate of the very first step; for a batch of 256 where ``scale_with_batch`` is on."""
    scale_with_batch: bool = True
    """Multiply the three rates by batch_size / 256."""
    warmup_epochs: float | None = Field(default=None, ge=0)
    """Epochs in which the rate rises; absent: the published 40, unless ``warmup_steps`` is given."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """Steps in which the rate rises; not together with ``warmup_epochs``."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.95)
    """Decay of AdamW's two moments."""
    eps: float = Field(default=1e-8, gt=0, le=1)
    """Added to the root of the second moment."""
    weight_decay: float = Field(default=0.05, ge=0, le=1)
    """Decay of weights; biases and everything one-dimensional are spared."""
    clip_grad_norm: float | None = Field(default=None, gt=0)
    """Largest norm of the gradient over all parameters; absent: not clipped, as published."""
    schedule: Literal["exact", "published"] = "exact"
    """``exact``: the schedule counts every step. ``published``: with several masks a clip it counts as the released
    code does, for half the steps where there are two masks."""

    @model_validator(mode="after")
    def _check_warmup(self) -> OptimizerParams:
        if self.warmup_epochs is not None and self.warmup_steps is not None:
            raise ValueError("warmup_epochs and warmup_steps exclude each other: give one of them")
        return self

    def warmup(self, steps_per_epoch: int) -> int:
        """Return the steps of the warm-up, given the steps of an epoch."""
        if self.warmup_steps is not None:
            return self.warmup_steps
        return int((40 if self.warmup_epochs is None else self.warmup_epochs) * steps_per_epoch)


class StageParams(StrictParams):
    """One part of a training, with masks and a schedule of its own, from the weights of the part before."""

    name: str = Field(default="train", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """What the log and the checkpoints call it."""
    epochs: int | None = Field(default=None, ge=1)
    """Epochs; each clip is seen once an epoch, with ``masks_per_clip`` masks."""
    max_steps: int | None = Field(default=None, ge=1)
    """Steps after which the stage ends; its schedule is made for them. Absent: as many as ``epochs`` has."""
    mask: MaskParams = MaskParams()
    """Which tokens are hidden."""
    optimizer: OptimizerParams | None = None
    """Absent: ``pretrain.optimizer``. Moments are reset at the start of every stage, as published."""

    @model_validator(mode="after")
    def _check_length(self) -> StageParams:
        if self.epochs is None and self.max_steps is None:
            raise ValueError("a stage needs epochs or max_steps")
        return self


class RuntimeParams(StrictParams):
    """How the arithmetic is done; results differ by rounding only."""

    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the student's matrix products; ``auto``: bfloat16 on GPUs and CPUs that compute in it, float32 elsewhere."""
    compile: bool | None = None
    """Compile the student with torch.compile; absent: on CUDA only."""
    micro_batch: Positive | None = None
    """Clips that a device takes at a time; gradients are summed until the batch is whole. Absent: all of them."""
    sharding: Literal["auto", "replicate", "shard"] = "auto"
    """With several processes: ``replicate`` (DDP) or ``shard`` weights and moments (FSDP2); ``auto`` shards the large
    and huge students on CUDA."""
    threads: Positive | None = None
    """Threads of a process's arithmetic on CPU; absent: torch's own choice, mostly one a core. Students of a million
    weights are faster with 1, above all on a busy machine."""


class WatchParams(TrackersParams):
    """What is measured and shown while training."""

    every_steps: Positive = 10
    """Steps between two lines of metrics."""
    features_every_steps: Positive = 100
    """Steps between two measurements of the standard deviation and effective rank of features."""
    pictures_every_steps: int = Field(default=500, ge=0)
    """Steps between two pictures of input, mask and error; 0: none."""
    probe_every_epochs: int = Field(default=0, ge=0)
    """Epochs between two probes with the recipe's section ``probe``; 0: none."""


class CheckpointParams(StrictParams):
    """When the state is saved, and what is kept."""

    every_steps: Positive = 500
    """Steps between two checkpoints of the latest state."""
    milestone_every_steps: int = Field(default=0, ge=0)
    """Steps between two milestones, checkpoints kept in addition to the latest; 0: only the end of each stage."""
    keep_milestones: Positive = 5
    """Milestones kept, the newest; ends of stages are kept always."""


class PretrainParams(StrictParams):
    """How a student is trained."""

    NO_EFFECT = (
        NoEffect(
            ("epochs", "max_steps", "mask"),
            when=lambda pretrain: bool(pretrain.stages),
            why="together with stages",
            instead="set it in each stage",
        ),
        NoEffect(
            ("teacher",),
            when=lambda pretrain: not pretrain.target.uses_teacher,
            why="where the target's kind is 'pixels'",
        ),
    )

    student: StudentParams = StudentParams()
    """The model that is trained."""
    target: TargetParams = TargetParams()
    """What it predicts."""
    teacher: TeacherParams | None = None
    """The frozen model behind feature targets; absent: CLIP ViT-B/16 where the target needs one."""
    batch_size: Positive = 256
    """Masked clips of one step over all processes; a clip with two masks counts twice, as published."""
    epochs: int | None = Field(default=None, ge=1)
    """Epochs, where there is one stage."""
    max_steps: int | None = Field(default=None, ge=1)
    """Steps after which training ends, where there is one stage; its schedule is made for them."""
    mask: MaskParams | None = None
    """Which tokens are hidden, where there is one stage; absent: trajectory masks, 0.8 of all tokens."""
    stages: tuple[StageParams, ...] = ()
    """Several stages, one after the other; then ``epochs``, ``max_steps`` and ``mask`` are given in each of them."""
    optimizer: OptimizerParams = OptimizerParams()
    """AdamW and its learning rate, for stages that bring none of their own."""
    loading: LoadingParams = LoadingParams()
    """How stores are mixed and read, and what is changed of their clips."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Keep an exponential moving average of the weights with this decay per step; absent: none."""
    runtime: RuntimeParams = RuntimeParams()
    """How the arithmetic is done."""
    watch: WatchParams = WatchParams()
    """What is measured and shown."""
    checkpoint: CheckpointParams = CheckpointParams()
    """When the state is saved."""

    @property
    def plan(self) -> tuple[StageParams, ...]:
        """The stages in order, at least one."""
        if self.stages:
            return self.stages
        return (StageParams(epochs=self.epochs, max_steps=self.max_steps, mask=self.mask or MaskParams()),)

    @property
    def teacher_or_default(self) -> TeacherParams | None:
        """The teacher, defaults applied; None where the target needs none."""
        return (self.teacher or TeacherParams()) if self.target.uses_teacher else None

    @property
    def uses_motion(self) -> bool:
        """Whether the target or a mask needs the stores' motion."""
        return self.target.motion_or_default is not None or any(stage.mask.uses_motion for stage in self.plan)

    @model_validator(mode="after")
    def _check_stages(self) -> PretrainParams:
        if not self.stages and self.epochs is None and self.max_steps is None:
            raise ValueError("give epochs, max_steps or stages")
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"stages must have different names, got {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _check_batch(self) -> PretrainParams:
        for stage in self.plan:
            masks = stage.mask.masks_per_clip
            if self.batch_size % masks:
                raise ValueError(
                    f"batch_size counts masked clips and must be divisible by masks_per_clip, "
                    f"got {self.batch_size} and {masks} in stage {stage.name!r}"
                )
        return self

"""What to probe in a frozen model: questions, their clips and classifiers.

This module imports no torch: recipes are read wherever the command line starts.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from smile_synth.errors import nearest
from smile_synth.params import NoEffect, StrictParams
from smile_synth.recipe.assets import AssetsParams
from smile_synth.recipe.dataset import CanvasParams

ClassifierName = Literal["linear", "knn", "attentive"]
BaselineName = Literal["untrained", "differences", "teacher", "supervised"]

ORDER = "order"
OBJECT_CLASS = "object_class"
FASTER = "faster"


class SourceParams(StrictParams):
    """A family of clips to ask about; train and test differ in photographs, objects and seed."""

    generator: str = Field("cutouts", description="name, package.module:Class, or file.py:Class relative to the recipe")
    params: dict[str, Any] = Field(default_factory=dict, description="the generator's own parameters")
    assets: AssetsParams = Field(AssetsParams(), description="where backgrounds and objects come from")

    @field_validator("assets")
    @classmethod
    def _split_is_ours(cls, assets: AssetsParams) -> AssetsParams:
        if assets.split != "all":
            raise ValueError(
                f"a probe splits photographs and objects itself, got split {assets.split!r}; leave 'split' out"
            )
        return assets


class VideosParams(StrictParams):
    """Labelled videos of the user: class folders, or lists of ``path label`` lines as VideoMAE writes them."""

    train: str = Field(description="folder with one folder a class, or a text file of 'path label' lines")
    test: str = Field(description="the same for the videos to test on")
    root: str = Field("", description="what relative paths of a list start from; empty means the list's own folder")
    segments: int = Field(2, ge=1, le=32, description="segments of a video, one view each")
    crops: Literal[1, 3] = Field(1, description="square crops of a segment: the centre, or three along the long side")
    frame_stride: int = Field(
        0,
        ge=0,
        le=64,
        description="frames from one sampled frame to the next; 0 spreads them over the segment",
    )


class QuestionParams(StrictParams):
    """One question with a finite set of answers."""

    NO_EFFECT = (
        NoEffect(
            ("source", "label", "bins"),
            when=lambda question: question.videos is not None,
            why="on question {name!r}, which asks about videos",
        ),
    )

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40, description="lower-case name, used in file names"
    )
    source: str = Field("", description="name of the source whose clips are asked about")
    label: str = Field(
        "",
        description="the answer: a label of the clips, 'order' (forward or reversed), 'object_class', or 'faster' "
        "(which of two objects, the left or the right one, moves faster)",
    )
    bins: int = Field(
        4, ge=2, le=32, description="classes into which a number is binned, at quantiles of the training part"
    )
    videos: VideosParams | None = Field(None, description="labelled videos instead of a source and a label")

    @model_validator(mode="after")
    def _either_clips_or_videos(self) -> Self:
        if self.videos is None and not (self.source and self.label):
            raise ValueError(f"question {self.name!r} needs 'source' and 'label', or 'videos'")
        return self


class LinearProbeParams(StrictParams):
    """Logistic regression on standardised features."""

    strengths: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
        min_length=1,
        description="inverse regularisations (scikit-learn's C) to choose from, on the validation part",
    )
    max_iterations: int = Field(300, ge=10, le=100_000, description="most steps of the solver")


class NeighboursParams(StrictParams):
    """Votes of the nearest training clips, by cosine similarity."""

    neighbours: int = Field(10, ge=1, le=1000, description="training clips that vote, weighted by similarity")


class AttentiveParams(StrictParams):
    """One learned query attends to all tokens, then a linear layer answers."""

    epochs: int = Field(30, ge=1, le=1000, description="epochs over the training clips")
    batch_size: int = Field(32, ge=1, le=4096, description="clips in a step")
    learning_rates: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (1e-3, 1e-2), min_length=1, description="peak learning rates of AdamW to choose from, on the validation part"
    )
    weight_decays: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        (0.05,), min_length=1, description="weight decays to choose from, likewise"
    )
    heads: int = Field(0, ge=0, le=64, description="attention heads; 0 means one for every 64 channels")


class SupervisedParams(StrictParams):
    """The same network, trained from scratch on the answers to one question: what the training clips allow."""

    epochs: int = Field(20, ge=1, le=10_000, description="epochs over the training clips, which must fit into memory")
    batch_size: int = Field(32, ge=1, le=4096, description="clips in a step")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="peak learning rate of AdamW")
    weight_decay: float = Field(0.05, ge=0, description="weight decay of AdamW")


class ProbeParams(StrictParams):
    """Which questions are asked about frozen features, and which classifiers answer them."""

    NO_EFFECT = (
        NoEffect(
            ("linear",), when=lambda probe: "linear" not in probe.classifiers, why="unless 'classifiers' lists it"
        ),
        NoEffect(("knn",), when=lambda probe: "knn" not in probe.classifiers, why="unless 'classifiers' lists it"),
        NoEffect(
            ("attentive",), when=lambda probe: "attentive" not in probe.classifiers, why="unless 'classifiers' lists it"
        ),
        NoEffect(
            ("supervised",), when=lambda probe: "supervised" not in probe.baselines, why="unless 'baselines' lists it"
        ),
    )

    seed: int = Field(1_000_003, ge=0, le=2**63 - 1, description="seed of the clips, the splits and the intervals")
    train_clips: int = Field(512, ge=16, le=10_000_000, description="clips that a classifier is fitted on, a source")
    test_clips: int = Field(256, ge=16, le=10_000_000, description="clips that it is tested on, a source")
    canvas: CanvasParams | None = Field(None, description="size of the clips; none means what the model takes")
    sources: dict[str, SourceParams] = Field(default_factory=dict, description="families of clips by name")
    questions: tuple[QuestionParams, ...] = Field(min_length=1, description="questions to ask")
    classifiers: tuple[ClassifierName, ...] = Field(("linear",), min_length=1, description="classifiers of features")
    baselines: tuple[BaselineName, ...] = Field(
        ("untrained", "differences", "teacher"),
        description="baselines: the same network untrained, raw frame differences, the teacher, and the same network "
        "trained from scratch on the answers",
    )
    blocks: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="blocks of the encoder, counted from 1, whose tokens are probed in addition to the last block's"
    )
    linear: LinearProbeParams = Field(LinearProbeParams(), description="of the classifier 'linear'")
    knn: NeighboursParams = Field(NeighboursParams(), description="of the classifier 'knn'")
    attentive: AttentiveParams = Field(AttentiveParams(), description="of the classifier 'attentive'")
    supervised: SupervisedParams = Field(SupervisedParams(), description="of the baseline 'supervised'")
    validation_share: float = Field(
        0.2, gt=0, lt=0.9, description="share of the training clips on which regularisation is chosen"
    )
    min_clips_per_class: int = Field(8, ge=2, le=100_000, description="fewest training clips of a class")
    resamples: int = Field(2000, ge=100, le=100_000, description="bootstrap resamples of the test clips")
    batch_size: int = Field(16, ge=1, le=4096, description="clips that go through the model at once")

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names = [question.name for question in self.questions]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"every question needs a name of its own, got {', '.join(twice)} twice")
        for question in self.questions:
            if question.videos is None and question.source not in self.sources:
                raise ValueError(
                    f"question {question.name!r} asks about source {question.source!r}, which is not among "
                    f"{', '.join(self.sources) or 'none'}.{nearest(question.source, self.sources)}"
                )
        unused = sorted(set(self.sources) - {question.source for question in self.questions})
        if unused:
            raise ValueError(f"no question asks about source {', '.join(unused)}; leave it out")
        return self

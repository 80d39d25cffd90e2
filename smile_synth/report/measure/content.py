"""The content of a report, as it stands in its JSON: every metric with its unit and what it is taken over."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

NUM_QUANTILES = 101


class Part(BaseModel):
    """A piece of a report: frozen, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Histogram(Part):
    """How often values fall between edges."""

    edges: list[float] = Field(description="bin edges, rising, one more than counts")
    counts: list[int] = Field(description="values in each bin; the last bin holds its upper edge")


class Quantity(Part):
    """The distribution of one measured number."""

    name: str = Field(description="key of the quantity, stable between versions")
    title: str = Field(description="what people call it")
    unit: str = Field(description="unit of every value below; empty for pure numbers")
    of: str = Field(description="what one value belongs to, such as 'object and frame'")
    meaning: str = Field(description="one sentence: what it says and how it is measured")
    count: int = Field(description="number of values")
    missing: int = Field(description="places where the quantity is not defined")
    mean: float | None = Field(description="mean of all values, null without values")
    std: float | None = Field(description="standard deviation of all values, null without values")
    minimum: float | None = Field(description="smallest value, null without values")
    maximum: float | None = Field(description="largest value, null without values")
    quantiles: list[float] = Field(
        description="quantiles 0, 0.01, ... 1 (of a seeded sample of the values where there are many); empty without"
    )
    histogram: Histogram | None = Field(description="null without values")
    examples: list[tuple[int, float]] = Field(
        default_factory=list, description="clips of the store, each with a value of its own, spread over all values"
    )

    @property
    def median(self) -> float | None:
        """The 0.5 quantile, None without values."""
        return self.quantiles[NUM_QUANTILES // 2] if self.quantiles else None


class Count(Part):
    """How often something occurs."""

    name: str = Field(description="what is counted")
    count: int = Field(description="how often it occurs")
    clips: list[int] = Field(default_factory=list, description="a few clips of the store with it")


class Counts(Part):
    """How often each of several things occurs."""

    name: str = Field(description="key, stable between versions")
    title: str = Field(description="what people call it")
    of: str = Field(description="what is counted, such as 'objects'")
    meaning: str = Field(description="one sentence: what it says and how it is counted")
    counts: list[Count] = Field(description="one entry for each thing, zeros included")
    undefined: int = Field(description="places where it is not defined")

    @property
    def total(self) -> int:
        """Sum of all counts."""
        return sum(entry.count for entry in self.counts)


class Grid(Part):
    """A number for every cell of a grid laid over the canvas."""

    title: str = Field(description="what people call it")
    unit: str = Field(description="unit of a cell's value")
    meaning: str = Field(description="one sentence: what it says and how it is measured")
    values: list[list[float]] = Field(description="rows from top to bottom, columns from left to right")


class Curve(Part):
    """One number as a function of another."""

    title: str = Field(description="what people call it")
    x_title: str = Field(description="what x is, with its unit")
    y_title: str = Field(description="what y is, with its unit")
    meaning: str = Field(description="one sentence: what it says and how it is measured")
    x: list[float] = Field(description="rising")
    y: list[float] = Field(description="one value for each x")


class ReportWarning(Part):
    """A warning of the verdict."""

    code: str = Field(description="name of the warning, as --fail-on takes it")
    text: str = Field(description="what is wrong, in plain words, with the value")
    figure: float = Field(description="the value that was judged")
    limit: float = Field(description="the value beyond which the warning is given")
    advice: str = Field(description="what to change")


class Overview(Part):
    """What the dataset is."""

    name: str = Field(description="name of the store")
    clips: int = Field(description="clips in the store")
    sampled_clips: int = Field(description="clips that this report looked at")
    sample_seed: int = Field(description="seed that chose them")
    frames: int = Field(description="frames of a clip")
    height: int = Field(description="rows of a frame, in pixels")
    width: int = Field(description="columns of a frame, in pixels")
    max_objects: int = Field(description="object slots of a clip")
    bytes_on_disk: int = Field(description="size of the store in bytes, all files")
    seed: int = Field(description="seed of the dataset")
    generators: list[str] = Field(description="families that its clips can come from")
    digest: str = Field(description="SHA-256 that stands for every byte of the store")
    versions: dict[str, str] = Field(description="what wrote the store")
    recipe: dict[str, Any] = Field(description="the whole resolved recipe")


class ObjectMotion(Part):
    """How objects move, and where."""

    quantities: list[Quantity] = Field(description="distributions")
    direction: Counts = Field(description="where objects go, eight compass directions on the screen")
    rose: Curve = Field(description="the same in finer steps")
    heat_map: Grid = Field(description="where objects are")
    moving_cameras: int = Field(description="sampled clips whose camera moves")
    off_canvas_share: float = Field(description="share of drawn frames of objects with nothing on the canvas, 0 to 1")
    cut_off_share: float = Field(description="share of visible frames of objects that touch the border, 0 to 1")


class Appearance(Part):
    """What frames look like."""

    quantities: list[Quantity] = Field(description="distributions")
    spectrum: Curve = Field(description="radial mean of the amplitude spectrum of the luminance")
    amplitude_exponent: float | None = Field(description="s in amplitude ~ 1 / frequency^s; power falls with 2 s")
    still_clips: int = Field(description="sampled clips in which nothing changes from frame to frame")
    colour_plane: Grid = Field(description="joint distribution of a* (columns) and b* (rows, b* up)")
    near_duplicate_share: float = Field(description="share of compared clips with a near-duplicate among them, 0 to 1")
    near_duplicate_pairs: list[tuple[int, int]] = Field(description="a few pairs of clips, the closest first")
    compared_clips: int = Field(description="clips compared for near-duplicates")


class ReportedFeatures(Part):
    """What a frozen image model sees in the frames."""

    model: str = Field(description="the feature model that every metric here depends on")
    frames: int = Field(description="feature vectors; one is the mean over the tokens of a clip's middle frame")
    width: int = Field(description="numbers in a feature vector")
    diversity_logdet: float | None = Field(
        description="natural logarithm of det(covariance + 1e-6 identity), corrected for few frames"
    )
    effective_rank: float | None = Field(description="exponential of the entropy of the covariance's eigenvalues")
    variance_over_tokens: float = Field(description="mean variance of a channel over the tokens of one frame")
    variance_over_clips: float = Field(description="mean variance of a channel over the means of frames")
    quantities: list[Quantity] = Field(description="distributions")
    frechet_distance: float | None = Field(description="to the natural frames, null without any or with too few")


class Natural(Part):
    """The natural videos or images that the dataset was put beside."""

    folder: str = Field(description="name of the folder")
    videos: int = Field(description="video files that were read")
    images: int = Field(description="image files that were read")
    clips: int = Field(description="clips taken from the videos")
    stride: int = Field(description="frames of the file from one frame of a clip to the next")
    skipped: list[str] = Field(description="files that could not be read, with the reason")
    quantities: list[Quantity] = Field(description="the same distributions of pixels as the dataset's")
    spectrum: Curve | None = Field(description="the same spectrum as the dataset's")
    amplitude_exponent: float | None = Field(description="as the dataset's")
    diversity_logdet: float | None = Field(description="in the same features")
    feature_frames: int = Field(description="feature vectors behind the two metrics")


class Masks(Part):
    """What the masks of one stage of training hide."""

    stage: str = Field(description="stage of the training")
    kind: str = Field(description="kind of mask")
    params: dict[str, Any] = Field(description="all parameters of the mask")
    tokens: int = Field(description="tokens of a clip")
    hidden_tokens: int = Field(description="tokens that every mask must hide")
    wrong_counts: int = Field(description="masks that hide another number of tokens; anything but 0 is a fault")
    object_token_share: float = Field(description="share of all tokens that an object's box overlaps, 0 to 1")
    object_tokens_hidden: float | None = Field(description="share of object tokens hidden, 0 to 1; null without any")
    other_tokens_hidden: float | None = Field(description="share of the other tokens hidden, 0 to 1; null without any")


class Training(Part):
    """What a recipe would do with the dataset."""

    recipe: str = Field(description="name of the recipe")
    epochs: float = Field(description="how often the student would see each clip")
    patch_size: int | None = Field(None, description="side of the student's patches in pixels, null in older reports")
    teacher: str | None = Field(description="the teacher, null where the target is pixels")
    masks: list[Masks] = Field(description="one entry for each stage")


class AssetView(Part):
    """Where an asset is seen well."""

    clip: int = Field(description="number of the clip in the store")
    frame: int = Field(description="frame of the clip, from 0")
    box: tuple[float, float, float, float] | None = Field(
        description="x1, y1, x2, y2 of the object in pixels; null for a background"
    )


class AssetUse(Part):
    """How often one asset occurs in the sampled clips."""

    name: str = Field(description="name of the asset")
    class_name: str = Field(description="what it is, empty for backgrounds")
    count: int = Field(description="sampled clips (backgrounds) or objects that use it")
    view: AssetView | None = Field(None, description="where it is seen well, null where it is nowhere visible")


class AssetKind(Part):
    """How evenly the assets of one kind are used."""

    kind: str = Field(description="background or object")
    available: int = Field(description="assets of this kind in the store's table")
    used: int = Field(description="of these, used in the sampled clips")
    draws: int = Field(description="uses in the sampled clips")
    expected_unused: float = Field(description="assets that an even draw of this many would leave out, on average")
    evenness: float | None = Field(description="entropy of the uses over that of even use, 0 to 1")
    most_used: list[AssetUse] = Field(description="the ten most used")
    unused: list[str] = Field(description="up to 50 that were not used")
    classes: Counts = Field(description="uses by class")
    licences: Counts = Field(description="assets by licence")


class Correlation(Part):
    """How closely two labels go together."""

    first: str = Field(description="name of a label")
    second: str = Field(description="name of another")
    kind: Literal["spearman", "cramers_v", "correlation_ratio"] = Field(
        description="Spearman's rank correlation of two numbers, Cramer's V of two classes, or the correlation ratio "
        "of a number's ranks over classes; the last two are corrected for few values"
    )
    value: float | None = Field(
        description="-1 to 1 (spearman) or 0 to 1; null with too few values, or where one label never varies"
    )
    count: int = Field(description="clips or objects for which both are defined")


class Example(Part):
    """A clip chosen for what it shows."""

    clip: int = Field(description="number of the clip in the store")
    value: float = Field(description="the value it was chosen for")


class Extreme(Part):
    """Clips at one end of a quantity."""

    name: str = Field(description="key, such as fastest")
    title: str = Field(description="what people call it")
    unit: str = Field(description="unit of the values")
    meaning: str = Field(description="one sentence: how they were chosen")
    examples: list[Example] = Field(description="the most extreme first")


class Report(Part):
    """The statistics of one store."""

    schema_version: Literal[1] = Field(1, description="version of this layout")
    smile_synth_version: str = Field(description="what made the report")
    overview: Overview
    verdict: list[ReportWarning] = Field(description="warnings, the gravest first; empty when nothing was found")
    contact_sheet: list[int] = Field(description="clips shown on the contact sheet")
    animated: list[int] = Field(description="clips shown moving")
    extremes: list[Extreme]
    motion: ObjectMotion
    labels: list[Counts] = Field(description="class labels")
    label_quantities: list[Quantity] = Field(description="number labels")
    label_correlations: list[Correlation] = Field(default_factory=list, description="every pair of labels")
    appearance: Appearance
    features: ReportedFeatures | None = Field(description="null where no feature model was asked for")
    training: Training | None = Field(description="null where no recipe says how to train on the dataset")
    assets: list[AssetKind]
    natural: Natural | None = Field(description="null without --natural")


def quantities(report: Report) -> dict[str, Quantity]:
    """Return every distribution of a report by name."""
    found = [*report.motion.quantities, *report.appearance.quantities, *report.label_quantities]
    if report.features is not None:
        found += report.features.quantities
    return {quantity.name: quantity for quantity in found}

"""The verdict: what is likely to hurt pretraining, in plain words, with the value and what to change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from smile_synth.errors import ReportError, nearest
from smile_synth.progress import without_exponent
from smile_synth.report.measure.asset_summary import UNKNOWN
from smile_synth.report.measure.content import Counts, Report, ReportWarning, quantities

ANY = "any"


@dataclass(frozen=True)
class Check:
    """One question that the verdict asks.

    Args:
        code: name of the warning, as ``--fail-on`` takes it.
        limit: the value beyond which the warning is given.
        find: returns the text and the value where a report breaks the limit, else None.
        advice: what to change.
        about: what the warning means, for the documentation.
        limit_of: returns the limit that the recipe sets, None where ``limit`` holds; None where no recipe sets any.
    """

    code: str
    limit: float
    find: Callable[[Report, float], tuple[str, float] | None]
    advice: str
    about: str
    limit_of: Callable[[Report], float | None] | None = None


def judge(report: Report) -> list[ReportWarning]:
    """Return the warnings that a report gives cause for, in the order of ``CHECKS``.

    Args:
        report: its own verdict is not looked at.
    """
    return list(_findings(report))


def check_codes(codes: Sequence[str]) -> None:
    """Raise ReportError unless every code is that of a warning, or ``any``."""
    known = [check.code for check in CHECKS]
    for code in codes:
        if code not in (*known, ANY):
            raise ReportError(
                f"--fail-on: there is no warning {code!r}.{nearest(code, known)} "
                f"Give one of: {', '.join(known)}, or '{ANY}' for all of them"
            )


def failed_codes(report: Report, codes: Sequence[str]) -> list[str]:
    """Return the codes of the report's warnings that are among ``codes``.

    Args:
        report: with its verdict.
        codes: of warnings; ``any`` stands for all of them.
    """
    return [finding.code for finding in report.verdict if finding.code in codes or ANY in codes]


def _findings(report: Report) -> Iterator[ReportWarning]:
    for check in CHECKS:
        own = check.limit_of(report) if check.limit_of is not None else None
        limit = check.limit if own is None else own
        found = check.find(report, limit)
        if found is not None:
            text, value = found
            yield ReportWarning(code=check.code, text=text, figure=value, limit=limit, advice=check.advice)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _still_clips(report: Report, limit: float) -> tuple[str, float] | None:
    share = report.appearance.still_clips / max(report.overview.sampled_clips, 1)
    return (f"{_percent(share)} of the clips do not change from frame to frame.", share) if share > limit else None


def _near_duplicates(report: Report, limit: float) -> tuple[str, float] | None:
    look = report.appearance
    if look.near_duplicate_share <= limit:
        return None
    pairs = ", ".join(f"{a} and {b}" for a, b in look.near_duplicate_pairs[:2])
    share = _percent(look.near_duplicate_share)
    return f"{share} of {look.compared_clips} clips look the same as another (such as {pairs}).", (
        look.near_duplicate_share
    )


def _off_canvas(report: Report, limit: float) -> tuple[str, float] | None:
    share = report.motion.off_canvas_share
    return (f"Objects are off the canvas in {_percent(share)} of their frames.", share) if share > limit else None


def _slow_objects(report: Report, limit: float) -> tuple[str, float] | None:
    table = quantities(report)
    speed, change = table["speed"].median, table["change"].median
    # Objects may stand still where their textures or the camera move.
    if speed is None or speed >= limit or (change or 0.0) > MOVING_LEVELS:
        return None
    return f"Half of the objects move less than {max(speed, 0.01):.2g} px from frame to frame.", speed


def _small_objects(report: Report, limit: float) -> tuple[str, float] | None:
    size = quantities(report)["size"].median
    if size is None or size >= limit:
        return None
    token = "a usual token" if _patch_size(report) is None else "the recipe's token"
    return f"Half of the objects are smaller than {size:.3g} px, less than {token} of {limit:g} px.", size


def _patch_size(report: Report) -> float | None:
    return None if report.training is None else report.training.patch_size


def _hidden_objects(report: Report, limit: float) -> tuple[str, float] | None:
    mean = quantities(report)["occlusion"].mean
    if mean is None or mean <= limit:
        return None
    return f"On average {_percent(mean)} of an object's box lies under other objects.", mean


def _dominant_class(report: Report, limit: float) -> tuple[str, float] | None:
    worst: tuple[str, float] | None = None
    for counts in _balanced_by_intent(report):
        top = max(counts.counts, key=lambda entry: entry.count)
        share = top.count / counts.total
        even = 1 / max(sum(entry.count > 0 for entry in counts.counts), 2)
        excess = (share - even) / (1 - even)
        if excess > limit and (worst is None or excess > worst[1]):
            worst = (f"{_percent(share)} of all {counts.of} are {top.name!r} ({counts.title}).", excess)
    return worst


def _balanced_by_intent(report: Report) -> list[Counts]:
    """Return what ought to be spread evenly over three or more classes."""
    kinds = [kind.classes for kind in report.assets if kind.kind == "object"]
    # A label with a single class that occurs is a choice of the recipe, not an imbalance.
    labels = [counts for counts in report.labels if sum(entry.count > 0 for entry in counts.counts) > 1]
    found = [report.motion.direction, *labels, *kinds]
    return [counts for counts in found if len(counts.counts) >= 3 and counts.total >= 50]


def _unused_assets(report: Report, limit: float) -> tuple[str, float] | None:
    worst: tuple[str, float] | None = None
    for kind in report.assets:
        excess = (kind.available - kind.used - kind.expected_unused) / max(kind.available, 1)
        if excess > limit and (worst is None or excess > worst[1]):
            left = kind.available - kind.used
            text = (
                f"{left} of {kind.available} {kind.kind}s were never used in {kind.draws} draws; "
                f"even use would leave out {kind.expected_unused:.0f}."
            )
            worst = (text, excess)
    return worst


def _few_backgrounds(report: Report, limit: float) -> tuple[str, float] | None:
    clips = report.overview.clips
    for kind in report.assets:
        # A generator that draws its backgrounds uses none of the table.
        if kind.kind == "background" and kind.draws and clips / kind.available > limit:
            text = (
                f"{clips} clips share {kind.available} backgrounds: each is seen in about {clips / kind.available:.0f}."
            )
            return text, clips / kind.available
    return None


def _flat_backgrounds(report: Report, limit: float) -> tuple[str, float] | None:
    contrast = quantities(report)["background_contrast"]
    flat = sum(value < FLAT_CONTRAST for value in contrast.quantiles) / max(len(contrast.quantiles), 1)
    if flat <= limit:
        return None
    text = (
        f"About {_percent(flat)} of the clips have a flat background (lightness varies by less than {FLAT_CONTRAST})."
    )
    return text, flat


def _memorisation(report: Report, limit: float) -> tuple[str, float] | None:
    training, clips = report.training, report.overview.clips
    if training is None or training.epochs / clips <= limit or training.epochs <= MIN_EPOCHS_TO_MEMORISE:
        return None
    text = f"The recipe {training.recipe!r} shows each of only {clips} clips {without_exponent(training.epochs)} times."
    return text, training.epochs / clips


def _mask_misses_motion(report: Report, limit: float) -> tuple[str, float] | None:
    for masks in report.training.masks if report.training else ():
        hidden = masks.object_tokens_hidden
        if hidden is not None and hidden < limit:
            text = f"Masks of kind {masks.kind!r} hide only {_percent(hidden)} of the tokens that objects touch."
            return text, hidden
    return None


def _mask_count(report: Report, limit: float) -> tuple[str, float] | None:
    wrong = sum(masks.wrong_counts for masks in report.training.masks) if report.training else 0
    return (f"{wrong} masks hide another number of tokens than they must.", float(wrong)) if wrong > limit else None


def _flat_features(report: Report, limit: float) -> tuple[str, float] | None:
    features = report.features
    if features is None:
        return None
    ratio = features.variance_over_tokens / max(features.variance_over_tokens + features.variance_over_clips, 1e-12)
    if ratio >= limit:
        return None
    text = f"Only {_percent(ratio)} of the variance of features ({features.model}) lies between tokens of a frame."
    return text, ratio


def _unknown_licences(report: Report, limit: float) -> tuple[str, float] | None:
    counts = [entry for kind in report.assets for entry in kind.licences.counts]
    unknown, total = sum(e.count for e in counts if e.name == UNKNOWN), sum(e.count for e in counts)
    share = unknown / max(total, 1)
    return (f"No licence is stated for {unknown} of {total} assets.", share) if share > limit else None


FLAT_CONTRAST = 4.0
MIN_EPOCHS_TO_MEMORISE = 20
MOVING_LEVELS = 2.0

CHECKS = (
    Check(
        "mask-count",
        0,
        _mask_count,
        "This is a fault in the mask sampler: report it with the recipe.",
        "a mask hides another number of tokens than its ratio says",
    ),
    Check(
        "static-clips",
        0.1,
        _still_clips,
        "Raise the motion parameters of the generator, or give the background a camera that moves.",
        "too many clips in which nothing moves",
    ),
    Check(
        "near-duplicates",
        0.02,
        _near_duplicates,
        "Use more backgrounds and objects, or let the generator vary more from clip to clip.",
        "too many clips that look the same as another",
    ),
    Check(
        "off-canvas",
        0.25,
        _off_canvas,
        "Shorten the paths, or start them nearer to the middle of the canvas.",
        "objects spend too many frames outside the picture",
    ),
    Check(
        "slow-objects",
        0.5,
        _slow_objects,
        "Raise the speed of the motion, or take a larger step between frames.",
        "objects hardly move between frames",
    ),
    Check(
        "small-objects",
        16,
        _small_objects,
        "Raise the object sizes, or render on a larger canvas.",
        "objects are smaller than a token of the recipe, or than a usual one where no recipe trains",
        limit_of=_patch_size,
    ),
    Check(
        "hidden-objects",
        0.5,
        _hidden_objects,
        "Draw fewer or smaller objects a clip.",
        "objects lie mostly under each other",
    ),
    Check(
        "dominant-class",
        0.4,
        _dominant_class,
        "Balance the classes: draw the class first, then one of its members; check the generator's choice of motion.",
        "one class, direction or kind takes too much; 0 is an even share among those that occur, 1 is everything",
    ),
    Check(
        "unused-assets",
        0.2,
        _unused_assets,
        "Render more clips, or check how the generator chooses its assets.",
        "many more assets are unused than even draws would leave out",
    ),
    Check(
        "few-backgrounds",
        100,
        _few_backgrounds,
        "Use more images as backgrounds (dataset.assets.backgrounds), or a generator that draws its own.",
        "so many clips for each background that the student can learn the backgrounds by heart",
    ),
    Check(
        "flat-backgrounds",
        0.2,
        _flat_backgrounds,
        "Use photographs or textures as backgrounds: a flat one gives the teacher nothing to say.",
        "backgrounds without any structure",
    ),
    Check(
        "flat-features",
        0.2,
        _flat_features,
        "Use backgrounds with more structure: the tokens of a frame all look alike to the teacher.",
        "a frame's tokens hardly differ in the features of the feature model",
    ),
    Check(
        "mask-misses-motion",
        0.7,
        _mask_misses_motion,
        "Use masks of kind 'trajectory', or raise the mask ratio.",
        "masks leave too much of the moving objects visible",
    ),
    Check(
        "memorisation",
        0.02,
        _memorisation,
        "Render more clips (50 for every epoch is a safe rule of thumb), or train for fewer epochs.",
        "so few clips for so many epochs that the student will learn them by heart",
    ),
    Check(
        "unknown-licences",
        0,
        _unknown_licences,
        "State the licence of your images in the recipe: dataset.assets.licence.",
        "assets whose licence nobody stated",
    ),
)

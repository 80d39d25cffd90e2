"""Every warning is given where it should be, and not where it should not."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_samples import tiny_report, tiny_store

from smile_synth.errors import ReportError
from smile_synth.report.measure.content import Count, Counts, Masks, ReportedFeatures, Training
from smile_synth.report.measure.verdict import CHECKS, check_codes, failed_codes, judge


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A report that nothing is wrong with."""
    report = tiny_report(tiny_store(tmp_path_factory.mktemp("verdict")))
    report = with_quantity(report, "speed", 3.0)
    report = with_quantity(report, "size", 40.0)
    report = with_motion(report, direction=spread(report.motion.direction, [10] * 8))
    report = with_look(report, still_clips=0)
    assert judge(report) == []
    return report.model_copy(update={"verdict": []})


def spread(counts, values):
    entries = [Count(name=entry.name, count=value) for entry, value in zip(counts.counts, values, strict=True)]
    return counts.model_copy(update={"counts": entries})


def with_motion(report, **changes):
    return report.model_copy(update={"motion": report.motion.model_copy(update=changes)})


def with_look(report, **changes):
    return report.model_copy(update={"appearance": report.appearance.model_copy(update=changes)})


def with_quantity(report, name, value):
    """Return the report with every value of a quantity set to ``value``."""
    changes = {"mean": value, "quantiles": [value] * 101}
    for part in ("motion", "appearance"):
        section = getattr(report, part)
        changed = [q.model_copy(update=changes) if q.name == name else q for q in section.quantities]
        report = report.model_copy(update={part: section.model_copy(update={"quantities": changed})})
    return report


def with_assets(report, kind, **changes):
    assets = [a.model_copy(update=changes) if a.kind == kind else a for a in report.assets]
    return report.model_copy(update={"assets": assets})


def with_training(report, *, epochs=1.0, hidden=0.9, wrong=0):
    masks = Masks(
        stage="train",
        kind="tube",
        params={},
        tokens=392,
        hidden_tokens=312,
        wrong_counts=wrong,
        object_token_share=0.3,
        object_tokens_hidden=hidden,
        other_tokens_hidden=0.8,
    )
    training = Training(recipe="mine", epochs=epochs, teacher=None, masks=[masks])
    return report.model_copy(update={"training": training})


def with_features(report, *, tokens, clips):
    features = ReportedFeatures(
        model="a model",
        frames=100,
        width=4,
        diversity_logdet=None,
        effective_rank=None,
        variance_over_tokens=tokens,
        variance_over_clips=clips,
        quantities=[],
        frechet_distance=None,
    )
    return report.model_copy(update={"features": features})


def licences(name, count):
    return Counts(name="l", title="L", of="assets", meaning="M.", counts=[Count(name=name, count=count)], undefined=0)


BAD = {
    "mask-count": lambda report: with_training(report, wrong=1),
    "static-clips": lambda report: with_look(report, still_clips=30),
    "near-duplicates": lambda report: with_look(
        report, near_duplicate_share=0.1, near_duplicate_pairs=[(1, 2)], compared_clips=70
    ),
    "off-canvas": lambda report: with_motion(report, off_canvas_share=0.4),
    "slow-objects": lambda report: with_quantity(report, "speed", 0.1),
    "small-objects": lambda report: with_quantity(report, "size", 9.0),
    "hidden-objects": lambda report: with_quantity(report, "occlusion", 0.7),
    "dominant-class": lambda report: with_motion(
        report, direction=spread(report.motion.direction, [90, 1, 1, 1, 1, 1, 1, 1])
    ),
    "unused-assets": lambda report: with_assets(
        report, "object", available=100, used=40, draws=1000, expected_unused=0.1
    ),
    "few-backgrounds": lambda report: with_assets(report, "background", available=8, used=8).model_copy(
        update={"overview": report.overview.model_copy(update={"clips": 1536})}
    ),
    "flat-backgrounds": lambda report: with_quantity(report, "background_contrast", 1.0),
    "flat-features": lambda report: with_features(report, tokens=1.0, clips=20.0),
    "mask-misses-motion": lambda report: with_training(report, hidden=0.4),
    "memorisation": lambda report: with_training(report, epochs=400.0),
    "unknown-licences": lambda report: with_assets(report, "object", licences=licences("not stated", 3)),
}


def test_every_warning_is_tested():
    assert set(BAD) == {check.code for check in CHECKS}


@pytest.mark.parametrize("code", BAD)
def test_warning_is_given_alone_with_its_figure_and_advice(good, code):
    (finding,) = judge(BAD[code](good))
    assert finding.code == code
    assert any(digit in finding.text for digit in "0123456789")
    assert finding.advice.endswith(".")


@pytest.mark.parametrize(
    ("patch_size", "size", "text"),
    [
        (8, 9.0, None),
        (8, 7.0, "smaller than 7 px, less than the recipe's token of 8 px"),
        (None, 9.0, "smaller than 9 px, less than a usual token of 16 px"),
    ],
)
def test_objects_are_small_beside_the_patches_of_the_recipe(good, patch_size, size, text):
    report = with_training(with_quantity(good, "size", size))
    report = report.model_copy(update={"training": report.training.model_copy(update={"patch_size": patch_size})})
    found = judge(report)
    if text is None:
        assert found == []
    else:
        assert [(finding.code, finding.limit) for finding in found] == [("small-objects", patch_size or 16)]
        assert text in found[0].text


def test_numbers_of_a_warning_have_no_exponent(good):
    (finding,) = judge(with_training(good, epochs=1234.0 * good.overview.clips))
    assert f"{1234 * good.overview.clips} times." in finding.text


def test_sound_training_and_features_are_not_warned_of(good):
    assert judge(with_features(with_training(good), tokens=38.0, clips=6.0)) == []


def test_backgrounds_that_no_clip_shows_are_not_too_few(good):
    many = good.model_copy(update={"overview": good.overview.model_copy(update={"clips": 1536})})
    assert judge(with_assets(many, "background", available=8, used=0, draws=0, expected_unused=8)) == []


def test_two_classes_in_equal_parts_are_balanced(good):
    halves = spread(good.motion.direction, [40, 0, 0, 0, 40, 0, 0, 0])
    assert judge(with_motion(good, direction=halves)) == []


def test_unknown_code_names_the_nearest():
    with pytest.raises(ReportError, match="Did you mean 'static-clips'"):
        check_codes(["static-clip"])
    check_codes(["static-clips", "any"])


def test_failed_codes_are_those_asked_for(good):
    bad = BAD["off-canvas"](good)
    bad = bad.model_copy(update={"verdict": judge(bad)})
    assert failed_codes(bad, ["off-canvas", "static-clips"]) == ["off-canvas"]
    assert failed_codes(bad, ["any"]) == ["off-canvas"]
    assert failed_codes(bad, []) == []
    assert failed_codes(good, ["any"]) == []


def test_documentation_names_every_warning_with_its_limit_and_advice():
    page = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    for check in CHECKS:
        assert f"| `{check.code}` | {check.about} | {check.limit:g} | {check.advice} |" in page

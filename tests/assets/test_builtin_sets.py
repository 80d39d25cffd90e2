"""The larger built-in sets: crops of photographs as backgrounds, handwritten digits as objects."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError

from smile_synth.assets import Assets, digits
from smile_synth.assets.crops import PLAIN, crops, sources
from smile_synth.errors import AssetError
from smile_synth.recipe.assets import AssetsParams, Split

SPLITS: tuple[Split, ...] = get_args(Split)
PARTS = [split for split in SPLITS if split != "all"]


def build(**params: str) -> Assets:
    return Assets.build(AssetsParams.model_validate(params), folder=Path())


# Crops.


def test_there_are_many_crops_and_every_one_shows_something() -> None:
    everything = crops("all")
    assert len(everything) == 96
    assert len({crop.name for crop in everything}) == 96
    for crop in everything:
        pixels = crop.read()
        assert pixels.dtype == np.uint8
        assert min(pixels.shape[:2]) >= 70, crop.name
        assert pixels.std() >= 7, crop.name


def test_crops_of_a_photograph_differ_in_size_and_never_overlap() -> None:
    for source in sources("all"):
        own = [crop for crop in crops("all") if crop.photograph == source]
        covered = np.zeros((1000, 1000), int)
        for crop in own:
            top, left, bottom, right = (round(1000 * edge) for edge in crop.edges)
            covered[top:bottom, left:right] += 1
        assert covered.max() == 1
        missing = sum(name.startswith(f"{source.name}/") for name in PLAIN)
        assert (covered.min() == 0) == bool(missing)
        areas = [crop.read().size for crop in own]
        assert len(areas) == 6 - missing
        assert max(areas) > 1.1 * min(areas)


def test_parts_of_the_crops_share_no_photograph() -> None:
    by_part = {part: {source.name for source in sources(part)} for part in PARTS}
    assert {part: len(names) for part, names in by_part.items()} == {"pretrain": 9, "probe-train": 4, "probe-test": 4}
    assert {part: len(crops(part)) for part in PARTS} == {"pretrain": 54, "probe-train": 22, "probe-test": 20}
    for one, other in combinations(PARTS, 2):
        assert not by_part[one] & by_part[other]
        assert not {crop.photograph for crop in crops(one)} & {crop.photograph for crop in crops(other)}


def test_builtin_cut_outs_of_a_part_show_no_photograph_of_another_parts_crops() -> None:
    cut_from = {
        part: {
            row.name.rsplit("/", 1)[0] for row in build(backgrounds="crops", split=part).rows if row.kind == "object"
        }
        for part in PARTS
    }
    for one, other in combinations(PARTS, 2):
        assert not cut_from[one] & {source.name for source in sources(other)}


def test_crops_and_digits_are_the_same_pixels_everywhere() -> None:
    # By CROPPING_VERSION 1 on scikit-image 0.26's camera.png, DIGITS_VERSION 1 on scikit-learn 1.9's digits.csv.gz.
    crop = next(crop for crop in crops("all") if crop.name == "builtin/camera/crop-0")
    assert hashed(crop.read()) == "(180, 225, 3) 167e3982390a7374"
    assert hashed(digits.digits()[17].read()) == "(110, 80, 4) ec27697b9e57867d"


def hashed(pixels: np.ndarray) -> str:
    return f"{pixels.shape} {hashlib.blake2b(pixels.tobytes(), digest_size=8).hexdigest()}"


# Digits.


def test_digits_have_ten_classes_a_licence_and_a_source() -> None:
    assets = build(objects="digits")
    assert assets.objects.class_names == tuple("0123456789")
    rows = [row for row in assets.rows if row.kind == "object"]
    assert len(rows) == len({row.name for row in rows}) == len({row.digest for row in rows}) == 1797
    assert {row.licence for row in rows} == {"CC-BY-4.0"}
    assert all("UCI" in row.source and "scikit-learn" in row.source for row in rows)


def test_labels_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    assert [int(digit.class_name) for digit in digits.digits()] == bunch.target.tolist()
    np.testing.assert_array_equal(digits._samples()[1], bunch.images.astype(np.uint8))


def test_parts_of_the_digits_share_no_sample_and_hold_every_class() -> None:
    names = {}
    for part in PARTS:
        rows = [row for row in build(objects="digits", split=part).rows if row.kind == "object"]
        names[part] = {row.name for row in rows}
        assert len(Counter(row.class_name for row in rows)) == 10
    assert [len(names[part]) for part in PARTS] == [1078, 360, 359]
    assert len(set.union(*names.values())) == 1797


def test_the_drawn_digit_is_the_scanned_one() -> None:
    for digit in digits.digits()[:100]:
        drawn = digit.read()
        assert drawn.shape[2] == 4
        assert 60 <= max(drawn.shape[:2]) <= digits.DIGIT_SIDE
        alpha = drawn[..., 3]
        assert not alpha[[0, -1]].any()
        assert not alpha[:, [0, -1]].any()
        assert alpha.max() == 255


def test_the_form_tells_the_class_and_the_colour_does_not() -> None:
    forms, colours, labels = [], [], []
    for digit in digits.digits()[:600]:
        drawn = digit.read()
        rows = np.linspace(0, drawn.shape[0] - 1, 12).astype(int)
        columns = np.linspace(0, drawn.shape[1] - 1, 12).astype(int)
        forms.append(drawn[np.ix_(rows, columns)][..., 3].ravel().astype(float))
        colours.append(drawn[drawn[..., 3] > 200][:, :3].mean(0))
        labels.append(digit.class_name)
    assert nearest_neighbour_accuracy(np.array(forms), np.array(labels)) > 0.8
    assert nearest_neighbour_accuracy(np.array(colours), np.array(labels)) < 0.2


def nearest_neighbour_accuracy(points: np.ndarray, labels: np.ndarray) -> float:
    """Return how often the nearest of the first half has the label of a point of the second half."""
    half = len(points) // 2
    distances = ((points[half:, None] - points[None, :half]) ** 2).sum(-1)
    return float((labels[:half][distances.argmin(1)] == labels[half:]).mean())


def test_the_rim_sets_the_ink_off() -> None:
    for digit in digits.digits()[:50]:
        drawn = digit.read()
        ink = digits._coverage(digits._enlarged(digits._samples()[1][digit.number]), digits.INK)
        shades = drawn[..., :3].mean(-1)[drawn[..., 3] > 200]
        assert ink.max() == 255
        assert np.ptp(shades) > 60, digit.name


def test_another_file_in_place_of_the_digits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "package_folder", lambda name: tmp_path)
    digits._samples.cache_clear()
    try:
        with pytest.raises(AssetError, match=r"digits.csv.gz cannot be read .*; reinstall scikit-learn"):
            digits._samples()
    finally:
        digits._samples.cache_clear()


def test_a_licence_for_crops_and_digits_is_refused() -> None:
    with pytest.raises(ValidationError, match="all images are built-in"):
        AssetsParams(backgrounds="crops", objects="digits", licence="CC0-1.0")

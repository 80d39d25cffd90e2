"""Backgrounds and objects: what serves, what is refused by name, what is shared by no two parts."""

from __future__ import annotations

import pickle
import struct
import zlib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image as PilImage
from pydantic import ValidationError

from smile_synth.assets import OUTLINES, Assets
from smile_synth.assets.cache import ImageCache
from smile_synth.assets.images import MAX_BACKGROUND_SIDE, read_background, read_object
from smile_synth.assets.outlines import draw_outline
from smile_synth.assets.photographs import PHOTOGRAPHS
from smile_synth.errors import AssetError
from smile_synth.randomness import stream
from smile_synth.recipe.assets import AssetsParams, Split

PARTS = [split for split in get_args(Split) if split != "all"]


def build(folder: Path = Path(), **params: str) -> Assets:
    return Assets.build(AssetsParams.model_validate(params), folder=folder)


def save(file: Path, pixels: np.ndarray, **options: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    PilImage.fromarray(pixels).save(file, **options)
    return file


def gradient(height: int = 48, width: int = 64) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1).astype(np.uint8)


def cut_out(side: int = 32) -> np.ndarray:
    rgba = np.zeros((side, side, 4), np.uint8)
    rgba[8:-8, 8:-8] = (200, 30, 60, 255)
    return rgba


def test_builtin_images_are_described_with_licence_source_and_digest() -> None:
    rows = build().rows
    assert len(rows) == len({(row.kind, row.name) for row in rows})
    assert all(row.licence and row.source and len(row.digest) == 32 for row in rows)
    assert {row.class_name for row in rows if row.kind == "object"} == set(OUTLINES)


def test_builtin_photographs_are_really_in_the_wheels() -> None:
    for photograph in PHOTOGRAPHS:
        pixels = photograph.read()
        assert pixels.dtype == np.uint8
        assert pixels.std() > 15


def test_backgrounds_have_the_asked_size_and_depend_on_the_rng_alone() -> None:
    backgrounds = build().backgrounds
    first = backgrounds.sample(40, 72, rng=stream(0, "test"))
    again = backgrounds.sample(40, 72, rng=stream(0, "test"))
    assert first.image.shape == (40, 72, 3)
    np.testing.assert_array_equal(first.image, again.image)
    assert first.asset_id == again.asset_id


def test_objects_are_opaque_inside_and_transparent_all_round() -> None:
    objects = build().objects
    for n in range(20):
        texture = objects.sample(rng=stream(n, "test")).texture
        alpha = texture[..., 3]
        assert alpha.max() == 255
        assert not alpha[[0, -1]].any()
        assert not alpha[:, [0, -1]].any()


def test_objects_can_be_drawn_from_some_classes_only() -> None:
    objects = build().objects
    drawn = {objects.sample(rng=stream(n, "test"), class_names=("letter", "blob")).class_name for n in range(24)}
    assert drawn == {"letter", "blob"}


def test_a_drawn_object_can_be_changed_without_changing_the_next() -> None:
    objects = build().objects
    first = objects.sample(rng=stream(0, "test"))
    before = first.texture.copy()
    first.texture[:] = 0
    np.testing.assert_array_equal(objects.sample(rng=stream(0, "test")).texture, before)


@pytest.mark.parametrize("kind", OUTLINES)
def test_outlines_have_soft_edges(kind: str) -> None:
    alpha = draw_outline(kind, 80, rng=stream(3, "test"))
    soft = (alpha > 0) & (alpha < 255)
    assert max(alpha.shape) in range(74, 84)
    assert 0.005 < soft.mean() < 0.35


def test_parts_of_builtin_images_share_nothing_and_none_is_empty() -> None:
    rows = {part: {row.name for row in build(split=part).rows} for part in PARTS}
    assert all(rows.values())
    assert not rows["pretrain"] & rows["probe-train"]
    assert not rows["pretrain"] & rows["probe-test"]
    assert not rows["probe-train"] & rows["probe-test"]
    assert set.union(*rows.values()) == {row.name for row in build().rows}


def test_held_out_objects_are_cut_from_held_out_photographs() -> None:
    for part in PARTS:
        rows = build(split=part).rows
        photographs = {row.name for row in rows if row.kind == "background"}
        cut_from = {row.name.rsplit("/", 1)[0] for row in rows if row.kind == "object"}
        assert cut_from - {"builtin/drawn"} == photographs


def test_parts_of_a_users_folder_hold_every_class(tmp_path: Path) -> None:
    for class_name in ("cat", "dog"):
        for n in range(10):
            save(tmp_path / class_name / f"{n}.png", cut_out())
    for part in PARTS:
        assert build(tmp_path, objects=".", split=part).objects.class_names == ("cat", "dog")


def test_two_images_cannot_be_split_into_three_parts(tmp_path: Path) -> None:
    save(tmp_path / "a.png", gradient())
    save(tmp_path / "b.png", gradient())
    with pytest.raises(AssetError, match="at least 3 backgrounds, got 2"):
        build(tmp_path, backgrounds=".", split="pretrain")


def test_assets_survive_pickling_without_their_images() -> None:
    assets = build()
    assets.backgrounds.sample(64, 64, rng=stream(0, "test"))
    data = pickle.dumps(assets)
    assert len(data) < 2**20
    assert pickle.loads(data).objects.sample(rng=stream(1, "t")).asset_id == (
        assets.objects.sample(rng=stream(1, "t")).asset_id
    )


def test_the_cache_holds_what_fits_and_drops_what_was_used_longest_ago() -> None:
    cache = ImageCache(10_000)
    reads: list[int] = []

    def get(key: int) -> None:
        cache.get(key, lambda: reads.append(key) or (np.zeros((40, 40), np.uint8),))  # type: ignore[func-returns-value]

    for key in range(6):
        get(key)
    get(0)
    assert reads == [0, 1, 2, 3, 4, 5]
    get(6)
    get(0)
    assert reads == [0, 1, 2, 3, 4, 5, 6]
    get(1)
    assert reads == [0, 1, 2, 3, 4, 5, 6, 1]


def test_a_folder_of_images_replaces_the_builtin_ones(tmp_path: Path) -> None:
    save(tmp_path / "photos" / "deep" / "er" / "a.jpg", gradient())
    save(tmp_path / "things" / "cat" / "1.png", cut_out())
    (tmp_path / "photos" / "notes.txt").write_text("no image, and no harm")
    assets = build(tmp_path, backgrounds="photos", objects="things", licence="CC0-1.0")
    assert [(row.kind, row.name, row.class_name, row.licence, row.source) for row in assets.rows] == [
        ("background", "deep/er/a.jpg", "", "CC0-1.0", "photos"),
        ("object", "cat/1.png", "cat", "CC0-1.0", "things"),
    ]
    assert assets.objects.sample(rng=stream(0, "test")).outline == ""


def test_a_folder_may_start_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save(tmp_path / "photos" / "a.png", gradient())
    assert len(build(Path("/nowhere"), backgrounds="~/photos").backgrounds) == 1


def test_a_licence_for_builtin_images_is_refused() -> None:
    with pytest.raises(ValidationError, match="all images are built-in"):
        build(licence="CC0-1.0")


# What serves, whatever it is stored as.


def test_sixteen_bit_pixels_are_scaled_not_clipped(tmp_path: Path) -> None:
    wide = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    pixels = read_background(save(tmp_path / "wide.png", wide))
    np.testing.assert_array_equal(pixels[..., 0], wide >> 8)


def test_cmyk_palette_grey_and_alpha_become_rgb(tmp_path: Path) -> None:
    image = PilImage.fromarray(gradient())
    for mode, suffix in (("CMYK", "jpg"), ("P", "png"), ("L", "png"), ("1", "png"), ("LA", "png"), ("RGBA", "webp")):
        file = tmp_path / f"{mode}.{suffix}"
        image.convert(mode).save(file)
        assert read_background(file).shape == (48, 64, 3), mode


def test_a_cmyk_photograph_keeps_its_colours(tmp_path: Path) -> None:
    image = PilImage.fromarray(np.full((40, 40, 3), (200, 60, 30), np.uint8))
    image.convert("CMYK").save(tmp_path / "red.jpg")
    assert np.abs(read_background(tmp_path / "red.jpg").mean(axis=(0, 1)) - (200, 60, 30)).max() < 6


def test_a_rotated_photograph_is_turned_upright(tmp_path: Path) -> None:
    exif = PilImage.Exif()
    exif[0x0112] = 6
    file = tmp_path / "phone.jpg"
    PilImage.fromarray(gradient(48, 64)).save(file, exif=exif)
    assert read_background(file).shape == (64, 48, 3)


def test_a_palette_with_transparency_serves_as_object(tmp_path: Path) -> None:
    image = PilImage.fromarray(cut_out()).convert("P")
    image.info["transparency"] = image.getpixel((0, 0))
    image.save(tmp_path / "icon.png", transparency=image.getpixel((0, 0)))
    assert read_object(tmp_path / "icon.png").shape == (18, 18, 4)


def test_objects_are_cut_to_what_is_visible(tmp_path: Path) -> None:
    texture = read_object(save(tmp_path / "o.png", cut_out(64)))
    assert texture.shape == (50, 50, 4)
    assert texture[1:-1, 1:-1, 3].min() == 255


def test_huge_photographs_are_reduced(tmp_path: Path) -> None:
    pixels = read_background(save(tmp_path / "huge.png", np.zeros((3000, 1500, 3), np.uint8)))
    assert pixels.shape == (MAX_BACKGROUND_SIDE, MAX_BACKGROUND_SIDE // 2, 3)


# What is refused, by name and with the next step.


def png_of_size(width: int, height: int) -> bytes:
    """A file that says it is a PNG of this size, and holds no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"GIF90 but not really", "is no image"),
        (b"\x89PNG\r\n\x1a\nand then nothing", "is damaged|is no image"),
        (png_of_size(40_000, 40_000), "is too large"),
        (png_of_size(400_000, 400_000), "is too large"),
        (png_of_size(4, 400), "is too small, 4 x 400 px"),
    ],
    ids=["empty", "other", "broken", "huge", "absurd", "tiny"],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "bad.png"
    file.write_bytes(content)
    with pytest.raises(AssetError, match=problem) as caught:
        read_background(file)
    assert "bad.png" in str(caught.value)
    with pytest.raises(AssetError, match=problem):
        _ = build(tmp_path, backgrounds=".").rows


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    noise = stream(0, "test").integers(0, 256, (200, 200, 3), dtype=np.uint8)
    file = save(tmp_path / f"cut.{suffix}", noise)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(AssetError, match=f"cut.{suffix}"):
        read_background(file)


def test_a_damaged_image_is_found_before_anything_is_rendered(tmp_path: Path) -> None:
    for n in range(4):
        save(tmp_path / "cat" / f"{n}.png", stream(n, "test").integers(1, 256, (99, 99, 4), dtype=np.uint8))
    file = tmp_path / "cat" / "2.png"
    file.write_bytes(file.read_bytes()[:9000])
    with pytest.raises(AssetError, match=r"cat/2.png is damaged"):
        _ = build(tmp_path, objects=".").rows


def test_a_link_back_to_a_folder_above_is_followed_once(tmp_path: Path) -> None:
    save(tmp_path / "photos" / "a.png", gradient())
    (tmp_path / "photos" / "again").symlink_to(tmp_path / "photos", target_is_directory=True)
    assert len(build(tmp_path, backgrounds="photos").backgrounds) == 1


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    file = save(tmp_path / "depth.tif", np.zeros((64, 64), np.float32))
    with pytest.raises(AssetError, match="no fixed range"):
        read_background(file)


def test_objects_without_alpha_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "cat" / "photo.png", gradient())
    assets = build(tmp_path, objects=".")
    with pytest.raises(AssetError, match=r"photo.png has no transparency \(mode RGB\)"):
        _ = assets.rows
    with pytest.raises(AssetError, match=r"photo.png has no transparency"):
        assets.objects.sample(rng=stream(0, "test"))


def test_objects_with_nothing_visible_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"ghost.png is fully transparent"):
        read_object(save(tmp_path / "ghost.png", np.zeros((32, 32, 4), np.uint8)))


def test_an_object_outside_a_class_folder_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "cat" / "1.png", cut_out())
    save(tmp_path / "dog.png", cut_out())
    with pytest.raises(AssetError, match=r"dog.png lies in no class folder"):
        build(tmp_path, objects=".")


@pytest.mark.parametrize("kind", ["backgrounds", "objects"])
def test_missing_and_empty_folders_are_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.png").write_bytes(b"")
    for name, problem in (("nowhere", "does not exist"), ("empty", "holds no image"), ("file.png", "is a file")):
        with pytest.raises(AssetError, match=rf"assets.{kind}: .*{problem}"):
            build(tmp_path, **{kind: name})

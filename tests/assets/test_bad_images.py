"""Unusable images of the user's own: refused or skipped by name, never waited for."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage
from pydantic import ValidationError

from smile_synth.assets import Assets
from smile_synth.assets.images import BadImageError, check_header, read_background, read_object
from smile_synth.errors import AssetError
from smile_synth.generator.dataset import Dataset
from smile_synth.randomness import stream
from smile_synth.recipe.assets import AssetsParams
from smile_synth.recipe.dataset import DatasetParams


def build(folder: Path, **params: str) -> Assets:
    return Assets.build(AssetsParams.model_validate(params), folder=folder)


def photo(file: Path, side: int = 64, **options: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    PilImage.fromarray(stream(0, file.name).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(file, **options)
    return file


# One file.


@pytest.mark.timeout(20)
def test_a_fifo_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for read in (read_background, read_object, lambda file: check_header(file, needs_alpha=False)):
        with pytest.raises(AssetError, match=r"pipe.png is a FIFO, not a file; replace it, or take it out"):
            read(tmp_path / "pipe.png")
    with pytest.raises(AssetError, match=r"pipe.png is a FIFO"):
        _ = build(tmp_path, backgrounds=".").rows


@pytest.mark.timeout(20)
def test_a_device_is_refused_without_reading_it(tmp_path: Path) -> None:
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    with pytest.raises(AssetError, match=r"endless.png is a device, not a file"):
        read_background(tmp_path / "endless.png")


def test_a_link_to_nowhere_is_no_fault_of_an_image(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(AssetError, match=r"gone.png does not exist$") as caught:
        read_background(tmp_path / "gone.png")
    assert not isinstance(caught.value, BadImageError)


def test_a_script_that_calls_itself_an_image_is_not_run(tmp_path: Path) -> None:
    # Pillow recognises this as EPS, and would start Ghostscript to draw it.
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n(x) run\nshowpage\n%%EOF\n"
    (tmp_path / "a.png").write_bytes(script)
    with pytest.raises(AssetError, match=r"a.png is no image that can be read"):
        read_background(tmp_path / "a.png")


def test_when_memory_runs_out_the_image_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("smile_synth.assets.images.shrink", out_of_memory)
    with pytest.raises(AssetError, match=r"a.png needs more memory than there is; shrink it") as caught:
        read_background(photo(tmp_path / "a.png"))
    assert not isinstance(caught.value, BadImageError)


def test_the_first_picture_of_an_animation_or_of_several_pages_serves(tmp_path: Path) -> None:
    pages = [PilImage.new("RGBA", (40, 40), (shade, 0, 0, 255)) for shade in (250, 10, 20)]
    for suffix in ("gif", "webp", "png", "tiff"):
        file = tmp_path / f"many.{suffix}"
        lossless = {"lossless": True} if suffix == "webp" else {}
        pages[0].save(file, save_all=True, append_images=pages[1:], **lossless)
        assert read_background(file)[20, 20, 0] == 250, suffix


def test_sixteen_bits_and_transparency_together_serve(tmp_path: Path) -> None:
    wide = PilImage.fromarray(np.full((64, 64), 40_000, np.uint16))
    wide.save(tmp_path / "wide.png", transparency=12)
    assert (read_background(tmp_path / "wide.png") == 40_000 >> 8).all()


def test_an_object_turned_by_exif_is_upright(tmp_path: Path) -> None:
    exif = PilImage.Exif()
    exif[0x0112] = 6
    pixels = np.full((20, 60, 4), 255, np.uint8)
    PilImage.fromarray(pixels).save(tmp_path / "o.png", exif=exif)
    assert read_object(tmp_path / "o.png").shape == (62, 22, 4)


def test_pillow_says_nothing_before_our_one_line(tmp_path: Path) -> None:
    damaged_exif = PilImage.Exif()
    damaged_exif[0x010E] = "x" * 300
    file = photo(tmp_path / "exif.jpg", exif=damaged_exif.tobytes()[:40])
    big = tmp_path / "big.png"
    header = b"IHDR" + struct.pack(">IIBBBBB", 10_500, 10_500, 8, 2, 0, 0, 0)
    big.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)))
    with big.open("ab") as more:
        more.write(struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_background(file)
        with pytest.raises(AssetError, match=r"big.png is damaged"):
            read_background(big)


def test_warnings_of_others_come_through_after_many_threads_have_read(tmp_path: Path) -> None:
    file = photo(tmp_path / "a.png")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read_background, [file] * 200))
    assert list(warnings.filters) == before


LARGE = """
import resource, sys
from pathlib import Path
from smile_synth.assets.images import read_background, read_object
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert max({read}(Path(sys.argv[1])).shape[:2]) == {side}
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("read", "side"), [("read_background", 1024), ("read_object", 256)])
def test_a_very_large_image_is_read_in_little_more_than_its_own_size(tmp_path: Path, read: str, side: int) -> None:
    file = tmp_path / "large.png"
    PilImage.new("RGBA", (10_900, 10_900), (200, 100, 50, 180)).save(file, compress_level=1)
    done = subprocess.run(
        [sys.executable, "-c", LARGE.format(read=read, side=side), str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 700  # MiB; 453 of them are the decoded pixels.


# Folders.


def spoiled(folder: Path, num_good: int, num_bad: int) -> None:
    for n in range(num_good):
        photo(folder / f"good-{n:03}.png")
    for n in range(num_bad):
        (folder / f"bad-{n:03}.png").write_bytes(b"")


def test_all_bad_images_are_listed_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoiled(tmp_path, 3, 2)
    photo(tmp_path / "small.png", side=8)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(AssetError) as caught:
        _ = build(tmp_path, backgrounds=".").rows
    message = str(caught.value)
    assert message.startswith("4 images cannot be used: ")
    for found in (
        "bad-000.png is empty",
        "bad-001.png is empty",
        "small.png is too small, 8 x 8",
        "pipe.jpg is a FIFO",
    ):
        assert found in message
    assert message.endswith("; replace them, or take them out of the folder, or set assets.on_bad to 'skip'")
    assert "\n" not in message
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if not line.startswith("check images: ")] == [], "progress apart, on a slow host"


def test_of_many_bad_images_twenty_are_named(tmp_path: Path) -> None:
    spoiled(tmp_path, 1, 33)
    with pytest.raises(AssetError, match="33 images cannot be used") as caught:
        _ = build(tmp_path, backgrounds=".").rows
    assert str(caught.value).count("is empty") == 20
    assert "; and 13 more; " in str(caught.value)


def test_skipping_uses_the_others_and_says_how_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoiled(tmp_path, 4, 2)
    photo(tmp_path / "small.png", side=8)
    (tmp_path / "drawing.svg").write_text("<svg/>")
    assets = build(tmp_path, backgrounds=".", on_bad="skip")
    assert [row.name for row in assets.rows if row.kind == "background"] == [f"good-{n:03}.png" for n in range(4)]
    said = f"backgrounds: 4 of 7 images in {tmp_path} used; 3 skipped (2 empty, 1 too small); 1 other file (1 .svg)"
    assert assets.summaries == (said,)
    assert f"check images: {said}\n" in capsys.readouterr().err


def test_objects_without_transparency_are_skipped_as_opaque(tmp_path: Path) -> None:
    photo(tmp_path / "cat" / "photo.png")
    PilImage.new("RGBA", (32, 32), (9, 9, 9, 200)).save(tmp_path / "cat" / "cut.png")
    assets = build(tmp_path, objects=".", on_bad="skip")
    assert [row.name for row in assets.rows if row.kind == "object"] == ["cat/cut.png"]
    assert "1 skipped (1 opaque)" in assets.summaries[0]


def test_what_the_split_holds_back_is_said(tmp_path: Path) -> None:
    spoiled(tmp_path, 10, 0)
    (summary,) = build(tmp_path, backgrounds=".", split="probe-test").summaries
    assert summary == f"backgrounds: 2 of 10 images in {tmp_path} used; 8 held back by split 'probe-test'"


def test_builtin_images_have_nothing_to_sum_up(tmp_path: Path) -> None:
    assert build(tmp_path).summaries == ()


def test_repairing_an_image_moves_no_other_from_part_to_part(tmp_path: Path) -> None:
    spoiled(tmp_path, 20, 5)
    before = {row.name for row in build(tmp_path, backgrounds=".", split="pretrain", on_bad="skip").rows}
    for n in range(5):
        photo(tmp_path / f"bad-{n:03}.png")
    after = {row.name for row in build(tmp_path, backgrounds=".", split="pretrain", on_bad="skip").rows}
    assert {name for name in after if not name.startswith("bad-")} == before


def test_skipping_everything_is_refused(tmp_path: Path) -> None:
    spoiled(tmp_path, 0, 3)
    with pytest.raises(AssetError, match=r"none of the 3 backgrounds of .* is usable: .*bad-000.png is empty"):
        build(tmp_path, backgrounds=".", on_bad="skip")


def test_a_missing_file_is_never_skipped(tmp_path: Path) -> None:
    # A disk that went away would otherwise make another dataset.
    spoiled(tmp_path, 3, 0)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(AssetError, match=r"gone.png does not exist$"):
        build(tmp_path, backgrounds=".", on_bad="skip")


def test_on_bad_without_images_of_ones_own_is_refused() -> None:
    with pytest.raises(ValidationError, match="on_bad has no effect where all images are built-in"):
        AssetsParams(on_bad="skip")


def test_a_worker_has_the_ids_of_its_parent_whatever_happens_to_the_folder(tmp_path: Path) -> None:
    spoiled(tmp_path, 6, 1)
    params = DatasetParams.model_validate(
        {"clips": 4, "generator": "cutouts", "assets": {"backgrounds": ".", "on_bad": "skip"}}
    )
    dataset = Dataset(params, seed=0, folder=tmp_path)
    before = dataset.sample(0)
    sent = pickle.dumps(dataset)
    photo(tmp_path / "bad-000.png")
    photo(tmp_path / "a-new-one.png")
    again = pickle.loads(sent).sample(0)
    assert again.background_id == before.background_id
    np.testing.assert_array_equal(again.background, before.background)
    assert len(pickle.loads(sent).assets.rows) == len(dataset.assets.rows)


def test_a_refusal_survives_the_way_back_from_a_worker(tmp_path: Path) -> None:
    error = BadImageError(tmp_path / "a.png", "is empty", "empty")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.file, again.kind) == (str(error), error.file, "empty")

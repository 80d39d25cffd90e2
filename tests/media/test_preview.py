"""Contact sheets and animations show every clip, in order, with marks where they belong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smile_synth.media.motion import UNDEFINED, WHEEL_PX, motion_colours, motion_limit
from smile_synth.media.preview import (
    CAPTION_PX,
    GAP_PX,
    LEGEND_WIDTH_PX,
    OBJECT_COLOURS,
    PreviewError,
    animation,
    check_suffix,
    contact_sheet,
    save_animation,
    save_picture,
)


def grey_clips(num_clips: int = 2, num_frames: int = 16, height: int = 20, width: int = 30) -> np.ndarray:
    """Clips whose every pixel says clip and frame: value = 100 * clip + frame."""
    values = 100 * np.arange(num_clips)[:, None] + np.arange(num_frames)
    return np.broadcast_to(
        values[:, :, None, None, None].astype(np.uint8), (num_clips, num_frames, height, width, 3)
    ).copy()


def moving_boxes(num_frames: int = 16) -> np.ndarray:
    """Two clips, two slots: a box that moves right by a pixel a frame, and an absent one."""
    boxes = np.full((2, 2, num_frames, 4), np.nan, np.float32)
    x1 = np.arange(num_frames)
    boxes[:, 0] = np.stack([x1 + 2, np.full_like(x1, 4), x1 + 12, np.full_like(x1, 14)], axis=-1)
    return boxes


def tile_at(sheet: Image.Image, row: int, column: int, height: int = 20, width: int = 30) -> np.ndarray:
    top = GAP_PX + row * (height + CAPTION_PX + GAP_PX) + CAPTION_PX
    left = GAP_PX + column * (width + GAP_PX)
    return np.asarray(sheet)[top : top + height, left : left + width]


def moving_cells() -> np.ndarray:
    """Motion of two clips in cells of 10 px: right by 2 px in one cell of the first clip, undefined in another."""
    motion = np.zeros((2, 16, 2, 3, 2), np.float32)
    motion[0, :, 0, 1] = (2, 0)
    motion[0, :, 1, 2] = np.nan
    return motion


def test_sheet_shows_motion_below_every_frame_with_its_wheel() -> None:
    sheet = contact_sheet(grey_clips(), columns=4, tile_px=30, captions=[], motion_BTHW2=moving_cells())
    picture = np.asarray(sheet)
    assert sheet.size == (LEGEND_WIDTH_PX, GAP_PX + 2 * (41 + GAP_PX) + WHEEL_PX + 2 * GAP_PX)
    tile = picture[GAP_PX + 21 : GAP_PX + 41, GAP_PX : GAP_PX + 30]
    assert (tile[:10, 10:20] == (255, 0, 0)).all()
    assert (tile[:10, :10] == 0).all()
    assert (tile[10:, 20:] == UNDEFINED).all()
    wheel = picture[-WHEEL_PX - GAP_PX : -GAP_PX, GAP_PX : GAP_PX + WHEEL_PX]
    assert wheel[WHEEL_PX // 2, -2, 0] > 240
    assert wheel[WHEEL_PX // 2, -2, 1:].max() < 20
    assert (wheel[0, 0] == 255).all()


def test_animation_shows_motion_beside_every_clip() -> None:
    pages = animation(grey_clips(), tile_px=30, motion_BTHW2=moving_cells())
    assert pages.shape[0] == 16
    assert (pages[0, GAP_PX : GAP_PX + 10, GAP_PX + 41 : GAP_PX + 51] == (255, 0, 0)).all()


def test_opposite_motions_have_opposite_colours_and_faster_is_brighter() -> None:
    motion = np.array([[1, 0], [-1, 0], [0.25, 0], [0, 1], [5, 0], [np.nan, 0]], np.float32)
    right, left, slow, down, fast, unknown = motion_colours(motion, 1.0).astype(int)
    assert (right + left).tolist() == [255, 255, 255]
    assert slow[0] == 128
    assert down.tolist() == [128, 255, 0]
    assert fast.tolist() == right.tolist()
    assert unknown.tolist() == list(UNDEFINED)


@pytest.mark.parametrize(("length_px", "limit_px"), [(0.0, 1.0), (0.32, 0.35), (2.0, 2.0), (7.3, 7.5), (41.0, 45.0)])
def test_full_colour_is_a_round_length(length_px: float, limit_px: float) -> None:
    motion = np.full((3, 2), [length_px, 0], np.float32)
    assert motion_limit(motion) == pytest.approx(limit_px)


def test_motion_of_other_clips_is_refused() -> None:
    with pytest.raises(PreviewError, match="motion must be"):
        contact_sheet(grey_clips(), motion_BTHW2=moving_cells()[:1])


def test_sheet_shows_first_and_last_frame_of_every_clip() -> None:
    sheet = contact_sheet(grey_clips(), columns=4, tile_px=30)
    assert sheet.size == (GAP_PX + 4 * (30 + GAP_PX), GAP_PX + 2 * (20 + CAPTION_PX + GAP_PX))
    for clip in (0, 1):
        assert (tile_at(sheet, clip, 0) == 100 * clip).all()
        assert (tile_at(sheet, clip, 3) == 100 * clip + 15).all()


def test_sheet_never_shows_a_frame_twice() -> None:
    sheet = contact_sheet(grey_clips(num_frames=3), columns=8, tile_px=30)
    assert sheet.width == GAP_PX + 3 * (30 + GAP_PX)


def test_sheet_makes_large_frames_smaller() -> None:
    sheet = contact_sheet(grey_clips(1, 1, 200, 400), tile_px=100, captions=[])
    assert sheet.size == (100 + 2 * GAP_PX, 50 + 2 * GAP_PX)


def test_small_frames_are_enlarged_by_a_whole_factor_and_stay_sharp() -> None:
    clips = np.random.default_rng(0).integers(0, 255, (1, 2, 20, 30, 3), dtype=np.uint8)
    sheet = contact_sheet(clips, tile_px=70, captions=[])
    tile = np.asarray(sheet)[GAP_PX : GAP_PX + 40, GAP_PX : GAP_PX + 60]
    assert np.array_equal(tile, clips[0, 0].repeat(2, axis=0).repeat(2, axis=1))
    assert animation(clips, tile_px=70).shape[1:3] == (40 + 2 * GAP_PX, 60 + 2 * GAP_PX)
    assert animation(clips, tile_px=5).shape[1:3] == (20 + 2 * GAP_PX, 30 + 2 * GAP_PX)


def test_boxes_of_enlarged_frames_lie_around_the_enlarged_objects() -> None:
    sheet = contact_sheet(grey_clips(), boxes_BKT4=moving_boxes(), columns=16, tile_px=60, show_boxes=True)
    ys, xs = np.nonzero((tile_at(sheet, 0, 0, 40, 60) == OBJECT_COLOURS[0]).all(axis=-1))
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (4, 8, 24, 28)


def test_boxes_are_drawn_just_inside_their_edges_and_only_on_request() -> None:
    clips, boxes = grey_clips(), moving_boxes()
    plain = contact_sheet(clips, boxes_BKT4=boxes, columns=16, tile_px=30)
    marked = contact_sheet(clips, boxes_BKT4=boxes, columns=16, tile_px=30, show_boxes=True)
    assert (tile_at(plain, 0, 5) == 5).all()
    ys, xs = np.nonzero((tile_at(marked, 0, 5) == OBJECT_COLOURS[0]).all(axis=-1))
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (7, 4, 17, 14)


def test_path_grows_from_frame_to_frame() -> None:
    marked = contact_sheet(grey_clips(), boxes_BKT4=moving_boxes(), columns=16, tile_px=30, show_paths=True)
    inked = [(tile_at(marked, 0, t) == OBJECT_COLOURS[0]).all(axis=-1).sum() for t in range(16)]
    assert inked[-1] > inked[4] > 0


def test_animation_is_even_sized_and_keeps_every_clip() -> None:
    shown = animation(grey_clips(3, 5, 21, 31))
    assert shown.shape[0] == 5
    assert shown.shape[1] % 2 == 0
    assert shown.shape[2] % 2 == 0
    assert {4, 104, 204} <= set(np.unique(shown[4]).tolist())


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animated_pictures_hold_every_frame(tmp_path: Path, suffix: str) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (5, 16, 16, 3), dtype=np.uint8)
    save_animation(frames, tmp_path / f"x{suffix}", frames_per_second=10)
    with Image.open(tmp_path / f"x{suffix}") as picture:
        assert picture.n_frames == 5
        assert picture.size == (16, 16)


def test_mp4_holds_every_frame(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    save_animation(animation(grey_clips(1, 6, 32, 48), tile_px=48), tmp_path / "x.mp4")
    with av.open(str(tmp_path / "x.mp4")) as container:
        shapes = [frame.to_ndarray(format="rgb24").shape for frame in container.decode(video=0)]
    assert shapes == [(36, 52, 3)] * 6


def test_mp4_without_pyav_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(PreviewError, match=r"smile-synth\[video\]"):
        save_animation(animation(grey_clips()), tmp_path / "x.mp4")


# A limit on the size of files stands in for a disk that is full; only a process of its own can have one.
FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from smile_synth.media.preview import animation, contact_sheet, save_animation, save_picture
clips = np.random.default_rng(0).integers(0, 256, (2, 8, 64, 64, 3), dtype=np.uint8)
path = Path(sys.argv[1])
if path.suffix == ".mp4":
    import av
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
try:
    if path.suffix in (".png", ".jpg"):
        save_picture(contact_sheet(clips), path)
    else:
        save_animation(animation(clips), path)
except OSError as error:
    print(error.filename, error.strerror)
"""


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".webp", ".mp4"])
def test_a_full_disk_leaves_the_old_picture_as_it_was(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"old{suffix}"
    path.write_bytes(b"the old picture")
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{path} File too large"), done.stderr
    assert path.read_bytes() == b"the old picture"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_picture_too_large_for_its_format_is_refused_with_the_way_out(tmp_path: Path) -> None:
    frames = np.zeros((1, 16, 16_400, 3), np.uint8)
    for suffix in (".webp", ".mp4"):
        with pytest.raises(PreviewError, match=r"holds at most 16,38\d px a side, got 16,400 x 16; show fewer clips"):
            save_animation(frames, tmp_path / f"x{suffix}")
    with pytest.raises(PreviewError, match="at most 65,535 px a side"):
        save_picture(Image.new("RGB", (66_000, 2)), tmp_path / "x.jpg")


def test_wrong_input_is_named() -> None:
    with pytest.raises(PreviewError, match="float64"):
        contact_sheet(grey_clips().astype(float))
    with pytest.raises(PreviewError, match="boxes must be"):
        contact_sheet(grey_clips(), boxes_BKT4=moving_boxes()[:1], show_boxes=True)
    with pytest.raises(PreviewError, match="got none"):
        contact_sheet(grey_clips(), show_boxes=True)
    with pytest.raises(PreviewError, match="no ending"):
        check_suffix(Path("preview"))

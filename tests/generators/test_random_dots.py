"""Random dots: the contract, frames that say nothing alone, and movement that says all."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from smile_synth_generators.random_dots import SHAPES, RandomDots, RandomDotsParams

from smile_synth.assets import Assets
from smile_synth.generator.base import GeneratorContext
from smile_synth.randomness import clip_rng
from smile_synth.recipe.assets import AssetsParams
from smile_synth.render import render, truth
from smile_synth.sampling.motion import DIRECTIONS, direction_class
from smile_synth.scene import Canvas, Scene
from smile_synth.testing.contract import GeneratorContract

CANVAS = Canvas(64, 64, 6)


class TestRandomDots(GeneratorContract):
    generator = RandomDots


class TestManyObjects(GeneratorContract):
    generator = RandomDots
    params: ClassVar[dict[str, Any]] = {"num_objects": (2, 3), "ground": "opposite"}


class TestWindows(GeneratorContract):
    generator = RandomDots
    params: ClassVar[dict[str, Any]] = {"carrier": "window"}


def sample(clip: int, **params: Any) -> Scene:
    context = GeneratorContext(CANVAS, Assets.build(AssetsParams(), folder=Path()))
    return RandomDots(RandomDotsParams.model_validate(params), context).sample(rng=clip_rng(11, clip))


@cache
def rendered(ground: str, num_clips: int, carrier: str = "object") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return grey frames (N, T, H, W), where the object is (N, T, H, W), and its direction (N,)."""
    scenes = [
        sample(clip, ground=ground, carrier=carrier, palette="grey", grain_px=(1, 1)) for clip in range(num_clips)
    ]
    frames = np.stack([render(scene).frames_THWC[..., 0] for scene in scenes])
    inside = np.stack([truth(scene).layer_THW == 0 for scene in scenes])
    return frames.astype(float), inside, np.array([scene.labels["direction"][0] for scene in scenes])


@pytest.mark.parametrize("carrier", ["object", "window"])
@pytest.mark.parametrize("ground", ["still", "opposite", "independent"])
def test_dots_have_the_same_statistics_inside_outside_and_across_the_edge(ground: str, carrier: str) -> None:
    frames, inside, _ = rendered(ground, 60, carrier)
    assert 0.1 < inside.mean() < 0.5
    # Uniform bytes: mean 127.5, standard deviation 73.9; a standard error of the mean is 0.1 to 0.3 here.
    for part in (frames[inside], frames[~inside]):
        assert part.mean() == pytest.approx(127.5, abs=1)
        assert part.std() == pytest.approx(73.9, abs=0.6)
    for axis in (2, 3):
        first, second = np.split(frames, [1], axis=axis)[1], np.roll(frames, 1, axis=axis)
        second = np.split(second, [1], axis=axis)[1]
        crossing = np.split(inside != np.roll(inside, 1, axis=axis), [1], axis=axis)[1]
        for pairs in (crossing, ~crossing):
            assert abs(np.corrcoef(first[pairs], second[pairs])[0, 1]) < 0.02


def test_single_frames_do_not_tell_a_classifier_the_direction_and_two_frames_do() -> None:
    from sklearn.linear_model import LogisticRegression

    frames, _, direction = rendered("still", 400)
    left, right = DIRECTIONS.index("left"), DIRECTIONS.index("right")
    chosen = np.isin(direction, (left, right, left - 1, left + 1, (right - 1) % 8, right + 1))
    goes_right = np.isin(direction[chosen], (right, right + 1, (right - 1) % 8))
    # Where something changes, seen coarsely, at the beginning and at the end: what a linear classifier needs.
    change = np.abs(np.diff(frames[chosen], axis=1))[:, [0, -1]]
    alone = np.abs(frames[chosen] - 127.5)[:, [0, -1]]
    scores = []
    for pictures in (alone, change):
        coarse = pictures.reshape(len(pictures), 2, 8, 8, 8, 8).mean(axis=(3, 5)).reshape(len(pictures), -1)
        scaled = (coarse - coarse.mean()) / coarse.std()
        half = len(scaled) // 2
        classifier = LogisticRegression(C=0.01, max_iter=1000).fit(scaled[:half], goes_right[:half])
        scores.append(classifier.score(scaled[half:], goes_right[half:]))
    # 150 test clips: chance is 50 +- 8 %.
    assert abs(scores[0] - 0.5) < 0.1
    assert scores[1] > 0.85


def test_what_changes_between_two_frames_is_the_object() -> None:
    frames, inside, _ = rendered("still", 60)
    changed = frames[:, 1:] != frames[:, :-1]
    may_change = inside[:, 1:] | inside[:, :-1]
    assert not changed[~may_change].any()
    assert changed[may_change].mean() > 0.95


@pytest.mark.parametrize("grain", [1, 3])
@pytest.mark.parametrize("ground", ["still", "opposite", "independent"])
def test_every_frame_is_made_of_whole_dots(ground: str, grain: int) -> None:
    for clip in range(4):
        frames = render(sample(clip, ground=ground, grain_px=(grain, grain), palette="colour")).frames_THWC
        rows, columns = np.arange(64) // grain * grain, np.arange(64) // grain * grain
        np.testing.assert_array_equal(frames, frames[:, rows][:, :, columns])


def test_labels_tell_the_velocity_that_correlation_finds() -> None:
    for clip in range(8):
        scene = sample(
            clip, carrier="object", ground="still", palette="grey", grain_px=(1, 1), speed_dots_per_frame=(2, 2)
        )
        frames, boxes = render(scene).frames_THWC[..., 0].astype(float), render(scene).boxes_KT4[0]
        x1, y1, x2, y2 = boxes[2].astype(int)
        best = max(
            ((dx, dy) for dx in range(-3, 4) for dy in range(-3, 4) if (dx, dy) != (0, 0)),
            key=lambda step: _agreement(frames[2], frames[3], (x1, y1, x2, y2), step),
        )
        expected = scene.layers[0].pose_T6[3, [2, 5]] - scene.layers[0].pose_T6[2, [2, 5]]
        assert best == tuple(expected.tolist())
        path_T2 = scene.layers[0].pose_T6[:, [2, 5]]
        assert scene.labels["direction"][0] == direction_class(*(path_T2[-1] - path_T2[0]).tolist())
        assert scene.labels["speed"][0] == pytest.approx(2, abs=0.3)


def _agreement(now: np.ndarray, then: np.ndarray, box: tuple[int, ...], step: tuple[int, int]) -> float:
    x1, y1, x2, y2 = box
    dx, dy = step
    x1, y1, x2, y2 = max(x1, -dx, 0), max(y1, -dy, 0), min(x2, 64 - dx, 64), min(y2, 64 - dy, 64)
    return float((now[y1:y2, x1:x2] == then[y1 + dy : y2 + dy, x1 + dx : x2 + dx]).mean())


def test_noise_moves_through_a_window_that_stands_still_and_its_motion_is_known() -> None:
    for clip in range(6):
        scene = sample(clip, carrier="window", ground="still", palette="colour", grain_px=(2, 2))
        known, frames = truth(scene), render(scene).frames_THWC
        inside = known.layer_THW == 0
        assert (inside == inside[0]).all()
        flow = known.flow_forward_THW2[:-1][inside[:-1]]
        assert np.isfinite(flow).all()
        net = np.stack([known.flow_forward_THW2[t][inside[t]][0] for t in range(5)]).sum(axis=0)
        assert scene.labels["direction"][0] == direction_class(*net.tolist())
        assert scene.labels["speed"][0] == pytest.approx(np.hypot(*net) / 5, rel=1e-5)
        for t in range(5):
            dx, dy = known.flow_forward_THW2[t][inside[t]][0].astype(int)
            rows, columns = np.nonzero(inside[t])
            there = (rows + dy >= 0) & (rows + dy < 64) & (columns + dx >= 0) & (columns + dx < 64)
            rows, columns = rows[there], columns[there]
            stays = inside[t][rows + dy, columns + dx]
            rows, columns = rows[stays], columns[stays]
            np.testing.assert_array_equal(frames[t][rows, columns], frames[t + 1][rows + dy, columns + dx])


@pytest.mark.parametrize("carrier", ["object", "window"])
@pytest.mark.parametrize("grain", [4, 32])
def test_the_fastest_and_coarsest_objects_lie_on_the_canvas_in_the_middle_frame(carrier: str, grain: int) -> None:
    for clip in range(8):
        scene = sample(clip, carrier=carrier, grain_px=(grain, grain), speed_dots_per_frame=(16, 16))
        layer = scene.layers[0]
        height, width = layer.texture.shape[-3:-1]
        for corner, side in zip(layer.pose_T6[3, [2, 5]].tolist(), (width, height), strict=True):
            first, last = sorted((0, 64 - side))
            assert first - grain / 2 <= corner <= last + grain / 2
        assert (truth(scene).layer_THW[3] == 0).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_drawn_in_whole_dots_and_fills_its_size(shape: str) -> None:
    scene = sample(0, shape=shape, carrier="object", size_px=(112, 112), grain_px=(1, 1), turned=False)
    alpha = scene.layers[0].texture[..., 3]
    assert set(np.unique(alpha).tolist()) == {0, 255}
    columns = np.flatnonzero(alpha.any(axis=0))
    assert 24 <= np.ptp(columns) + 1 <= 33
    assert SHAPES[scene.labels["shape"][0]] == shape
    middle = len(alpha) // 2
    assert (alpha[middle, middle] == 0) == (shape == "ring")

"""Figures: the contract, limbs that keep their lengths, feet on the floor, gaits that repeat, and motion."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from moving_scenes import warp_back, waves
from smile_synth_generators import figures
from smile_synth_generators.figures import ACTIONS, FACINGS, LIMBS, POSTURES, Figures, FiguresParams

from smile_synth.assets import Assets
from smile_synth.generator.base import GeneratorContext
from smile_synth.randomness import clip_rng
from smile_synth.recipe.assets import AssetsParams
from smile_synth.render import render, truth
from smile_synth.sampling.motion import DIRECTIONS
from smile_synth.scene import Canvas, Scene
from smile_synth.testing.contract import GeneratorContract

CANVAS = Canvas(112, 112, 8)


class TestFigures(GeneratorContract):
    generator = Figures


class TestCrowd(GeneratorContract):
    generator = Figures
    params: ClassVar[dict[str, Any]] = {
        "num_figures": (4, 6),
        "turn_deg": 90,
        "background": {"camera": {"motion": "slide"}},
    }


def sample(clip: int, **params: Any) -> Scene:
    context = GeneratorContext(CANVAS, Assets.build(AssetsParams(), folder=Path()))
    return Figures(FiguresParams.model_validate(params), context).sample(rng=clip_rng(9, clip))


def joints(action: str, frames: int = 40, cycle: float = 20, vigour: float = 1.0) -> np.ndarray:
    return figures._joints(POSTURES[action](2 * np.pi * np.arange(frames) / cycle, vigour), frames)


@pytest.mark.parametrize("action", ACTIONS)
def test_limbs_keep_their_lengths(action: str) -> None:
    placed = joints(action)
    for _, (first, second), _ in LIMBS:
        lengths = np.linalg.norm(placed[:, first] - placed[:, second], axis=1)
        np.testing.assert_allclose(lengths, lengths[0], rtol=1e-9)
    # Head to sole of a body that stands upright is one body height, a little less than with hair and shoes.
    assert 0.9 < joints("wave")[0, figures.CROWN, 1] + 0.058 + 0.03 < 1.05


@pytest.mark.parametrize("action", ACTIONS)
def test_feet_stand_on_the_floor_but_for_the_flight_of_a_jump_or_a_run(action: str) -> None:
    feet_T = joints(action)[:, [*figures.ANKLES, *figures.TOES], 1].min(axis=1)
    assert feet_T.min() == pytest.approx(0.03, abs=0.005)
    assert (feet_T.max() > 0.06) == (action in ("run", "jump", "jumping-jack"))


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_repeats_after_a_cycle_and_moves_within_it(action: str) -> None:
    placed = joints(action)
    np.testing.assert_allclose(placed[:20], placed[20:], atol=1e-9)
    # A cycle is the shortest time after which it repeats.
    for part in (10, 5, 4):
        assert np.abs(placed[part : 20 + part] - placed[:20]).max() > 0.1
    assert np.abs(placed - placed[0]).max() > 0.1
    # No joint leaps: within a twentieth of a cycle none goes farther than two fifths of the body.
    assert np.linalg.norm(np.diff(placed, axis=0), axis=2).max() < 0.4


@pytest.mark.parametrize("action", ["walk", "run"])
def test_gaits_move_opposite_limbs_together(action: str) -> None:
    placed = joints(action)
    leg, other_leg = (placed[:, figures.ANKLES[n], 0] for n in (0, 1))
    arm, other_arm = (placed[:, figures.ELBOWS[n], 0] - placed[:, figures.SHOULDERS[n], 0] for n in (0, 1))
    assert np.corrcoef(leg, other_leg)[0, 1] < -0.5
    assert np.corrcoef(arm, other_arm)[0, 1] < -0.99
    assert np.corrcoef(leg, other_arm)[0, 1] > 0.5


def test_feet_on_the_floor_hardly_slide_when_a_figure_walks() -> None:
    frames, cycle = 200, 40.0
    placed = joints("walk", frames, cycle)
    forwards = placed[..., 0] + figures._speed("walk", 1.0, cycle) * np.arange(frames)[:, None]
    feet = list(figures.TOES)
    lowest = placed[:-1][:, feet, 1].argmin(axis=1)
    steps = np.diff(forwards[:, feet], axis=0)[np.arange(frames - 1), lowest]
    assert abs(steps.mean()) < 0.25 * figures._speed("walk", 1.0, cycle)


def test_walking_figures_go_where_they_look() -> None:
    seen = set()
    for clip in range(12):
        scene = sample(clip, action={"walk": 1, "run": 1})
        for facing, direction, speed in zip(
            *(scene.labels[name] for name in ("facing", "direction", "speed")), strict=True
        ):
            assert DIRECTIONS[direction] == FACINGS[facing]
            assert speed > 0.5
            seen.add(FACINGS[facing])
    assert seen == {"left", "right"}


def test_a_figure_faces_where_a_step_forwards_goes() -> None:
    for turn_rad in np.linspace(-3, 6, 101):
        across, nearer = (float(moved) for moved in figures._turned(np.array([1.0, 0, 0]), turn_rad))
        side, end = "right" if across > 0 else "left", "front" if nearer > 0 else "back"
        assert figures._facing(turn_rad) == (side if abs(across) >= 0.5 else end)


def test_figures_show_their_back_only_where_they_may_turn_so_far() -> None:
    def facings(**params: Any) -> set[str]:
        return {FACINGS[n] for clip in range(30) for n in sample(clip, **params).labels["facing"]}

    assert facings() == {"right", "left", "front"}
    assert facings(action="walk", turn_deg=90) == set(FACINGS)
    assert "back" not in facings(action="wave", turn_deg=90)


@pytest.mark.parametrize("action", ACTIONS)
def test_the_next_frame_warped_back_by_the_motion_is_this_frame(action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Clothes so smooth that sampling them twice blurs nothing.
    smooth = np.stack([np.roll(waves(60, 24), 5 * limb, axis=0) for limb in range(len(LIMBS))])
    monkeypatch.setattr(figures, "_sample_clothes", lambda height_px, rng: smooth)
    scene = sample(
        2, action=action, num_figures=(1, 1), height_px=(200, 200), background={"kind": "colour"}, cycle_frames=(24, 24)
    )
    clip, shown = render(scene, motion_cell_px=1), truth(scene).layer_THW
    assert clip.motion_THW2 is not None
    assert scene.layers[0].surface is not None
    errors, changes = [], []
    for t in range(7):
        motion_HW2 = np.nan_to_num(clip.motion_THW2[t])
        warped, inside = warp_back(clip.frames_THWC[t + 1], motion_HW2)
        seen, _ = warp_back((shown[t + 1] == 0)[..., None] * 255, motion_HW2)
        same = (shown[t] == 0) & inside & (seen[..., 0] > 254)
        errors.append(np.abs(warped - clip.frames_THWC[t]).mean(axis=2)[same])
        changes.append(np.abs(clip.frames_THWC[t + 1].astype(float) - clip.frames_THWC[t]).mean(axis=2)[same])
    error, change = np.concatenate(errors), np.concatenate(changes)
    assert len(error) > 2000
    assert np.median(error) < 6
    assert error.mean() < 0.8 * change.mean() + 2


def test_all_motion_of_figures_is_defined() -> None:
    for clip in range(4):
        motion = render(sample(clip), motion_cell_px=8).motion_THW2
        assert motion is not None
        assert np.isfinite(motion[:-1]).all()


def test_each_figure_is_one_layer_with_one_action() -> None:
    counts = []
    for clip in range(6):
        scene = sample(clip, num_figures=(1, 3))
        counts.append(len(scene.layers))
        assert [layer.class_name for layer in scene.layers] == [ACTIONS[a] for a in scene.labels["action"]]
        assert (scene.labels["cycle"] > 4).all()
    assert len(set(counts)) > 1


def test_turning_shortens_what_goes_away_from_the_viewer() -> None:
    placed = joints("walk")
    from_the_side, _ = figures._turned(placed, 0.0)
    from_the_front, depth = figures._turned(placed, math.pi / 2)
    np.testing.assert_allclose(from_the_side, placed[..., 0])
    np.testing.assert_allclose(from_the_front, -placed[..., 2], atol=1e-9)
    np.testing.assert_allclose(depth, placed[..., 0], atol=1e-9)

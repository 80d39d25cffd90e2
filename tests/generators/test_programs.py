"""Programs: the contract, values equal to their definition, motion under a camera, and forms that change smoothly."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from formula_interpreter import interpreted
from pydantic import ValidationError
from smile_synth_generators import programs
from smile_synth_generators.programs import ANIMATIONS, Programs, ProgramsParams

from smile_synth.assets import Assets
from smile_synth.errors import GeneratorError
from smile_synth.generator.base import GeneratorContext
from smile_synth.randomness import clip_rng
from smile_synth.recipe.assets import AssetsParams
from smile_synth.render import render
from smile_synth.scene import Canvas, Scene
from smile_synth.testing.contract import GeneratorContract


class TestUnderACamera(GeneratorContract):
    generator = Programs
    params: ClassVar[dict[str, Any]] = {"animation": "camera"}


class TestChangingForm(GeneratorContract):
    generator = Programs
    params: ClassVar[dict[str, Any]] = {"animation": "form"}


class TestBoth(GeneratorContract):
    generator = Programs
    params: ClassVar[dict[str, Any]] = {"animation": "both"}


def generator(**params: Any) -> Programs:
    context = GeneratorContext(Canvas(64, 80, 6), Assets.build(AssetsParams(), folder=Path()))
    return Programs(ProgramsParams.model_validate(params), context)


def sample(clip: int, **params: Any) -> Scene:
    return generator(**params).sample(rng=clip_rng(5, clip))


def test_whole_programs_equal_a_slow_interpreter() -> None:
    for clip in range(6):
        made, x, y = generator(), np.linspace(-1, 1, 40, dtype=np.float32), np.linspace(-1, 1, 30, dtype=np.float32)
        program = made._sample_program(3, x, y, clip_rng(1, clip))
        values = program.values(x, y)
        for t in range(3):
            for k, expected in enumerate(interpreted(program, t, x, y)):
                # Each sine is up to 0.002 off, and later waves and edges amplify that.
                assert np.quantile(np.abs(values[k, t] - expected), 0.95) < 0.05


def test_every_number_of_patterns_is_as_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    field = programs._Composer._field
    monkeypatch.setattr(programs._Composer, "_field", lambda self, u, v: drawn.append(u) or field(self, u, v))
    counts = []
    for clip in range(600):
        drawn.clear()
        programs._Composer(ProgramsParams(num_fields=(2, 4)), clip_rng(3, clip)).compose(1)
        counts.append(len(drawn))
    # A standard error is 0.02.
    np.testing.assert_allclose(np.bincount(counts, minlength=5)[2:] / 600, 1 / 3, atol=0.06)


def test_tone_and_shade_stay_in_their_range_and_use_it() -> None:
    for clip in range(10):
        frames = sample(clip, animation="form").background
        assert frames.std(axis=(1, 2)).max(axis=1).min() > 8


def test_an_image_under_a_camera_has_exact_motion_and_a_changing_form_has_none() -> None:
    for clip in range(3):
        moved, changed = sample(clip, animation="camera"), sample(clip, animation="form")
        motion = render(moved, motion_cell_px=8).motion_THW2
        assert motion is not None
        assert np.isfinite(motion[:-1]).all()
        assert np.abs(motion[:-1]).max() > 0.1
        none = render(changed, motion_cell_px=8).motion_THW2
        assert none is not None
        assert np.isnan(none).all()
        assert changed.camera_T33 is None
        assert ANIMATIONS[changed.labels["animation"]] == "form"


def test_a_form_changes_little_by_little() -> None:
    for clip in range(6):
        frames = sample(clip, animation="form").background.astype(float)
        steps = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
        assert steps.min() > 0.05
        assert steps.max() < 30


def test_nothing_changes_where_nothing_may_change() -> None:
    frames = sample(0, animation="form", turns_per_frame=0, swing=0).background
    assert (frames == frames[0]).all()


def test_settings_without_effect_are_refused() -> None:
    with pytest.raises(ValidationError, match="no camera moves"):
        ProgramsParams.model_validate({"animation": "form", "strength": 2.0})
    with pytest.raises(ValidationError, match="no form changes"):
        ProgramsParams.model_validate({"animation": "camera", "swing": 0.5})


def test_programs_that_are_all_refused_say_what_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "MAX_TRIALS", 3)
    with pytest.raises(GeneratorError, match=r"3 programs in a row were refused; raise roughest \(0.0001\)"):
        sample(0, roughest=0.0001)

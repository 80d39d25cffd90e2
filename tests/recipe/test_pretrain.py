"""Parameters of student, masks, teacher and target: sizes, and fields that would have no effect."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from smile_synth.recipe.pretrain import MaskParams, TargetParams, TeacherParams
from smile_synth.recipe.student import StudentParams


@pytest.mark.parametrize(
    ("size", "encoder", "decoder"),
    [
        ("small", (384, 12, 6), (192, 4, 3)),
        ("base", (768, 12, 12), (384, 4, 6)),
        ("large", (1024, 24, 16), (512, 4, 8)),
        ("huge", (1280, 32, 16), (640, 4, 8)),
    ],
)
def test_sizes_are_the_published_ones(size: Any, encoder: tuple[int, ...], decoder: tuple[int, ...]) -> None:
    params = StudentParams(size=size)
    assert params.encoder == encoder
    assert params.decoder == decoder


def test_parts_of_a_size_can_be_changed() -> None:
    params = StudentParams(size="small", depth=3, decoder_width=96, decoder_heads=4)
    assert params.encoder == (384, 3, 6)
    assert params.decoder == (96, 4, 4)


@pytest.mark.parametrize(
    ("model", "values", "message"),
    [
        (StudentParams, {"width": 100, "heads": 3}, "divisible by its heads, got width 100 and 3 heads"),
        (MaskParams, {"kind": "tube", "visible_object_fraction": 0.1}, "no effect on 'tube' masks: leave it out"),
        (MaskParams, {"kind": "random", "region": "tight"}, "region has no effect on 'random' masks"),
        (MaskParams, {"further_masks": "permuted"}, "no effect with masks_per_clip 1"),
        (TeacherParams, {"library": "efficientnet_lite0", "model": "x"}, "model has no effect on the teacher"),
        (TeacherParams, {"library": "timm"}, "needs the name of its model"),
        (TeacherParams, {"pretrained": "openai", "weights_file": "x.pt"}, "exclude each other"),
        (TargetParams, {"kind": "pixels", "loss": "mse"}, "loss has no effect where the target's kind is 'pixels'"),
        (TargetParams, {"kind": "features", "pixel_weight": 2.0}, "pixel_weight has no effect"),
    ],
)
def test_fields_without_effect_and_bad_sizes_are_refused(model: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        model(**values)
    assert message in str(caught.value)


@pytest.mark.parametrize("model", [StudentParams, MaskParams, TeacherParams, TargetParams])
def test_defaults_filled_in_are_valid_parameters_again(model: Any) -> None:
    params = model()
    assert model(**params.model_dump()) == params

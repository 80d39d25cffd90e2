"""The contract that every generator keeps, and what bubbles do."""

from __future__ import annotations

import numpy as np

import smile_synth as ss
from smile_synth.testing import GeneratorContract


class TestBubbles(GeneratorContract):
    generator = "bubbles"


def test_bubbles_rise() -> None:
    overrides = ["dataset.generator=bubbles", "dataset.canvas={height: 64, width: 64, frames: 8}"]
    for clip in range(8):
        scene = ss.sample_scene("demo", clip, overrides=overrides)
        for layer, rise in zip(scene.layers, scene.labels["rise"], strict=True):
            assert np.allclose(np.diff(layer.pose_T6[:, 5]), -rise, atol=1e-3)

"""``bubbles``: translucent rings that rise over a background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from smile_synth.generator import Generator, LabelSpec
from smile_synth.params import Span, StrictParams
from smile_synth.sampling.backgrounds import BackgroundParams, sample_background
from smile_synth.scene import Layer, Scene

SIDE_PX = 96
FULL = 255


class BubblesParams(StrictParams):
    """How many bubbles, how large and how fast."""

    num_bubbles: Span[Annotated[int, Field(ge=1, le=32)]] = Field((2, 6), description="fewest and most of a clip")
    radius: Span[Annotated[float, Field(gt=0, le=0.5)]] = Field(
        (0.04, 0.15), description="smallest and largest radius, share of the canvas's height"
    )
    speed: Span[Annotated[float, Field(gt=0, le=0.5)]] = Field(
        (0.01, 0.06), description="lowest and highest speed upwards, share of the canvas's height per frame"
    )
    background: BackgroundParams = Field(BackgroundParams(), description="what they rise over")


class Bubbles(Generator[BubblesParams]):
    """Translucent bubbles that rise, small ones slower than large ones, and sway a little."""

    Params = BubblesParams

    @property
    def max_objects(self) -> int:
        return self.params.num_bubbles[1]

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        return {
            "num_bubbles": LabelSpec("Number of bubbles"),
            "rise": LabelSpec("Speed upwards", per="object", unit="px/frame"),
        }

    def sample(self, *, rng: np.random.Generator) -> Scene:
        canvas = self.context.canvas
        # The background draws first: its choices do not depend on how many bubbles there are.
        background = sample_background(self.params.background, canvas, self.context.assets, rng=rng)
        low, high = self.params.num_bubbles
        bubbles = [self._bubble(rng) for _ in range(int(rng.integers(low, high + 1)))]
        return Scene(
            canvas,
            background.image,
            camera_T33=background.camera_T33,
            layers=tuple(layer for layer, _ in bubbles),
            background_id=background.asset_id,
            labels={"num_bubbles": len(bubbles), "rise": np.array([rise for _, rise in bubbles], np.float32)},
        )

    def _bubble(self, rng: np.random.Generator) -> tuple[Layer, float]:
        canvas = self.context.canvas
        share = rng.uniform()
        radius_px = canvas.height * np.interp(share, (0, 1), self.params.radius)
        rise_px = canvas.height * np.interp(share, (0, 1), self.params.speed)
        t = np.arange(canvas.num_frames)
        x_T = rng.uniform(0, canvas.width) + 0.3 * radius_px * np.sin(rng.uniform(0, 2 * np.pi) + 0.6 * t)
        y_T = rng.uniform(0.5, 1) * canvas.height - rise_px * t
        scale = 2 * radius_px / SIDE_PX
        pose_T6 = np.zeros((canvas.num_frames, 6), np.float32)
        pose_T6[:, 0] = pose_T6[:, 4] = scale
        pose_T6[:, 2], pose_T6[:, 5] = x_T - radius_px, y_T - radius_px
        return Layer(_ring(), pose_T6, np.ones(canvas.num_frames, np.float32), class_name="bubble"), float(rise_px)


def _ring() -> npt.NDArray[np.uint8]:
    """Return a bubble: faint inside, bright at its rim, uint8 (SIDE_PX, SIDE_PX, 4)."""
    places = (np.arange(SIDE_PX) + 0.5) / SIDE_PX * 2 - 1
    distance = np.hypot(*np.meshgrid(places, places))
    alpha = np.where(distance < 1, 0.25 + 0.7 * distance**6, 0)
    texture = np.full((SIDE_PX, SIDE_PX, 4), FULL, np.uint8)
    texture[..., 3] = np.round(FULL * alpha)
    return texture

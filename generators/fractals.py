"""``fractals``: iterated function systems whose parameters move in time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from smile_synth.errors import GeneratorError
from smile_synth.generator.base import Generator
from smile_synth.generator.labels import LabelSpec
from smile_synth.machine.compiled import entry_point, inlined
from smile_synth.params import Span, StrictParams
from smile_synth.sampling.backgrounds import BackgroundParams, sample_background
from smile_synth.sampling.choices import Weight, choose
from smile_synth.sampling.textures import sample_palette
from smile_synth.scene import Layer, Scene

Variation = Literal["linear", "sinusoidal", "swirl", "horseshoe"]
VARIATIONS: tuple[Variation, ...] = ("linear", "sinusoidal", "swirl", "horseshoe")
Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

# A system is tried out with few points on a coarse grid before it is drawn.
TRIAL_POINTS = 3000
TRIAL_SIDE = 32
TRIAL_FRAMES = 5
# In no frame may the attractor be smaller than this part of the whole that it covers during the clip.
SMALLEST_EXTENT = 0.4
MAX_TRIALS = 200
MAX_PALETTES = 8
LEAST_CONTRAST = 80
# Points at the start that have not yet come near the attractor.
WARM_UP_POINTS = 20
# Share of points left out at each side when the frame is laid around the attractor.
OUTLIERS = 0.01
MARGIN = 0.06
FARTHEST = 1e6


class FractalsParams(StrictParams):
    """Which systems, how they move, and over what."""

    num_maps: Span[Annotated[int, Field(ge=2, le=8)]] = Field((2, 5), description="fewest and most maps of a system")
    variation: Variation | Annotated[dict[Variation, Weight], Field(min_length=1)] = Field(
        {"linear": 3.0, "sinusoidal": 1.0, "swirl": 1.0, "horseshoe": 1.0},
        description="after each affine map: nothing (linear) or a non-linear variation; one, or weights of several",
    )
    change: Span[Annotated[float, Field(ge=0, le=1)]] = Field(
        (0.15, 0.6),
        description="how far towards another random system the parameters move in the clip; 1 is all the way",
    )
    points_per_pixel: float = Field(
        0.6, gt=0.05, le=20, description="points of the chaos game in each frame, per pixel of the canvas"
    )
    least_cover: float = Field(
        0.12,
        ge=0,
        le=0.5,
        description="systems that reach a smaller share of a 32 x 32 grid, at either end of the clip, are drawn again",
    )
    most_concentrated: float = Field(
        0.25, gt=0, le=1, description="systems with a larger share of all points in one grid cell are drawn again"
    )
    background: BackgroundParams = Field(
        BackgroundParams(kind={"black": 2.0, "colour": 1.0, "gradient": 1.0}), description="what the fractal lies over"
    )


class Fractals(Generator[FractalsParams]):
    """Fractals of iterated function systems, linear or bent, whose parameters move from frame to frame.

    Source: fractal videos, arXiv 2411.17584; singular values drawn as in Improving Fractal Pre-training (WACV 2022).
    """

    Params = FractalsParams

    @property
    def max_objects(self) -> int:
        """One, the fractal."""
        return 1

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        """Kind and size of the system."""
        return {
            "variation": LabelSpec("what follows each affine map", "class", classes=VARIATIONS),
            "num_maps": LabelSpec("maps of the system"),
            "change": LabelSpec("how far the system moves towards another one in the clip"),
        }

    def sample(self, *, rng: np.random.Generator) -> Scene:
        """Sample a background, a system that is worth looking at, and how its parameters move."""
        canvas, params = self.context.canvas, self.params
        background = sample_background(params.background, canvas, self.context.assets, rng=rng)
        variation = choose(params.variation, rng=rng)
        maps_TM6, change = self._sample_system(VARIATIONS.index(variation), rng)
        num_points = max(TRIAL_POINTS, round(params.points_per_pixel * canvas.height * canvas.width))
        palette = _sample_contrasting_palette(background.image, rng)
        texture = self._draw(maps_TM6, VARIATIONS.index(variation), num_points, palette, rng)
        pose_T6 = np.tile(np.array([1, 0, 0, 0, 1, 0], np.float32), (canvas.num_frames, 1))
        layer = Layer(texture, pose_T6, np.ones(canvas.num_frames, np.float32), class_name="fractal")
        return Scene(
            canvas=canvas,
            background=background.image,
            camera_T33=background.camera_T33,
            background_id=background.asset_id,
            layers=(layer,),
            labels={
                "variation": VARIATIONS.index(variation),
                "num_maps": maps_TM6.shape[1],
                "change": change,
            },
        )

    def _sample_system(self, variation: int, rng: np.random.Generator) -> tuple[Floats, float]:
        """Sample maps over time until both ends of the clip pass the filters."""
        params, num_frames = self.params, self.context.canvas.num_frames
        for _ in range(MAX_TRIALS):
            num_maps = int(rng.integers(params.num_maps[0], params.num_maps[1] + 1))
            change = float(rng.uniform(*params.change))
            first, last = _sample_parameters(num_maps, rng), _sample_parameters(num_maps, rng)
            share_T = np.linspace(0, change, num_frames)
            maps_TM6 = np.stack([_maps(_between(first, last, share)) for share in share_T.tolist()])
            if self._is_worth_drawing(maps_TM6, variation, rng):
                return maps_TM6, change
        raise GeneratorError(
            f"generator 'fractals': {MAX_TRIALS} systems in a row were refused; lower least_cover "
            f"({params.least_cover}) or raise most_concentrated ({params.most_concentrated})"
        )

    def _is_worth_drawing(self, maps_TM6: Floats, variation: int, rng: np.random.Generator) -> bool:
        """Tell whether the attractor neither flies apart nor shrinks to a speck or a line in the clip."""
        chosen = np.unique(np.linspace(0, len(maps_TM6) - 1, TRIAL_FRAMES).round().astype(int))
        points_EN3 = _play(maps_TM6[chosen], variation, TRIAL_POINTS, rng)[:, WARM_UP_POINTS:]
        if not (np.abs(points_EN3) < FARTHEST).all():
            return False
        low_E2, high_E2 = np.quantile(points_EN3[..., :2], [OUTLIERS, 1 - OUTLIERS], axis=1)
        extent_E2 = high_E2 - low_E2
        whole = float((high_E2.max(axis=0) - low_E2.min(axis=0)).max())
        if extent_E2.max(axis=1).min() < SMALLEST_EXTENT * whole or extent_E2.min() < 0.1 * SMALLEST_EXTENT * whole:
            return False
        return all(map(self._is_spread, points_EN3[..., :2], low_E2, extent_E2))

    def _is_spread(self, points_N2: npt.NDArray[np.float32], low_2: Floats, extent_2: Floats) -> bool:
        """Tell whether points reach enough of the cells around them, and do not heap up in one."""
        cells_N2 = ((points_N2 - low_2) / extent_2 * TRIAL_SIDE).astype(np.int64).clip(0, TRIAL_SIDE - 1)
        counts = np.bincount(cells_N2[:, 1] * TRIAL_SIDE + cells_N2[:, 0], minlength=TRIAL_SIDE**2)
        covers = float((counts > 0).mean()) >= self.params.least_cover
        return covers and int(counts.max()) <= self.params.most_concentrated * len(points_N2)

    def _draw(
        self, maps_TM6: Floats, variation: int, num_points: int, palette: Pixels, rng: np.random.Generator
    ) -> Pixels:
        """Return the fractal in every frame, uint8 (T, H, W, 4)."""
        canvas = self.context.canvas
        points_TN3 = _play(maps_TM6, variation, num_points, rng)
        # One frame around all, so that the attractor moves within it; every 16th point tells enough.
        low, high = np.quantile(points_TN3[:, WARM_UP_POINTS::16, :2], [OUTLIERS, 1 - OUTLIERS], axis=(0, 1))
        scale = float(((1 - 2 * MARGIN) * np.array([canvas.width, canvas.height]) / (high - low)).min())
        offset = np.array([canvas.width, canvas.height]) / 2 - scale * (low + high) / 2
        texture = np.zeros((canvas.num_frames, canvas.height, canvas.width, 4), np.uint8)
        plot(texture, points_TN3, np.array([scale, *offset]), palette)
        return texture


def _sample_contrasting_palette(background: Pixels, rng: np.random.Generator) -> Pixels:
    """Sample a palette whose mean differs from the background's, uint8 (256, 3)."""
    mean_3 = background[::8, ::8].mean(axis=(0, 1))
    palette = sample_palette(rng=rng)
    for _ in range(MAX_PALETTES):
        if np.abs(palette.mean(axis=0) - mean_3).max() >= LEAST_CONTRAST:
            break
        palette = sample_palette(rng=rng)
    return palette


def _sample_parameters(num_maps: int, rng: np.random.Generator) -> Floats:
    """Sample two angles, two singular values, a translation and a colour per map, float64 (M, 7).

    Singular values are drawn so that sum over maps of (larger + 2 x smaller) lies where attractors are neither dust
    nor a blob: between (5 + M) / 2 and (6 + M) / 2.
    """
    target = rng.uniform(5 + num_maps, 6 + num_maps) / 2
    shares_M = rng.dirichlet(np.full(num_maps, 8.0)) * target
    # Each map's share s1 + 2 s2 may reach 3, as both singular values stay below 1.
    shares_M = np.minimum(shares_M, 2.6)
    smallest_M = np.maximum(0.0, (shares_M - 0.98) / 2)
    smaller_M = rng.uniform(smallest_M, np.maximum(smallest_M, shares_M / 3))
    larger_M = np.minimum(shares_M - 2 * smaller_M, 0.98)
    angles_M2 = rng.uniform(-math.pi, math.pi, (num_maps, 2))
    places_M2 = rng.uniform(-1, 1, (num_maps, 2))
    signed_M = smaller_M * np.where(rng.random(num_maps) < 0.5, 1.0, -1.0)
    return np.column_stack([angles_M2, larger_M, signed_M, places_M2])


def _between(first_M6: Floats, last_M6: Floats, share: float) -> Floats:
    """Interpolate parameters; angles turn the shorter way, and no map is mirrored in between."""
    way = last_M6 - first_M6
    way[:, :2] = (way[:, :2] + math.pi) % (2 * math.pi) - math.pi
    way[:, 3] = np.abs(last_M6[:, 3]) * np.sign(first_M6[:, 3]) - first_M6[:, 3]
    return first_M6 + share * way


def _maps(parameters_M6: Floats) -> Floats:
    """Return the affine maps (a, b, c, d, e, f): (x, y) -> (a x + b y + c, d x + e y + f)."""
    first, second, larger, smaller, x, y = parameters_M6.T
    cos1, sin1, cos2, sin2 = np.cos(first), np.sin(first), np.cos(second), np.sin(second)
    a = cos1 * larger * cos2 - sin1 * smaller * sin2
    b = -cos1 * larger * sin2 - sin1 * smaller * cos2
    d = sin1 * larger * cos2 + cos1 * smaller * sin2
    e = -sin1 * larger * sin2 + cos1 * smaller * cos2
    return np.column_stack([a, b, x, d, e, y])


def _play(maps_TM6: Floats, variation: int, num_points: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Play the chaos game in every frame, with the same sequence of maps, so that every point has a path in time."""
    num_maps = maps_TM6.shape[1]
    # Maps that cover more area are taken more often, which spreads the points evenly.
    area_M = np.abs(maps_TM6[0, :, 0] * maps_TM6[0, :, 4] - maps_TM6[0, :, 1] * maps_TM6[0, :, 3]) + 0.02
    edges_M = np.cumsum(area_M / area_M.sum())
    turns_N = np.minimum(np.searchsorted(edges_M, rng.random(num_points)), num_maps - 1).astype(np.uint8)
    points_TN3 = np.empty((len(maps_TM6), num_points, 3), np.float32)
    play(points_TN3, maps_TM6, turns_N, variation)
    return points_TN3


@inlined
def _bent(u: float, v: float, variation: int) -> tuple[float, float]:
    """Return a point after its variation."""
    if variation == 1:
        return math.sin(u), math.sin(v)
    if variation == 2:
        square = u * u + v * v
        sine, cosine = math.sin(square), math.cos(square)
        return u * sine - v * cosine, u * cosine + v * sine
    if variation == 3:
        radius = math.sqrt(u * u + v * v) + 1e-9
        return (u - v) * (u + v) / radius, 2 * u * v / radius
    return u, v


@entry_point("void(float32[:,:,::1], float64[:,:,::1], uint8[::1], int64)")
def play(points_TN3: npt.NDArray[np.float32], maps_TM6: Floats, turns_N: Pixels, variation: int) -> None:
    """Follow a point through its maps.

    Args:
        points_TN3: float32 (T, N, 3), written: x, y, and a tone (0 to 1) that tells which maps came last.
        maps_TM6: float64 (T, M, 6), affine maps in every frame.
        turns_N: uint8 (N,), which map is taken at each step, the same in every frame.
        variation: place in ``VARIATIONS``.
    """
    num_frames, num_maps, _ = maps_TM6.shape
    x_T, y_T, tone = np.zeros(num_frames), np.zeros(num_frames), 0.5
    for n in range(len(turns_N)):
        m = turns_N[n]
        tone = (tone + (m + 0.5) / num_maps) / 2
        # Frame by frame inside, because each frame's next point has to wait for its last one.
        for t in range(num_frames):
            u = maps_TM6[t, m, 0] * x_T[t] + maps_TM6[t, m, 1] * y_T[t] + maps_TM6[t, m, 2]
            v = maps_TM6[t, m, 3] * x_T[t] + maps_TM6[t, m, 4] * y_T[t] + maps_TM6[t, m, 5]
            x, y = _bent(u, v, variation)
            x_T[t], y_T[t] = x, y
            points_TN3[t, n, 0], points_TN3[t, n, 1], points_TN3[t, n, 2] = x, y, tone


@entry_point("void(uint8[:,:,:,::1], float32[:,:,::1], float64[::1], uint8[:,::1])")
def plot(texture_THWC: Pixels, points_TN3: npt.NDArray[np.float32], frame_3: Floats, palette_NC: Pixels) -> None:
    """Plot points: more points in a pixel make it more opaque and brighter, their mean tone gives its colour.

    Args:
        texture_THWC: uint8 (T, H, W, 4), all 0; written where there are points.
        points_TN3: from ``play``.
        frame_3: scale and offset in x and y, from points to pixels.
        palette_NC: uint8 (256, 3).
    """
    num_frames, height, width, _ = texture_THWC.shape
    # How many points a pixel has, and the sum of their tones, side by side.
    sums_HW2 = np.empty((height, width, 2), np.float32)
    scale, left, top = np.float32(frame_3[0]), np.float32(frame_3[1] - 0.5), np.float32(frame_3[2] - 0.5)
    one = np.float32(1)
    for t in range(num_frames):
        sums_HW2[:] = np.float32(0)
        for n in range(WARM_UP_POINTS, points_TN3.shape[1]):
            x = points_TN3[t, n, 0] * scale + left
            y = points_TN3[t, n, 1] * scale + top
            column, row = math.floor(x), math.floor(y)
            if 0 <= row < height - 1 and 0 <= column < width - 1:
                east, south = np.float32(x - column), np.float32(y - row)
                tone = points_TN3[t, n, 2]
                # Shared among four pixels, so that a point that moves by less than a pixel still moves.
                for i, j, share in (
                    (row, column, (one - east) * (one - south)),
                    (row, column + 1, east * (one - south)),
                    (row + 1, column, (one - east) * south),
                    (row + 1, column + 1, east * south),
                ):
                    sums_HW2[i, j, 0] += share
                    sums_HW2[i, j, 1] += share * tone
        for row in range(height):
            for column in range(width):
                count = sums_HW2[row, column, 0]
                if count == 0:
                    continue
                place = int(min(sums_HW2[row, column, 1] / count * np.float32(255), np.float32(255)))
                for channel in range(3):
                    texture_THWC[t, row, column, channel] = palette_NC[place, channel]
                texture_THWC[t, row, column, 3] = int(np.float32(255) * count / (count + np.float32(0.6)))

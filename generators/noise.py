"""``noise``: volumes of 3-D gradient noise that drift and boil, and images carried along by a smooth flow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from smile_synth.generator.base import Generator
from smile_synth.generator.labels import LabelSpec
from smile_synth.machine.compiled import entry_point, inlined
from smile_synth.params import NoEffect, Span, StrictParams
from smile_synth.sampling.backgrounds import BackgroundParams, sample_background
from smile_synth.sampling.choices import Weight, choose, names_in
from smile_synth.sampling.motion import DIRECTIONS, direction_class
from smile_synth.sampling.textures import sample_palette
from smile_synth.scene import Label, Scene

NoiseKind = Literal["volume", "flow"]
KINDS: tuple[NoiseKind, ...] = ("volume", "flow")
REFERENCE_SIDE_PX = 224.0
# Finer detail than this would flicker, or be finer than the pixels.
SMALLEST_CELL_PX = 2.0
SMALLEST_CELL_FRAMES = 2.0
# Standard deviation, in grey levels, to which a volume is stretched.
SPREAD = 62.0
# The flow is followed on a grid this many times coarser than the canvas, which is much finer than its swirls.
FLOW_GRID_PX = 4

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class VolumeParams(StrictParams):
    """Gradient noise over rows, columns and time."""

    cell_px: Span[Annotated[float, Field(ge=4, le=512)]] = Field(
        (24.0, 112.0), description="size of the largest features, px on a 224 px canvas; log-uniform"
    )
    cell_frames: Span[Annotated[float, Field(ge=2, le=1000)]] = Field(
        (8.0, 40.0), description="frames in which the largest features change; log-uniform"
    )
    octaves: Span[Annotated[int, Field(ge=1, le=6)]] = Field(
        (2, 4), description="fewest and most layers of detail, each of half the size and lifetime of the one before"
    )
    persistence: Span[Annotated[float, Field(gt=0, le=1)]] = Field(
        (0.4, 0.65), description="strength of each layer of detail relative to the one before"
    )
    drift_px_per_frame: Span[Annotated[float, Field(ge=0, le=50)]] = Field(
        (0.0, 5.0), description="speed of the whole volume, px/frame on a 224 px canvas"
    )


class FlowParams(StrictParams):
    """An image carried along by a flow without sources or sinks."""

    image: BackgroundParams = Field(
        default_factory=lambda: BackgroundParams(kind={"photograph": 2.0, "texture": 1.0, "pink-noise": 1.0}),
        description="image that the flow warps",
    )
    swirl_px: Span[Annotated[float, Field(ge=16, le=512)]] = Field(
        (40.0, 120.0), description="size of a swirl, px on a 224 px canvas"
    )
    speed_px_per_frame: Span[Annotated[float, Field(gt=0, le=20)]] = Field(
        (0.5, 2.5), description="root mean square speed of the flow, px/frame on a 224 px canvas"
    )


def _only_for_its_kind(kind: NoiseKind) -> NoEffect:
    return NoEffect(
        (kind,),
        when=lambda noise: kind not in names_in(noise.kind),
        why=f"where no noise is of kind {kind!r}",
        instead="add it to 'kind', or leave it out",
    )


class NoiseParams(StrictParams):
    """Which noise, and how it moves."""

    NO_EFFECT = tuple(map(_only_for_its_kind, KINDS))

    kind: NoiseKind | Annotated[dict[NoiseKind, Weight], Field(min_length=1)] = Field(
        {"volume": 1.0, "flow": 1.0}, description="a kind, or weights of both"
    )
    volume: VolumeParams = Field(VolumeParams(), description="for kind volume")
    flow: FlowParams = Field(default_factory=FlowParams, description="for kind flow")


class Noise(Generator[NoiseParams]):
    """Clouds of 3-D gradient noise that drift and boil, and images carried along by swirling flows.

    Source: gradient noise is Perlin's (SIGGRAPH 1985); as video for pretraining, arXiv 2411.17584.
    """

    Params = NoiseParams

    @property
    def max_objects(self) -> int:
        """None: noise fills the canvas."""
        return 0

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        """Kind and speed."""
        return {
            "noise": LabelSpec("kind of noise", "class", classes=KINDS),
            "drift_direction": LabelSpec("where the pattern drifts", "class", classes=DIRECTIONS),
            "drift_speed": LabelSpec("speed of the pattern", unit="px/frame"),
            "flow_speed": LabelSpec("root mean square speed of the flow", unit="px/frame"),
        }

    def sample(self, *, rng: np.random.Generator) -> Scene:
        """Sample a volume or a flow."""
        return self._volume(rng) if choose(self.params.kind, rng=rng) == "volume" else self._flow(rng)

    def _volume(self, rng: np.random.Generator) -> Scene:
        canvas, params = self.context.canvas, self.params.volume
        scale = min(canvas.height, canvas.width) / REFERENCE_SIDE_PX
        cell_px, cell_frames = _log_uniform(params.cell_px, rng) * scale, _log_uniform(params.cell_frames, rng)
        speed, angle = rng.uniform(*params.drift_px_per_frame) * scale, rng.uniform(0, 2 * math.pi)
        velocity_x, velocity_y = speed * math.cos(angle), speed * math.sin(angle)
        persistence, palette = rng.uniform(*params.persistence), sample_palette(rng=rng)
        values_THW = np.zeros((canvas.num_frames, canvas.height, canvas.width), np.float32)
        for octave in range(int(rng.integers(params.octaves[0], params.octaves[1] + 1))):
            cell = np.array([cell_frames, cell_px, cell_px]) / 2**octave
            if cell[1] < SMALLEST_CELL_PX:
                break
            cell[0] = max(cell[0], SMALLEST_CELL_FRAMES)
            _add_octave(values_THW, cell, (velocity_y, velocity_x), persistence**octave, rng)
        # Every 4th value tells mean and spread well enough.
        sample = values_THW[::2, ::4, ::4]
        gain = SPREAD / max(float(sample.std()), 1e-6)
        frames_THWC = np.empty((*values_THW.shape, 3), np.uint8)
        paint(frames_THWC, values_THW, palette, gain, 127.5 - gain * float(sample.mean()))
        labels: dict[str, Label] = {
            "noise": KINDS.index("volume"),
            "drift_direction": direction_class(velocity_x * canvas.num_frames, velocity_y * canvas.num_frames),
            "drift_speed": speed,
            "flow_speed": math.nan,
        }
        return Scene(canvas=canvas, background=frames_THWC, labels=labels)

    def _flow(self, rng: np.random.Generator) -> Scene:
        canvas, params = self.context.canvas, self.params.flow
        scale = min(canvas.height, canvas.width) / REFERENCE_SIDE_PX
        background = sample_background(params.image, canvas, self.context.assets, rng=rng)
        speed = rng.uniform(*params.speed_px_per_frame) * scale
        swirl_px = rng.uniform(*params.swirl_px) * scale
        frames_THWC = _carried(background.image, canvas.num_frames, swirl_px, speed, rng)
        labels: dict[str, Label] = {
            "noise": KINDS.index("flow"),
            "drift_direction": -1,
            "drift_speed": math.nan,
            "flow_speed": speed,
        }
        return Scene(
            canvas=canvas,
            background=frames_THWC,
            camera_T33=background.camera_T33,
            background_id=background.asset_id,
            labels=labels,
        )


def _add_octave(
    values_THW: Floats,
    cell_3: npt.NDArray[np.float64],
    velocity: tuple[float, float],
    strength: float,
    rng: np.random.Generator,
) -> None:
    """Draw slopes at the lattice points that the drifting canvas passes, and add their noise."""
    num_frames = len(values_THW)
    way_3 = np.array([0.0, *velocity]) * num_frames
    points_3 = np.ceil((np.array(values_THW.shape) + np.abs(way_3)) / cell_3).astype(int) + 2
    gradients = rng.standard_normal((*points_3.tolist(), 3), dtype=np.float32)
    # A canvas that drifts against the axis begins at the lattice's far end.
    offset_3 = rng.random(3) + np.maximum(way_3, 0) / cell_3
    add_gradient_noise(values_THW, gradients, offset_3, np.array([cell_3[0], cell_3[1], *velocity, strength]))


def _log_uniform(span: tuple[float, float], rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(math.log(span[0]), math.log(span[1])))


def _carried(image: Pixels, num_frames: int, swirl_px: float, speed: float, rng: np.random.Generator) -> Pixels:
    """Return the image in every frame, carried along by a steady random flow.

    Args:
        image: uint8 (h, w, 3).
        swirl_px: size of a swirl.
        speed: root mean square speed, px/frame.
    """
    height, width = image.shape[:2]
    rows, columns = -(-height // FLOW_GRID_PX) + 2, -(-width // FLOW_GRID_PX) + 2
    velocity_x, velocity_y = _swirls(rows, columns, swirl_px / FLOW_GRID_PX, rng)
    factor = np.float32(speed / FLOW_GRID_PX / max(float(np.sqrt((velocity_x**2 + velocity_y**2).mean())), 1e-6))
    here_x, here_y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    back_x, back_y = here_x - velocity_x * factor, here_y - velocity_y * factor
    from_x, from_y = here_x, here_y
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    for t in range(num_frames):
        if t:
            # Where a pixel was in frame 0 is where the pixel that flows into it was.
            from_x, from_y = (
                cv2.remap(plane, back_x, back_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
                for plane in (from_x, from_y)
            )
        full_x, full_y = (_enlarged(plane, height, width) for plane in (from_x, from_y))
        cv2.remap(image, full_x, full_y, cv2.INTER_LINEAR, dst=frames[t], borderMode=cv2.BORDER_REFLECT_101)
    return frames


def _swirls(rows: int, columns: int, swirl: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return a velocity field with neither sources nor sinks: the curl of a smooth random hill."""
    cells = (max(3, round(columns / swirl) + 3), max(3, round(rows / swirl) + 3))
    hills = rng.standard_normal((cells[1], cells[0]), dtype=np.float32)
    stream = cv2.resize(hills, (columns, rows), interpolation=cv2.INTER_CUBIC)
    slope_y, slope_x = np.gradient(stream)
    return slope_y, -slope_x


def _enlarged(plane: Floats, height: int, width: int) -> Floats:
    """Interpolate positions, in grid cells, from the middles of cells to the middles of pixels, in pixels.

    The grid has a cell more on each side than the image, so that nothing is extrapolated.
    """
    size = (plane.shape[1] * FLOW_GRID_PX, plane.shape[0] * FLOW_GRID_PX)
    full = cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)[FLOW_GRID_PX:, FLOW_GRID_PX:]
    # Grid cell g has its middle at pixel (g - 1 + 1/2) x FLOW_GRID_PX, and pixels their own half a pixel on.
    return np.asarray(full[:height, :width] * np.float32(FLOW_GRID_PX) - np.float32(FLOW_GRID_PX / 2 + 0.5), np.float32)


@inlined
def _add_cell(
    values_W: Floats, start: Any, step: Any, level: Any, slope: Any, next_level: Any, next_slope: Any
) -> None:
    """Add the blend of two straight lines over one lattice cell; written so that the compiler makes it vectors."""
    for k in range(len(values_W)):
        f = start + np.float32(k) * step
        w = f * f * f * (f * (f * np.float32(6) - np.float32(15)) + np.float32(10))
        first = level + slope * f
        second = next_level + next_slope * (f - np.float32(1))
        values_W[k] += first + w * (second - first)


@entry_point("void(float32[:,:,::1], float32[:,:,:,::1], float64[::1], float64[::1])")
def add_gradient_noise(
    values_THW: Floats, gradients: Floats, offset_3: npt.NDArray[np.float64], steps_5: npt.NDArray[np.float64]
) -> None:
    """Add one octave of 3-D gradient noise.

    Along a row, the blend over time and over rows leaves a height and a slope at each lattice column, so that a
    pixel costs one blend of two straight lines.

    Args:
        values_THW: float32 (T, H, W), added to.
        gradients: float32 (nt, ny, nx, 3), slopes in time, down and right at the lattice points; repeats beyond.
        offset_3: lattice position of pixel (0, 0) of frame 0.
        steps_5: frames of a cell, pixels of a cell, velocity down and right in px/frame, strength.
    """
    num_frames, height, width = values_THW.shape
    nt, ny, nx, _ = gradients.shape
    cell_frames, cell_px, velocity_y, velocity_x, strength = steps_5
    level_N, slope_N = np.empty(nx, np.float32), np.empty(nx, np.float32)
    step_x = np.float32(1.0 / cell_px)
    num_columns = min(nx, math.ceil(width / cell_px) + 2)
    for t in range(num_frames):
        z = offset_3[0] + t / cell_frames
        z0 = math.floor(z)
        fz = np.float32(z - z0)
        wz = fz * fz * fz * (fz * (fz * np.float32(6) - np.float32(15)) + np.float32(10))
        left = offset_3[2] - velocity_x * t / cell_px
        for row in range(height):
            y = offset_3[1] + (row - velocity_y * t) / cell_px
            y0 = math.floor(y)
            fy = np.float32(y - y0)
            wy = fy * fy * fy * (fy * (fy * np.float32(6) - np.float32(15)) + np.float32(10))
            for lattice_column in range(num_columns):
                i = (math.floor(left) + lattice_column) % nx
                level, slope = np.float32(0), np.float32(0)
                for dz in range(2):
                    share_z = wz if dz else np.float32(1) - wz
                    for dy in range(2):
                        share = share_z * (wy if dy else np.float32(1) - wy) * np.float32(strength)
                        gradient = gradients[(z0 + dz) % nt, (y0 + dy) % ny, i]
                        level += share * (gradient[0] * (fz - np.float32(dz)) + gradient[1] * (fy - np.float32(dy)))
                        slope += share * gradient[2]
                level_N[i], slope_N[i] = level, slope
            values_W = values_THW[t, row]
            column = 0
            while column < width:
                x = left + column / cell_px
                x0 = math.floor(x)
                end = min(width, max(column + 1, math.ceil((x0 + 1 - left) * cell_px)))
                i, j = x0 % nx, (x0 + 1) % nx
                _add_cell(
                    values_W[column:end], np.float32(x - x0), step_x, level_N[i], slope_N[i], level_N[j], slope_N[j]
                )
                column = end


@entry_point("void(uint8[:,:,:,::1], float32[:,:,::1], uint8[:,::1], float64, float64)")
def paint(frames_THWC: Pixels, values_THW: Floats, palette_NC: Pixels, gain: float, bias: float) -> None:
    """Give every value its colour: palette entry ``bias + gain * value``, clipped to the palette."""
    num_frames, height, width = values_THW.shape
    gain32, bias32 = np.float32(gain), np.float32(bias)
    for t in range(num_frames):
        for row in range(height):
            for column in range(width):
                place = int(min(max(bias32 + gain32 * values_THW[t, row, column], np.float32(0)), np.float32(255)))
                for channel in range(3):
                    frames_THWC[t, row, column, channel] = palette_NC[place, channel]

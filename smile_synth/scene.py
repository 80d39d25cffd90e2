"""What a clip shows, as data only: a canvas, a background, a camera, and layers over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.errors import SceneError

Label = int | float | npt.NDArray[Any]
NO_ASSET = -1


@dataclass(frozen=True)
class Canvas:
    """Size of every clip of a dataset.

    Args:
        height, width: pixels, at least 1.
        num_frames: at least 1.

    Examples:
        >>> str(ss.Canvas(height=32, width=48, num_frames=8))
        '8x32x48'
    """

    height: int
    width: int
    num_frames: int

    def __post_init__(self) -> None:
        for name in ("height", "width", "num_frames"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise SceneError(f"canvas {name} must be an integer of at least 1, got {value!r}")

    def __str__(self) -> str:
        """Return frames x rows x columns."""
        return f"{self.num_frames}x{self.height}x{self.width}"


@dataclass(frozen=True, eq=False)
class Surface:
    """Which point of which rigid part an animated picture shows, so that its motion is known.

    A solid that turns is one part; a figure has a part for every limb.

    Args:
        points_THW3: float32 (T, h, w, 3), or (1, h, w, 3) where it is the same in every frame; what the middle of a
            picture's pixel shows, in the coordinates and the unit of its part. NaN where nothing can be followed.
        parts_THW: uint8, of the same shape without its last axis; which part.
        projections_PT34: float32 (P, T, 3, 4); times (x, y, z, 1) of a part's point it gives (u, v, w), and the point
            lies at (u / w, v / w) on the canvas in frame t.
    """

    points_THW3: npt.NDArray[np.float32]
    parts_THW: npt.NDArray[np.uint8]
    projections_PT34: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        points, parts, projections = self.points_THW3, self.parts_THW, self.projections_PT34
        if points.dtype != np.float32 or points.ndim != 4 or points.shape[-1] != 3 or 0 in points.shape:
            raise SceneError(f"a surface's points must be float32 (1 or T, h, w, 3), got {points.dtype} {points.shape}")
        if parts.dtype != np.uint8 or parts.shape != points.shape[:-1]:
            raise SceneError(
                f"a surface's parts must be uint8 {points.shape[:-1]} like its points, got {parts.dtype} {parts.shape}"
            )
        if projections.dtype != np.float32 or projections.ndim != 4 or projections.shape[2:] != (3, 4):
            raise SceneError(
                f"a surface's projections must be float32 (P, T, 3, 4), got {projections.dtype} {projections.shape}"
            )
        if not np.isfinite(projections).all():
            raise SceneError("a surface's projections must be finite, got NaN or infinity")
        if int(parts.max()) >= len(projections):
            raise SceneError(f"a surface with {len(projections)} projections has no part {int(parts.max())}")

    def check_fits(self, picture: npt.NDArray[np.uint8], num_frames: int, whose: str) -> None:
        """Raise ``SceneError`` unless it belongs to a picture for every frame, of that many frames."""
        points, frames = self.points_THW3, self.projections_PT34.shape[1]
        if picture.ndim != 4:
            raise SceneError(f"{whose} has one picture for all frames, whose motion is known: leave the surface out")
        if points.shape[1:3] != picture.shape[1:3] or len(points) not in (1, num_frames) or frames != num_frames:
            raise SceneError(
                f"a surface of {whose} must have {picture.shape[1]} x {picture.shape[2]} points in 1 or {num_frames} "
                f"frames and projections of {num_frames}, got points {points.shape} and {frames} projections"
            )


@dataclass(frozen=True, eq=False)
class Layer:
    """One object of a scene: a texture, where it is in every frame, how opaque, and what it is.

    Args:
        texture: uint8 (h, w, 4), or (T, h, w, 4) when it changes from frame to frame; RGBA, alpha NOT premultiplied.
        pose_T6: float32 (T, 6); row (a, b, c, d, e, f) takes the texture point (x, y) to the canvas point
            (a x + b y + c, d x + e y + f). Points are pixel edges: the texture covers [0, w] x [0, h].
        opacity_T: float32 (T,), 0 to 1, multiplies the texture's alpha.
        object_id: row of the dataset's asset table, or ``NO_ASSET``.
        class_name: what the object is, for people and probes.
        surface: what an animated texture shows, where its motion can be known; it is undefined without.

    Examples:
        >>> texture = np.full((6, 6, 4), 255, np.uint8)
        >>> pose_T6 = np.tile(np.float32([1, 0, 10, 0, 1, 5]), (8, 1))
        >>> pose_T6[:, 2] += 2 * np.arange(8)
        >>> layer = ss.Layer(texture, pose_T6, np.ones(8, np.float32), class_name="square")
    """

    texture: npt.NDArray[np.uint8]
    pose_T6: npt.NDArray[np.float32]
    opacity_T: npt.NDArray[np.float32]
    object_id: int = NO_ASSET
    class_name: str = ""
    surface: Surface | None = None

    def __post_init__(self) -> None:
        t = self.texture
        if t.dtype != np.uint8 or t.ndim not in (3, 4) or t.shape[-1] != 4 or 0 in t.shape:
            raise SceneError(f"a layer's texture must be uint8 (h, w, 4) or (T, h, w, 4), got {t.dtype} {t.shape}")
        pose, opacity = self.pose_T6, self.opacity_T
        if pose.dtype != np.float32 or pose.ndim != 2 or pose.shape[1] != 6:
            raise SceneError(f"a layer's pose must be float32 (T, 6), got {pose.dtype} {pose.shape}")
        if not np.isfinite(pose).all():
            raise SceneError("a layer's pose must be finite, got NaN or infinity")
        if opacity.dtype != np.float32 or opacity.shape != pose.shape[:1]:
            raise SceneError(
                f"a layer's opacity must be float32 {pose.shape[:1]} like its pose, got {opacity.dtype} {opacity.shape}"
            )
        if not ((opacity >= 0) & (opacity <= 1)).all():
            raise SceneError(f"a layer's opacity must lie in [0, 1], got {opacity.min()} to {opacity.max()}")
        if t.ndim == 4 and t.shape[0] != pose.shape[0]:
            raise SceneError(f"an animated texture must have {pose.shape[0]} frames like its pose, got {t.shape[0]}")
        if self.surface is not None:
            self.surface.check_fits(t, pose.shape[0], "a layer")


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that a clip shows; rendering it makes no choice of its own.

    Args:
        canvas: size of the clip.
        background: RGB uint8, (h, w, 3) or (T, h, w, 3); of the canvas's size unless a camera looks at it.
        camera_T33: None for a camera that stands still, or float32 (T, 3, 3): homographies that take background
            points to canvas points. Beyond its borders the background is mirrored.
        layers: in painter's order, the first one drawn first.
        background_id: row of the dataset's asset table, or ``NO_ASSET``.
        labels: what the generator says of the clip, by the names that it declares (see ``LabelSpec``).
        generator: name of the family that made the scene; empty means the generator that was asked.
        background_surface: what a background with a picture for every frame shows, where its motion can be known; not
            together with a camera, which the projections include.

    Examples:
        >>> pose_T6 = np.tile(np.float32([1, 0, 10, 0, 1, 5]), (8, 1))
        >>> layer = ss.Layer(np.full((6, 6, 4), 255, np.uint8), pose_T6, np.ones(8, np.float32))
        >>> scene = ss.Scene(ss.Canvas(32, 32, 8), np.zeros((32, 32, 3), np.uint8), layers=(layer,))
        >>> ss.render_scene(scene).boxes_KT4[0, 0].tolist()
        [10.0, 5.0, 16.0, 11.0]
    """

    canvas: Canvas
    background: npt.NDArray[np.uint8]
    camera_T33: npt.NDArray[np.float32] | None = None
    layers: tuple[Layer, ...] = ()
    background_id: int = NO_ASSET
    labels: Mapping[str, Label] = field(default_factory=dict)
    generator: str = ""
    background_surface: Surface | None = None

    def __post_init__(self) -> None:
        self._check_background()
        self._check_camera()
        for k, layer in enumerate(self.layers):
            if len(layer.pose_T6) != self.canvas.num_frames:
                raise SceneError(
                    f"layer {k} must have {self.canvas.num_frames} poses, one a frame, got {len(layer.pose_T6)}"
                )

    def _check_background(self) -> None:
        b, canvas = self.background, self.canvas
        if b.dtype != np.uint8 or b.ndim not in (3, 4) or b.shape[-1] != 3 or 0 in b.shape:
            raise SceneError(f"a background must be uint8 (h, w, 3) or (T, h, w, 3), got {b.dtype} {b.shape}")
        if b.ndim == 4 and b.shape[0] != canvas.num_frames:
            raise SceneError(f"a moving background must have {canvas.num_frames} frames, got {b.shape[0]}")
        size = (canvas.height, canvas.width)
        if self.camera_T33 is None and b.shape[-3:-1] != size:
            raise SceneError(f"a background without camera must be of the canvas's size {size}, got {b.shape[-3:-1]}")

        if self.background_surface is not None:
            self.background_surface.check_fits(b, canvas.num_frames, "a background")
            if self.camera_T33 is not None:
                raise SceneError("a background with a surface has no camera: put the camera into its projections")

    def _check_camera(self) -> None:
        camera = self.camera_T33
        if camera is None:
            return
        expected = (self.canvas.num_frames, 3, 3)
        if camera.dtype != np.float32 or camera.shape != expected:
            raise SceneError(f"a camera must be float32 {expected}, got {camera.dtype} {camera.shape}")
        if not np.isfinite(camera).all() or (np.abs(np.linalg.det(camera.astype(np.float64))) < 1e-12).any():
            raise SceneError("a camera's homographies must be finite and invertible")

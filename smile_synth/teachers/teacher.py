"""The teacher: a frozen image model whose features, on the student's grid, are what the student predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from smile_synth.errors import ModelError
from smile_synth.masking.grid import TokenGrid
from smile_synth.model.patches import check_frames
from smile_synth.recipe.pretrain import TeacherParams
from smile_synth.teachers.backbone import NORMALISATIONS, Backbone
from smile_synth.teachers.libraries import build_backbone


class Teacher(nn.Module):
    """A frozen image model that looks at frames of every tubelet.

    Args:
        backbone: the image model.
        grid: the student's.
        image_size: (height, width) of the frames that the backbone sees.
        frames: which frames of a tubelet it sees, see ``TeacherParams``.
        normalisation: (mean, std) of pixels in [0, 1]; None takes the backbone's own.
        exact_grid: refuse to resize features.

    Raises:
        ModelError: the backbone cannot take such images, or its grid differs from the student's and may not be
            resized.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        grid: TokenGrid,
        *,
        image_size: tuple[int, int],
        frames: Literal["first", "middle", "average"] = "first",
        normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
        exact_grid: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.grid, self.image_size, self.frames = backbone, grid, image_size, frames
        mean, std = normalisation or (backbone.mean, backbone.std)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()
        self.width, rows, columns = self._measure()
        if exact_grid and (rows, columns) != (grid.rows, grid.columns):
            raise ModelError(
                f"the teacher sees {image_size[0]} x {image_size[1]} pixels as {rows} x {columns} tokens, the student "
                f"has {grid.rows} x {grid.columns}: set teacher.grid to 'resize', or choose another "
                "teacher.image_size or teacher.layer"
            )

    @torch.no_grad()
    def _measure(self) -> tuple[int, int, int]:
        height, width = self.image_size
        try:
            shape = self.backbone(torch.zeros(1, 3, height, width)).shape
        except (AssertionError, RuntimeError, ValueError) as problem:
            raise ModelError(
                f"the teacher cannot give features of frames of {height} x {width} pixels: choose another "
                f"teacher.image_size, or name a teacher.layer ({' '.join(str(problem).split())[:120]})"
            ) from problem
        if len(shape) != 4:
            raise ModelError(f"a teacher must give a map of features (1, D, rows, columns), got {tuple(shape)}")
        return shape[1], shape[2], shape[3]

    def train(self, mode: bool = True) -> Teacher:
        """Stay in evaluation mode, whatever is asked: a teacher is frozen."""
        del mode
        super().train(False)
        return self

    @property
    def dtype(self) -> torch.dtype:
        """Type in which the backbone computes."""
        return next(self.backbone.parameters()).dtype

    @torch.no_grad()
    def forward(self, frames_BTHWC: Tensor) -> Tensor:
        """Return the features of every token.

        Args:
            frames_BTHWC: uint8 (B, T, H, W, 3).

        Returns:
            float (B, N, D) in the teacher's precision, on the student's grid.

        Raises:
            ModelError: the frames do not fit the grid.
        """
        check_frames(frames_BTHWC)
        seen = self._choose(frames_BTHWC)
        maps = self.backbone(self._prepare(seen.flatten(0, 1)))
        if maps.shape[2:] != (self.grid.rows, self.grid.columns):
            maps = _resize(maps, (self.grid.rows, self.grid.columns))
        tokens = torch.unflatten(maps.flatten(2).transpose(1, 2), 0, (len(frames_BTHWC), self.grid.tubelets, -1))
        return tokens.mean(dim=2).flatten(1, 2)

    def _choose(self, frames_BTHWC: Tensor) -> Tensor:
        size = self.grid.tubelet_size
        if frames_BTHWC.shape[1] != self.grid.tubelets * size:
            raise ModelError(f"clips must have {self.grid.tubelets * size} frames, got {frames_BTHWC.shape[1]}")
        if self.frames == "average":
            return frames_BTHWC
        return frames_BTHWC[:, (size // 2 if self.frames == "middle" else 0) :: size]

    def _prepare(self, images_BHWC: Tensor) -> Tensor:
        images = images_BHWC.permute(0, 3, 1, 2).float() / 255
        if images.shape[2:] != self.image_size:
            images = _resize(images, self.image_size).clamp(0, 1)
        return ((images - self.mean) / self.std).to(self.dtype)


def build_teacher(
    params: TeacherParams, grid: TokenGrid, *, folder: Path | None = None, device: torch.device | str = "cpu"
) -> Teacher:
    """Return the teacher that the parameters ask for, frozen, on its device and in its precision.

    Args:
        params: which model and what it sees.
        grid: the student's.
        folder: what a relative ``weights_file`` starts from; absent: here.
        device: where the teacher works.

    Raises:
        WeightsError: there is no such model, or its weights are absent or do not fit.
        ModelError: it cannot take frames of this size, or its grid differs from the student's and may not be resized.
    """
    backbone = build_backbone(params, folder=folder or Path.cwd())
    teacher = Teacher(
        backbone,
        grid,
        image_size=_image_size(params.image_size, backbone, grid),
        frames=params.frames,
        normalisation=None if params.normalisation == "own" else NORMALISATIONS[params.normalisation],
        exact_grid=params.grid == "exact",
    )
    teacher.backbone.to(device=device, dtype=teacher_precision(params, torch.device(device)))
    return teacher.to(device)


def _image_size(asked: int | None, backbone: Backbone, grid: TokenGrid) -> tuple[int, int]:
    """Return the size of the frames that the backbone sees, so that its features lie evenly on them."""
    stride = backbone.stride
    if asked is not None and asked % stride:
        raise ModelError(f"teacher.image_size must be a multiple of {stride}, the teacher's stride, got {asked}")
    if backbone.image_size is not None:
        return backbone.image_size
    sides = (asked, asked) if asked is not None else (grid.canvas.height, grid.canvas.width)
    return (-(-sides[0] // stride) * stride, -(-sides[1] // stride) * stride)


def teacher_precision(params: TeacherParams, device: torch.device) -> torch.dtype:
    """Return the type in which a teacher computes on a device."""
    if params.precision == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return torch.bfloat16 if params.precision == "bfloat16" else torch.float32


def _resize(maps_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    smaller = size[0] < maps_BCHW.shape[2] or size[1] < maps_BCHW.shape[3]
    return functional.interpolate(maps_BCHW.float(), size, mode="bicubic", antialias=smaller).to(maps_BCHW.dtype)

"""What the masks of a recipe hide of the objects of a store."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from smile_synth.masking.grid import TokenGrid, num_masked
from smile_synth.masking.masks import draw_masks, object_tokens
from smile_synth.recipe.pretrain import MaskParams
from smile_synth.report.measure.content import Masks

HIDDEN_GREY = 128


class MaskSummary:
    """Draws masks for clips, as pretraining would, and counts what they hide.

    Args:
        stage: name of the stage of training that the masks belong to.
        params: kind and ratio.
        grid: the student's tokens.
        seed: of the masks.
    """

    def __init__(self, stage: str, params: MaskParams, grid: TokenGrid, *, seed: int) -> None:
        self._stage, self._params, self._grid, self._seed = stage, params, grid, seed
        self._expected = num_masked(params, grid)
        self._tokens = self._objects = self._hidden_objects = self._hidden = self._wrong = 0
        self._seen = 0

    def add(self, boxes_BKT4: npt.NDArray[np.float32]) -> None:
        """Take in the boxes of some clips."""
        boxes = torch.from_numpy(boxes_BKT4)
        # An object's token is one that its box overlaps; the margin that masks may add is none.
        is_object_BN = object_tokens(boxes, self._grid, "tight")
        masks_MBN = draw_masks(self._params, self._grid, boxes, seed=self._seed, step=0, first=self._seen)
        self._seen += len(boxes)
        for is_masked_BN in masks_MBN:
            self._wrong += int((is_masked_BN.sum(1) != self._expected).sum())
            self._tokens += is_masked_BN.numel()
            self._hidden += int(is_masked_BN.sum())
            self._objects += int(is_object_BN.sum())
            self._hidden_objects += int((is_masked_BN & is_object_BN).sum())

    def summary(self) -> Masks:
        """Return what was counted."""
        others = self._tokens - self._objects
        return Masks(
            stage=self._stage,
            kind=self._params.kind,
            params=self._params.model_dump(mode="json", exclude_none=True),
            tokens=self._grid.num_tokens,
            hidden_tokens=self._expected,
            wrong_counts=self._wrong,
            object_token_share=self._objects / max(self._tokens, 1),
            object_tokens_hidden=self._hidden_objects / self._objects if self._objects else None,
            other_tokens_hidden=(self._hidden - self._hidden_objects) / others if others else None,
        )


def seen_frames(
    frames_THWC: npt.NDArray[np.uint8],
    boxes_KT4: npt.NDArray[np.float32],
    params: MaskParams,
    grid: TokenGrid,
    *,
    seed: int,
) -> npt.NDArray[np.uint8]:
    """Return a clip as the student sees it, hidden tokens grey.

    Args:
        frames_THWC: uint8.
        boxes_KT4: xyxy in pixels, NaN where absent.
        params: kind and ratio.
        grid: the student's tokens.
        seed: of the mask.
    """
    is_masked_N = draw_masks(params, grid, torch.from_numpy(boxes_KT4[None]), seed=seed, step=0)[0, 0].numpy()
    blocks = is_masked_N.reshape(grid.tubelets, grid.rows, grid.columns)
    hidden = blocks.repeat(grid.tubelet_size, 0).repeat(grid.patch_size, 1).repeat(grid.patch_size, 2)
    return np.where(hidden[..., None], np.uint8(HIDDEN_GREY), frames_THWC)

"""Which library serves the image model that a teacher looks through."""

from __future__ import annotations

from pathlib import Path

import torch

from smile_synth.errors import WeightsError
from smile_synth.recipe.pretrain import TeacherParams
from smile_synth.teachers.backbone import RANDOM, Backbone


def build_backbone(params: TeacherParams, *, folder: Path) -> Backbone:
    """Return the frozen image model that a teacher looks through, in float32 on the CPU.

    Args:
        params: which model, which weights, which layer.
        folder: what a relative ``weights_file`` starts from.

    Raises:
        WeightsError: there is no such model or layer, or its weights are absent or do not fit.
    """
    weights_file = weights_path(params, folder)
    if params.pretrained != RANDOM:
        return _build(params, weights_file)
    # An untrained teacher is the same one in every process and after every resume.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _build(params, weights_file)


def weights_path(params: TeacherParams, folder: Path) -> Path | None:
    """Return the file of a teacher's weights, None where they are had by name.

    Raises:
        WeightsError: it does not exist.
    """
    if params.weights_file is None:
        return None
    weights_file = folder / Path(params.weights_file).expanduser()
    if not weights_file.is_file():
        raise WeightsError(
            f"the teacher's weights_file {weights_file} does not exist; nothing was downloaded: "
            "copy the weights there, or leave weights_file out to have them downloaded by name"
        )
    return weights_file


def _build(params: TeacherParams, weights_file: Path | None) -> Backbone:
    # Either library takes seconds to import: only the one that is asked for is.
    if params.library == "open_clip":
        from smile_synth.teachers.clip_backbone import open_clip_backbone

        return open_clip_backbone(params, weights_file)
    from smile_synth.teachers.timm_backbone import efficientnet_lite0_backbone, timm_backbone

    return timm_backbone(params, weights_file) if params.library == "timm" else efficientnet_lite0_backbone(params)

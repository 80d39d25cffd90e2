"""Probing a student while it is trained: its own features alone, nothing kept but the clips."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from smile_synth.dataset import CanvasParams
from smile_synth.encoder import FrozenEncoder
from smile_synth.model.student import StudentShape
from smile_synth.probe.evaluation import ProbePlace, probe_features
from smile_synth.probe.params import ProbeParams
from smile_synth.probe.results import ProbeResults
from smile_synth.probe.subject import trained_extractor
from smile_synth.stored_student import StoredStudent


def probe_checkpoint(
    weights: Mapping[str, torch.Tensor],
    shape: StudentShape,
    params: ProbeParams,
    *,
    name: str,
    clips: Path,
    recipe_folder: Path,
    device: torch.device,
    workers: int = 2,
) -> ProbeResults:
    """Probe the weights of a student as a checkpoint holds them; the student itself is not touched.

    Args:
        weights: by published key names, whole, as ``Learner.state()["model"]`` or ``["ema"]`` gives them.
        shape: of the student.
        params: questions; baselines are left out.
        name: what is probed, for the results.
        clips: folder of rendered clips, filled on first use and kept for the next time.
        recipe_folder: what relative paths of ``params`` start from.
        device: where the encoder runs.
        workers: processes that render clips, threads that decode videos.

    Returns:
        Readings of the features ``trained``; ``figures()`` gives them by name for a log.

    Raises:
        ProbeError: a question does not fit its clips.
    """
    encoder = FrozenEncoder(StoredStudent(dict(weights), shape, name).build_encoder(), shape).to(device)
    canvas = shape.grid.canvas
    size = params.canvas or CanvasParams(height=canvas.height, width=canvas.width, frames=canvas.num_frames)
    with tempfile.TemporaryDirectory(prefix="smile-synth-probe-") as features:
        place = ProbePlace(Path(features), clips, recipe_folder, device, workers)
        return probe_features([trained_extractor(encoder, device)], params, size, place, checkpoint=name)

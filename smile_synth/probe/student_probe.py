"""Probing a student while it is trained: its own features alone, nothing kept but the clips."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from smile_synth.errors import ProbeError
from smile_synth.interop.encoder import VideoEncoder
from smile_synth.interop.stored_student import StoredStudent
from smile_synth.model.student import StudentShape
from smile_synth.probe.evaluation import ProbePlace, ask_all, prepare_materials
from smile_synth.probe.probed_model import trained_extractor
from smile_synth.probe.results import ProbeResults
from smile_synth.recipe.dataset import CanvasParams
from smile_synth.recipe.probe import ProbeParams
from smile_synth.recipe.recipe import Recipe

Evaluate = Callable[[Mapping[str, torch.Tensor], str], dict[str, float]]


def evaluation_of(recipe: Recipe) -> Callable[[StudentShape, Path, torch.device], Evaluate]:
    """Return what makes the evaluation of a training: the questions of the recipe's section ``probe``.

    Raises (when called with a student's shape, a folder and a device):
        SmileSynthError: the recipe has no such section, or its questions do not fit.
    """

    def prepare_evaluation(shape: StudentShape, folder: Path, device: torch.device) -> Evaluate:
        params, clips = recipe.section("probe"), folder / "clips"
        probe = StudentProbe(params, shape, clips=clips, recipe_folder=recipe.folder, device=device)
        return lambda weights, name: probe.ask(weights, name).metrics()

    return prepare_evaluation


class StudentProbe:
    """The questions of a recipe, ready to be put to a student again and again.

    Args:
        params: questions; baselines are left out.
        shape: of the student.
        clips: folder of rendered clips, filled now and kept for the next time.
        recipe_folder: what relative paths of ``params`` start from.
        device: where the encoder runs.
        workers: processes that render clips, threads that decode videos.

    Raises:
        ProbeError: a question does not fit its clips, or those do not fit the student.
    """

    def __init__(
        self,
        params: ProbeParams,
        shape: StudentShape,
        *,
        clips: Path,
        recipe_folder: Path,
        device: torch.device,
        workers: int = 2,
    ) -> None:
        canvas = shape.grid.canvas
        size = CanvasParams(height=canvas.height, width=canvas.width, frames=canvas.num_frames)
        if params.canvas not in (None, size):
            raise ProbeError(
                f"a student in training is probed at its own size, {canvas.num_frames} frames of {canvas.height} x "
                f"{canvas.width}; leave probe.canvas out"
            )
        self._params, self._shape = params, shape
        self._place = ProbePlace(clips / "no-features", clips, recipe_folder, device, workers)
        self._materials, _ = prepare_materials(params, size, self._place)

    def ask(self, weights: Mapping[str, torch.Tensor], name: str) -> ProbeResults:
        """Put the questions to a student's weights; the student itself is not touched.

        Args:
            weights: by published key names, whole, as a checkpoint holds them under ``model`` or ``ema``.
            name: what is probed, for the results.

        Returns:
            Readings of the features ``trained``; ``metrics()`` gives them by name for a log.
        """
        stored = StoredStudent(dict(weights), self._shape, name)
        encoder = VideoEncoder(stored.build_encoder(), self._shape).to(self._place.device)
        with tempfile.TemporaryDirectory(prefix="smile-synth-probe-") as features:
            # Training shows progress of its own.
            place = replace(self._place, features=Path(features), shown_on=io.StringIO())
            extractor = trained_extractor(encoder, place.device)
            return ask_all(self._materials, [extractor], self._params, place, checkpoint=name)

"""Watching a student: whether its features collapse, and images of its errors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from smile_synth.masking.grid import num_masked
from smile_synth.media.motion import motion_limit
from smile_synth.training.learner import DeviceBatch, Learner, Look
from smile_synth.training.metrics import MetricsLog
from smile_synth.training.pictures import captioned, mask_panels, save_png
from smile_synth.training.preflight import Job
from smile_synth.training.representation import Spread, collapse_warning, spread
from smile_synth.training.stages import MaskedStage
from smile_synth.training.view import TrainingView

CLIPS_TO_LOOK_AT = 8


class Watch:
    """Looks at a student from time to time, and shows and writes what it sees.

    Args:
        job: what is trained.
        learner: what it is trained into.
        log: gets pictures; None on all processes but the first.
        view: shows warnings.
        first_ranks: effective ranks that a resumed run began with.
    """

    def __init__(
        self, job: Job, learner: Learner, log: MetricsLog | None, view: TrainingView, first_ranks: dict[str, float]
    ) -> None:
        self._job, self._learner, self._log, self._view = job, learner, log, view
        self.first_ranks = first_ranks

    def look(self, step: int, stage: MaskedStage, clips: DeviceBatch) -> dict[str, float]:
        """Look at features and pictures where it is time to; returns what was measured of the features."""
        watching = self._job.params.watch
        wants_features = self._is_time(step, watching.features_every_steps)
        wants_picture = bool(watching.pictures_every_steps) and self._is_time(step, watching.pictures_every_steps)
        if not (wants_features or wants_picture):
            return {}
        look = self._learner.look(clips.part(0, CLIPS_TO_LOOK_AT), stage.mask, step)
        row: dict[str, float] = {}
        if wants_features:
            row = self._features(look)
            if self._learner.objective.has_zero_mean:
                row["loss_of_mean"] = self._loss_of_mean(look, stage)
        if wants_picture and self._log is not None:
            self._picture(look, step)
        return row

    def _is_time(self, step: int, every: int) -> bool:
        """Tell whether this is the first line of metrics, or a multiple of ``every`` lies since the line before."""
        before = step - self._job.params.watch.every_steps
        return before <= 0 or step // every > before // every

    def _features(self, look: Look) -> dict[str, float]:
        row = {}
        for who, tokens in (("student", look.tokens_BVD), ("target", look.target_BND)):
            now = spread(self._learner.world.gather(tokens.float()))
            row[f"{who}_std"], row[f"{who}_rank"] = now.std, now.effective_rank
            if who == "target" and not self._learner.objective.prediction_dim:
                # Motion alone has two dimensions, or eight: a low rank is no collapse.
                continue
            first = self.first_ranks.setdefault(who, now.effective_rank)
            warning = collapse_warning(who, now, Spread(now.std, first))
            if warning:
                self._view.note(f"warning: {warning}")
        return row

    def _loss_of_mean(self, look: Look, stage: MaskedStage) -> float:
        """Return what a student would lose that always predicts the mean: what training has to get below."""
        loss = self._learner.objective.loss_of_mean(
            look.targets, look.is_masked_BN, num_masked(stage.mask, self._job.grid)
        )
        return float(self._learner.world.mean(loss))

    def _picture(self, look: Look, step: int) -> None:
        motions = _motions(look, self._learner.objective.motion_std or 1.0)
        predicts_hidden = look.prediction.hidden_BMD is not None
        panels = mask_panels(
            look.frames_BTHWC[0].cpu().numpy(),
            look.is_masked_BN[0].cpu().numpy(),
            self._job.grid,
            error_N=look.error_BN[0].cpu().numpy() if predicts_hidden else None,
            motions_N2=motions,
            unpredicted=self._unpredicted(),
        )
        image = captioned(panels, f"update {step}", limit_px=motion_limit(motions[0]) if motions else None)
        save_png(image, self._job.folder.pictures / f"step-{step:08d}.png")
        if self._log is not None:
            self._log.picture("input, visible, error", image, step)

    def _unpredicted(self) -> str:
        """Return which tokens have no predicted motion, for people; empty where all have."""
        motion = self._learner.objective.motion
        return {"visible": "hidden tokens", "hidden": "visible tokens"}.get(motion.tokens, "") if motion else ""


def _motions(look: Look, unit_px: float) -> list[npt.NDArray[np.float32]]:
    """Return true and predicted motion of the first clip's tokens, (N, 2) px a frame, where motion is a target."""
    motions = (look.targets.motion_BND, look.motion_BND)
    # Quarters of a token become their mean.
    return [
        np.float32(unit_px) * torch.unflatten(motion[0], 1, (-1, 2)).nanmean(dim=1).cpu().numpy()
        for motion in motions
        if motion is not None
    ]

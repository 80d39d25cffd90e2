"""Watching a run: its speed, whether its features collapse, and images of its errors."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from smile_synth.training.cost import peak_flops
from smile_synth.training.learner import DeviceBatch, Learner, Look
from smile_synth.training.metrics import MetricsLog
from smile_synth.training.pictures import enlarged, mask_picture, save_png
from smile_synth.training.preflight import Job
from smile_synth.training.representation import Spread, collapse_warning, spread
from smile_synth.training.stages import Stage
from smile_synth.training.view import TrainingView

CLIPS_TO_LOOK_AT = 8
# Pictures of smaller frames are enlarged to about this side.
TILE_PX = 128


class Pace:
    """How fast a training goes, since its start and since the last look.

    Args:
        device: what it runs on.
        clock: seconds, never going back.
    """

    def __init__(self, device: torch.device, clock: Callable[[], float] = time.monotonic) -> None:
        self._device, self._clock = device, clock
        self._start_s = self._mark_s = clock()
        self._clips = self._mark_clips = 0
        self._waited_s = self._mark_waited_s = 0.0
        self._steps = 0
        self._first_step_s = 0.0

    def waited(self, seconds: float) -> None:
        """Count time that was spent waiting for data."""
        self._waited_s += seconds

    def trained(self, clips: int) -> None:
        """Count an update on ``clips`` clips over all processes."""
        self._clips += clips
        self._steps += 1
        if self._steps == 1:
            self._first_step_s = self._clock() - self._start_s

    def paused(self, seconds: float) -> None:
        """Leave out time that was spent on something else than training."""
        self._start_s += seconds
        self._mark_s += seconds

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start_s

    @property
    def clips_per_second(self) -> float:
        """Clips a second since the start."""
        return self._clips / max(self.seconds, 1e-9)

    @property
    def waiting_share(self) -> float:
        """Share of the time since the start that was spent waiting for data."""
        return self._waited_s / max(self.seconds, 1e-9)

    def seconds_left(self, steps: int) -> float:
        """Return how long ``steps`` more updates will take; the first update, which compiles, does not count."""
        if self._steps < 2:
            return steps * self._first_step_s
        return steps * (self.seconds - self._first_step_s) / (self._steps - 1)

    def memory_gib(self) -> float:
        """Return the largest memory so far: of the device's tensors, or of the process on CPU."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 2**30
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

    def measure(self, flops_per_clip: float, num_devices: int) -> dict[str, float]:
        """Return the pace since the last call.

        Args:
            flops_per_clip: of student and teacher for one clip with all its masks.
            num_devices: devices that share the work.
        """
        seconds = max(self._clock() - self._mark_s, 1e-9)
        clips_per_second = (self._clips - self._mark_clips) / seconds
        flops = clips_per_second * flops_per_clip
        measured = {
            "clips_per_second": clips_per_second,
            "waiting_share": (self._waited_s - self._mark_waited_s) / seconds,
            "tflops": flops / 1e12,
            "memory_gib": self.memory_gib(),
        }
        peak = peak_flops(self._device)
        if peak is not None:
            measured["utilisation"] = flops / num_devices / peak
        self._mark_s, self._mark_clips, self._mark_waited_s = self._clock(), self._clips, self._waited_s
        return measured


class Watch:
    """Looks at a training from time to time, and shows and writes what it sees.

    Args:
        job: what is trained.
        learner: what it is trained into.
        log: gets metrics; None on all processes but the first.
        view: shows metrics and warnings.
        first_ranks: effective ranks that a resumed run began with.
    """

    def __init__(
        self, job: Job, learner: Learner, log: MetricsLog | None, view: TrainingView, first_ranks: dict[str, float]
    ) -> None:
        self._job, self._learner, self._log, self._view = job, learner, log, view
        self.first_ranks = first_ranks

    def show(self, row: dict[str, Any], stage: Stage, clips: DeviceBatch, seconds_left: float) -> None:
        """Write and show a row of metrics, and look at features and pictures where it is time to."""
        watching, step = self._job.params.watch, row["step"]
        wants_features = self._is_time(step, watching.features_every_steps)
        wants_picture = bool(watching.pictures_every_steps) and self._is_time(step, watching.pictures_every_steps)
        if wants_features or wants_picture:
            look = self._learner.look(clips.part(0, CLIPS_TO_LOOK_AT), stage.mask, step)
            if wants_features:
                row.update(self._features(look))
            if wants_picture and self._log is not None:
                self._picture(look, step)
        if self._log is not None:
            self._log.write(row)
            self._view.update(row, seconds_left)

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

    def _picture(self, look: Look, step: int) -> None:
        image = mask_picture(
            look.frames_BTHWC[0].cpu().numpy(),
            look.is_masked_BN[0].cpu().numpy(),
            look.error_BN[0].cpu().numpy(),
            self._job.grid,
            _motions(look),
        )
        image = enlarged(image, TILE_PX // max(look.frames_BTHWC.shape[2:4]))
        save_png(image, self._job.folder.pictures / f"step-{step:08d}.png")
        if self._log is not None:
            self._log.picture("input, visible, error", image, step)


def _motions(look: Look) -> list[npt.NDArray[np.float32]]:
    """Return the true and the predicted motion of the first clip's tokens, (N, 2), where motion is a target."""
    motions = (look.targets.motion_BND, look.motion_BND)
    # Quarters of a token become their mean.
    return [
        torch.unflatten(motion[0], 1, (-1, 2)).nanmean(dim=1).cpu().numpy() for motion in motions if motion is not None
    ]

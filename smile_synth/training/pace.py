"""How fast a training goes: clips and arithmetic a second, time lost waiting, time left."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import torch

from smile_synth.training.cost import peak_flops


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
        return memory_nbytes(self._device) / 2**30

    def measure(self, flops_per_clip: float, num_devices: int) -> dict[str, float]:
        """Return the pace since the last call.

        Args:
            flops_per_clip: of training on one clip, with all its masks where it has any.
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


def memory_nbytes(device: torch.device) -> int:
    """Return the largest memory so far: of the device's tensors, or of the process on CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

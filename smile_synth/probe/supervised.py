"""The ceiling of a probe: the same network, trained from scratch on the answers to one question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from smile_synth.model.classifier import Classifier
from smile_synth.model.patches import normalise
from smile_synth.model.student import StudentShape
from smile_synth.probe.classifiers import Probabilities
from smile_synth.probe.clips import ClipSource
from smile_synth.probe.labels import Answers
from smile_synth.recipe.probe import SupervisedParams
from smile_synth.training.device import pick_precision

WARM_UP_SHARE = 0.1
LARGEST_GRADIENT = 1.0
CLIPS_AT_ONCE = 64


@dataclass(frozen=True)
class SupervisedNetwork:
    """A network that is trained on the answers, not frozen.

    Args:
        shape: of the student that is probed.
        params: length and rate of the training.
        device: where it is trained; in bfloat16 where the device computes in it.
    """

    shape: StudentShape
    params: SupervisedParams
    device: torch.device

    @property
    def num_inputs(self) -> int:
        """Values that it sees of a clip."""
        return self.shape.grid.num_tokens * self.shape.grid.pixels_per_token

    def fit(
        self, clips: ClipSource, answers: Answers, *, rng: np.random.Generator, advance: Callable[[int], None]
    ) -> Callable[[ClipSource], Probabilities]:
        """Train on the clips that have an answer.

        Args:
            clips: training part; its frames are held in memory.
            answers: by number of the group.
            rng: draws the weights and the order of the clips.
            advance: called with the number of epochs done.

        Returns:
            From clips to probabilities, float64 (examples, classes).
        """
        labels = answers.labels[clips.groups]
        rows = np.flatnonzero(labels >= 0)
        frames_NTHWC = np.concatenate(list(clips.batches(0, CLIPS_AT_ONCE)))
        # A probe may run inside pretraining, whose own random state must not move.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**62)))
            network = Classifier(self.shape, int(labels.max()) + 1).to(self.device)
        self._train(network.train(), frames_NTHWC, labels, rows, rng, advance)
        network.eval()
        return lambda part: self._probabilities(network, part)

    def _train(
        self,
        network: nn.Module,
        frames_NTHWC: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64],
        rng: np.random.Generator,
        advance: Callable[[int], None],
    ) -> None:
        params = self.params
        optimizer = torch.optim.AdamW(network.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay)
        steps_per_epoch = -(-len(rows) // params.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            params.learning_rate,
            total_steps=params.epochs * steps_per_epoch,
            pct_start=WARM_UP_SHARE,
            cycle_momentum=False,
        )
        for _ in range(params.epochs):
            for batch in np.array_split(rng.permutation(rows), steps_per_epoch):
                scores = self._scores(network, frames_NTHWC[batch])
                loss = functional.cross_entropy(scores, torch.from_numpy(labels[batch]).to(self.device))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
                optimizer.step()
                schedule.step()
            advance(1)

    def _scores(self, network: nn.Module, frames_BTHWC: npt.NDArray[np.uint8]) -> torch.Tensor:
        precision = pick_precision("auto", self.device)
        with torch.autocast(self.device.type, dtype=precision, enabled=precision == torch.bfloat16):
            scores: torch.Tensor = network(normalise(torch.from_numpy(frames_BTHWC).to(self.device)))
        return scores.float()

    @torch.inference_mode()
    def _probabilities(self, network: nn.Module, clips: ClipSource) -> Probabilities:
        parts = [
            self._scores(network, frames).double().softmax(dim=1).cpu().numpy()
            for frames in clips.batches(0, CLIPS_AT_ONCE)
        ]
        return np.concatenate(parts)

"""The network that is trained on the answers: it learns them, repeats itself, and leaves out clips without one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from smile_synth.masking.grid import TokenGrid
from smile_synth.model.student import StudentShape
from smile_synth.probe.labels import Answers
from smile_synth.probe.supervised import SupervisedNetwork
from smile_synth.recipe.probe import SupervisedParams
from smile_synth.recipe.student import Transformer
from smile_synth.scene import Canvas

SHAPE = StudentShape(
    Transformer(16, 1, 2), Transformer(16, 1, 2), 2.0, TokenGrid.of(Canvas(16, 16, 2), tubelet_size=2, patch_size=8), 1
)


@dataclass
class BrightOrDark:
    """Clips of noise, some of them bright."""

    is_bright: npt.NDArray[np.int64]
    name: str = "noise"
    digest: str = ""
    scenes: None = None

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        return np.arange(len(self.is_bright))

    def batches(self, first: int, batch_size: int) -> Iterator[npt.NDArray[np.uint8]]:
        frames = np.random.default_rng(len(self.is_bright)).integers(
            0, 150, (len(self.is_bright), 2, 16, 16, 3), np.uint8
        )
        frames += (80 * self.is_bright[:, None, None, None, None]).astype(np.uint8)
        for start in range(first, len(frames), batch_size):
            yield frames[start : start + batch_size]


def fit(labels: npt.NDArray[np.int64], test: BrightOrDark, shown: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    network = SupervisedNetwork(SHAPE, SupervisedParams(epochs=10, learning_rate=3e-3), torch.device("cpu"))
    answers, rng, epochs = Answers(("dark", "bright"), labels), np.random.default_rng(1), []
    fitted = network.fit(BrightOrDark(shown), answers, rng=rng, advance=epochs.append)
    assert sum(epochs) == 10
    return fitted(test)


def test_it_learns_the_answers_and_repeats_itself_without_touching_the_global_generator() -> None:
    is_bright = np.random.default_rng(0).integers(0, 2, 200)
    test = BrightOrDark(np.random.default_rng(1).integers(0, 2, 90))
    before = torch.random.get_rng_state()
    first, again = (fit(is_bright, test, is_bright) for _ in range(2))
    assert first.shape == (90, 2)
    assert (first.argmax(axis=1) == test.is_bright).mean() > 0.95
    np.testing.assert_array_equal(first, again)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_clips_without_an_answer_are_not_learned_from() -> None:
    is_bright = np.random.default_rng(0).integers(0, 2, 300)
    labels = is_bright.copy()
    labels[150:] = -1
    # Those would teach the opposite.
    shown = np.concatenate([is_bright[:150], 1 - is_bright[150:]])
    test = BrightOrDark(np.random.default_rng(1).integers(0, 2, 90))
    assert (fit(labels, test, shown).argmax(axis=1) == test.is_bright).mean() > 0.95

"""What a classifier says of videos: the probabilities of all views of a video, averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from smile_synth.downstream.learner import ClassifierLearner
from smile_synth.downstream.preflight import FinetuneJob
from smile_synth.downstream.reading import ViewReader
from smile_synth.errors import VideoError
from smile_synth.machine.cores import num_cores
from smile_synth.machine.threads import map_ahead
from smile_synth.recipe.videos import VideosParams
from smile_synth.videos.frames import Frames
from smile_synth.videos.lists import LabelledVideos

# From uint8 clips (B, T, H, W, 3) on the device to float32 scores (B, classes).
Score = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Answer:
    """What was said of one video.

    Args:
        number: of the video.
        probabilities: float32 (classes,), the mean over the views; None where the video cannot be read.
    """

    number: int
    probabilities: npt.NDArray[np.float32] | None


class Answerer:
    """Reads views ahead in threads, and averages what a classifier says of them.

    Args:
        score: the classifier.
        read: reads the views of a video.
        device: of the classifier.
        batch_size: views at a time.
        threads: that decode; by default one a core.
        skips: leave a video out that cannot be read, instead of stopping there.
    """

    def __init__(
        self,
        score: Score,
        read: ViewReader,
        *,
        device: torch.device,
        batch_size: int,
        threads: int | None,
        skips: bool,
    ) -> None:
        self._score, self._read, self._device, self._skips = score, read, device, skips
        self._batch_size, self._threads = batch_size, threads or num_cores()
        self._videos_at_once = max(1, batch_size // read.num_views)

    def answers(self, videos: LabelledVideos, numbers: Sequence[int]) -> Iterator[Answer]:
        """Yield what is said of some of the videos, in the order of ``numbers``.

        Raises:
            VideoError: a video cannot be read, and is not to be left out.
        """
        waiting: list[tuple[int, Frames | None]] = []
        for number, views in self._decoded(videos, numbers):
            waiting.append((number, views))
            if len(waiting) == self._videos_at_once:
                yield from self._ask(waiting)
                waiting.clear()
        if waiting:
            yield from self._ask(waiting)

    def _ask(self, waiting: list[tuple[int, Frames | None]]) -> Iterator[Answer]:
        there = [views for _, views in waiting if views is not None]
        if there:
            views_BTHWC = torch.from_numpy(np.concatenate(there))
            chunks = [
                self._score(chunk.to(self._device, non_blocking=True)).softmax(dim=1).cpu()
                for chunk in torch.split(views_BTHWC, self._batch_size)
            ]
            means = iter(torch.unflatten(torch.cat(chunks), 0, (len(there), -1)).mean(dim=1).numpy())
        for number, views in waiting:
            yield Answer(number, None if views is None else next(means))

    def _decoded(self, videos: LabelledVideos, numbers: Sequence[int]) -> Iterator[tuple[int, Frames | None]]:
        def read(number: int) -> tuple[int, Frames | None]:
            try:
                return number, self._read(videos.files[number])
            except VideoError:
                if not self._skips:
                    raise
                return number, None

        return map_ahead(read, numbers, threads=self._threads, name="smile-synth-views")


def share_right(job: FinetuneJob, learner: ClassifierLearner, videos: LabelledVideos) -> float:
    """Return how often the model is right on single centred views, 0 to 1, over all ranks; every rank must call it.

    Raises:
        VideoError: a video cannot be read on this rank, and is not to be left out; the others return.
    """
    world, params = job.world, job.params
    one_view = job.videos.model_copy(update={"segments": 1, "crops": 1})
    read = _BlankingReader(one_view, params.image_size)
    answerer = Answerer(
        learner.scores,
        read,
        device=world.device,
        batch_size=params.test.batch_size,
        threads=params.reading.threads,
        skips=False,
    )
    # Sharded models compute together: every rank asks as often, of videos that may not count.
    turns = -(-len(videos) // world.size)
    mine = [min(world.rank + turn * world.size, len(videos) - 1) for turn in range(turns)]
    counts = torch.zeros(2)
    for turn, answer in enumerate(answerer.answers(videos, mine)):
        assert answer.probabilities is not None
        if videos.files[answer.number] not in read.broken and world.rank + turn * world.size < len(videos):
            counts += torch.tensor([float(answer.probabilities.argmax() == videos.labels[answer.number]), 1.0])
    right, total = world.mean(counts).tolist()
    if read.broken and job.videos.on_error == "stop":
        raise next(iter(read.broken.values()))
    return right / total if total else float("nan")


class _BlankingReader(ViewReader):
    """Reads black views of a video that cannot be read.

    Attributes:
        broken: why videos cannot be read.
    """

    def __init__(self, videos: VideosParams, side: int) -> None:
        super().__init__(videos, side)
        self.broken: dict[Path, VideoError] = {}

    def __call__(self, file: Path) -> Frames:
        try:
            return super().__call__(file)
        except VideoError as error:
            self.broken[file] = error
            return np.zeros(self.shape, np.uint8)

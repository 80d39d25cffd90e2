"""Fine-tuning: a model and labelled videos in, a classifier out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TextIO

from smile_synth.downstream.answers import share_right
from smile_synth.downstream.learner import ClassifierLearner, LabelledClips
from smile_synth.downstream.preflight import FinetuneJob, build, check
from smile_synth.downstream.reading import VariedClips
from smile_synth.downstream.source import ClipBatch, ClipSource
from smile_synth.recipe.recipe import Recipe
from smile_synth.training.callbacks import Callback
from smile_synth.training.device import keep_freed_memory, naming_memory, using_threads
from smile_synth.training.distributed import join_world
from smile_synth.training.loop import TrainingLoop
from smile_synth.training.stages import Stage
from smile_synth.training.stop import StopRequest, listening
from smile_synth.training.summary import RunSummary
from smile_synth.training.task import BatchSource, Task


def finetune(
    recipe: Recipe,
    model: str,
    videos: Path,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    max_hours: float | None = None,
    heads: int | None = None,
    view: TextIO | None = sys.stderr,
    callbacks: Sequence[Callback] = (),
) -> RunSummary:
    """Fine-tune a model, from the start or from where a run stopped.

    Args:
        recipe: with sections ``finetune`` and ``videos``.
        model: ``scratch``, or a run, an export, a published ``.pth`` or a Hugging Face folder.
        videos: folder of the dataset.
        out: the run's folder.
        resume: resume from the latest checkpoint in ``out``; without one, start.
        device: ``auto``, ``cpu`` or ``cuda``.
        max_hours: write a checkpoint and return after so long.
        heads: attention heads of the model, where its file does not tell.
        view: where to show progress; None shows nothing.
        callbacks: are told of steps, epochs and checkpoints.

    Returns:
        What was done; ``reason`` says why where it ended early.

    Raises:
        SmileSynthError: something does not fit, before any work starts; or a video cannot be read.
    """
    threads = recipe.section("finetune").runtime.threads
    with listening(StopRequest(max_hours)) as stop, join_world(device) as world, using_threads(threads):
        if world.device.type == "cpu":
            keep_freed_memory()
        job = check(recipe, model, videos, out, resume=resume, world=world, heads=heads)
        loop = TrainingLoop(Finetuning(job, build(job)), stop, view if world.is_first else None, callbacks)
        # The first process makes files that the others' checks must not find.
        world.barrier()
        with naming_memory(world.device), job.folder.locked() if world.is_first else nullcontext():
            return loop.run()


class Finetuning(Task[Stage, ClipBatch, LabelledClips]):
    """A classifier that learns from labelled videos.

    Args:
        job: what ``check`` returned.
        learner: what ``build`` made of it.
    """

    section = "finetune"

    def __init__(self, job: FinetuneJob, learner: ClassifierLearner) -> None:
        super().__init__(job, learner, [job.stage], job.params.watch, job.params.checkpoint)
        self.job, self.learner = job, learner

    @property
    def evaluates_every_epochs(self) -> int:
        return self.job.params.watch.evaluate_every_epochs

    def opening(self) -> list[str]:
        params, depth = self.job.params, self.job.shape.encoder.depth
        trained = sum(p.numel() for p in self.learner.classifier.parameters() if p.requires_grad)
        what = "the head alone" if params.freeze else f"the last {params.layers or depth} of {depth} blocks"
        lines = [f"starting from {self.job.start_text}", f"trained: {what}, {trained / 1e6:.3g} M parameters"]
        if self.job.missing:
            lines.append(f"{self.job.missing} listed videos are missing and left out (videos.on_error is skip)")
        return lines

    def size_text(self) -> str:
        params, train = self.job.params, self.job.train
        return (
            f"{len(train)} videos of {len(train.classes)} classes, batch {params.batch_size} videos x "
            f"{params.vary.repeats} clips"
        )

    def open(self, number: int, stage: Stage, position: Mapping[str, Any] | None) -> ClipSource:
        source = open_source(self.job, self.job.params.batch_size)
        if position is not None:
            source.load_position(position)
        return source

    def skipped(self, source: BatchSource[ClipBatch]) -> str:
        assert isinstance(source, ClipSource)
        if not source.skipped:
            return ""
        files = sorted(set(source.skipped))
        return (
            f"{len(source.skipped)} times one of {len(files)} broken videos was skipped, "
            f"for the next one of the epoch; the first was {files[0]}"
        )

    def on_device(self, batch: ClipBatch, step: int) -> LabelledClips:
        device = self.job.world.device
        frames = batch.frames_BTHWC.to(device, non_blocking=True)
        return LabelledClips(frames, batch.labels_B.to(device, non_blocking=True), batch.first)

    def content(self) -> dict[str, Any]:
        canvas = self.job.shape.grid.canvas
        return {
            "student": self.job.shape.to_dict(),
            "canvas": {"height": canvas.height, "width": canvas.width, "frames": canvas.num_frames},
            "stores": [self.job.train.digest],
            "classes": list(self.job.train.classes),
        }

    def evaluate(self, step: int) -> dict[str, float]:
        assert self.job.validation is not None
        with self.learner.averaged():
            return {"validation/top1": share_right(self.job, self.learner, self.job.validation)}


def open_source(job: FinetuneJob, batch_size: int) -> ClipSource:
    """Return the source of a job's training clips, ``batch_size`` videos at a time over all processes."""
    params, reading, world = job.params, job.params.reading, job.world
    return ClipSource(
        job.train,
        VariedClips(job.videos, params.vary, params.image_size),
        repeats=params.vary.repeats,
        batch_size=batch_size,
        seed=job.recipe.seed,
        rank=world.rank,
        world_size=world.size,
        last=reading.last,
        on_error=job.videos.on_error,
        prefetch=reading.prefetch_batches,
        threads=reading.threads,
        pin=world.device.type == "cuda",
    )

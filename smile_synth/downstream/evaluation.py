"""Testing a classifier on labelled videos: accuracy with intervals, classes, and every prediction."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from smile_synth.downstream.answers import Answerer
from smile_synth.downstream.reading import ViewReader
from smile_synth.errors import TrainingError
from smile_synth.files import replace_file
from smile_synth.interop.stored_student import StoredStudent
from smile_synth.model.patches import normalise
from smile_synth.randomness import stream
from smile_synth.recipe.finetune import EvaluationParams
from smile_synth.recipe.videos import VideosParams
from smile_synth.score import Interval, bootstrap_mean, confusion_matrix
from smile_synth.training.device import Precision, pick_precision
from smile_synth.videos.lists import LabelledVideos

SAVE_EVERY_S = 60.0
PARTIAL = "partial.npz"
TOP = 5

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a classifier said of videos.

    Args:
        videos: that were asked about; their classes name the columns.
        probabilities: float32 (videos, classes), the mean over all views; NaN for videos that cannot be read.
        views: of a video.
        resamples: bootstrap resamples behind an interval.
    """

    videos: LabelledVideos
    probabilities: Probabilities
    views: int
    resamples: int

    @property
    def was_read(self) -> npt.NDArray[np.bool_]:
        """Which videos could be read, (videos,)."""
        return np.asarray(np.isfinite(self.probabilities).all(axis=1), np.bool_)

    @property
    def broken(self) -> list[Path]:
        """Videos that could not be read; they count nowhere."""
        return [file for file, is_read in zip(self.videos.files, self.was_read, strict=True) if not is_read]

    @property
    def answers(self) -> npt.NDArray[np.int64]:
        """The likeliest class of every video that was read, int64."""
        return np.asarray(self.probabilities[self.was_read].argmax(axis=1), np.int64)

    @property
    def truth(self) -> npt.NDArray[np.int64]:
        """The class of every video that was read, int64."""
        return np.asarray(self.videos.labels[self.was_read], np.int64)

    def top(self, count: int) -> Interval:
        """Return how often the right class is among the ``count`` likeliest ones."""
        likeliest = np.argsort(-self.probabilities[self.was_read], axis=1, kind="stable")[:, :count]
        is_right = (likeliest == self.truth[:, None]).any(axis=1)
        rng = stream(0, "evaluation", count)
        return bootstrap_mean(is_right.astype(np.float64), resamples=self.resamples, rng=rng)

    @property
    def confusion(self) -> npt.NDArray[np.int64]:
        """How often a class (row) got an answer (column), int64 (classes, classes)."""
        return confusion_matrix(self.answers, self.truth, len(self.videos.classes))


def evaluate(
    model: StoredStudent,
    videos: LabelledVideos,
    params: VideosParams,
    test: EvaluationParams,
    out: Path,
    *,
    device: torch.device,
    precision: Precision = "auto",
    threads: int | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> Evaluation:
    """Ask a classifier about videos; what was asked so far is kept, so that the same call resumes.

    Args:
        model: a fine-tuned one.
        videos: to ask about.
        params: how many views a video has, and how they are read.
        test: batch size and resamples.
        out: folder of the results, made where there is none.
        device: of the classifier.
        precision: of its arithmetic.
        threads: that decode; by default one a core.
        advance: told how many videos are done.

    Raises:
        SmileSynthError: the model is no classifier of these classes, or a video cannot be read.
    """
    columns = columns_of(model, videos)
    side = model.shape.grid.canvas.height
    classifier = model.build_classifier().to(device).eval()
    read = ViewReader(params, side)
    answerer = Answerer(
        _score(classifier, device, pick_precision(precision, device)),
        read,
        device=device,
        batch_size=test.batch_size,
        threads=threads,
        skips=params.on_error == "skip",
    )
    out.mkdir(parents=True, exist_ok=True)
    key = _key(model, videos, params)
    probabilities, done = _resume(out / PARTIAL, key, len(videos), len(videos.classes))
    advance(done)
    saved_s = time.monotonic()
    try:
        for answer in answerer.answers(videos, range(done, len(videos))):
            if answer.probabilities is not None:
                probabilities[answer.number] = answer.probabilities[columns]
            done += 1
            advance(1)
            if time.monotonic() - saved_s > SAVE_EVERY_S:
                _save(out / PARTIAL, key, probabilities, done)
                saved_s = time.monotonic()
    except BaseException:
        _save(out / PARTIAL, key, probabilities, done)
        raise
    found = Evaluation(videos, probabilities, read.num_views, test.resamples)
    if not found.was_read.any():
        raise TrainingError(f"not one of {len(videos)} videos can be read, such as {videos.files[0]}")
    (out / PARTIAL).unlink(missing_ok=True)
    return found


def columns_of(model: StoredStudent, videos: LabelledVideos) -> npt.NDArray[np.int64]:
    """Return which of the model's scores is that of each class of the videos, int64 (classes,).

    Raises:
        TrainingError: the model has other classes.
    """
    if not model.classes:
        if model.num_classes not in (0, len(videos.classes)):
            raise TrainingError(
                f"{model.source} has {model.num_classes} classes without names, the videos have {len(videos.classes)}"
            )
        return np.arange(len(videos.classes))
    place = {name: number for number, name in enumerate(model.classes)}
    unknown = [name for name in videos.classes if name not in place]
    if unknown:
        raise TrainingError(
            f"{model.source} was not trained on class {unknown[0]!r} ({len(unknown)} of the videos' "
            f"{len(videos.classes)} classes); it knows {', '.join(model.classes[:5])}, …"
        )
    return np.array([place[name] for name in videos.classes], np.int64)


def _score(classifier: nn.Module, device: torch.device, precision: torch.dtype) -> Callable[[torch.Tensor], Any]:
    is_low = precision == torch.bfloat16

    @torch.no_grad()
    def score(frames_BTHWC: torch.Tensor) -> Any:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_low):
            return classifier(normalise(frames_BTHWC)).float()

    return score


def _key(model: StoredStudent, videos: LabelledVideos, params: VideosParams) -> str:
    digest = hashlib.sha256(f"{videos.digest}/{params.model_dump_json()}/{model.shape}".encode())
    for name, value in sorted(model.encoder_weights.items()):
        digest.update(f"{name}/{value.double().sum().item()!r}/{value.double().square().sum().item()!r}".encode())
    return digest.hexdigest()


def _resume(file: Path, key: str, num_videos: int, num_classes: int) -> tuple[Probabilities, int]:
    if file.is_file():
        with np.load(file) as kept:
            if str(kept["key"]) == key:
                return np.array(kept["probabilities"]), int(kept["done"])
    return np.full((num_videos, num_classes), np.nan, np.float32), 0


def _save(file: Path, key: str, probabilities: Probabilities, done: int) -> None:
    replace_file(file, lambda draft: np.savez(draft, key=key, probabilities=probabilities, done=done))


def write_results(found: Evaluation, out: Path, **said: Any) -> list[Path]:
    """Write what came out.

    Args:
        found: what was said of the videos.
        out: folder; exists.
        said: more to say in ``evaluation.json``, such as the model.

    Returns:
        The files: numbers, classes, picture, predictions.
    """
    from smile_synth.downstream.pictures import draw_confusion

    files = [out / name for name in ("evaluation.json", "classes.csv", "confusion.png", "predictions.npz")]
    values: dict[str, Any] = {
        "top1": vars(found.top(1)),
        **({f"top{TOP}": vars(found.top(TOP))} if len(found.videos.classes) > TOP else {}),
        "videos": int(found.was_read.sum()),
        "broken": [str(file) for file in found.broken],
        "views": found.views,
        "classes": len(found.videos.classes),
        **said,
    }
    replace_file(files[0], json.dumps(values, indent=2) + "\n")
    replace_file(files[1], class_table(found))
    top = found.top(1)
    title = f"top-1 {100 * top.value:.1f} % [{100 * top.low:.1f}, {100 * top.high:.1f}]"
    replace_file(files[2], lambda draft: draw_confusion(found.confusion, found.videos.classes, title, draft))
    replace_file(
        files[3],
        lambda draft: np.savez_compressed(
            draft,
            files=np.array([str(file) for file in found.videos.files]),
            classes=np.array(found.videos.classes),
            labels=found.videos.labels,
            probabilities=found.probabilities,
        ),
    )
    return files


def class_table(found: Evaluation) -> str:
    """Return the accuracy of every class as CSV, the worst first, with what it was most often taken for."""
    counts, classes = found.confusion, found.videos.classes
    rows = []
    for number, name in enumerate(classes):
        total, wrong = int(counts[number].sum()), counts[number].copy()
        wrong[number] = 0
        taken_for = classes[int(wrong.argmax())] if wrong.any() else ""
        share = counts[number, number] / total if total else float("nan")
        rows.append((share, name, total, int(counts[number, number]), taken_for, int(wrong.max(initial=0))))
    rows.sort(key=lambda row: (np.isnan(row[0]), row[0], row[1]))
    lines = ["class,videos,right,share,taken for,times"]
    for share, name, total, right, taken_for, times in rows:
        lines.append(f"{_quoted(name)},{total},{right},{share:.4f},{_quoted(taken_for)},{times}")
    return "\n".join(lines) + "\n"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(char in name for char in ',"\n') else name

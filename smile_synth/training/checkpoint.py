"""Checkpoints: one file with everything that a run needs to go on, written whole or not at all.

A checkpoint is a dictionary of plain values and tensors, readable with ``torch.load(path, weights_only=True)``:

=============  ==================================================================================================
``format``     ``smile-synth checkpoint``, and ``version``, 1
``model``      the student's weights by published key names, float32, whole whatever the number of processes
``ema``        the moving average of the weights, or None
``optimizer``  AdamW's moments by parameter name
``step``       updates done in all; ``stage`` and ``stage_step`` count within the recipe's stages
``loader``     position of the loader after the last batch that was trained on
``recipe``     the resolved recipe
``canvas``     height, width and frames of the clips
``stages``     names of the stages and updates of each
``stores``     digests of the stores that it is trained on
``watch``      what the watch needs to go on: the first effective ranks it saw
=============  ==================================================================================================

No random state is stored: every update's randomness is a function of (seed, stage, update, place in the batch).
"""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from torch import nn

from smile_synth.errors import CheckpointError
from smile_synth.model.weights import check_archive
from smile_synth.training.optimizer import like, whole

FORMAT = "smile-synth checkpoint"
VERSION = 1
LATEST = "latest.pt"
REQUIRED = ("model", "optimizer", "step", "stage", "stage_step", "loader", "recipe", "canvas", "stages")


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run: the latest, and milestones.

    Args:
        folder: where they lie; made when the first is saved.
        keep_milestones: how many milestones are kept, the newest.
    """

    folder: Path
    keep_milestones: int = 5

    @property
    def latest(self) -> Path:
        """The file of the latest state."""
        return self.folder / LATEST

    def kept(self) -> list[Path]:
        """Return milestones and ends of stages, the newest last."""
        files = [*self.folder.glob("step-*.pt"), *self.folder.glob("stage-*.pt")]
        return sorted(files, key=lambda file: (file.stat().st_mtime_ns, file.name))

    def save(self, state: Mapping[str, Any], *, milestone: bool = False, stage_end: str = "") -> Path:
        """Write the latest state, and keep it as a milestone or as the end of a stage where asked.

        Args:
            state: what the module's docstring lists.
            milestone: keep it, and let go of the oldest milestone beyond ``keep_milestones``.
            stage_end: name of the stage that ends here; such a file is kept always.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically({"format": FORMAT, "version": VERSION, **state}, self.latest)
        if stage_end:
            self._keep(self.folder / f"stage-{stage_end}.pt")
        elif milestone:
            self._keep(self.folder / f"step-{state['step']:08d}.pt")
            for old in sorted(self.folder.glob("step-*.pt"))[: -self.keep_milestones]:
                old.unlink()
        return self.latest

    def _keep(self, path: Path) -> None:
        """Give the latest state a second name; the next save replaces ``latest.pt`` and leaves this one."""
        unfinished = path.with_name(f".{path.name}.unfinished")
        unfinished.unlink(missing_ok=True)
        try:
            os.link(self.latest, unfinished)
        except OSError:  # a file system without hard links
            shutil.copyfile(self.latest, unfinished)
        os.replace(unfinished, path)


def write_atomically(state: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint so that ``path`` holds either what it held before or all of ``state``, even after a crash.

    Args:
        state: plain values and tensors.
        path: its folder exists.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, without running anything that it may hold.

    Raises:
        CheckpointError: there is none, it is damaged, or it is not ours.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}; start without --resume, or check the run folder")
    try:
        check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError, BadZipFile) as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(
            f"checkpoint {path} is damaged or not a checkpoint ({reason}); "
            f"copy a milestone over it to go on from there, if {path.parent} has one, or start a new run"
        ) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of smile-synth; resume needs checkpoints/{LATEST} of a run")
    if state["version"] != VERSION:
        raise CheckpointError(f"checkpoint {path} has version {state['version']}, this smile-synth reads {VERSION}")
    absent = [key for key in REQUIRED if key not in state]
    if absent:
        raise CheckpointError(f"checkpoint {path} lacks {', '.join(absent)}")
    return state


def model_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return a model's weights by name, whole and on the CPU; every rank must call it."""
    return {name: whole(value) for name, value in model.state_dict().items()}


def load_model_state(model: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Set a model's weights from ``model_state``, sharded as the model is.

    Raises:
        CheckpointError: a key is absent, too many, or of another shape.
    """
    own = model.state_dict()
    odd = sorted(set(own) ^ set(state))
    if odd:
        where = "the checkpoint" if odd[0] in own else "the recipe's student"
        raise CheckpointError(f"{len(odd)} weights do not match, such as {odd[0]!r}, which {where} does not have")
    for name, value in own.items():
        if tuple(value.shape) != tuple(state[name].shape):
            raise CheckpointError(
                f"weight {name!r} has shape {tuple(state[name].shape)} in the checkpoint and {tuple(value.shape)} "
                f"in the recipe's student; resume with the recipe that the run was started with"
            )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(like(state[name], value))

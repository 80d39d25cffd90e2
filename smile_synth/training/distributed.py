"""Processes that train together: which one we are, and what all must agree on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from smile_synth.errors import TrainingError
from smile_synth.training.device import pick_device

JOIN_TIMEOUT = timedelta(minutes=30)
FIRST_SLURM_PORT = 15000
NUM_SLURM_PORTS = 20000


@dataclass(frozen=True)
class RankInfo:
    """Which of the processes that train together this one is.

    Args:
        rank: 0 to ``size - 1``.
        size: processes in all.
        local_rank: number on this host, which is also that of its CUDA device.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise TrainingError(f"a rank must be 0 to {self.size - 1}, got {self.rank}; check the launcher's variables")


def find_rank(environment: Mapping[str, str]) -> tuple[RankInfo, dict[str, str]]:
    """Return which process we are and what rendezvous needs, from torchrun's or Slurm's variables.

    Args:
        environment: such as ``os.environ``.

    Returns:
        Ours, and values for ``MASTER_ADDR`` and ``MASTER_PORT`` (empty for a single process).

    Raises:
        TrainingError: the variables contradict each other.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return _torchrun_rank(environment)
    # A batch script without srun has SLURM_PROCID too, but is one process: only a step counts.
    if "SLURM_STEP_ID" in environment and "SLURM_PROCID" in environment:
        return _slurm_rank(environment)
    return RankInfo(), {}


def _torchrun_rank(environment: Mapping[str, str]) -> tuple[RankInfo, dict[str, str]]:
    rank, size = _number(environment, "RANK"), _number(environment, "WORLD_SIZE")
    info = RankInfo(rank, size, _number(environment, "LOCAL_RANK", rank))
    master = {key: environment[key] for key in ("MASTER_ADDR", "MASTER_PORT") if key in environment}
    if size > 1 and len(master) < 2:
        raise TrainingError("RANK and WORLD_SIZE are set but MASTER_ADDR or MASTER_PORT is not; start with torchrun")
    return info, master


def _slurm_rank(environment: Mapping[str, str]) -> tuple[RankInfo, dict[str, str]]:
    size_key = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"
    size = _number(environment, size_key, 1)
    info = RankInfo(_number(environment, "SLURM_PROCID"), size, _number(environment, "SLURM_LOCALID", 0))
    if size == 1:
        return info, {}
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    port = FIRST_SLURM_PORT + _number(environment, "SLURM_JOB_ID", 0) % NUM_SLURM_PORTS
    master = {"MASTER_ADDR": first_host(nodes), "MASTER_PORT": str(port)}
    return info, {key: environment.get(key, value) for key, value in master.items()}


def first_host(nodes: str) -> str:
    """Return the first host of a Slurm node list such as ``gpu[03-05,9],cpu1``.

    Raises:
        TrainingError: the list names no host.
    """
    match = re.match(r"(?P<stem>[^\[,\s]+)(?:\[(?P<first>\d+)[^\]]*\](?P<tail>[^,\s]*))?", nodes)
    if match is None:
        raise TrainingError(f"Slurm's node list names no host, got {nodes!r}; set MASTER_ADDR and MASTER_PORT")
    return match["stem"] + (match["first"] or "") + (match["tail"] or "")


def _number(environment: Mapping[str, str], key: str, default: int | None = None) -> int:
    text = environment.get(key, "" if default is None else str(default))
    if not text.isdigit():
        raise TrainingError(f"{key} must be a whole number, got {text!r}; check the launcher's variables")
    return int(text)


@dataclass(frozen=True)
class World:
    """The processes that train together, seen from one of them.

    Args:
        info: which of them we are.
        device: what we compute on.
    """

    info: RankInfo
    device: torch.device

    @property
    def rank(self) -> int:
        """Our number, 0 to ``size - 1``."""
        return self.info.rank

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self.info.size

    @property
    def is_first(self) -> bool:
        """Whether we are the one that writes files and talks."""
        return self.info.rank == 0

    def any(self, flag: bool) -> bool:
        """Tell whether the flag is set on any rank; every rank gets the same answer."""
        if self.size == 1:
            return flag
        votes = torch.tensor([float(flag)])
        dist.all_reduce(votes, op=dist.ReduceOp.MAX)
        return bool(votes.item())

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean of ``values`` over the ranks, on their own device."""
        if self.size == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.size

    def barrier(self) -> None:
        """Wait until every rank is here."""
        if self.size > 1:
            self.any(False)


@contextmanager
def join_world(device: str = "auto") -> Iterator[World]:
    """Join the processes that a launcher started, or be alone.

    Args:
        device: ``cpu``, ``cuda`` or ``auto`` (CUDA where there is one).

    Raises:
        TrainingError: the device is not there, or the launcher's variables are wrong.
    """
    info, master = find_rank(os.environ)
    world = World(info, pick_device(device, info.local_rank))
    if info.size == 1:
        yield world
        return
    os.environ.update(master)
    backend = "cpu:gloo,cuda:nccl" if world.device.type == "cuda" else "gloo"
    dist.init_process_group(backend, rank=info.rank, world_size=info.size, timeout=JOIN_TIMEOUT)
    try:
        yield world
    finally:
        dist.destroy_process_group()

"""Processes that train together: which one we are, and what all must agree on."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d as c10d
from torch.distributed.rendezvous import rendezvous

from smile_synth.errors import TrainingError
from smile_synth.training.device import pick_device

JOIN_TIMEOUT = COLLECTIVE_TIMEOUT = timedelta(minutes=30)
FIRST_SLURM_PORT = 15000
NUM_SLURM_PORTS = 20000
EXIT_FAILED = 2
POLL_S = 0.1
LONGEST_END_S = 5.0
LONGEST_SILENCE_S = 60.0
# Keys of the shared store: the first rank that failed, how many ended for it, and that it needs the store no more.
FAILED, ENDED, TOLD = "failed", "ended", "told"


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
        store: how they exchange anything but tensors; None for a single process.
    """

    info: RankInfo
    device: torch.device
    store: c10d.Store | None = None
    _told: list[int] = field(default_factory=lambda: [0], repr=False)

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

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        """Return ``values`` of all ranks one behind the other, along the first axis; shapes must be alike."""
        if self.size == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.size)]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    def from_first(self, work: Callable[[], Any]) -> Any:
        """Do work on the first rank while the others wait, however long that takes; every rank must call it.

        Args:
            work: returns what JSON can hold. Where it fails, all ranks end (``join_world``).

        Returns:
            What the work returned, on every rank.
        """
        if self.store is None:
            return work()
        self._told[0] += 1
        key = f"from first/{self._told[0]}"
        if self.is_first:
            result = work()
            self.store.set(key, json.dumps(result))
            return result
        # A collective would give up after COLLECTIVE_TIMEOUT. Where the first rank fails, our watch ends us.
        while not self.store.check([key]):
            time.sleep(POLL_S)
        return json.loads(self.store.get(key))

    def await_end(self) -> NoReturn:
        """Wait until our watch ends this process, for another rank has failed and says why.

        Raises:
            TrainingError: that rank does not end within a minute.
        """
        time.sleep(LONGEST_SILENCE_S)
        raise TrainingError(f"another process than {self.rank} failed, and did not say why within a minute")

    def barrier(self) -> None:
        """Wait until every rank is here."""
        if self.size > 1:
            self.any(False)


@contextmanager
def join_world(device: str = "auto") -> Iterator[World]:
    """Join the processes that a launcher started, or be alone.

    An error on one rank ends all of them: that rank's error is raised there, the others exit without a word.

    Args:
        device: ``cpu``, ``cuda`` or ``auto`` (CUDA where there is one).

    Raises:
        TrainingError: the device is not there, or the launcher's variables are wrong.
    """
    info, master = find_rank(os.environ)
    if info.size == 1:
        yield World(info, pick_device(device, info.local_rank))
        return
    os.environ.update({**master, "RANK": str(info.rank), "WORLD_SIZE": str(info.size)})
    store, _, _ = next(iter(rendezvous("env://", info.rank, info.size, timeout=JOIN_TIMEOUT)))
    with ending_together(store, info):
        world = World(info, pick_device(device, info.local_rank), c10d.PrefixStore("world", store))
        backend = "cpu:gloo,cuda:nccl" if world.device.type == "cuda" else "gloo"
        dist.init_process_group(
            backend,
            store=c10d.PrefixStore("group", store),
            rank=info.rank,
            world_size=info.size,
            timeout=COLLECTIVE_TIMEOUT,
            device_id=world.device if world.device.type == "cuda" else None,
        )
        yield world
        dist.destroy_process_group()


@contextmanager
def ending_together(store: c10d.Store, info: RankInfo) -> Iterator[None]:
    """End all ranks as soon as one fails: the first to fail raises its error, the others exit without a word.

    Args:
        store: shared by the ranks.
        info: which of them we are.
    """
    done = threading.Event()
    watch = threading.Thread(target=_end_with_others, args=(store.clone(), info, done), daemon=True)
    watch.start()
    try:
        yield
    except BaseException:
        done.set()
        watch.join()
        if int(store.compare_set(FAILED, "", str(info.rank))) != info.rank:
            # The end of another rank breaks our collectives; that rank says why.
            _end(store, info)
        _wait_for_others(store, info)
        raise
    done.set()
    watch.join()


def _end_with_others(store: c10d.Store, info: RankInfo, done: threading.Event) -> None:
    """Exit once another rank has failed, wherever the main thread is: a collective may never return."""
    while not done.wait(POLL_S):
        if store.check([FAILED]) and int(store.get(FAILED)) != info.rank:
            _end(store, info)


def _end(store: c10d.Store, info: RankInfo) -> NoReturn:
    """Exit without a word; the first rank, which may hold the store, once the others need it no more."""
    if info.rank == 0:
        until = time.monotonic() + 2 * LONGEST_END_S
        while not store.check([TOLD]) and time.monotonic() < until:
            time.sleep(POLL_S)
    else:
        store.add(ENDED, 1)
    os._exit(EXIT_FAILED)


def _wait_for_others(store: c10d.Store, info: RankInfo) -> None:
    """Let the others see that we failed, before the store ends with the first rank."""
    until = time.monotonic() + LONGEST_END_S
    others = info.size - (1 if info.rank == 0 else 2)
    while store.add(ENDED, 0) < others and time.monotonic() < until:
        time.sleep(POLL_S)
    store.set(TOLD, "")

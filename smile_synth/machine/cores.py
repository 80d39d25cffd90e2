"""How many processor cores there are for us."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path


def num_cores() -> int:
    """Return how many cores this process may use, at least 1.

    A batch system or a container may have cut them down by affinity, or by a quota of processor time (cgroup v1 or v2),
    of which every whole core counts.
    """
    if hasattr(os, "process_cpu_count"):  # Python 3.13, which also heeds -X cpu_count
        allowed = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, int(min(allowed, quota_of(Path("/")))))


def cores_of_a_rank(environment: Mapping[str, str], cores: int) -> int:
    """Return how many cores each of the processes that train together on this host has for itself, at least 1.

    Args:
        environment: such as ``os.environ``, with the variables of torchrun or Slurm.
        cores: that this process may use.
    """
    ranks = environment.get("LOCAL_WORLD_SIZE", "")
    # A batch script without srun has Slurm's numbers too, but is one process: only a step counts.
    if not ranks and "SLURM_STEP_ID" in environment and cores >= _number(environment.get("SLURM_CPUS_ON_NODE", "")):
        # With fewer cores than the step has here, srun has bound each task to its own already.
        ranks = environment.get("SLURM_STEP_TASKS_PER_NODE") or environment.get("SLURM_NTASKS_PER_NODE", "")
    return max(1, cores // max(1, _number(ranks)))


def _number(text: str) -> int:
    """Return the first number of a list such as ``8(x2),4``, 0 where there is none."""
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 0


def quota_of(root: Path) -> float:
    """Return the cores that this process's control groups, and those above them, grant; infinity where none limits.

    Args:
        root: of the file system; ``/`` outside of tests.
    """
    return min(_quotas(root), default=float("inf"))


def _quotas(root: Path) -> Iterator[float]:
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0":
            read, mounts = _quota_v2, ("sys/fs/cgroup", "sys/fs/cgroup/unified")
        elif "cpu" in controllers.split(","):
            read, mounts = _quota_v1, ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct")
        else:
            continue
        inner = Path(group.lstrip("/"))
        # A container sees its own group at the mount's root; a limit may also sit on any group above.
        for mount in mounts:
            for folder in {inner, *inner.parents}:
                quota = read(root / mount / folder)
                if quota is not None:
                    yield quota


def _quota_v2(folder: Path) -> float | None:
    return _cores(_text(folder / "cpu.max").split())


def _quota_v1(folder: Path) -> float | None:
    return _cores([_text(folder / name).strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")])


def _cores(quota_and_period: list[str]) -> float | None:
    """Return microseconds over microseconds; None for ``max``, -1, or what is not there."""
    if len(quota_and_period) != 2 or not all(text.isdigit() for text in quota_and_period):
        return None
    quota, period = map(int, quota_and_period)
    return quota / period if period else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):  # no such control group
        return ""

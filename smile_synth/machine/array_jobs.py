"""Which of many equal jobs this one is, from the variables of Slurm, Kubernetes or SkyPilot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from smile_synth.errors import ClusterError

COUNT_VARIABLE = "SMILE_SYNTH_SHARD_COUNT"
BY_HAND = "name the part by hand, such as --shards 3/16"


@dataclass(frozen=True)
class ArrayPlace:
    """The place of this job among those that share one piece of work.

    Args:
        place: 1 to ``count``.
        count: how many jobs there are.
        source: the system and its variables, for people.
    """

    place: int
    count: int
    source: str


def find_place(environment: Mapping[str, str], count: int | None = None) -> ArrayPlace:
    """Return which of many equal jobs this one is.

    Args:
        environment: such as ``os.environ``.
        count: how many jobs there are, where the user says so; ``SMILE_SYNTH_SHARD_COUNT`` says the same. Kubernetes
            does not tell it to a job; of the other systems it must be theirs.

    Raises:
        ClusterError: no system is found, or what it says is incomplete or contradictory.
    """
    given = _given_count(environment, count)
    found = [place for find in (_slurm, _kubernetes, _skypilot) if (place := find(environment, given)) is not None]
    if not found:
        raise ClusterError(
            "--shards auto finds no array job here: neither SLURM_ARRAY_TASK_ID (Slurm), JOB_COMPLETION_INDEX "
            f"(Kubernetes) nor SKYPILOT_NODE_RANK (SkyPilot) is set; {BY_HAND}"
        )
    first = found[0]
    for other in found[1:]:
        if (other.place, other.count) != (first.place, first.count):
            raise ClusterError(
                f"--shards auto finds two array jobs: {first.place}/{first.count} by {first.source}, and "
                f"{other.place}/{other.count} by {other.source}; {BY_HAND}"
            )
    if given is not None and first.count != given:
        raise ClusterError(
            f"--shards auto should take one of {given} parts, but there are {first.count} by {first.source}; "
            f"make the numbers equal, or {BY_HAND}"
        )
    if not 1 <= first.place <= first.count:
        raise ClusterError(f"--shards auto finds part {first.place} of {first.count} by {first.source}; {BY_HAND}")
    return first


def _given_count(environment: Mapping[str, str], count: int | None) -> int | None:
    if COUNT_VARIABLE not in environment:
        return count
    stated = _number(environment, COUNT_VARIABLE)
    if count is not None and count != stated:
        raise ClusterError(f"--shards auto/{count} contradicts {COUNT_VARIABLE}={stated}; give one of them")
    return stated


def _slurm(environment: Mapping[str, str], _given: int | None) -> ArrayPlace | None:
    if "SLURM_ARRAY_TASK_ID" not in environment:
        return None
    number, count = (_number(environment, f"SLURM_ARRAY_TASK_{name}") for name in ("ID", "COUNT"))
    first, step = (
        _number(environment, f"SLURM_ARRAY_TASK_{name}", default) for name, default in (("MIN", 0), ("STEP", 1))
    )
    last = _number(environment, "SLURM_ARRAY_TASK_MAX", first + (count - 1) * step)
    source = f"Slurm (SLURM_ARRAY_TASK_ID={number}, array {first}-{last}" + (f":{step})" if step != 1 else ")")
    # A list such as 1,2,5 says where it begins and ends and how long it is, but not which places are left out.
    if step < 1 or (number - first) % step or last != first + (count - 1) * step:
        raise ClusterError(
            f"--shards auto needs an array without gaps, such as --array=0-15, got {count} tasks by {source}; to "
            f"render single parts again, {BY_HAND}"
        )
    return ArrayPlace((number - first) // step + 1, count, source)


def _kubernetes(environment: Mapping[str, str], given: int | None) -> ArrayPlace | None:
    if "JOB_COMPLETION_INDEX" not in environment:
        return None
    index = _number(environment, "JOB_COMPLETION_INDEX")
    if given is None:
        raise ClusterError(
            f"Kubernetes says JOB_COMPLETION_INDEX={index} but not of how many; write the job's completions, such as "
            f"--shards auto/16 or {COUNT_VARIABLE}=16"
        )
    return ArrayPlace(index + 1, given, f"Kubernetes (JOB_COMPLETION_INDEX={index}, count {given} given)")


def _skypilot(environment: Mapping[str, str], _given: int | None) -> ArrayPlace | None:
    if "SKYPILOT_NODE_RANK" not in environment:
        return None
    rank, count = (_number(environment, name) for name in ("SKYPILOT_NODE_RANK", "SKYPILOT_NUM_NODES"))
    return ArrayPlace(rank + 1, count, f"SkyPilot (SKYPILOT_NODE_RANK={rank}, SKYPILOT_NUM_NODES={count})")


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name)
    if text is None and default is not None:
        return default
    if text is None or not (text.isascii() and text.isdecimal()):
        raise ClusterError(
            f"--shards auto needs {name} as a whole number, {'which is not set' if text is None else f'got {text!r}'}; "
            f"{BY_HAND}"
        )
    return int(text)

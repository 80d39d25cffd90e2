from __future__ import annotations

import os
from pathlib import Path

import pytest

from smile_synth.machine import cores
from smile_synth.machine.cores import cores_of_a_rank, num_cores, quota_of


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, float("inf")),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/job\n", "sys/fs/cgroup/job/cpu.max": "max 100000\n"}, float("inf")),
        (
            {
                "proc/self/cgroup": "0::/job/step\n",
                "sys/fs/cgroup/job/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/job/step/cpu.max": "800000 100000\n",
            },
            2.0,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/job\n",
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            float("inf"),
        ),
    ],
    ids=["none", "v2", "v2-unlimited", "v2-parent", "v1", "v1-unlimited"],
)
def test_quota_is_the_smallest_of_all_groups(tmp_path: Path, files: dict[str, str], quota: float) -> None:
    assert quota_of(write(tmp_path, files)) == quota


@pytest.mark.parametrize(("quota", "expected"), [(0.5, 1), (1.9, 1), (2.0, 2), (64.0, 4), (float("inf"), 4)])
def test_whole_cores_of_a_quota_count(monkeypatch: pytest.MonkeyPatch, quota: float, expected: int) -> None:
    monkeypatch.setattr(os, "process_cpu_count", lambda: 4, raising=False)
    monkeypatch.setattr(cores, "quota_of", lambda _: quota)
    assert num_cores() == expected


STEP = {"SLURM_STEP_ID": "0", "SLURM_CPUS_ON_NODE": "128"}


@pytest.mark.parametrize(
    ("environment", "cores", "expected"),
    [
        ({}, 16, 16),
        ({"LOCAL_WORLD_SIZE": "8"}, 128, 16),
        ({"LOCAL_WORLD_SIZE": "8"}, 4, 1),
        ({"SLURM_NTASKS_PER_NODE": "8"}, 128, 128),
        ({**STEP, "SLURM_NTASKS_PER_NODE": "8"}, 128, 16),
        ({**STEP, "SLURM_STEP_TASKS_PER_NODE": "4(x2),1"}, 128, 32),
        ({**STEP, "SLURM_NTASKS_PER_NODE": "8"}, 16, 16),
        ({**STEP, "SLURM_NTASKS_PER_NODE": "1", "LOCAL_WORLD_SIZE": "8"}, 128, 16),
        ({"SLURM_STEP_ID": "0"}, 128, 128),
    ],
    ids=["alone", "launched", "few", "batch-script", "step", "step-tasks", "bound", "torchrun-in-a-step", "unknown"],
)
def test_ranks_share_the_cores_that_nobody_gave_them(environment: dict[str, str], cores: int, expected: int) -> None:
    assert cores_of_a_rank(environment, cores) == expected

"""A small share of the faults on purpose; all of them: python benchmarks/faults.py."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = Path(__file__).parents[2] / "benchmarks" / "faults.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler")
@pytest.mark.parametrize("kind", ["render", "pretrain", "store", "recipe", "checkpoint", "export", "image", "video"])
def test_no_fault_ends_in_a_silent_error_lost_clips_a_traceback_or_a_hang(kind: str) -> None:
    command = [sys.executable, str(FAULTS), "--share", "0.05", "--only", kind]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr

from __future__ import annotations

import sys

import pytest

from smile_synth.machine.launch import launch

CHECK = """
import os
assert os.environ["WORLD_SIZE"] == os.environ["LOCAL_WORLD_SIZE"] == "2"
assert os.environ["RANK"] == os.environ["LOCAL_RANK"]
"""


def test_processes_know_how_many_share_their_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "7")
    assert launch([sys.executable, "-c", CHECK], 2) == 0

from __future__ import annotations

import io
from pathlib import Path

from smile_synth.training.view import TrainingView

ROW = {
    "step": 5,
    "stage": "objects",
    "loss": 0.51234,
    "learning_rate": 1e-4,
    "gradient_norm": 1.5,
    "clips_per_second": 12.3,
    "waiting_share": 0.02,
    "tflops": 0.4,
    "memory_gib": 1.25,
    "utilisation": 0.5,
    "student_std": 0.8,
    "student_rank": 33.3,
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_tell_the_time_left(tmp_path: Path) -> None:
    stream = io.StringIO()
    with TrainingView(10, tmp_path / "log.txt", stream) as view:
        view.note("10 updates")
        view.update(ROW, seconds_left=65)
        view.update(ROW, seconds_left=60)
    assert stream.getvalue().splitlines() == [
        "pretrain: 10 updates",
        "pretrain: objects 5/10 · loss 0.5123 · lr 1.00e-04 · 12.3 clips/s · waiting 2% · 1 min 05 s left",
    ]


def test_log_file_gets_every_line(tmp_path: Path) -> None:
    with TrainingView(10, tmp_path / "log.txt", None) as view:
        view.note("warning: look")
        view.update(ROW, seconds_left=65)
        view.update(ROW, seconds_left=60)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.split(" ", 2)[2][:13] for line in lines] == ["warning: look", "objects 5/10 ", "objects 5/10 "]


def test_terminal_gets_one_live_table() -> None:
    terminal = Terminal()
    with TrainingView(10, None, terminal) as view:
        view.update(ROW, seconds_left=65)
    shown = terminal.getvalue()
    assert "5/10 (50%), stage objects" in shown
    assert "50% of the device's peak" in shown
    assert "effective rank 33.3" in shown

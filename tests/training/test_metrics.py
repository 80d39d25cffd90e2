from __future__ import annotations

import json
from pathlib import Path

from smile_synth.training.metrics import MetricsLog, read_rows


def test_resumed_log_drops_lines_that_were_never_checkpointed(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    for step in (1, 2, 3):
        log.write({"step": step, "loss": 1.0 / step})
    log.close()
    again = MetricsLog(tmp_path, after_step=2)
    again.write({"step": 3, "loss": 0.25})
    again.close()
    assert [(row["step"], row["loss"]) for row in read_rows(again.path)] == [(1, 1.0), (2, 0.5), (3, 0.25)]


def test_line_cut_by_a_crash_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}\n{"step": 2, "lo')
    MetricsLog(tmp_path, after_step=5).close()
    assert read_rows(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 1.0}]


def test_numbers_that_json_cannot_hold_are_written_by_name(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.write({"step": 1, "gradient_norm": float("inf")})
    log.close()
    assert json.loads(log.path.read_text())["gradient_norm"] == "inf"

from __future__ import annotations

import io

import pytest

from smile_synth import progress
from smile_synth.progress import Tracker, format_duration, track, without_exponent


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (185, "3 min 05 s"), (7620, "2 h 07 min"), (-1, "0 s")]
)
def test_durations_read_as_people_write_them(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.00001234, "0.0000123"), (0.6, "0.6"), (99.96, "100"), (2487.3, "2487"), (1e7, "10000000")],
)
def test_numbers_have_no_exponent(value: float, text: str) -> None:
    assert without_exponent(value) == text


def test_fast_work_has_a_rate_without_exponent() -> None:
    clock = Clock()
    tracker = Tracker(9948, "render", "clips", lambda _: None, clock)
    clock.now_s = 2.0
    tracker.advance(4974)
    assert "· 2487 clips/s ·" in tracker.status()
    assert tracker.closing() == "4974 clips in 2 s (2487 clips/s)"


def test_status_gives_share_rate_and_time_left() -> None:
    clock = Clock()
    tracker = Tracker(100, "render", "clips", lambda _: None, clock)
    clock.now_s = 2.0
    tracker.advance(20)
    assert tracker.status() == "20/100 clips, 20% · 10 clips/s · 8 s left"


def test_nothing_is_forecast_from_the_first_unit() -> None:
    clock = Clock()
    tracker = Tracker(1000, "check images", "images", lambda _: None, clock)
    clock.now_s = 5.0
    tracker.advance()
    assert tracker.status() == "1/1000 images, 0%"
    tracker.advance(2)
    assert tracker.status() == "3/1000 images, 0% · 0.6 images/s · 27 min 42 s left"


def test_the_rate_forgets_what_is_long_past() -> None:
    clock = Clock()
    tracker = Tracker(1000, "render", "clips", lambda _: None, clock)
    for second in range(1, 200):
        clock.now_s = float(second)
        tracker.advance(100 if second < 100 else 1)
    assert tracker.rate == pytest.approx(1.0)


def test_a_log_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SILENT_BELOW_S", 0.0)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    log = io.StringIO()
    with track(4, "render", stream=log) as tracker:
        tracker.advance(2)
        tracker.note("shard 0 was there")
        tracker.advance(2)
    lines = log.getvalue().splitlines()
    assert lines[0].startswith("render: 2/4 clips, 50%")
    assert "render: shard 0 was there" in lines
    assert lines[-1].startswith("render: 4 clips in")
    assert "\x1b" not in log.getvalue()


def test_short_work_is_silent() -> None:
    log = io.StringIO()
    with track(2, "render", stream=log) as tracker:
        tracker.advance(2)
    assert log.getvalue() == ""

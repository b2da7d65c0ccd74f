"""What a long run looks like: honest figures, and no estimate that is not known."""

from __future__ import annotations

import io
import sys
from dataclasses import replace

import pytest

from dicomsync import progress
from dicomsync.engine import Progress

HALF = Progress(False, 2, 4, 50, 100, 500_000, 1_000_000, 0, "")


def test_a_rate_is_told_only_once_there_is_one() -> None:
    rate = progress.Rate()
    assert rate.update(0.0, 0) is None
    assert rate.update(0.5, 1000) is None
    assert rate.update(10.0, 10_000) == 1000.0


def test_a_rate_is_that_of_the_last_half_minute() -> None:
    rate = progress.Rate()
    for second in range(100):
        rate.update(second, second * 1000)
    for second in range(100, 140):
        slow = rate.update(second, 99_000)
    assert slow is None


def test_a_run_is_told_in_one_line() -> None:
    assert progress.told(HALF, 100_000.0) == (
        "studies 2/4, instances 50/100, 500 kB of 1.0 MB, 100 kB/s, 5.0 s left"
    )


@pytest.mark.parametrize(
    ("state", "rate", "words"),
    [
        (HALF, None, "time left unknown yet"),
        (replace(HALF, scanning=True), 1000.0, "more than 8 min 20 s left, folders still being read"),
        (replace(HALF, circuit="no connection"), 1000.0, "waiting"),
        (replace(HALF, asked=50), 1000.0, "asking the archive about 50 instances"),
        (replace(HALF, size_bytes=1_000_000), 1000.0, ""),
    ],
)
def test_the_time_left_is_told_as_far_as_it_is_known(state: Progress, rate: float | None, words: str) -> None:
    assert progress.left(state, rate) == words


@pytest.mark.parametrize(
    ("terminal", "wanted", "quiet", "mode"),
    [
        (True, None, False, "bar"),
        (False, None, False, "lines"),
        (True, False, False, "none"),
        (True, None, True, "none"),
        (False, True, True, "none"),
    ],
)
def test_bars_are_for_terminals(terminal: bool, wanted: bool | None, quiet: bool, mode: str) -> None:
    assert progress.mode_for(terminal, wanted, quiet) == mode


def test_elsewhere_a_line_is_written_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr("dicomsync.progress.time.monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.shown("lines") as show:
        for _ in range(9):
            show(HALF)
    assert stream.getvalue().count("\n") == 3


def test_the_bars_show_studies_instances_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress.shown("bar") as show:
        show(HALF)
    for words in ("studies", "2/4", "instances", "50/100", "bytes", "500 kB/1.0 MB"):
        assert words in stream.getvalue()

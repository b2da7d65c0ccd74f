"""Where log lines go: ours to standard error, a few of a kind; other packages' nowhere."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomsync import logs

OTHERS = ("httpx", "httpcore", "pydicom", "watchdog", "asyncio", "sqlite_utils", "tenacity")
SECRET = "Demo^Anna"


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give logging and warnings back as they were."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    ours, root = logging.getLogger("dicomsync"), logging.getLogger()
    kept = ours.handlers[:], ours.level, ours.propagate, root.handlers[:], logging.raiseExceptions
    yield
    ours.handlers, level, ours.propagate, root.handlers, logging.raiseExceptions = kept
    ours.setLevel(level)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock, as the one number in a list."""
    clock = [1000.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: clock[0])  # type: ignore[attr-defined]  # the outside
    return clock


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out, err = capsys.readouterr()
    assert out == "", "logs never go to standard output"
    return err.splitlines()


@pytest.mark.parametrize("verbosity", [-1, 0, 1, 2, 9])
@pytest.mark.parametrize("name", OTHERS)
def test_records_of_other_packages_go_nowhere_at_any_level(
    capsys: pytest.CaptureFixture[str], name: str, verbosity: int
) -> None:
    logging.getLogger().handlers = [logging.StreamHandler()]  # as logging.basicConfig leaves it
    logs.configure(verbosity)
    for level in (logging.DEBUG, logging.WARNING, logging.CRITICAL):
        logging.getLogger(name).log(level, "patient %s", SECRET)
    logging.getLogger().critical("patient %s", SECRET)
    assert lines(capsys) == []


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [
        (-1, ["ERROR"]),
        (0, ["WARNING", "ERROR"]),
        (1, ["INFO", "WARNING", "ERROR"]),
        (2, ["DEBUG", "INFO", "WARNING", "ERROR"]),
    ],
)
def test_verbosity_says_which_levels_are_shown(
    capsys: pytest.CaptureFixture[str], verbosity: int, shown: list[str]
) -> None:
    logs.configure(verbosity)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger("dicomsync.some.room").log(level, "%s waits", "file 1b22e0")
    written = lines(capsys)
    assert [line.split()[2] for line in written] == shown
    assert all(line.endswith("file 1b22e0 waits") for line in written)


def test_our_lines_are_not_said_again_by_a_handler_of_somebody_elses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(0)
    logging.getLogger().handlers = [logging.StreamHandler()]
    logging.getLogger("dicomsync.x").warning("once")
    assert len(lines(capsys)) == 1


def test_configuring_twice_does_not_say_everything_twice(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(0)
    logs.configure(0)
    logging.getLogger("dicomsync").warning("once")
    assert len(lines(capsys)) == 1


def test_of_one_kind_five_lines_a_minute_are_shown_and_the_next_minute_says_how_many_were_not(
    capsys: pytest.CaptureFixture[str], now: list[float]
) -> None:
    logs.configure(0)
    log = logging.getLogger("dicomsync.x")
    for number in range(10_000):
        log.warning("%s is in conflict", number)
    first = lines(capsys)
    assert len(first) == 5
    assert [line.split()[3] for line in first] == ["0", "1", "2", "3", "4"]
    assert first[-1].endswith("4 is in conflict (more like this are left out for a minute)")
    now[0] += 61
    log.warning("%s is in conflict", "another")
    log.warning("%s is in conflict", "the next")
    assert [line.split("WARNING ")[1] for line in lines(capsys)] == [
        "another is in conflict (and 9995 like this before)",
        "the next is in conflict",
    ]


def test_a_line_within_the_same_minute_stays_left_out(
    capsys: pytest.CaptureFixture[str], now: list[float]
) -> None:
    logs.configure(0)
    log = logging.getLogger("dicomsync.x")
    for _ in range(5):
        log.warning("same")
    lines(capsys)
    now[0] += 59
    log.warning("same")
    assert lines(capsys) == []


def test_many_lines_of_one_kind_do_not_hide_another_kind(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(0)
    log = logging.getLogger("dicomsync.x")
    for number in range(100):
        log.warning("%s is in conflict", number)
    log.warning("the archive cannot be reached")
    assert lines(capsys)[-1].endswith("the archive cannot be reached")


def test_what_is_not_a_warning_is_never_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(1)
    for _ in range(20):
        logging.getLogger("dicomsync").info("stored")
    assert len(lines(capsys)) == 20


def test_with_everything_shown_nothing_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(2)
    for _ in range(20):
        logging.getLogger("dicomsync").warning("same")
    assert len(lines(capsys)) == 20


class Broken(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_closed_pipe_stops_no_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    logs.configure(0)
    closed = io.StringIO()
    closed.close()
    for stream in (Broken(), closed):
        monkeypatch.setattr("sys.stderr", stream)
        logging.getLogger("dicomsync").error("nobody reads this")


class Unspeakable:
    """Something that cannot be said."""

    def __str__(self) -> str:
        raise ZeroDivisionError


def test_a_line_that_cannot_be_made_stops_no_upload(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(0)
    log = logging.getLogger("dicomsync")
    log.error("%d files", "many")
    log.error("%s", Unspeakable())
    log.error("the next")
    assert [line.split("ERROR ")[1] for line in lines(capsys)] == ["the next"]


@pytest.mark.parametrize("verbosity", [-1, 0, 2])
@pytest.mark.filterwarnings("always")
def test_warnings_of_other_packages_go_nowhere_because_they_quote_what_they_read(
    capsys: pytest.CaptureFixture[str], verbosity: int
) -> None:
    logs.configure(verbosity)
    warnings.warn(f"invalid value for PN: {SECRET}", UserWarning, stacklevel=1)
    assert lines(capsys) == []


def test_lines_go_to_whatever_standard_error_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    logs.configure(0)
    bar = io.StringIO()
    monkeypatch.setattr("sys.stderr", bar)
    logging.getLogger("dicomsync").warning("above the bar")
    assert bar.getvalue().endswith("above the bar\n")


def test_in_the_journal_a_line_has_its_weight_and_no_second_clock(tmp_path: Path) -> None:
    program = """
import os
at = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{at.st_dev}:{at.st_ino}"
from dicomsync import logs
logs.configure(2)
log = logs.logging.getLogger("dicomsync")
for say in (log.error, log.warning, log.info, log.debug): say("the archive answers")
os.environ["JOURNAL_STREAM"] = "1:1"  # another's, inherited
logs.configure(0)
log.warning("the archive answers")
"""
    said = tmp_path / "said"
    with said.open("wb") as file:
        subprocess.run([sys.executable, "-c", program], stderr=file, check=True, timeout=60)
    *journal, plain = said.read_text().splitlines()
    assert journal == [
        "<3>ERROR the archive answers",
        "<4>WARNING the archive answers",
        "<6>INFO the archive answers",
        "<7>DEBUG the archive answers",
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d WARNING the archive answers", plain)

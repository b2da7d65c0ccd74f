"""What the log says of a trouble that lasts: it is repeated, seldom, and not once it is over."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from dicomsync import concerns
from dicomsync.concerns import How
from dicomsync.telling import AGAIN_SECONDS, Journal

from .test_concerns import DUE, facts, trouble


def told(**changes: Any) -> dict[str, Any]:
    return concerns.judged(facts(**changes), How())


AWAY = told(**trouble("unreachable"), **DUE)


@pytest.fixture
def journal(caplog: pytest.LogCaptureFixture) -> Journal:
    caplog.set_level(logging.INFO, "dicomsync.daemon")
    return Journal()


def test_a_trouble_that_lasts_is_told_again_every_half_hour(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    for seconds in range(0, int(2.5 * AGAIN_SECONDS), 5):
        journal.turn(AWAY, 1000.0 + seconds)
    assert caplog.messages == [f"still: {concerns.line(AWAY)}"] * 2
    assert "4 instances due" in caplog.messages[0]


def test_what_comes_and_goes_is_never_called_still(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    for turn in range(10):
        journal.turn(AWAY, turn * AGAIN_SECONDS)
        journal.turn(told(), turn * AGAIN_SECONDS + 60)
    assert caplog.messages == []


def test_a_folder_that_is_only_scanned_is_told_once_for_each_reason_by_its_number(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    for watch in ("limit", "limit", "events", "limit", "the watcher died"):
        journal.turn(told(folders__0__watch=watch), 0.0)
    assert caplog.messages == [
        f"folder 1 is only scanned, and not watched: {why}" for why in ("limit", "limit", "the watcher died")
    ]

"""docs/a-bad-day.md shows what is really said: each sentence of it comes from the facts that it tells of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dicomsync import concerns, status
from dicomsync.concerns import How
from dicomsync.scan import NOT_MOUNTED

from .test_concerns import facts

PAGE = (Path(__file__).parent.parent / "docs" / "a-bad-day.md").read_text()
HOW = How.by("/etc/dicomsync/main.toml")


def archive(kind: str, words: str, seconds: float) -> dict[str, Any]:
    return {
        "archive__trouble": words,
        "archive__trouble_kind": kind,
        "archive__trouble_seconds": seconds,
        "archive__retry_seconds": 0.0,
    }


DAY: dict[str, dict[str, Any]] = {
    "no group": {"folders__0__lost": "Permission denied", "folders__0__lost_seconds": 6.3},
    "network": archive("unreachable", "no connection (timed out)", 42.0),
    "disk": {
        "ledger__blocked": "The ledger cannot grow: its disk is full",
        "ledger__blocked_seconds": 45.0,
        "ledger__free_bytes": 0,
    },
    "token": archive("auth", "it does not accept the credential", 40.0),
    "share": {
        "folders__0__number": 2,
        "folders__0__lost": NOT_MOUNTED,
        "folders__0__lost_seconds": 45.0,
    },
}


@pytest.mark.parametrize("trouble", list(DAY))
def test_each_trouble_is_shown_as_status_tells_it(trouble: str) -> None:
    told = status.text(concerns.judged(facts(**DAY[trouble]), HOW)).splitlines()
    [at] = [number for number, line in enumerate(told) if line.startswith("!!")]
    for line in told[at : at + 2]:
        assert f"    {line}\n" in PAGE


def test_on_a_full_disk_nobody_says_that_nothing_is_due() -> None:
    told = status.text(concerns.judged(facts(**DAY["disk"]), HOW))
    [line] = [line for line in told.splitlines() if line.startswith("Oldest due")]
    assert "waits in its folder" in line
    assert f"    {line}\n" in PAGE

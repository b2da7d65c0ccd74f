"""The three accounts of what became of every instance: who wrote them, the ledger, and the archive itself."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from dicomsync.ledger.checking import check

from .conftest import AnyArchive, same_from_128


def rows(ledger: Path, sql: str) -> list[tuple[Any, ...]]:
    """Ask a ledger, read-only and past dicomsync."""
    with closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True)) as database:
        return database.execute(sql).fetchall()


def sent_each_once(ledger: Path, requests: int, instances: int) -> None:
    """Prove that every request that the archive got was answered, and each instance was in one of them alone.

    How many they were says nothing: a study whose files come slower than `quiet` goes in two.
    """
    answered = "SELECT count(*), sum(instances) FROM batches WHERE status IS NOT NULL"
    assert rows(ledger, answered) == [(requests, instances)]


def states(ledger: Path, what: str = "instances") -> dict[str, int]:
    """Count a ledger's instances, or its files, by state, row by row; nothing where there is none yet."""
    try:
        return dict(Counter(state for (state,) in rows(ledger, f"SELECT state FROM {what}")))
    except sqlite3.OperationalError:  # none is there, or its tables are being made
        return {}


def agree(ledger: Path, archive: AnyArchive, written: Mapping[str, bytes]) -> None:
    """Every instance written (by SOP Instance UID) is stored once; the archive has it as it was written.

    Each is in a file of its own, and nothing was ever taken for gone or missed.
    """
    assert same_from_128(archive.stored(), dict(written))
    assert archive.count() == len(written)
    found = rows(ledger, "SELECT sop_instance_uid, state FROM instances")
    assert sorted(found) == sorted((uid, "stored") for uid in written)
    assert states(ledger, "files") == {"ready": len(written)}
    assert rows(ledger, "SELECT * FROM history WHERE event IN ('gone', 'missed')") == []
    assert check(ledger) == []

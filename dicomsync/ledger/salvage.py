"""What no archive and no folder tells, from a ledger that was moved aside: as much as can still be read."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from dicomsync.errors import LedgerProblem
from dicomsync.ledger import guard, opening
from dicomsync.model import StatKey, Whole

Deletion = tuple[Whole, bytes | None]
"""An instance that was deleted, or was to be, and the SHA-256 of its file where that is known."""


@dataclass(frozen=True, slots=True)
class Left:
    """What a lost ledger knew alone: what a person had deleted, and since when each folder is watched."""

    deletions: list[Deletion]
    folders: list[tuple[bytes, float]]


def left(path: Path, ledger: str) -> Left:
    """Read it from what was moved aside from `path`: the latest that bears that name, or whose name is lost.

    An empty file may have been moved aside after it, by a start that ended early.
    """
    for aside in guard.asides(path):
        with contextlib.suppress(LedgerProblem), contextlib.closing(opening.read_only(aside)) as connection:
            if _name(connection) in (ledger, None):
                found = Left(_deletions(connection), _folders(connection))
                if found.deletions or found.folders:
                    return found
    return Left([], [])


def _name(connection: sqlite3.Connection) -> str | None:
    with contextlib.suppress(sqlite3.Error):
        row = connection.execute("SELECT value FROM facts WHERE name = 'ledger'").fetchone()
        return str(row[0]) if row else None
    return None


def _deletions(connection: sqlite3.Connection) -> list[Deletion]:
    found: list[Deletion] = []
    with contextlib.suppress(sqlite3.Error):
        rows = connection.execute(
            """SELECT s.study_instance_uid, i.series_instance_uid, i.sop_instance_uid, i.sop_class_uid,
                i.transfer_syntax_uid, i.preamble, i.size_bytes, i.sha256
            FROM instances i NOT INDEXED JOIN studies s ON s.id = i.study_id
            WHERE i.state IN ('deleting', 'deleted') AND i.reason <> 'mirrored'"""
        )  # taken one by one: where the file breaks off, what was read before is kept
        found.extend((Whole(StatKey(row[6], 0, 0, 0), *row[:6]), row[7]) for row in rows)
    return found


def _folders(connection: sqlite3.Connection) -> list[tuple[bytes, float]]:
    found: list[tuple[bytes, float]] = []
    with contextlib.suppress(sqlite3.Error):
        found.extend(connection.execute("SELECT path, seen_at FROM folders"))
    return found

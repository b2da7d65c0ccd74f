"""What there is to know of a ledger as a file: its size, age, schema, and who has it."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from dicomsync.ledger import opening
from dicomsync.ledger.holding import holder
from dicomsync.ledger.reader import Reader
from dicomsync.ledger.standing import Counts


@dataclass(frozen=True, slots=True)
class Overview:
    """A ledger as a file. Moments are wall seconds, None where nothing happened yet."""

    path: str
    size_bytes: int
    wal_bytes: int
    schema: str
    name: str | None
    archive: str | None
    kind: str | None
    counts: Counts
    rows: dict[str, int]
    first_at: float | None
    last_at: float | None
    doubt: str | None
    doubted_at: float | None
    aside: str | None
    unsettled: int  # instances that are still to be asked about for that
    holder: int | None


def overview(path: Path) -> Overview:
    """Look at the ledger at `path`, read-only; LedgerProblem where it cannot be read."""
    path = Path(os.path.realpath(path))
    connection = opening.read_only(path)
    with Reader(connection) as reader:
        doubt, unsettled = reader.doubt()
        return Overview(
            str(path),
            os.stat(path).st_size,
            _size(f"{path}-wal"),
            _text(connection, "SELECT name FROM _sqlite_migrations ORDER BY id DESC LIMIT 1") or "",
            reader.fact("ledger"),
            reader.fact("archive"),
            reader.fact("archive_kind"),
            reader.counts(),
            {table: _count(connection, table) for table in ("studies", "batches", "history")},
            _moment(connection, "SELECT seen_at FROM files ORDER BY id LIMIT 1"),
            _moment(connection, "SELECT seen_at FROM files ORDER BY id DESC LIMIT 1"),
            doubt.words if doubt else None,
            doubt.at if doubt else None,
            doubt.aside or None if doubt else None,
            unsettled,
            holder(path),
        )


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _count(db: sqlite3.Connection, table: str) -> int:
    return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _moment(db: sqlite3.Connection, query: str) -> float | None:
    row = db.execute(query).fetchone()
    return None if row is None else float(row[0])


def _text(db: sqlite3.Connection, query: str) -> str | None:
    row = db.execute(query).fetchone()
    return None if row is None else str(row[0])

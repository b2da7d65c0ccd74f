"""What a person had deleted, from a ledger that was moved aside: as much as can still be read."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from dicomsync.errors import LedgerProblem
from dicomsync.ledger import opening
from dicomsync.model import StatKey, Whole

Deletion = tuple[Whole, bytes | None]
"""An instance that was deleted, or was to be, and the SHA-256 of its file where that is known."""


def deletions(aside: Path) -> list[Deletion]:
    """Give what no rebuilt ledger could find out: whose absence from the archive a person wanted."""
    found: list[Deletion] = []
    try:
        connection = opening.read_only(aside)
    except LedgerProblem:
        return found
    with contextlib.closing(connection), contextlib.suppress(sqlite3.Error):
        rows = connection.execute(
            """SELECT s.study_instance_uid, i.series_instance_uid, i.sop_instance_uid, i.sop_class_uid,
                i.transfer_syntax_uid, i.preamble, i.size_bytes, i.sha256
            FROM instances i NOT INDEXED JOIN studies s ON s.id = i.study_id
            WHERE i.state IN ('deleting', 'deleted') AND i.reason <> 'mirrored'"""
        )  # taken one by one: where the file breaks off, what was read before is kept
        found.extend((Whole(StatKey(row[6], 0, 0, 0), *row[:6]), row[7]) for row in rows)
    return found

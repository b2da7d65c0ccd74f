"""The query for what the ledger says is stored: what a question to the archive about it needs."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from dicomsync.ledger.files import source_of
from dicomsync.model import Due

READY = "EXISTS (SELECT 1 FROM files f WHERE f.instance_id = i.id AND f.state = 'ready')"
"""A file, as it was when it was proved whole, holds instance `i`."""


def stored(
    db: sqlite3.Connection | sqlite3.Cursor, condition: str, values: Sequence[object], order: str, most: int
) -> list[Due]:
    """Give stored instances as what a question about them needs; `looks` is how often they were not found."""
    rows = db.execute(
        f"""SELECT i.id, s.study_instance_uid, i.series_instance_uid, i.sop_instance_uid, i.size_bytes,
            i.preamble, i.sha256, i.reason, i.attempts, i.unclear,
            CASE i.found WHEN 'absent' THEN 1 WHEN 'missing' THEN 2 ELSE 0 END, i.together
        FROM instances i JOIN studies s ON s.id = i.study_id
        WHERE i.state = 'stored' AND {condition} ORDER BY {order} LIMIT ?""",
        (*values, most),
    ).fetchall()
    return [Due(*(*row, None if row[6] else source_of(db, row[0]))) for row in rows]

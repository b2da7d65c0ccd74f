"""What needs a person, in groups, and what happened lately: what status, page and metrics ask."""

from __future__ import annotations

import sqlite3
from typing import Any

from dicomsync.ledger.conditions import LOST, ODD, WAITING

_ODD_FILE = "state IN ('held', 'missed')"
_RECENT_BATCHES = 200


class CaseQueries:
    """Questions that stay quick in a large ledger: each is answered from an index."""

    _db: sqlite3.Cursor

    def cases(self) -> list[dict[str, Any]]:
        """Give what needs a person: `what`, `state`, `reason`, how many, and since when (wall seconds).

        Of a file or an instance that is when it was first seen; of what is stored and was lost
        (`what` is "stored"), when that was found.
        """
        rows = self._db.execute(
            f"""SELECT 'instance' AS what, state, reason, count(*) AS n, min(seen_at) AS since FROM instances
                WHERE {ODD} GROUP BY state, reason
            UNION ALL SELECT 'file', state, reason, count(*), min(seen_at) FROM files
                WHERE {_ODD_FILE} GROUP BY state, reason
            UNION ALL SELECT 'stored', found, '', count(*), min(found_at) FROM instances
                WHERE {LOST} GROUP BY found"""
        )
        return sorted(map(dict, rows), key=lambda row: (row["what"], row["state"], -row["n"]))

    def case_rows(self, what: str, state: str, reason: str, most: int) -> list[int]:
        """Give the rows (of files, or of instances) of one group of cases, `most` of them at most."""
        where, values = {
            "instance": (f"instances WHERE ({ODD}) AND state = ? AND reason = ?", (state, reason)),
            "file": (f"files WHERE {_ODD_FILE} AND state = ? AND reason = ?", (state, reason)),
            "stored": (f"instances WHERE {LOST} AND found = ?", (state,)),
        }[what]
        rows = self._db.execute(f"SELECT id FROM {where} LIMIT ?", (*values, most))
        return [row[0] for row in rows]

    def oldest_live(self) -> tuple[float, int] | None:
        """Say when what came live and is due the longest was first seen, and which study's it is."""
        row = self._db.execute(
            f"""SELECT seen_at, study_id FROM instances WHERE {WAITING} AND live = 1
            ORDER BY seen_at LIMIT 1"""
        ).fetchone()
        return None if row is None else (float(row[0]), int(row[1]))

    def lately(self, most: int) -> list[dict[str, Any]]:
        """Give the studies something happened to last, the latest first, with when that was."""
        rows = self._db.execute(
            """SELECT s.id, s.study_instance_uid, s.seen_at, max(s.seen_at, coalesce(b.at, 0)) AS at FROM (
                SELECT study_id, max(coalesce(answered_at, sent_at)) AS at FROM (
                    SELECT * FROM batches ORDER BY id DESC LIMIT ?) GROUP BY study_id
                UNION SELECT id, NULL FROM (SELECT id FROM studies ORDER BY id DESC LIMIT ?)
            ) b JOIN studies s ON s.id = b.study_id GROUP BY s.id ORDER BY at DESC, s.id DESC LIMIT ?""",
            (_RECENT_BATCHES, most, most),
        )
        return [dict(row) for row in rows]

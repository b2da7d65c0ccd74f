"""Every file the ledger ever saw, and every instance of a study: read page by page.

A page is read whole and then let go, so that a reader who takes all day (a report piped into a
pager) keeps neither memory nor the writer's log. Each row is as it was when its page was read, and
comes once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

PAGE_ROWS = 2_000

_FILES = """SELECT f.id AS row, f.id AS file_id, CAST(d.path || '/' || f.name AS BLOB) AS path,
        f.size_bytes, f.mtime_ns, f.ctime_ns, f.inode, f.seen_at, f.state AS file_state,
        f.reason AS file_reason, f.detail AS file_detail, i.state, i.reason, i.detail, i.sha256,
        i.stored_at, i.verified_at, i.series_instance_uid, i.sop_instance_uid, s.study_instance_uid
    FROM files f JOIN directories d ON d.id = f.directory_id
    LEFT JOIN instances i ON i.id = f.instance_id LEFT JOIN studies s ON s.id = i.study_id
    WHERE f.id > ? AND f.seen_at >= ?{} ORDER BY f.id LIMIT ?"""

_VERIFIED = " AND f.state = 'ready' AND i.state = 'stored' AND i.verified_at IS NOT NULL"

_INSTANCES = """SELECT i.id AS row, i.*, s.study_instance_uid, b.status, b.sent_at, b.answered_at
    FROM instances i JOIN studies s ON s.id = i.study_id LEFT JOIN batches b ON b.id = i.batch_id
    WHERE i.id > ? AND i.seen_at >= ? AND i.study_id = ? ORDER BY i.id LIMIT ?"""


class AccountQueries:
    """What reports ask; `since` is in wall seconds, of when a file or an instance was first seen."""

    _db: sqlite3.Cursor

    def account(self, since: float = 0.0, *, verified: bool = False) -> Iterator[list[dict[str, Any]]]:
        """Give every file with its instance, in pages, first seen first; or only those `verified`."""
        return self._pages(_FILES.format(_VERIFIED if verified else ""), (since,))

    def account_of(
        self, study_id: int, since: float = 0.0, *, verified: bool = False
    ) -> Iterator[list[dict[str, Any]]]:
        """Give the files of one study, in pages."""
        # The plus keeps SQLite from walking all files: those of the study's instances are few.
        query = _FILES.replace("f.id > ?", "+f.id > ?").format(
            f"{_VERIFIED if verified else ''} AND i.study_id = ?"
        )
        return self._pages(query.replace("LEFT JOIN", "JOIN"), (since, study_id))

    def instances_of(self, study_id: int, since: float = 0.0) -> Iterator[list[dict[str, Any]]]:
        """Give the instances of one study with the latest batch of each, in pages."""
        return self._pages(_INSTANCES, (since, study_id))

    def directory_at(self, path: bytes) -> dict[str, Any] | None:
        """Give one directory by its path."""
        row = self._db.execute("SELECT * FROM directories WHERE path = ?", (path,)).fetchone()
        return None if row is None else dict(row)

    def _pages(self, query: str, values: tuple[object, ...]) -> Iterator[list[dict[str, Any]]]:
        after = 0
        while page := [dict(row) for row in self._db.execute(query, (after, *values, PAGE_ROWS)).fetchall()]:
            yield page
            after = page[-1]["row"]

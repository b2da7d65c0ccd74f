"""What readers ask about mirrored deletions: folders that mirror, and what has left them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicomsync.ledger.conditions import OPEN

if TYPE_CHECKING:  # `status` needs none of it where nothing is mirrored
    from dicomsync.ledger.removal_rows import Removal, RootRow


ROOTS = "SELECT id, path, mode, identity, seconds, unhealthy, frozen, frozen_at FROM roots ORDER BY id"
REMOVALS = """SELECT r.id, r.root_id, r.stage, r.reason, r.left_at, r.first_scan, r.first_seconds,
        r.graced_seconds, r.directory_gone, r.approved, i.id, s.study_instance_uid, i.series_instance_uid,
        i.sop_instance_uid, i.size_bytes, i.preamble, i.sha256, i.reason, i.attempts, i.unclear, i.looks,
        i.together, i.study_id, i.verified_at IS NOT NULL
    FROM removals r JOIN instances i ON i.id = r.instance_id JOIN studies s ON s.id = i.study_id"""


def roots_of(rows: Sequence[Sequence[Any]]) -> list[RootRow]:
    """Read rows of `roots`."""
    if not rows:
        return []
    from dicomsync.ledger.removal_rows import root

    return [root(*row) for row in rows]


def removals_of(rows: Sequence[Sequence[Any]]) -> list[Removal]:
    """Read rows of `removals` with their instances."""
    if not rows:  # as for nearly every file that is recorded
        return []
    from dicomsync.ledger.removal_rows import removal

    return [removal(row) for row in rows]


def below(path: bytes, folder: bytes) -> bool:
    """Say whether a path is that of a folder, or below it."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


class MirrorReader:
    """What readers ask about mirrored deletions."""

    _db: sqlite3.Cursor

    def roots(self) -> list[RootRow]:
        """Give every folder that mirrors, or did."""
        return roots_of(self._db.execute(ROOTS).fetchall())

    def removals(self, root_id: int) -> list[Removal]:
        """Give the open removals of a folder, the longest graced first."""
        query = f"""{REMOVALS} WHERE {OPEN} AND r.root_id = ?
            ORDER BY r.graced_seconds IS NULL, r.graced_seconds, r.id"""
        return removals_of(self._db.execute(query, (root_id,)).fetchall())

    def undoable(self, root_id: int, most: int) -> list[dict[str, Any]]:
        """Give what was deleted of a folder, is still, and has a copy; the latest first."""
        rows = self._db.execute(
            """SELECT r.instance_id, i.sop_instance_uid, (SELECT max(at) FROM history h
                WHERE h.what = 'instance' AND h.row = r.instance_id AND h.event = 'mirrored') AS deleted_at
            FROM removals r JOIN instances i ON i.id = r.instance_id
            WHERE r.root_id = ? AND r.stage = 'deleted' AND r.kept IS NOT NULL AND i.state = 'deleted'
            ORDER BY r.id DESC LIMIT ?""",
            (root_id, most),
        )
        return [dict(row) for row in rows]

    def removal_sums(self) -> dict[int, dict[str, int]]:
        """Count each folder's removals by stage."""
        found: dict[int, dict[str, int]] = {}
        for row in self._db.execute("SELECT root_id, stage, count(*) FROM removals GROUP BY 1, 2"):
            found.setdefault(row[0], {})[row[1]] = row[2]
        return found

    def without_room(self) -> dict[int, int]:
        """Count by folder what would be deleted, were there room for the copy that undoes it."""
        query = f"SELECT r.root_id, count(*) FROM removals r WHERE {OPEN} AND r.reason = 'no-room' GROUP BY 1"
        return dict(self._db.execute(query).fetchall())

    def removal_of(self, instance_id: int) -> Removal | None:
        """Give the open removal of an instance, if there is one."""
        query = f"{REMOVALS} WHERE {OPEN} AND r.instance_id = ?"
        found = removals_of(self._db.execute(query, (instance_id,)).fetchall())
        return found[0] if found else None

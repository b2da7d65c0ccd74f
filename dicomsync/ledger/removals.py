"""The rows of mirrored deletions: folders that mirror, and what has left them; what readers ask of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dicomsync.ledger.conditions import OPEN

if TYPE_CHECKING:
    from dicomsync.deletion import Root
    from dicomsync.model import Due


@dataclass(frozen=True, slots=True)
class RootRow:
    """A folder that mirrors its deletions; `seconds` is its own clock, `identity` None until enrolled."""

    root_id: int
    path: bytes
    mode: str
    identity: Root | None
    seconds: float
    unhealthy: str
    frozen: str
    frozen_at: float | None


@dataclass(frozen=True, slots=True)
class Removal:
    """One instance whose last file has left; `first_seconds` and the like are in its folder's seconds."""

    removal_id: int
    root_id: int
    stage: str
    reason: str
    left_at: float
    first_scan: int | None
    first_seconds: float | None
    graced_seconds: float | None
    directory_gone: bool
    approved: bool
    due: Due
    study_id: int
    verified: bool


ROOTS = "SELECT id, path, mode, identity, seconds, unhealthy, frozen, frozen_at FROM roots ORDER BY id"
REMOVALS = """SELECT r.id, r.root_id, r.stage, r.reason, r.left_at, r.first_scan, r.first_seconds,
        r.graced_seconds, r.directory_gone, r.approved, i.id, s.study_instance_uid, i.series_instance_uid,
        i.sop_instance_uid, i.size_bytes, i.preamble, i.sha256, i.reason, i.attempts, i.unclear, i.looks,
        i.together, i.study_id, i.verified_at IS NOT NULL
    FROM removals r JOIN instances i ON i.id = r.instance_id JOIN studies s ON s.id = i.study_id"""


def roots_of(rows: Iterable[Sequence[Any]]) -> list[RootRow]:
    """Read rows of `roots`."""
    return [_root(*row) for row in rows]


def _root(
    root_id: int,
    path: bytes,
    mode: str,
    identity: str | None,
    seconds: float,
    unhealthy: str,
    frozen: str,
    frozen_at: float | None,
) -> RootRow:
    kept = None
    if identity is not None:
        from dicomsync.deletion import Root  # `status` needs none where nothing is mirrored

        values = json.loads(identity)
        kept = Root(**(values | {"nested": tuple(bytes.fromhex(one) for one in values["nested"])}))
    return RootRow(root_id, bytes(path), mode, kept, seconds, unhealthy, frozen, frozen_at)


def removals_of(rows: Sequence[Sequence[Any]]) -> list[Removal]:
    """Read rows of `removals` with their instances."""
    if not rows:  # as for nearly every file that is recorded
        return []
    from dicomsync.model import Due

    return [
        Removal(
            row[0],
            row[1],
            row[2],
            row[3],
            row[4],
            row[5],
            row[6],
            row[7],
            bool(row[8]),
            bool(row[9]),
            Due(*tuple(row)[10:22]),
            row[22],
            bool(row[23]),
        )
        for row in rows
    ]


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

"""Conflicts as readers see them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from dicomsync.ledger.conditions import CLAIMED
from dicomsync.ledger.rows import asked_for
from dicomsync.model import InstanceState, Source, StatKey


@dataclass(frozen=True, slots=True)
class Copy:
    """One content under a SOP Instance UID, as the ledger knows it; `source` is a file that holds it now."""

    instance_id: int
    state: InstanceState
    reason: str
    study_id: int
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    size_bytes: int
    preamble: bytes
    sha256: bytes | None
    likeness: str
    source: Source | None

    @property
    def uids(self) -> tuple[str, str, str]:
        """Study, series and instance."""
        return self.study_instance_uid, self.series_instance_uid, self.sop_instance_uid


@dataclass(frozen=True, slots=True)
class Conflict:
    """A content in conflict, and the one of ours that has its UID, if there is one."""

    ours: Copy
    rival: Copy | None


@dataclass(frozen=True, slots=True)
class ConflictSum:
    """How many conflicts of one study are alike; `likeness` is "" while they were not compared."""

    study_id: int
    study_instance_uid: str
    reason: str
    likeness: str
    n: int


_COPY = """SELECT i.id, i.state, i.reason, i.study_id, s.study_instance_uid, i.series_instance_uid,
    i.sop_instance_uid, i.size_bytes, i.preamble, i.sha256, i.likeness
    FROM instances i JOIN studies s ON s.id = i.study_id"""


class ConflictReader:
    """What readers ask about conflicts."""

    _db: sqlite3.Cursor

    def conflict_sums(self) -> list[ConflictSum]:
        """Count the conflicts by study, and how they are alike; the study with the most first."""
        rows = self._db.execute(
            """SELECT i.study_id, s.study_instance_uid, i.reason, i.likeness, count(*) AS n
            FROM instances i JOIN studies s ON s.id = i.study_id WHERE i.state = 'conflict'
            GROUP BY 1, 3, 4 ORDER BY 5 DESC, 1"""
        )
        return [ConflictSum(*row) for row in rows]

    def conflicts(
        self, *, study: int | None = None, uid: str | None = None, instance: int | None = None
    ) -> list[Conflict]:
        """Give the conflicts of a study, under a SOP Instance UID, or of one row; of all without any."""
        named = None if uid is None else asked_for(uid)
        given = {"i.study_id": study, "i.sop_instance_uid": named, "i.id": instance}
        wanted = {column: value for column, value in given.items() if value is not None}
        where = "".join(f" AND {column} = ?" for column in wanted)
        rows = self._db.execute(
            f"{_COPY} WHERE i.state = 'conflict'{where} ORDER BY i.id", tuple(wanted.values())
        ).fetchall()
        return [Conflict(self._copy(row), self._rival(row)) for row in rows]

    def _rival(self, row: Any) -> Copy | None:
        found = self._db.execute(
            f"{_COPY} WHERE i.sop_instance_uid = ? AND i.{CLAIMED}", (row[6],)
        ).fetchone()
        return None if found is None else self._copy(found)

    def _copy(self, row: Any) -> Copy:
        instance_id, state, *values = row
        found = self._db.execute(
            """SELECT f.id, CAST(d.path || '/' || f.name AS BLOB), f.size_bytes, f.mtime_ns, f.ctime_ns,
                f.inode FROM files f JOIN directories d ON d.id = f.directory_id
            WHERE f.instance_id = ? AND f.state = 'ready' ORDER BY 2 LIMIT 1""",
            (instance_id,),
        ).fetchone()
        source = Source(found[0], bytes(found[1]), StatKey(*tuple(found)[2:])) if found else None
        return Copy(instance_id, InstanceState(state), *(*values, source))

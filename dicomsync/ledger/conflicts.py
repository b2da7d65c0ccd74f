"""Conflicts: what is known of them, and what a person has decided.

Replacing what the archive has is marked before the archive is asked, and settled by what came of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dicomsync.ledger.deletions import DeletionVerbs
from dicomsync.ledger.rows import CLAIMED, asked_for
from dicomsync.model import InstanceState, Source, StatKey

RESOLVING = "resolving"


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


class ConflictVerbs(DeletionVerbs):
    """Verbs of `conflicts`; each belongs inside a transaction."""

    _db: sqlite3.Connection

    def learn_likeness(self, instance_id: int, likeness: str) -> None:
        """Keep how a content in conflict differs from the one that has its UID."""
        self._db.execute(
            "UPDATE instances SET likeness = ? WHERE id = ? AND state = 'conflict'", (likeness, instance_id)
        )

    def in_conflict(self, instance_id: int) -> tuple[str, str | None] | None:
        """Give study and the state of the content that has the UID; None if it is in no conflict."""
        row = self._db.execute(
            f"""SELECT s.study_instance_uid, (SELECT c.state FROM instances c
                WHERE c.sop_instance_uid = i.sop_instance_uid AND c.{CLAIMED} AND c.reason <> '{RESOLVING}')
            FROM instances i JOIN studies s ON s.id = i.study_id WHERE i.id = ? AND i.state = 'conflict'""",
            (instance_id,),
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def supersede(self, instance_id: int, wall: float) -> None:
        """Settle a conflict: a person keeps what the archive has."""
        self.unmark_resolving(instance_id)
        self._settle(instance_id, "state = 'superseded', reason = 'kept-archive', detail = ''", (), wall)

    def mark_resolving(self, instance_id: int) -> None:
        """Record the intent to have this content stored in the place of the one that has its UID.

        What each was is kept beside it, for `unmark_resolving`. Doing it twice changes nothing.
        """
        kept = f"detail = state || ' ' || reason || ' ' || detail, reason = '{RESOLVING}'"
        sop = self._sop(instance_id)
        of_rival = f"i.{CLAIMED} AND i.sop_instance_uid = ? AND i.reason <> '{RESOLVING}'"
        self._change(f"state = 'deleting', {kept}", of_rival, (sop,))
        of_ours = f"i.id = ? AND i.state = 'conflict' AND i.reason <> '{RESOLVING}'"
        self._change(kept, of_ours, (instance_id,))

    def unmark_resolving(self, instance_id: int) -> None:
        """Let both contents be again what they were: the archive has not changed anything."""
        rest = "substr(detail, instr(detail, ' ') + 1)"
        self._change(
            f"""state = substr(detail, 1, instr(detail, ' ') - 1),
                reason = substr({rest}, 1, instr({rest}, ' ') - 1),
                detail = substr({rest}, instr({rest}, ' ') + 1)""",
            f"i.reason = '{RESOLVING}' AND (i.id = ? OR (i.state = 'deleting' AND i.sop_instance_uid = ?))",
            (instance_id, self._sop(instance_id)),
        )

    def replaced(self, instance_id: int, sha256: bytes, wall: float) -> None:
        """Settle a conflict: the archive has this content now, compared and the same."""
        self._give_way(instance_id, wall)
        self._settle(
            instance_id,
            """state = 'stored', reason = 'resolved', detail = '', sha256 = ?, stored_at = ?,
                verified_at = ?""",
            (sha256, wall, wall),
            wall,
        )

    def goes_first(self, instance_id: int, at: float, wall: float) -> None:
        """Settle a conflict with a content that was not sent: this one is stored instead of it."""
        self._give_way(instance_id, wall)
        self._settle(
            instance_id,
            """state = 'pending', reason = 'retried', detail = '', due_at = ?, attempts = 0, unclear = 0,
                looks = 0, together = NULL""",
            (at,),
            wall,
        )

    def _give_way(self, instance_id: int, wall: float) -> None:
        row = self._db.execute(
            f"SELECT i.id FROM instances i WHERE i.sop_instance_uid = ? AND i.{CLAIMED} AND i.id <> ?",
            (self._sop(instance_id), instance_id),
        ).fetchone()
        if row is not None:
            self._settle(int(row[0]), "state = 'superseded', reason = 'kept-folder', detail = ''", (), wall)

    def _settle(self, instance_id: int, change: str, values: Sequence[object], wall: float) -> None:
        self._change(change, "i.id = ?", (*values, instance_id))
        state, reason = self._db.execute(
            "SELECT state, reason FROM instances WHERE id = ?", (instance_id,)
        ).fetchone()
        self.remember("instance", instance_id, f"resolved: {state}", reason, wall)

    def _change(self, change: str, where: str, values: Sequence[object]) -> None:
        rows = self._db.execute(
            f"UPDATE instances AS i SET {change} WHERE {where} RETURNING study_id", values
        ).fetchall()
        self._touched.update(int(row[0]) for row in rows)

    def _sop(self, instance_id: int) -> str:
        row = self._db.execute(
            "SELECT sop_instance_uid FROM instances WHERE id = ?", (instance_id,)
        ).fetchone()
        return str(row[0])


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

"""Verbs of conflicts: how alike two contents are, and what a person has decided.

Replacing what the archive has is marked before the archive is asked, and settled by what came of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from dicomsync.ledger.conditions import CLAIMED
from dicomsync.ledger.deletions import DeletionVerbs

RESOLVING = "resolving"


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

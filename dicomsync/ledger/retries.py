"""What a person may have tried again: verbs that undo a verdict, and never a fact."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from dicomsync.ledger.conditions import CLAIMED
from dicomsync.ledger.instances import InstanceVerbs
from dicomsync.ledger.rows import asked_for


@dataclass(frozen=True, slots=True)
class Scope:
    """Which instances are meant: of one study or series, one SOP Instance UID, one reason; None is any."""

    study_id: int | None = None
    series_instance_uid: str | None = None
    sop_instance_uid: str | None = None
    reason: str | None = None

    def condition(self) -> tuple[str, tuple[object, ...]]:
        """Give it as SQL about a row `i`."""
        columns = {
            "study_id": self.study_id,
            "series_instance_uid": self.series_instance_uid,
            "sop_instance_uid": self.sop_instance_uid,
            "reason": self.reason,
        }
        given = {name: value for name, value in columns.items() if value is not None}
        values = (asked_for(value) if isinstance(value, str) else value for value in given.values())
        return "".join(f" AND i.{name} = ?" for name in given), tuple(values)


class RetryVerbs(InstanceVerbs):
    """Verbs of `retry`; each says how much it has changed."""

    _db: sqlite3.Connection

    def study_known(self, study_instance_uid: str) -> int | None:
        """Give the row of a study, None where there is none."""
        row = self._db.execute(
            "SELECT id FROM studies WHERE study_instance_uid = ?", (asked_for(study_instance_uid),)
        ).fetchone()
        return None if row is None else int(row[0])

    def counted(self, scope: Scope) -> dict[str, int]:
        """Count the instances meant by their state."""
        where, values = scope.condition()
        rows = self._db.execute(
            f"SELECT i.state, count(*) FROM instances i WHERE 1{where} GROUP BY 1", values
        ).fetchall()
        return {row[0]: int(row[1]) for row in rows}

    def rejected_again(self, scope: Scope, at: float, wall: float) -> int:
        """Let rejected instances be stored again that a file still holds and whose UID is free."""
        where, values = scope.condition()
        rows = self._db.execute(
            f"""UPDATE instances SET state = 'pending', reason = 'retried', due_at = ?, attempts = 0,
                unclear = 0, looks = 0, together = NULL
            WHERE id IN (SELECT min(i.id) FROM instances i WHERE i.state = 'rejected'{where}
                AND EXISTS (SELECT 1 FROM files f WHERE f.instance_id = i.id AND f.state = 'ready')
                AND NOT EXISTS (SELECT 1 FROM instances c
                    WHERE c.sop_instance_uid = i.sop_instance_uid AND c.{CLAIMED})
                GROUP BY i.sop_instance_uid)
            RETURNING id, study_id""",
            (at, *values),
        ).fetchall()
        self._touched.update(int(row[1]) for row in rows)
        for row in rows:
            self.remember("instance", row[0], "retried", "", wall)
        return len(rows)

    def hurry(self, scope: Scope, at: float) -> int:
        """Let pending instances go now that were to wait. What is being asked about keeps its waits."""
        where, values = scope.condition()
        rows = self._db.execute(
            f"""UPDATE instances AS i SET due_at = ? WHERE i.state = 'pending' AND i.due_at > ?{where}
            RETURNING study_id""",
            (at, at, *values),
        ).fetchall()
        self._touched.update(int(row[0]) for row in rows)
        return len(rows)

    def held_again(self) -> tuple[int, list[bytes]]:
        """Let every held file be looked at again; gives how many there are, and their directories."""
        rows = self._db.execute(
            """UPDATE files SET state = 'settling', reason = 'fresh', detail = '' WHERE state = 'held'
            RETURNING directory_id"""
        ).fetchall()
        directories = []
        for directory_id in {row[0] for row in rows}:
            path = self._db.execute("SELECT path FROM directories WHERE id = ?", (directory_id,)).fetchone()
            directories.append(bytes(path[0]))
        return len(rows), sorted(directories)

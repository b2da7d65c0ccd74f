"""Deletions by a person: marked before the archive is asked, settled by what it answered."""

from __future__ import annotations

from dicomsync.ledger.conditions import listed
from dicomsync.ledger.retries import RetryVerbs, Scope
from dicomsync.model import InstanceState

BY_PERSON = "operator"
_MARKED = f"i.state = 'deleting' AND i.reason = '{BY_PERSON}'"
_MAY_GO = listed(
    (InstanceState.PENDING, InstanceState.UNCONFIRMED, InstanceState.STORED, InstanceState.LEAVING)
)


class DeletionVerbs(RetryVerbs):
    """Verbs of `archive delete`; conflicts and what was refused are not in the archive, and stay."""

    def mark_deleting(self, scope: Scope) -> int:
        """Let nothing of this be sent or asked about any more; gives how many instances are marked now.

        What each was is kept beside it, for `settle_deleting`.
        """
        where, values = scope.condition()
        rows = self._db.execute(
            f"""UPDATE instances AS i SET state = 'deleting', detail = state || ' ' || reason,
                reason = '{BY_PERSON}'
            WHERE i.state IN ({_MAY_GO}){where} RETURNING study_id""",
            values,
        ).fetchall()
        self._touched.update(int(row[0]) for row in rows)
        marked = self._db.execute(f"SELECT count(*) FROM instances i WHERE {_MARKED}{where}", values)
        return int(marked.fetchone()[0])

    def settle_deleting(self, scope: Scope, wall: float, *, deleted: bool) -> int:
        """Record that what was marked is deleted, or is again what it was; gives how many there were."""
        where, values = scope.condition()
        change = (
            "state = 'deleted', detail = ''"
            if deleted
            else """state = substr(detail, 1, instr(detail, ' ') - 1),
                reason = substr(detail, instr(detail, ' ') + 1), detail = ''"""
        )
        rows = self._db.execute(
            f"UPDATE instances AS i SET {change} WHERE {_MARKED}{where} RETURNING id, study_id", values
        ).fetchall()
        self._touched.update(int(row[1]) for row in rows)
        for row in rows:
            self.remember("instance", row[0], "deleted" if deleted else "delete-refused", "", wall)
        return len(rows)

"""The writer's verbs about what the archive was found to have of what is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from dicomsync.ledger.instances import InstanceVerbs
from dicomsync.ledger.stored import READY, stored
from dicomsync.model import Due, Seen, Sighting

_ALARMS = (Sighting.MISSING, Sighting.DIFFERS)


class CheckVerbs(InstanceVerbs):
    """Verbs of the audit and of `verify`; none of them has anything sent again but `heal`."""

    def check_later(self, instance_ids: Iterable[int], at: float) -> None:
        """Have the archive asked about these in the background, from that moment on."""
        self._db.executemany(
            "UPDATE instances SET check_at = ? WHERE id = ?", [(at, one) for one in instance_ids]
        )

    def to_check(self, now: float, most: int) -> list[Due]:
        """Give instances of one study that the archive is to be asked about now, the longest due first."""
        due = stored(self._db, "i.check_at <= ?", (now,), "i.check_at", most)
        return [one for one in due if one.study_instance_uid == due[0].study_instance_uid]

    def stored_after(self, study_id: int, instance_id: int, most: int) -> tuple[int, list[Due]]:
        """Give the stored instances that follow in the round of all studies; (0, []) at its end.

        A study that has something pending is left to its next round.
        """
        condition = "i.study_id = ? AND i.id > ? AND i.check_at IS NULL"
        if found := stored(self._db, condition, (study_id, instance_id), "i.id", most):
            return study_id, found
        row = self._db.execute(
            """SELECT s.id FROM studies s WHERE s.id > ? AND s.pending = 0 AND EXISTS (
                SELECT 1 FROM instances i
                WHERE i.study_id = s.id AND i.state = 'stored' AND i.check_at IS NULL)
            ORDER BY s.id LIMIT 1""",
            (study_id,),
        ).fetchone()
        return (0, []) if row is None else (row[0], stored(self._db, condition, (row[0], 0), "i.id", most))

    def saw(self, seen: Iterable[Seen], asked_at: float, again_at: float | None = None) -> Counter[int]:
        """Record what the archive, asked at that wall time, had of these; gives new alarms by study's row.

        What has been stored anew since, or is not stored any more, is left alone. What is absent is looked
        for once more at `again_at`.
        """
        alarms: Counter[int] = Counter()
        for one in seen:
            row = self._db.execute(
                """SELECT study_id, found FROM instances
                WHERE id = ? AND state = 'stored' AND stored_at <= ?
                    AND (? IS NULL OR sha256 IS NULL OR sha256 = ?)""",
                (one.instance_id, asked_at, one.sha256, one.sha256),
            ).fetchone()
            if row is None:
                continue
            before, now = row[1], one.sighting
            if now is Sighting.ABSENT and before == Sighting.MISSING:
                now = Sighting.MISSING
            self._note(one, now, asked_at, again_at if now is Sighting.ABSENT else None)
            if now in _ALARMS and before != now:
                alarms[int(row[0])] += 1
                self.remember("instance", one.instance_id, f"found-{now}", "", asked_at)
            elif before in _ALARMS and now in (Sighting.PRESENT, Sighting.EQUAL):
                self.remember("instance", one.instance_id, "found-again", "", asked_at)
        return alarms

    def _note(self, one: Seen, now: Sighting, asked_at: float, check_at: float | None) -> None:
        """Keep one sighting; of what is lost or differs nothing counts as verified any more."""
        self._db.execute(
            """UPDATE instances SET found = ?1, found_at = ?2, check_at = ?3, sha256 = coalesce(sha256, ?4),
                verified_at = CASE WHEN ?1 = 'equal' THEN ?2 WHEN ?1 IN ('missing', 'differs') THEN NULL
                    ELSE verified_at END
            WHERE id = ?5""",
            (now, asked_at, check_at, one.sha256, one.instance_id),
        )

    def heal(self, instance_ids: Sequence[int], at: float, wall: float) -> int:
        """Let what is missing in the archive be stored again, where a file still holds it; gives how much."""
        healed = 0
        for instance_id in instance_ids:
            row = self._db.execute(
                f"""UPDATE instances AS i SET state = 'pending', reason = 'healed', detail = '', due_at = ?,
                    live = 0, attempts = 0, unclear = 0, looks = 0, together = NULL, stored_at = NULL,
                    verified_at = NULL, found = '', found_at = NULL, check_at = NULL
                WHERE i.id = ? AND i.state = 'stored' AND i.found = 'missing' AND {READY}
                RETURNING study_id""",
                (at, instance_id),
            ).fetchone()
            if row is not None:
                healed += 1
                self._touched.add(int(row[0]))
                self.remember("instance", instance_id, "healed", "", wall)
        return healed

"""What the ledger says is stored, read piece by piece to be held against the archive."""

from __future__ import annotations

from collections.abc import Sequence

from dicomsync.ledger.reader import Reader
from dicomsync.ledger.rows import asked_for
from dicomsync.ledger.stored import READY, stored
from dicomsync.model import Due


class StoredReader(Reader):
    """Reads what is stored; each question is a look of its own, so that a long check holds nothing up."""

    def studies_stored(
        self, after: int, most: int, study_instance_uid: str | None = None, since: float | None = None
    ) -> list[tuple[int, str]]:
        """Give studies of which something is stored, since then if given, by row from `after` on."""
        wanted = None if study_instance_uid is None else asked_for(study_instance_uid)
        rows = self._db.execute(
            """SELECT s.id, s.study_instance_uid FROM studies s
            WHERE s.id > ? AND s.study_instance_uid = coalesce(?, s.study_instance_uid) AND EXISTS (
                SELECT 1 FROM instances i
                WHERE i.study_id = s.id AND i.state = 'stored' AND i.stored_at >= coalesce(?, i.stored_at))
            ORDER BY s.id LIMIT ?""",
            (after, wanted, since, most),
        ).fetchall()
        return [(row[0], row[1]) for row in rows]

    def stored_in(self, study_id: int, after: int, most: int, since: float | None = None) -> list[Due]:
        """Give a study's stored instances by row from `after` on, those stored since then if given."""
        condition = "i.study_id = ? AND i.id > ? AND i.stored_at >= coalesce(?, i.stored_at)"
        return stored(self._db, condition, (study_id, after, since), "i.id", most)

    def known(self, sop_instance_uids: Sequence[str]) -> set[str]:
        """Say which of these SOP Instance UIDs the ledger knows, whatever it says of them."""
        return {
            uid
            for uid in sop_instance_uids
            if self._db.execute(
                "SELECT 1 FROM instances WHERE sop_instance_uid = ? LIMIT 1", (uid,)
            ).fetchone()
        }

    def still_stored(self, instance_ids: Sequence[int]) -> dict[int, bool]:
        """Give those of these that are stored still, each with whether a file could supply it again."""
        found = {}
        for instance_id in instance_ids:
            row = self._db.execute(
                f"SELECT {READY} FROM instances i WHERE i.id = ? AND i.state = 'stored'", (instance_id,)
            ).fetchone()
            if row is not None:
                found[instance_id] = bool(row[0])
        return found

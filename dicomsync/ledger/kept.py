"""The copies of what mirrored deletions took from the archive: what is still needed, and taking one back."""

from __future__ import annotations

from dicomsync.ledger.conditions import CLAIMED, OPEN
from dicomsync.ledger.instances import InstanceVerbs

MIRRORED, UNDONE = "mirrored", "undone"
"""The reasons of an instance that is being deleted as its file left, or is; and of one taken back."""


class CopyVerbs(InstanceVerbs):
    """What is recorded and asked of copies in the trash; each verb is part of its caller's transaction."""

    def kept_copies(self) -> list[tuple[int, bytes, int, float]]:
        """Give row, path, size and age in its folder's seconds of every copy in the trash."""
        rows = self._db.execute(
            """SELECT r.id, r.kept, json_extract(r.kept_key, '$.size_bytes'), t.seconds - r.kept_seconds
            FROM removals r JOIN roots t ON t.id = r.root_id WHERE r.kept IS NOT NULL"""
        )
        return [(row[0], bytes(row[1]), int(row[2]), float(row[3])) for row in rows]

    def forget_copy(self, removal_id: int) -> bool:
        """Let go of a copy; False while it is needed."""
        row = self._db.execute(
            f"""UPDATE removals SET kept = NULL WHERE id = ? AND NOT ({OPEN}) AND NOT EXISTS (
                SELECT 1 FROM instances i WHERE i.id = removals.instance_id AND removals.stage = 'undone'
                AND i.state IN ('pending', 'sending', 'unconfirmed')) RETURNING id""",
            (removal_id,),
        ).fetchone()
        return row is not None

    def copy_lost(self, removal_id: int) -> None:
        """Record that a copy is not in the trash any more as it was put there."""
        self._db.execute("UPDATE removals SET kept = NULL WHERE id = ?", (removal_id,))

    def undo(self, sop_instance_uid: str, at: float, wall: float) -> str:
        """Let a copy from the trash be stored again; gives why not, "" if it will be."""
        row = self._db.execute(
            f"""SELECT i.id, r.id, r.kept, i.study_id FROM instances i JOIN removals r ON r.instance_id = i.id
            WHERE i.sop_instance_uid = ? AND i.state = 'deleted' AND i.reason = '{MIRRORED}'
                AND r.stage = 'deleted' ORDER BY r.id DESC LIMIT 1""",
            (sop_instance_uid,),
        ).fetchone()
        if row is None:
            return "not-mirrored"
        if not row[2]:
            return "copy-gone"
        taken = self._db.execute(
            f"SELECT 1 FROM instances WHERE sop_instance_uid = ? AND {CLAIMED}", (sop_instance_uid,)
        ).fetchone()
        if taken is not None:
            return "uid-taken"
        self._db.execute("UPDATE removals SET stage = 'undone' WHERE id = ?", (row[1],))
        self.due_again(row[0], UNDONE, at)
        self.remember("instance", row[0], "deletion-undone", "", wall)
        return ""

    def due_again(self, instance_id: int, reason: str, at: float) -> None:
        """Let an instance that was deleted be stored as if it had just come."""
        row = self._db.execute(
            """UPDATE instances SET state = 'pending', reason = ?, detail = '', due_at = ?, attempts = 0,
                unclear = 0, looks = 0, together = NULL, stored_at = NULL, verified_at = NULL, found = '',
                found_at = NULL, check_at = NULL WHERE id = ? RETURNING study_id""",
            (reason, at, instance_id),
        ).fetchone()
        self._touched.add(int(row[0]))

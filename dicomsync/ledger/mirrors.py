"""Mirrored deletions: which folders mirror, what has left them, and how far each removal has come.

Deletions by a person are another matter (`deletions`): these carry the reasons 'removed' and 'mirrored'.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from dicomsync.deletion import WINDOW_SECONDS, Left, Root
from dicomsync.ledger.conditions import CLAIMED, OPEN
from dicomsync.ledger.kept import MIRRORED, CopyVerbs
from dicomsync.ledger.removal_rows import Removal, RootRow
from dicomsync.ledger.removals import REMOVALS, ROOTS, below, removals_of, roots_of
from dicomsync.model import InstanceState, StatKey

REMOVED = "removed"
"""The reason of an instance that is leaving; MIRRORED is that of one that is being deleted, or is."""

LEDGER_FROM, CLOCK_FROM = "mirrors_from", "clock_from"
"""Facts: the last instance there was when the ledger was in doubt, and when the wall clock went back."""


class MirrorVerbs(CopyVerbs):
    """Verbs of mirrored deletions; each belongs inside a transaction."""

    # folders

    def mirror(self, path: bytes, mode: str, conditions: str, wall: float) -> RootRow:
        """Record that a folder mirrors, and under which conditions: under new ones evidence begins again."""
        row = self._db.execute("SELECT id, conditions FROM roots WHERE path = ?", (path,)).fetchone()
        if row is None:
            self._db.execute(
                "INSERT INTO roots (path, mode, conditions) VALUES (?, ?, ?)", (path, mode, conditions)
            )
        elif row[1] != conditions:
            self._db.execute(
                "UPDATE roots SET mode = ?, conditions = ? WHERE id = ?", (mode, conditions, row[0])
            )
            self._db.execute(
                "UPDATE roots SET frozen = '', frozen_at = NULL WHERE id = ? AND frozen = 'cannot-delete'",
                (row[0],),
            )
            self.begin_again("config", wall, row[0])
        return next(one for one in self.roots() if one.path == path)

    def mirror_no_more(self, but: Iterable[bytes], wall: float) -> None:
        """Let go of everything that has left folders other than these."""
        for root in self.roots():
            if root.path not in but and root.mode != "off":
                self._db.execute(
                    "UPDATE roots SET mode = 'off', conditions = '' WHERE id = ?", (root.root_id,)
                )
                self.thaw(root.root_id)
                for one in self.removals(root.root_id):
                    if one.stage != "deleting":  # what became of that is asked first
                        self.give_up(one, "off", wall)

    def enrol(self, path: bytes, identity: Root, wall: float) -> int:
        """Record which folder this is; evidence begins again. Gives its row."""
        kept = json.dumps(asdict(identity) | {"nested": [one.hex() for one in identity.nested]})
        self._db.execute(
            """INSERT INTO roots (path, mode, conditions, identity, enrolled_at)
            VALUES (?1, 'off', '', ?2, ?3)
            ON CONFLICT (path) DO UPDATE SET identity = ?2, enrolled_at = ?3, unhealthy = ''""",
            (path, kept, wall),
        )
        row = self._db.execute("SELECT id FROM roots WHERE path = ?", (path,)).fetchone()
        self.begin_again("enrolled", wall, row[0])
        return int(row[0])

    def roots(self) -> list[RootRow]:
        """Give every folder that mirrors, or did."""
        return roots_of(self._db.execute(ROOTS).fetchall())

    def folder_row(self, path: bytes) -> int | None:
        """Give the row by which logs name a folder; None while it was never read."""
        row = self._db.execute("SELECT id FROM folders WHERE path = ?", (path,)).fetchone()
        return None if row is None else int(row[0])

    def tick(self, root_id: int, seconds: float, unhealthy: str) -> None:
        """Let a folder's clock go on by what it was seen to be healthy for."""
        self._db.execute(
            "UPDATE roots SET seconds = seconds + ?, unhealthy = ? WHERE id = ?",
            (seconds, unhealthy, root_id),
        )

    def note_nested(self, root: RootRow, nested: Sequence[bytes]) -> None:
        """Remember places where something was once mounted: what was there is never proved absent."""
        if root.identity is None or set(nested) <= set(root.identity.nested):
            return
        told = sorted({*nested, *root.identity.nested})
        kept = asdict(root.identity) | {"nested": [one.hex() for one in told]}
        self._db.execute("UPDATE roots SET identity = ? WHERE id = ?", (json.dumps(kept), root.root_id))

    def freeze(self, root_id: int, why: str, wall: float) -> None:
        """Stop every deletion of a folder until a person has looked."""
        self._db.execute("UPDATE roots SET frozen = ?, frozen_at = ? WHERE id = ?", (why, wall, root_id))

    def thaw(self, root_id: int) -> None:
        """Let a folder's deletions go on."""
        self._db.execute("UPDATE roots SET frozen = '', frozen_at = NULL WHERE id = ?", (root_id,))

    def begin_again(self, why: str, wall: float, root_id: int | None = None) -> None:
        """Forget the evidence: what has left must be proved absent anew, and serve its grace anew."""
        for one in self.removals(root_id):
            if one.stage in ("absent", "confirmed", "grace"):
                self._leave_again(one)
                self.remember("instance", one.due.instance_id, "deletion-begins-again", why, wall)
            elif one.stage == "deleting":  # what became of it is asked; if nothing did, it begins again
                self._forget_proofs(one)

    def distrust(self, what: str) -> None:
        """Remember which instances there are now: of them something is not to be relied on any more."""
        (last,) = self._db.execute("SELECT coalesce(max(id), 0) FROM instances").fetchone()
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (what, str(last)))

    # leaving and coming back

    def note_left(self, instance_id: int, path: bytes, wall: float) -> None:
        """Take down that a file has left a folder that mirrors, with the instance that it held."""
        inside = [one for one in self.roots() if one.mode != "off" and below(path, one.path)]
        if not inside:
            return
        for one in self.removals(instance_id=instance_id):
            if one.stage == "deleting":
                return
            self.give_up(one, "elsewhere", wall)  # until now another file held it
        self._db.execute(
            "INSERT INTO removals (root_id, instance_id, stage, left_at) VALUES (?, ?, 'left', ?)",
            (inside[0].root_id, instance_id, wall),
        )
        self.remember("instance", instance_id, "file-left", "", wall)

    def came_back(self, instance_id: int, wall: float) -> None:
        """Cancel what a file's return makes void; a deletion on its way is settled by its outcome."""
        for one in self.removals(instance_id=instance_id):
            if one.stage != "deleting":
                self.give_up(one, "reappeared", wall)

    # removals

    def removals(
        self, root_id: int | None = None, *, instance_id: int | None = None, stage: str | None = None
    ) -> list[Removal]:
        """Give the open removals, the longest graced first."""
        given = {"r.root_id": root_id, "r.instance_id": instance_id, "r.stage": stage}
        wanted = {column: value for column, value in given.items() if value is not None}
        where = "".join(f" AND {column} = ?" for column in wanted)
        query = f"{REMOVALS} WHERE {OPEN}{where} ORDER BY r.graced_seconds IS NULL, r.graced_seconds, r.id"
        return removals_of(self._db.execute(query, tuple(wanted.values())).fetchall())

    def removal(self, removal_id: int) -> Removal | None:
        """Give one removal, None once it is over."""
        found = removals_of(
            self._db.execute(f"{REMOVALS} WHERE {OPEN} AND r.id = ?", (removal_id,)).fetchall()
        )
        return found[0] if found else None

    def open_removals(self) -> int:
        """Count the open removals."""
        return int(self._db.execute(f"SELECT count(*) FROM removals WHERE {OPEN}").fetchone()[0])

    def left(self, one: Removal, root: RootRow) -> Left:
        """Give what is known of an instance whose file has left."""
        row = self._db.execute(
            """SELECT i.state, CASE WHEN i.state IN ('leaving', 'deleting') THEN r.was ELSE i.reason END,
                i.live, i.verified_at IS NOT NULL, i.sha256 IS NOT NULL, i.found, i.stored_at, r.left_at
            FROM removals r JOIN instances i ON i.id = r.instance_id WHERE r.id = ?""",
            (one.removal_id,),
        ).fetchone()
        paths = self.paths_of(one.due.instance_id)
        nested = [*(root.identity.nested if root.identity else ()), *self._nested()]
        return Left(
            InstanceState(row[0]),
            row[1],
            bool(row[2]),
            bool(row[3]),
            bool(row[4]),
            row[5],
            row[6],
            row[7],
            ledger_trusted=one.due.instance_id > self._last_distrusted(LEDGER_FROM),
            clock_trusted=one.due.instance_id > self._last_distrusted(CLOCK_FROM),
            one_folder=bool(paths) and all(below(path, root.path) for path in paths),
            one_disk=not any(below(path, place) for path in paths for place in nested)
            and (root.identity is None or self._seen_in(one.due.instance_id, root.identity)),
        )

    def _seen_in(self, instance_id: int, enrolled: Root) -> bool:
        """Say whether every file that holds an instance, or did, was last seen in the folder enrolled."""
        row = self._db.execute(
            """SELECT count(*) FROM files WHERE instance_id = ? AND place IS NOT
                (SELECT id FROM places WHERE device = ? AND inode = ?)""",
            (instance_id, enrolled.device, enrolled.inode),
        ).fetchone()
        return int(row[0]) == 0

    def paths_of(self, instance_id: int) -> list[bytes]:
        """Give the paths of every file that holds an instance, or held it when it left."""
        rows = self._db.execute(
            """SELECT CAST(d.path || '/' || f.name AS BLOB) FROM files f
            JOIN directories d ON d.id = f.directory_id WHERE f.instance_id = ? ORDER BY 1""",
            (instance_id,),
        )
        return [bytes(row[0]) for row in rows]

    def held_elsewhere(self, one: Removal) -> bool:
        """Say whether any file there is now holds this SOP Instance UID, or may hold this content."""
        uid = one.due.sop_instance_uid
        row = self._db.execute(
            """SELECT EXISTS (SELECT 1 FROM files f WHERE f.state IN ('ready', 'settling', 'held')
                AND f.instance_id IN (SELECT id FROM instances WHERE sop_instance_uid = ?1))
            OR EXISTS (SELECT 1 FROM files WHERE reason = 'earlier' AND state = 'ignored'
                AND size_bytes = ?2)""",
            (uid, one.due.size_bytes),
        ).fetchone()
        return bool(row[0])

    def contents_unknown(self) -> bool:
        """Say whether there is any file of which it is not known what it holds."""
        row = self._db.execute(
            """SELECT EXISTS (SELECT 1 FROM files WHERE state = 'settling') OR EXISTS (SELECT 1 FROM files
                WHERE state = 'held' AND reason IN ('unreadable', 'resource', 'poison'))"""
        ).fetchone()
        return bool(row[0])

    def study_open(self, one: Removal) -> bool:
        """Say whether anything else of its study is on its way, in conflict, or not known."""
        row = self._db.execute(
            """SELECT 1 FROM instances WHERE study_id = ? AND id <> ?
            AND state IN ('pending', 'sending', 'unconfirmed', 'conflict', 'deleting') LIMIT 1""",
            (one.study_id, one.due.instance_id),
        ).fetchone()
        return row is not None

    def doubts_left(self) -> bool:
        """Say whether anything is still to be asked about because the ledger is not the one of before."""
        row = self._db.execute(
            "SELECT 1 FROM instances WHERE state = 'unconfirmed' AND reason = 'doubted' LIMIT 1"
        ).fetchone()
        return row is not None

    def live_in(self, root: RootRow, since: int) -> int:
        """Count the instances that files in a folder supply, in directories read by that pass or later."""
        inside = root.path.rstrip(b"/")
        row = self._db.execute(
            f"""SELECT count(DISTINCT f.instance_id) FROM directories d
            CROSS JOIN files f ON f.directory_id = d.id CROSS JOIN instances i ON i.id = f.instance_id
            WHERE (d.path = ? OR (d.path >= ? AND d.path < ?)) AND d.scan >= ?
                AND f.state IN ('ready', 'settling') AND i.{CLAIMED}""",
            (root.path, inside + b"/", inside + b"0", since),
        ).fetchone()
        return int(row[0])

    def gone_lately(self, root: RootRow) -> int:
        """Count what was deleted of what left a folder in its last 24 hours, and no person approved.

        Where evidence began again while it was being deleted, only when that was done is known.
        """
        row = self._db.execute(
            """SELECT count(*) FROM removals WHERE root_id = ? AND stage IN ('deleted', 'undone')
            AND NOT approved AND coalesce(first_seconds, ended_seconds) > ?""",
            (root.root_id, root.seconds - WINDOW_SECONDS),
        ).fetchone()
        return int(row[0])

    def proved_once(self, one: Removal, scan: int, seconds: float, *, directory_gone: bool) -> None:
        """Record the first proof that it is absent."""
        self._stage(one, "absent", ", first_scan = ?, first_seconds = ?, directory_gone = ?", (
            scan, seconds, int(directory_gone)))  # fmt: skip

    def proved_again(self, one: Removal, seconds: float, wall: float) -> None:
        """Record the second proof: its grace begins, once it is compared."""
        self._stage(one, "confirmed", ", graced_seconds = ?", (seconds,))
        self.remember("instance", one.due.instance_id, "proved-absent", "", wall)

    def still_absent(self, one: Removal, *, directory_gone: bool) -> None:
        """Record what a later pass saw."""
        self._db.execute(
            "UPDATE removals SET directory_gone = max(directory_gone, ?) WHERE id = ?",
            (int(directory_gone), one.removal_id),
        )

    def let_leave(self, one: Removal, wall: float, *, really: bool) -> None:
        """Begin the grace of what is proved absent and compared; `really`: it is to be deleted then."""
        self._stage(one, "grace")
        if really:
            self._become(one, InstanceState.LEAVING, REMOVED)
        self.remember("instance", one.due.instance_id, "grace-begins", "", wall)

    def keep_back(self, one: Removal, why: str) -> None:
        """Record what a removal waits for."""
        self._db.execute("UPDATE removals SET reason = ? WHERE id = ?", (why, one.removal_id))

    def compared(self, one: Removal, wall: float) -> None:
        """Record that the archive's copy was just found equal, byte by byte."""
        self._db.execute(
            """UPDATE instances SET verified_at = ?, found = 'equal', found_at = ?
            WHERE id = ? AND state IN ('stored', 'leaving')""",
            (wall, wall, one.due.instance_id),
        )

    def intend(
        self, one: Removal, kept: tuple[bytes, StatKey] | None, seconds: float, wall: float
    ) -> bytes | None:
        """Record the intent to delete it, and where its copy is kept; gives that of an earlier intent."""
        earlier = self._db.execute("SELECT kept FROM removals WHERE id = ?", (one.removal_id,)).fetchone()[0]
        self._stage(one, "deleting")
        if kept is not None:
            self._db.execute(
                "UPDATE removals SET kept = ?, kept_key = ?, kept_seconds = ? WHERE id = ?",
                (kept[0], json.dumps(kept[1]._asdict()), seconds, one.removal_id),
            )
        self._become(one, InstanceState.DELETING, MIRRORED)
        self.remember("instance", one.due.instance_id, "deletion-begun", "", wall)
        return None if earlier is None or kept is None else bytes(earlier)

    def not_deleted(self, one: Removal, why: str, wall: float) -> None:
        """Let what the archive still has be a candidate again; by what was proved, if that still holds."""
        (mode,) = self._db.execute("SELECT mode FROM roots WHERE id = ?", (one.root_id,)).fetchone()
        if mode == "off":
            self.give_up(one, "off", wall)
            return
        if one.first_scan is None:
            self._leave_again(one)
        else:
            self._stage(one, "grace")
            self._become(one, InstanceState.LEAVING, REMOVED)
            self.keep_back(one, why)
        self.remember("instance", one.due.instance_id, "not-deleted", why, wall)

    def mirrored(self, one: Removal, seconds: float, at: float, wall: float) -> None:
        """Record that the archive has it no more; if a file has come back meanwhile, it is due again."""
        self._stage(one, "deleted", ", ended_seconds = ?", (seconds,))
        self.remember("instance", one.due.instance_id, "mirrored", "", wall)
        self._become(one, InstanceState.DELETED, MIRRORED)
        if self.source(one.due.instance_id) is not None:
            self.due_again(one.due.instance_id, "reappeared", at)

    def give_up(self, one: Removal, why: str, wall: float) -> None:
        """End a removal of which nothing comes: the instance is stored, as it was."""
        self._restore(one)
        (seconds,) = self._db.execute("SELECT seconds FROM roots WHERE id = ?", (one.root_id,)).fetchone()
        self._stage(one, "over", ", ended_seconds = ?", (seconds,))
        self.keep_back(one, why)
        self.remember("instance", one.due.instance_id, "stays", why, wall)

    def approve(self, root_id: int, wall: float) -> int:
        """Let what waits in a frozen folder go on, as a person wishes; gives how much that is."""
        waiting = self.removals(root_id)
        for one in waiting:
            self._db.execute("UPDATE removals SET approved = 1 WHERE id = ?", (one.removal_id,))
            self.remember("instance", one.due.instance_id, "deletion-approved", "", wall)
        self.thaw(root_id)
        return len(waiting)

    # how instances change

    def _stage(self, one: Removal, stage: str, more: str = "", values: Sequence[object] = ()) -> None:
        self._db.execute(
            f"UPDATE removals SET stage = ?, reason = ''{more} WHERE id = ?", (stage, *values, one.removal_id)
        )

    def _become(self, one: Removal, state: InstanceState, reason: str) -> None:
        self._db.execute(
            """UPDATE removals SET was = (SELECT i.reason FROM instances i WHERE i.id = instance_id)
            WHERE id = ? AND EXISTS (
                SELECT 1 FROM instances i WHERE i.id = instance_id AND i.state = 'stored')""",
            (one.removal_id,),
        )
        row = self._db.execute(
            "UPDATE instances SET state = ?, reason = ? WHERE id = ? RETURNING study_id",
            (state, reason, one.due.instance_id),
        ).fetchone()
        self._touched.add(int(row[0]))

    def _restore(self, one: Removal) -> None:
        self._db.execute(
            f"""UPDATE instances SET state = 'stored',
                reason = (SELECT was FROM removals WHERE id = ?)
            WHERE id = ? AND ((state = 'leaving' AND reason = '{REMOVED}')
                OR (state = 'deleting' AND reason = '{MIRRORED}'))""",
            (one.removal_id, one.due.instance_id),
        )

    def _leave_again(self, one: Removal) -> None:
        self._restore(one)
        self._forget_proofs(one)
        self._stage(one, "left")

    def _forget_proofs(self, one: Removal) -> None:
        self._db.execute(
            """UPDATE removals SET first_scan = NULL, first_seconds = NULL, graced_seconds = NULL
            WHERE id = ?""",
            (one.removal_id,),
        )

    def _nested(self) -> list[bytes]:
        return [bytes(row[0]) for row in self._db.execute("SELECT path FROM directories WHERE nested = 1")]

    def _last_distrusted(self, name: str) -> int:
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return 0 if row is None else int(row[0])

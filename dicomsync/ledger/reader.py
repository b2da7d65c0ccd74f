"""The ledger read-only: what status, explain and reports ask. Never holds the writer up."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dicomsync.ledger.account import AccountQueries
from dicomsync.ledger.conditions import LOST, WAITING
from dicomsync.ledger.conflict_reader import ConflictReader
from dicomsync.ledger.pruning import Prunable, prunable
from dicomsync.ledger.rows import asked_for, ends
from dicomsync.ledger.standing import Standing
from dicomsync.ledger.tallies import TallyQueries
from dicomsync.model import FileState, InstanceState

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many files, or instances without a file, end in one pair of states for one reason."""

    file_state: FileState
    file_reason: str
    instance_state: InstanceState | None
    instance_reason: str
    n: int
    size_bytes: int = 0

    @property
    def state(self) -> FileState | InstanceState:
        """Where these files end."""
        return ends(self.file_state, self.instance_state)

    @property
    def reason(self) -> str:
        """Why they are where they are."""
        return self.file_reason if isinstance(self.state, FileState) else self.instance_reason


class Reader(Standing, AccountQueries, ConflictReader, TallyQueries):
    """Reads all that people ask; used as `Standing` is."""

    def prunable(self, before: float) -> Prunable:
        """Say how much that was settled before that moment (wall seconds) need not be remembered."""
        return prunable(self._connection, before)

    def lost_instances(self, most: int) -> list[Row]:
        """Give such instances, `most` of them at most."""
        rows = self._db.execute(f"{_INSTANCE} WHERE {LOST} LIMIT ?", (most,))
        return [dict(row) for row in rows]

    def outcomes(self, roots: Sequence[bytes] = ()) -> list[Outcome]:
        """Count the files below `roots` (none: everywhere) by where they and their instances are.

        Nearly all are ready and stored, with nothing to say: those are added up as they come, which takes
        half of the time that sorting them into groups would.
        """
        self._db.execute("SAVEPOINT outcomes")  # all of one moment
        try:
            where, values = _below(() if self._hold_all(roots) else roots)
            below = f"JOIN directories d ON d.id = f.directory_id {where}" if where else ""
            (n,) = self._db.execute(f"SELECT count(*) FROM files f {below}", values).fetchone()
            # All there are, as they lie: by way of their directories it would take half as long again.
            files = "files f JOIN directories d ON d.id = f.directory_id" if where else "files f NOT INDEXED"
            both = f"FROM {files} LEFT JOIN instances i ON i.id = f.instance_id {where or 'WHERE 1'}"
            summed = f"SELECT count(*), sum(f.size_bytes) {both} AND {_PLAIN}"
            plain, size_bytes = self._db.execute(summed, values).fetchone()
            rows: list[Sequence[Any]] = [("ready", "", "stored", "", plain, size_bytes)] if plain else []
            if n > plain:
                rows += self._db.execute(
                    f"""SELECT f.state, f.reason, i.state, i.reason, count(*), sum(f.size_bytes)
                    {both} AND ({_PLAIN}) IS NOT TRUE GROUP BY 1, 2, 3, 4""",
                    values,
                ).fetchall()
        finally:
            self._db.execute("RELEASE outcomes")
        rows.sort(key=lambda row: -row[4])
        return [
            Outcome(FileState(r[0]), r[1], InstanceState(r[2]) if r[2] else None, r[3] or "", *r[4:])
            for r in rows
        ]

    def _hold_all(self, roots: Sequence[bytes]) -> bool:
        """Say whether every directory that was ever read is one of `roots`, or below one."""
        where, values = _below_directories(roots)
        outside = f"SELECT EXISTS (SELECT 1 FROM directories d WHERE ({where}) IS NOT TRUE)"
        return bool(roots) and not self._db.execute(outside, values).fetchone()[0]

    def studies_below(self, roots: Sequence[bytes]) -> tuple[int, int]:
        """Say how many studies have files below `roots`, and how many of them something due."""
        where, values = _below(roots)
        row = self._db.execute(
            f"""SELECT count(DISTINCT i.study_id), count(DISTINCT CASE WHEN i.{WAITING} THEN i.study_id END)
            FROM files f JOIN directories d ON d.id = f.directory_id
            JOIN instances i ON i.id = f.instance_id {where}""",
            values,
        ).fetchone()
        return row[0], row[1]

    def problems(self, most: int, roots: Sequence[bytes] = ()) -> list[Row]:
        """Give files that need a person, `most` of them at most."""
        where, values = _below(roots)
        rows = self._db.execute(
            f"""SELECT f.id AS file_id, CAST(d.path || '/' || f.name AS BLOB) AS path, f.state AS file_state,
                f.reason AS file_reason, f.detail AS file_detail, i.id AS instance_id, i.state, i.reason,
                i.detail
            FROM files f JOIN directories d ON d.id = f.directory_id
            LEFT JOIN instances i ON i.id = f.instance_id
            {where or "WHERE 1"} AND (f.state IN ('held', 'missed')
                OR i.state IN ('conflict', 'rejected', 'missed')) LIMIT ?""",
            (*values, most),
        )
        return [dict(row) for row in rows]

    # one file, instance, study or batch

    def file(self, file_id: int) -> Row | None:
        """Give one file by its row."""
        return self._one(f"{_FILE} WHERE f.id = ?", (file_id,))

    def file_at(self, path: bytes) -> Row | None:
        """Give one file by its path."""
        directory, name = os.path.split(path)
        return self._one(f"{_FILE} WHERE d.path = ? AND f.name = ?", (directory, name))

    def files_of(self, instance_id: int, most: int = 20) -> list[Row]:
        """Give the files that hold, or held, an instance."""
        rows = self._db.execute(f"{_FILE} WHERE f.instance_id = ? ORDER BY f.id LIMIT ?", (instance_id, most))
        return [dict(row) for row in rows]

    def instance(self, instance_id: int) -> Row | None:
        """Give one instance by its row."""
        return self._one(f"{_INSTANCE} WHERE i.id = ?", (instance_id,))

    def instances_under(self, uid: str) -> list[Row]:
        """Give every instance under one SOP Instance UID."""
        rows = self._db.execute(f"{_INSTANCE} WHERE i.sop_instance_uid = ? ORDER BY i.claims DESC", (uid,))
        return [dict(row) for row in rows]

    def study(self, study_id: int) -> Row | None:
        """Give one study by its row."""
        return self._one("SELECT * FROM studies WHERE id = ?", (study_id,))

    def study_under(self, uid: str) -> Row | None:
        """Give one study by its UID."""
        return self._one("SELECT * FROM studies WHERE study_instance_uid = ?", (asked_for(uid),))

    def states_in(self, study_id: int) -> list[Row]:
        """Count a study's instances by state and reason."""
        rows = self._db.execute(
            """SELECT state, reason, count(*) AS n, sum(size_bytes) AS size_bytes, min(due_at) AS due_at,
                count(verified_at) AS verified, max(stored_at) AS stored_at
            FROM instances WHERE study_id = ? GROUP BY state, reason ORDER BY n DESC""",
            (study_id,),
        )
        return [dict(row) for row in rows]

    def batch(self, batch_id: int) -> Row | None:
        """Give one batch by its row."""
        return self._one("SELECT * FROM batches WHERE id = ?", (batch_id,))

    def last_batch(self) -> int:
        """Give the number of the latest batch, 0 where there is none."""
        (number,) = self._db.execute("SELECT coalesce(max(id), 0) FROM batches").fetchone()
        return int(number)

    def batches(self, after: int, most: int) -> list[Row]:
        """Give the first batches after the one of that number, in order."""
        rows = self._db.execute("SELECT * FROM batches WHERE id > ? ORDER BY id LIMIT ?", (after, most))
        return [dict(row) for row in rows]

    def batches_in_all(self, after: int) -> tuple[int, int, int]:
        """Count the batches after the one of that number, their instances, and their bytes."""
        n, instances, size = self._db.execute(
            """SELECT count(*), coalesce(sum(instances), 0), coalesce(sum(size_bytes), 0)
            FROM batches WHERE id > ?""",
            (after,),
        ).fetchone()
        return int(n), int(instances), int(size)

    def batches_of(self, study_id: int, most: int = 10) -> list[Row]:
        """Give a study's latest batches."""
        rows = self._db.execute(
            "SELECT * FROM batches WHERE study_id = ? ORDER BY id DESC LIMIT ?", (study_id, most)
        )
        return [dict(row) for row in rows]

    def directory(self, directory_id: int) -> Row | None:
        """Give one directory by its row."""
        return self._one("SELECT * FROM directories WHERE id = ?", (directory_id,))

    def folder_path(self, folder_id: int) -> bytes | None:
        """Give the path of one folder by its row."""
        row = self._one("SELECT path FROM folders WHERE id = ?", (folder_id,))
        return None if row is None else bytes(row["path"])

    def history(self, what: str, row: int, most: int = 20) -> list[Row]:
        """Give what is out of the ordinary in the life of a row, the latest last."""
        rows = self._db.execute(
            """SELECT * FROM (SELECT * FROM history WHERE what = ? AND row = ? ORDER BY id DESC LIMIT ?)
            ORDER BY id""",
            (what, row, most),
        )
        return [dict(one) for one in rows]

    def _one(self, query: str, values: tuple[object, ...]) -> Row | None:
        row = self._db.execute(query, values).fetchone()
        return None if row is None else dict(row)


_PLAIN = "f.state = 'ready' AND f.reason = '' AND i.state = 'stored' AND i.reason = ''"
_FILE = """SELECT f.*, CAST(d.path || '/' || f.name AS BLOB) AS path
    FROM files f JOIN directories d ON d.id = f.directory_id"""
_INSTANCE = """SELECT i.*, s.study_instance_uid FROM instances i JOIN studies s ON s.id = i.study_id"""


def _below(roots: Sequence[bytes]) -> tuple[str, tuple[bytes, ...]]:
    """Give the condition for the files at and below `roots`."""
    if not roots:
        return "", ()
    conditions, values = _below_directories(roots)
    single = " OR ".join(["d.path = ? AND f.name = ?"] * len(roots))  # a root may be a single file
    files = (part for root in roots for part in os.path.split(root))
    return f"WHERE ({conditions} OR {single})", (*values, *files)


def _below_directories(roots: Sequence[bytes]) -> tuple[str, tuple[bytes, ...]]:
    """Give the condition for the directories at and below `roots`."""
    values: list[bytes] = []
    for root in roots:
        values += [root, root.rstrip(b"/") + b"/", root.rstrip(b"/") + b"0"]  # "0" follows "/"
    return " OR ".join(["d.path = ? OR d.path >= ? AND d.path < ?"] * len(roots)), tuple(values)

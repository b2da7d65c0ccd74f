"""The writer's verbs about instances, studies and batches."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any

from dicomsync.claims import Known
from dicomsync.ledger import many
from dicomsync.ledger.conditions import WAITING
from dicomsync.ledger.files import FileVerbs, kept, source_from
from dicomsync.ledger.rows import Arrival, DueStudy
from dicomsync.model import CLAIMING, DUE, Due, InstanceState, Source, Transition, Whole

_STUDIES_CACHED = 10_000

_ADD_INSTANCES = """INSERT INTO instances (study_id, series_instance_uid, sop_instance_uid, sop_class_uid,
        transfer_syntax_uid, size_bytes, preamble, sha256, state, claims, waits, reason, seen_at, due_at,
        live)
    VALUES {rows}"""

# `waits` is set here too, although a trigger would: that took another update for each row.
_MOVE = """WITH given (id, sha256) AS (VALUES {rows})
    UPDATE instances SET state = ?, waits = ?, reason = ?,
        detail = coalesce(nullif(?, ''), CASE WHEN state = 'unconfirmed' THEN detail ELSE '' END),
        due_at = ?,
        attempts = attempts + ?, unclear = unclear + ?, looks = ?, together = ?,
        sha256 = coalesce(given.sha256, instances.sha256),
        stored_at = coalesce(stored_at, ?), verified_at = coalesce(?, verified_at)
    FROM given WHERE instances.id = given.id"""

_NEXT_STUDY = """SELECT due_at FROM studies WHERE ahead = {} AND due_at IS NOT NULL AND pending > 0
    ORDER BY due_at LIMIT 1"""  # of both at once, all that are due would be read


class InstanceVerbs(FileVerbs):
    """What the engine records and asks of instances; each verb is a few statements in its transaction."""

    _db: sqlite3.Connection
    _study_ids: dict[str, int]
    _touched: set[int]

    def known(self, sop_instance_uid: str, but_file: int | None = None) -> list[Known]:
        """Give every instance under this UID, with the smallest path, other than a file's own, of each."""
        rows = self._db.execute(
            """SELECT id, state, study_id, series_instance_uid, size_bytes, sha256, reason FROM instances
            WHERE sop_instance_uid = ? ORDER BY claims DESC""",
            (sop_instance_uid,),
        ).fetchall()
        return [self._known(row, but_file) for row in rows]

    def _known(self, row: tuple[int, str, int, str, int, bytes | None, str], but_file: int | None) -> Known:
        study = self._db.execute("SELECT study_instance_uid FROM studies WHERE id = ?", (row[2],)).fetchone()
        source, state = self.source(row[0], but_file), InstanceState(row[1])
        path = source.path if source else None
        reason = row[6] if state is InstanceState.CONFLICT else ""
        yielded, resolving = reason == "other-file", reason == "resolving"
        mirrored = state is InstanceState.DELETED and row[6] == "mirrored"
        return Known(row[0], state, study[0], row[3], row[4], row[5], path, yielded, resolving, mirrored)

    def study(self, study_instance_uid: str, wall: float) -> int:
        """Give the row of a study, made when it is new."""
        known = self._study_ids.get(study_instance_uid)
        if known is not None:
            return known
        if len(self._study_ids) > _STUDIES_CACHED:
            self._study_ids.clear()
        self._db.execute(
            "INSERT INTO studies (study_instance_uid, seen_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (study_instance_uid, wall),
        )
        row = self._db.execute(
            "SELECT id FROM studies WHERE study_instance_uid = ?", (study_instance_uid,)
        ).fetchone()
        self._study_ids[study_instance_uid] = int(row[0])
        return int(row[0])

    def taken(self, uids: Iterable[str]) -> set[str]:
        """Say under which of these SOP Instance UIDs the ledger has an instance."""
        wanted = [(uid,) for uid in uids]
        query = "SELECT sop_instance_uid FROM instances WHERE sop_instance_uid IN (VALUES {rows})"
        return {row[0] for row in many.execute(self._db, query, wanted)}

    def add_instance(
        self,
        whole: Whole,
        state: InstanceState,
        reason: str,
        wall: float,
        due_at: float,
        sha256: bytes | None,
        *,
        live: bool = False,
    ) -> int:
        """Record a new instance; gives its row."""
        row = self._row_of(whole, state, reason, wall, due_at, sha256, live)
        return int(many.execute(self._db, f"{_ADD_INSTANCES} RETURNING id", [row])[0][0])

    def add_arrivals(self, arrivals: Sequence[Arrival], wall: float, due_at: float) -> None:
        """Record new instances, each with its file; no SOP Instance UID twice, and none that is taken."""
        rows = [
            self._row_of(one.whole, one.state, one.reason, wall, due_at, None, one.live) for one in arrivals
        ]
        many.execute(self._db, _ADD_INSTANCES, rows)
        self.put_whole([(one.file, one.whole.sop_instance_uid) for one in arrivals], wall)

    def _row_of(
        self,
        whole: Whole,
        state: InstanceState,
        reason: str,
        wall: float,
        due_at: float,
        sha256: bytes | None,
        live: bool,
    ) -> tuple[object, ...]:
        study_id = self.study(whole.study_instance_uid, wall)
        self._touched.add(study_id)
        return (
            study_id,
            whole.series_instance_uid,
            whole.sop_instance_uid,
            whole.sop_class_uid,
            whole.transfer_syntax_uid,
            whole.key.size_bytes,
            whole.preamble,
            sha256,
            state.value,  # sqlite3 takes long to find out that an enum is a str
            1 if state in CLAIMING else None,
            int(state in DUE),
            reason,
            wall,
            due_at,
            int(live),
        )

    def rewrite_instance(self, instance_id: int, whole: Whole, sha256: bytes | None, wall: float) -> None:
        """Record that an instance the archive does not have has other content now.

        Whatever else hung on it held the content of before, and must be looked at anew.
        """
        self._db.execute("UPDATE files SET instance_id = NULL WHERE instance_id = ?", (instance_id,))
        study_id = self.study(whole.study_instance_uid, wall)
        self._touched.add(study_id)
        self._db.execute(
            """UPDATE instances SET study_id = ?, series_instance_uid = ?, sop_class_uid = ?,
                transfer_syntax_uid = ?, size_bytes = ?, preamble = ?, sha256 = ?, attempts = 0,
                unclear = 0, likeness = '', stored_at = NULL, verified_at = NULL, found = '',
                found_at = NULL, check_at = NULL WHERE id = ?""",
            (
                study_id,
                whole.series_instance_uid,
                whole.sop_class_uid,
                whole.transfer_syntax_uid,
                whole.key.size_bytes,
                whole.preamble,
                sha256,
                instance_id,
            ),
        )

    def drop_instance(self, instance_id: int) -> None:
        """Take out an instance that was never sent and that a person has replaced by another content."""
        self._db.execute("UPDATE files SET instance_id = NULL WHERE instance_id = ?", (instance_id,))
        row = self._db.execute(
            "DELETE FROM instances WHERE id = ? RETURNING study_id", (instance_id,)
        ).fetchone()
        self._touched.add(int(row[0]))

    def learn_sha256(self, instance_id: int, sha256: bytes) -> None:
        """Record the SHA-256 of an instance's whole file."""
        self._db.execute("UPDATE instances SET sha256 = ? WHERE id = ?", (sha256, instance_id))

    def move(
        self,
        transitions: Iterable[Transition],
        wall: float,
        due_at: Sequence[float],
        digests: Mapping[int, bytes] | None = None,
    ) -> None:
        """Change where instances are, none of them twice; `due_at` are the moments they are due again.

        `digests` are SHA-256 that were taken, by instance, where the transition does not say one itself.

        What an archive said when it left an instance in doubt stays beside it while it is asked.
        """
        taken = digests or {}
        groups: dict[tuple[object, ...], list[tuple[int, bytes | None]]] = {}
        for change, due in zip(transitions, due_at, strict=True):
            becomes: tuple[object, ...] = (
                change.state.value,
                int(change.state in DUE),
                change.reason,
                change.detail,
                due,
                int(change.counts),
                int(change.unclear),
                change.looks,
                change.together,
                wall if change.state is InstanceState.STORED else None,
                wall if change.verified else None,
            )
            groups.setdefault(becomes, []).append(
                (change.instance_id, change.sha256 or taken.get(change.instance_id))
            )
        for becomes, instances in groups.items():
            many.execute(self._db, _MOVE, instances, becomes)
            studies = many.execute(  # RETURNING would go back to the interpreter for each instance
                self._db,
                "SELECT DISTINCT study_id FROM instances WHERE id IN (VALUES {rows})",
                [(instance_id,) for instance_id, _ in instances],
            )
            self._touched.update(row[0] for row in studies)

    def has_sha256(self, instance_id: int) -> bool:
        """Say whether the bytes of an instance were read already."""
        row = self._db.execute(
            "SELECT sha256 IS NOT NULL FROM instances WHERE id = ?", (instance_id,)
        ).fetchone()
        return bool(row[0])

    def state_of(self, instance_id: int) -> InstanceState | None:
        """Say where an instance is; None if it was taken out."""
        row = self._db.execute("SELECT state FROM instances WHERE id = ?", (instance_id,)).fetchone()
        return None if row is None else InstanceState(row[0])

    def reason_of(self, instance_id: int) -> str:
        """Say why an instance is where it is."""
        row = self._db.execute("SELECT reason FROM instances WHERE id = ?", (instance_id,)).fetchone()
        return str(row[0])

    def touched_studies(self) -> list[tuple[DueStudy, float]]:
        """Give the studies changed in this transaction, with when each will be quiet."""
        found = []
        for study_id in self._touched:
            first = self._db.execute(
                "SELECT min(due_at) FROM instances WHERE study_id = ? AND state = 'pending'", (study_id,)
            ).fetchone()[0]
            row = self._db.execute(
                "SELECT study_instance_uid, pending, pending_bytes, quiet_at FROM studies WHERE id = ?",
                (study_id,),
            ).fetchone()
            found.append((DueStudy(study_id, row[0], row[1], row[2], first or 0.0, 0.0), float(row[3])))
        self._touched.clear()
        return found

    def schedule(self, study_id: int, first_at: float, due_at: float) -> None:
        """Record when a study's next batch goes."""
        self._db.execute(
            """UPDATE studies SET first_at = ?, due_at = CASE WHEN pending > 0 THEN ? END, ahead = live > 0
            WHERE id = ?""",
            (first_at, due_at, study_id),
        )

    def arrived(self, study_instance_uid: str, quiet_at: float, wall: float) -> None:
        """Record that something of a study arrived: it is quiet only after `quiet_at`."""
        study_id = self.study(study_instance_uid, wall)
        self._touched.add(study_id)
        self._db.execute("UPDATE studies SET quiet_at = ? WHERE id = ?", (quiet_at, study_id))

    def quieten(self, directories: Sequence[int], now: float) -> None:
        """Let the studies with pending instances in these directories go without waiting for more."""
        if not directories or not self.count(InstanceState.PENDING):
            return  # else a look at what is all stored would read the row of every file after all
        for directory_id in directories:
            rows = self._db.execute(
                """UPDATE studies SET quiet_at = min(quiet_at, ?) WHERE id IN (
                    SELECT DISTINCT i.study_id FROM files f JOIN instances i ON i.id = f.instance_id
                    WHERE f.directory_id = ? AND i.state = 'pending') RETURNING id""",
                (now, directory_id),
            ).fetchall()
            self._touched.update(int(row[0]) for row in rows)

    def due_studies(self, now: float, most: int = 100, *, live: bool | None = None) -> list[DueStudy]:
        """Give the studies with a batch due, the longest due first: all, the live ones, or the backlog's."""
        rows = [
            row
            for ahead in ((0, 1) if live is None else (int(live),))
            for row in self._db.execute(
                """SELECT id, study_instance_uid, pending, pending_bytes, first_at, due_at, ahead FROM studies
                WHERE ahead = ? AND due_at <= ? AND pending > 0 ORDER BY due_at LIMIT ?""",
                (ahead, now, most),
            )
        ]
        found = [DueStudy(*(*row[:6], bool(row[6]))) for row in rows]
        return sorted(found, key=attrgetter("due_at"))[:most]

    def pending_of(self, study: DueStudy, now: float, most: int) -> list[Due]:
        """Give a study's pending instances that may go now, the longest due first."""
        return self._due(
            "i.study_id = ? AND i.state = 'pending' AND i.due_at <= ?", (study.study_id, now, most)
        )

    def unconfirmed(self, now: float, most: int) -> list[Due]:
        """Give the instances the archive is to be asked about now, the longest due first."""
        return self._due("i.state = 'unconfirmed' AND i.due_at <= ?", (now, most))

    def _due(self, condition: str, values: tuple[object, ...]) -> list[Due]:
        rows = self._db.execute(
            f"""SELECT i.due_at, i.id, s.study_instance_uid, i.series_instance_uid, i.sop_instance_uid,
                i.size_bytes, i.preamble, i.sha256, i.reason, i.attempts, i.unclear, i.looks, i.together,
                f.id, d.path, f.name, f.size_bytes, f.mtime_ns, f.ctime_ns, f.inode
            FROM (SELECT i.id FROM instances i WHERE {condition} ORDER BY i.due_at LIMIT ?) given
            CROSS JOIN instances i ON i.id = given.id CROSS JOIN studies s ON s.id = i.study_id
            LEFT JOIN files f ON f.instance_id = i.id AND f.state = 'ready'
            LEFT JOIN directories d ON d.id = f.directory_id""",
            values,
        ).fetchall()
        rows.sort(key=itemgetter(0))  # as they come already; SQLite would copy each row to sort them
        instances: dict[int, tuple[Any, ...]] = {row[1]: row[1:13] for row in rows}
        sources: dict[int, Source] = {}
        for row in rows:
            source = source_from(row[13:])
            if source is not None and (row[1] not in sources or source.path < sources[row[1]].path):
                sources[row[1]] = source
        return [Due(*(*row, sources.get(one) or kept(self._db, one))) for one, row in instances.items()]

    def next_due(self) -> float | None:
        """Say when the next thing is due: a batch, or a question to the archive."""
        rows = self._db.execute(
            f"""SELECT * FROM ({_NEXT_STUDY.format(0)}) UNION ALL SELECT * FROM ({_NEXT_STUDY.format(1)})
            UNION ALL SELECT min(due_at) FROM instances WHERE state = 'unconfirmed'"""
        ).fetchall()
        return min((row[0] for row in rows if row[0] is not None), default=None)

    def recall(self, reason: str, now: float) -> None:
        """Let what is pending for a reason that is no more go now."""
        rows = self._db.execute(
            """UPDATE instances SET due_at = min(due_at, ?) WHERE state = 'pending' AND reason = ?
            RETURNING study_id""",
            (now, reason),
        ).fetchall()
        self._touched.update(int(row[0]) for row in rows)

    def open_batch(self, study_id: int, batch: Sequence[Due], wall: float) -> int:
        """Record the intent to store these instances: from here on the archive may have them."""
        size_bytes = sum(due.size_bytes for due in batch)
        cursor = self._db.execute(
            "INSERT INTO batches (study_id, sent_at, instances, size_bytes) VALUES (?, ?, ?, ?)",
            (study_id, wall, len(batch), size_bytes),
        )
        batch_id = int(cursor.lastrowid or 0)
        many.execute(
            self._db,
            """WITH given (id) AS (VALUES {rows})
            UPDATE instances SET state = 'sending', reason = 'sent', batch_id = ? WHERE id IN given""",
            [(due.instance_id,) for due in batch],
            (batch_id,),
        )
        self._touched.add(study_id)
        return batch_id

    def close_batch(self, batch_id: int, wall: float, status: int | None, outcome: str) -> None:
        """Record what came of a batch."""
        self._db.execute(
            "UPDATE batches SET answered_at = ?, status = ?, outcome = ? WHERE id = ?",
            (wall, status, outcome, batch_id),
        )

    def recover(self, now: float, ask_at: float, latest: float) -> int:
        """Turn what an earlier process left on its way into questions; gives how many there were.

        No moment may lie further ahead than `latest`: the wall clock may have been set since.
        """
        left = 0
        # what is on its way is so in a batch without an answer; else all instances would have to be read
        for which in ("study_id IN (SELECT study_id FROM batches WHERE answered_at IS NULL)", "true"):
            if self.count(InstanceState.SENDING):
                left += self._db.execute(
                    f"""UPDATE instances SET state = 'unconfirmed', reason = 'restart', looks = 0, due_at = ?
                    WHERE state = 'sending' AND {which}""",
                    (ask_at,),
                ).rowcount
        self._db.execute(
            "UPDATE batches SET answered_at = ?, outcome = 'restart' WHERE answered_at IS NULL", (now,)
        )
        # what a person was having deleted when it ended may yet be again what it was
        deleting = ("deleting",) if self.count(InstanceState.DELETING) else ()
        for state in ("pending", "unconfirmed", *deleting):
            self._db.execute(
                f"UPDATE instances SET due_at = ? WHERE state = '{state}' AND due_at > ?",
                (latest, latest),
            )
        self._db.execute(
            "UPDATE studies SET due_at = ? WHERE pending > 0 AND coalesce(due_at, 9e99) > ?", (latest, latest)
        )
        return left

    def remember(self, what: str, row: int, event: str, detail: str, wall: float) -> None:
        """Keep what is out of the ordinary in the history."""
        self._db.execute(
            "INSERT INTO history (at, what, row, event, detail) VALUES (?, ?, ?, ?, ?)",
            (wall, what, row, event, detail),
        )

    def studies(self) -> int:
        """Say how many studies are known."""
        return int(self._db.execute("SELECT count(*) FROM studies").fetchone()[0])

    def due_study_count(self) -> int:
        """Say how many studies have something due."""
        row = self._db.execute(
            """SELECT count(*) FROM (SELECT id FROM studies WHERE due_at IS NOT NULL AND pending > 0
            UNION SELECT study_id FROM batches WHERE answered_at IS NULL
            UNION SELECT study_id FROM instances WHERE state = 'unconfirmed')"""
        ).fetchone()
        return int(row[0])

    def waiting(self) -> tuple[int, int, int]:
        """Say how many studies, instances and bytes are due."""
        row = self._db.execute(
            f"""SELECT count(DISTINCT study_id), count(*), coalesce(sum(size_bytes), 0)
            FROM instances WHERE {WAITING}"""
        ).fetchone()
        return row[0], row[1], row[2]

    def count(self, *states: InstanceState) -> int:
        """Say how many instances are in these states together."""
        marks = ", ".join("?" * len(states))
        row = self._db.execute(
            f"SELECT coalesce(sum(n), 0) FROM counts WHERE what = 'instance' AND state IN ({marks})",
            states,
        ).fetchone()
        return int(row[0])

"""The judge: an account of its own of every file, byte and answer, held against the ledger after every step.

It knows nothing of how the daemon decides. It reads the ledger as SQLite, the archive's log, and what
the life tells it, and each check below says what it holds the daemon to.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from . import blobs, rest
from .coverage import FILE_EDGES, INSTANCE_EDGES, TWO_AT_ONCE, crash_points
from .deletions import Deletions
from .rows import INSTANCE, REASON, SHA256, STATE, UID, Row, Rows, read
from .verdict import promise

if TYPE_CHECKING:
    from .archive import Request
    from .hands import Job
    from .site import Site

DUE = ("pending", "sending", "unconfirmed")
CLAIMING = (*DUE, "stored", "leaving", "deleting")
TWO_LOOKS = 2
NOT_TAKEN = {*range(300, 400), 401, 403, 404, 405, 406, 407, 408, 411, 413, 415, 418, 425, 429, 501}
"""Statuses that say, without a word on any instance, that the request was not taken."""


class Oracle:
    """One life's judge."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._db = self._open()
        self._lost = self.was_lost = False
        self.rows: Rows = read(self._db)
        self._dirty = False
        self._read = 0  # of the archive's log
        self.seen: Counter[tuple[str, str]] = Counter()
        # what was on disk
        self.contents = {blob.digest: blob.data for blob in blobs.universe()}
        self.plausible: set[bytes] = set()  # not whole, but nothing in them tells
        # what went over the wire
        self.in_flight: set[str] = set()
        self.doubt: dict[str, int] = {}  # by UID: how often it was looked for and not found since
        self.intended: set[str] = set()  # UIDs of requests that were handed out
        self.said: dict[str, set[bytes]] = {}  # contents that the archive said it stored
        self.given: dict[str, set[bytes]] = {}  # contents, from byte 128 on, that it gave back
        self.found: set[str] = set()
        self.ours: dict[str, bytes] = {}  # what it has from us
        self.excused: set[str] = set()  # UIDs about which it lied, or that others changed there
        self._handed_out = 0
        self._asking = False
        self._probes: list[float] = []
        self.deletions = Deletions(site)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{self._site.ledger_path.as_uri()}?mode=ro", uri=True, isolation_level=None)

    def close(self) -> None:
        """Let go of the ledger."""
        self._db.close()

    def ask(self, sql: str, *values: object) -> list[Row]:
        """Read the ledger as it is committed."""
        return [] if self._lost else self._db.execute(sql, values).fetchall()

    def count(self, kind: str, what: str) -> None:
        """Note that something was come by."""
        self.seen[kind, what] += 1

    # what the life tells

    def wrote(self, data: bytes, *, plausible: bool = False) -> None:
        """Somebody wrote this content."""
        if data not in blobs.by_data():
            self.contents[sha256(data).digest()] = data
            if plausible:
                self.plausible.add(data)

    def disk_changed(self) -> None:
        """Something in the folders is not as it was."""

    def began(self) -> None:
        """A process took over from the ledger alone."""
        self._dirty = True
        self.deletions.began()
        if self._lost:
            self._lost = False
            self._db = self._open()
            self.rows = read(self._db)

    def ledger_taken_away(self) -> None:
        """Another file is put in the ledger's place, which may well say the same."""
        self._db.close()
        self._lost = True

    def ledger_lost(self) -> None:
        """It says something else: what the ledger held is no promise any more; the archive is."""
        self.was_lost = True
        self.deletions.ledger_lost()
        self.doubt.clear()  # what the archive has is still never sent again
        self.rows = ({}, {})

    def ledger_committed(self) -> None:
        """The ledger said that a transaction is kept."""
        self._dirty = True

    def handed_out(self, job: Job) -> None:
        """A job goes to the hands."""
        self._handed_out += 1
        if job.name == "store":
            for uid in _uids(job):
                self.one_request_a_uid(uid)
                self.in_flight.add(uid)
                self.intended.add(uid)

    def begins(self, job: Job) -> None:
        """A job is about to be done."""
        self._asking = job.name == "ask"

    def did(self, job: Job) -> None:
        """A job was done."""
        self._consume()
        self.deletions.sample()
        promise(not self._site.disk.open_files, "I12: a job leaves a file open")

    def bytes_leave(self, uids: Sequence[str]) -> None:
        """The first byte of a request is about to leave."""
        self.intent_before_effect(uids)
        for uid in uids:
            self.never_again_without_proof(uid)
            self.doubt[uid] = 0

    def brought(self, job: Job) -> None:
        """What a job gave back is in the loop's inbox."""
        if job.name == "store":
            self.in_flight -= set(_uids(job))
            if job.request is not None:
                self._answered(job.request)

    def _answered(self, request: Request) -> None:
        """Take what the archive said in so many words."""
        early = not request.complete and (request.module or (request.status or 0) < 300)
        if request.status is None or early:
            return
        for uid in request.uids:
            word = request.said.get(uid, "") if request.module else ""
            if word in ("stored", "failed", "perhaps failed") or (
                not request.module and request.status in NOT_TAKEN
            ):
                self.doubt.pop(uid, None)
            if word == "stored" and uid in request.bodies:
                self.said.setdefault(uid, set()).add(sha256(request.bodies[uid]).digest())

    def person_deleted(self, uids: set[str]) -> None:
        """A person had these deleted, and the archive did it."""
        for uid in uids:
            self.doubt.pop(uid, None)

    def turned(self) -> None:
        """A turn came to its end."""
        self._handed_out = 0

    def dropped(self) -> None:
        """The process, or its engine, is no more; what it had out is nobody's."""
        self.in_flight.clear()
        self._handed_out = 0
        self.deletions.ended()

    def crashes(self, point: str) -> None:
        """The daemon ends here: name the point."""
        if self._lost:
            return
        ledger = self._site.ledger
        uncommitted = None
        if point == "before commit" and ledger is not None:
            uncommitted = read(ledger.connection)
        after = read(self._db)
        jobs = [(job.name, job.done) for job in self._site.hands.out]
        for name in crash_points(point, self.rows, uncommitted or after, jobs):
            self.count("crash", name)

    def reopened(self) -> None:
        """I8: what was committed is there after any end, and nothing else is."""
        if self._lost:
            return
        rows = read(self._db)
        promise(
            self._dirty or rows == self.rows, "I8: the ledger is not what it was when it was last committed"
        )
        self._take(rows)
        for row in rows[0].values():
            if row[STATE] == "sending":  # whatever came of it was not recorded
                self.doubt.setdefault(row[UID], 0)

    def nothing_was_handed_out(self) -> None:
        """A7: if the ledger cannot commit, nothing goes on the wire."""
        promise(not self._handed_out, "A7: work was handed out by a turn that was not committed")
        promise(self._db.in_transaction is False, "A7: the judge holds the ledger")

    # the archive's log

    def _consume(self) -> None:
        log = self._site.archive.log
        while self._read < len(log):
            what, value = log[self._read]
            self._read += 1
            getattr(self, f"_log_{what}")(value)

    def _log_body(self, value: Any) -> None:
        _, uid, body = value
        self.only_finished_files_travel(uid, body)
        self.no_other_content_over_a_uid(uid, body)

    def _log_kept(self, value: Any) -> None:
        uid, body = value
        self.ours[uid] = body
        self.deletions.kept(uid)

    def _log_mirrored(self, uid: Any) -> None:
        """It was deleted as the daemon wished: what was said of it is no proof any more."""
        self.ours.pop(uid, None)
        self.doubt.pop(uid, None)
        self.said.pop(uid, None)
        self.given.pop(uid, None)
        self.deletions.deleted(uid)

    def _log_foreign(self, uid: Any) -> None:
        self.ours.pop(uid, None)
        self.excused.add(uid)

    def _log_deleted(self, uid: Any) -> None:
        self.ours.pop(uid, None)
        self.excused.add(uid)

    def _log_lie(self, uids: Any) -> None:
        self.excused.update(uids)

    def _log_searched(self, value: Any) -> None:
        uids, found = value
        self.found.update(found)
        if self._asking:
            for uid in set(uids) - found:
                if uid in self.doubt:
                    self.doubt[uid] += 1

    def _log_given(self, value: Any) -> None:
        uid, body = value
        self.given.setdefault(uid, set()).add(body[128:])
        self.deletions.given(uid, body)

    def _log_probe(self, _value: Any) -> None:
        self._probes.append(self._site.mono)

    # on the wire

    def one_request_a_uid(self, uid: str) -> None:
        """I7: never two requests with one SOP Instance UID on their way."""
        promise(uid not in self.in_flight, "I7: two requests with one UID are on their way")

    def never_again_without_proof(self, uid: str) -> None:
        """I7: after an outcome that is not known, nothing is sent again before two looks did not find it."""
        self._consume()
        looks = self.doubt.get(uid)
        promise(looks is None or looks >= TWO_LOOKS, f"I7: sent again after {looks} looks")

    def intent_before_effect(self, uids: Sequence[str]) -> None:
        """A6: what is about to be tried is in the ledger, on disk, before its first byte leaves."""
        sending = {row[UID] for row in read(self._db)[0].values() if row[STATE] == "sending"}
        promise(sending.issuperset(uids), "A6: bytes leave without an intent in the ledger")

    def only_finished_files_travel(self, uid: str, body: bytes) -> None:
        """I3: what the archive takes in full is, byte for byte, a version of a file that was whole."""
        blob = blobs.by_data().get(body)
        promise(blob is not None or body in self.plausible, "I3: an unfinished file travelled")
        promise(blob is None or blob.sop == uid, "I3: a file travelled under another's UID")

    def no_other_content_over_a_uid(self, uid: str, body: bytes) -> None:
        """I6: what the archive has from us is never sent again, and least of all with other content."""
        there, blob = self.ours.get(uid), blobs.told_by(body)
        if self.was_lost and blob is not None and blob.study != self._site.archive.studies.get(uid):
            return  # a new ledger asks about each in its own study, and it is not there
        promise(there is None or there[128:] == body[128:], "I6: other content was sent over a UID")
        promise(there is None, "I7: sent again what the archive has from us")

    # after every step

    def check(self) -> None:
        """Hold the ledger, as it is committed now, to everything that is true at all times."""
        self._consume()
        self.deletions.sample()
        if self._dirty and not self._lost:
            self._dirty = False
            self._take(read(self._db))

    def _take(self, rows: Rows) -> None:
        before, self.rows = self.rows, rows
        self.deletions.took(before, rows)
        if rows == before:
            return
        self.every_edge_is_known("instance", before[0], rows[0], INSTANCE_EDGES | TWO_AT_ONCE)
        self.every_edge_is_known("file", before[1], rows[1], FILE_EDGES)
        self.nothing_is_dropped(before[0], rows[0])
        self.stored_only_with_proof(before[0], rows[0])
        self.one_content_a_uid(rows[0])
        self.every_reason_is_told(rows)
        self.counts_add_up(rows)

    def every_edge_is_known(
        self, what: str, before: dict[int, Row], after: dict[int, Row], edges: set[tuple[str, str]]
    ) -> None:
        """Nothing goes from a state to another in a way that the design does not know."""
        for number, row in after.items():
            old = before.get(number)
            was = old[STATE] if old is not None else "-"
            if old == row or was == row[STATE]:
                continue
            self.count(f"{what} edge", f"{was} > {row[STATE]}")
            promise((was, row[STATE]) in edges, f"{what}: {was} became {row[STATE]} ({row[REASON]})")

    def nothing_is_dropped(self, before: dict[int, Row], after: dict[int, Row]) -> None:
        """I1: no row is taken out but that of a content that never was in the archive and was replaced.

        One that is pending first yields its UID to another content.
        """
        claimed = {row[UID] for row in after.values() if row[STATE] in CLAIMING}
        for number in before.keys() - after.keys():
            state = before[number][STATE]
            self.count("instance edge", f"{state} > -")
            yielded = state == "pending" and before[number][UID] in claimed
            promise(
                yielded or state in ("conflict", "rejected", "missed"),
                f"I1: an instance that was {state} is no more",
            )

    def stored_only_with_proof(self, before: dict[int, Row], after: dict[int, Row]) -> None:
        """I2, I15: stored is what the archive said so of these very bytes, or gave back the same."""
        for number, row in after.items():
            old = before.get(number)
            if row[STATE] != "stored" or (
                old is not None and old[STATE] in ("stored", "leaving", "deleting")
            ):
                continue
            uid, digest = row[UID], row[SHA256]
            if row[REASON] == "presence-only":
                # the weaker claim: there, after it was about to be sent (a crash hides whether it was), or
                # by a ledger that lost the memory of that
                intended = uid in self.intended or self.was_lost
                promise(uid in self.found and intended, "I2: presence-only, and it was never seen")
                continue
            content = self.contents.get(digest, b"") if digest else b""
            compared = bool(content) and content[128:] in self.given.get(uid, ())
            word = digest in self.said.get(uid, ())
            if row[REASON] == "agrees":  # rewritten there, and all that matters is the same
                both = (
                    self._site.archive.altered(content)[128:],
                    content[128:],
                )  # a stranger's may be as it was
                compared = any(
                    rest.same_but_for_padding(one, ours) for one in self.given.get(uid, ()) for ours in both
                )
            promise(word or compared, f"I2: stored ({row[REASON]}) without proof")
            promise(row[5] is None or compared, "I2: verified, and the archive never gave that content")

    def one_content_a_uid(self, instances: dict[int, Row]) -> None:
        """I6: of all contents under one UID at most one is the archive's."""
        claims = Counter(row[UID] for row in instances.values() if row[STATE] in CLAIMING)
        promise(max(claims.values(), default=0) <= 1, "I6: two contents claim one UID")

    def every_reason_is_told(self, rows: Rows) -> None:
        """I1: whatever is neither on its way nor stored says why; what is ready has an instance."""
        instances, files = rows
        for row in instances.values():
            promise(
                row[REASON] or row[STATE] in ("pending", "stored", "deleted"),
                f"I1: {row[STATE]} without a reason",
            )
        for row in files.values():
            promise(row[REASON] or row[STATE] == "ready", f"I1: a file is {row[STATE]} without a reason")
            if row[STATE] == "ready":
                promise(row[INSTANCE] in instances, "I1: a file is ready and has no instance")

    def counts_add_up(self, rows: Rows) -> None:
        """I14: what status shows are the sums of what is there."""
        for what, kind in (("instance", rows[0]), ("file", rows[1])):
            real = Counter(row[STATE] for row in kind.values())
            told = dict(self._db.execute("SELECT state, n FROM counts WHERE what = ? AND n <> 0", (what,)))
            promise(told == dict(real), f"I14: {what} counts")
        wrong = self._db.execute(
            """SELECT count(*) FROM (SELECT s.pending, s.pending_bytes, s.live, count(i.id) AS n,
                coalesce(sum(i.size_bytes), 0) AS size_bytes, coalesce(sum(i.live), 0) AS live_n
            FROM studies s LEFT JOIN instances i ON i.study_id = s.id AND i.state = 'pending' GROUP BY s.id)
            WHERE pending <> n OR pending_bytes <> size_bytes OR live <> live_n"""
        ).fetchone()[0]
        promise(not wrong, "I14: a study's pending figures")

    # when everything is well again

    def at_rest(self) -> None:
        """L1, I1, I14: nothing is due, every file has one outcome, and all that can be stored is."""
        self.check()
        due = Counter(row[STATE] for row in self.rows[0].values() if row[STATE] in (*DUE, "deleting"))
        promise(not due, f"L1: still {dict(due)}")
        rest.every_file_has_one_outcome(self._site)


def _uids(job: Job) -> list[str]:
    return [due.sop_instance_uid for due in job.arguments[1]]

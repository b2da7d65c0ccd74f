"""The ledger held against the archive, study by study, because a person asks: what drifted, line by line."""

from __future__ import annotations

import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

from dicomsync import dicomweb, jobs, orders
from dicomsync.errors import ArchiveProblem
from dicomsync.handles import handle
from dicomsync.ledger import StoredReader
from dicomsync.model import Due, Seen, Sighting
from dicomsync.pacing import Signal, Trouble
from dicomsync.rules import Finding

STUDIES_AT_ONCE = 100
READ_AT_ONCE = 1000
COMPARED_AT_ONCE = 50
RECORDED_AT_ONCE = 1000
MOST_DOUBTS = 100  # pieces of studies that wait for their second look
GIVE_UP_AFTER = 3  # studies in a row about which the archive could not be asked


class Sign(StrEnum):
    """What is the matter with an instance."""

    SAME = "="  # stored, and the archive has it: with the same bytes, where they were compared
    EXTRA = "+"  # in the archive, in a study of ours, and not known to the ledger
    MISSING = "-"  # stored, the ledger says; the archive does not have it
    DIFFERS = "*"  # the archive has other bytes than were stored
    UNCHECKED = "!"  # could not be checked


@dataclass(frozen=True, slots=True)
class Line:
    """One instance, or a study about which nothing could be asked; names UIDs: for the person alone."""

    sign: Sign
    handle: str
    uid: str
    study_instance_uid: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be checked: one study or all, what was stored `since` (wall seconds), bytes too."""

    study: str | None = None
    since: float | None = None
    by_bytes: bool = False
    one_way: bool = False  # do not look for what the ledger does not know


@dataclass(frozen=True, slots=True)
class _Doubt:
    """Instances of one study that a first look did not find, and when they are looked for again."""

    at: float
    study: tuple[int, str]
    batch: tuple[Due, ...]


class Verification:
    """One check from beginning to end: take its `lines`, then read what it has counted.

    `read` opens the ledger for one look, `record` is given what was seen, a piece at a time. Memory is
    bounded by the largest study. The archive's kind must be known.
    """

    def __init__(
        self,
        wanted: Wanted,
        archive: dicomweb.Archive,
        confirm_wait_seconds: float,
        read: Callable[[], StoredReader],
        record: Callable[[orders.Saw], None],
    ) -> None:
        self._wanted = wanted
        self._archive = archive
        self._wait = confirm_wait_seconds
        self._read = read
        self._record = record
        self._doubts: deque[_Doubt] = deque()
        self._seen: list[Seen] = []
        self._asked_at = 0.0  # of the first that is not recorded yet
        self._broken = 0
        self.counts: Counter[Sign] = Counter()
        self.studies = 0
        self.unasked = 0  # studies about which the archive could not be asked
        self.trouble = ""
        self.healable = array("q")  # rows of what is missing and a file still holds

    @property
    def exit_code(self) -> int:
        """0 if all is as it should be, 5 if the archive could not be asked about all, 21 for differences."""
        if self.trouble:
            return 5
        return 21 if self.counts.total() > self.counts[Sign.SAME] else 0

    def lines(self) -> Iterator[Line]:
        """Look at everything, and give a line for each instance as it is known."""
        for line in chain(self._all_studies(), self._second_looks(everything=True)):
            self.counts[line.sign] += 1
            yield line
        self._tell()

    def _all_studies(self) -> Iterator[Line]:
        for study in self._studies():
            self.studies += 1
            if self._broken >= GIVE_UP_AFTER:
                self.unasked += 1
                continue
            try:
                yield from self._study(study)
            except ArchiveProblem as problem:
                yield self._could_not_ask(study, jobs.signal_of(problem))
            yield from self._second_looks()

    def _studies(self) -> Iterator[tuple[int, str]]:
        after = 0
        while True:
            with self._read() as reader:
                found = reader.studies_stored(after, STUDIES_AT_ONCE, self._wanted.study, self._wanted.since)
            yield from found
            if len(found) < STUDIES_AT_ONCE:
                return
            after = found[-1][0]

    def _study(self, study: tuple[int, str]) -> Iterator[Line]:
        """Hold one study against one list of what the archive has of it."""
        began = time.time()
        theirs = set(dicomweb.client_for(self._archive).inventory(study[1]))
        self._broken = 0
        ours: set[str] = set()
        for piece in self._stored(study[0]):
            ours |= {due.sop_instance_uid for due in piece}
            there = [due for due in piece if _among(due, theirs)]
            yield from self._there(study, there, began)
            self._doubt(study, [due for due in piece if not _among(due, theirs)])
        if not self._wanted.one_way:
            strangers = {sop for sop, _ in theirs} - ours
            del theirs, ours
            yield from self._extra(study, sorted(strangers))

    def _stored(self, study_id: int) -> Iterator[list[Due]]:
        after = 0
        while True:
            with self._read() as reader:
                piece = reader.stored_in(study_id, after, READ_AT_ONCE, self._wanted.since)
            if not piece:
                return
            yield piece
            after = piece[-1].instance_id

    def _extra(self, study: tuple[int, str], strangers: Sequence[str]) -> Iterator[Line]:
        for start in range(0, len(strangers), READ_AT_ONCE):
            uids = strangers[start : start + READ_AT_ONCE]
            with self._read() as reader:  # after the archive was asked: what came meanwhile is known
                known = reader.known(uids)
            for uid in uids:
                if uid not in known:
                    yield Line(Sign.EXTRA, handle("study", study[0]), uid, study[1])

    def _there(self, study: tuple[int, str], found: Sequence[Due], asked_at: float) -> Iterator[Line]:
        """Tell of what the archive has; its bytes are compared where that is wanted."""
        if not self._wanted.by_bytes:
            for due in found:
                self._note(Seen(due.instance_id, Sighting.PRESENT), asked_at)
                yield _line(Sign.SAME, due)
            return
        for start in range(0, len(found), COMPARED_AT_ONCE):
            batch = tuple(found[start : start + COMPARED_AT_ONCE])
            asked_at = time.time()
            asked = jobs.compare(self._archive, batch)
            by_id = {due.instance_id: due for due in batch}
            for one in asked.found:
                yield from self._compared(study, by_id[one.instance_id], one, asked_at)
            if asked.signal.trouble is not Trouble.NONE:
                yield self._could_not_ask(study, asked.signal)
                return

    def _compared(self, study: tuple[int, str], due: Due, one: jobs.Found, asked_at: float) -> Iterator[Line]:
        match one.finding:
            case Finding.ABSENT:
                self._doubt(study, [due])
            case Finding.FAILED:
                return  # the study's line tells
            case finding:
                sign, sighting, why = _COMPARED[finding]
                self._note(Seen(due.instance_id, sighting, one.sha256), asked_at)
                yield _line(sign, due, why)

    def _doubt(self, study: tuple[int, str], missed: Sequence[Due]) -> None:
        if missed:
            self._doubts.append(_Doubt(time.monotonic() + self._wait, study, tuple(missed)))

    def _second_looks(self, *, everything: bool = False) -> Iterator[Line]:
        """Look again for what was not found, each in its time: an archive's index may lag."""
        while self._doubts:
            wait = self._doubts[0].at - time.monotonic()
            full = len(self._doubts) > MOST_DOUBTS
            if wait > 0 and not (everything or full):
                return
            if self._broken < GIVE_UP_AFTER:
                time.sleep(max(0.0, wait))
            yield from self._second_look(self._doubts.popleft())

    def _second_look(self, doubt: _Doubt) -> Iterator[Line]:
        if self._broken >= GIVE_UP_AFTER:
            self.unasked += 1
            return
        asked_at = time.time()
        asked = jobs.find(self._archive, doubt.batch)
        if asked.signal.trouble is not Trouble.NONE:
            yield self._could_not_ask(doubt.study, asked.signal)
            return
        absent = {one.instance_id for one in asked.found if one.finding is Finding.ABSENT}
        there = [due for due in doubt.batch if due.instance_id not in absent]
        yield from self._there(doubt.study, there, asked_at)
        with self._read() as reader:  # it may have been deleted, or healed, in the meantime
            still = reader.still_stored(sorted(absent))
        for due in doubt.batch:
            if due.instance_id in still:
                if still[due.instance_id]:
                    self.healable.append(due.instance_id)
                self._note(Seen(due.instance_id, Sighting.MISSING), asked_at)
                yield _line(Sign.MISSING, due, "" if still[due.instance_id] else "no file holds it any more")

    def _could_not_ask(self, study: tuple[int, str], signal: Signal) -> Line:
        self._broken += 1
        self.unasked += 1
        self.trouble = signal.words
        return Line(Sign.UNCHECKED, handle("study", study[0]), study[1], study[1], signal.words)

    def _note(self, seen: Seen, asked_at: float) -> None:
        """Have it recorded, in pieces; what was stored anew since the first of a piece is not in it."""
        if len(self._seen) >= RECORDED_AT_ONCE:
            self._tell()
        if not self._seen:
            self._asked_at = asked_at
        self._asked_at = min(self._asked_at, asked_at)
        self._seen.append(seen)

    def _tell(self) -> None:
        if self._seen:
            self._record(orders.Saw(self._asked_at, tuple(self._seen)))
            self._seen = []


_COMPARED = {
    Finding.EQUAL: (Sign.SAME, Sighting.EQUAL, ""),
    Finding.DIFFERENT: (Sign.DIFFERS, Sighting.DIFFERS, ""),
    Finding.AGREES: (Sign.SAME, Sighting.PRESENT, "the archive rewrites what it stores; its dataset agrees"),
    Finding.INCOMPARABLE: (Sign.UNCHECKED, Sighting.PRESENT, "it is there; its bytes cannot be compared"),
    Finding.UNREAD: (Sign.UNCHECKED, Sighting.PRESENT, "it is there; no file is left to compare it with"),
}


def _among(due: Due, theirs: set[tuple[str, str]]) -> bool:
    """Say whether an instance is listed; a row that did not name its series is believed."""
    uid = due.sop_instance_uid
    return (uid, due.series_instance_uid) in theirs or (uid, "") in theirs


def _line(sign: Sign, due: Due, why: str = "") -> Line:
    return Line(sign, handle("instance", due.instance_id), due.sop_instance_uid, due.study_instance_uid, why)

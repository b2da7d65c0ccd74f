"""The finding half of the engine: what is in the folders, is it finished, whole, and new?

Everything here runs in the engine's loop and waits on the ledger alone. What reads a disk is handed
out as `Work` and comes back to a method of this room, inside the turn's transaction.
"""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from dicomsync import jobs
from dicomsync.enrolment import Candidate, Comparison, Enrolment
from dicomsync.ledger import FileRow, Ledger, NewFile
from dicomsync.listings import Listing
from dicomsync.looks import Looks
from dicomsync.model import Changed, FileState, Folder, Header, Moment, StatKey, Unfit, Whole
from dicomsync.passes import Passes
from dicomsync.pulse import Pulse
from dicomsync.suspects import POISON_TIMES, Suspects
from dicomsync.work import Pace, Work

QUEUED_FILES = 4_000  # no further step of a scan while more than this wait for their header
HEADERS_A_JOB = 100
HEADER_JOBS = 2  # where a file waits for its disk; elsewhere one, as two would only wait for each other
SLOW_SECONDS = 0.001  # a file's header from a disk that is waited for; from memory it takes a fiftieth
_AT_REST = (FileState.READY, FileState.HELD, FileState.IGNORED)


@dataclass(frozen=True, slots=True)
class _DirectoryRead:
    """All files of a directory have been handed on: its studies need not wait for more."""

    directory_id: int


class Intake:
    """Passes, looks and headers of one folder; whole files go to the enrolment.

    Each folder has its own, so that one that hangs stops nothing but itself.
    """

    def __init__(
        self, ledger: Ledger, folder: Folder, pace: Pace, luck: random.Random, suspects: Suspects
    ) -> None:
        self._ledger = ledger
        self._suspects = suspects
        self.folder = folder
        self._pace = pace
        self.pulse = Pulse(ledger, folder)
        self.enrolment = Enrolment(ledger, pace)
        self.looks = Looks(
            ledger,
            folder,
            pace,
            self.enrolment,
            ground=lambda: self.passes.ground,
            under_way=self._is_under_way,
            take=self._take,
        )
        self.passes = Passes(
            ledger,
            folder,
            pace,
            merge=self._merge,
            agreed=self._whole_read,
            gone=self.looks.gone,
            luck=luck,
        )
        self._queue: deque[Candidate | _DirectoryRead] = deque()
        self._under_way: set[bytes] = set()  # paths in the queue, or whose header is being read
        self._closed: set[int] = set()  # directories whose files have all been handed on
        self._out = 0  # jobs handed out and not back, those of passes and looks apart
        self._headers_out = 0
        self._slow = False  # the disk is waited for
        self._alone = False  # one file is read alone, as a process ended while it was being read
        self._comparing = False

    # what the engine asks

    @property
    def idle(self) -> bool:
        """Whether the folder was read to its end and no file waits for a look or for its header."""
        return self.settled and not self.passes.under_way

    @property
    def settled(self) -> bool:
        """Whether the ledger says of every file that was found what it holds, or that it has left."""
        return self.looks.idle and not (self._queue or self._out or self.enrolment.comparing)

    @property
    def nothing_new(self) -> bool:
        """Whether no file that was listed so far, or was not any more, is to be looked at or read."""
        return self.looks.idle and not self._under_way

    @property
    def waits(self) -> bool:
        """Whether what is in the folder cannot be had for now: it does not answer, or is not there."""
        return self.pulse.hangs or self.passes.away

    @property
    def under_way(self) -> frozenset[bytes]:
        """The paths of files that were found and are not recorded yet."""
        return frozenset(self._under_way)

    def _is_under_way(self, path: bytes) -> bool:
        return path in self._under_way or path in self.enrolment.comparing

    def _take(self, candidate: Candidate) -> None:
        """Queue a file that has settled: its header is read next."""
        self._under_way.add(candidate.path)
        self._queue.append(candidate)

    def next_at(self, now: Moment) -> float | None:
        """Say at which monotonic moment the next look or pass is due."""
        moments = [self.passes.next_at(), self.looks.next_at()]
        return min((max(at, now.mono) for at in moments if at is not None), default=None)

    def plan(self, now: Moment) -> list[Work]:
        """Say what is to be read next."""
        self.pulse.feel(now)
        headers = self._plan_headers(now)
        comparisons = self._plan_comparison()
        self._out += len(headers) + len(comparisons)
        followed = [self.pulse.follow(work, now) for work in (*self.looks.plan(now), *headers)]
        return [*followed, *self.plan_passes(now), *comparisons]

    def plan_passes(self, now: Moment) -> list[Work]:
        """Say what of the folder is to be listed next, and nothing else."""
        works = self.passes.plan(now) if len(self._queue) <= QUEUED_FILES else []
        return [self.pulse.follow(work, now) for work in works]

    # what a pass read

    def _merge(self, directory_id: int, listing: Listing, now: Moment) -> None:
        """Merge what a step of a pass listed with what the ledger knows."""
        one = self.passes.latest
        digest = one.digest(listing) if one is not None else b""
        if self._compare(directory_id, listing, now) and digest:
            self._ledger.agree(directory_id, digest)
        if listing.upto is None:
            self._whole_read(directory_id)

    def _whole_read(self, directory_id: int) -> None:
        self._queue.append(_DirectoryRead(directory_id))

    def _compare(self, directory_id: int, listing: Listing, now: Moment) -> bool:
        """Take from a listing what is new, changed or missing; say whether there is nothing of it.

        It agrees only if no file in it waits for anything, whoever asks.
        """
        agrees = True
        rows = self._ledger.files_between(directory_id, listing.after, listing.upto)
        for entry in listing.entries:
            row = rows.pop(entry.name, None)
            if row is not None and row.key == entry.key and self._unchanged(row, now):
                if row.place != self._place:
                    self._ledger.found_at(row.file_id, self._place)
                agrees = agrees and row.state in _AT_REST and row.reason != "earlier"
                continue
            agrees = False
            if row is None and self._earlier(entry.key, now):
                self._ledger.put_file(
                    NewFile(directory_id, entry.name, entry.key, FileState.IGNORED, "earlier"), now.wall
                )
                continue
            path = os.path.join(listing.directory, entry.name)
            candidate = Candidate(
                directory_id,
                path,
                entry.key,
                self.folder.settle_seconds,
                live=self._live,
                first=self._first,
                place=self._place,
            )
            if row is not None:
                candidate = candidate._replace(
                    file_id=row.file_id, own=row.instance_id, returned=row.key == entry.key
                )
            self.looks.seen(candidate, now)
        if listing.proves_absence:
            missing = [row for row in rows.values() if row.state not in (FileState.GONE, FileState.MISSED)]
            if missing:
                self.looks.miss(listing.directory, missing)
                agrees = False
        return agrees

    @property
    def _place(self) -> int:
        """The number of what is read as the folder now."""
        one = self.passes.latest
        return one.place if one is not None else 0

    @property
    def _live(self) -> bool:
        """Whether what is found now has come while the daemon was there to see."""
        return not (self._asked_for or self._first)

    @property
    def _first(self) -> bool:
        """Whether the folder is being read for the first time, or the first since the ledger is in doubt."""
        one = self.passes.latest
        return one is None or one.number.first

    def _earlier(self, key: StatKey, now: Moment) -> bool:
        """Whether a file was there before the daemon first saw the folder, and is to be left alone.

        Where the clock was ahead in that moment, what comes now would seem to be earlier: it is taken.
        """
        one = self.passes.latest
        if one is None or not self.folder.new_only or self._asked_for:
            return False
        return key.ctime_ns / 1e9 < one.number.since <= now.wall

    @property
    def _asked_for(self) -> bool:
        """Whether a person asked for what is read now: that takes all, also what was there before."""
        one = self.passes.latest
        return self._pace.once or (one is not None and one.asked_for)

    def _unchanged(self, row: FileRow, now: Moment) -> bool:
        """Say whether a file with the same key as before needs no further look."""
        if row.state in (FileState.GONE, FileState.MISSED):
            return row.instance_id is not None and self.enrolment.back(row.file_id, row.instance_id, now)
        if row.state is FileState.SETTLING:
            return row.file_id in self.looks
        if row.state is FileState.IGNORED and row.reason == "earlier":
            return not self._asked_for
        if row.state is FileState.READY:
            return row.instance_id is not None
        return row.state is not FileState.HELD or row.reason != "unreadable"

    # headers

    def _plan_headers(self, now: Moment) -> list[Work]:
        works: list[Work] = []
        most = HEADER_JOBS if self._slow else 1
        while self._queue and self._headers_out < most and not self._alone:
            files, read = self._next_files(now)
            if not files:
                self._quieten(read, now)
                if not read:
                    break
                continue
            self._headers_out += 1
            wanted = tuple((one.path, one.key) for one in files)
            reading = self._suspects.out(wanted)
            works.append(
                Work(jobs.read_headers, (wanted,), partial(self._read, reading, now.mono, files, read))
            )
        return works

    def _next_files(self, now: Moment) -> tuple[list[Candidate], list[int]]:
        """Take from the queue what one job reads, and the directories that end with it.

        A file that was being read as a process ended is read alone; one that ended another is held.
        """
        files: list[Candidate] = []
        read: list[int] = []
        while self._queue and len(files) < HEADERS_A_JOB:
            item = self._queue[0]
            if isinstance(item, _DirectoryRead):
                read.append(item.directory_id)
            elif not (times := self._suspects.times(item.path, item.key)):
                files.append(item)
            elif times >= POISON_TIMES:
                self._under_way.discard(item.path)
                self._suspects.clear(item.path)
                self.enrolment.unfit(item, Unfit(item.key, FileState.HELD, "poison"), now)
            elif files or self._headers_out or not self._suspects.take(self.pulse):
                break
            else:
                self._queue.popleft()
                self._alone = True
                return [item], read
            self._queue.popleft()
        return files, read

    def _read(
        self,
        reading: int,
        began: float,
        files: Sequence[Candidate],
        read: Sequence[int],
        headers: Sequence[Header],
        now: Moment,
    ) -> None:
        self._out -= 1
        self._headers_out -= 1
        self._alone = False
        self._slow = now.mono - began > SLOW_SECONDS * len(files)
        self._suspects.back(reading, self.pulse, [(one.path, one.key) for one in files])
        whole: list[tuple[Candidate, Whole]] = []
        for candidate, found in zip(files, headers, strict=True):
            self._under_way.discard(candidate.path)
            match found:
                case Whole():
                    whole.append((self._as_read(candidate, found), found))
                case Unfit():
                    self.enrolment.unfit(candidate, found, now)
                case Changed(key):
                    self.looks.sighted(candidate, key, now)
        for candidate, one in self.enrolment.enrol_new(whole, now):
            self._whole(candidate, one, None, now)
        self._quieten(read, now)

    def _quieten(self, directories: Sequence[int], now: Moment) -> None:
        """In a backfill, let what is in these directories go: nothing more is known to come."""
        if self._pace.once:
            self._closed.update(directories)
            self._ledger.quieten(directories, self._pace.at(now))

    def _as_read(self, candidate: Candidate, whole: Whole) -> Candidate:
        # One that had to settle, or to be compared, comes after the rest of its directory has gone.
        late = candidate.directory_id in self._closed
        return (
            candidate
            if candidate.key == whole.key and late == candidate.late
            else candidate._replace(key=whole.key, late=late)
        )

    def _whole(self, candidate: Candidate, whole: Whole, sha256: bytes | None, now: Moment) -> None:
        later = self.enrolment.enrol(candidate, whole, sha256, now)
        if later is not None:
            self.looks.look_again(later, now, self._pace.confirm_wait_seconds, "comparing")

    # comparing

    def _plan_comparison(self) -> list[Work]:
        comparison = None if self._comparing else self.enrolment.next_comparison()
        if comparison is None:
            return []
        self._comparing = True
        return [Work(jobs.digest, (comparison.files,), partial(self._compared, comparison))]

    def _compared(self, comparison: Comparison, digests: Sequence[jobs.Digest], now: Moment) -> None:
        """Take the hashes of a file and of the one it has its UID in common with."""
        self._out -= 1
        self._comparing = False
        self.enrolment.compared(comparison, digests)
        candidate, (ours, *others) = comparison.candidate, digests
        if isinstance(ours, bytes) and all(isinstance(other, bytes) for other in others):
            whole = comparison.whole
            self._whole(self._as_read(candidate, whole), whole, ours, now)
        elif isinstance(ours, bytes):  # the other file is on the move: a look at it will settle it
            self.looks.look_at(comparison.other_file, now)
            self.looks.look_again(candidate, now, candidate.settle_seconds, "comparing")
        else:
            self.looks.sighted(candidate, ours.key if isinstance(ours, Changed) else ours, now)

"""The passes over one folder: which kind is due, how far it is, what it has passed over.

A full pass reads every directory, and alone can tell that a directory has gone. A quick pass reads
the directories whose times have changed since they were read, and those a watcher hinted at. Hints
only make a look come sooner: everything works, only later, without them.
"""

from __future__ import annotations

import json
import logging
import os
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from dicomsync import names, scan
from dicomsync.handles import handle
from dicomsync.ledger import FileRow, Ledger, Scan
from dicomsync.listings import Listing, Passed
from dicomsync.model import Folder, Moment
from dicomsync.pulse import HANGS_SECONDS
from dicomsync.work import Pace, Work

log = logging.getLogger("dicomsync.intake")

SWEPT_A_JOB = 500
GLANCES_A_JOB = 2_000
AGREED_ENTRIES = 10_000  # what a step reads after one in which all agreed: with fewer, waking costs a tenth
MARKED_AT_ONCE = 2_000  # directories: some 0.2 MB, and a commit for as many instead of one for each step
REST_TIMES = 10.0  # a pass is followed by a rest ten times its own length: a tenth of the time at most


@dataclass(slots=True)
class Asked:
    """A place that a person asked to be looked into whole, by the folder's rules with these patterns."""

    place: bytes
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    deep: bool = True
    over: bool = False
    passed: Passed = field(default_factory=Passed)
    problems: int = 0


@dataclass(slots=True)
class Pass:
    """One pass over the folder, and where it stands."""

    number: Scan
    position: scan.Position
    full: bool
    began: float  # monotonic seconds
    passed: Passed = field(default_factory=Passed)
    files: int = 0
    unread: set[bytes] = field(default_factory=set)  # directories that could not be read, or not all of it
    lost: str = ""  # why the folder itself could not be read
    asked: Asked | None = None  # what a person asked for: read after the folder itself was found there
    glanced: bytes | None = None  # the directory up to which times were compared; None: not needed
    asked_for: bool = False  # what is read now is what was asked for
    root: tuple[int, int] = (0, 0)  # device and inode of what was read as the folder itself; -1: of several
    place: int = 0  # the number of that directory (`Ledger.place`), 0 where it is none
    observed: bool = False  # what was to be looked at before it was
    swept: tuple[bytes, bytes] = (b"", b"")  # the directory, and the name in it, that the sweep has reached
    stride: int = scan.STEP_ENTRIES  # about what the next step is to read
    agreed: list[tuple[int, int]] = field(default_factory=list)  # unchanged, with their times: to be marked

    @property
    def problems(self) -> int:
        """How many directories could not be read, or not all of them."""
        return len(self.unread)

    def digest(self, listing: Listing) -> bytes:
        """Give what a listing is known by once it agrees: it, and its folder; b"" where it is not whole."""
        whole = listing.digest if not listing.problem else b""
        return whole and whole + self.place.to_bytes(8, "big")


class Observer(Protocol):
    """Who follows full passes: what it wants looked at before one goes first."""

    def before(self, path: bytes, now: Moment) -> Work | None:
        """Give the look that comes before a full pass over a folder; None where none is needed."""

    def ended(self, path: bytes, passed: Pass, now: Moment) -> None:
        """Take a full pass that is over."""


class Passes:
    """One folder's passes, one at a time; `gone` takes what a sweep looked at.

    `merge` takes each listing, but `agreed` the directory of one that agreed with the ledger before.
    """

    def __init__(
        self,
        ledger: Ledger,
        folder: Folder,
        pace: Pace,
        *,
        merge: Callable[[int, Listing, Moment], None],
        agreed: Callable[[int], None],
        gone: Callable[[Sequence[FileRow], Sequence[scan.Sight], Moment], None],
        luck: random.Random,
    ) -> None:
        self._ledger = ledger
        self._folder = folder
        self._pace = pace
        self._merge = merge
        self._agreed = agreed
        self._gone = gone
        self._luck = luck
        self._now: Pass | None = None
        self._busy = False
        self._handed_at = 0.0
        self._hinted: dict[bytes, None] = {}
        self._asked: deque[Asked] = deque()
        self.unreadable: dict[bytes, str] = {}  # directories that cannot be read, and why: they are told
        self.away = False  # the folder itself is not there
        self._mount = b""  # where it was when it was
        self._patterns = json.dumps([folder.include, folder.exclude])
        self._quick_at = self._full_at = float("-inf")
        self.observer: Observer | None = None
        self.last: Pass | None = None
        self.full_passes = 0
        self.listed = 0  # directories, or parts of them

    @property
    def under_way(self) -> bool:
        """Whether a pass is under way, or the first one is still to come."""
        return self._now is not None or self.full_passes == 0

    @property
    def out(self) -> bool:
        """Whether a job of a pass is out."""
        return self._busy

    @property
    def latest(self) -> Pass | None:
        """The pass under way, or the last one."""
        return self._now or self.last

    @property
    def ground(self) -> scan.Ground:
        """What must be there before anything in the folder is proved gone."""
        return scan.Ground(self._folder.path, self._mount)

    def hint(self, directories: Iterable[bytes], *, everywhere: bool = False) -> None:
        """Take directories of this folder that are worth a look; `everywhere` asks for a full pass."""
        self._hinted |= dict.fromkeys(one for one in directories if not names.left_out(one, self._folder))
        if everywhere:
            self._full_at = float("-inf")

    def ask(self, asked: Asked) -> None:
        """Take a place to be looked into as soon as the present pass is over."""
        self._asked.append(asked)

    def next_at(self) -> float | None:
        """Say at which monotonic moment the next pass is due; None while one is under way."""
        if self._now is not None or self._pace.once:
            return None
        return float("-inf") if self._hinted or self._asked else min(self._quick_at, self._full_at)

    def plan(self, now: Moment) -> list[Work]:
        """Say what is to be read next; nothing while a job is out."""
        if self._busy:
            return []
        if self._now is None:
            self._begin(now)
        one = self._now
        if one is None:
            return []
        work = self._next_work(one, now)
        self._busy, self._handed_at = work is not None, now.mono
        return [work] if work else []

    # one pass

    def _begin(self, now: Moment) -> None:
        """Begin the pass that is due, if one is."""
        first = self.full_passes == 0
        if self._pace.once and not first:
            return
        full = first or now.mono >= self._full_at
        if self._asked and not first:
            self._begin_asked(self._asked.popleft(), now)
            return
        if not (full or self._hinted or now.mono >= self._quick_at):
            return
        hinted, self._hinted = tuple(self._hinted), {}
        known = None if full else self._ledger.latest_scan(self._folder.path)
        # A quick pass goes on with the number of the full one: there is nothing to commit before it reads.
        number = known or self._ledger.begin_scan(self._folder.path, now.wall, self._patterns)
        self._mount = number.mount
        if full:
            self._now = Pass(number, scan.start(self._folder), full, now.mono)
            return
        # A directory that was never read is read whole: its files may have come before its watch.
        todo = [(path, b"", not self._ledger.knows_directory(path)) for path in hinted]
        todo.append((self._folder.path, b"", False))  # read first: if it is lost, nothing below it has gone
        position = scan.Position(tuple(todo))
        glance = b"" if now.mono >= self._quick_at else None
        self._now = Pass(number, position, full, now.mono, glanced=glance)

    def _begin_asked(self, asked: Asked, now: Moment) -> None:
        number = self._ledger.begin_scan(self._folder.path, now.wall, self._patterns)
        self._mount = number.mount
        position = scan.Position(((self._folder.path, b"", False),))
        self._now = Pass(number, position, full=False, began=now.mono, asked=asked)

    def _next_work(self, one: Pass, now: Moment) -> Work | None:
        if one.lost:
            self._end(one, now)
            return None
        if one.full and self.observer is not None and not one.observed:
            one.observed = True
            if work := self.observer.before(self._folder.path, now):
                return replace(work, record=partial(self._observed, work.record))
        if one.asked is not None and not one.position.todo and not one.asked_for:
            one.asked_for = True
            one.position = scan.Position(((one.asked.place, b"", one.asked.deep),))
        if one.position.todo:
            place = (self._rules(one), one.position, self._mount, one.stride)
            return Work(scan.step, place, partial(self._stepped, one))
        self._mark(one)
        if one.glanced is not None:
            known = self._ledger.directories(self._folder.path, one.glanced, self._at_most(GLANCES_A_JOB))
            if known:
                one.glanced = known[-1][0]
                return Work(
                    scan.changed,
                    (tuple(known), self._folder.scan_ops_per_second),
                    partial(self._glanced, one),
                )
            one.glanced = None
        found = (
            self._ledger.unread_files(one.number, one.swept, self._at_most(SWEPT_A_JOB)) if one.full else []
        )
        if found:
            directory, last = found[-1]
            one.swept = (directory, last.name)
            paths = tuple(os.path.join(path, row.name) for path, row in found)
            return Work(
                scan.look,
                (paths, self.ground, self._folder.scan_ops_per_second),
                partial(self._swept, [row for _, row in found]),
            )
        self._end(one, now)
        return None

    def _at_most(self, number: int) -> int:
        return scan.at_most(number, self._folder.scan_ops_per_second)

    def _rules(self, one: Pass) -> Folder:
        if one.asked is None or not one.asked_for:
            return self._folder
        return replace(self._folder, include=one.asked.include, exclude=one.asked.exclude)

    def _back(self, now: Moment) -> None:
        """Note that a job is back. A folder that hung is not a slow one: that asks for no longer rest."""
        self._busy = False
        out_seconds = now.mono - self._handed_at
        if self._now is not None and out_seconds >= HANGS_SECONDS:
            self._now.began += out_seconds

    def _observed(self, record: Callable[[Any, Moment], None], result: object, now: Moment) -> None:
        self._back(now)
        record(result, now)

    def _stepped(self, one: Pass, step: scan.Step, now: Moment) -> None:
        """Hand on what a step of a scan read."""
        self._back(now)
        one.position = step.position
        self.listed += len(step.listings)
        one.stride = AGREED_ENTRIES
        for listing in step.listings:
            one.passed = one.passed.plus(listing.passed)
            one.files += len(listing.entries)
            if one.asked is None:
                self._dive(one, listing)
            if listing.directory == self._folder.path:
                self._find_ground(one, listing)
                seen = (listing.device, listing.inode)
                one.root = seen if one.root in ((0, 0), seen) else (-1, -1)
                one.place = self._ledger.place(*one.root) if one.root[1] > 0 else 0
            nested = one.root[0] > 0 and listing.device not in (0, one.root[0])
            if self._agrees(one, listing, now, nested=nested):
                continue
            one.stride = scan.STEP_ENTRIES
            directory_id = self._ledger.directory(
                listing.directory, one.number, listing.mtime_ns, nested=nested
            )
            if listing.problem:
                self._unreadable(one, directory_id, listing, now)
            else:
                self._readable(one, directory_id, listing, now)
            if listing.entries or listing.proves_absence:
                self._merge(directory_id, listing, now)

    def _agrees(self, one: Pass, listing: Listing, now: Moment, *, nested: bool) -> bool:
        """Be done with a listing that is just the one that agreed with the ledger before.

        No row of a file is read for it, and that its directory was read is recorded later, with others: so a
        pass over what is unchanged commits once in 2,000 directories, and not with every step. Should the
        process end before, the directory counts as not read, and is read again.
        """
        digest = one.digest(listing)
        known = self._ledger.agreed(listing.directory, one.number, nested=nested) if digest else None
        if known is None or known[1] != digest:
            return False
        one.agreed.append((known[0], listing.mtime_ns))
        if len(one.agreed) >= MARKED_AT_ONCE:
            self._mark(one)
        self._readable(one, known[0], listing, now)
        self._agreed(known[0])
        return True

    def _mark(self, one: Pass) -> None:
        """Record which directories a pass has read: before the ledger is asked which it has not."""
        self._ledger.read_again(one.number, one.agreed)
        one.agreed = []

    def _find_ground(self, one: Pass, listing: Listing) -> None:
        """Note whether the folder itself is there, and where."""
        self.away = listing.away
        if listing.mount and listing.mount != self._mount:
            self._mount = listing.mount
            self._ledger.found_on(one.number, listing.mount)

    def _dive(self, one: Pass, listing: Listing) -> None:
        """In a quick pass, read whole what is new below a directory that was read."""
        new = tuple((path, b"", True) for path in listing.below if not self._ledger.knows_directory(path))
        if new:
            one.position = replace(one.position, todo=(*one.position.todo, *new))

    def _glanced(self, one: Pass, changed: tuple[bytes, ...], now: Moment) -> None:
        self._back(now)
        todo = tuple((path, b"", False) for path in changed if not names.left_out(path, self._folder))
        one.position = replace(one.position, todo=(*one.position.todo, *todo))

    def _swept(self, rows: Sequence[FileRow], found: Sequence[scan.Sight], now: Moment) -> None:
        self._back(now)
        self._gone(rows, found, now)

    def _unreadable(self, one: Pass, directory_id: int, listing: Listing, now: Moment) -> None:
        """Tell what cannot be read: once, for as long as it stays so."""
        one.unread.add(listing.directory)
        if listing.directory == self._folder.path and not listing.entries:
            one.lost = listing.problem
        if self.unreadable.get(listing.directory) == listing.problem:
            return
        self.unreadable[listing.directory] = listing.problem
        self._ledger.remember("directory", directory_id, "unreadable", listing.problem, now.wall)
        where = self._name(one, directory_id, listing)
        log.warning("%s cannot be read, or not all of it (%s); that waits", where, listing.problem)

    def _readable(self, one: Pass, directory_id: int, listing: Listing, now: Moment) -> None:
        if self.unreadable.pop(listing.directory, None):
            self._ledger.remember("directory", directory_id, "readable", "", now.wall)
            log.info("%s can be read again", self._name(one, directory_id, listing))

    def _name(self, one: Pass, directory_id: int, listing: Listing) -> str:
        """Name a directory for the log: the folder itself as `status` and alerts do."""
        if listing.directory == self._folder.path:
            return f"folder {one.number.folder_id}"
        return handle("directory", directory_id)

    def _end(self, one: Pass, now: Moment) -> None:
        """Record a pass that came to its end, and when the next ones are due."""
        self._mark(one)
        # A pass that is held to a rate is no burden, however long it takes.
        rest = 0.0 if self._folder.scan_ops_per_second else REST_TIMES * (now.mono - one.began)
        jitter = self._luck.uniform(0.9, 1.1)  # many daemons on one share must not look in step
        self._quick_at = now.mono + jitter * max(self._folder.scan_seconds, rest)
        if one.asked is not None:
            one.asked.over, one.asked.passed, one.asked.problems = True, one.passed, one.problems
            self._now = None
            return
        if one.full:
            self._full_at = now.mono + jitter * max(self._folder.full_scan_seconds, rest)
            self.full_passes += 1
        elif one.lost:
            self._full_at = self._quick_at
        if one.lost:
            self._ledger.folder_lost(one.number, now.wall, one.lost)
        elif one.full:  # what cannot be read any more because it is gone is nothing to tell
            self.unreadable = {path: why for path, why in self.unreadable.items() if path in one.unread}
            self._ledger.end_scan(one.number, now.wall, self._report(one, now))
        if one.full and self.observer is not None:
            self.observer.ended(self._folder.path, one, now)
        if one.full or self.last is None:
            self.last = one
        self._now = None

    @staticmethod
    def _report(one: Pass, now: Moment) -> str:
        """Say what a whole pass counted, and how long it took, as JSON."""
        seconds = round(now.mono - one.began, 3)
        return json.dumps(
            asdict(one.passed) | {"files": one.files, "problems": one.problems, "seconds": seconds}
        )

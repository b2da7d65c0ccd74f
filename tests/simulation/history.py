"""What a life has seen that deletions are judged by.

It knows the disk as it was at every step, every byte in the archive, both clocks, the daemon's lives, the
config and what a person ordered. Of the ledger it reads which full passes were recorded, what is leaving
or being deleted, and the marker that it goes by.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from dicomsync.model import MARKER

from . import blobs
from .verdict import promise

if TYPE_CHECKING:
    from .disk import Node
    from .rows import Row, Rows
    from .site import Site

DAY_SECONDS = 86_400.0
JUMP_SECONDS = 300.0  # by which the clocks may part
FLASH_SECONDS = 300.0  # for so long a folder may be another between two looks, and nobody knows
SLACK_SECONDS = 600.0  # for what a clock that is set by less than a jump does to times of day
EPSILON = 1e-6
HIDDEN = b"hidden:"  # before the path of what a mount hides, or a disk that is away has
OPEN = "stage IN ('left', 'absent', 'confirmed', 'grace', 'deleting')"


@dataclass(frozen=True)
class Mark:
    """A moment: its place in the order of things, true seconds, and the monotonic clock."""

    step: int
    true: float
    mono: float


@dataclass
class Presence:
    """That something was somewhere, from when on, and until when it was."""

    since: Mark
    until: Mark | None = None


@dataclass
class FullPass:
    """One full pass over a folder, as the disk saw it."""

    began: Mark
    epoch: int
    first: bool
    healthy: bool  # as it began; and then, as it ended too
    ended: Mark | None = None
    whole: bool = False  # every directory was read, without an error
    directories: frozenset[bytes] = frozenset()  # that were there as it ended
    served: float = 0.0
    live: int = 0  # instances that were in the folder as it ended

    @property
    def proves(self) -> bool:
        """Whether anything that it did not come by is absent."""
        return self.ended is not None and self.whole and self.healthy


@dataclass
class Grounds:
    """One folder that may mirror, and its history."""

    path: bytes
    mode: str = "off"
    within: float | None = None
    epoch: int = 0  # evidence began again so often
    served: float = 0.0  # mono seconds for which a daemon was up and the folder healthy
    unseen: float = 0.0  # of its being another while nobody looked
    looked: bool = False
    scan: int = 0
    ended: tuple[Any, ...] = ()
    passes: list[FullPass] = field(default_factory=list)
    begun: list[FullPass] = field(default_factory=list)  # passes of which the end is not recorded
    backlog: set[bytes] = field(default_factory=set)
    markers: dict[str, tuple[Node, int]] = field(default_factory=dict)  # folders that were enrolled, by id
    marker: str = ""  # the one that the ledger goes by


class History:
    """What every DELETE is held against: taken down as it happens, decided nowhere."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.grounds = {path: Grounds(path) for path in site.folders}
        self._ticks = -1
        self._places: dict[bytes, tuple[bytes, Mark]] = {}  # each file that is there: content, since when
        self._there: dict[str | bytes, list[Presence]] = {}  # by SOP Instance UID, and by content
        self._held_by: dict[str, set[bytes]] = {}  # the folders in which each UID was ever held
        self._stored: dict[str, tuple[Mark, int]] = {}  # when, and in the how many-th ledger
        self._given: dict[str, bytes] = {}  # what the archive gave last
        self._intents: dict[str, Row] = {}
        self._folder_of: dict[str, bytes] = {}  # what a DELETE was sent for, and the folder that it left
        self._deleted: list[tuple[float, bytes, str]] = []  # not approved: true seconds, folder, UID
        self._approved: dict[str, Mark] = {}
        self._cancelled: dict[str, Mark] = {}
        self._ledgers = 0
        self._back = -1.0  # when the wall clock last went back, in true seconds
        self._clocks: tuple[float, float] | None = None
        self._rules = site.mirrors.config.rules
        self._excluded = site.mirrors.config.excluded

    # what the life tells

    @property
    def now(self) -> Mark:
        """This moment, which is later than any other."""
        self._site.disk.steps += 1
        return Mark(self._site.disk.steps, self._site.true, self._site.mono)

    @property
    def up(self) -> bool:
        """Whether a daemon is; a backfill mirrors nothing."""
        return self._site.engine is not None and not self._site.once

    def sample(self) -> None:
        """Take down what is on the disk, if anything changed there."""
        ticks = self._site.disk.changes
        if ticks == self._ticks:
            return
        self._ticks = ticks
        now, before = self.now, self._places
        for path, data in (everything := dict(self._all_files())).items():
            if (blob := self._instance(data)) is not None:
                self._held_by.setdefault(blob.sop, set()).add(self._folder(path))
        seen = {
            path: data  # what the patterns leave out was never seen, unless it was before they did
            for path, data in everything.items()
            if (path in before and before[path][0] == data)
            or not (self._left_out(path) or self._never_seen(path, data))
        }
        self._places = {
            path: before[path] if path in before and before[path][0] == data else (data, now)
            for path, data in seen.items()
        }
        keys: set[str | bytes] = set()
        for data in seen.values():
            blob = self._instance(data)
            keys.add(data)
            if blob is not None:
                keys.add(blob.sop)
        for key in keys:
            spans = self._there.setdefault(key, [])
            if not spans or spans[-1].until is not None:
                spans.append(Presence(now))
        for key, spans in self._there.items():
            if key not in keys and spans[-1].until is None:
                spans[-1].until = now

    def _never_seen(self, path: bytes, data: bytes) -> bool:
        """Say whether this was hidden before a full pass could come by it."""
        if not path.startswith(HIDDEN):
            return False
        there, since = self._places.get(path.removeprefix(HIDDEN), (b"", None))
        if since is None or there != data:  # another has its name since it was hidden
            return True
        passes = self.grounds[self._folder(path)].passes
        return not any(one.whole and one.began.step > since.step for one in passes)

    def _all_files(self) -> Iterator[tuple[bytes, bytes]]:
        """Give what is there, seen or hidden by a mount that was lost, or another disk."""
        site = self._site
        for root in site.folders:
            yield from ((path, node.data) for path, node in site.disk.files(root))
        hidden = [one for one in site.away.items() if not self._let_go(*one)] + [*site.lost_mounts.items()]
        hidden += [(path, below) for path, (below, _) in site.mirrors.mounted.items()]
        for path, node in hidden:
            for at, one in _files(path, node):
                yield HIDDEN + at, one.data

    def _let_go(self, path: bytes, node: Node) -> bool:
        """Say whether a person enrolled another folder in the place of this one, which is away."""
        one = self.grounds[path]
        return one.marker in one.markers and one.markers[one.marker][0] is not node

    def _instance(self, data: bytes) -> blobs.Blob | None:
        """Say which instance a file's content is taken for: whole, or nothing in it tells otherwise."""
        if data in self._site.oracle.plausible:
            return blobs.told_by(data)
        return blobs.by_data().get(data)

    def _folder(self, path: bytes) -> bytes:
        path = path.removeprefix(HIDDEN)
        return next(root for root in self.grounds if path.startswith(root + b"/"))

    def healthy(self, one: Grounds) -> bool:
        """Say whether the folder is the one that was enrolled."""
        node = self._site.disk.find(one.path)
        known = one.markers.get(one.marker)
        marker = self._site.disk.find(one.path + b"/" + MARKER)
        text = self._site.disk.find(one.path + b"/" + MARKER + b"/id")
        if node is None or known is None or marker is None or text is None:
            return False
        whole = text.kind == stat.S_IFREG and text.data == one.marker.encode() + b"\n"
        sound = not (node.fault or marker.fault or text.fault)
        return known[0] is node and known[1] == node.device and whole and sound

    def looked_at(self, path: bytes) -> None:
        """The daemon looks at a folder."""
        if path in self.grounds:
            self.grounds[path].looked = True

    def passes_by(self, seconds: float) -> None:
        """So much monotonic time is about to pass, in which nothing changes."""
        self.sample()
        for one in self.grounds.values():
            if not self.up:
                one.unseen = 0.0
            elif self.healthy(one):
                one.served += seconds + (one.unseen if one.unseen <= FLASH_SECONDS else 0.0)
                one.unseen, one.looked = 0.0, False
            else:
                if one.looked:
                    one.unseen = FLASH_SECONDS + 1.0
                one.unseen += seconds

    def turns(self) -> None:
        """The loop is about to turn: it can see that the clocks have parted."""
        self.sample()
        if not self.up or self._site.troubled or self._site.faults.fault:
            return  # what cannot be recorded is as if no daemon were
        wall, mono = self._site.wall, self._site.mono
        if self._clocks is not None:
            parted = (wall - self._clocks[0]) - (mono - self._clocks[1])
            if abs(parted) > JUMP_SECONDS:
                self._again()
            if parted < -JUMP_SECONDS:
                self._back = self._site.true
        self._clocks = (wall, mono)

    def began(self) -> None:
        """A daemon took over; it may have another config."""
        self.sample()
        for one in self.grounds.values():
            one.begun.clear()
        if not self.up:
            return
        if self._clocks is not None and self._site.wall < self._clocks[0] - JUMP_SECONDS:
            self._back = self._site.true
        self._clocks = (self._site.wall, self._site.mono)
        config = self._site.mirrors.config
        before = [(one.mode, one.within, self._rules) for one in self.grounds.values()]
        self._rules = config.rules
        for one, mode, old in zip(self.grounds.values(), config.modes, before, strict=True):
            one.mode, one.within = mode, config.within
            one.epoch += old != (mode, config.within, config.rules)
        if config.excluded != self._excluded:
            self._again()
            self._excluded, self._ticks = config.excluded, -1
            self.sample()

    def _again(self) -> None:
        for one in self.grounds.values():
            one.epoch += 1

    def ended(self) -> None:
        """The daemon is no more."""
        for one in self.grounds.values():
            one.begun.clear()
            one.unseen = 0.0

    def ledger_lost(self) -> None:
        """Another ledger is in its place, or none."""
        self._ledgers += 1
        self._intents.clear()
        self._deleted.clear()  # a new ledger counts anew, and deletes nothing of before
        self._again()
        for one in self.grounds.values():
            one.scan, one.ended, one.marker = 0, (), ""

    def enrolled(self, path: bytes, node: Node, marker: str) -> None:
        """A person enrolled a folder."""
        one = self.grounds[path]
        one.markers[marker], one.marker = (node, node.device), marker
        self._ticks = -1
        one.epoch += 1

    def approved(self, uids: frozenset[str]) -> None:
        """A person approved these."""
        self._approved |= dict.fromkeys(uids, self.now)

    def cancelled(self, uids: frozenset[str]) -> None:
        """A person cancelled, or undid, these."""
        self._cancelled |= dict.fromkeys(uids, self.now)

    def kept(self, uid: str) -> None:
        """The archive took something of ours."""
        self._stored[uid] = (self.now, self._ledgers)

    def given(self, uid: str, body: bytes) -> None:
        """The archive gave something back."""
        self._given[uid] = body

    def deleted(self, uid: str) -> None:
        """The archive deleted what it was told to."""
        if not self._is_approved(uid):
            self._deleted.append((self._site.true, self._folder_of[uid], uid))

    @property
    def anywhere(self) -> set[str]:
        """The SOP Instance UIDs of all whole files that are anywhere, seen or not."""
        data = (self._instance(one) for _, one in self._all_files())
        return {blob.sop for blob in data if blob is not None}

    def may_be_deleted(self, row: Row, rows: Rows) -> None:
        """An intent was committed."""
        raise NotImplementedError

    def _left_out(self, path: bytes) -> bool:
        """Say whether the config leaves a path out, by its own name or a directory's."""
        place = path.removeprefix(HIDDEN).decode("utf-8", "surrogateescape")
        names = place.lower().split("/")[2:]
        return any(fnmatch(name, one) for name in names for one in self._excluded)

    def _left(self, uid: str) -> Mark | None:
        spans = self._there.get(uid, [])
        return spans[-1].until if spans else None

    def _is_approved(self, uid: str) -> bool:
        left, approved = self._left(uid), self._approved.get(uid)
        return approved is not None and (left is None or left.step < approved.step)

    # the ledger

    @property
    def under_way(self) -> bool:
        """Whether anything is just being deleted for having left."""
        return any(mirrored(row) for row in self._site.oracle.rows[0].values())

    def waiting(self, path: bytes) -> list[tuple[int, str]]:
        """Give what waits in a folder, as the ledger has it: rows and UIDs."""
        return [
            (int(row[0]), str(row[1]))
            for row in self._site.oracle.ask(
                f"""SELECT r.id, i.sop_instance_uid FROM removals r JOIN instances i ON i.id = r.instance_id
                JOIN roots t ON t.id = r.root_id WHERE t.path = ? AND r.{OPEN}""",
                path,
            )
        ]

    def took(self, before: Rows, after: Rows) -> None:
        """Take a ledger that was committed."""
        self.sample()
        for path, identity in self._site.oracle.ask("SELECT path, identity FROM roots"):
            if bytes(path) in self.grounds:
                self.grounds[bytes(path)].marker = json.loads(identity)["marker"] if identity else ""
        for number, row in after[0].items():
            old = before[0].get(number)
            if mirrored(row) and (old is None or not mirrored(old)):
                promise(old is not None and old[2] == "leaving", "I4: a deletion that was not leaving first")
                self._intents[row[1]] = row
                self.may_be_deleted(row, after)
        self._take_passes()

    def _take_passes(self) -> None:
        for path, scan, *ended in self._site.oracle.ask("SELECT path, scan, scanned_at, report FROM folders"):
            one = self.grounds.get(bytes(path))
            if one is None:
                continue
            if one.begun and tuple(ended) != one.ended:
                self._end(one, json.loads(ended[1] or "{}"))
            one.ended = tuple(ended)
            if scan != one.scan:
                one.scan = scan
                one.begun.append(FullPass(self.now, one.epoch, ended[0] is None, self.healthy(one)))

    def _end(self, one: Grounds, report: dict[str, Any]) -> None:
        """Take the end of a full pass: the latest that was begun, and since when every directory was read."""
        disk, begun = self._site.disk, one.begun
        one.begun = []
        directories = {
            at: disk.listed.get(id(node), -1)
            for at, node in _directories(one.path, disk.find(one.path))
            if not at.startswith(one.path + b"/" + MARKER) and not self._left_out(at)
        }
        oldest = min(directories.values(), default=-1)
        this = next((each for each in reversed(begun) if each.began.step < oldest), begun[-1])
        this.ended, this.served, this.live = self.now, one.served, self._live(one)
        this.whole = not report.get("lost") and this.began.step < oldest
        this.healthy = this.healthy and self.healthy(one) and self.up
        this.directories = frozenset(directories)
        one.passes.append(this)
        if this.first:
            one.backlog |= {
                data
                for path, (data, since) in self._places.items()
                if self._folder(path) == one.path
                and since.step < this.began.step
                and not self._was_stored(data)  # what was known already is not made old by other patterns
            }

    def _was_stored(self, data: bytes) -> bool:
        blob = self._instance(data)
        stored = self._stored.get(blob.sop) if blob else None
        return stored is not None and stored[1] == self._ledgers

    def _live(self, one: Grounds) -> int:
        here = [data for path, (data, _) in self._places.items() if path.startswith(one.path + b"/")]
        return len({blob.sop for data in here if (blob := self._instance(data)) is not None})


def mirrored(row: Row) -> bool:
    """Say whether a row is being deleted because its file left."""
    return bool(row[2] == "deleting" and row[3] == "mirrored")


def _files(path: bytes, node: Node) -> Iterator[tuple[bytes, Node]]:
    if node.kind == stat.S_IFREG:
        yield path, node
    for name, below in node.below.items():
        yield from _files(path + b"/" + name, below)


def _directories(path: bytes, node: Node | None) -> Iterator[tuple[bytes, Node]]:
    if node is not None and node.kind == stat.S_IFDIR:
        yield path, node
        for name, below in node.below.items():
            yield from _directories(path + b"/" + name, below)

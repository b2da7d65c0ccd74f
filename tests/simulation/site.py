"""One life: folders, an archive, clocks, a ledger, and a daemon between them that can end at any point."""

from __future__ import annotations

import logging
import os
import random
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from dicomsync import commanded, dicomweb, orders
from dicomsync.batching import Caps
from dicomsync.engine import Engine
from dicomsync.errors import DicomsyncError, LedgerInUse, LedgerProblem
from dicomsync.ledger import Ledger, opening
from dicomsync.model import Folder, Moment
from dicomsync.work import Pace

from . import blobs
from .archive import KINDS, Archive
from .disk import Disk, DiskOs, Node
from .erasing import Crash
from .hands import Hands
from .ledgers import Faults, Module, lose, migrate, template
from .mirrors import Mirrors
from .oracle import Oracle
from .verdict import Violation, promise

ROOMS_THAT_READ = tuple(f"dicomsync.{room}" for room in ("listings", "scan", "header", "visits"))
FOLDERS = (b"/one", b"/two")
DIRECTORIES = tuple(root + below for root in FOLDERS for below in (b"", b"/a", b"/b"))
NAMES = (b"1.dcm", b"2.dcm", b"3.DCM", b"\xff\xfe.dcm")
PATHS = tuple(directory + b"/" + name for directory in DIRECTORIES for name in NAMES)
SECOND = "second daemon"


class Site:
    """The life. Every method that is something happening returns quietly whatever state it is in."""

    def __init__(self, seed: int = 0, home: Path | None = None) -> None:
        luck = random.Random(seed)
        self.luck = luck
        self.home = home or Path(
            tempfile.mkdtemp(prefix="life-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        )
        self.wall, self.mono, self.true = 1.7e9, 5000.0, 0.0
        self.disk = Disk(lambda: self.wall)
        for directory in DIRECTORIES:
            self.disk.mkdir(directory)
        self.archive = Archive(lambda: self.true, KINDS[seed % len(KINDS)], luck=random.Random(seed + 1))
        self.faults = Faults()
        self.ledger_path = self.home / "ledger.db"
        shutil.copytree(template(), self.home, dirs_exist_ok=True)
        self.engine: Engine | None = None
        self.ledger: Ledger | None = None
        self.folders = FOLDERS
        self.away: dict[bytes, Node] = {}
        self.lost_mounts: dict[bytes, Node] = {}
        self.visited_by_another_disk: set[bytes] = set()
        self.mirrors = Mirrors(self)
        self.oracle = Oracle(self)
        self.faults.on_crash = self.oracle.crashes
        self.faults.committed = self.oracle.ledger_committed
        self.archive.leaves = self.oracle.bytes_leave
        self.archive.deletes = self.oracle.deletions.deletes
        self.archive.during = self._during
        self.during: list[Callable[[], None]] = []
        self.stack = ExitStack()
        self._patch()
        self.hands = Hands(self)
        self.once = False
        self.hints: list[bytes] = []
        self.troubled = False
        self.reloading = False
        self.growing: dict[bytes, tuple[bytes, int]] = {}
        self.deleting: list[tuple[orders.Withdraw, Future[int]]] = []
        self.backup: tuple[dict[str, bytes], dict[str, str]] = ({}, {})
        self.turns = self.crashes = 0
        self.settings = seed // len(KINDS)
        self.start()

    def _patch(self) -> None:
        logging.disable(logging.CRITICAL)  # a life says a lot
        self.stack.callback(logging.disable, logging.NOTSET)
        seen = DiskOs(self.disk)
        clock = SimpleNamespace(
            time_ns=lambda: int(self.wall * 1e9), time=lambda: self.wall, monotonic=lambda: self.mono
        )
        for room in ROOMS_THAT_READ:
            self.stack.enter_context(mock.patch(f"{room}.os", seen))
        self.mirrors.patch(self.stack)
        self.stack.enter_context(mock.patch("dicomsync.listings.time", clock))
        self.stack.enter_context(mock.patch("dicomsync.copies.CHUNK_BYTES", 512))
        self.stack.enter_context(mock.patch.object(dicomweb, "client_for", return_value=self.archive))
        self.stack.enter_context(mock.patch.object(opening, "sqlite3", Module(self.faults)))
        self.stack.enter_context(mock.patch.object(opening, "migrate", migrate))
        self.stack.enter_context(mock.patch("dicomsync.ledger.writer.time", clock))
        self.stack.enter_context(mock.patch("dicomsync.mounts.kind", return_value="local"))

    def close(self) -> None:
        """End, and leave nothing behind."""
        self._drop()
        self.oracle.close()
        self.stack.close()
        shutil.rmtree(self.home, ignore_errors=True)

    # the daemon

    @property
    def now(self) -> Moment:
        """Both clocks."""
        return Moment(self.wall, self.mono)

    def start(self) -> None:
        """Start the daemon, or a backfill in its stead, from the ledger alone."""
        with self.ending():
            if self.ledger is None:
                try:
                    self.ledger = Ledger.open(self.ledger_path, mends=True)
                except LedgerProblem:
                    return
            self._take_over()

    def _take_over(self) -> None:
        assert self.ledger is not None
        settle = 5.0 if self.settings % 2 else 30.0
        folders = self.mirrors.folders(FOLDERS, settle)
        caps = Caps(max_instances=3 + 5 * (self.settings // 2 % 2), max_bytes=8_000)
        pace = Pace(self.now, caps, 30.0, 1 + self.settings // 4 % 3, once=self.once)
        self.hands = Hands(self)
        self.troubled = self.reloading = False
        self.deleting.clear()
        archive = dicomweb.Archive("http://archive.test/dicom-web")
        engine = Engine(
            self.ledger,
            folders,
            archive,
            pace,
            self.hands,
            random.Random(self.luck.random()),
            self.mirrors.config.rules,
            self.mirrors.trash,
        )
        try:
            engine.begin(self.now)
        except LedgerProblem:
            self.engine = None
            return
        self.engine = engine
        self.oracle.began()

    def turn(self) -> bool:
        """One turn of the loop; True if there was anything. Trouble with the ledger ends as in the daemon."""
        if self.engine is None:
            self.start()
            return False
        self.turns += 1
        self.oracle.deletions.turns()
        self.archive.settle_late()
        try:
            with self.ending():
                return self._turn(self.engine)
        finally:
            self.oracle.check()

    def _turn(self, engine: Engine) -> bool:
        try:
            busy = engine.turn(self.now)
        except LedgerProblem:
            self.oracle.nothing_was_handed_out()
            engine.stop()
            self.troubled = True
            busy = False
        else:
            self.oracle.turned()
        if (self.troubled or self.reloading) and not engine.delivery.sending:
            self._quiesced()
        self._settle_deletions()
        self.mirrors.settle()
        return busy

    def _quiesced(self) -> None:
        assert self.ledger is not None
        try:
            with self.ledger.transaction():
                self.ledger.set_fact("tried", str(self.wall))
        except LedgerProblem:
            return
        self.oracle.dropped()
        self._take_over()

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Take a crash where it comes."""
        try:
            yield
        except Crash as crash:
            if str(crash).startswith(("sent", "delete")):  # those of a turn are named where they are
                self.oracle.crashes(str(crash))
            self._end()

    def _end(self) -> None:
        self.crashes += 1
        self._drop()
        self.oracle.reopened()

    def _drop(self) -> None:
        if self.ledger is not None:
            with suppress(sqlite3.Error, DicomsyncError):
                self.ledger.close()
        self.engine = self.ledger = None
        self.faults.crash_at = ""
        self.hands = Hands(self)
        self.disk.open_files.clear()
        self.mirrors.forget()
        self.oracle.dropped()

    def work(self, which: int) -> None:
        """Do one of the jobs that are out."""
        waiting = [job for job in self.hands.out if not job.done]
        if waiting:
            with self.ending():
                self.hands.do(waiting[which % len(waiting)])

    def bring(self, which: int) -> None:
        """Bring one result back, in any order."""
        done = [job for job in self.hands.out if job.done]
        if done:
            self.hands.bring(done[which % len(done)])

    def rest(self, most: int = 400) -> None:
        """Turn, with quick hands, until nothing happens at this moment."""
        for _ in range(most):
            busy = self.turn()
            engine = self.engine
            for job in list(self.hands.out):
                if engine is None or engine is not self.engine:
                    break
                if self.hands.keeps(job):
                    continue
                with self.ending():
                    if self.hands.do(job):
                        self.hands.bring(job)
                        busy = True
            if not busy:
                return
        raise AssertionError("L1: the engine does not come to rest at one moment")

    def crash(self, point: str, passing_by: int = 0) -> None:
        """End at a named point of a turn, after passing by it a few times, or now."""
        if point == "now":
            if self.engine is not None:
                self.oracle.crashes("between turns")
                self._end()
            return
        self.faults.crash_at, self.faults.passing_by = point, passing_by

    def power_cut(self) -> None:
        """End at once; what was written to the folders lately may be cut short."""
        self.crash("now")
        for path in list(self.growing):
            node = self.disk.find(path)
            if node is not None and node.kind == stat.S_IFREG:
                self.disk.write(path, node.data[: len(node.data) // 2])
        self.growing.clear()

    def copy_ledger(self) -> None:
        """Somebody takes a copy of the ledger."""
        if self.ledger is not None:
            with closing(sqlite3.connect(self.home / "copy.db")) as copy:
                self.ledger.connection.backup(copy)

    def lose_ledger(self, how: str, at: int) -> None:
        """The daemon ends, and finds something else in its ledger's place when it starts again."""
        self.crash("now")
        self._drop()
        self.oracle.ledger_taken_away()
        if lose(self.ledger_path, self.home / "copy.db", how, at):
            self.oracle.ledger_lost()

    def reload(self) -> None:
        """Read the config anew: nothing more goes, and another engine takes over."""
        if self.engine is not None:
            self.engine.stop()
            self.reloading = True

    def second(self) -> None:
        """Start another daemon beside this one: it is refused."""
        if self.ledger is None:
            return
        try:
            Ledger.open(self.ledger_path).close()
        except LedgerInUse as refusal:
            self.oracle.count("fault", SECOND)
            promise(refusal.exit_code == 73, "I9: a second daemon ends with another code than 73")
        else:
            raise Violation("I9: two daemons have one ledger")

    # what a person does

    def retry(self, wanted: orders.Retry) -> None:
        """`dicomsync retry`."""
        if self.engine is not None:
            self.engine.order(partial(commanded.retry, self.engine, wanted))

    def visit(self, place: bytes) -> None:
        """`dicomsync backfill PLACE`, beside the daemon."""
        if self.engine is not None:
            folder = Folder(place, settle_seconds=5.0)
            future = self.engine.order(partial(self.engine.visit, [folder]))
            engine = self.engine
            future.add_done_callback(lambda done: None if done.exception() else engine.leave(done.result()))

    def withdraw(self, which: int) -> None:
        """`dicomsync archive delete`: its first half."""
        if self.engine is not None:
            blob = blobs.universe()[which % len(blobs.universe())]
            order = orders.Withdraw(blob.study, *((blob.series, blob.sop) if which % 3 else ()))
            self.deleting.append((order, self.engine.order(partial(commanded.withdraw, self.engine, order))))

    def _settle_deletions(self) -> None:
        """Its other half: delete there, and record what came of it."""
        engine = self.engine
        for order, future in [one for one in self.deleting if one[1].done()]:
            self.deleting.remove((order, future))
            if future.exception() or engine is None:
                continue
            deleted = self.luck.random() < 0.7
            meant = {
                blob.sop
                for blob in blobs.universe()
                if blob.study == order.study and order.sop in (None, blob.sop)
            }
            for uid in meant if deleted else ():
                if self.archive.studies.get(uid) == order.study:
                    self.archive.late = [one for one in self.archive.late if one[1] != uid]
                    self.archive.remove(uid)
            settle = orders.Settle(order.study, order.series, order.sop, deleted)
            engine.order(partial(commanded.settle, engine, settle))
            if deleted:
                self.oracle.person_deleted(meant)

    def undo_deletions(self, now: Moment) -> None:
        """A person repeats what a crash cut short, and leaves it as it was."""
        assert self.engine is not None
        for study in {blob.study for blob in blobs.universe()}:
            commanded.settle(self.engine, orders.Settle(study, None, None, deleted=False), now)

    # time

    def advance(self, seconds: float) -> None:
        """Let time pass on all clocks."""
        self.oracle.deletions.passes_by(seconds)
        self.wall += seconds
        self.mono += seconds
        self.true += seconds

    def sleep(self, seconds: float) -> None:
        """Suspend the machine: the monotonic clock stands still."""
        self.wall += seconds
        self.true += seconds

    def passes(self, seconds: float) -> None:
        """Let the daemon live for so long."""
        end = self.true + seconds
        self.rest()
        while self.true < end:
            seconds = 5.0
            with self.ending():  # also while it waits
                seconds = self._next_seconds()
            self.advance(min(end - self.true, seconds))
            self.rest()

    @property
    def full_passes(self) -> list[int]:
        """How many full passes over each folder have begun."""
        passes = [intake.passes for intake in self.engine.intakes] if self.engine else []
        return [one.full_passes + one.under_way for one in passes]

    def _next_seconds(self) -> float:
        engine = self.engine
        if engine is None:
            return 5.0
        moments = [
            self.mono + 60.0,
            engine.delivery.circuit.probe_at if not engine.delivery.circuit.closed else 9e99,
        ]
        moments += [at for intake in engine.intakes if (at := intake.next_at(self.now)) is not None]
        if engine.delivery.circuit.closed and self.ledger is not None:
            with suppress(sqlite3.Error):
                due = self.ledger.next_due()
                if due is not None:
                    moments.append(self.mono + due - engine.pace.at(self.now))
        # what is due already and did not happen now waits for something else
        return max(0.5, min(at for at in moments if at > self.mono + 0.001) - self.mono)

    # folders

    def _during(self) -> None:
        if self.during:
            self.oracle.count("fault", "file changed while it was sent")
            self.during.pop()()

    def changed(self, path: bytes) -> None:
        """A watcher might have seen this."""
        self.hints.append(path.rpartition(b"/")[0])
        self.oracle.disk_changed()

    def heal(self) -> None:
        """End every fault: the archive is honest, the folders are there, the ledger can be written."""
        self.faults.fault = self.faults.crash_at = ""
        self.archive.heal()
        self.during.clear()
        for path, node in self.away.items():
            self.disk.remove(path)
            self.disk.enter(path, node)
        self.away.clear()
        for root in self.visited_by_another_disk:  # empty it would look like its mount point, without a disk
            self.disk.write(root + b"/not-empty.txt", b"")
        self.mirrors.hybrid.full = False
        for path in list(self.lost_mounts):
            self.mirrors.mount(path)
        todo = [self.disk.root]
        while todo:
            node = todo.pop()
            node.fault = 0
            todo += node.below.values()
        self.growing.clear()
        self.oracle.disk_changed()

"""The engine's outside, made up: an archive, hands and clocks that do as a test says; the disk is real."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dicomsync import dicomweb, report
from dicomsync.batching import Caps
from dicomsync.deletion import Rules
from dicomsync.dicomweb import Deletion, Failed, Identified, Part, Referenced, StoreAnswer, StoreResponse
from dicomsync.engine import Engine
from dicomsync.errors import NoAnswer, NotThere, Refused
from dicomsync.ledger import Ledger, Reader
from dicomsync.model import DUE, FileState, Folder, InstanceState, Mirror, Moment
from dicomsync.samples import instance
from dicomsync.scan import look
from dicomsync.work import AfterStore, Pace

URL = "http://archive.test/dicom-web"
STUDY = "1.2.3"


class SameThread(Executor):
    """Hands that do each job at once, or keep it until told."""

    def __init__(self) -> None:
        self.kept: list[tuple[Future[Any], Callable[[], Any]]] | None = None
        self.keeps: tuple[str, ...] = ("store", "ask")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if self.kept is not None and fn.__name__ in self.keeps:
            self.kept.append((future, lambda: fn(*args, **kwargs)))
        else:
            future.set_result(fn(*args, **kwargs))
        return future

    def release(self) -> None:
        """Do what was kept."""
        kept, self.kept = self.kept or [], None
        for future, run in kept:
            future.set_result(run())


@dataclass
class FakeArchive:
    """An archive in memory. `answers` are given, one each, to the stores to come, instead of its own."""

    kind: str = "dicom-server"
    held: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, ...]] = field(default_factory=list)
    answers: list[Callable[[Sequence[tuple[str, bytes]]], StoreAnswer]] = field(default_factory=list)
    always: Callable[[Sequence[tuple[str, bytes]]], StoreAnswer] | None = None
    refuse: dict[str, int] = field(default_factory=dict)  # SOP Instance UID -> Failure Reason
    down: bool = False
    searches_fail: int = 0  # with this status
    refuses_retrieve: int = 0  # likewise
    asked: list[set[str]] = field(default_factory=list)  # the SOP Instance UIDs of each search
    on_part: Callable[[], None] = lambda: None
    in_flight: set[str] = field(default_factory=set)
    deletions: list[tuple[str, str, str]] = field(default_factory=list)
    delete_answers: list[Callable[[str], None]] = field(default_factory=list)  # to the deletes to come
    of_study: str | None = None  # what the last store named in its URL

    @property
    def searches(self) -> int:
        """How often it was searched."""
        return len(self.asked)

    # what a Client offers

    def identify(self) -> Identified:
        self._reach()
        return Identified(self.kind, "made up")

    def store(self, parts: Sequence[Part], study: str | None = None) -> StoreAnswer:
        self.of_study = study
        self._reach()
        bodies = []
        for part in parts:
            uid = part.due.sop_instance_uid  # type: ignore[attr-defined]  # parts are ours
            assert uid not in self.in_flight
            self.in_flight.add(uid)
            try:
                bodies.append((uid, b"".join(part.chunks())))
            finally:
                self.in_flight.discard(uid)
            self.on_part()
        self.requests.append(tuple(uid for uid, _ in bodies))
        if self.answers:
            return self.answers.pop(0)(bodies)
        return (self.always or self.keep)(bodies)

    def present(self, study: str, uids: Mapping[str, str]) -> frozenset[str]:
        del study
        self._reach()
        self.asked.append(set(uids))
        if self.searches_fail:
            raise Refused("refused", status=self.searches_fail)
        return frozenset(uid for uid in uids if uid in self.held)

    @contextmanager
    def instance(self, study: str, series: str, sop: str) -> Iterator[Iterator[bytes]]:
        del study, series
        self._reach()
        if self.refuses_retrieve:
            raise Refused("refused", status=self.refuses_retrieve)
        if sop not in self.held:
            raise NotThere("not there", status=404)
        yield iter([self.held[sop]])

    def delete(self, study: str, series: str, sop: str, *, alone: bool) -> Deletion:
        assert alone, "one thing, or nothing"
        self._reach()
        self.deletions.append((study, series, sop))
        if self.delete_answers:
            self.delete_answers.pop(0)(sop)
        elif self.held.pop(sop, None) is None:
            return Deletion(dicomweb.Outcome.ABSENT, 404)
        return Deletion(dicomweb.Outcome.DELETED, 200)

    def _reach(self) -> None:
        if self.down:
            raise NoAnswer("unreachable", "no connection")

    # answers

    def keep(self, bodies: Sequence[tuple[str, bytes]]) -> StoreAnswer:
        """Store what is new, as the Medical Imaging Server or (hiding duplicates) Orthanc would."""
        referenced, failed = [], []
        for uid, body in bodies:
            if uid in self.refuse:
                failed.append(Failed(uid, "", self.refuse[uid]))
            elif uid in self.held and not dicomweb.KINDS[self.kind].hides_duplicates:
                failed.append(Failed(uid, "", 45070))
            else:
                self.held.setdefault(uid, body)
                referenced.append(Referenced(uid))
        status = 200 if not failed else 202 if referenced else 409
        return answer(status, StoreResponse(tuple(referenced), tuple(failed)))

    def lose_answer(self, bodies: Sequence[tuple[str, bytes]]) -> StoreAnswer:
        """Store everything and break the connection."""
        self.keep(bodies)
        size = sum(len(body) for _, body in bodies)
        raise NoAnswer("broken", "gone", sent_bytes=size, total_bytes=size)


def answer(status: int, response: StoreResponse | None = None, **more: Any) -> StoreAnswer:
    """Make an answer to a store."""
    usual = {"retry_after_seconds": None, "sent_bytes": 1, "total_bytes": 1, "complete": True}
    return StoreAnswer(status, response, **(usual | more))


def gives(status: int, response: StoreResponse | None = None, **more: Any) -> Callable[..., StoreAnswer]:
    """Answer so, and store nothing."""
    return lambda _bodies: answer(status, response, **more)


def breaks(why: str, sent_bytes: int, total_bytes: int = 1000) -> Callable[..., StoreAnswer]:
    """Give no answer, and store nothing."""

    def act(_bodies: Sequence[tuple[str, bytes]]) -> StoreAnswer:
        raise NoAnswer(why, "no answer", sent_bytes=sent_bytes, total_bytes=total_bytes)

    return act


class World:
    """A folder, a ledger, an archive and an engine between them; time passes only when told."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, kind: str = "dicom-server") -> None:
        self.folder = home / "in"
        self.folder.mkdir()
        self.ledger_path = home / "ledger.db"
        self.trash = home / "ledger.db.trash"
        self.more_folders: list[Folder] = []
        self.archive = FakeArchive(kind)
        monkeypatch.setattr(dicomweb, "client_for", lambda _archive: self.archive)
        self.now = Moment(os.stat(home).st_ctime + 3600, 1000.0)
        self.caps = Caps(max_instances=10)
        self.once = True
        self.settle_seconds = 5.0
        self.transfers = 2
        self.new_only = False
        self.sends = True
        self.mends = False
        self.after_store: AfterStore = "none"
        self.exclude: tuple[str, ...] = ()
        self.mirror: Mirror = "off"
        self.within_seconds: float | None = 86_400.0
        self.rules = Rules()
        self.start()

    def start(self) -> None:
        """Start an engine, as after a restart: whatever was in memory is gone."""
        self.hands = SameThread()
        self.ledger = Ledger.open(self.ledger_path, mends=self.mends)
        folder = Folder(
            os.fsencode(self.folder),
            exclude=self.exclude,
            settle_seconds=self.settle_seconds,
            new_only=self.new_only,
            mirror=self.mirror,
            delete_within_seconds=self.within_seconds,
        )
        pace = Pace(
            self.now, self.caps, 30.0, self.transfers, self.once, self.sends, after_store=self.after_store
        )
        archive = dicomweb.Archive(URL)
        self.engine = Engine(
            self.ledger,
            [folder, *self.more_folders],
            archive,
            pace,
            self.hands,
            random.Random(1),
            self.rules,
            os.fsencode(self.trash),
        )
        self.engine.begin(self.now)

    def die(self) -> None:
        """End as kill -9 does."""
        self.ledger.close()

    def again(self) -> None:
        """Start anew and look at the folder again."""
        self.die()
        self.start()

    def put(self, name: str, uid: str, study: str = STUDY, pixel: int = 0, **more: Any) -> Path:
        """Write a whole instance, long enough ago to be settled unless `fresh`."""
        fresh = more.pop("fresh", False)
        columns = more.pop("columns", 8)
        data = instance(
            study_uid=study,
            series_uid=f"{study}.1",
            sop_uid=uid,
            rows=8,
            columns=columns,
            pixels=bytes([pixel, 0]) * 8 * columns,
            **more,
        )
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if fresh:
            self.now = replace(self.now, wall=path.stat().st_ctime)
        return path

    def turns(self, most: int = 200) -> None:
        """Turn until nothing happens at this moment."""
        for _ in range(most):
            if not self.engine.turn(self.now):
                return
        raise AssertionError("the engine does not come to rest")

    def passes(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass, turning as it goes; files grow older on the wall clock too."""
        end = self.now.mono + seconds
        self.turns()
        while self.now.mono < end:
            self.now = Moment(self.now.wall + step, self.now.mono + step)
            self.turns()

    def until_done(self, most_seconds: float = 7200) -> None:
        """Let time pass until nothing is left that a machine can do."""
        end = self.now.mono + most_seconds
        self.turns()
        while not self.engine.finished:
            assert self.now.mono < end, f"still due: {self.states()}"
            self.now = Moment(self.now.wall + 1, self.now.mono + 1)
            self.turns()

    # what can be seen from outside

    @property
    def reader(self) -> Reader:
        return Reader.over(self.ledger)

    def state(self, uid: str) -> InstanceState:
        """The state of the one instance under a UID."""
        (row,) = self.reader.instances_under(uid)
        return InstanceState(row["state"])

    def reason(self, uid: str) -> str:
        """The reason of the one instance under a UID."""
        (row,) = self.reader.instances_under(uid)
        return str(row["reason"])

    def states(self) -> dict[str, int]:
        """All states that occur, of files and of instances."""
        counts = self.reader.counts()
        found = {str(state): n for state, n in counts.instances.items() if n}
        return found | {f"file {state}": n for state, n in counts.files.items() if n}

    def file_state(self, path: Path) -> tuple[FileState, str]:
        """The state of a file, and why."""
        row = self.reader.file_at(os.fsencode(path))
        assert row is not None
        return FileState(row["state"]), str(row["reason"])

    def check(self) -> None:
        """Hold the ledger to its sums, and to what the archive really has."""
        db = self.ledger.connection
        for what in ("file", "instance"):
            counted = dict(db.execute("SELECT state, n FROM counts WHERE what = ?", (what,)))
            real = dict(db.execute(f"SELECT state, count(*) FROM {what}s GROUP BY state"))
            assert {state: n for state, n in counted.items() if n} == real
        self._check_account()
        for study_id, pending in db.execute("SELECT id, pending FROM studies"):
            (real_pending,) = db.execute(
                "SELECT count(*) FROM instances WHERE study_id = ? AND state = 'pending'", (study_id,)
            ).fetchone()
            assert pending == real_pending
        for uid, digest, verified in db.execute(
            "SELECT sop_instance_uid, sha256, verified_at FROM instances WHERE state = 'stored'"
        ):
            assert uid in self.archive.held
            if verified is not None:
                assert sha256(self.archive.held[uid]).digest() == digest
        ready = db.execute("SELECT count(*) FROM files WHERE state = 'ready' AND instance_id IS NULL")
        assert ready.fetchone() == (0,)

    def _check_account(self) -> None:
        """Every file is told once, with exactly one outcome, and the sums are those of the states."""
        told = list(report.files(self.reader))
        counts = self.reader.counts()
        assert len(told) == len({one["file"] for one in told}) == sum(counts.files.values())
        assert Counter(one["file_state"] for one in told) == Counter(
            {str(state): n for state, n in counts.files.items() if n}
        )
        sums: Counter[str] = Counter()
        for one in self.reader.outcomes():
            sums[str(one.state)] += one.n
        assert Counter(one["outcome"] for one in told) == sums
        assert all(one["outcome"] in {*FileState, *InstanceState} - {FileState.READY} for one in told)
        for path in report.removable(self.reader, look):
            row = self.reader.file_at(path)
            assert row is not None
            instance = self.reader.instance(row["instance_id"])
            assert instance is not None
            with open(path, "rb") as file:
                assert file.read() == self.archive.held[instance["sop_instance_uid"]]


def due(world: World) -> int:
    """How many instances are still due."""
    return sum(n for state, n in world.reader.counts().instances.items() if state in DUE)

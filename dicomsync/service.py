"""A backfill from beginning to end: an engine is run until nothing is left, with its signals and clocks."""

from __future__ import annotations

import ctypes
import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import FrameType

from dicomsync import dicomweb
from dicomsync.config import Config
from dicomsync.delivery import GIVE_UP_SECONDS
from dicomsync.engine import Engine, Progress
from dicomsync.errors import LedgerDamaged
from dicomsync.hands import Threads
from dicomsync.ledger import Ledger, Outcome, Reader
from dicomsync.listings import Passed
from dicomsync.model import DUE, FileState, Folder, InstanceState, Moment
from dicomsync.wiring import caps_of, folders_of, keep_out, uploads_of
from dicomsync.work import Pace

log = logging.getLogger("dicomsync.service")

DRAIN_SECONDS = 15.0
AHEAD_SECONDS = 5.0  # as long as a look for damage takes at most (`ledger.damage`)


class End(StrEnum):
    """Why a backfill came to its end."""

    FINISHED = "finished"
    UNREACHED = "unreached"  # the archive never answered
    REFUSED = "refused"  # it answered, and it is not to be used as it is: its address, our credential
    PATIENCE = "patience"  # nothing moved for as long as one was ready to wait
    TIME = "time"  # --max-duration
    STOPPED = "stopped"  # a signal


@dataclass(frozen=True, slots=True)
class Report:
    """What a backfill did, and how it stands with the files below its paths."""

    end: End
    seconds: float
    stored: int
    stored_bytes: int
    requests: int
    outcomes: tuple[Outcome, ...]
    passed: Passed
    unreadable: int
    trouble: str
    hint: str
    archive: str
    dry_run: bool = False
    read_all: bool = True  # every folder was read to its end
    by_daemon: bool = False  # a running daemon did it, and goes on with what is left

    def count(self, *states: InstanceState | FileState) -> int:
        """Count the files that end in one of these states."""
        return sum(one.n for one in self.outcomes if one.state in states)

    @property
    def due(self) -> int:
        """How many files are still to be stored."""
        return self.count(*DUE, FileState.SETTLING)

    @property
    def for_a_person(self) -> int:
        """How many files and directories need a person."""
        states = (
            FileState.HELD,
            FileState.MISSED,
            InstanceState.CONFLICT,
            InstanceState.REJECTED,
            InstanceState.MISSED,
        )
        return self.count(*states) + self.unreadable

    @property
    def exit_code(self) -> int:
        """0 all stored, 5 some still due, 20 finished but some need a person."""
        cut_short = self.end in (End.UNREACHED, End.REFUSED) or not self.read_all
        if self.end is not End.FINISHED and (self.due or cut_short):
            return 5
        return 20 if self.for_a_person else 0


def backfill(
    config: Config,
    paths: Sequence[Path] = (),
    *,
    names: tuple[Sequence[str], Sequence[str]] = ((), ()),
    patience_seconds: float = 600.0,
    max_seconds: float | None = None,
    dry_run: bool = False,
    stores: bool = True,
    watch: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Store every instance below `paths` (none: the configured folders) once, and say how it went.

    `names` are the patterns to include and to exclude, where they are not those of the folders. Without
    `stores` the archive is asked about what is in doubt, and sent nothing.

    Raises UsageProblem, LedgerInUse or LedgerProblem; trouble with the archive is in the report.
    """
    tame_malloc()
    folders = [
        replace(folder, include=tuple(names[0]) or folder.include, exclude=tuple(names[1]) or folder.exclude)
        for folder in folders_of(config, paths)
    ]
    archive = uploads_of(config)
    ledger_path = Path(config.ledger.path)
    keep_out(ledger_path, folders)
    beside = True
    while True:
        ledger = Ledger.scratch(ledger_path) if dry_run else open_ledger(ledger_path, beside=beside)
        try:
            with ledger.transaction():
                ledger.bind(archive.url)
            return _run_once(
                config, folders, archive, ledger, patience_seconds, max_seconds, dry_run, stores, watch
            )
        except LedgerDamaged:
            if ledger.believed:  # it went while it was at work: the next start mends it
                raise
            beside = False  # nothing came of it yet: it is mended, and all begins anew
        finally:
            ledger.close()
            dicomweb.close_clients()


def open_ledger(path: Path, *, beside: bool = False) -> Ledger:
    """Open the ledger to work with it; one that is damaged or gone is moved aside, and that is told.

    With `beside` it is looked at for damage while it is used already (`Ledger.open`).
    """
    ledger = Ledger.open(path, mends=True, beside=beside)
    if ledger.doubt is not None and ledger.doubt_is_new:
        moved = " It was moved aside, whole, and is not needed." if ledger.doubt.aside else ""
        log.warning(
            "the ledger is not the one of before: %s.%s Nothing is lost: everything that is due is asked "
            "about before it is sent; `dicomsync ledger info` says more",
            ledger.doubt.words,
            moved,
        )
    return ledger


def _run_once(
    config: Config,
    folders: Sequence[Folder],
    archive: dicomweb.Archive,
    ledger: Ledger,
    patience_seconds: float,
    max_seconds: float | None,
    dry_run: bool,
    stores: bool,
    watch: Callable[[Progress], None],
) -> Report:
    started = moment()
    transfers = config.upload.transfers
    hands = Threads(Engine.workers_for(len(folders), transfers))
    pace = Pace(
        started,
        caps_of(config),
        config.archive.confirm_wait,
        transfers,
        once=True,
        sends=not dry_run,
        stores=stores,
        after_store=config.verify.after_store,
    )
    engine = Engine(ledger, folders, archive, pace, hands)
    with _stop_signals(engine) as stopped:
        engine.begin(moment())
        _look_ahead(engine, ledger, stopped)
        end = _loop(engine, stopped, patience_seconds, max_seconds, watch)
        if end is not End.FINISHED:
            engine.stop()
            _drain(engine)
            engine.part()
        watch(engine.progress())
    hands.shutdown()
    delivery = engine.delivery
    return Report(
        end,
        time.monotonic() - started.mono,
        delivery.stored,
        delivery.stored_bytes,
        delivery.requests,
        tuple(Reader.over(ledger).outcomes([folder.path for folder in folders])),
        engine.passed,
        engine.unreadable,
        delivery.circuit.words,
        delivery.hint,
        delivery.says,
        dry_run,
        engine.read_all,
    )


def _look_ahead(engine: Engine, ledger: Ledger, stopped: Callable[[], bool]) -> None:
    """Look into the folders while the ledger is looked at for damage, and on while nothing new is found.

    All of that is one transaction, and the loop wakes only for what was listed: in full turns, a look at what
    is unchanged would take a twentieth longer, and a sixth where others keep the processors busy. Where there
    is damage, all that was found is forgotten, and LedgerDamaged raised.
    """
    until = time.monotonic() + AHEAD_SECONDS

    def goes_on() -> bool:
        return not ledger.believable or (engine.nothing_new and time.monotonic() < until)

    with ledger.transaction():
        while goes_on() and engine.look_ahead(moment()) and not stopped():
            engine.wait_for_results()


def _loop(
    engine: Engine,
    stopped: Callable[[], bool],
    patience_seconds: float,
    max_seconds: float | None,
    watch: Callable[[Progress], None],
) -> End:
    started = last_shown = moved = time.monotonic()
    mark = engine.moved
    while True:
        now = moment()
        busy = engine.turn(now)
        if now.mono - last_shown > 0.2:
            last_shown = now.mono
            watch(engine.progress())
        if stopped():
            return End.STOPPED
        if engine.finished:
            return End.FINISHED
        if max_seconds is not None and now.mono - started > max_seconds:
            return End.TIME
        late = engine.read_all or now.mono - started > GIVE_UP_SECONDS
        if engine.delivery.failed_to_reach and late:  # small folders are at least accounted for
            return End.REFUSED if engine.delivery.refused else End.UNREACHED
        if engine.moved != mark:
            moved, mark = now.mono, engine.moved
        elif now.mono - moved > patience_seconds and not engine.delivery.sending:
            return End.PATIENCE
        if not busy:
            engine.wait(moment())


def _drain(engine: Engine) -> None:
    """Record what is on its way, for a bounded time; what is not back by then is asked about later."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while not engine.delivery.idle and time.monotonic() < deadline:
        engine.turn(moment())
        engine.wait(moment())


def moment() -> Moment:
    """Read both clocks."""
    return Moment(time.time(), time.monotonic())


@contextmanager
def _stop_signals(engine: Engine) -> Iterator[Callable[[], bool]]:
    """Let SIGINT and SIGTERM end the run in good order; a second one ends it at once."""
    stop = False

    def asked(number: int, _frame: FrameType | None) -> None:
        nonlocal stop
        if stop:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop = True
        engine.wake()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def tame_malloc() -> None:
    """Keep glibc from giving every large buffer back to the kernel at each free, and from a heap a thread.

    Measured: without this, buffers of 128 KiB to 1 MiB cost 194,000 page faults a gigabyte.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 8 * 1024 * 1024)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 16 * 1024 * 1024)  # M_TRIM_THRESHOLD
        libc.mallopt(-8, 2)  # M_ARENA_MAX: a heap for every thread keeps 10 MB more of small files
    except (OSError, AttributeError):  # another C library: nothing to tame
        log.debug("this C library has no mallopt")

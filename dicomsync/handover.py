"""A command beside a running daemon: it hands its work over, follows it, and reports as if it had done it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomsync import control, mirror_orders, orders, resolution
from dicomsync.config import Config
from dicomsync.engine import Progress
from dicomsync.errors import DicomsyncError, LedgerInUse
from dicomsync.ledger import Ledger, Outcome
from dicomsync.listings import Passed
from dicomsync.model import DUE, FileState, InstanceState
from dicomsync.service import End, Report
from dicomsync.visits import Standing
from dicomsync.wiring import archive_of

HEALED_AT_ONCE = 1000


def retry(config: Config, wanted: orders.Retry) -> tuple[orders.Retried, bool]:
    """Let what is wanted be tried again; also says whether a running daemon has taken it on.

    Raises UsageProblem, LedgerProblem, and LedgerInUse where the ledger's owner takes no commands.
    """
    try:
        with _ledger(config) as ledger:
            now = time.time()
            return orders.retry(ledger, wanted, now, now), False
    except LedgerInUse:
        answer = _answer(config, wanted)
        return orders.Retried(**answer["retried"]), True


def saw(config: Config, seen: orders.Saw) -> None:
    """Record what the archive was seen to have; raises as `retry` does."""
    try:
        with _ledger(config) as ledger:
            orders.saw(ledger, seen)
    except LedgerInUse:
        _ignore(_answer(config, seen))


def heal(config: Config, instance_ids: Sequence[int]) -> tuple[int, bool]:
    """Put these back to pending; gives how many were, and whether a running daemon has taken them on."""
    healed, by_daemon = 0, False
    for start in range(0, len(instance_ids), HEALED_AT_ONCE):
        order = orders.Heal(tuple(instance_ids[start : start + HEALED_AT_ONCE]))
        try:
            with _ledger(config) as ledger:
                now = time.time()
                healed += orders.heal(ledger, order, now, now)
        except LedgerInUse:
            healed += int(_answer(config, order)["healed"])
            by_daemon = True
    return healed, by_daemon


def mirrored(config: Config, order: mirror_orders.MirrorOrder) -> tuple[int, bool]:
    """Do what is ordered about mirrored deletions; also says whether a running daemon did it."""
    try:
        with _ledger(config) as ledger:
            now = time.time()
            return mirror_orders.carry_out(ledger, order, now, now), False
    except LedgerInUse:
        return int(_answer(config, order)["instances"]), True


@contextmanager
def withdrawn(config: Config, withdraw: orders.Withdraw) -> Iterator[tuple[int, Callable[[bool], None]]]:
    """Mark in the ledger what is to be deleted, and settle it afterwards by what the block calls.

    Gives how many instances the ledger knows of it. A block that ends without having said what came of
    it leaves the marks: nobody knows then, and asking the archive again is safe.
    """

    def settled(deleted: bool) -> orders.Settle:
        return orders.Settle(withdraw.study, withdraw.series, withdraw.sop, deleted)

    if not Path(config.ledger.path).exists():  # nothing was ever recorded: no reason to make one
        yield 0, _ignore
        return
    try:
        ledger = Ledger.open(Path(config.ledger.path))
    except LedgerInUse:
        yield (
            _patient(lambda: _answer(config, withdraw)["instances"]),
            lambda deleted: _ignore(_answer(config, settled(deleted))),
        )
        return
    try:

        def settle(deleted: bool) -> None:
            with _changing(ledger):
                orders.settle(ledger, settled(deleted), time.time())

        with _changing(ledger):
            marked = orders.withdraw(ledger, withdraw)
        yield marked, settle
    finally:
        ledger.close()


@contextmanager
def resolving(config: Config) -> Iterator[Callable[[resolution.Resolve], int]]:
    """Give what records a person's steps about conflicts, each in a transaction of its own.

    Raises what `withdrawn` does; a step raises DicomsyncError where it cannot be taken.
    """
    try:
        ledger = Ledger.open(Path(config.ledger.path))
    except LedgerInUse:
        yield lambda order: _patient(lambda: _answer(config, order)["instances"])
        return
    try:

        def take(order: resolution.Resolve) -> int:
            now = time.time()
            with _changing(ledger):
                return resolution.resolve(ledger, order, now, now)

        yield take
    finally:
        ledger.close()


def _ignore(_answer: object) -> None:
    """Take an answer that says no more than that it was done."""


def _patient(ask: Callable[[], int], seconds: float = 30.0) -> int:
    """Ask until what is on its way has come to its end."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except DicomsyncError as problem:
            if problem.exit_code != 5 or time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def _answer(config: Config, order: orders.Order) -> dict[str, Any]:
    (answer,) = control.ask(_place(config), orders.to_message(order))
    return answer


@contextmanager
def _ledger(config: Config) -> Iterator[Ledger]:
    """Open the ledger for one transaction, as nobody else has it."""
    ledger = Ledger.open(Path(config.ledger.path))
    try:
        with _changing(ledger):
            yield ledger
    finally:
        ledger.close()


@contextmanager
def _changing(ledger: Ledger) -> Iterator[None]:
    """Change the ledger without an engine: what that makes due is due at once."""
    with ledger.transaction():
        yield
        for study, _ in ledger.touched_studies():
            ledger.schedule(study.study_id, study.first_at, study.first_at)


def backfill(
    config: Config,
    paths: Sequence[Path] = (),
    *,
    names: tuple[Sequence[str], Sequence[str]] = ((), ()),
    patience_seconds: float = 600.0,
    max_seconds: float | None = None,
    watch: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Have the running daemon look into `paths`, and follow it until all is stored or time is up.

    Leaving early stops nothing: the daemon goes on. Raises what `control.ask` raises.
    """
    order = orders.Backfill(
        archive_of(config.archive).url,
        tuple(os.path.abspath(path) for path in paths),
        tuple(names[0]),
        tuple(names[1]),
    )
    messages = control.ask(_place(config), orders.to_message(order))
    started = moved = time.monotonic()
    looks = (_Look.of(message) for message in messages)
    first = look = next(looks)
    end = End.FINISHED
    try:
        while not look.finished:
            watch(look.progress(first))
            look, before = next(looks), look
            now = time.monotonic()
            if look.figures != before.figures or look.standing.sending:
                moved = now
            ended = _ended(look, now - started, now - moved, patience_seconds, max_seconds)
            if ended is not None and not look.finished:
                end = ended
                break
    except KeyboardInterrupt:
        end = End.STOPPED
    watch(look.progress(first))
    return look.report(first, end, time.monotonic() - started)


def _place(config: Config) -> str:
    return control.place(config.control.socket, config.ledger.path)


def _ended(
    look: _Look, seconds: float, still_seconds: float, patience_seconds: float, max_seconds: float | None
) -> End | None:
    if max_seconds is not None and seconds > max_seconds:
        return End.TIME
    if look.standing.read and look.standing.unreached:
        return End.REFUSED if look.standing.refused else End.UNREACHED
    return End.PATIENCE if still_seconds > patience_seconds else None


@dataclass(frozen=True, slots=True)
class _Look:
    """One answer of the daemon about a backfill it has taken on."""

    standing: Standing
    outcomes: tuple[Outcome, ...]
    studies: tuple[int, int]

    @classmethod
    def of(cls, message: dict[str, Any]) -> _Look:
        standing = dict(message["standing"])
        standing["passed"] = Passed(**standing["passed"])
        outcomes = tuple(
            Outcome(FileState(f), why, InstanceState(i) if i else None, reason, n, size)
            for f, why, i, reason, n, size in message["outcomes"]
        )
        return cls(Standing(**standing), outcomes, tuple(message["studies"]))

    def sums(self, *states: InstanceState | FileState) -> tuple[int, int]:
        """Give files and bytes that end in these states."""
        chosen = [one for one in self.outcomes if one.state in states]
        return sum(one.n for one in chosen), sum(one.size_bytes for one in chosen)

    @property
    def due(self) -> tuple[int, int]:
        return self.sums(*DUE, FileState.SETTLING)

    @property
    def finished(self) -> bool:
        return self.standing.read and not self.due[0]

    @property
    def figures(self) -> tuple[object, ...]:
        """What changes with everything that gets on."""
        return self.standing.read, self.outcomes, self.standing.passed

    def progress(self, first: _Look) -> Progress:
        stored, stored_bytes = self._stored_since(first)
        due, due_bytes = self.due
        known, waiting = self.studies
        return Progress(
            not self.standing.read,
            known - waiting,
            known,
            stored,
            stored + due,
            stored_bytes,
            stored_bytes + due_bytes,
            self.sums(InstanceState.UNCONFIRMED)[0],
            self.standing.trouble,
        )

    def report(self, first: _Look, end: End, seconds: float) -> Report:
        stored, stored_bytes = self._stored_since(first)
        return Report(
            end,
            seconds,
            stored,
            stored_bytes,
            self.standing.requests - first.standing.requests,
            self.outcomes,
            self.standing.passed,
            self.standing.unreadable,
            self.standing.trouble,
            self.standing.hint,
            self.standing.says,
            read_all=self.standing.read,
            by_daemon=True,
        )

    def _stored_since(self, first: _Look) -> tuple[int, int]:
        now, before = self.sums(InstanceState.STORED), first.sums(InstanceState.STORED)
        return max(0, now[0] - before[0]), max(0, now[1] - before[1])

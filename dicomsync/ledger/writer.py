"""The one writer: opening, transactions and facts; its verbs have rooms of their own."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from dicomsync.errors import LedgerDamaged, UsageProblem
from dicomsync.ledger import damage, opening, salvage
from dicomsync.ledger.care import CareVerbs
from dicomsync.ledger.checks import CheckVerbs
from dicomsync.ledger.conflicts import ConflictVerbs
from dicomsync.ledger.guard import EMPTY, REBUILT, UNSEALED, Doubt, Guard, Seal, set_aside
from dicomsync.ledger.readings import ReadingVerbs


class Ledger(CareVerbs, CheckVerbs, ConflictVerbs, ReadingVerbs):
    """The ledger, opened by its one owner. Every verb but `close` belongs inside `transaction()`."""

    def __init__(self, connection: sqlite3.Connection, look: damage.Look | None = None) -> None:
        self._db = connection
        self._look = look  # for damage, beside all else; None: it is over
        self._guard: Guard | None = None  # a scratch ledger needs none
        self._study_ids: dict[str, int] = {}
        self._touched: set[int] = set()

    @classmethod
    def open(cls, path: Path, *, mends: bool = False, beside: bool = False) -> Ledger:
        """Open or make the ledger at `path`, as its one writer.

        With `mends`, one that is damaged, empty or gone is moved aside and a new one made in its place.
        That one, and any that is not the latest, is in doubt (`doubt`): everything is asked about first.
        With `beside` a ledger that nothing points at is looked at for damage while it is used already, and
        the first change waits for the answer to be committed: `believed` says whether it is there.

        Raises LedgerInUse where another process is its writer, LedgerDamaged for what `mends` would
        move aside, LedgerProblem where it cannot be used.
        """
        path = Path(os.path.realpath(path))  # by whatever link: one ledger, one lock, one disk
        with _locked(path) as lock:
            seal = Seal.read(lock)
            was_damaged = seal is not None and seal.damaged
            beside = beside and seal is not None and not was_damaged
            before = partial(damage.look, to_the_end=was_damaged) if mends and not beside else None
            try:
                connection = opening.connect(path, seal, before)
                look = damage.Look(path) if beside else None
                return cls._begin(path, lock, seal, None, connection, look)
            except LedgerDamaged as problem:
                if not mends:
                    raise
                return cls._anew(path, lock, seal, problem.why)

    @classmethod
    def rebuilt(cls, path: Path) -> Ledger:
        """Make a new ledger at `path` as a person wishes; the one there, if any, is moved aside, whole.

        Raises LedgerInUse where another process has it, LedgerProblem where what is there is none.
        """
        path = Path(os.path.realpath(path))
        with _locked(path) as lock:
            with contextlib.suppress(LedgerDamaged):
                opening.connect(path).close()  # somebody else's file is refused, and left where it is
            return cls._anew(path, lock, Seal.read(lock), REBUILT)

    @classmethod
    def _anew(cls, path: Path, lock: int, seal: Seal | None, why: str) -> Ledger:
        """Move what is at `path` aside and begin a ledger that asks about everything first."""
        wall = time.time()
        lost = Doubt(why, wall, set_aside(path, why, wall))
        return cls._begin(path, lock, seal, lost, opening.connect(path))

    @classmethod
    def _begin(
        cls,
        path: Path,
        lock: int,
        seal: Seal | None,
        lost: Doubt | None,
        connection: sqlite3.Connection,
        look: damage.Look | None = None,
    ) -> Ledger:
        ledger = cls._ready(connection, look)
        try:
            ledger._take_over(path, lock, seal, lost)
        except BaseException:
            ledger.close()
            raise
        return ledger

    @classmethod
    def scratch(cls, copy_of: Path | None = None) -> Ledger:
        """Open a ledger that leaves nothing behind, with what `copy_of` holds: for dry runs.

        SQLite keeps it in memory, and in an unnamed temporary file when it grows.
        """
        source = opening.read_only(copy_of) if copy_of is not None and copy_of.exists() else None
        connection = sqlite3.connect("", isolation_level=None)
        if source is not None:
            try:
                source.backup(connection)
            except sqlite3.Error as error:
                connection.close()
                raise opening.problem(error, "nothing was looked at") from None
            finally:
                source.close()
        return cls._ready(connection)

    @classmethod
    def _ready(cls, connection: sqlite3.Connection, look: damage.Look | None = None) -> Ledger:
        ledger = cls(connection, look)
        try:
            if not opening.is_current(connection):
                ledger._believe()
                opening.migrate(connection)
            ledger.recall_doubt()
        except sqlite3.Error as error:
            ledger.close()
            raise opening.problem(error, "nothing was sent") from None
        except BaseException:
            ledger.close()
            raise
        return ledger

    def _take_over(self, path: Path, lock: int, seal: Seal | None, lost: Doubt | None) -> None:
        """Say which ledger this is and whether it is the latest, and guard it from here on."""
        with self.transaction():
            name, sequence = self.fact("ledger"), int(self.fact("sequence") or 0)
            why = "" if lost else _why(seal, name, sequence)
            if name is None or lost or why:  # else opening it changes nothing
                name = name or str(uuid.uuid4())
                self.set_fact("ledger", name)
                if lost or why:
                    self.begin_doubt(lost or Doubt(why, time.time()))
                if (lost or why == EMPTY) and seal is not None:
                    self.take_over_from(salvage.left(path, seal.ledger), time.time())
                sequence = max(sequence, seal.sequence if seal else 0) + 1
                self.set_fact("sequence", str(sequence))
        self._guard = Guard(path, lock, Seal(name, sequence))

    @property
    def connection(self) -> sqlite3.Connection:
        """The open connection, for a `Reader` in the same process."""
        return self._db

    @property
    def believed(self) -> bool:
        """Whether it was found sound: no look for damage is under way. What changes it waits for that."""
        return self._look is None

    @property
    def believable(self) -> bool:
        """Whether the look for damage is over, so that nothing waits for it."""
        return self._look is None or self._look.over

    def _believe(self) -> None:
        """Wait for the look for damage; raises sqlite3.Error where it found some."""
        if self._look is not None:
            self._look.wait()
            self._look = None

    def close(self) -> None:
        """Close the file and give up the lock."""
        if self._look is not None:
            self._look.give_up()
        self._db.close()
        if self._guard is not None:
            self._guard.close()
            self._guard = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all or nothing; LedgerProblem means nothing, and then nothing may go on the wire.

        LedgerDamaged says that this ledger is not to be used any more, but by a new start.
        """
        guard, before, seal = self._guard, self._db.total_changes, None
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                if guard is not None:
                    guard.prove_place()
                yield
                if self._db.total_changes != before:
                    self._believe()
                    seal = guard.advance(self._db) if guard is not None else None
                self._db.execute("COMMIT")
            except BaseException:
                self._study_ids.clear()
                self._touched.clear()
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            problem = opening.problem(error, "nothing was recorded and nothing was sent")
            if guard is not None and isinstance(problem, LedgerDamaged):
                guard.distrust()
            raise problem from error
        if guard is not None and seal is not None:
            guard.committed(seal)

    # facts

    def fact(self, name: str) -> str | None:
        """Give one fact about this ledger, such as the archive it speaks of."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_fact(self, name: str, value: str) -> None:
        """Record one fact about this ledger."""
        self._db.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))

    def bind(self, archive_url: str) -> None:
        """Say which archive this ledger speaks of; another one than before is refused."""
        bound = self.fact("archive")
        if bound is None:
            self.set_fact("archive", archive_url)
        elif bound != archive_url:
            raise UsageProblem(
                f"This ledger speaks of the archive {bound}, not of {archive_url}; nothing was sent.",
                hint="Use one ledger for each archive.",
            )


def _why(seal: Seal | None, name: str | None, sequence: int) -> str:
    """Say what is to be doubted of a ledger that was found under this lock; "" if nothing is."""
    if name is not None:
        return seal.doubts(name, sequence) if seal else UNSEALED
    # With a seal and no name, it was being made anew by a start that ended between two steps of that.
    return EMPTY if seal else ""


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Hold the ledger's lock; it is given up again only if the block fails."""
    lock = opening.take_lock(path)
    try:
        yield lock
    except BaseException:
        os.close(lock)
        raise

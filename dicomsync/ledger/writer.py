"""The one writer: opening, transactions and facts; its verbs have rooms of their own."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dicomsync.errors import UsageProblem
from dicomsync.ledger import opening
from dicomsync.ledger.checks import CheckVerbs
from dicomsync.ledger.conflicts import ConflictVerbs
from dicomsync.ledger.readings import ReadingVerbs


class Ledger(CheckVerbs, ConflictVerbs, ReadingVerbs):
    """The ledger, opened by its one owner. Every verb but `close` belongs inside `transaction()`."""

    def __init__(self, connection: sqlite3.Connection, lock: int | None = None) -> None:
        self._db = connection
        self._lock = lock
        self._study_ids: dict[str, int] = {}
        self._touched: set[int] = set()

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """Open or make the ledger at `path`, as its one writer.

        Raises LedgerInUse where another process is that, LedgerProblem where it cannot be used.
        """
        path = Path(os.path.realpath(path))  # by whatever link: one ledger, one lock, one disk
        lock = opening.take_lock(path)
        try:
            connection = opening.connect(path)
        except BaseException:
            os.close(lock)
            raise
        return cls._ready(connection, lock)

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
        return cls._ready(connection, None)

    @classmethod
    def _ready(cls, connection: sqlite3.Connection, lock: int | None) -> Ledger:
        ledger = cls(connection, lock)
        try:
            opening.migrate(connection)
            with ledger.transaction():
                if ledger.fact("ledger") is None:
                    ledger.set_fact("ledger", str(uuid.uuid4()))
        except sqlite3.Error as error:
            ledger.close()
            raise opening.problem(error, "nothing was sent") from None
        except BaseException:
            ledger.close()
            raise
        return ledger

    @property
    def connection(self) -> sqlite3.Connection:
        """The open connection, for a `Reader` in the same process."""
        return self._db

    def close(self) -> None:
        """Close the file and give up the lock."""
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all or nothing; LedgerProblem means nothing, and then nothing may go on the wire."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._study_ids.clear()
                self._touched.clear()
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise opening.problem(error, "nothing was recorded and nothing was sent") from error

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

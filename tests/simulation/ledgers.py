"""A real SQLite ledger whose next commit may fail, or be the last thing that the daemon does."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .archive import Crash

FAULTS = ("full", "locked", "readonly", "commit", "statement")
CRASH_POINTS = ("statement", "before commit", "after commit", "hand-out")


class Faults:
    """What is wrong with the ledger's disk, and at which point of a turn the daemon ends."""

    def __init__(self) -> None:
        self.fault = ""
        self.crash_at = ""
        self.passing_by = 0
        self.on_crash: Callable[[str], None] = lambda _point: None
        self.committed: Callable[[], None] = lambda: None

    def meet(self, point: str) -> None:
        """Come by a point of a turn."""
        if self.crash_at == point:
            if self.passing_by > 0:
                self.passing_by -= 1
                return
            self.crash_at = ""
            self.on_crash(point)
            raise Crash(point)

    @property
    def error(self) -> str:
        """Give what SQLite says."""
        return {
            "full": "database or disk is full",
            "locked": "database is locked",
            "readonly": "attempt to write a readonly database",
            "commit": "disk I/O error",
            "statement": "disk I/O error",
        }[self.fault]


class Connection(sqlite3.Connection):
    """A connection that fails where it is told to; what it does otherwise is SQLite's own."""

    faults: Faults
    at_begin = 0

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        faults = self.faults
        if sql == "COMMIT":
            changes = self.total_changes != self.at_begin
            if changes:  # a turn that has nothing to say ends like any other
                faults.meet("before commit")
            if faults.fault in ("commit", "full"):
                raise sqlite3.OperationalError(faults.error)
            cursor = super().execute(sql, *values)
            faults.committed()
            if changes:
                faults.meet("after commit")
            return cursor
        if sql == "BEGIN IMMEDIATE":
            self.at_begin = self.total_changes
            if faults.fault in ("locked", "readonly"):
                raise sqlite3.OperationalError(faults.error)
        elif faults.crash_at == "statement":
            faults.meet("statement")
        elif faults.fault == "statement" and sql.startswith(("INSERT", "UPDATE")):
            raise sqlite3.OperationalError(faults.error)
        return super().execute(sql, *values)


def connector(faults: Faults) -> Callable[[Path], sqlite3.Connection]:
    """Give what opens the ledger in the simulation: as in life, but for waiting on a disk."""

    def connect(path: Path, *_settings: object, **_more: object) -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=0.0, isolation_level=None, factory=Connection)
        connection.faults = faults
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    return connect

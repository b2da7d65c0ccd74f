"""A real SQLite ledger whose next commit may fail, or be the last thing that the daemon does."""

from __future__ import annotations

import atexit
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from dicomsync.ledger import Ledger, opening

from .erasing import Crash

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


class Module:
    """SQLite's module as the ledger sees it: in life, but for waiting on a disk."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)

    def connect(self, path: Any, **settings: Any) -> sqlite3.Connection:
        """Open a database; the one that is written to may fail."""
        if settings.get("uri"):
            readers: sqlite3.Connection = sqlite3.connect(path, **settings)
            return readers
        opened = sqlite3.connect(path, **settings | {"timeout": 0.0}, factory=Connection)
        opened.faults = self._faults
        return opened


def lose(path: Path, copy: Path, how: str, at: int) -> bool:
    """Put something else in the closed ledger's place: an older copy, an empty file, damage or nothing.

    Says whether anything is lost by that: a copy may be all that there was.
    """
    was = _said(path)
    for tail in ("-wal", "-shm"):
        Path(f"{path}{tail}").unlink(missing_ok=True)
    data = path.read_bytes() if path.exists() else b""
    if how == "missing":
        path.unlink(missing_ok=True)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "damaged":
        at = 4096 * (1 + at % max(1, len(data) // 4096 - 1))
        path.write_bytes(data[:at] + b"\x5a" * 4096 + data[at + 4096 :] if at % 3 else data[: at - 100])
    elif copy.exists():
        path.write_bytes(copy.read_bytes())
    return how != "older" or was is None or _said(path) != was


def _said(path: Path) -> list[str] | None:
    """Give all that a ledger says, None where it cannot be read."""
    if not path.exists():
        return None
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as ledger:
        return list(ledger.iterdump())
    return None


LOSSES = ("older", "older", "missing", "empty", "damaged")


_TEMPLATE: list[Path] = []
_MIGRATE = opening.migrate


def migrate(connection: sqlite3.Connection) -> None:
    """Make the tables where they are not all there; the template has them."""
    if not connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'history'").fetchone()[0]:
        _MIGRATE(connection)


def template() -> Path:
    """Give a directory with an empty ledger and what lies beside it, made once."""
    if not _TEMPLATE:
        home = Path(tempfile.mkdtemp(prefix="template-"))
        atexit.register(shutil.rmtree, home, ignore_errors=True)
        Ledger.open(home / "ledger.db").close()
        _TEMPLATE.append(home)
    return _TEMPLATE[0]

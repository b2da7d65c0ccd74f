"""A copy of the ledger, also while a daemon writes it: one moment of it, whole, checked, for its owner."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from dicomsync.errors import LedgerProblem, UsageProblem
from dicomsync.ledger import opening

_PAGES_A_STEP = 4096


def backup(source: Path, target: Path, *, replace: bool = False) -> int:
    """Copy the ledger at `source` to the file `target`; gives its size in bytes.

    It has its name only once it is whole, on disk and proved so. The copy is of one moment: that moment
    is held as long as the copying takes, which keeps no writer waiting, but lets the write-ahead log
    grow. (Copying without holding it would begin anew with every transaction of a daemon.)

    Raises UsageProblem where `target` is there already, unless it may be replaced; LedgerProblem where
    the ledger cannot be read, or the copy not be written or not be proved.
    """
    if os.path.exists(target) and os.path.samefile(source, target):
        raise UsageProblem("That is the ledger itself; nothing was written.")
    connection = opening.read_only(source)
    try:
        _claim(target, replace=replace)
        try:
            return _copy(connection, target)
        except BaseException:
            if not replace:
                os.unlink(target)
            raise
    finally:
        connection.close()


def _claim(target: Path, *, replace: bool) -> None:
    """Take the name, so that nobody's file is ever overwritten that is not meant."""
    if replace:
        return
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise UsageProblem(
            f"{target} is there already; nothing was written.", hint="Give another name, or --force."
        ) from None
    except OSError as error:
        raise _not_written(error.strerror) from None


def _copy(connection: sqlite3.Connection, target: Path) -> int:
    fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        copy = sqlite3.connect(fresh, isolation_level=None)
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # from here on it is held
            connection.backup(copy, pages=_PAGES_A_STEP, sleep=0)
            connection.execute("ROLLBACK")
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, that may lie on a read-only disk
            found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
        finally:
            copy.close()
        if found != "ok":
            raise LedgerProblem(
                "The copy is damaged, as the ledger may be; it was taken away again.",
                hint="Run `dicomsync ledger check`.",
            )
        size_bytes = os.stat(fresh).st_size
        _sync(fresh)
        os.replace(fresh, target)
        _sync(target.parent)
        return size_bytes
    except sqlite3.Error as error:
        raise opening.problem(error, "no copy was made") from None
    except OSError as error:
        raise _not_written(error.strerror) from None
    finally:
        for tail in ("", "-journal", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                os.unlink(f"{fresh}{tail}")


def _not_written(words: str | None) -> LedgerProblem:
    return LedgerProblem(
        f"The copy cannot be written ({words}); the ledger is as it was.",
        hint="Check the directory it is to be in: is it there, is it yours, is there room?",
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Opening the ledger file: its lock, its settings, its schema, and what is wrong with it in words."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from dicomsync import mounts
from dicomsync.errors import LedgerDamaged, LedgerInUse, LedgerProblem
from dicomsync.ledger import holding
from dicomsync.ledger.guard import EMPTY, MISSING, Seal

APPLICATION_ID = 0x44434D53  # "DCMS"
BUSY_SECONDS = 30.0


def problem(error: sqlite3.Error, doing: str) -> LedgerProblem:
    """Say an SQLite error as an operator needs it: what happened, what did not, what to do."""
    text = str(error).lower()
    if getattr(error, "sqlite_errorname", "") == "SQLITE_IOERR_SHMSIZE":  # no room for the log's index
        text = "full"
    for sign, words, hint in _SIGNS:
        if sign in text:
            kind = LedgerDamaged if sign in _DAMAGE else LedgerProblem
            return kind(f"The ledger {words}; {doing}.", hint=hint)
    return LedgerProblem(f"The ledger could not be used ({error}); {doing}.", hint="Check its disk.")


_MEND = (
    "Leave it where it is: the next `run` or `backfill`, or `dicomsync ledger rebuild`, moves it aside and "
    "makes a new one from the folders and the archive."
)
_DAMAGE = ("malformed", "not a database")
_SIGNS = (
    ("full", "cannot grow: its disk is full", "Free space on the disk that holds it; nothing is lost."),
    ("locked", "is locked by another program", "Close whatever has it open for writing, and try again."),
    ("readonly", "may not be written to", "Check the owner and mode of the file and of its directory."),
    ("unable to open", "cannot be opened", "Check that its directory exists and belongs to this user."),
    ("malformed", "is damaged", _MEND),
    ("not a database", "is not an SQLite file", "Check the path: is it really the ledger?"),
    ("disk i/o", "cannot be read or written: its disk fails", "Look at the disk and at the kernel's log."),
)


def take_lock(path: Path) -> int:
    """Become the one writer of the ledger at `path`; the lock is gone with the process."""
    _refuse_shared_disks(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _belong(descriptor, path.parent)
    except OSError as error:
        raise LedgerProblem(
            f"The ledger {path} cannot be opened ({error.strerror}); nothing was sent.",
            hint="Check that its directory exists and belongs to this user.",
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holding.mark(descriptor)
    except OSError:
        os.close(descriptor)
        raise LedgerInUse(
            f"The ledger {path} is in use by another dicomsync; nothing was done.",
            hint="Wait until it ends; `dicomsync status` shows what it is doing.",
        ) from None
    return descriptor


def _belong(descriptor: int, directory: Path) -> None:
    """Let what root makes in a service's directory belong to the service, or it could not start again."""
    if os.geteuid() == 0:
        owner = os.stat(directory)
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _refuse_shared_disks(path: Path) -> None:
    kind = mounts.kind(os.fsencode(path.absolute().parent))
    if kind != "local":
        raise LedgerProblem(
            f"The ledger {path} would lie on a {kind} file system, where SQLite cannot be trusted; "
            "nothing was sent.",
            hint="Put it on a local disk: the folders may stay where they are.",
        )


def connect(
    path: Path, seal: Seal | None = None, look: Callable[[sqlite3.Connection], None] | None = None
) -> sqlite3.Connection:
    """Open the ledger for its one writer; the file is for its owner alone.

    Raises LedgerDamaged for what was a ledger and is none any more: it was left as it is. `look`
    is what looks for damage before anything else; it raises sqlite3.DatabaseError.
    """
    ours = seal is not None or _ours(path)
    if seal is not None:
        expect(path)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _belong(descriptor, path.parent)
        os.close(descriptor)
    except OSError as error:
        raise LedgerProblem(
            f"The ledger {path} cannot be written ({error.strerror}); nothing was sent.",
            hint="Check the owner and mode of the file and of its directory.",
        ) from None
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        if look is not None:
            look(connection)
        _settle(connection, path)
    except sqlite3.Error as error:
        connection.close()
        found = problem(error, "nothing was sent")
        if isinstance(found, LedgerDamaged):
            kind, hint = (LedgerDamaged, _MEND) if ours else (LedgerProblem, _NOT_OURS)
            raise kind(found.message, hint=hint) from None
        raise found from None
    except LedgerProblem:
        connection.close()
        raise
    return connection


_NOT_OURS = "Check the path: is it really the ledger?"


def _ours(path: Path) -> bool:
    """Say whether a file bears our mark where SQLite keeps an application's (bytes 68 to 71)."""
    try:
        with path.open("rb") as file:
            return file.read(72)[68:] == APPLICATION_ID.to_bytes(4, "big")
    except OSError:
        return False


def sealed(path: Path) -> Seal | None:
    """Read the seal of the ledger at `path`, which says that there is, or was, one; None without one."""
    try:
        descriptor = os.open(f"{os.path.realpath(path)}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return Seal.read(descriptor)
    finally:
        os.close(descriptor)


def expect(path: Path, undone: str = "nothing was sent") -> None:
    """Fail where a ledger must be, as its lock file says, and there is nothing."""
    try:
        size_bytes = os.stat(path).st_size
    except FileNotFoundError:
        raise LedgerDamaged(f"The ledger {path} is gone; {undone}.", hint=_MEND, why=MISSING) from None
    except OSError:
        return
    if not size_bytes:
        raise LedgerDamaged(f"The ledger {path} is empty; {undone}.", hint=_MEND, why=EMPTY)


def _settle(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if tables and found != APPLICATION_ID:
        raise LedgerProblem(
            f"{path} is an SQLite file, but not a ledger of dicomsync; it was left as it is.",
            hint="Give another path for the ledger.",
        )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # what was said to be stored survives a power cut
    connection.execute("PRAGMA cache_size = -4000")  # KiB: four times as much was no faster
    # Pages; 1,000 by default. Of many changes a page is then written back once: a first scan of 400,000 files
    # takes 7 % less processor time. More of them take less yet, and stop the loop for longer while they go.
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    if found != APPLICATION_ID:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def read_only(path: Path) -> sqlite3.Connection:
    """Open the ledger to look at it; leaves nothing behind, and never holds the writer up.

    Without a write-ahead log there is no writer and nothing unmerged, so that SQLite need not make
    its two helper files, which a reader could not take away again. Should a writer start in that very
    moment, the look fails, and the next one succeeds.
    """
    was = sealed(path)
    try:
        if was:
            expect(path, "nothing can be shown")
        if not path.exists():
            raise LedgerProblem(
                f"There is no ledger at {path}.",
                hint="Is the path right? It is made by the first `dicomsync backfill` or `dicomsync run`.",
            )
        still = "" if Path(f"{os.path.realpath(path)}-wal").exists() else "&immutable=1"
    except OSError as error:
        raise LedgerProblem(
            f"The ledger {path} cannot be read ({error.strerror}).", hint="It belongs to another user."
        ) from None
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{still}", uri=True, timeout=5)
    except sqlite3.Error as error:
        raise problem(error, "nothing can be shown") from None
    try:
        found = connection.execute("PRAGMA application_id").fetchone()[0]
    except sqlite3.Error as error:
        connection.close()
        told = problem(error, "nothing can be shown")
        if was and isinstance(told, LedgerDamaged):
            told.hint = _MEND
        raise told from None
    if found != APPLICATION_ID:
        connection.close()
        raise LedgerProblem(f"{path} is not a ledger of dicomsync.", hint="Give the ledger's path.")
    return connection


STEPS = frozenset({"m001_files_and_instances"})
"""What `migrations` is made of: a start that finds them all applied imports neither them nor sqlite-utils."""


def is_current(connection: sqlite3.Connection) -> bool:
    """Say whether the schema is up to date; a ledger of a newer dicomsync is refused and left as it is."""
    applied = _applied(connection)
    if applied - STEPS:
        raise LedgerProblem(
            "The ledger was written by a newer dicomsync; it was left as it is.",
            hint="Install that version again, or a newer one.",
        )
    return applied == STEPS


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date."""
    from dicomsync.lean import without

    # sqlite-utils takes these for types of columns that we have none of: numpy alone 100 ms and 12 MB
    with without("numpy", "pandas"):
        from sqlite_utils import Database

        from dicomsync.ledger.migrations import migrations
    migrations.apply(Database(connection, execute_plugins=False, recursive_triggers=False))


def _applied(connection: sqlite3.Connection) -> set[str]:
    kept = "SELECT count(*) FROM sqlite_schema WHERE name = '_sqlite_migrations'"
    if not connection.execute(kept).fetchone()[0]:
        return set()
    rows = connection.execute("SELECT name FROM _sqlite_migrations WHERE migration_set = 'dicomsync'")
    return {str(row[0]) for row in rows}

"""Who has a ledger: asked of the kernel, because to try its lock would be in the way of whoever starts."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from pathlib import Path

LOCKS = Path("/proc/locks")
_FLOCK = struct.Struct("hhqqi4x")  # struct flock of fcntl(2): type, whence, start, length, process


def mark(lock: int) -> None:
    """Let `holder` see that an open lock file is held: beside the lock that counts, as long as that lasts."""
    with contextlib.suppress(OSError, AttributeError):  # not every kernel has such locks: see `holder`
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_WRLCK))


def holder(path: Path) -> int | None:
    """Say which process has the ledger, 0 for one that cannot be seen from here; None where none has.

    Raises OSError where the kernel does not tell. Its table is read only if somebody has the ledger: it stops
    every processor for a moment, which is 7 ms and more for whoever reads.
    """
    try:
        lock = os.open(f"{path}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except PermissionError:  # it is another user's: the table shows it all the same
        return _in_the_table(os.stat(f"{path}.lock").st_ino)
    try:
        return None if _is_free(lock) else _in_the_table(os.fstat(lock).st_ino)
    finally:
        os.close(lock)


def _is_free(lock: int) -> bool:
    """Ask whether nobody has marked a lock file; False too where the kernel knows no such marks."""
    try:
        found = fcntl.fcntl(lock, fcntl.F_OFD_GETLK, _whole_file(fcntl.F_WRLCK))
    except (OSError, AttributeError):
        return False
    return bool(_FLOCK.unpack(found)[0] == fcntl.F_UNLCK)


def _whole_file(kind: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0)


def _in_the_table(inode: int) -> int | None:
    rows = (line.split() for line in LOCKS.read_text().splitlines())
    held = (row for row in rows if len(row) > 5 and row[1] == "FLOCK" and row[5].split(":")[-1] == str(inode))
    return next((int(row[4]) for row in held), None)

"""Reading what belongs to somebody else's disk so that it is as if nobody had: no access times, no cache."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

_NOATIME = getattr(os, "O_NOATIME", 0)  # Linux
_refused = False


def opened(path: bytes | str, flags: int, dir_fd: int | None = None) -> int:
    """Open for reading as `os.open` does, without an update of the access time where that is allowed.

    It is allowed to the owner of a file and to root (open(2)). Once it was refused it is not tried again in
    this process: on a share every refusal is a question to its server.
    """
    global _refused
    if _NOATIME and not _refused:
        try:
            return os.open(path, flags | _NOATIME, dir_fd=dir_fd)
        except PermissionError as problem:
            if problem.errno != errno.EPERM:
                raise
        _refused = True
    return os.open(path, flags, dir_fd=dir_fd)


def let_go(descriptor: int) -> None:
    """Give back the memory that holds a file which was read to its end: nobody is about to read it again.

    Else a backfill fills the page cache of the machine it runs on with files it is done with.
    """
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # advice: not every file system takes it
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

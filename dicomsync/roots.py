"""The marker of a folder that mirrors its deletions, and whether the folder is still the one it was.

The marker is the one thing of ours in a folder. A person's command places it; a daemon only looks.
"""

from __future__ import annotations

import os
import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dicomsync import mounts
from dicomsync.deletion import Root
from dicomsync.errors import UsageProblem
from dicomsync.model import MARKER

_ID = b"id"
_FITS = 2**63 - 1  # what SQLite can keep
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_IS_ID = re.compile(rb"[0-9a-f]{32}\n?")


def look(path: bytes) -> Root:
    """Say which folder is at `path` now; what cannot be seen is its `problem`. Never raises."""
    try:
        with _opened(path, _DIRECTORY) as root:
            status = os.fstat(root)
            filesystem_id = os.fstatvfs(root).f_fsid
            marker, problem = _marker(root, status.st_dev)
    except OSError:
        return Root(problem="root-unreadable")
    return Root(
        marker,
        status.st_dev & _FITS,
        status.st_ino & _FITS,
        filesystem_id & _FITS,
        mounts.filesystem(path),
        mounts.below(path),
        problem,
    )


def _marker(root: int, device: int) -> tuple[str, str]:
    """Read the marker's id by the open folder itself; gives it, or the problem with it."""
    try:
        with (
            _opened(MARKER, _DIRECTORY | os.O_NOFOLLOW, root) as marker,
            _opened(_ID, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, marker) as file,
        ):
            status = os.fstat(file)
            text = os.read(file, 100)
    except FileNotFoundError:
        return "", "marker-missing"
    except OSError:
        return "", "marker-unreadable"
    if status.st_dev != device or not stat.S_ISREG(status.st_mode) or not _IS_ID.fullmatch(text):
        return "", "marker-unreadable"
    return text.decode("ascii").strip(), ""


@contextmanager
def _opened(path: bytes, flags: int, directory: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, flags, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def place(path: bytes) -> Root:
    """Put a marker into a folder, or take the one that is there; raises UsageProblem where that fails."""
    try:
        with _opened(path, _DIRECTORY) as root:
            with suppress(FileExistsError):
                os.mkdir(MARKER, 0o755, dir_fd=root)
            with _opened(MARKER, _DIRECTORY | os.O_NOFOLLOW, root) as marker:
                with suppress(PermissionError):
                    os.fchmod(marker, 0o755)  # whatever the umask: the service is to read it
                _write(marker)
                os.fsync(marker)
            os.fsync(root)
    except OSError as error:
        raise UsageProblem(
            f"The marker cannot be placed in this folder ({error.strerror}); nothing was enrolled.",
            hint="Give the command as a user who may write there; the service itself need not.",
        ) from None
    found = look(path)
    if found.problem:
        raise UsageProblem(
            "What is in the place of the folder's marker is none; nothing was enrolled.",
            hint=f"Look at {os.fsdecode(MARKER)} in it, remove it, and give the command again.",
        )
    return found


def _write(marker: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        file = os.open(_ID, flags, 0o644, dir_fd=marker)
    except FileExistsError:
        return
    try:
        os.fchmod(file, 0o644)
        os.write(file, uuid.uuid4().hex.encode("ascii") + b"\n")
        os.fsync(file)
    finally:
        os.close(file)

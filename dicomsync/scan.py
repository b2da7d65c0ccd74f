"""Walking a folder: the truth about what is there. Plain functions from values to values.

A scan is a value, the directories still to read; each step reads some of them and gives the rest
back. So a scan costs no memory but its position, can stand still for as long as its results are not
yet recorded, and a share that hangs hangs one job and nothing else.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, replace

from dicomsync import quiet
from dicomsync.listings import GONE, Listing, Tempo, read
from dicomsync.model import Folder, StatKey
from dicomsync.names import is_below

Sight = StatKey | str | None
"""What a look at one file saw: its key, what was in the way, or None: it is proved gone."""

STEP_ENTRIES = 2_000  # about what one turn of the engine merges in one transaction
PART_ENTRIES = 20_000  # of a larger directory one step takes this many: each part lists it anew
SAMPLES = 20
JOB_SECONDS = 20.0  # a scan that is held to a rate does no more in one job: a folder that hangs takes longer
NOT_MOUNTED = "it is empty, and what was mounted there is not"


@dataclass(frozen=True, slots=True)
class Ground:
    """What must be there before anything in it can be proved gone: a folder, where it was last found."""

    folder: bytes
    mount: bytes = b""  # its mount point; b"": it was never looked into


@dataclass(frozen=True, slots=True)
class Position:
    """Where a scan stands: directories to read, the next one last.

    Each with the name to go on after, and whether the scan dives into what is below it.
    """

    todo: tuple[tuple[bytes, bytes, bool], ...]
    samples: int = SAMPLES


@dataclass(frozen=True, slots=True)
class Step:
    """What one step read, and where the scan stands then; nothing left to do means it is over."""

    listings: tuple[Listing, ...]
    position: Position


def at_most(number: int, ops_per_second: int) -> int:
    """Say how many questions one job may have, at a folder's rate."""
    return min(number, max(1, int(ops_per_second * JOB_SECONDS))) if ops_per_second else number


def start(folder: Folder) -> Position:
    """Give the position at which a scan of `folder` begins."""
    return Position(((folder.path, b"", True),))


def step(
    folder: Folder,
    position: Position,
    mount: bytes = b"",
    most: int = STEP_ENTRIES,
    *,
    part: int = PART_ENTRIES,
) -> Step:
    """Read directories until about `most` entries are together; of one directory at most `part`.

    Symbolic links are not followed (but the folder itself may be one); names are bytes; sub-directories
    are read after the files beside them. Nothing is raised: what cannot be read is a listing that says so.
    `mount` is the mount point that the folder was last found on.
    """
    tempo = Tempo(folder.scan_ops_per_second)
    most, part = (at_most(number, folder.scan_ops_per_second) for number in (most, part))
    listings: list[Listing] = []
    todo = list(position.todo)
    samples = position.samples
    seen = 0
    while todo and seen < most:
        directory, after, deep = todo.pop()
        listing, below = read(folder, directory, after, part, samples, tempo)
        if directory == folder.path:
            listing = _on_ground(listing, Ground(folder.path, mount))
        listings.append(listing)
        samples -= listing.passed.sampled
        seen += len(listing.entries) + listing.passed.excluded + 1
        if deep:
            todo.extend((path, b"", True) for path in reversed(below))
        else:
            listings[-1] = replace(listing, below=tuple(below))
        if listing.upto is not None:
            todo.append((directory, listing.upto, deep))
    return Step(tuple(listings), Position(tuple(todo), samples))


def changed(known: tuple[tuple[bytes, int], ...], ops_per_second: int = 0) -> tuple[bytes, ...]:
    """Say which directories have another time than when they were read, or cannot be looked at."""
    tempo = Tempo(ops_per_second)
    found = []
    for path, mtime_ns in known:
        tempo.wait()
        try:
            now = StatKey.of(os.stat(path)).mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            now = GONE
        except OSError:
            now = -2
        if now != mtime_ns or mtime_ns == 0:
            found.append(path)
    return tuple(found)


def look(
    paths: tuple[bytes, ...], ground: Ground | None = None, ops_per_second: int = 0
) -> tuple[Sight, ...]:
    """Look at single files: each one's key, None where it is proved gone, or what was in the way.

    Gone is only what the system says does not exist, while the ground it was found on is there; any other
    error proves nothing.
    """
    tempo = Tempo(ops_per_second)
    found: list[Sight] = []
    for path in paths:
        tempo.wait()
        try:
            found.append(StatKey.of(os.lstat(path)))
        except (FileNotFoundError, NotADirectoryError):
            found.append(None)
        except OSError as error:
            found.append(os.strerror(error.errno or 0))
    if ground is None or None not in found or paths == (ground.folder,):
        return tuple(found)
    words = away(ground)  # after the looks: a folder that went meanwhile took its files along
    return tuple(words or None if one is None else one for one in found)


def away(ground: Ground) -> str:
    """Say in words why a folder is not where it was, or ""; an empty mount point is not the folder."""
    try:
        if not _is_empty(ground.folder):
            return ""
        real = os.path.realpath(ground.folder)
        mounted = not is_below(real, ground.mount) or len(_mount_point(real)) >= len(ground.mount)
    except NotADirectoryError:
        return ""  # a folder that is a file
    except OSError as error:
        return os.strerror(error.errno or 0)
    return "" if mounted else NOT_MOUNTED


def _is_empty(directory: bytes) -> bool:
    descriptor = quiet.opened(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with os.scandir(descriptor) as found:
            return next(found, None) is None
    finally:
        os.close(descriptor)


def _mount_point(path: bytes) -> bytes:
    """Give the topmost directory above a real path, or itself, that is on the same file system."""
    device = os.stat(path).st_dev
    while (above := os.path.dirname(path)) != path and os.stat(above).st_dev == device:
        path = above
    return path


def _on_ground(listing: Listing, ground: Ground) -> Listing:
    """Say of the folder's own listing whether it is the folder's at all, and where that was found."""
    if words := away(ground):
        gone = words in (NOT_MOUNTED, os.strerror(errno.ENOENT))  # not merely hard to read
        return replace(listing, problem=listing.problem or words, proves_absence=False, away=gone)
    try:
        return replace(listing, mount=_mount_point(os.path.realpath(ground.folder)))
    except OSError as error:
        return replace(listing, problem=os.strerror(error.errno or 0), proves_absence=False)

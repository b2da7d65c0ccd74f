"""Reading one directory: its files, each with its key, and what else is in it.

Nothing here knows what is below it or what was there before; what cannot be read is a listing that says so.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from dicomsync import quiet
from dicomsync.entries import Entries, Entry
from dicomsync.model import MARKER, Folder, folded
from dicomsync.names import chooser, matcher, sieve

AT_ONCE = 1_000  # names that are sorted out together
GONE = -1  # the time of a directory that is not there
FRESH_NS = 3_000_000_000  # file systems count time in steps of up to two seconds


@dataclass(frozen=True, slots=True)
class Passed:
    """What was passed over, by why; `sampled` of `excluded` were opened, `sampled_dicom` are DICOM."""

    excluded: int = 0
    links: int = 0
    special: int = 0
    sampled: int = 0
    sampled_dicom: int = 0

    def plus(self, other: Passed) -> Passed:
        """Add up two counts."""
        return Passed(
            self.excluded + other.excluded,
            self.links + other.links,
            self.special + other.special,
            self.sampled + other.sampled,
            self.sampled_dicom + other.sampled_dicom,
        )


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a directory with `after` < name <= `upto` (None: to its end), sorted by name.

    `problem` says what in it could not be read, in the system's words. Only a listing with
    `proves_absence` says anything about names that are not in it. `below` are its sub-directories,
    where the scan does not dive into them itself. `mtime_ns` is the directory's own time, 0 where it is
    so fresh that a later change might leave it as it is; `digest` is the same while all its entries are, b""
    where they are not the whole directory. Of the folder itself, `away` says that it is not
    there, and `mount` which mount point it was found on. `device` and `inode` are of the directory that
    was read, 0 where none was.
    """

    directory: bytes
    entries: Sequence[Entry] = ()
    after: bytes = b""
    upto: bytes | None = None
    proves_absence: bool = True
    problem: str = ""
    passed: Passed = Passed()
    below: tuple[bytes, ...] = ()
    mtime_ns: int = 0
    digest: bytes = b""
    away: bool = False
    mount: bytes = b""
    device: int = 0
    inode: int = 0


class Tempo:
    """Holds the questions of one job to a folder's rate, evenly; every listing and every look is one."""

    def __init__(self, ops_per_second: int) -> None:
        self._each_seconds = 1 / ops_per_second if ops_per_second else 0.0
        self._due = time.monotonic()

    def each(self, names: list[bytes]) -> Iterable[bytes]:
        """Give these, each when it may be asked about."""
        return map(self._waited, names) if self._each_seconds else names

    def _waited(self, name: bytes) -> bytes:
        self.wait()
        return name

    def wait(self) -> None:
        """Wait until the next question may be asked."""
        if self._each_seconds:
            self._due += self._each_seconds
            time.sleep(max(0.0, self._due - time.monotonic()))


def read(
    folder: Folder, directory: bytes, after: bytes, most: int, samples: int, tempo: Tempo
) -> tuple[Listing, list[bytes]]:
    """Read one directory, or as much of a very large one as one step takes."""
    tempo.wait()
    is_root = directory == folder.path
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if is_root else os.O_NOFOLLOW)
    try:
        descriptor = quiet.opened(directory, flags)
    except (FileNotFoundError, NotADirectoryError) as error:
        if not is_root:
            return Listing(directory, mtime_ns=GONE), []  # it left: what was in it is to be looked for
        if isinstance(error, NotADirectoryError):
            return _single(directory), []
        return Listing(directory, problem=os.strerror(error.errno or 0), proves_absence=False), []
    except OSError as error:
        words = os.strerror(error.errno or 0)
        return Listing(directory, problem=words, proves_absence=False), []
    try:
        return _listed(folder, directory, descriptor, after, most, samples, tempo)
    except OSError as error:
        words = os.strerror(error.errno or 0)
        return Listing(directory, problem=words, proves_absence=False), []
    finally:
        os.close(descriptor)


def _listed(
    folder: Folder, directory: bytes, descriptor: int, after: bytes, most: int, samples: int, tempo: Tempo
) -> tuple[Listing, list[bytes]]:
    own = os.fstat(descriptor)
    mtime_ns = _settled_time(own)
    found = _Found(folder, samples)
    names: list[bytes] = []
    cut = False
    with os.scandir(descriptor) as items:
        while some := list(islice(items, AT_ONCE)):
            found.add(some)
            if len(found.wanted) >= 2 * most:  # of a very large directory only the next part is kept
                names, over = _next(names, found.wanted, after, most)
                cut = cut or over
                found.wanted.clear()
    names, over = _next(names, found.wanted, after, most)
    cut = cut or over
    entries, changed, problem = _entries(descriptor, names, tempo)
    passed = Passed()
    if not after:
        dicom = sum(_is_dicom(name, descriptor) for name in found.sample)
        passed = Passed(found.excluded, found.links, found.special + changed, len(found.sample), dicom)
    upto = names[-1] if cut else None
    whole = not (cut or after or problem)  # only a directory read as a whole was read at its time
    listing = Listing(
        directory,
        entries,
        after,
        upto,
        not problem,
        problem,
        passed,
        mtime_ns=mtime_ns if whole else 0,
        digest=entries.digest() if whole else b"",
        device=folded(own.st_dev),
        inode=folded(own.st_ino),
    )
    below = sorted(map(os.fsencode, found.below)) if not after else []
    return listing, [os.path.join(directory, name) for name in below]


class _Found:
    """The names in a directory, by what is to be done with them, as far as it was listed.

    Files are taken many at a time: name by name this would be a third of a scan of what is unchanged.
    """

    def __init__(self, folder: Folder, samples: int) -> None:
        self._takes = chooser(folder.include, folder.exclude)
        self._wanted_of = sieve(folder.include, folder.exclude)
        self._leaves_out = matcher(folder.exclude)
        self._samples = samples
        self.wanted: list[str] = []
        self.below: list[str] = []
        self.sample: list[str] = []
        self.links = self.special = self.excluded = 0

    def add(self, items: Sequence[os.DirEntry[str]]) -> None:
        """Take what the directory holds next; links are not followed."""
        files = [item.name for item in items if item.is_file(follow_symlinks=False)]
        wanted = self._wanted_of(files)
        self.wanted += wanted
        if len(wanted) < len(files):
            self._pass_over([name for name in files if not self._takes(name)])
        if len(files) < len(items):
            for item in items:
                if not item.is_file(follow_symlinks=False):
                    self._add_other(item)

    def _add_other(self, item: os.DirEntry[str]) -> None:
        out = self._leaves_out(item.name)
        if item.is_dir(follow_symlinks=False):
            if not out and os.fsencode(item.name) != MARKER:
                self.below.append(item.name)
        elif item.is_symlink() and not out:
            self.links += 1
        elif self._takes(item.name):
            self.special += 1
        else:
            self._pass_over([item.name])

    def _pass_over(self, names: Sequence[str]) -> None:
        self.excluded += len(names)
        room = self._samples - len(self.sample)
        if room > 0:
            self.sample += [name for name in names if not self._leaves_out(name)][:room]


def _settled_time(directory: os.stat_result) -> int:
    """Give a directory's time, or 0 while it is so fresh that one more change could leave it the same."""
    mtime_ns = folded(directory.st_mtime_ns)
    return mtime_ns if abs(time.time_ns() - mtime_ns) > FRESH_NS else 0


def _next(names: list[bytes], fresh: list[str], after: bytes, most: int) -> tuple[list[bytes], bool]:
    """Add names; give the first `most` after `after`, sorted, and whether there are more.

    They are encoded all at once: name by name it would be a tenth of a scan.
    """
    more = os.fsencode("/".join(fresh)).split(b"/") if fresh else []
    found = names + more
    if after:
        found = [name for name in found if name > after]
    found.sort()
    return found[:most], len(found) > most


def _entries(descriptor: int, names: list[bytes], tempo: Tempo) -> tuple[Entries, int, str]:
    """Look at each name; what vanished since is left out, what is no regular file any more counted.

    One name that cannot be looked at is a problem of this directory, and none of the other names.
    """
    numbers: list[int] = []
    left_out = set()
    odd = 0
    problem = ""
    look, is_regular, add = os.stat, stat.S_ISREG, numbers.extend
    for some in (names[at : at + AT_ONCE] for at in range(0, len(names), AT_ONCE)):
        seen: list[os.stat_result | None] = []
        for name in tempo.each(some):
            try:
                seen.append(look(name, dir_fd=descriptor, follow_symlinks=False))
            except OSError as error:
                seen.append(None)
                if not isinstance(error, FileNotFoundError):
                    problem = os.strerror(error.errno or 0)
        # Apart from the questions, as what runs between two of them takes longer: a twentieth of a scan.
        for name, status in zip(some, seen, strict=True):
            if status is not None and is_regular(status.st_mode):
                add((status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))
            else:
                left_out.add(name)
                odd += status is not None
    kept = [name for name in names if name not in left_out] if left_out else names
    return Entries(kept, numbers), odd, problem


def _single(path: bytes) -> Listing:
    """Take a folder that is a file: someone named just this one."""
    directory, name = os.path.split(path)
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError as error:
        return Listing(directory, problem=os.strerror(error.errno or 0), proves_absence=False)
    if not stat.S_ISREG(status.st_mode):
        return Listing(directory, passed=Passed(special=1), proves_absence=False)
    numbers = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    return Listing(directory, Entries([name], numbers), proves_absence=False)


def _is_dicom(name: str, descriptor: int) -> bool:
    """Tell by the letters after the preamble (PS3.10 7.1)."""
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        file = quiet.opened(name, flags, descriptor)
    except OSError:
        return False
    try:
        return os.pread(file, 4, 128) == b"DICM"
    except OSError:
        return False
    finally:
        os.close(file)

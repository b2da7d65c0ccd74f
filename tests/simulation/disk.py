"""A disk in memory that stands in for `os` in the rooms that read folders: every odd thing, no waiting.

It is strict where a real one is kind: inodes are used again at once, times are what the made-up clock
says, and a function the rooms were not known to use is an error, so that nothing reads past it.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

TICK_NS = 4_000_000  # the kernel's: two changes are never in the same


class Hangs(BaseException):
    """This part of the disk does not answer: the job stays where it is."""


@dataclass
class Node:
    """A file, a directory or something special; `fault` is the errno that reading it gives, -1 to hang."""

    kind: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    data: bytes = b""
    below: dict[bytes, Node] = field(default_factory=dict)
    links: int = 1
    fault: int = 0


class Disk:
    """The world's side of it: what people and modalities do in the folders."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._ticks = 0
        self._free: list[int] = []
        self._inodes = 10
        self.root = self._node(stat.S_IFDIR)
        self.open_files: dict[int, Node] = {}
        self._next_descriptor = 100

    def _time(self) -> int:
        self._ticks += 1
        return int(self._wall() * 1e9) + self._ticks * TICK_NS

    def _node(self, kind: int) -> Node:
        if self._free:
            inode = self._free.pop()
        else:
            self._inodes += 1
            inode = self._inodes
        now = self._time()
        return Node(kind, inode, now, now)

    # finding

    def find(self, path: bytes, *, faults: bool = False) -> Node | None:
        """Give what is at a path; with `faults`, as a program would come by it."""
        node = self.root
        for name in path.split(b"/"):
            if not name:
                continue
            if node.kind != stat.S_IFDIR:
                if faults:
                    raise OSError(errno.ENOTDIR, "")
                return None
            if faults:
                self.touch(node)
            below = node.below.get(name)
            if below is None:
                return None
            node = below
        return node

    @staticmethod
    def touch(node: Node) -> None:
        """Meet what is wrong with a node."""
        if node.fault == -1:
            raise Hangs
        if node.fault:
            raise OSError(node.fault, os.strerror(node.fault))

    def _parent(self, path: bytes) -> tuple[Node, bytes] | None:
        directory, _, name = path.rpartition(b"/")
        parent = self.find(directory)
        return (parent, name) if parent is not None and parent.kind == stat.S_IFDIR else None

    def files(self, path: bytes) -> Iterator[tuple[bytes, Node]]:
        """Give every regular file below a path."""
        node = self.find(path)
        if node is None:
            return
        todo = [(path, node)]
        while todo:
            at, one = todo.pop()
            if one.kind == stat.S_IFREG:
                yield at, one
            todo += [(at + b"/" + name, below) for name, below in one.below.items()]

    # changing

    def mkdir(self, path: bytes) -> None:
        """Make a directory, and those above it."""
        if path in (b"", b"/") or self.find(path) is not None:
            return
        directory = path.rpartition(b"/")[0]
        self.mkdir(directory)
        self.enter(path, self._node(stat.S_IFDIR))

    def enter(self, path: bytes, node: Node) -> bool:
        """Give a node a name, in the place of what had it."""
        at = self._parent(path)
        if at is None:
            return False
        parent, name = at
        old = parent.below.get(name)
        if old is not None:
            self._drop(old)
        parent.below[name] = node
        parent.mtime_ns = parent.ctime_ns = self._time()
        return True

    def _drop(self, node: Node) -> None:
        node.links -= 1
        if node.links == 0 and node not in self.open_files.values():
            self._free.append(node.inode)
        for below in node.below.values():
            self._drop(below)

    def write(self, path: bytes, data: bytes) -> None:
        """Write into a file, made where there is none: the same inode with other bytes."""
        node = self.find(path)
        if node is not None and node.kind != stat.S_IFREG:
            return
        if node is None:
            node = self._node(stat.S_IFREG)
            if not self.enter(path, node):
                return
        node.data = data
        node.mtime_ns = node.ctime_ns = self._time()

    def replace(self, path: bytes, data: bytes) -> None:
        """Put a new file in the place of another, with its modification time."""
        old = self.find(path)
        if old is not None and old.kind != stat.S_IFREG:
            return
        node = self._node(stat.S_IFREG)
        node.data = data
        if old is not None:
            node.mtime_ns = old.mtime_ns
        self.enter(path, node)

    def rename(self, path: bytes, to: bytes) -> bool:
        """Move a file or a directory, over a file that is there."""
        node, at, there = self.find(path), self._parent(path), self.find(to)
        if node is None or at is None or path == to or (to + b"/").startswith(path + b"/"):
            return False
        if there is not None and (there is node or stat.S_IFDIR in (there.kind, node.kind)):
            return False
        if self._parent(to) is None:
            return False
        parent, name = at
        del parent.below[name]
        parent.mtime_ns = parent.ctime_ns = self._time()
        self.enter(to, node)
        node.ctime_ns = self._time()
        return True

    def link(self, path: bytes, to: bytes) -> None:
        """Give a file one more name."""
        node = self.find(path)
        if node is not None and node.kind == stat.S_IFREG and self.find(to) is None:
            node.links += 1
            if self.enter(to, node):
                node.ctime_ns = self._time()

    def remove(self, path: bytes) -> None:
        """Take a file or a whole tree away."""
        at = self._parent(path)
        if at is not None and at[1] in at[0].below:
            self._drop(at[0].below.pop(at[1]))
            at[0].mtime_ns = at[0].ctime_ns = self._time()

    def leave(self, path: bytes) -> None:
        """Take a name away from what goes on without it."""
        at = self._parent(path)
        if at is not None:
            at[0].below.pop(at[1], None)

    def special(self, path: bytes, kind: int) -> None:
        """Make a link or a pipe where nothing is."""
        if self.find(path) is None:
            self.enter(path, self._node(kind))

    def utime(self, path: bytes, wall: float) -> None:
        """Set a modification time; the change time tells."""
        node = self.find(path)
        if node is not None:
            node.mtime_ns, node.ctime_ns = int(wall * 1e9), self._time()

    # the programs' side

    def opened(self, node: Node) -> int:
        """Give a descriptor."""
        self._next_descriptor += 1
        self.open_files[self._next_descriptor] = node
        return self._next_descriptor


class _Item:
    def __init__(self, name: bytes, node: Node) -> None:
        self.name = os.fsdecode(name)
        self._node = node

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        return self._node.kind == stat.S_IFDIR

    def is_file(self, *, follow_symlinks: bool) -> bool:
        return self._node.kind == stat.S_IFREG

    def is_symlink(self) -> bool:
        return self._node.kind == stat.S_IFLNK


class DiskPath:
    """What the rooms see instead of `os.path`."""

    join, split, dirname, basename = (
        staticmethod(os.path.join),
        staticmethod(os.path.split),
        staticmethod(os.path.dirname),
        staticmethod(os.path.basename),
    )

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def realpath(self, path: bytes) -> bytes:
        """Give the path: no link leads to a folder."""
        return path

    def isfile(self, path: bytes) -> bool:
        """Say whether a regular file is there."""
        node = self._disk.find(path)
        return node is not None and node.kind == stat.S_IFREG


class DiskOs:
    """What the rooms see instead of the module `os`; reading only, and nothing it does not know."""

    fsencode, fsdecode, strerror = (
        staticmethod(os.fsencode),
        staticmethod(os.fsdecode),
        staticmethod(os.strerror),
    )
    O_RDONLY, O_NONBLOCK, O_NOFOLLOW = os.O_RDONLY, os.O_NONBLOCK, os.O_NOFOLLOW
    O_CLOEXEC, O_DIRECTORY = os.O_CLOEXEC, os.O_DIRECTORY
    stat_result = os.stat_result

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.path = DiskPath(disk)
        self._positions: dict[int, int] = {}

    def _reach(self, path: bytes | str, dir_fd: int | None) -> Node:
        if dir_fd is not None:
            node = self.disk.open_files[dir_fd]
            self.disk.touch(node)
            found = node.below.get(os.fsencode(path))
        else:
            found = self.disk.find(os.fsencode(path), faults=True)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if found.fault == -1:
            raise Hangs
        return found

    def open(self, path: bytes | str, flags: int, *, dir_fd: int | None = None) -> int:
        """Open to read; anything that could write is refused."""
        allowed = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOATIME
        assert not flags & ~allowed, "I5: a folder is opened to read and for nothing else"
        node = self._reach(path, dir_fd)
        if flags & os.O_DIRECTORY and node.kind != stat.S_IFDIR:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if node.kind == stat.S_IFLNK:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        self.disk.touch(node)
        descriptor = self.disk.opened(node)
        self._positions[descriptor] = 0
        return descriptor

    def close(self, descriptor: int) -> None:
        """Close."""
        del self.disk.open_files[descriptor], self._positions[descriptor]

    def read(self, descriptor: int, size: int) -> bytes:
        """Read on."""
        node, at = self.disk.open_files[descriptor], self._positions[descriptor]
        self.disk.touch(node)
        data = node.data[at : at + size]
        self._positions[descriptor] = at + len(data)
        return data

    def fdopen(self, descriptor: int, mode: str, *, closefd: bool) -> io.BytesIO:
        """Give an open file as Python's."""
        assert mode == "rb", "I5: a folder is opened to read and for nothing else"
        node = self.disk.open_files[descriptor]
        self.disk.touch(node)
        return io.BytesIO(node.data)

    def pread(self, descriptor: int, size: int, offset: int) -> bytes:
        """Read at an offset."""
        node = self.disk.open_files[descriptor]
        self.disk.touch(node)
        return node.data[offset : offset + size]

    def fstat(self, descriptor: int) -> Any:
        """Look at an open file."""
        return _status(self.disk.open_files[descriptor])

    def stat(self, path: bytes | str, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> Any:
        """Look at a path."""
        return _status(self._reach(path, dir_fd))

    def lstat(self, path: bytes | str) -> Any:
        """Look at a path."""
        return _status(self._reach(path, None))

    @contextmanager
    def scandir(self, where: int | bytes) -> Iterator[Iterator[_Item]]:
        """List a directory, in no order."""
        node = self.disk.open_files[where] if isinstance(where, int) else self._reach(where, None)
        self.disk.touch(node)
        if node.kind != stat.S_IFDIR:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        yield iter([_Item(name, one) for name, one in reversed(list(node.below.items()))])


def _status(node: Node) -> Any:
    return SimpleNamespace(
        st_size=len(node.data),
        st_mtime_ns=node.mtime_ns,
        st_ctime_ns=node.ctime_ns,
        st_ino=node.inode,
        st_dev=1,
        st_mode=node.kind,
    )

"""File systems of our own that can be told to fail: the kernel's FUSE protocol, spoken by hand.

They answer as linux/fuse.h (7.31) asks for. One shows some files in one directory. When it is told to hang,
requests are not even taken: whoever made them waits, and can be killed, as on an NFS mount whose server is
gone. (Who waits for a request that was taken cannot be killed by anybody: that is the kernel's.) The other
shows a directory of this machine, and of what lies below one place in it only errors, as a bad disk has them.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import stat
import struct
import threading
from enum import IntEnum
from pathlib import Path

DEVICE = "/dev/fuse"
ROOT = 1
MNT_FORCE, MNT_DETACH = 1, 2


class Op(IntEnum):
    """What the kernel asks (enum fuse_opcode)."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    OPEN = 14
    READ = 15
    STATFS = 17
    RELEASE = 18
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42


UNANSWERED = (Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT)

_libc = ctypes.CDLL(None, use_errno=True)


def missing() -> str:
    """Say why there is no mounting here, or nothing."""
    if not os.path.exists(DEVICE):
        return f"there is no {DEVICE}"
    if os.geteuid() != 0:
        return "mounting needs root"
    return ""


_STATFS = struct.pack("<QQQQQIIII24x", 0, 0, 0, 0, 0, 512, 255, 512, 0)


def _greeting(body: bytes) -> bytes:
    (readahead,) = struct.unpack_from("<I", body, 8)
    return struct.pack("<IIIIHHIIHHI28x", 7, 31, readahead, 0, 12, 9, 1 << 16, 1, 0, 0, 0)


def _listed(entries: list[tuple[int, bytes, int]], offset: int, size: int) -> bytes:
    """Give as many directory entries (node, name, type) after `offset` as fit."""
    found = b""
    for number, (node, name, kind) in enumerate(entries[offset:], offset + 1):
        entry = struct.pack("<QQII", node, number, len(name), kind >> 12) + name
        entry += bytes(-len(entry) % 8)
        if len(found) + len(entry) > size:
            break
        found += entry
    return found


class _Mount:
    """A mount whose requests are answered by a thread of ours, until it is taken away."""

    def __init__(self, where: Path) -> None:
        where.mkdir()
        self.where = where
        self._answers = threading.Event()
        self._answers.set()
        self._device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._device},rootmode=40755,user_id={os.geteuid()},group_id={os.getegid()}"
        if _libc.mount(b"ours", os.fsencode(where), b"fuse", 0, options.encode()) != 0:
            number = ctypes.get_errno()
            os.close(self._device)
            raise OSError(number, os.strerror(number))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take the mount away; whoever still waits gets an error."""
        _libc.umount2(os.fsencode(self.where), MNT_FORCE | MNT_DETACH)
        self._answers.set()
        self._thread.join(10)
        os.close(self._device)

    def _serve(self) -> None:
        news = select.poll()
        news.register(self._device, select.POLLIN)
        while True:
            news.poll()
            self._answers.wait()
            try:
                request = os.read(self._device, 1 << 18)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                    continue
                return  # unmounted
            _, code, unique, node = struct.unpack_from("<IIQQ", request)
            if code in UNANSWERED:
                continue
            try:
                body, error_number = self._reply(code, node, request[40:]), 0
            except OSError as error:
                body, error_number = b"", -(error.errno or errno.EIO)
            head = struct.pack("<IiQ", 16 + len(body), error_number, unique)
            with contextlib.suppress(OSError):  # who asked has given up
                os.write(self._device, head + body)

    def _reply(self, code: int, node: int, body: bytes) -> bytes:
        """Give the answer to a request; what is raised is its error."""
        raise NotImplementedError


class Hanging(_Mount):
    """A mount that answers until it is told to hang."""

    def __init__(self, where: Path, files: dict[str, bytes]) -> None:
        self._files = list(files.items())
        super().__init__(where)

    def hang(self) -> None:
        self._answers.clear()

    def answer(self) -> None:
        self._answers.set()

    def _reply(self, code: int, node: int, body: bytes) -> bytes:
        match code:
            case Op.INIT:
                return _greeting(body)
            case Op.GETATTR:
                return bytes(16) + self._attributes(node)
            case Op.LOOKUP:
                names = [name for name, _ in self._files]
                name = body.rstrip(b"\0").decode()
                if name not in names:
                    raise OSError(errno.ENOENT, "")
                child = ROOT + 1 + names.index(name)
                return struct.pack("<QQQQII", child, 0, 0, 0, 0, 0) + self._attributes(child)
            case Op.OPEN | Op.OPENDIR:
                return struct.pack("<QII", 0, 0, 0)
            case Op.READ:
                _, offset, size = struct.unpack_from("<QQI", body)
                return self._files[node - ROOT - 1][1][offset : offset + size]
            case Op.READDIR:
                _, offset, size = struct.unpack_from("<QQI", body)
                return self._names(offset, size)
            case Op.STATFS:
                return _STATFS
            case Op.RELEASE | Op.RELEASEDIR | Op.FLUSH | Op.DESTROY:
                return b""
        raise OSError(errno.ENOSYS, "")

    def _names(self, offset: int, size: int) -> bytes:
        names = [name.encode() for name, _ in self._files]
        return _listed([(ROOT + n, name, stat.S_IFREG) for n, name in enumerate(names, 1)], offset, size)

    def _attributes(self, node: int) -> bytes:
        """Give struct fuse_attr: long since changed, so that nothing has to settle."""
        then = 1_000_000_000
        size = 0 if node == ROOT else len(self._files[node - ROOT - 1][1])
        mode = stat.S_IFDIR | 0o755 if node == ROOT else stat.S_IFREG | 0o644
        times = (then, then, then, 0, 0, 0)
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, 1, *times, mode, 1, 0, 0, 0, 4096, 0)


class Failing(_Mount):
    """A read-only view of a directory; everything at and below one place in it can be told to fail."""

    def __init__(self, where: Path, source: Path) -> None:
        self.source = source
        self._paths = {ROOT: source}
        self._fault: tuple[Path, int] | None = None
        super().__init__(where)

    def fail(self, place: str, number: int) -> None:
        """Answer with this error number whatever is asked of `place`, or of what is below it."""
        self._fault = (self.source / place, number)

    def mend(self) -> None:
        self._fault = None

    def _checked(self, path: Path) -> Path:
        if self._fault is not None and path.is_relative_to(self._fault[0]):
            raise OSError(self._fault[1], "")
        return path

    def _node(self, path: Path) -> int:
        known = next((node for node, one in self._paths.items() if one == path), None)
        if known is None:
            known = max(self._paths) + 1
            self._paths[known] = path
        return known

    def _reply(self, code: int, node: int, body: bytes) -> bytes:
        if code == Op.INIT:
            return _greeting(body)
        path = self._checked(self._paths[node])
        match code:
            case Op.GETATTR | Op.SETATTR:  # what is to be set is left as it is
                return bytes(16) + self._attributes(path)
            case Op.LOOKUP:
                path = self._checked(path / os.fsdecode(body.rstrip(b"\0")))
                attributes = self._attributes(path)
                return struct.pack("<QQQQII", self._node(path), 0, 0, 0, 0, 0) + attributes
            case Op.OPEN | Op.OPENDIR:
                return struct.pack("<QII", 0, 0, 0)
            case Op.READ:
                _, offset, size = struct.unpack_from("<QQI", body)
                return path.read_bytes()[offset : offset + size]
            case Op.READDIR:
                _, offset, size = struct.unpack_from("<QQI", body)
                return self._names(path, offset, size)
            case Op.STATFS:
                return _STATFS
            case Op.RELEASE | Op.RELEASEDIR | Op.FLUSH | Op.DESTROY:
                return b""
        raise OSError(errno.ENOSYS, "")

    def _names(self, path: Path, offset: int, size: int) -> bytes:
        below = sorted(path.iterdir())
        return _listed(
            [(self._node(one), os.fsencode(one.name), stat.S_IFMT(one.lstat().st_mode)) for one in below],
            offset,
            size,
        )

    def _attributes(self, path: Path) -> bytes:
        """Give struct fuse_attr of what is there."""
        found = path.lstat()
        times = [ns // 10**9 for ns in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)]
        parts = [ns % 10**9 for ns in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)]
        whose = (found.st_mode, found.st_nlink, found.st_uid, found.st_gid, 0, 4096, 0)
        return struct.pack("<QQQQQQIIIIIIIIII", self._node(path), found.st_size, 1, *times, *parts, *whose)

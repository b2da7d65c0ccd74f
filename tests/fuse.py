"""A file system of our own that can be told to hang: the kernel's FUSE protocol, spoken by hand.

It shows some files in one directory, as linux/fuse.h (7.31) asks for. When it is told to hang,
requests are not even taken: whoever made them waits, and can be killed, as on an NFS mount whose server is
gone. (Who waits for a request that was taken cannot be killed by anybody: that is the kernel's.)
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


class Hanging:
    """A mount that answers until it is told to hang."""

    def __init__(self, where: Path, files: dict[str, bytes]) -> None:
        where.mkdir()
        self.where = where
        self._files = list(files.items())
        self._answers = threading.Event()
        self._answers.set()
        self._device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._device},rootmode=40755,user_id={os.geteuid()},group_id={os.getegid()}"
        if _libc.mount(b"hanging", os.fsencode(where), b"fuse", 0, options.encode()) != 0:
            number = ctypes.get_errno()
            os.close(self._device)
            raise OSError(number, os.strerror(number))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def hang(self) -> None:
        self._answers.clear()

    def answer(self) -> None:
        self._answers.set()

    def close(self) -> None:
        """Take the mount away; whoever still waits gets an error."""
        _libc.umount2(os.fsencode(self.where), MNT_FORCE | MNT_DETACH)
        self.answer()
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
        match code:
            case Op.INIT:
                (readahead,) = struct.unpack_from("<I", body, 8)
                return struct.pack("<IIIIHHIIHHI28x", 7, 31, readahead, 0, 12, 9, 1 << 16, 1, 0, 0, 0)
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
                return struct.pack("<QQQQQIIII24x", 0, 0, 0, 0, 0, 512, 255, 512, 0)
            case Op.RELEASE | Op.RELEASEDIR | Op.FLUSH | Op.DESTROY:
                return b""
        raise OSError(errno.ENOSYS, "")

    def _names(self, offset: int, size: int) -> bytes:
        found = b""
        for number, (name, _) in enumerate(self._files[offset:], offset + 1):
            entry = struct.pack("<QQII", ROOT + number, number, len(name), stat.S_IFREG >> 12) + name.encode()
            entry += bytes(-len(entry) % 8)
            if len(found) + len(entry) > size:
                break
            found += entry
        return found

    def _attributes(self, node: int) -> bytes:
        """Give struct fuse_attr: long since changed, so that nothing has to settle."""
        then = 1_000_000_000
        size = 0 if node == ROOT else len(self._files[node - ROOT - 1][1])
        mode = stat.S_IFDIR | 0o755 if node == ROOT else stat.S_IFREG | 0o644
        times = (then, then, then, 0, 0, 0)
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, 1, *times, mode, 1, 0, 0, 0, 4096, 0)

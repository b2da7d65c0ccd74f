"""An instance's copies: our file as it was proved whole, and the archive's, fetched and never held whole."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from dicomsync import dicomweb, quiet
from dicomsync.model import Source, StatKey
from dicomsync.rules import Finding

if TYPE_CHECKING:
    from dicomsync.compare import Comparison

CHUNK_BYTES = 1 << 20
PREAMBLE_BYTES = 128


class FileChanged(Exception):
    """The file is not the one that was proved whole: `key` is what it is now, None if it is gone."""

    def __init__(self, key: StatKey | None) -> None:
        super().__init__()
        self.key = key


def chunks(path: bytes, key: StatKey) -> Iterator[bytes]:
    """Read a file that must be, and stay until its last byte is read, the one with this key.

    Every piece was held against the key after it was read and before it is given: what changes a file changes
    its key for good, so that one look does for a file of one piece. Raises as `opened` does.
    """
    descriptor = _open(path)
    try:
        left = key.size_bytes
        while True:
            try:
                chunk = os.read(descriptor, min(left, CHUNK_BYTES))
            finally:
                _same(descriptor, key)
            left -= len(chunk)
            if not left:
                quiet.let_go(descriptor)
            elif not chunk:  # the system says the file is longer than what it gives: a share gone stale
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            yield chunk
            if not left:
                return
    finally:
        os.close(descriptor)


@contextmanager
def opened(path: bytes, key: StatKey) -> Iterator[int]:
    """Open a file that must be the one with this key, and stay it until the block has come to its end.

    Raises FileChanged, and what the system says (OSError).
    """
    descriptor = _open(path)
    try:
        _same(descriptor, key)
        yield descriptor
        _same(descriptor, key)
    finally:
        os.close(descriptor)


def _open(path: bytes) -> int:
    try:
        return quiet.opened(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise FileChanged(None) from None


def _same(descriptor: int, key: StatKey) -> None:
    status = os.fstat(descriptor)
    if not key.fits(status):
        raise FileChanged(StatKey.of(status))


def remote_digest(client: dicomweb.Client, uids: tuple[str, str, str], preamble: bytes) -> tuple[bytes, int]:
    """Take the SHA-256 of the archive's copy as it comes, as `digest_of` does; gives its length too."""
    running = hashlib.sha256(preamble or bytes(PREAMBLE_BYTES))
    size_bytes = 0
    with client.instance(*uids) as chunks:
        for chunk in chunks:
            running.update(chunk[max(0, PREAMBLE_BYTES - size_bytes) :])
            size_bytes += len(chunk)
    return running.digest(), size_bytes


@contextmanager
def fetched(client: dicomweb.Client, uids: tuple[str, str, str]) -> Iterator[BinaryIO]:
    """Fetch the archive's copy of one instance into a file without a name; raises what the client does."""
    import tempfile  # 2 ms, with all that it takes along

    with tempfile.TemporaryFile(prefix="dicomsync-") as kept:
        with client.instance(*uids) as chunks:
            for chunk in chunks:
                kept.write(chunk)
        yield kept


def digest_of(copy: BinaryIO, preamble: bytes) -> bytes:
    """Take the SHA-256 of a copy with this preamble in place of its own: some archives zero it."""
    running = hashlib.sha256(preamble or bytes(PREAMBLE_BYTES))
    copy.seek(PREAMBLE_BYTES)
    while chunk := copy.read(CHUNK_BYTES):
        running.update(chunk)
    return running.digest()


def compared(source: Source, copy: BinaryIO) -> Comparison:
    """Compare our file with a copy; raises FileChanged, OSError, and Unreadable as `compare` does."""
    from dicomsync import compare  # slow to import, and seldom needed by the daemon

    with opened(source.path, source.key) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as ours:
        return compare.compare(ours, copy)


def agreement(source: Source, copy: BinaryIO) -> Finding:
    """Say what a parsed comparison finds where the archive may rewrite what it stores; raises OSError."""
    from dicomsync.compare import Likeness, Unreadable

    try:
        found = compared(source, copy)
    except (Unreadable, FileChanged):
        return Finding.INCOMPARABLE
    if found.agrees:
        return Finding.AGREES
    return Finding.INCOMPARABLE if found.likeness is Likeness.RECODED else Finding.DIFFERENT

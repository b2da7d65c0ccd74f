"""What goes out: bodies whose length is known before anything is read, and that can be sent twice."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from ..errors import DicomsyncError

CHUNK_BYTES: Final = 1 << 20  # larger gains nothing, and 16 KiB costs two thirds of the speed (measured)


class Part(Protocol):
    """One DICOM file to send: its size, and its bytes afresh at each call."""

    @property
    def size_bytes(self) -> int:
        """Say how many bytes `chunks` is going to give: promised to the archive before they are read."""

    def chunks(self) -> Iterator[bytes]:
        """Open the content anew and give all of it, in pieces of any size; 1 MiB is the fastest."""


@dataclass(frozen=True, slots=True)
class BytesPart:
    """A part that is in memory already."""

    payload: bytes

    @property
    def size_bytes(self) -> int:
        """Say its length."""
        return len(self.payload)

    def chunks(self) -> Iterator[bytes]:
        """Give it."""
        return iter((self.payload,))


class PartChanged(DicomsyncError):
    """A part gave more or fewer bytes than it promised; the request was abandoned, never completed."""

    def __init__(self, index: int, promised_bytes: int, given_bytes: int) -> None:
        more = "more than that" if given_bytes > promised_bytes else f"only {given_bytes}"
        super().__init__(
            f"part {index + 1} of the request was to be {promised_bytes} bytes and gave {more}; "
            "the request was broken off",
            hint="the file changed while it was being sent: it is looked at again.",
        )
        self.index = index
        self.promised_bytes = promised_bytes
        self.given_bytes = given_bytes


class Body(ABC):
    """A request's body, the same at every pass: iterate it as often as the request is sent.

    `content_type` and `content_length` (bytes) are known before anything is read. `sent_bytes`
    counts what the present pass has handed out, `exhausted` says that it was asked for more after
    the last: only then had every byte been taken.
    """

    def __init__(self, content_type: str, content_length: int) -> None:
        self.content_type = content_type
        self.content_length = content_length
        self.sent_bytes = 0
        self.exhausted = False

    def __iter__(self) -> Iterator[bytes]:
        """Give the body from its first byte, in pieces of at most 1 MiB; raises PartChanged."""
        self.sent_bytes = 0
        self.exhausted = False
        for chunk in _coalesced(self._pieces()):
            self.sent_bytes += len(chunk)  # before it is handed out: never counted too low
            yield chunk
        self.exhausted = True

    @abstractmethod
    def _pieces(self) -> Iterator[bytes]:
        """Open the content anew and give all of it; what is not as long as promised raises PartChanged."""


class StoreBody(Body):
    """A Store request's body as any archive takes it (PS3.18 8.6.1.2).

    The type is quoted, the boundary of plain characters that nobody can guess, and lengths are everywhere.
    """

    def __init__(self, parts: Iterable[Part], *, boundary: str = "") -> None:
        self.parts = tuple(parts)
        self.boundary = boundary or secrets.token_hex(24)
        self._sizes = tuple(part.size_bytes for part in self.parts)
        self._heads = tuple(self._head(index) for index in range(len(self.parts)))
        super().__init__(
            f'multipart/related; type="application/dicom"; boundary="{self.boundary}"',
            sum(map(len, self._heads)) + sum(self._sizes) + len(self._end()),
        )

    def _pieces(self) -> Iterator[bytes]:
        for index, part in enumerate(self.parts):
            yield self._heads[index]
            yield from _as_promised(index, part, self._sizes[index])
        yield self._end()

    def _head(self, index: int) -> bytes:
        before = "\r\n" if index else ""  # the body's first bytes are a boundary: some readers insist
        return (
            f"{before}--{self.boundary}\r\n"
            "Content-Type: application/dicom\r\n"
            f"Content-Length: {self._sizes[index]}\r\n\r\n"
        ).encode("ascii")

    def _end(self) -> bytes:
        return f"\r\n--{self.boundary}--\r\n".encode("ascii")


class SinglePartBody(Body):
    """A body that is one part and nothing else; a DICOM file sent so is no standard's (PS3.18 10.5.2)."""

    def __init__(self, part: Part, content_type: str = "application/dicom") -> None:
        super().__init__(content_type, part.size_bytes)
        self._part = part

    def _pieces(self) -> Iterator[bytes]:
        return _as_promised(0, self._part, self.content_length)


def _as_promised(index: int, part: Part, promised: int) -> Iterator[bytes]:
    given = 0
    for chunk in part.chunks():
        given += len(chunk)
        if given > promised:
            raise PartChanged(index, promised, given)
        yield chunk
    if given != promised:
        raise PartChanged(index, promised, given)


def _coalesced(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join small pieces up to 1 MiB, pass large ones on without copying them, cut larger ones."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        if size + len(piece) > CHUNK_BYTES and waiting:
            yield waiting[0] if len(waiting) == 1 else b"".join(waiting)
            waiting, size = [], 0
        if len(piece) < CHUNK_BYTES // 2:
            waiting.append(piece)
            size += len(piece)
            continue
        if waiting:  # sent as it is: joining would copy the large piece
            yield b"".join(waiting)
            waiting, size = [], 0
        if len(piece) <= CHUNK_BYTES:
            yield bytes(piece)  # no copy if it is bytes already
        else:
            yield from (bytes(piece[at : at + CHUNK_BYTES]) for at in range(0, len(piece), CHUNK_BYTES))
    if waiting:
        yield b"".join(waiting)

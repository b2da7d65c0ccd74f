"""Reading multipart/related (RFC 2046, 2387): an answer's parts as they come in, never held whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from ..errors import BadAnswer

_HEADER_BYTES: Final = 16 << 10
_PREAMBLE_BYTES: Final = 1 << 20
_PADDING_BYTES: Final = 256
_PARAMETER: Final = re.compile(r';\s*([A-Za-z0-9!#$&^_.+-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^";\s]+))')
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{1,200}", re.ASCII)


class ReceivedPart(NamedTuple):
    """One part of an answer: headers by lower-case name, and its payload as it comes in."""

    headers: Mapping[str, str]
    chunks: Iterator[bytes]


def boundary_of(content_type: str) -> str:
    """Say the boundary a Content-Type names; raises BadAnswer if there is none that could be one."""
    found = [
        quoted or plain
        for name, quoted, plain in _PARAMETER.findall(content_type)
        if name.lower() == "boundary"
    ]
    boundary = re.sub(r"\\(.)", r"\1", found[0]) if len(found) == 1 else ""
    if not _BOUNDARY.fullmatch(boundary) or boundary.endswith(" "):
        raise BadAnswer("the answer is multipart and names no usable boundary")
    return boundary


def read_parts(chunks: Iterable[bytes], boundary: str) -> Iterator[ReceivedPart]:
    """Split an answer into its parts as it comes in, holding no more than a chunk of it.

    Going on to the next part skips what was left of this one. A part's Content-Length is trusted if a
    boundary follows; without one the payload ends at CRLF, two hyphens, boundary. Text before the
    first part and a missing last line end are accepted; an answer that ends before its closing
    boundary, or breaks the grammar in another way, raises BadAnswer, in the middle of a payload too:
    chunks that come to their end are a whole part.
    """
    stream = _Parts(iter(chunks), boundary)
    while stream.open_part():
        payload = iter(stream.payload, b"")
        yield ReceivedPart(stream.headers(), payload)
        for _ in payload:
            pass


class _Parts:
    """The state of reading one multipart body: what is buffered, and where in the grammar that is."""

    def __init__(self, chunks: Iterator[bytes], boundary: str) -> None:
        self._chunks = chunks
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._buffer = bytearray(b"\r\n")  # so that a boundary at the very start looks like any other
        self._remaining: int | None = None  # bytes of this payload to come; None: up to the boundary
        self._begun = False

    def open_part(self) -> bool:
        """Go past the next boundary; False if it was the closing one."""
        if not self._begun:
            self._begun = True
            self._skip_preamble()
        closing = self._boundary_at(0)
        if closing is None:
            raise BadAnswer("the multipart answer breaks off, or a part is longer than it says")
        del self._buffer[: closing[1]]
        return not closing[0]

    def _skip_preamble(self) -> None:
        skipped_bytes = 0
        while skipped := self._up_to_boundary():
            skipped_bytes += len(skipped)
            if skipped_bytes > _PREAMBLE_BYTES:
                raise BadAnswer("the multipart answer does not begin: its boundary never comes")

    def headers(self) -> dict[str, str]:
        """Read this part's headers, up to 16 KiB of them, and set out for its payload."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0 and not self._buffer.startswith(b"\r\n"):
            if len(self._buffer) >= _HEADER_BYTES + 4 or not self._fill():
                raise BadAnswer("a part of the multipart answer has no end to its headers")
        if self._buffer.startswith(b"\r\n"):
            end = -2  # no headers at all: the empty line follows the boundary's own line end
        if end > _HEADER_BYTES:
            raise BadAnswer("a part of the multipart answer has oversized headers")
        lines = bytes(self._buffer[: max(end, 0)]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        found: dict[str, str] = {}
        for line in filter(None, lines):
            name, colon, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            if not colon or not name or found.get(name, value) != value:
                raise BadAnswer("a part of the multipart answer has malformed headers")
            found[name] = value
        self._remaining = _length(found.get("content-length"))
        return found

    def payload(self) -> bytes:
        """Give the next piece of this part's payload; b"" at its end."""
        if self._remaining is None:
            return self._up_to_boundary()
        if not self._remaining:
            if self._boundary_at(0) is None:  # told before the part ends: it may not be taken for whole
                raise BadAnswer("the multipart answer breaks off, or a part is longer than it says")
            return b""
        if not self._buffer and not self._fill():
            raise BadAnswer("the multipart answer breaks off inside a part")
        chunk = bytes(self._buffer[: self._remaining])
        del self._buffer[: len(chunk)]
        self._remaining -= len(chunk)
        return chunk

    def _up_to_boundary(self) -> bytes:
        """Give what is certain to come before the next boundary; b"" once that is next."""
        while True:
            at = self._buffer.find(self._delimiter)
            if at > 0:
                return self._take(at)
            if at == 0:
                if self._boundary_at(0) is not None:
                    return b""
                return self._take(1)  # only looks like one: payload
            certain = len(self._buffer) - len(self._delimiter) + 1
            if certain > 0:
                return self._take(certain)
            if not self._fill():
                raise BadAnswer("the multipart answer breaks off before its closing boundary")

    def _boundary_at(self, start: int) -> tuple[bool, int] | None:
        """Say whether a boundary begins here: is it the closing one, and where does its line end."""
        end = start + len(self._delimiter)
        if not self._holds(end) or not self._buffer.startswith(self._delimiter, start):
            return None
        if self._holds(end + 2) and self._buffer.startswith(b"--", end):
            return True, end + 2
        for at in range(end, end + _PADDING_BYTES):
            if not self._holds(at + 1) or self._buffer[at] not in b" \t":
                break
        if self._holds(at + 2) and self._buffer.startswith(b"\r\n", at):
            return False, at + 2
        return None

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _holds(self, count: int) -> bool:
        """Say whether `count` bytes are there, reading more if need be."""
        while len(self._buffer) < count:
            if not self._fill():
                return False
        return True

    def _fill(self) -> bool:
        """Read one more chunk that is not empty; False at the end."""
        for chunk in self._chunks:
            if chunk:
                self._buffer += chunk
                return True
        return False


def _length(value: str | None) -> int | None:
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise BadAnswer("a part of the multipart answer has a malformed Content-Length")
    return int(value)

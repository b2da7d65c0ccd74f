"""The Retrieve transaction (PS3.18 10.4): stored bytes, as they are, from the disk to the wire."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from dicomsync.sandbox import header as headers
from dicomsync.sandbox.frames import Span, locate
from dicomsync.sandbox.header import IMPLICIT_VR_LITTLE_ENDIAN
from dicomsync.sandbox.media import EXPLICIT_VR_LITTLE_ENDIAN, JSON, MULTIPART, Refusal, Wanted
from dicomsync.sandbox.shelf import Shelved

CHUNK_BYTES = 1 << 20
_LITTLE_ENDIAN = (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN)  # pixels are the same in both


@dataclass(frozen=True, slots=True)
class _Part:
    """What one part of an answer holds: stretches of one file, which had so many bytes when it was found."""

    media_type: str
    path: Path
    file_bytes: int
    spans: Sequence[Span]

    @property
    def size_bytes(self) -> int:
        return sum(span.length for span in self.spans)


class _Streamed(StreamingResponse):
    """An answer sent as it is read, whose files are closed when it breaks off, not when it is forgotten."""

    def __init__(self, body: AsyncGenerator[bytes], headers: dict[str, str], media_type: str = "") -> None:
        super().__init__(body, 200, headers, media_type or None)
        self._body = body

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._body):
            await super().stream_response(send)


def instances(found: Sequence[Shelved], forms: Sequence[Wanted]) -> Response:
    """Send instances in the first form that fits all of them; 406 where they would have to be transcoded."""
    for form in forms:
        if all(form.suits(one.transfer_syntax) for one in found):
            whole = [(one, (Span(0, one.size_bytes),)) for one in found]
            return _sent([_part(form, one, one.transfer_syntax, spans) for one, spans in whole], form)
    raise Refusal(406, "The instances are stored in another transfer syntax.")


def frames(one: Shelved, numbers: Sequence[int], forms: Sequence[Wanted]) -> Response:
    """Send frames as they are stored, in the first form that fits; 406 where they would be transcoded."""
    located = locate(one.path, one.transfer_syntax, numbers)
    for form in forms:
        for syntax in _LITTLE_ENDIAN if one.transfer_syntax in _LITTLE_ENDIAN else (one.transfer_syntax,):
            if form.suits(syntax):
                label = one.transfer_syntax if form.syntax == "*" else syntax
                return _sent([_part(form, one, label, frame) for frame in located], form)
    raise Refusal(406, "The frames are stored in another transfer syntax.")


def _part(form: Wanted, one: Shelved, syntax: str, spans: Sequence[Span]) -> _Part:
    media_type = f"{form.name}; transfer-syntax={syntax}" if syntax else form.name
    return _Part(media_type, one.path, one.size_bytes, spans)


def _sent(parts: Sequence[_Part], form: Wanted) -> Response:
    return _multipart(parts) if form.multipart else _single(parts[0])


def _single(part: _Part) -> Response:
    lengths = {"content-length": str(part.size_bytes)}
    return _Streamed(_chunks(part), lengths, part.media_type)


def _multipart(parts: Sequence[_Part]) -> Response:
    boundary = str(uuid.uuid4())
    heads = [f"--{boundary}\r\nContent-Type: {part.media_type}\r\n\r\n".encode() for part in parts]
    tail = f"--{boundary}--\r\n".encode()

    async def body() -> AsyncGenerator[bytes]:
        for head, part in zip(heads, parts, strict=True):
            yield head
            async with aclosing(_chunks(part)) as chunks:
                async for chunk in chunks:
                    yield chunk
            yield b"\r\n"
        yield tail

    length = sum(len(head) + part.size_bytes + 2 for head, part in zip(heads, parts, strict=True)) + len(tail)
    headers_ = {"content-length": str(length), "content-type": f'{MULTIPART}; boundary="{boundary}"'}
    return _Streamed(body(), headers_)


async def _chunks(part: _Part) -> AsyncGenerator[bytes]:
    file = await asyncio.to_thread(part.path.open, "rb")
    try:
        if os.fstat(file.fileno()).st_size != part.file_bytes:
            raise OSError("The instance was replaced before it was sent.")
        for span in part.spans:
            file.seek(span.start)
            left = span.length
            while left and (chunk := await asyncio.to_thread(file.read, min(left, CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk
    finally:
        file.close()


def etag_of(found: Sequence[Shelved], *, one_instance: bool) -> str:
    """Return what changes whenever the metadata may have: the watermark, or the highest and the count."""
    newest = max(one.watermark for one in found)
    return f'"{newest}"' if one_instance else f'"{newest}-{len(found)}"'


def metadata(found: Sequence[Shelved], etag: str, if_none_match: str | None) -> Response:
    """Send the metadata of instances as one DICOM JSON array, read as it is sent; 304 if it is known."""
    known = [tag.strip().removeprefix("W/").strip('"') for tag in (if_none_match or "").split(",")]
    if etag.strip('"') in known:
        return Response(status_code=304, headers={"etag": etag})

    async def body() -> AsyncGenerator[bytes]:
        opening = "["
        for one in found:
            dataset = await asyncio.to_thread(headers.metadata, one.path)
            yield (opening + json.dumps(dataset)).encode()
            opening = ","
        yield b"]"

    return _Streamed(body(), {"etag": etag}, JSON)

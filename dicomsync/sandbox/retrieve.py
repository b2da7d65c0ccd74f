"""The Retrieve transaction (PS3.18 10.4): stored bytes, as they are, from the disk to the wire."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from starlette.responses import Response, StreamingResponse

from dicomsync.sandbox import header as headers
from dicomsync.sandbox.media import DICOM, JSON, MULTIPART, Refusal, Wanted
from dicomsync.sandbox.shelf import Shelved

CHUNK_BYTES = 1 << 20


def instances(found: Sequence[Shelved], forms: Sequence[Wanted]) -> Response:
    """Send instances in the first form that fits all of them; 406 where they would have to be transcoded."""
    for form in forms:
        if all(form.suits(one.transfer_syntax) for one in found):
            return _multipart(found) if form.multipart else _single(found[0])
    raise Refusal(406, "The instances are stored in another transfer syntax.")


def _single(one: Shelved) -> Response:
    lengths = {"content-length": str(one.size_bytes)}
    return StreamingResponse(_chunks(one.path), 200, lengths, media_type=_type_of(one))


def _multipart(found: Sequence[Shelved]) -> Response:
    boundary = str(uuid.uuid4())
    heads = [f"--{boundary}\r\nContent-Type: {_type_of(one)}\r\n\r\n".encode() for one in found]
    tail = f"--{boundary}--\r\n".encode()

    async def body() -> AsyncIterator[bytes]:
        for head, one in zip(heads, found, strict=True):
            yield head
            async for chunk in _chunks(one.path):
                yield chunk
            yield b"\r\n"
        yield tail

    length = sum(len(head) + one.size_bytes + 2 for head, one in zip(heads, found, strict=True)) + len(tail)
    headers_ = {"content-length": str(length), "content-type": f'{MULTIPART}; boundary="{boundary}"'}
    return StreamingResponse(body(), 200, headers_)


def _type_of(one: Shelved) -> str:
    return f"{DICOM}; transfer-syntax={one.transfer_syntax}" if one.transfer_syntax else DICOM


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
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

    async def body() -> AsyncIterator[bytes]:
        opening = "["
        for one in found:
            dataset = await asyncio.to_thread(headers.metadata, one.path)
            yield (opening + json.dumps(dataset)).encode()
            opening = ","
        yield b"]"

    return StreamingResponse(body(), 200, {"etag": etag}, media_type=JSON)

"""One request and its answer as the server sees them: counted, recorded, and droppable for real."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Iterable

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from dicomsync.sandbox.records import Recorded

CONNECTION = "connection"
"""Where in the ASGI scope's state the protocol leaves its transport, for dropping it."""
NUMBERS = "numbers"
"""Where it leaves what numbers the connection's requests, from 1."""
_WITHOUT_BODY = (204, 304)


class Exchange:
    """Receives and sends for one request, and keeps its record true before the client can know more."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, record: Recorded) -> None:
        self.scope = scope
        self.record = record
        self.headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.started = False
        self._receive = receive
        self._send = send
        self._whole = False
        self._transport: asyncio.Transport = scope["state"][CONNECTION]
        self.number: int = next(scope["state"][NUMBERS])

    async def receive(self) -> Message:
        """Take the next piece of the request."""
        message = await self._receive()
        if message["type"] == "http.request":
            self.record.body_bytes += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Give the next piece of the answer."""
        if message["type"] == "http.response.start":
            self.started = True
            self.record.status = message["status"]
        elif not message.get("more_body", False):
            self.record.finished = time.monotonic()
        await self._send(message)

    async def drain(self, most: int | None = None) -> None:
        """Read the body and forget it, all of it or until `most` bytes were read."""
        while not self._whole and (most is None or self.record.body_bytes < most):
            if (await self.receive())["type"] == "http.disconnect":
                raise ClientDisconnect

    async def answer(
        self,
        status: int,
        text: str = "",
        *,
        media_type: str = "text/plain; charset=utf-8",
        headers: dict[str, str] | None = None,
        ends: bool = True,
    ) -> None:
        """Answer in one piece; unless it `ends`, the server takes the answer for unfinished."""
        if status in _WITHOUT_BODY:
            await self.answer_in_pieces(status, headers or {}, ())
            return
        body = text.encode()
        fields = {"content-length": str(len(body)), **(headers or {})}
        if body:
            fields["content-type"] = media_type
        await self.answer_in_pieces(status, fields, (body,), ends=ends)

    async def answer_in_pieces(
        self, status: int, fields: dict[str, str], pieces: Iterable[bytes], *, ends: bool = True
    ) -> None:
        """Answer with a body as it comes; without content-length among `fields` it is chunked."""
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": encoded})
        for piece in pieces:
            await self.send({"type": "http.response.body", "body": piece, "more_body": True})
        if ends:
            await self.send({"type": "http.response.body", "body": b""})

    @property
    def reused(self) -> bool:
        """Whether the connection has served a request before this one."""
        return self.number > 1

    def half_close(self) -> None:
        """End the sending side of the connection; the receiving side goes on."""
        self._transport.write_eof()

    async def write_raw(self, text: bytes, *, again: bool) -> None:
        """Write bytes past the HTTP server, over and over with `again` until the peer goes; then close."""
        self.record.finished = time.monotonic()
        self._transport.write(text)
        while again and not self._transport.is_closing():
            await asyncio.sleep(0.05)
            self._transport.write(text)
        await self.drop(flush=True)

    async def drop(self, *, reset: bool = False, flush: bool = False) -> None:
        """Close the connection without another byte; with `reset` the peer sees a reset, not an end.

        With `flush` what was written before is sent first.
        """
        self.record.finished = time.monotonic()
        if flush:
            self._transport.close()
        else:
            drop(self._transport, reset=reset)
        # The server takes a return without an answer for a mistake unless it knows the peer is gone.
        while (await self._receive())["type"] != "http.disconnect":
            pass


def drop(transport: asyncio.Transport, *, reset: bool = False) -> None:
    """Close a connection at once, unsent bytes and all."""
    if reset:
        linger = struct.pack("ii", 1, 0)  # no lingering: the kernel sends RST
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()

"""One request and its answer as the server sees them: counted, recorded, and droppable for real."""

from __future__ import annotations

import asyncio
import socket
import struct
import time

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from dicomsync.sandbox.records import Recorded

CONNECTION = "connection"
"""Where in the ASGI scope's state the protocol leaves its transport, for dropping it."""


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
    ) -> None:
        """Answer in one piece."""
        body = text.encode()
        fields = {"content-length": str(len(body)), **(headers or {})}
        if body:
            fields["content-type"] = media_type
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": encoded})
        await self.send({"type": "http.response.body", "body": body})

    async def drop(self, *, reset: bool = False) -> None:
        """Close the connection without another byte; with `reset` the peer sees a reset, not an end."""
        self.record.finished = time.monotonic()
        drop(self.scope["state"][CONNECTION], reset=reset)
        # The server takes a return without an answer for a mistake unless it knows the peer is gone.
        while (await self._receive())["type"] != "http.disconnect":
            pass


def drop(transport: asyncio.Transport, *, reset: bool = False) -> None:
    """Close a connection at once, unsent bytes and all."""
    if reset:
        linger = struct.pack("ii", 1, 0)  # no lingering: the kernel sends RST
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()

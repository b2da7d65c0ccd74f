"""The faults that show on the wire: no answer, a late one, a wrong one. What they are is in `faults`."""

from __future__ import annotations

import asyncio
import base64

from starlette.requests import ClientDisconnect
from starlette.types import Message

from dicomsync.sandbox.exchange import Exchange
from dicomsync.sandbox.faults import Plan

_PAGE = "<!DOCTYPE html><html><body><h1>Welcome</h1><p>Please sign in to the network.</p></body></html>"
_HTML = "text/html; charset=utf-8"
_CLOSE = {"connection": "close"}


class Misbehaviour:
    """Plays the faults of one request around the honest work; `closing` ends every wait."""

    def __init__(self, exchange: Exchange, plan: Plan, closing: asyncio.Event) -> None:
        self._exchange = exchange
        self._plan = plan
        self._closing = closing
        self._held: Message | None = None  # the start of an answer that is kept back
        self._body = bytearray()
        self._stalled = False

    async def instead(self) -> bool:
        """Do what a fault does in place of the work; say whether that was all."""
        plan = self._plan
        if plan.get("down"):
            await self._exchange.drop()
            return True
        if late := plan.get("latency"):
            await self._wait(late.seconds)
        return await self._shut_out() or await self._unread() or await self._unheeded()

    async def _shut_out(self) -> bool:
        """Refuse at the door, before the body."""
        plan, answer = self._plan, self._exchange.answer
        if plan.get("not-found"):
            await answer(404, "Not Found")
        elif plan.get("unauthorized") or not self._authorized():
            scheme = "Basic" if plan.get("basic") else "Bearer"
            await answer(401, "Unauthorized", headers={"www-authenticate": f'{scheme} realm="sandbox"'})
        elif plan.get("forbidden"):
            await answer(403, "Forbidden")
        else:
            return False
        return True

    def _authorized(self) -> bool:
        given = self._exchange.headers.get("authorization", "")
        if token := self._plan.get("token"):
            return given == f"Bearer {token.argument}"
        if login := self._plan.get("basic"):
            return given == f"Basic {base64.b64encode(login.argument.encode()).decode()}"
        return True

    async def _unread(self) -> bool:
        """Answer or reset before the body has been read."""
        plan, exchange = self._plan, self._exchange
        large = plan.get("too-large")
        if large and int(exchange.headers.get("content-length", "0")) > large.number:
            await exchange.answer(413, "Payload Too Large", headers=_CLOSE)
        elif plan.get("early-200"):
            await exchange.answer(200, headers=_CLOSE)
        elif reset := plan.get("reset-after"):
            await exchange.drain(reset.number)
            await exchange.drop(reset=True)
        else:
            return False
        return True

    async def _unheeded(self) -> bool:
        """Read everything, do nothing with it."""
        plan, exchange = self._plan, self._exchange
        if status := plan.get("status"):
            headers = {"retry-after": status.retry_after} if status.retry_after else {}
            await exchange.drain()
            await exchange.answer(status.number, f"Status {status.number} on request", headers=headers)
        elif plan.get("html-200"):
            await exchange.drain()
            await exchange.answer(200, _PAGE, media_type=_HTML)
        elif plan.get("empty-200"):
            await exchange.drain()
            await exchange.answer(200)
        else:
            return False
        return True

    async def send(self, message: Message) -> None:
        """Pass on a piece of the honest answer: late, cut short, or not at all."""
        if self._plan.get("lost-answer"):
            return  # finish() closes the connection
        if (stall := self._plan.get("stall")) and not self._stalled:
            self._stalled = True
            await self._wait(stall.seconds)
        if self._plan.get("truncated-json") and await self._hold(message):
            return
        await self._exchange.send(message)

    async def finish(self) -> None:
        """Do what is left when the work is done."""
        if self._plan.get("lost-answer"):
            await self._exchange.drop()

    async def _hold(self, message: Message) -> bool:
        """Keep a JSON answer back until it is whole, then send its first half, honestly counted."""
        if message["type"] == "http.response.start":
            if b"json" not in dict(message["headers"]).get(b"content-type", b""):
                return False
            self._held = message
            return True
        if self._held is None:
            return False
        self._body += message.get("body", b"")
        if not message.get("more_body", False):
            half = bytes(self._body[: len(self._body) // 2])
            fields = [(name, value) for name, value in self._held["headers"] if name != b"content-length"]
            fields.append((b"content-length", str(len(half)).encode()))
            await self._exchange.send({**self._held, "headers": fields})
            await self._exchange.send({"type": "http.response.body", "body": half})
        return True

    async def _wait(self, seconds: float) -> None:
        """Wait, unless the archive is closing: then the request is over, and the connection with it."""
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return
        raise ClientDisconnect

"""The faults that show on the wire: no answer, a late one, a wrong one. What they are is in `kinds`."""

from __future__ import annotations

import asyncio
import base64

from starlette.requests import ClientDisconnect
from starlette.types import Message

from dicomsync.sandbox.exchange import Exchange
from dicomsync.sandbox.faults import Plan
from dicomsync.sandbox.spoilt import made_over, makes_over

_PAGE = "<!DOCTYPE html><html><body><h1>Welcome</h1><p>Please sign in to the network.</p></body></html>"
_HTML = "text/html; charset=utf-8"
_CLOSE = {"connection": "close"}
_HANGS_SECONDS = 3600.0
_MESSES = {
    "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "bad-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsome\r\n{}\r\n0\r\n\r\n",
    "many-headers": b"HTTP/1.1 200 OK\r\n" + b"X-One: more\r\n" * 100_000 + b"Content-Length: 2\r\n\r\n{}",
    "endless-1xx": b"HTTP/1.1 102 Processing\r\n\r\n" * 1000,
}


class Misbehaviour:
    """Plays the faults of one request around the honest work; `closing` ends every wait."""

    def __init__(self, exchange: Exchange, plan: Plan, closing: asyncio.Event) -> None:
        self._exchange = exchange
        self._plan = plan
        self._closing = closing
        self._held: Message | None = None  # the start of an answer that is kept back until it is whole
        self._body = bytearray()
        self._left: int | None = None  # of an answer that is to be cut: bytes still to be sent
        self._stalled = False

    async def instead(self) -> bool:
        """Do what a fault does in place of the work; say whether that was all."""
        plan = self._plan
        if plan.get("down") or (plan.get("stale") and self._exchange.reused):
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
        elif deaf := plan.get("deaf"):
            await exchange.answer(deaf.number, f"Status {deaf.number} on request", ends=False)
            await self._hang()
        elif reset := plan.get("reset-after"):
            await exchange.drain(reset.number)
            await exchange.drop(reset=True)
        elif hang := plan.get("hang-after"):
            await exchange.drain(hang.number)
            await self._hang()
        elif plan.get("half-close"):
            exchange.half_close()
            await exchange.drain()
            await exchange.drop()
        else:
            return False
        return True

    async def _unheeded(self) -> bool:
        """Read everything, do nothing with it."""
        plan, exchange = self._plan, self._exchange
        status, redirect, mess = plan.get("status"), plan.get("redirect"), plan.get("malformed")
        if not (status or redirect or mess or plan.get("html-200") or plan.get("empty-200")):
            return False
        await exchange.drain()
        if status:
            headers = {"retry-after": status.retry_after} if status.retry_after else {}
            await exchange.answer(status.number, f"Status {status.number} on request", headers=headers)
        elif redirect:
            await exchange.answer(307, headers={"location": redirect.argument})
        elif mess:
            await exchange.write_raw(_MESSES[mess.argument], again=mess.argument.startswith("endless"))
        elif plan.get("html-200"):
            await exchange.answer(200, _PAGE, media_type=_HTML)
        else:
            await exchange.answer(200)
        return True

    async def receive(self) -> Message:
        """Take the next piece of the request, slowly if that was asked for."""
        message = await self._exchange.receive()
        if throttle := self._plan.get("throttle"):
            await self._wait(len(message.get("body", b"")) / throttle.number)
        return message

    async def send(self, message: Message) -> None:
        """Pass on a piece of the honest answer: late, cut short, or not at all."""
        if self._plan.get("lost-answer"):
            return  # finish() closes the connection
        if (stall := self._plan.get("stall")) and not self._stalled:
            self._stalled = True
            await self._wait(stall.seconds)
        if await self._hold(message):
            return
        if self._plan.get("cut-answer"):
            await self._cut(message)
        elif drip := self._plan.get("drip"):
            await self._drip(message, drip.seconds)
        else:
            await self._exchange.send(message)

    async def finish(self) -> None:
        """Do what is left when the work is done."""
        if self._plan.get("lost-answer"):
            await self._exchange.drop()

    async def _hold(self, message: Message) -> bool:
        """Keep back an answer that is to be made over until it is whole; say whether it is one."""
        if message["type"] == "http.response.start":
            if makes_over(self._plan, is_json=_is_json(message)):
                self._held = message
        elif self._held is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                status, is_json = self._held["status"], _is_json(self._held)
                made = made_over(self._plan, status, bytes(self._body), is_json=is_json)
                await self._exchange.answer_in_pieces(made.status, made.fields, made.pieces)
        return self._held is not None

    async def _cut(self, message: Message) -> None:
        """Pass on half of the bytes announced, or the first piece if there is no length; then close."""
        if message["type"] == "http.response.start":
            announced = dict(message["headers"]).get(b"content-length")
            self._left = int(announced) // 2 if announced else None
            await self._exchange.send(message)
            return
        body = message.get("body", b"")
        passed = body if self._left is None else body[: self._left]
        await self._exchange.send({"type": "http.response.body", "body": passed, "more_body": True})
        self._left = 0 if self._left is None else self._left - len(passed)
        if self._left <= 0:
            await self._exchange.drop(flush=True)
            raise ClientDisconnect

    async def _drip(self, message: Message, seconds: float) -> None:
        """Pass on a body byte by byte."""
        if message["type"] == "http.response.body":
            for byte in message.get("body", b""):
                await self._exchange.send(
                    {"type": "http.response.body", "body": bytes([byte]), "more_body": True}
                )
                await self._wait(seconds)
            message = {**message, "body": b""}
        await self._exchange.send(message)

    async def _hang(self) -> None:
        """Neither read nor answer until the archive closes, or a long time has passed."""
        await self._wait(_HANGS_SECONDS)
        await self._exchange.drop()

    async def _wait(self, seconds: float) -> None:
        """Wait, unless the archive is closing: then the request is over, and the connection with it."""
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return
        raise ClientDisconnect


def _is_json(start: Message) -> bool:
    return b"json" in dict(start["headers"]).get(b"content-type", b"")

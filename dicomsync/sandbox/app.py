"""The archive as an ASGI application: its routes, their statuses, and the faults around them."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from dicomsync.sandbox import changefeed, media, retrieve, search
from dicomsync.sandbox.attributes import Level
from dicomsync.sandbox.exchange import Exchange
from dicomsync.sandbox.faults import Faults, Plan
from dicomsync.sandbox.header import UID
from dicomsync.sandbox.media import DICOM, JPEG_2000, JSON, OCTETS, Refusal
from dicomsync.sandbox.misbehave import Misbehaviour
from dicomsync.sandbox.records import NOT_FOR_PATIENTS, Recorded
from dicomsync.sandbox.shelf import Shelf, Shelved
from dicomsync.sandbox.spool import Incoming
from dicomsync.sandbox.store import Conduct, Order, transaction

BASE = "/v2"
MOST_BYTES = 2_147_483_647  # the Medical Imaging Server's limit for one request

_STUDY = BASE + "/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{sop}"
_KEYWORDS = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID"}
_log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]


class Sandbox:
    """The archive. `faults` may be replaced from any thread; `requests` is None unless they are recorded."""

    def __init__(self, shelf: Shelf, faults: Faults, requests: list[Recorded] | None = None) -> None:
        self.faults = faults
        self.requests = requests
        self.closing = asyncio.Event()
        self._shelf = shelf
        self._router = Router(self._routes(), redirect_slashes=False)

    def _routes(self) -> list[Route]:
        def get(path: str, endpoint: Endpoint) -> Route:
            return Route(path, endpoint, methods=["GET"])

        return [
            get("/", self._root),
            get("/health/check", self._health),
            *(Route(path, self._store, methods=["POST", "PUT"]) for path in (BASE + "/studies", _STUDY)),
            *(Route(path, self._delete, methods=["DELETE"]) for path in (_STUDY, _SERIES, _INSTANCE)),
            get(BASE + "/studies", self._searching(Level.STUDY)),
            get(BASE + "/series", self._searching(Level.SERIES)),
            get(BASE + "/instances", self._searching(Level.INSTANCE)),
            get(_STUDY + "/series", self._searching(Level.SERIES)),
            get(_STUDY + "/instances", self._searching(Level.INSTANCE)),
            get(_SERIES + "/instances", self._searching(Level.INSTANCE)),
            *(get(path, self._retrieve) for path in (_STUDY, _SERIES, _INSTANCE)),
            *(get(path + "/metadata", self._metadata) for path in (_STUDY, _SERIES, _INSTANCE)),
            get(_INSTANCE + "/frames/{frames}", self._frames),
            get(BASE + "/changefeed", self._changes),
            get(BASE + "/changefeed/latest", self._latest_change),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, with the faults it meets."""
        if scope["type"] != "http":
            return
        record = Recorded(scope["method"], scope["path"], scope["query_string"].decode("latin-1"))
        if self.requests is not None:
            self.requests.append(record)
        exchange = Exchange(scope, receive, send, record)
        plan = self._plan(scope["method"], scope["path"])
        scope["state"]["plan"] = plan
        fault = Misbehaviour(exchange, plan, self.closing)
        try:
            if not await fault.instead():
                await self._router(scope, fault.receive, fault.send)
                await fault.finish()
        except ClientDisconnect:
            await exchange.drop()
        except Exception as error:
            # Only the kind of the error is logged: its text may name a file, and a file's name is its UIDs.
            _log.warning("a request failed inside the sandbox: %s", type(error).__name__)
            await (exchange.drop() if exchange.started else exchange.answer(500, "Internal Server Error"))

    def turns_away(self) -> bool:
        """Say whether a connection just made is to be closed at once."""
        away = self.faults.shuts()
        if away and self.requests is not None:
            now = time.monotonic()
            self.requests.append(Recorded("(connection)", "", started=now, finished=now))
        return away

    def _plan(self, method: str, path: str) -> Plan:
        under_base = path == BASE or path.startswith(BASE + "/")
        return self.faults.begin(scope_of(method, path)) if under_base else Plan()

    async def _root(self, _: Request) -> Response:
        return PlainTextResponse(NOT_FOR_PATIENTS + "\n")

    async def _health(self, _: Request) -> Response:
        detail = {"name": "Shelf", "status": "Healthy", "description": NOT_FOR_PATIENTS}
        return _json({"overallStatus": "Healthy", "details": [detail]}, "application/json")

    @staticmethod
    async def _refusable(work: Awaitable[Response]) -> Response:
        try:
            return await work
        except Refusal as refusal:
            # Too large to be read to its end: without closing, the server would have to.
            headers = {"connection": "close"} if refusal.status == 413 else None
            return PlainTextResponse(refusal.text, refusal.status, headers)

    async def _store(self, request: Request) -> Response:
        return await self._refusable(self._stored(request))

    async def _stored(self, request: Request) -> Response:
        media.require_json(request.headers.get("accept"))
        boundary = media.boundary_of(request.headers.get("content-type"))
        order = Order(_base_url(request), _uids(request).get("study"), upsert=request.method == "PUT")
        if int(request.headers.get("content-length", "0")) > MOST_BYTES:
            raise Refusal(413, "The request is too large.")
        conduct = Conduct.of(request.state.plan)
        with Incoming(self._shelf.incoming) as incoming:
            spool, received = incoming.spool(boundary), 0
            async for chunk in request.stream():
                received += len(chunk)
                if received > MOST_BYTES:  # of a request that did not tell its length
                    raise Refusal(413, "The request is too large.")
                spool.feed(chunk)
            parts = spool.finish()
            if not parts:
                return Response(status_code=204)
            # Reading headers and moving files may take a while; other requests go on meanwhile.
            answer = await asyncio.to_thread(transaction, self._shelf, parts, order, conduct)
        warning = {"warning": f'299 {request.url.netloc} "{answer.warning}"'} if answer.warning else None
        return _json(answer.module, JSON, answer.status, warning)

    async def _delete(self, request: Request) -> Response:
        async def deleted() -> Response:
            if not await asyncio.to_thread(self._shelf.remove, **_uids(request)):
                raise Refusal(404, "There is no such instance here.")
            return Response(status_code=204)

        return await self._refusable(deleted())

    def _searching(self, level: Level) -> Endpoint:
        async def searched(request: Request) -> Response:
            media.require_json(request.headers.get("accept"))
            uids = {_KEYWORDS[name]: uid for name, uid in _uids(request).items()}
            query = search.parse(level, uids, request.query_params.multi_items())
            newest = self._newest(request.state.plan)
            if newest is not None:
                query.up_to(newest)
            found = await asyncio.to_thread(search.run, self._shelf, query, _base_url(request))
            return _json(found, JSON) if found else Response(status_code=204)

        async def endpoint(request: Request) -> Response:
            return await self._refusable(searched(request))

        return endpoint

    async def _retrieve(self, request: Request) -> Response:
        async def retrieved() -> Response:
            uids = _uids(request)
            forms = media.wanted(request.headers.get("accept"), DICOM, single="sop" in uids)
            return retrieve.instances(await self._found(request, uids), forms)

        return await self._refusable(retrieved())

    async def _frames(self, request: Request) -> Response:
        async def retrieved() -> Response:
            numbers = _frame_numbers(request.path_params.pop("frames"))
            forms = media.wanted(request.headers.get("accept"), OCTETS, JPEG_2000, single=len(numbers) == 1)
            [one] = await self._found(request, _uids(request))
            return await asyncio.to_thread(retrieve.frames, one, numbers, forms)

        return await self._refusable(retrieved())

    async def _metadata(self, request: Request) -> Response:
        async def described() -> Response:
            media.require_json(request.headers.get("accept"))
            uids = _uids(request)
            found = await self._found(request, uids)
            etag = retrieve.etag_of(found, one_instance="sop" in uids)
            return retrieve.metadata(found, etag, request.headers.get("if-none-match"))

        return await self._refusable(described())

    async def _found(self, request: Request, uids: dict[str, str]) -> list[Shelved]:
        newest = self._newest(request.state.plan)
        found = await asyncio.to_thread(self._shelf.find, **uids, newest=newest)
        if not found:
            raise Refusal(404, "There is no such instance here.")
        return found

    def _newest(self, plan: Plan) -> int | None:
        """Return the last watermark that reads may show, None for all."""
        if plan.get("emptied"):
            return 0
        lag = plan.get("lag")
        return self._shelf.newest_at(datetime.now(UTC) - timedelta(seconds=lag.seconds)) if lag else None

    async def _changes(self, request: Request) -> Response:
        async def listed() -> Response:
            window = changefeed.window(request.query_params)
            return _json(changefeed.page(self._shelf, *window), "application/json")

        return await self._refusable(listed())

    async def _latest_change(self, _: Request) -> Response:
        latest = changefeed.latest(self._shelf)
        return Response(status_code=204) if latest is None else _json(latest, "application/json")


def scope_of(method: str, path: str) -> str:
    """Return which faults a request meets beside `any` ones: store, search, retrieve, delete, or none."""
    parts = path.removeprefix(BASE).strip("/").split("/")
    if method in ("POST", "PUT") and parts[0] == "studies":
        return "store"
    if method == "DELETE" and parts[0] == "studies":
        return "delete"
    if method != "GET" or parts[0] not in ("studies", "series", "instances"):
        return ""
    return "search" if parts[-1] in ("studies", "series", "instances") else "retrieve"


def _uids(request: Request) -> dict[str, str]:
    """Return the UIDs in the path by name; 400 if one is malformed."""
    for uid in request.path_params.values():
        if not UID.fullmatch(uid):
            raise Refusal(400, "A UID in the path is malformed.")
    return dict(request.path_params)


def _frame_numbers(text: str) -> list[int]:
    """Read the frame list of a path: numbers from 1, separated by commas; 400 if it is not one."""
    if not re.fullmatch(r"[1-9]\d{0,8}(,[1-9]\d{0,8}){0,9999}", text, re.ASCII):
        raise Refusal(400, "The frames are not numbers from 1.")
    return [int(number) for number in text.split(",")]


def _base_url(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}{BASE}"


def _json(value: Any, media_type: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(value), status, headers, media_type=media_type)

"""Requests to one archive and the reading of their answers, bounded in time and memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ..errors import BadAnswer, NoAnswer, Refused, UsageProblem
from .archive import Archive
from .authorizer import Authorizer
from .bodies import Body
from .dicomjson import Dataset, clean_uid, rows
from .http import httpx
from .retry import short_retries
from .route import transport_to
from .throttle import Throttle
from .transport import HEADERS, Limit
from .wire import FAILURES, no_answer, refused, silence_loggers

DICOM_JSON: Final = "application/dicom+json"
NOT_DICOM_JSON: Final = (
    "the archive answered 200, and not with DICOM JSON: is the base URL its DICOMweb root?"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer read whole."""

    status: int
    headers: httpx.Headers
    body: bytes

    def rows(self, advice: Mapping[int, str] | None = None) -> list[Dataset]:
        """Say the datasets a Search or a metadata request found; 204 and 200 with [] both mean none.

        Raises Refused for any status but these two, BadAnswer if the body is not a DICOM JSON array.
        """
        if self.status == 204:
            return []
        if self.status != 200:
            raise refused(self.status, self.headers, advice)
        found = rows(self.body, self.headers.get("content-type", ""))
        if found is None:
            raise BadAnswer(NOT_DICOM_JSON, status=200)
        return found

    def json(self) -> object:
        """Say the JSON of a 200, else None."""
        if self.status != 200:
            return None
        try:
            found: object = json.loads(self.body)
            return found
        except (ValueError, RecursionError):
            return None


class Exchange:
    """A request that has been sent, and its answer, of which the status and headers are here."""

    def __init__(self, answer: httpx.Response, limit: Limit, body: Body | None, archive: Archive) -> None:
        self.status = answer.status_code
        self.headers = answer.headers
        self.content_type: str = answer.headers.get("content-type", "")
        self.body = body
        self._answer = answer
        self._limit = limit
        self._archive = archive

    @property
    def media_type(self) -> str:
        """Say the type of the answer's body, without parameters, in lower case."""
        return self.content_type.partition(";")[0].strip().lower()

    @property
    def tells_its_end(self) -> bool:
        """Say whether a body that breaks off can be told from one that ends (RFC 9112 6.3)."""
        return "content-length" in self.headers or "transfer-encoding" in self.headers

    def refusal(self, advice: Mapping[int, str] | None = None) -> Refused:
        """Say an answer that is no result as an error."""
        return refused(self.status, self.headers, advice)

    def chunks(self) -> Iterator[bytes]:
        """Give the answer's body as it comes; only waiting for the archive counts against the floor rate.

        Raises NoAnswer if it breaks off or is too slow, BadAnswer if it is compressed although we
        asked that it is not: a small answer could unpack into a huge one.
        """
        if self.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
            raise BadAnswer("the answer is compressed, which was not asked for", status=self.status)
        archive, chunks = self._archive, self._answer.iter_raw()
        waited, received_bytes = 0.0, 0
        while True:
            due_seconds = archive.idle_timeout + received_bytes / archive.floor_bytes_per_second
            self._limit.allow(archive.idle_timeout, due_seconds - waited)
            asked = time.monotonic()
            try:
                chunk = next(chunks, None)
            except FAILURES as error:
                raise _no_answer(error, self.body) from None
            waited += time.monotonic() - asked
            if chunk is None:
                return
            received_bytes += len(chunk)
            yield chunk

    def certificate(self) -> bytes:
        """Give the certificate (DER) that the archive showed for this request; b"" over plain http."""
        secure = self._answer.extensions["network_stream"].get_extra_info("ssl_object")
        return b"" if secure is None else secure.getpeercert(True) or b""

    def read(self) -> bytes:
        """Read the answer's body whole; raises BadAnswer too as soon as it is larger than the cap."""
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > self._archive.response_cap_bytes:
                raise BadAnswer("the answer is larger than any answer to this request", status=self.status)
        return bytes(body)


class Session:
    """One HTTP client for one archive: HTTP/1.1, no redirects, no cookies, nothing from the environment."""

    def __init__(self, archive: Archive, keepalive_seconds: float) -> None:
        silence_loggers()
        self.archive = archive
        self._authorizer = Authorizer(archive.auth, archive.network)
        self._throttle = Throttle(archive.bandwidth)
        self._transport = transport_to(
            archive.url, archive.network, keepalive_seconds, shows_certificate=True
        )

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def url(self, *segments: str) -> str:
        """Join path segments to the base URL; what is not a plain word of ours must be a checked UID."""
        return "/".join((self.archive.url, *segments))

    def resource(self, study: str, series: str | None = None, sop: str | None = None) -> str:
        """Say where a study, series or instance is (PS3.18 10.4.1); raises UsageProblem for no UID."""
        if sop is not None and series is None:
            raise UsageProblem("an instance is named with its study and its series; nothing was sent")
        names = zip(("studies", "series", "instances"), (study, series, sop), strict=True)
        return self.url(
            *(word for name, uid in names if uid is not None for word in (name, checked_uid(uid)))
        )

    @contextmanager
    def exchange(
        self,
        method: str,
        url: str,
        *,
        accept: str = DICOM_JSON,
        body: Callable[[], Body] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Exchange]:
        """Send one request, with a body made anew each time, and give the exchange while it is open.

        A request that never began is repeated for some seconds (`short_retries`); one that is answered
        401 is sent once more if there is a newer credential. Raises NoAnswer, SecretProblem, and
        unchanged whatever a part of the body raises.
        """
        asked = {"Accept": accept, **(headers or {})}
        exchange, answer = self._begin_surely(method, url, asked, body)
        if exchange.status == 401 and self._authorizer.renew(answer.request.headers.get("authorization")):
            answer.close()  # nothing was stored: it is said once more, with another credential
            exchange, answer = self._begin_surely(method, url, asked, body)
        try:
            yield exchange
        finally:
            answer.close()

    def get(self, url: str, *, accept: str = DICOM_JSON) -> Answer:
        """Get one resource of bounded size; the body of an answer that is not 200 may be left out."""
        return self.ask("GET", url, accept=accept)

    def ask(
        self, method: str, url: str, *, accept: str = DICOM_JSON, body: Callable[[], Body] | None = None
    ) -> Answer:
        """Send one request whose answer is of bounded size, as `get` does."""
        with self.exchange(method, url, accept=accept, body=body) as exchange:
            try:
                content = exchange.read()
            except (BadAnswer, NoAnswer):
                if exchange.status == 200:
                    raise
                content = b""
            return Answer(exchange.status, exchange.headers, content)

    def prove(self) -> None:
        """Ask the one question every DICOMweb archive answers: a search for any study.

        Returns if the base URL, the authorisation and the archive are good; else raises what they are not.
        """
        self.get(self.url("studies?limit=1")).rows()

    def _begin_surely(
        self, method: str, url: str, headers: dict[str, str], make_body: Callable[[], Body] | None
    ) -> tuple[Exchange, httpx.Response]:
        tries, seconds = self.archive.short_retries, self.archive.short_retry_seconds
        return short_retries(tries, seconds, self._begin, method, url, headers, make_body)

    def _begin(
        self, method: str, url: str, headers: dict[str, str], make_body: Callable[[], Body] | None
    ) -> tuple[Exchange, httpx.Response]:
        archive = self.archive
        body = None if make_body is None else make_body()
        headers = {**HEADERS, **headers}
        if credential := self._authorizer.header():
            headers["Authorization"] = credential
        if body is None:
            limit = Limit.starting(archive.answer_timeout, archive.connect_timeout + archive.answer_timeout)
        else:
            limit = Limit.starting(archive.idle_timeout, archive.connect_timeout + archive.idle_timeout)
            headers["Content-Type"] = body.content_type
            headers["Content-Length"] = str(body.content_length)
        timeouts = {
            "connect": archive.connect_timeout,
            "pool": archive.connect_timeout,
            "read": limit,
            "write": limit,
        }
        try:
            request = httpx.Request(
                method,
                _parsed(url),
                headers=headers,
                content=None if body is None else _Upload(body, limit, archive, self._throttle),
                extensions={"timeout": timeouts},
            )
            answer = self._transport.handle_request(request)
        except FAILURES as error:
            failure = _no_answer(error, body)
        else:
            return Exchange(answer, limit, body, archive), answer
        raise failure  # not with httpx's error behind it: that would keep the piece that was being sent


class _Upload:
    """A body on its way: held to the floor rate while it is produced, then given time to be stored."""

    def __init__(self, body: Body, limit: Limit, archive: Archive, throttle: Throttle) -> None:
        self._body = body
        self._limit = limit
        self._archive = archive
        self._throttle = throttle

    def __iter__(self) -> Iterator[bytes]:
        idle, floor = self._archive.idle_timeout, self._archive.floor_bytes_per_second
        self._limit.allow(idle, idle + self._body.content_length / floor)
        for chunk in self._body:  # each write looks at the limit: a slow disk counts as well
            for piece, held_seconds in self._throttle.slowed(chunk):
                self._limit.extend(held_seconds)
                yield piece
        self._limit.allow(self._archive.answer_timeout, self._archive.answer_timeout)


_parsed: Final = lru_cache(maxsize=16)(httpx.URL)
"""A URL as httpx reads it: nearly all Stores go to the same one."""


def _no_answer(error: Exception, body: Body | None) -> NoAnswer:
    if body is None:
        return no_answer(error)
    return no_answer(error, sent_bytes=body.sent_bytes, total_bytes=body.content_length)


def checked_uid(uid: str) -> str:
    """Say the UID if it may stand in a URL: digits and dots, at most 64; raises UsageProblem."""
    if clean_uid(uid) != uid:
        raise UsageProblem(
            "what should be a UID is none; nothing was sent", hint="a UID is 1 to 64 digits and dots."
        )
    return uid

"""The Store transaction (PS3.18 10.5): whatever comes back is an answer, and is read at every status."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..errors import BadAnswer, NoAnswer
from .bodies import Body
from .dicomjson import clean_text
from .response import StoreResponse, parse
from .session import Exchange, Session, checked_uid
from .wire import retry_after_seconds

_PLAIN_REFUSALS: Final = frozenset({401, 403, 404, 405, 406, 411, 413, 415, 421, 429, 431})
"""Statuses that need no body to be understood: nothing was stored (PS3.18 10.5.3, RFC 9110)."""


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """What came back from one Store, at whatever status; what it means per instance is not said here.

    `response` is None if the body was no Store Instances Response Module; `excerpt` then has its
    first words, for the ledger alone. `complete` says that the whole body had been taken when the
    answer came: an answer to half a request proves nothing about the rest, not even 200.
    """

    status: int
    response: StoreResponse | None
    retry_after_seconds: float | None
    sent_bytes: int
    total_bytes: int
    complete: bool
    excerpt: str = ""


def store(session: Session, method: str, study: str | None, body: Callable[[], Body]) -> StoreAnswer:
    """POST, or PUT where that replaces, to /studies or /studies/{study}."""
    url = session.url("studies") if study is None else session.url("studies", checked_uid(study))
    with session.exchange(method, url, body=body) as exchange:
        return _answer(exchange)


def _answer(exchange: Exchange) -> StoreAnswer:
    body = exchange.body
    assert body is not None  # noqa: S101 - a Store has one
    sent_bytes, complete = body.sent_bytes, body.exhausted
    raw = b""
    try:
        raw = exchange.read()
    except BadAnswer as error:  # too large, or compressed: no module, but the status stands
        raw = error.message.encode()
    except NoAnswer:
        if exchange.status not in _PLAIN_REFUSALS and exchange.status < 500:
            raise
    response = parse(raw, exchange.content_type)
    return StoreAnswer(
        status=exchange.status,
        response=response,
        retry_after_seconds=retry_after_seconds(exchange.headers),
        sent_bytes=sent_bytes,
        total_bytes=body.content_length,
        complete=complete,
        excerpt="" if response else clean_text(raw[:4000].decode("utf-8", "replace"), 500),
    )

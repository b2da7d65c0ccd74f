"""One request to a server that is no archive, as strictly as to one: verified, bounded, not redirected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from .http import httpx
from .network import Network
from .route import transport_to
from .transport import HEADERS, Limit
from .wire import FAILURES, no_answer, silence_loggers

_CONNECT_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 10.0
_TOTAL_SECONDS: Final = 30.0


@contextmanager
def asked(
    method: str,
    url: str,
    network: Network,
    whose: str,
    headers: Mapping[str, str] | None = None,
    content: bytes = b"",
) -> Iterator[httpx.Response]:
    """Send one request, and give its answer with the body still to be read, all of it within half a minute.

    Raises NoAnswer, in whose words `whose` answer it was to be; ArchiveProblem, SecretProblem or
    UsageProblem for a network that cannot be used.
    """
    silence_loggers()
    limit = Limit.starting(_IDLE_SECONDS, _TOTAL_SECONDS)
    timeouts = {"connect": _CONNECT_SECONDS, "pool": _CONNECT_SECONDS, "read": limit, "write": limit}
    transport = transport_to(url, network, keepalive_seconds=0)
    try:
        request = httpx.Request(
            method,
            url,
            headers={**HEADERS, **(headers or {})},
            content=content,
            extensions={"timeout": timeouts},
        )
        answer = transport.handle_request(request)
        try:
            yield answer
        finally:
            answer.close()
    except FAILURES as error:
        raise no_answer(error, whose) from None
    finally:
        transport.close()


def told(
    method: str,
    url: str,
    network: Network,
    whose: str,
    headers: Mapping[str, str] | None = None,
    content: bytes = b"",
) -> int:
    """Send one request of which nothing but the status of its answer matters, and give that; as `asked`."""
    with asked(method, url, network, whose, headers, content) as answer:
        return answer.status_code

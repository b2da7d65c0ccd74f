"""In plain words: what every failure on the wire means, and what an archive that refuses is telling us.

Messages made here never hold a URL, a UID, a secret or text the archive sent: they may be logged.
"""

from __future__ import annotations

import logging
import math
import re
import socket
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from ..errors import NoAnswer, NotThere, Refused
from .http import httpx

WHY: Final[dict[type[Exception], str]] = {
    httpx.HTTPError: "broken",
    httpx.RequestError: "broken",
    httpx.TransportError: "broken",
    httpx.TimeoutException: "timeout",
    httpx.ConnectTimeout: "unreachable",
    httpx.PoolTimeout: "unreachable",
    httpx.ReadTimeout: "timeout",
    httpx.WriteTimeout: "timeout",
    httpx.NetworkError: "broken",
    httpx.ConnectError: "unreachable",  # refused, no such host, no route, TLS refused
    httpx.ReadError: "broken",
    httpx.WriteError: "broken",
    httpx.CloseError: "broken",
    httpx.ProxyError: "unreachable",
    httpx.ProtocolError: "broken",
    httpx.RemoteProtocolError: "broken",  # the same before, while and after the body is sent
    httpx.LocalProtocolError: "local",
    httpx.UnsupportedProtocol: "local",
    httpx.InvalidURL: "local",
    httpx.DecodingError: "broken",
    httpx.TooManyRedirects: "local",
    httpx.HTTPStatusError: "local",
    httpx.CookieConflict: "local",
    httpx.StreamError: "local",
    httpx.StreamConsumed: "local",
    httpx.StreamClosed: "local",
    httpx.ResponseNotRead: "local",
    httpx.RequestNotRead: "local",
}
"""What each exception of httpx means for the archive: never reached, broken off, too slow, or our fault."""

FAILURES: Final = tuple(WHY)

_SENTENCES: Final = {
    "unreachable": "no connection",
    "broken": "the connection to {} broke before an answer was complete",
    "timeout": "{} did not take the request, or did not answer, in time",
    "local": "the request could not be made",
}

_LATE: Final = {
    "ConnectTimeout": "timed out",
    "PoolTimeout": "timed out",
    "ReadTimeout": "while it was waited for",
    "WriteTimeout": "while it was sent",
}
"""What a person reads in the place of a name of httpx's."""

_LONGEST_RETRY_AFTER: Final = 3600.0
_STATUS: Final = re.compile(r"[1-5][0-9]{2}\b", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)

_ADVICE: Final = {
    400: "the archive does not understand the request: is the base URL its DICOMweb root?",
    401: "the credential was not accepted: check it, and that it has not expired.",
    403: "the credential is known but may not do this: give its role the right to read and to store.",
    404: (
        "nothing answers there: does the base URL need a version or a path "
        "(/v2, /dicom-web, /dcm4chee-arc/aets/AE/rs)?"
    ),
    405: "the archive does not offer this request at this base URL.",
    406: "the archive does not answer in application/dicom+json: is the base URL its DICOMweb root?",
    407: "the proxy does not accept our credential: check proxy_username and proxy_password_from.",
    413: "the request is larger than the archive, or a proxy before it, accepts.",
    415: "the archive does not take this media type: is the base URL its DICOMweb root?",
    429: "the archive asks for fewer requests; nothing needs to be done.",
    501: "the archive does not offer this request.",
    503: "the archive, or a proxy before it, is busy or down for the moment.",
}


def silence_loggers() -> None:
    """Keep httpx and httpcore from logging what they log below WARNING: whole URLs, and so UIDs."""
    for name in ("httpx", "httpcore"):
        logger = logging.getLogger(name)
        if logger.level < logging.WARNING:
            logger.setLevel(logging.WARNING)


def no_answer(
    error: Exception, whose: str = "the archive", *, sent_bytes: int = 0, total_bytes: int = 0
) -> NoAnswer:
    """Say a failure of httpx's as ours, the nearest class of `WHY` deciding; `whose` answer it is."""
    why = next((WHY[cls] for cls in type(error).__mro__ if cls in WHY), "broken")
    sentence = f"{_SENTENCES[why].format(whose)} ({_cause(error)})"
    return NoAnswer(why, sentence, sent_bytes=sent_bytes, total_bytes=total_bytes)


def _cause(error: BaseException) -> str:
    """The deepest cause in the operating system's or OpenSSL's words, else its kind: never its text."""
    name = type(error).__name__
    name = _LATE.get(name, name)
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, httpx.ProxyError) and _STATUS.match(str(found)):
            return f"the proxy answered {str(found)[:3]}"
        if isinstance(found, ssl.SSLCertVerificationError):
            return f"its TLS certificate was not accepted: {found.verify_message}"
        if isinstance(found, ssl.SSLError):
            return f"TLS failed: {found.reason or 'no reason given'}"
        if isinstance(found, socket.gaierror):
            return "its host name cannot be resolved"
        if isinstance(found, OSError) and found.strerror:
            return found.strerror
        found = found.__cause__ or found.__context__
    return name


def refused(status: int, headers: httpx.Headers, advice: Mapping[int, str] | None = None) -> Refused:
    """Say an answer that is no result as an error with what to do about it.

    `advice` has what a status means to this request, where that is not what it means to most.
    """
    if 300 <= status < 400:
        hint = "it sends us elsewhere, which is never followed: put the final address into the config."
    else:
        hint = (advice or {}).get(status) or _ADVICE.get(status) or ""
        hint = hint or ("it is tried again." if status >= 500 else "check the base URL.")
    kind = NotThere if status in (404, 410) else Refused
    return kind(
        f"the archive answered {status}",
        hint=hint,
        status=status,
        retry_after_seconds=retry_after_seconds(headers),
    )


def retry_after_seconds(headers: httpx.Headers, now: float | None = None) -> float | None:
    """Say what Retry-After asks for, 0 to 3600 s; None if it says nothing sensible (RFC 9110 10.2.3).

    A date counts from the answer's own Date where it has one: clocks differ. `now` is Unix seconds.
    """
    value = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(value):
        return min(float(value), _LONGEST_RETRY_AFTER)
    until = _date(value)
    if until is None:
        return None
    since = _date(headers.get("date", ""))
    if since is None:
        since = time.time() if now is None else now
    seconds = until - since
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER) if math.isfinite(seconds) else None


def _date(value: str) -> float | None:
    try:
        moment: datetime = parsedate_to_datetime(value[:100])
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None

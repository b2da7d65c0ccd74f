"""Who may ask, and what every answer says to a browser: a few rules around the whole application."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicomsync import addresses
from dicomsync.errors import SecretProblem

OPEN = ("/healthz", "/readyz")  # yes or no, for those who restart and route: without the token

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Answers only requests to a name of ours, with the token where there is one, that change nothing."""

    def __init__(self, app: ASGIApp, names: tuple[str, ...], token: Callable[[], str] | None) -> None:
        self._app = app
        self._names = names
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on, or refuse it; either way with the headers."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if scope["type"] == "http":
            await (self._refusal(scope) or self._app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not addresses.admits(hosts[0], self._names):
            return _plain(421, "This name is not one of this page's: add it to hosts in [web] of the config.")
        if scope["method"] not in ("GET", "HEAD"):
            return _plain(405, "Nothing can be changed here.", {"allow": "GET, HEAD"})
        if self._token is None or scope["path"] in OPEN:
            return None
        try:
            known = self._token()
        except SecretProblem as problem:
            return _plain(503, f"{problem.message}. {problem.hint}")
        if _same(given(headers.get("authorization", "")), known):
            return None
        challenge = {"www-authenticate": 'Basic realm="dicomsync", charset="UTF-8"'}
        return _plain(401, "This needs the token, as a password (any name) or as a bearer token.", challenge)


def given(authorization: str) -> str:
    """Give the token out of an Authorization header: a bearer token, or the password; "" if there is none."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest, validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _same(ours: str, theirs: str) -> bool:
    return hmac.compare_digest(ours.encode(), theirs.encode())


def _plain(status: int, words: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{words}\n", status, headers)

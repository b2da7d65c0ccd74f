"""Asking a token endpoint for a token: OAuth2 client credentials (RFC 6749 4.4), as strictly as an archive.

Written here, on the transport that bounds and verifies everything, because it is one POST: the libraries for
it bring an HTTP session of their own that follows redirects and reads the environment. What the
endpoint says is never repeated, but for the error codes that the standard lists.
"""

from __future__ import annotations

import base64
import json
import time
from typing import Any, Final
from urllib.parse import quote_plus, urlencode, urlsplit

from ..errors import ArchiveProblem, NoAnswer, Refused, SecretProblem, UsageProblem
from .auth import ClientCredentials
from .http import httpx
from .network import Network
from .once import asked
from .secrets import SecretReader
from .tokens import Token, usable
from .urls import check_token_url
from .wire import retry_after_seconds

_MOST_BYTES: Final = 256 << 10
_UNKNOWN_LIFETIME_SECONDS: Final = 300.0  # "expires_in" is only recommended (RFC 6749 5.1)
_BUSY: Final = (429, 500, 502, 503, 504)

_ADVICE: Final = {
    "invalid_client": "the issuer does not accept this client_id with this secret: has the secret expired?",
    "unauthorized_client": "this client may not use the client credentials grant: allow it at the issuer.",
    "unsupported_grant_type": "the issuer does not offer client credentials: is token_url the right one?",
    "invalid_scope": "the issuer does not know this scope, or does not give it to this client.",
    "invalid_target": "the issuer does not know this resource or audience (RFC 8707).",
    "invalid_request": "the issuer misses something: does it need a scope, an audience or a resource?",
    "invalid_grant": "the issuer does not grant it: look at this client's rights there.",
}
"""What the error codes of RFC 6749 5.2 and RFC 8707 2 ask for."""


class TokenEndpoint:
    """The endpoint of one issuer, and what we say to it."""

    def __init__(self, auth: ClientCredentials, network: Network) -> None:
        problem = check_token_url(auth.token_url)
        if problem:
            raise UsageProblem(f"token_url cannot be used: {problem}; nothing was sent")
        self._auth = auth
        if urlsplit(auth.token_url).scheme == "http":  # this machine: no proxy is to see it
            network = Network()
        self._network = network
        self._secret = SecretReader(auth.client_secret, "client secret")

    def fetch(self) -> Token:
        """Ask for a token; raises SecretProblem where a person must act, or NoAnswer, Refused."""
        headers, form = self._request()
        asked_at = time.monotonic()
        status, answer_headers, body = self._post(headers, form)
        if status in _BUSY:
            raise Refused(
                f"no token: the token endpoint answered {status}",
                hint="it is tried again.",
                status=status,
                retry_after_seconds=retry_after_seconds(answer_headers),
            )
        said = _json(body)
        if status != 200:
            raise _refusal(status, said)
        value, kind = said.get("access_token"), said.get("token_type", "bearer")
        if not usable(value) or not isinstance(kind, str) or kind.lower() != "bearer":
            raise _no_token("answered 200, and not with a bearer token", "Is token_url the right one?")
        return Token(str(value), asked_at, _lifetime_seconds(said.get("expires_in")))

    def _request(self) -> tuple[dict[str, str], dict[str, str]]:
        """Say headers and form; the client is named in one of them, as RFC 6749 2.3.1 says."""
        auth, secret = self._auth, self._secret.read()
        form = {"grant_type": "client_credentials"}
        form |= {key: value for key in ("scope", "audience", "resource") if (value := getattr(auth, key))}
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        if auth.client_auth == "post":
            form |= {"client_id": auth.client_id, "client_secret": secret}
        else:
            pair = f"{quote_plus(auth.client_id)}:{quote_plus(secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"
        return headers, form

    def _post(self, headers: dict[str, str], form: dict[str, str]) -> tuple[int, httpx.Headers, bytes]:
        url, content = self._auth.token_url, urlencode(form).encode()
        try:
            with asked("POST", url, self._network, "the token endpoint", headers, content) as answer:
                return answer.status_code, answer.headers, _capped(answer)
        except NoAnswer as failure:
            raise NoAnswer("unreachable", f"no token from the token endpoint: {failure.message}") from None


def _capped(answer: httpx.Response) -> bytes:
    body = bytearray()
    if answer.headers.get("content-encoding", "identity").strip().lower() != "identity":
        return b""  # not asked for, and a small one could unpack into a huge one
    for chunk in answer.iter_raw():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise _no_token("gave an answer larger than any token", "Is token_url the right one?")
    return bytes(body)


def _json(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _refusal(status: int, said: dict[str, Any]) -> ArchiveProblem:
    code = said.get("error")
    if isinstance(code, str) and code in _ADVICE:
        return _no_token(f"answered {status}, {code}", _ADVICE[code])
    if 300 <= status < 400:
        hint = "it sends us elsewhere, which is never followed: put the final address into token_url."
    elif status in (401, 403):
        hint = _ADVICE["invalid_client"]
    else:
        hint = "is token_url the right one?"
    return _no_token(f"answered {status}", hint)


def _no_token(what: str, hint: str) -> SecretProblem:
    return SecretProblem(f"no credential: the token endpoint {what}; the archive was sent nothing", hint=hint)


def _lifetime_seconds(said: object) -> float:
    """Say how long a token lives; some issuers say it as text."""
    if isinstance(said, str) and said.isascii() and said.isdigit():
        said = int(said[:9])
    if isinstance(said, (int, float)) and not isinstance(said, bool) and 0 <= said < 2**31:  # NaN is not
        return float(said)
    return _UNKNOWN_LIFETIME_SECONDS

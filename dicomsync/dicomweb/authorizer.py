"""Making the Authorization header for one archive, from what its config says of us."""

from __future__ import annotations

import base64
import re
from typing import Final

from ..errors import ArchiveProblem, SecretProblem
from .auth import Auth, Azure, Basic, Bearer, ClientCredentials, NoAuth
from .azure import EntraTokens
from .network import Network
from .oauth import TokenEndpoint
from .secrets import SecretReader
from .tokens import Renewing, Token, usable

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SCHEME: Final = "Bearer "


class Authorizer:
    """Says the header's value to any number of threads; raises UsageProblem for a config that is wrong."""

    def __init__(self, auth: Auth, network: Network | None = None) -> None:
        self._auth = auth
        self._reader: SecretReader | None = None
        self._tokens: Renewing | None = None
        network = network or Network()
        match auth:
            case Basic(password=secret):
                self._reader = SecretReader(secret, "password")
            case Bearer(token=secret):
                self._reader = SecretReader(secret, "token")
            case ClientCredentials():
                self._tokens = Renewing(TokenEndpoint(auth, network).fetch)
            case Azure():
                self._tokens = Renewing(EntraTokens(auth, network).fetch)
            case NoAuth():
                pass

    def header(self) -> str | None:
        """Say the header's value now, None without authentication.

        Raises SecretProblem; where a token has to be got for it, also NoAnswer and Refused.
        """
        if self._tokens is not None:
            return _SCHEME + self._tokens.token().value
        if self._reader is None:
            return None
        secret = self._reader.read()
        if isinstance(self._auth, Basic):
            return _basic(self._auth.username, secret, self._reader)
        if not usable(secret):
            raise self._reader.problem("holds blanks or other characters that no token has")
        return _SCHEME + secret

    def renew(self, rejected: str | None) -> bool:
        """Tell whether there is another header to try, now that the archive has rejected this one (401).

        A token of ours is renewed, once for all who held it; a secret in a file may have changed since.
        Never raises: where there is no other, the archive's answer stands.
        """
        try:
            if self._tokens is not None and rejected is not None:
                return (
                    self._tokens.instead_of(rejected.removeprefix(_SCHEME)).value != rejected[len(_SCHEME) :]
                )
            return self.header() != rejected
        except ArchiveProblem:
            return False

    def token(self) -> Token | None:
        """Give the token of the moment where it is we who get it, None else; raises as `header` does."""
        return None if self._tokens is None else self._tokens.token()


def _basic(username: str, password: str, reader: SecretReader) -> str:
    if _CONTROL.search(password):
        raise reader.problem("holds control characters")
    if ":" in username or _CONTROL.search(username):
        raise SecretProblem(
            "no credential: the user name holds a colon or control characters; nothing was sent",
            hint="Basic authentication cannot carry it (RFC 7617 2): correct the config.",
        )
    pair = base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
    return f"Basic {pair}"

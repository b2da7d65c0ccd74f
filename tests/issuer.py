"""A token endpoint that counts what it gives, an archive that takes its tokens, and certificates."""

from __future__ import annotations

import itertools
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs

import trustme

from .scripted_server import Request, ScriptedServer, answer, answering

CLIENT, CLIENT_SECRET = "dicomsync", "zzclient-s3cr3t/+ %ä"
PREFIX = "zztoken-"


class Issuer:
    """Gives "zztoken-1", "zztoken-2" and so on; `respond`, if set, answers instead."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.lifetime_seconds: object = 3600
        self.more: Mapping[str, object] = {}
        self.respond: Callable[[Request], bytes] | None = None
        self._numbers = itertools.count(1)
        self._given: list[str] = []
        self._revoked: set[str] = set()
        self._lock = threading.Lock()
        self.server = ScriptedServer(answering(self._answer), tls=tls)
        self.url = self.server.url.removesuffix("/v2") + "/token"

    def __enter__(self) -> Issuer:
        self.server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.__exit__(kind, error, trace)

    @property
    def asked(self) -> int:
        """How many requests came."""
        return len(self.server.seen)

    def revoke_all(self) -> None:
        """Let the archive take no token given so far."""
        with self._lock:
            self._revoked |= set(self._given)

    def admits(self, request: Request) -> bool:
        """Tell whether an archive that trusts this issuer lets a request in."""
        with self._lock:
            good = set(self._given) - self._revoked
        return request.headers.get("authorization", "").removeprefix("Bearer ") in good

    def form(self, at: int = -1) -> dict[str, str]:
        """Give what was asked for."""
        return {key: value for key, (value,) in parse_qs(self.server.seen[at].body.decode("ascii")).items()}

    def _answer(self, request: Request) -> bytes:
        if self.respond is not None:
            return self.respond(request)
        with self._lock:
            token = f"{PREFIX}{next(self._numbers)}"
            self._given.append(token)
        said = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": self.lifetime_seconds,
            **self.more,
        }
        return answer(200, json.dumps(said).encode(), Content_Type="application/json")


def guarded(
    issuer: Issuer, respond: Callable[[Request], bytes], tls: ssl.SSLContext | None = None
) -> ScriptedServer:
    """Make an archive that answers whoever shows a good token, and 401 to all others."""
    return ScriptedServer(
        answering(lambda request: respond(request) if issuer.admits(request) else answer(401, b"no")),
        tls=tls,
    )


class Authority:
    """A certificate authority of a site, for servers on loopback and for clients."""

    def __init__(self, home: Path, name: str = "ca") -> None:
        self._home = home
        self._ca = trustme.CA()
        self.file = str(home / f"{name}.pem")
        self._ca.cert_pem.write_to_path(self.file)

    def server(
        self, *names: str, asks: Authority | None = None, until: datetime | None = None
    ) -> ssl.SSLContext:
        """Give what a server presents itself with; `asks`: whose clients alone it lets in."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made = self._ca.issue_cert(*(names or ("127.0.0.1", "localhost")), not_after=until)
        made.configure_cert(context)
        if asks is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cafile=asks.file)
        return context

    def client(self, name: str) -> tuple[str, str]:
        """Give the files of a client's certificate and of its key."""
        made = self._ca.issue_cert(f"{name}@site.example", key_type=trustme.KeyType.RSA)
        certificate, key = self._home / f"{name}.crt", self._home / f"{name}.key"
        made.cert_chain_pems[0].write_to_path(str(certificate))
        made.private_key_pem.write_to_path(str(key))
        return str(certificate), str(key)

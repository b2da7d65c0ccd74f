"""TLS certificates, the archive's and ours: when does each end?"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from dicomsync import dicomweb
from dicomsync.dicomweb.session import Session
from dicomsync.errors import DicomsyncError

LOOK_SECONDS = 6 * 3600.0
AGAIN_SECONDS = 900.0  # after a look at an archive that did not answer

UNREADABLE = (OSError, ValueError, IndexError, DicomsyncError)
"""What a look may raise: no connection, not TLS, no certificate that can be read."""


class Certificates:
    """Looks at the certificates of one archive now and then, by a hand of its own."""

    def __init__(self, archive: dicomweb.Archive, hands: Executor) -> None:
        self._archive = archive
        self._hands = hands
        self._look: Future[dict[str, float]] | None = None
        self._next_at = float("-inf")
        self.ends: Mapping[str, float] = {}
        """When they end (Unix seconds): `archive`, `client`; what could not be looked at is as it was."""

    def turn(self, mono: float) -> None:
        """Take what a look found, and begin another where it is time."""
        if self._look is not None and self._look.done():
            found, self._look = self._look.result(), None
            self.ends = {**self.ends, **found}
            complete = "archive" in found or not _has_one(self._archive)
            self._next_at = mono + (LOOK_SECONDS if complete else AGAIN_SECONDS)
        if self._look is None and mono >= self._next_at:
            self._look = self._hands.submit(look, self._archive)


def look(archive: dicomweb.Archive) -> dict[str, float]:
    """Give when the archive's certificate (`archive`) and ours (`client`) end, as far as that can be seen."""
    found = {}
    with contextlib.suppress(*UNREADABLE):
        if _has_one(archive):
            found["archive"] = of_archive(archive)
    with contextlib.suppress(*UNREADABLE):
        if archive.network.client_certificate is not None:
            found["client"] = of_file(archive.network.client_certificate)
    return found


def _has_one(archive: dicomweb.Archive) -> bool:
    return urlsplit(archive.url).scheme == "https"


def of_archive(archive: dicomweb.Archive) -> float:
    """Say when an archive's certificate ends, trusted or not (Unix seconds); raises UNREADABLE."""
    if archive.network.proxy is not None:
        return expiry(_shown_through_proxy(archive))
    parts = urlsplit(archive.url)
    return expiry(_shown(parts.hostname or "", parts.port or 443))


def of_file(path: str) -> float:
    """Say when the first certificate of a PEM file ends (Unix seconds); raises UNREADABLE."""
    text = Path(path).read_text("ascii", "replace")
    begin, end = text.index(ssl.PEM_HEADER), text.index(ssl.PEM_FOOTER)
    return expiry(ssl.PEM_cert_to_DER_cert(text[begin : end + len(ssl.PEM_FOOTER)]))


def _shown(host: str, port: int) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent; one that is not trusted also has an end
    with (
        socket.create_connection((host, port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        return secure.getpeercert(binary_form=True) or b""


def _shown_through_proxy(archive: dicomweb.Archive) -> bytes:
    """Take it from an ordinary request: nobody is to be reached but through the proxy."""
    session = Session(archive, keepalive_seconds=0)
    try:
        with session.exchange("GET", session.url("studies?limit=1")) as exchange:
            return exchange.certificate()
    finally:
        session.close()


def expiry(der: bytes) -> float:
    """Say when a certificate ends, in Unix seconds (RFC 5280 4.1); raises ValueError, IndexError."""
    inner = _fields(_fields(_fields(der)[0][1])[0][1])
    at = 4 if inner[0][0] == 0xA0 else 3  # the version comes first, unless it is 1
    tag, value = _fields(inner[at][1])[1]
    text = value.decode("ascii")
    if tag == 0x17:  # UTCTime: two digits of the year, 50 is 1950
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _fields(der: bytes) -> list[tuple[int, bytes]]:
    """Take DER apart, one level: tags and contents."""
    found, at = [], 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            more = length & 0x7F
            length, at = int.from_bytes(der[at : at + more]), at + more
        found.append((tag, der[at : at + length]))
        at += length
    return found

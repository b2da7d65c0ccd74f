"""TLS certificates, the archive's and ours: when does each end?"""

from __future__ import annotations

import socket
import ssl
import time
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from dicomsync import dicomweb
from dicomsync.dicomweb.session import Session
from dicomsync.dicomweb.urls import is_loopback
from dicomsync.doctor.archive import brisk
from dicomsync.doctor.check import Check, ok, problem, warning
from dicomsync.errors import DicomsyncError
from dicomsync.words import count

EXPIRY_DAYS: Final = 30.0


def examine(archive: dicomweb.Archive) -> list[Check]:
    """When does the archive's end? Whether it is trusted, the archive's own check has told."""
    parts = urlsplit(archive.url)
    if parts.scheme != "https":
        if is_loopback(archive.url):
            return [ok("certificate", "none: http, on this machine")]
        words = "none: over http, images and credentials can be read on their way"
        return [warning("certificate", words, "Use https, unless the network is trusted with both.")]
    try:
        if archive.network.proxy is None:
            return [told("certificate", expiry(_shown(parts.hostname or "", parts.port or 443)))]
        return [told("certificate", expiry(_shown_through_proxy(archive)))]
    except (OSError, ValueError, IndexError, DicomsyncError):
        return [warning("certificate", "could not be looked at: no TLS connection, or not to be read")]


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
    session = Session(brisk(archive), keepalive_seconds=0)
    try:
        with session.exchange("GET", session.url("studies?limit=1")) as exchange:
            return exchange.certificate()
    finally:
        session.close()


def told(name: str, ends: float) -> Check:
    """Say when a certificate ends, and whether that is soon."""
    days = (ends - time.time()) / 86400
    if days <= 0:
        return problem(name, f"it has expired, {count(int(-days), 'day')} ago", "Renew it.")
    if days < EXPIRY_DAYS:
        return warning(name, f"it expires in {count(int(days), 'day')}", "Renew it in time.")
    return ok(name, f"it expires in {count(int(days), 'day')}")


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

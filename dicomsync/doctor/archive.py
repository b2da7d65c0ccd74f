"""The archive: our credential, does it answer and what is it, its certificate, its clock."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import stat
import time
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from dicomsync import dicomweb
from dicomsync.dicomweb.auth import Authorizer
from dicomsync.dicomweb.session import Session
from dicomsync.doctor.check import Check, ok, problem, warning
from dicomsync.errors import ArchiveProblem, DicomsyncError
from dicomsync.words import count, span

CLOCK_SECONDS: Final = 60.0
EXPIRY_DAYS: Final = 30.0


def credential(archive: dicomweb.Archive) -> list[Check]:
    """Can it be read, and by whom else?"""
    match archive.auth:
        case dicomweb.Basic(password_file=path) | dicomweb.Bearer(token_file=path):
            pass
        case _:
            return [ok("credential", "none is configured")]
    try:
        Authorizer(archive.auth).header()
    except ArchiveProblem as error:
        hint = "Files below /run/credentials are there only for the service, while it runs."
        return [problem("credential", error.message, hint if "/run/credentials/" in path else error.hint)]
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o027:
        words = f"{path} can be read or changed by others (mode {mode:04o})"
        return [warning("credential", words, f"chmod 0640 {path}" if mode & 0o007 else f"chmod g-w {path}")]
    return [ok("credential", f"{path} can be read, and not by everyone")]


def brisk(archive: dicomweb.Archive) -> dicomweb.Archive:
    """Be less patient than a daemon is: a person is waiting."""
    return replace(archive, connect_timeout=5, answer_timeout=15, short_retries=1)


def answers(archive: dicomweb.Archive) -> list[Check]:
    """Is it reached, does it let us in, does it search, and is it what the config says?"""
    client = dicomweb.Client(replace(brisk(archive), kind="auto"))
    try:
        found = client.identify()
    except DicomsyncError as error:
        todo = error.hint or "Is it running, is archive.url right, and does every firewall let us through?"
        return [problem("archive", f"{archive.url}: {error.message}", todo)]
    finally:
        client.close()
    words = f"{archive.url} lets us in and answers searches: {found.says}"
    if archive.kind not in ("auto", found.kind) and found.kind != "generic":
        return [warning("archive", f'{words}, not "{archive.kind}"', 'Leave archive.kind at "auto".')]
    return [ok("archive", words)]


def certificate(url: str) -> list[Check]:
    """When does its TLS certificate end? Whether it is trusted, the archive's own check has told."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https":
        if _is_here(host):
            return [ok("certificate", "none: http, on this machine")]
        words = "none: over http, images and credentials can be read on their way"
        return [warning("certificate", words, "Use https, unless the network is trusted with both.")]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent; one that is not trusted also has an end
    try:
        with (
            socket.create_connection((host, parts.port or 443), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            ends = expiry(secure.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError, IndexError):
        return [warning("certificate", "could not be looked at: no TLS connection, or not to be read")]
    days = (ends - time.time()) / 86400
    if days <= 0:
        return [problem("certificate", f"it has expired, {count(int(-days), 'day')} ago", "Renew it.")]
    if days < EXPIRY_DAYS:
        return [warning("certificate", f"it expires in {count(int(days), 'day')}", "Renew it in time.")]
    return [ok("certificate", f"it expires in {count(int(days), 'day')}")]


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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


def clock(archive: dicomweb.Archive) -> list[Check]:
    """Compare our clock with the Date of an answer, whatever the answer says (RFC 9110 6.6.1)."""
    session = Session(brisk(archive), keepalive_seconds=0)
    before = time.time()
    try:
        answer = session.get(session.url("studies?limit=1"))
    except DicomsyncError:
        return [warning("clock", "could not be compared: there was no answer from the archive")]
    finally:
        session.close()
    between = (before + time.time()) / 2
    try:
        theirs = parsedate_to_datetime(answer.headers.get("date", ""))
    except (ValueError, TypeError):
        return [ok("clock", "could not be compared: this archive does not say what time it is")]
    off = between - theirs.replace(tzinfo=theirs.tzinfo or UTC).timestamp()
    words = f"{span(abs(off))} {'ahead of' if off > 0 else 'behind'} the archive's"
    if abs(off) > CLOCK_SECONDS:
        return [warning("clock", f"ours is {words}", "Set both by NTP: `timedatectl` tells of ours.")]
    return [ok("clock", "the same as the archive's, as far as can be told")]

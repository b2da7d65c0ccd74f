"""The archive: does it answer and what is it, and its clock."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from dicomsync import dicomweb
from dicomsync.dicomweb.session import Session
from dicomsync.doctor.check import Check, ok, problem, warning
from dicomsync.errors import DicomsyncError
from dicomsync.words import span

CLOCK_SECONDS: Final = 60.0


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

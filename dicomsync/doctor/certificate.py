"""TLS certificates, the archive's and ours: when does each end?"""

from __future__ import annotations

import time
from typing import Final
from urllib.parse import urlsplit

from dicomsync import certificates, dicomweb
from dicomsync.dicomweb.urls import is_loopback
from dicomsync.doctor.archive import brisk
from dicomsync.doctor.check import Check, ok, problem, warning
from dicomsync.words import count

EXPIRY_DAYS: Final = 30.0


def examine(archive: dicomweb.Archive) -> list[Check]:
    """When does the archive's end? Whether it is trusted, the archive's own check has told."""
    if urlsplit(archive.url).scheme != "https":
        if is_loopback(archive.url):
            return [ok("certificate", "none: http, on this machine")]
        words = "none: over http, images and credentials can be read on their way"
        return [warning("certificate", words, "Use https, unless the network is trusted with both.")]
    try:
        return [told("certificate", certificates.of_archive(brisk(archive)))]
    except certificates.UNREADABLE:
        return [warning("certificate", "could not be looked at: no TLS connection, or not to be read")]


def told(name: str, ends: float) -> Check:
    """Say when a certificate ends, and whether that is soon."""
    days = (ends - time.time()) / 86400
    if days <= 0:
        return problem(name, f"it has expired, {count(int(-days), 'day')} ago", "Renew it.")
    if days < EXPIRY_DAYS:
        return warning(name, f"it expires in {count(int(days), 'day')}", "Renew it in time.")
    return ok(name, f"it expires in {count(int(days), 'day')}")

"""Telling somebody else: one request to a webhook or a heartbeat's URL, made by whichever thread is told to.

The URL may be a secret: it is read where it is when it is needed, and no word made here repeats any of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dicomsync import dicomweb
from dicomsync.errors import DicomsyncError


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is told: by a URL, or by one that is kept as a `secret`, in one `method` of HTTP."""

    name: str
    method: str
    network: dicomweb.Network
    url: str = field(default="", repr=False)
    secret: dicomweb.Secret | None = None

    def read(self) -> str:
        """Give the URL; raises SecretProblem or UsageProblem where it cannot be used."""
        if self.secret is None:
            return self.url
        reader = dicomweb.SecretReader(self.secret, f"URL of the {self.name}")
        url = reader.read().strip()
        if problem := dicomweb.check_receiver_url(url, secret=True):
            raise reader.problem(f"cannot be used: {problem}")
        return url


def send(receiver: Receiver, media_type: str = "", content: bytes = b"") -> str:
    """Tell it, within half a minute or so; gives "" if it was taken, else in words what came of it."""
    try:
        url = receiver.read()
        network = receiver.network
        if dicomweb.is_loopback(url):
            network = replace(network, proxy=None)
        headers = {"Content-Type": media_type} if media_type else {}
        status = dicomweb.told(receiver.method, url, network, "its receiver", headers, content)
    except DicomsyncError as problem:
        return problem.message
    if 200 <= status < 300:
        return ""
    return f"its receiver answered {status}"

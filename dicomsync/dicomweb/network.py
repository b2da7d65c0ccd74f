"""The way to a server, as values: whose certificates are trusted, our own certificate, a proxy.

How they are used is `route`'s, which brings httpx along.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from .secrets import Secret
from .urls import check_url


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy, reached over http or https; to an archive without TLS it reads all that is said."""

    url: str
    username: str = ""
    password: Secret | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """How servers are reached. All files are in PEM form.

    `ca_file` holds certificates trusted beside the public ones; `client_certificate` our own, shown to
    the archive alone, with its key in `client_key` or in the same file.
    """

    ca_file: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    client_key_password: Secret | None = None
    proxy: Proxy | None = None


def check_proxy(url: str) -> str | None:
    """Say in words what is wrong with a proxy's URL, or None; never repeats a password it may hold."""
    problem = check_url(url)
    if problem is None and urlsplit(url).path.strip("/"):
        return "the URL of a proxy has no path"
    return problem

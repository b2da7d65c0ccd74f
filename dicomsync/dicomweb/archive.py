"""Where an archive is and how patient we are with it: one frozen value that any worker can be handed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from .auth import Auth, NoAuth
from .kinds import KINDS

_LABEL: Final = re.compile(r"[^.]{1,63}")
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f\\<>\"{}|^`]")


@dataclass(frozen=True, slots=True)
class Archive:
    """One DICOMweb archive: its base URL (kept without a last slash), its kind, and all the limits.

    `answer_timeout` is how long it may be silent once it has the whole request (it is storing then),
    `idle_timeout` how long no byte may move otherwise; seconds. What moves slower than the floor
    rate, after `idle_timeout` of grace, is cut off. `ca_file` holds certificates trusted beside the
    public ones.
    """

    url: str
    kind: str = "auto"
    auth: Auth = field(default_factory=NoAuth)
    connect_timeout: float = 10
    idle_timeout: float = 60
    answer_timeout: float = 300
    floor_bytes_per_second: int = 65_536
    response_cap_bytes: int = 32 << 20
    short_retries: int = 3
    short_retry_seconds: float = 15
    ca_file: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", self.url.rstrip("/"))


def check_kind(kind: str) -> str | None:
    """Say what is wrong with a kind's name in a config, or None."""
    known = ["auto", *KINDS]
    return None if kind in known else f"the kind of archive is one of {', '.join(known)}"


def check_url(url: str) -> str | None:
    """Say in words what is wrong with a base URL, or None; never repeats a password it may hold."""
    if _FORBIDDEN.search(url) or not url.isascii():
        return (
            "the URL holds blanks or characters that must be percent-encoded (a host name: in its xn-- form)"
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "the URL has a malformed host or port"
    if parts.scheme not in ("http", "https"):
        return "the URL must begin with http:// or https://"
    if "@" in parts.netloc:
        return "the URL must not hold a user name or password: they belong into a file named in the config"
    if not host or port == 0 or not _sane_host(host):
        return "the URL has no usable host name"
    if "?" in url or "#" in url:
        return "the URL must be a base URL, without a query or a fragment"
    if any(segment in (".", "..") for segment in parts.path.split("/")):
        return "the URL's path must not hold . or .. segments"
    return None


def _sane_host(host: str) -> bool:
    return ":" in host or all(_LABEL.fullmatch(label) for label in host.removesuffix(".").split("."))

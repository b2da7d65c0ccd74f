"""What a URL of the config may be: an address, with no secret in it and nothing to be misread."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

_LABEL: Final = re.compile(r"[^.]{1,63}")
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f\\<>\"{}|^`]")


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


def check_token_url(url: str) -> str | None:
    """Say in words what is wrong with the URL of a token endpoint, or None (RFC 6749 3.2)."""
    problem = check_url(url)
    if problem is None and not url.lower().startswith("https:") and not is_loopback(url):
        return "the URL of a token endpoint must begin with https://: our secret goes there"
    return problem


def check_receiver_url(url: str, *, secret: bool) -> str | None:
    """Say in words what is wrong with a URL that something is told at, or None; never repeats any of it.

    It may hold a query. One that is a `secret` goes over https, or stays on this machine.
    """
    base, _, query = url.partition("?")
    if _FORBIDDEN.search(query) or not query.isascii() or "#" in url:
        return "the URL holds blanks or characters that must be percent-encoded, or a fragment"
    problem = check_url(base)
    if problem is None and secret and not base.lower().startswith("https:") and not is_loopback(base):
        return "the URL must begin with https://: it is a secret, and who reads it can use it"
    return problem


def is_loopback(url: str) -> bool:
    """Say whether a URL leads to this machine, whatever a resolver says."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _sane_host(host: str) -> bool:
    return ":" in host or all(_LABEL.fullmatch(label) for label in host.removesuffix(".").split("."))

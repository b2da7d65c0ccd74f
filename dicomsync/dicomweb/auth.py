"""Who we are to the archive: frozen descriptions that hold no secret, and the reading of secrets from files.

A secret is read when a request is made and again when its file changes, so that a rotated one is
used from the next request on. It is in no description, no message and no repr.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import SecretProblem

_SECRET_BYTES: Final = 64 << 10
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")  # what a header value can carry unharmed (RFC 9110 5.5)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class NoAuth:
    """No Authorization header is sent."""


@dataclass(frozen=True, slots=True)
class Basic:
    """HTTP Basic authentication (RFC 7617, UTF-8), the password alone in a file of its own."""

    username: str
    password_file: str


@dataclass(frozen=True, slots=True)
class Bearer:
    """A bearer token (RFC 6750) that something else keeps fresh in a file."""

    token_file: str


Auth = NoAuth | Basic | Bearer


class Authorizer:
    """Makes the Authorization header for one archive; remembers a secret while its file is unchanged."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self._remembered: tuple[tuple[int, ...], str] | None = None

    def header(self) -> str | None:
        """Say the header's value now, None without authentication; raises SecretProblem."""
        match self._auth:
            case Basic(username, password_file):
                return _basic(username, password_file, self._secret(password_file))
            case Bearer(token_file):
                return _bearer(token_file, self._secret(token_file))
            case NoAuth():
                return None

    def _secret(self, path: str) -> str:
        """Read the file, or what it held if size, times and inode still say the same."""
        try:
            with Path(path).open("rb") as file:
                stat = os.fstat(file.fileno())
                key = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
                if self._remembered is not None and self._remembered[0] == key:
                    return self._remembered[1]
                raw = file.read(_SECRET_BYTES + 1)
        except OSError as error:
            raise _problem(path, f"cannot be read ({os.strerror(error.errno or 0)})") from None
        secret = _one_line(path, raw)
        self._remembered = (key, secret)
        return secret


def _one_line(path: str, raw: bytes) -> str:
    if len(raw) > _SECRET_BYTES:
        raise _problem(path, "is larger than any secret")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _problem(path, "is not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise _problem(path, "is empty")
    if "\n" in text or "\r" in text:
        raise _problem(path, "has several lines where one is expected")
    return text


def _basic(username: str, path: str, password: str) -> str:
    if _CONTROL.search(password):
        raise _problem(path, "holds control characters")
    if ":" in username or _CONTROL.search(username):
        raise SecretProblem(
            "the user name for the archive holds a colon or control characters; nothing was sent",
            hint="Basic authentication cannot carry it (RFC 7617 2): correct the config.",
        )
    pair = base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
    return f"Basic {pair}"


def _bearer(path: str, token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise _problem(path, "holds blanks or other characters that no token has")
    return f"Bearer {token}"


def _problem(path: str, what: str) -> SecretProblem:
    return SecretProblem(
        f"the secret file {path} {what}; nothing was sent",
        hint="put the password or token alone into it, on one line, readable to this user.",
    )

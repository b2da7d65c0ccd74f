"""What a value may be: durations, sizes, shares, URLs, places of secrets."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator

from dicomsync import credentials

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}


def seconds(value: object) -> float:
    """Read a duration such as "10s", "500ms", "10min" or "1h30min"; a bare number is seconds."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number: float = value  # not float(value): TOML has integers that are too large for that
    else:
        text = str(value).strip().lower().replace(" ", "")
        pieces = re.findall(r"(\d+(?:\.\d+)?)(ms|s|min|m|h|d)", text)
        if not pieces or "".join(n + u for n, u in pieces) != text:
            raise ValueError('expected a duration such as "10s", "500ms" or "10min"')
        number = sum(float(n) * _SECONDS[u] for n, u in pieces)
    if not 0 <= number <= 366 * 86400:
        raise ValueError("expected a duration between nothing and a year")
    return float(number)


def size_bytes(value: object) -> int:
    """Read a size such as "32MiB" or "500 MB"; a bare number is bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        number: float = value
    else:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).strip().lower())
        if match is None or match[2] not in _BYTES:
            raise ValueError('expected a size such as "32MiB" or "500MB"')
        number = float(match[1]) * _BYTES[match[2]]
    if not 1 <= number <= 2**50:
        raise ValueError("expected a size of at least one byte")
    return int(number)


def share(value: object) -> float:
    """Read a share such as "2%" or 0.02; it lies between none and all of it."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number: float = value
    else:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", str(value).strip())
        if match is None:
            raise ValueError('expected a share such as "2%" or 0.02')
        number = float(match[1]) / 100
    if not 0 <= number <= 1:
        raise ValueError("expected a share between 0 and 1, or 0% and 100%")
    return float(number)


def unless(word: str, value: object) -> float | None:
    """Read a duration, or the word that stands for none."""
    return None if value in (word, None) else seconds(value)


def auto(value: object) -> float | None:
    """Read a duration, or "auto"."""
    return None if value in ("auto", None) else seconds(value)


def plain_path(path: str) -> str:
    """Refuse what no path can be."""
    if "\0" in path:
        raise ValueError("a path cannot hold a zero byte")
    return path


PlainPath = Annotated[str, AfterValidator(plain_path)]


def url_of(url: str) -> str:
    """Refuse what is no http URL, or holds a secret; an empty one is none."""
    if not url:
        return url
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        raise ValueError("url is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("url must begin with https:// or http:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("url must not hold a user name or password: use auth and a file")
    return url


SecretPlace = Annotated[str, BeforeValidator(credentials.secret_place)]
FilePlace = Annotated[str, BeforeValidator(credentials.file_place)]
Duration = Annotated[float, BeforeValidator(seconds)]
Size = Annotated[int, BeforeValidator(size_bytes)]
Share = Annotated[float, BeforeValidator(share)]

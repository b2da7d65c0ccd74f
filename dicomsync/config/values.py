"""What a value may be: readers, which take what TOML gives, and give it checked.

A reader raises ValueError for anything else, in words that name what was expected and never repeat what
was given. Nothing passes for something else: 1 is not true, "yes" is not, and 2.0 is no whole number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar, get_args
from urllib.parse import urlsplit

from dicomsync import addresses

T = TypeVar("T")
Reader = Callable[[object], T]

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST: Final = 366 * 86400
_BYTES: Final = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}


# numbers


def flag(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def whole(least: int, most: int) -> Reader[int]:
    """A whole number within bounds."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"expected a whole number from {least:,} to {most:,}")
        return value

    return read


def seconds(value: object) -> float:
    """Read a duration such as "10s", "500ms", "10min" or "1h30min"; a bare number is seconds."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number: float = value  # not float(value): TOML has integers that are too large for that
    else:
        written = str(value).strip().lower().replace(" ", "")
        pieces = re.findall(r"(\d+(?:\.\d+)?)(ms|s|min|m|h|d)", written)
        if not pieces or "".join(n + u for n, u in pieces) != written:
            raise ValueError('expected a duration such as "10s", "500ms" or "10min"')
        number = sum(float(n) * _SECONDS[u] for n, u in pieces)
    if not 0 <= number <= _LONGEST:
        raise ValueError("expected a duration between nothing and a year")
    return float(number)


def seconds_from(least: float) -> Reader[float]:
    """A duration that is not too short."""

    def read(value: object) -> float:
        if (found := seconds(value)) < least:
            raise ValueError(f'expected a duration of at least "{least:.0f}s"')
        return found

    return read


def either(word: str, reader: Reader[T]) -> Reader[T | None]:
    """What another reader takes, or a word that stands for none of it."""

    def read(value: object) -> T | None:
        if value == word:
            return None
        try:
            return reader(value)
        except ValueError as error:
            raise ValueError(f'{error}, or "{word}"') from None

    return read


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


# words


def text(value: object) -> str:
    """Read any text."""
    if not isinstance(value, str):
        raise ValueError("expected a text")
    return value


def line(most: int) -> Reader[str]:
    """One line of plain text."""

    def read(value: object) -> str:
        if not isinstance(value, str) or not value.isprintable() or len(value) > most:
            raise ValueError(f"expected one line of plain text, at most {most} characters")
        return value

    return read


def one_of(literal: object) -> Reader[Any]:
    """One of the words of a `Literal`."""
    words = [f'"{word}"' for word in get_args(literal)]

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in get_args(literal):
            raise ValueError(f"expected {', '.join(words[:-1])} or {words[-1]}")
        return value

    return read


def pattern(value: object) -> str:
    """Read a pattern of file names."""
    if not isinstance(value, str) or "/" in value:
        raise ValueError('expected a pattern of names, not of paths, such as "*.dcm": without a /')
    return value


# places


def any_path(value: object) -> str:
    """Read a path, absolute or from where the command is given."""
    if not isinstance(value, str) or not value:
        raise ValueError("expected a path")
    if "\0" in value:
        raise ValueError("expected a path without a zero byte")
    return value


def http_url(value: object) -> str:
    """Read an http URL that holds no secret."""
    expected = ValueError("expected a URL that begins with https:// or http:// and names a host")
    if not isinstance(value, str):
        raise expected
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        raise expected from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise expected
    if parts.username is not None or parts.password is not None:
        raise ValueError("expected a URL without a user name or password: use auth and a file")
    return value


def base_url(value: object) -> str:
    """Read an http URL to which something can be appended."""
    found = http_url(value)
    if "?" in found or "#" in found:
        raise ValueError("expected a URL without a ? or # part")
    return found


def address(value: object) -> str:
    """Read where a page is served, and leave it as it was written."""
    addresses.listening(value)
    return text(value)

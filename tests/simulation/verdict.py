"""What a judge says when a promise is broken."""

from __future__ import annotations


class Violation(AssertionError):
    """The daemon broke a promise."""


def promise(kept: object, words: str) -> None:
    """Raise a Violation unless it is kept."""
    if not kept:
        raise Violation(words)

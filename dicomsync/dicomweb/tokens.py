"""A token that is renewed ahead of its expiry, and when the archive rejects it: one renewal at a time."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ..errors import ArchiveProblem, SecretProblem

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")  # what a header value can carry unharmed (RFC 9110 5.5)
_LEAD_SECONDS: Final = 300.0
_LEAD_SHARE: Final = 0.2  # of the lifetime, where that is less
_AGAIN_SECONDS: Final = 30.0  # between tries, while the old token is still good
_LONGEST_SECONDS: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token; times are monotonic seconds, counted from before it was asked for."""

    value: str = field(repr=False)
    asked_at: float
    lifetime_seconds: float

    @property
    def renew_at(self) -> float:
        """Five minutes ahead of expiry, or at four fifths of a short life."""
        return self.expires_at - min(_LEAD_SECONDS, _LEAD_SHARE * self.lifetime_seconds)

    @property
    def expires_at(self) -> float:
        """No issuer's word for longer than a day is taken."""
        return self.asked_at + min(self.lifetime_seconds, _LONGEST_SECONDS)


def usable(token: object) -> bool:
    """Say whether this is a token that a header can carry."""
    return isinstance(token, str) and _TOKEN.fullmatch(token) is not None


class Renewing:
    """Gives the token of the moment to any number of threads; `fetch` gets a new one, one call at a time."""

    def __init__(self, fetch: Callable[[], Token]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._held: Token | None = None
        self._failed: tuple[float, ArchiveProblem] | None = None  # when, and of what

    def token(self) -> Token:
        """Give a token that is good, renewing it first if need be; raises what `fetch` raises.

        While one thread renews a token that is still good, the others go on with it. If the renewal
        fails they do so too, until it has expired.
        """
        asked = time.monotonic()
        held = self._held
        if held is not None and asked < held.expires_at:
            if asked >= held.renew_at and self._lock.acquire(blocking=False):
                try:
                    return self._renewed_ahead(held, asked)
                finally:
                    self._lock.release()
            return held
        with self._lock:
            if self._held is not held and self._held is not None:
                return self._held  # another thread has renewed it meanwhile
            return self._renewed(asked)

    def instead_of(self, rejected: str) -> Token:
        """Give another token than the one the archive rejected: that is renewed once, whoever comes first."""
        asked = time.monotonic()
        with self._lock:
            if self._held is not None and self._held.value != rejected:
                return self._held
            return self._renewed(asked)

    def _renewed_ahead(self, held: Token, asked: float) -> Token:
        if self._held is not held and self._held is not None:
            return self._held
        if self._failed is not None and asked < self._failed[0] + _AGAIN_SECONDS:
            return held
        try:
            return self._renewed(asked)
        except ArchiveProblem:
            return held

    def _renewed(self, asked: float) -> Token:
        """Fetch a token, for whoever holds the lock; a failure is also that of all who waited for it."""
        if self._failed is not None and asked < self._failed[0]:
            raise self._failed[1].with_traceback(None)
        try:
            token = self._fetch()
        except ArchiveProblem as problem:
            self._failed = (time.monotonic(), problem)
            raise
        if not usable(token.value):
            raise SecretProblem("no credential: what the issuer gave is no token; nothing was sent")
        self._held, self._failed = token, None
        return token

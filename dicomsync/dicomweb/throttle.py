"""Holding uploads to a rate: what all requests of a client may send together, by the time of day."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

Timetable = tuple[tuple[int, int], ...]
"""From which minute of the day (local time) on how many bytes a second, 0 for no limit; in order."""

_LEAST_PIECE: Final = 4 << 10
_PIECES_A_SECOND: Final = 20  # so small that a line shared with others is never taken for long
_SAVED_SECONDS: Final = 0.1  # of a rate not used, as much may be made up for: a disk that was slow


def rate_at(timetable: Timetable, minute: int) -> int:
    """Say which rate there is at a minute of the day; before the first entry, it is yesterday's last."""
    rates = [rate for begins, rate in timetable if begins <= minute]
    return rates[-1] if rates else timetable[-1][1] if timetable else 0


class Throttle:
    """Shared by the threads of one client; each takes its turn, and waits outside the lock."""

    def __init__(
        self,
        timetable: Timetable,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        minute: Callable[[], int] | None = None,
    ) -> None:
        self._timetable = timetable
        self._now = now
        self._sleep = sleep
        self._minute = minute or _minute
        self._lock = threading.Lock()
        self._free_at = float("-inf")

    def slowed(self, chunk: bytes) -> Iterator[tuple[bytes, float]]:
        """Give a chunk in pieces, each when it may go, with the seconds it was held back."""
        rate = self._rate()
        if not rate:
            yield chunk, 0.0
            return
        size = max(_LEAST_PIECE, rate // _PIECES_A_SECOND)
        for at in range(0, len(chunk), size):
            piece = chunk[at : at + size]
            yield piece, self._take(len(piece), self._rate())

    def _rate(self) -> int:
        return rate_at(self._timetable, self._minute()) if self._timetable else 0

    def _take(self, size: int, rate: int) -> float:
        """Wait until that many bytes may go; gives for how long."""
        with self._lock:
            now = self._now()
            begins = max(self._free_at, now - _SAVED_SECONDS)
            self._free_at = begins + (size / rate if rate else 0.0)
            wait = begins - now
        if wait <= 0:
            return 0.0
        self._sleep(wait)
        return self._now() - now


def _minute() -> int:
    now = time.localtime()
    return 60 * now.tm_hour + now.tm_min

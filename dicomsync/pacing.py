"""When to try again, and how much at once: backoff, the archive's circuit, its size limit. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

BACKOFF_FIRST_SECONDS = 2.0
BACKOFF_MOST_SECONDS = 15 * 60.0


def backoff_seconds(failures: int, luck: float) -> float:
    """Say how long to wait after that many failures in a row, with full jitter (`luck` in 0..1).

    Never nothing: a wait drawn as zero would hammer.
    """
    ceiling = min(BACKOFF_MOST_SECONDS, BACKOFF_FIRST_SECONDS * 2.0 ** min(failures, 20))
    return max(BACKOFF_FIRST_SECONDS / 4, luck * ceiling)


class Trouble(StrEnum):
    """What is wrong with the archive as a whole, as opposed to one instance."""

    NONE = "none"
    UNREACHABLE = "unreachable"  # no connection
    FAILING = "failing"  # 5xx, broken and late answers
    BUSY = "busy"  # 429, 503, Retry-After
    AUTH = "auth"  # 401, 403, a credential that cannot be read
    SETUP = "setup"  # wrong URL, wrong media type, service off: a person's to mend


@dataclass(frozen=True, slots=True)
class Signal:
    """What one answer, or none, said about the archive; `words` are fit for a log."""

    trouble: Trouble = Trouble.NONE
    words: str = ""
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Circuit:
    """The archive's circuit: closed while it works; open, it lets one probe through at a time.

    Times are monotonic seconds. It starts open and due, so that the first thing an archive ever
    gets from us is a small question, and not a batch.
    """

    closed: bool = False
    trouble: Trouble = Trouble.NONE
    words: str = ""
    failures: int = 0
    since: float = 0.0
    probe_at: float = 0.0

    def after(self, signal: Signal, mono: float, luck: float, *, probe: bool = False) -> Circuit:
        """Say what the circuit is after `signal`.

        A probe that goes well closes the circuit but does not forget the failures: only a stored
        batch shows that storing works, and an archive that answers searches while it refuses to
        store is to be tried more and more seldom.
        """
        if signal.trouble is Trouble.NONE:
            if probe:
                return replace(self, closed=True, trouble=Trouble.NONE, words="")
            return Circuit(closed=True)
        failures = self.failures + 1
        asked = signal.retry_after_seconds  # 0 asks for nothing, and would hammer
        if signal.trouble is Trouble.FAILING and failures < FAILURES_TO_OPEN and self.closed and not asked:
            return replace(self, failures=failures)
        wait_seconds = asked or backoff_seconds(failures - 1, luck)
        if signal.trouble is Trouble.UNREACHABLE:  # a knock at the door costs nobody anything
            wait_seconds = min(wait_seconds, KNOCK_SECONDS)
        return Circuit(
            closed=False,
            trouble=signal.trouble,
            words=signal.words,
            failures=failures,
            since=mono if self.closed or self.trouble is Trouble.NONE else self.since,
            probe_at=mono + wait_seconds,
        )


FAILURES_TO_OPEN = 3
KNOCK_SECONDS = 60.0  # at most, between two probes of an archive that cannot be reached

SMALLEST_LIMIT_BYTES = 64 * 1024
LIMIT_KEPT_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class SizeLimit:
    """What the archive, or a proxy before it, accepts in one request: learnt from 413, kept a day."""

    most_bytes: int | None = None
    learnt_at: float = 0.0  # wall seconds

    def at(self, wall: float) -> int | None:
        """Give the limit in bytes, or None where none is known or it is too old to trust."""
        fresh = 0 <= wall - self.learnt_at < LIMIT_KEPT_SECONDS
        return self.most_bytes if fresh else None

    def refused(self, size_bytes: int, wall: float) -> SizeLimit:
        """Halve after a request of `size_bytes` was too large."""
        most = max(SMALLEST_LIMIT_BYTES, size_bytes // 2)
        known = self.at(wall)
        return SizeLimit(most if known is None else min(most, known), wall)

"""Which instances go together in one request, and when a study's next request is due. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dicomsync.model import Due


@dataclass(frozen=True, slots=True)
class Caps:
    """When a batch goes (`quiet`, `max_wait`, in seconds) and how large it may be."""

    quiet_seconds: float = 10.0
    max_wait_seconds: float = 60.0
    max_instances: int = 100
    max_bytes: int = 32 * 1024 * 1024

    def full(self, pending: int, pending_bytes: int) -> bool:
        """Whether so much fills a batch."""
        return pending >= self.max_instances or pending_bytes >= self.max_bytes

    def share(self, share: float) -> Caps:
        """Give the same with a share of the largest batch."""
        if share >= 1.0:
            return self
        most = max(1, int(self.max_instances * share))
        return replace(self, max_instances=most, max_bytes=int(self.max_bytes * share))


def due_at(first_at: float, quiet_at: float, pending: int, pending_bytes: int, caps: Caps) -> float:
    """Say when a study's next batch goes: when it is full, quiet, or has waited long enough.

    `first_at` is when its earliest pending instance may go (its arrival, or its time for a retry),
    `quiet_at` when the study will have been quiet if nothing more arrives.
    """
    if caps.full(pending, pending_bytes):
        return first_at
    return max(first_at, min(quiet_at, first_at + caps.max_wait_seconds))


def choose(candidates: Sequence[Due], caps: Caps, most_bytes: int | None = None) -> tuple[Due, ...]:
    """Take the instances of one study, oldest due first, that make up its next request.

    One instance always goes, however large: it then travels alone. `most_bytes` is what the archive
    has shown it accepts. An instance that must not travel with many (`together`) takes few along, so
    that a refused batch is halved until the one to blame stands alone.
    """
    limit_bytes = caps.max_bytes if most_bytes is None else min(caps.max_bytes, most_bytes)
    chosen: list[Due] = []
    size_bytes = 0
    most = caps.max_instances
    for candidate in candidates:
        fits = most if candidate.together is None else min(most, candidate.together)
        if chosen and (len(chosen) >= fits or size_bytes + candidate.size_bytes > limit_bytes):
            if len(chosen) >= most:
                break
            continue  # too large or too suspect to come along; a smaller one behind it may
        chosen.append(candidate)
        size_bytes += candidate.size_bytes
        most = fits
    return tuple(chosen)

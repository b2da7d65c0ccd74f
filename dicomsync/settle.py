"""Has this file stopped changing? Pure: the looks and the clocks are passed in."""

from __future__ import annotations

from dataclasses import dataclass

from dicomsync.model import Moment, StatKey

ROUNDING_SECONDS = 1e-6  # what sums of floats leave over: a look so soon would be at this same moment


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a file: its stat key and when (monotonic seconds)."""

    key: StatKey
    mono: float


def wait_seconds(
    key: StatKey, now: Moment, earlier: Look | None, *, settle_seconds: float, old_seconds: float
) -> float:
    """Say how many seconds to wait before the file is worth reading; 0 means it has settled.

    Settled is a file whose change time is more than `old_seconds` in the past, or which looked the
    same twice, `settle_seconds` apart. The first trusts the file system's clock, and a clock can be
    wrong by an hour, which is why a daemon passes an hour and only a backfill less. The change time
    counts, not the modification time: a copy that keeps old times is still a new file.
    """
    age_seconds = now.wall - key.ctime_ns / 1e9
    if age_seconds > old_seconds:
        return 0.0
    if earlier is None or earlier.key != key:
        return settle_seconds
    left_seconds = settle_seconds - (now.mono - earlier.mono)
    return left_seconds if left_seconds > ROUNDING_SECONDS else 0.0

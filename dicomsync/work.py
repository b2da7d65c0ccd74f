"""What the engine hands out, and the pace it keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from dicomsync.batching import Caps
from dicomsync.model import Moment

AfterStore = Literal["none", "search", "bytes"]
"""How what was stored is checked in the background: not at all, that it is there, that it is the same."""


@dataclass(frozen=True, slots=True)
class Work:
    """One job for the hands: a plain function with picklable arguments.

    `record` is called in the loop, inside its transaction, with what the job returned.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    record: Callable[[Any, Moment], None]


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient this run is.

    `started` ties the two clocks together: what is due is kept as wall time, but moves with the
    monotonic clock, so that setting the wall clock shortens and lengthens no wait. `once` is a
    backfill: no waiting for a study to become quiet, and a file that has not changed for its settle
    time counts as settled; a daemon, which has time, wants an hour (a share's clock may be wrong).
    Without `sends` nothing goes out at all; without `stores` the archive is asked, and sent nothing.
    """

    started: Moment
    caps: Caps
    confirm_wait_seconds: float = 30.0
    transfers: int = 8
    once: bool = True
    sends: bool = True
    stores: bool = True
    after_store: AfterStore = "none"

    def at(self, now: Moment) -> float:
        """Give the moment on the scale of the ledger's `due_at`."""
        return self.started.wall + (now.mono - self.started.mono)

    def earliest(self, now: Moment) -> Moment:
        """Give the same moment by whichever clock is behind: for what must not look older than it is.

        The wall clock may have been set forward, or have gone on while the machine slept, in the middle
        of a copy; the monotonic one is ahead of it once it was set back.
        """
        return Moment(min(now.wall, self.at(now)), now.mono)

    def old_seconds(self, settle_seconds: float) -> float:
        """Give the age of a change time that proves a file settled."""
        return settle_seconds if self.once else 3600.0

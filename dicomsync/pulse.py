"""Does a folder answer? A mount whose server is gone gives no error: it gives nothing at all.

Such a job cannot be taken back. It stays where it is, on a hand of its folder's own, until the folder
answers; what is recorded here is that it does not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

from dicomsync.ledger import Ledger
from dicomsync.model import Folder, Moment
from dicomsync.work import Work

log = logging.getLogger("dicomsync.pulse")

HANGS_SECONDS = 120.0  # a step over 20,000 files of a slow share takes a minute


class Pulse:
    """Follows the short jobs of one folder: listings, looks, headers. Whole files may take any time."""

    def __init__(self, ledger: Ledger, folder: Folder) -> None:
        self._ledger = ledger
        self._folder = folder
        self._numbers = count()
        self._out: dict[int, float] = {}  # jobs that are out, the oldest first: since when (monotonic)
        self._recorded: float | None = -1.0  # what an earlier process left is not known
        self._hangs_since: float | None = None

    @property
    def hangs(self) -> bool:
        """Whether a job has been out for longer than a folder that answers would take."""
        return self._hangs_since is not None

    def follow(self, work: Work, now: Moment) -> Work:
        """Give the same job, with its return noted."""
        number = next(self._numbers)
        self._out[number] = now.mono
        return replace(work, record=partial(self._back, number, work.record))

    def _back(self, number: int, record: Callable[[Any, Moment], None], result: Any, now: Moment) -> None:
        self._out.pop(number, None)  # a turn that could not be committed records it once more
        record(result, now)

    def feel(self, now: Moment) -> None:
        """Take down, and tell, that the folder hangs, or that it answers again: once each."""
        oldest = next(iter(self._out.values()), now.mono)
        if now.mono - oldest < HANGS_SECONDS:
            since = None
        else:
            since = self._hangs_since or now.wall - (now.mono - oldest)
        if since == self._recorded:
            return
        row = self._ledger.folder_hangs(self._folder.path, since)
        if row is None:  # not looked into yet
            return
        where = f"folder {row}"  # as `status` and alerts name it
        if since is not None:
            self._ledger.remember("folder", row, "hangs", "", now.wall)
            log.warning("%s does not answer; what is in it waits, all else goes on", where)
        elif self.hangs:
            self._ledger.remember("folder", row, "answers", "", now.wall)
            log.info("%s answers again", where)
        self._recorded = self._hangs_since = since

"""Files that were being read as a process ended: each is read alone, and held when that ends another.

Nothing in a file may keep a daemon from every other one: what kills the reader (a crash of the
interpreter, the kernel's want of memory) would kill it again after each start. What was handed to a
header job is in the ledger before the job goes, a row a job.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dicomsync.ledger import Ledger
from dicomsync.model import StatKey
from dicomsync.pulse import Pulse

log = logging.getLogger("dicomsync.intake")

POISON_TIMES = 2


class Suspects:
    """What is suspected, and who reads one alone: one at a time, so that the one to blame is known."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[bytes, tuple[StatKey, int]] = {}
        self._folder: Pulse | None = None

    def begin(self) -> None:
        """Take over what an earlier process was reading as it ended."""
        self._known = self._ledger.suspects()
        if self._known:
            log.warning("%d files were being read when dicomsync ended: each is read alone", len(self._known))

    def times(self, path: bytes, key: StatKey) -> int:
        """Say how often this file, as it is, was the last thing a process read."""
        known = self._known.get(path)
        return known[1] if known is not None and known[0] == key else 0

    def take(self, folder: Pulse) -> bool:
        """Let this folder's be read now, unless another's is; a folder that hangs is in no one's way."""
        if self._folder is not None and self._folder is not folder and not self._folder.hangs:
            return False
        self._folder = folder
        return True

    def clear(self, path: bytes) -> None:
        """Suspect a file no more: it was read, or is held."""
        if self._known.pop(path, None) is not None:
            self._ledger.clear_suspect(path)

    # header jobs

    def out(self, files: Sequence[tuple[bytes, StatKey]]) -> int:
        """Record that these files are about to be read; gives the reading."""
        return self._ledger.open_reading(files)

    def back(self, reading: int, folder: Pulse, files: Sequence[tuple[bytes, StatKey]]) -> None:
        """Record that they were, and that the process is still there."""
        self._ledger.close_reading(reading)
        if self._known:
            for path, _ in files:
                self.clear(path)
        if self._folder is folder:
            self._folder = None

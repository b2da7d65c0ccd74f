"""Hints: where to look sooner than at the next scan. Thread-safe and bounded."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable


class Hints:
    """Directories worth a look, at most `most` of them; past that, and after lost events: everywhere.

    `wake` is called once for all hints between two takes.
    """

    def __init__(self, most: int = 1_000, wake: Callable[[], None] = lambda: None) -> None:
        self._most = most
        self._wake = wake
        self._lock = threading.Lock()
        self._directories: set[bytes] = set()
        self._everywhere = False

    def take(self) -> tuple[frozenset[bytes], bool]:
        """Give the directories hinted at since the last take, and whether to look everywhere."""
        with self._lock:
            taken = frozenset(self._directories), self._everywhere
            self._directories.clear()
            self._everywhere = False
            return taken

    def add(self, directory: bytes) -> None:
        """Say that `directory` is worth a look. Never raises."""
        with self._lock:
            first = not self._directories and not self._everywhere
            if not self._everywhere:
                self._directories.add(directory)
            full = len(self._directories) > self._most
        if full:
            self.everywhere()
        if first:
            self._rouse()

    def everywhere(self) -> None:
        """Say that hints were lost: every directory is worth a look. Never raises."""
        with self._lock:
            first = not self._directories and not self._everywhere
            self._directories.clear()
            self._everywhere = True
        if first:
            self._rouse()

    def _rouse(self) -> None:
        with contextlib.suppress(Exception):  # who waits for hints must not stop those who give them
            self._wake()

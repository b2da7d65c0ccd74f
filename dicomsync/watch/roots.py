"""The roots that are watched, and how it goes with each."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dicomsync.watch.hints import Hints
from dicomsync.watch.limits import raising
from dicomsync.watch.words import DIED, EVENTS, GONE, STARTING, STOPPED

if TYPE_CHECKING:
    from dicomsync.watch.inotify import Emitter

AGAIN_SECONDS = 3_600.0  # a limit may be reached because of somebody else, who may be gone by then
STOP_SECONDS = 1.5
_LIMITS = Path("/proc/sys/fs/inotify")


class Watch:
    """Watches `roots` and all that is below them; `hints` says where to look, `state` how it goes.

    No method waits on a disk. `refresh` is for every scan: it watches what is there and not watched.
    """

    def __init__(self, roots: Sequence[bytes], wake: Callable[[], None], most: int = 1_000) -> None:
        self.hints = Hints(most, wake)
        self._roots = [_Root(path, self.hints) for path in dict.fromkeys(roots)]

    def start(self) -> None:
        """Begin to watch; roots become "events" one by one as their directories have been walked."""
        package = logging.getLogger("watchdog")  # its records and warnings hold paths: they go nowhere
        package.propagate = False
        if not package.handlers:
            package.addHandler(logging.NullHandler())
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"watchdog\.")
        self.refresh()

    def refresh(self) -> None:
        """Watch anew what came back, was replaced or lost its threads; let go of what hit a limit."""
        for root in self._roots:
            root.refresh()

    def stop(self) -> None:
        """Let go of everything; threads stuck in a dead disk are left behind (they hold nothing up)."""
        closing = [root.stop() for root in self._roots]
        until = time.monotonic() + STOP_SECONDS
        for thread in closing:
            thread.join(max(0.0, until - time.monotonic()))

    def state(self) -> dict[bytes, str]:
        """Say of each root "events", or in words why it is scanned only."""
        directories = sum(root.coverage()[1] for root in self._roots)
        return {root.path: root.state(directories) for root in self._roots}

    def alive(self) -> bool:
        """Tell whether no thread died of something unforeseen; `refresh` replaces those that did."""
        return all(root.words() != DIED for root in self._roots)


class _Root:
    """One root: who watches it, or why nobody does."""

    def __init__(self, path: bytes, hints: Hints) -> None:
        self.path = path
        self._hints = hints
        self._eye: Emitter | None = None
        self._words = STARTING
        self._problem = 0
        self._coverage = (0, 0)
        self._identity = (0, 0)
        self._limited: tuple[tuple[int, int], float] | None = None  # the limit that was reached, and when
        self._tending: threading.Thread | None = None
        self._stopped = False

    def refresh(self) -> None:
        """Tend to this root on a thread of its own, unless that is still stuck from the last time."""
        if self._stopped or (self._tending is not None and self._tending.is_alive()):
            return
        self._tending = threading.Thread(target=self._tend, name="watch-tend", daemon=True)
        self._tending.start()

    def stop(self) -> threading.Thread:
        """Begin to let go, and give the thread that does it."""
        self._stopped = True
        thread = threading.Thread(target=self._let_go, args=(STOPPED,), name="watch-stop", daemon=True)
        thread.start()
        return thread

    def words(self) -> str:
        """Say how this root is watched."""
        eye = self._eye
        if eye is None:
            return self._words
        return DIED if eye.words in (EVENTS, STARTING) and not eye.is_whole() else eye.words

    def coverage(self) -> tuple[int, int]:
        """Say how many directories are or were watched, and how many there are."""
        eye = self._eye
        return self._coverage if eye is None else eye.coverage()

    def state(self, directories: int) -> str:
        """Say how this root is watched, for a person; `directories` are those of all roots."""
        eye = self._eye
        problem = self._problem if eye is None else eye.problem
        if problem == errno.ENOSPC:
            some, every = self.coverage()
            todo = raising("max_user_watches", _limit("max_user_watches"), directories)
            return (
                f"watch limit reached: {some} of {every} directories could be watched, so the folder is "
                f"scanned; to raise it: {todo}"
            )
        if problem == errno.EMFILE:
            todo = raising("max_user_instances", _limit("max_user_instances"))
            return (
                "inotify instance limit reached, or that of open files, so the folder is scanned; "
                f"to raise it: {todo}"
            )
        return self.words()

    def _tend(self) -> None:
        try:
            real = os.path.realpath(self.path)  # watchdog does not follow a root that is a link
            status = os.stat(real)
        except OSError as error:
            gone = isinstance(error, FileNotFoundError | NotADirectoryError)
            self._let_go(GONE if gone else os.strerror(error.errno or 0))
            return
        if not stat.S_ISDIR(status.st_mode):
            self._let_go("not a directory")
            return
        identity = (status.st_dev, status.st_ino)
        eye = self._eye
        if eye is not None:
            words = self.words()
            if words in (EVENTS, STARTING):
                if identity == self._identity:
                    return
                words = GONE  # another directory is in its place
            if eye.problem in (errno.ENOSPC, errno.EMFILE):
                self._limited = (_limits(), time.monotonic())
            self._let_go(words, eye.problem)
        if not self._is_waiting(identity):
            self._identity = identity
            self._look(real)

    def _is_waiting(self, identity: tuple[int, int]) -> bool:
        """Tell whether it is no use to try again: a limit was reached and is what it was."""
        if self._limited is None or identity != self._identity:
            return False
        limits, since = self._limited
        return limits == _limits() and time.monotonic() - since < AGAIN_SECONDS

    def _look(self, real: bytes) -> None:
        again = self._words != STARTING
        self._limited = None
        try:
            from dicomsync.watch.inotify import Emitter

            eye = Emitter(self.path, real, self._hints, again=again)
            eye.start()
            self._eye = eye
        except OSError as error:
            self._limited = (_limits(), time.monotonic())
            self._let_go(os.strerror(error.errno or 0), error.errno or 0)
        except Exception as error:  # no inotify here, or another watchdog than we know: scans do it all
            self._let_go(f"cannot be watched here ({type(error).__name__})")
        if self._stopped:
            self._let_go(STOPPED)

    def _let_go(self, words: str, problem: int = 0) -> None:
        eye = self._eye
        self._words, self._problem = words, problem
        if eye is not None:
            with contextlib.suppress(Exception):
                self._coverage = eye.coverage() if problem else (0, 0)
            self._eye = None
            with contextlib.suppress(Exception):  # watchdog's own books may be wrong by now
                eye.close()


def _limit(name: str) -> int:
    try:
        return int((_LIMITS / name).read_text())
    except (OSError, ValueError):  # hidden from a hardened service
        return 0


def _limits() -> tuple[int, int]:
    """Give what may be raised after a limit was reached."""
    return _limit("max_user_watches"), _limit("max_user_instances")

"""What one root needs of watchdog: its inotify threads, made to say what they keep to themselves.

watchdog 7.1 is silent about directories it cannot watch, about its own threads' deaths and about an unmount,
and takes a file moved in for one just created. So we derive from its inotify classes, and from nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable

from watchdog.events import DirCreatedEvent, DirMovedEvent, FileClosedEvent, FileMovedEvent, FileSystemEvent
from watchdog.observers.api import EventQueue, ObservedWatch
from watchdog.observers.inotify import InotifyFullEmitter
from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)

from dicomsync.watch.hints import Hints
from dicomsync.watch.words import DIED, EVENTS, GONE, STARTING

_WANTED: list[type[FileSystemEvent]] = [FileClosedEvent, FileMovedEvent, DirCreatedEvent, DirMovedEvent]

_NEEDED = (
    InotifyConstants.IN_ISDIR
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_IGNORED
)


class Reader(InotifyFD):
    """One inotify instance and the thread that reads it.

    `tell` hears an errno: something is not watched; or None: the thread dies.
    """

    def __init__(self, root: bytes, hints: Hints, tell: Callable[[int | None], None]) -> None:
        super().__init__()
        self._is_reading = False  # it says so before it does; closed before its first read, it would leak
        self._root = root
        self._hints = hints
        self._tell = tell
        self._refused = 0

    def run(self) -> None:
        """Read until stopped."""
        try:
            super().run()
        except Exception:  # its books of moved directories can go wrong; a traceback would show paths
            self._tell(None)

    def _add_callback(
        self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId
    ) -> WatchDescriptor:
        """Watch one directory, and tell if that fails; watchdog minds only if it is the root.

        Unlike watchdog's own it does not warn of a directory that is watched already, which is every
        directory that was made while its parent was walked: its warning quotes all it knows, paths and all.
        """
        if self._closed:
            raise OSError(errno.EBADF, "stopped")
        try:
            watch = self._get_or_create_watch(path, mask)
            if watch.wd == -1:  # watchdog takes "permission denied" for success
                del self._watch_for_wd[watch.wd]
                raise PermissionError(errno.EACCES, "permission denied")
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.ENOMEM):
                self._refused += 1
                self._tell(errno.ENOSPC)
            elif path == self._root:
                self._tell(error.errno or 0)
            raise
        watch.callbacks[id_] = callback
        return watch.wd

    def handle_event(self, event: InotifyEvent) -> None:
        """Pass on what matters.

        Files created or moved away do not, and are costly: watchdog waits half a second for the other
        half of each move, and searches whatever piles up meanwhile at every further one.
        """
        if event.is_queue_overflow:
            self._hints.everywhere()
        elif event.mask & InotifyConstants.IN_UNMOUNT:
            self._tell(errno.ENOENT)
        elif not event.mask & _NEEDED:
            return
        super().handle_event(event)

    def coverage(self) -> tuple[int, int]:
        """Say how many directories are watched, and how many there are."""
        watched = len(self._watch_for_wd)
        return watched, watched + self._refused


class Emitter(InotifyFullEmitter):
    """The two threads that watch one root, `real` being what its `path` resolves to.

    `words` say how it goes, `problem` is the errno behind them. Events become hints at once, without the
    queue and the dispatcher of a watchdog observer. `again` says that this root was watched before.
    """

    def __init__(self, path: bytes, real: bytes, hints: Hints, *, again: bool) -> None:
        self.words = STARTING
        self.problem = 0
        self._path, self._real, self._hints, self._again = path, real, hints, again
        self._walked = self._limited = self._closing = False
        self._covered: tuple[int, int] | None = None
        self._reader = Reader(real, hints, self._tell)
        watch = ObservedWatch(os.fsdecode(real), recursive=True, event_filter=_WANTED)
        super().__init__(EventQueue(), watch, event_filter=_WANTED, inotify_fd=self._reader)

    def on_thread_start(self) -> None:
        """Start the reader; the walk that adds the watches may take long or hang, so `run` does it."""
        self._reader.start()

    def run(self) -> None:
        """Watch every directory, then turn events into hints until stopped or the root is deleted."""
        try:
            try:
                super().on_thread_start()
            finally:
                self._walked = True
            if self._limited:
                self._tell(errno.ENOSPC)
            if self._closing:
                super().on_thread_stop()
            elif self.words == STARTING:
                if self._again:  # for what came while nobody watched
                    self._hints.everywhere()
                self.words = EVENTS
                super().run()
                self._tell(errno.ENOENT)
        except OSError as error:
            self._tell(error.errno or 0)
        except Exception:  # not threading's excepthook: it would show paths
            self._tell(None)
        finally:
            with contextlib.suppress(Exception):
                self.close()

    def on_thread_stop(self) -> None:
        """Stop the reader too."""
        super().on_thread_stop()
        self._reader.stop()

    def close(self) -> None:
        """Stop both threads, without waiting for their end; but it may wait while a tree is walked."""
        if self._covered is None:
            self._covered = self._reader.coverage()
        self._closing = True
        try:
            self.stop()
        finally:
            self._reader.stop()

    def queue_event(self, event: FileSystemEvent) -> None:
        """Turn an event into the directory to look at; what was moved out has no destination."""
        if isinstance(event, FileMovedEvent | DirMovedEvent):
            found = event.dest_path
        elif isinstance(event, FileClosedEvent | DirCreatedEvent):
            found = event.src_path
        else:
            return
        if found:
            where = os.fsencode(found)
            directory = where if event.is_directory else os.path.dirname(where)
            self._hints.add(self._path + directory[len(self._real) :])

    def is_whole(self) -> bool:
        """Tell whether both threads live."""
        return self.is_alive() and self._reader.is_alive()

    def coverage(self) -> tuple[int, int]:
        """Say how many directories are or were watched, and how many there are."""
        return self._reader.coverage() if self._covered is None else self._covered

    def _tell(self, problem: int | None) -> None:
        """Take down what is wrong, once; if all was well before, have the caller look for itself."""
        if problem == errno.ENOSPC and not self._walked:  # how many there are is known after the walk
            self._limited = True
            return
        before = self.words
        if self._closing or before not in (STARTING, EVENTS):
            return
        self.problem = problem or 0
        if problem is None:
            self.words = DIED
        else:
            self.words = GONE if problem in (errno.ENOENT, errno.ENOTDIR) else os.strerror(problem)
        if before == EVENTS:
            self._hints.everywhere()

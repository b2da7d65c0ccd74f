"""Watching folders: directories worth a look, and never more than that. The scan is the truth.

A hint may come late, twice, or name a directory that is not there any more; what is not hinted at (a hard
link, a file written through a mapping, whatever a full queue dropped) is found by the next scan. Each root
has an inotify instance, a reader and an emitter thread of its own, so that a disk that hangs stops the
hints of one root only. Whatever may wait on a disk happens on these threads, never on the caller's.
watchdog is imported on them too, when there is something to watch: that takes a seventh of a second.
"""

from dicomsync.watch.hints import Hints
from dicomsync.watch.limits import raising
from dicomsync.watch.roots import Watch
from dicomsync.watch.words import DIED, EVENTS, GONE, STARTING, STOPPED

__all__ = ["DIED", "EVENTS", "GONE", "STARTING", "STOPPED", "Hints", "Watch", "raising"]

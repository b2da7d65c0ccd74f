"""What a process holds, and must not leave behind or show: images, identities, secrets.

No core dump has it, no other process of the same user may read it out of memory or environment, and what
Python prints of an error that nobody caught says where it was, and not what it was about.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
import threading

_PR_SET_DUMPABLE = 4  # prctl(2)


def keep_to_ourselves() -> None:
    """Let nothing of this process be dumped, read from outside, or printed with an uncaught error."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The limit does not hold for a core that goes to a pipe (core(5)); this does, and shuts /proc/PID too.
    with contextlib.suppress(OSError, AttributeError):  # not on this system
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    threading.excepthook = _thread_failed
    sys.unraisablehook = _was_unraisable


def where(error: BaseException) -> str:
    """Say where an error came from, in our own words; its text may hold what must not be shown."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = f"{os.path.basename(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno}" if frame else "unknown"
    return f"{type(error).__name__} at {place}"


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is not None and not isinstance(failure.exc_value, SystemExit):
        _say(failure.exc_value)


def _was_unraisable(failure: sys.UnraisableHookArgs) -> None:
    if failure.exc_value is not None:
        _say(failure.exc_value)


def _say(error: BaseException) -> None:
    with contextlib.suppress(Exception):  # a closed pipe
        sys.stderr.write(f"Error: something went wrong inside dicomsync ({where(error)}).\n")

"""Where log lines go: ours to standard error, other packages' nowhere.

Lines of ours hold handles; those of the HTTP, DICOM and watching packages hold URLs, values and
paths, and are therefore not passed on at any level.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings


class _Stderr(logging.Handler):
    """Writes to whatever standard error is now, so that a progress bar may stand in for it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # a closed pipe, or a line that cannot be made, must not stop uploads
            return


class _Journal(logging.Formatter):
    """Leaves the moment to the journal, which has its own, and says how grave a line is (sd-daemon(3))."""

    def format(self, record: logging.LogRecord) -> str:
        grave = next(number for level, number in _PRIORITIES if record.levelno >= level)
        return f"<{grave}>{super().format(record)}"


_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))  # those of syslog(3)


def _to_journal() -> bool:
    """Say whether standard error is the journal itself, as systemd.exec(5) lets one find out."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class Enough(logging.Filter):
    """Lets a few lines of one kind through a minute; the next one says how many were left out.

    Ten thousand conflicts are one fact, and the ledger lists them.
    """

    MOST = 5
    SECONDS = 60.0

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, tuple[float, int, int]] = {}  # kind: since when, shown, left out

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line is to be shown."""
        if record.levelno < logging.WARNING:
            return True
        now = time.monotonic()
        since, shown, left_out = self._seen.get(record.msg, (now, 0, 0))
        if now - since > self.SECONDS:
            since, shown = now, 0
        if shown >= self.MOST:
            self._seen[record.msg] = (since, shown, left_out + 1)
            return False
        if shown == self.MOST - 1:
            record.msg, kind = f"{record.msg} (more like this are left out for a minute)", record.msg
        elif left_out:
            record.msg, kind = f"{record.msg} (and {left_out} like this before)", record.msg
            left_out = 0
        else:
            kind = record.msg
        self._seen[kind] = (since, shown + 1, left_out)
        return True


def _nowhere(*_warning: object, **_more: object) -> None:
    """Where other packages' warnings go."""


def configure(verbosity: int) -> None:
    """Set up logging: -1 errors only, 0 warnings, 1 what happens, 2 everything."""
    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    ours = logging.getLogger("dicomsync")
    ours.handlers.clear()
    handler = _Stderr()
    if _to_journal():
        handler.setFormatter(_Journal("%(levelname)s %(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    if verbosity < 2:
        handler.addFilter(Enough())
    ours.addHandler(handler)
    ours.setLevel(levels.get(verbosity, logging.DEBUG))
    ours.propagate = False
    logging.raiseExceptions = False
    warnings.showwarning = _nowhere  # other packages' warnings quote what they read
    root = logging.getLogger()
    root.handlers = [logging.NullHandler()]

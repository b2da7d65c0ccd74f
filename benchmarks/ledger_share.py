"""The command line, with the time spent in the ledger's verbs and commits written down.

    python -m benchmarks.ledger_share REPORT COMMAND…

Writes `ledger_seconds process_seconds`, waits for the disk and the interpreter's lock included, and both
again in seconds of CPU, without them.
"""

from __future__ import annotations

import atexit
import functools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

from dicomsync import cli
from dicomsync.ledger import Ledger


class Stopwatch:
    """Runs while the outermost of what it times does."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self._depth = 0
        self._since = 0.0
        self._cpu_since = 0.0

    def start(self) -> None:
        """Go in."""
        if not self._depth:
            self._since = time.perf_counter()
            self._cpu_since = time.thread_time()
        self._depth += 1

    def stop(self) -> None:
        """Come out."""
        self._depth -= 1
        if not self._depth:
            self.seconds += time.perf_counter() - self._since
            self.cpu_seconds += time.thread_time() - self._cpu_since


def timed(watch: Stopwatch, verb: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a verb."""

    @functools.wraps(verb)
    def wrapped(*values: Any, **named: Any) -> Any:
        watch.start()
        try:
            return verb(*values, **named)
        finally:
            watch.stop()

    return wrapped


def timed_transaction(watch: Stopwatch, transaction: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the beginning and the commit, and not what is done between them."""

    @contextmanager
    def wrapped(ledger: Ledger) -> Iterator[Any]:
        inner = transaction(ledger)
        begun = timed(watch, inner.__enter__)()
        try:
            yield begun
        except BaseException as error:
            if not timed(watch, inner.__exit__)(type(error), error, error.__traceback__):
                raise
        else:
            timed(watch, inner.__exit__)(None, None, None)

    return wrapped


def instrument(watch: Stopwatch) -> None:
    """Wrap all that the loop calls of the ledger."""
    for kind in Ledger.__mro__[:-1]:
        for name, verb in vars(kind).copy().items():
            if isinstance(verb, FunctionType) and not name.startswith("_"):
                wrap = timed_transaction if name == "transaction" else timed
                setattr(kind, name, wrap(watch, verb))


def main() -> None:
    """Run the command, timed."""
    began = time.perf_counter()
    report = Path(sys.argv.pop(1))
    watch = Stopwatch()
    instrument(watch)
    atexit.register(lambda: _tell(report, watch, began))
    cli.main()


def _tell(report: Path, watch: Stopwatch, began: float) -> None:
    figures = (watch.seconds, time.perf_counter() - began, watch.cpu_seconds, time.process_time())
    report.write_text(" ".join(map(str, figures)))


if __name__ == "__main__":
    main()

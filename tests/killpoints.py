"""The named points at which a daemon's process is killed, and what kills it there.

`dying_at` gives Python that runs in the daemon's process before its command line: it puts itself around
functions of the rooms, which know nothing of it, and at the named point sends the process SIGKILL. Nothing is
closed, flushed, rolled back or answered.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from dicomsync import scan
from dicomsync.delivery import Delivery
from dicomsync.dicomweb import transport
from dicomsync.ledger import Ledger
from dicomsync.model import FileState, Folder, InstanceState

POINTS = {
    "K1": "after a listing, before it is recorded",
    "K2": "after a file was recorded as settling",
    "K3": "after a file was recorded as whole",
    "K4": "before an intent is committed",
    "K5": "after an intent is committed, before anything is sent",
    "K6": "with the head of a request sent",
    "K7": "with a part of its body sent",
    "K8": "with all of it sent, before an answer is read",
    "K9": "after an answer was read, before it is committed",
    "K10": "after outcomes are committed that are not clear",
    "K11": "after the archive was asked, before that is committed",
    "K12": "after stored is committed",
}
# What is noted in a transaction, and whether the point lies before or after its commit
COMMITS = {
    "K2": ("settling", "after"),
    "K3": ("ready", "after"),
    "K4": ("intent", "before"),
    "K5": ("intent", "after"),
    "K9": ("outcome", "before"),
    "K10": ("unconfirmed", "after"),
    "K11": ("asked", "before"),
    "K12": ("stored", "after"),
}


def dying_at(point: str, passage: int) -> str:
    """Give what a daemon runs first, so that it dies as it comes by this point for the `passage`-th time."""
    home = str(Path(__file__).parent.parent)
    return (
        f"import sys; sys.path.insert(0, {home!r})\n"
        f"from tests.killpoints import arm; arm({point!r}, {passage})\n"
    )


def arm(point: str, passage: int) -> None:
    """In the process that is to die: put a trap at the point."""
    left = passage

    def meet() -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)  # no thread gets any further

    if point == "K1":
        _after_listings(meet)
    elif point in COMMITS:
        _in_transactions(*COMMITS[point], meet)
    else:
        _on_the_wire(point, meet)


def _after_listings(meet: Callable[[], None]) -> None:
    real = scan.step

    def step(folder: Folder, position: scan.Position, mount: bytes, most: int) -> scan.Step:
        read = real(folder, position, mount, most)
        if any(one.entries for one in read.listings):
            meet()
        return read

    scan.step = step  # type: ignore[assignment]  # a trap in its place


def _before(owner: Any, name: str, look: Callable[..., object]) -> None:
    real = getattr(owner, name)

    @wraps(real)
    def wrapped(*arguments: Any, **more: Any) -> Any:
        look(*arguments)
        return real(*arguments, **more)

    setattr(owner, name, wrapped)


def _in_transactions(wanted: str, when: str, meet: Callable[[], None]) -> None:
    noted: set[str] = set()
    whole = {FileState.SETTLING: "settling", FileState.READY: "ready"}
    ends = {InstanceState.STORED: "stored", InstanceState.UNCONFIRMED: "unconfirmed"}
    _before(Ledger, "put_file", lambda _self, file, *_: noted.add(whole.get(file.state, "")))
    _before(Ledger, "put_whole", lambda *_: noted.add("ready"))
    _before(Ledger, "open_batch", lambda *_: noted.add("intent"))
    _before(Ledger, "close_batch", lambda *_: noted.add("outcome"))
    _before(Ledger, "move", lambda _self, moves, *_: noted.update(ends.get(one.state, "") for one in moves))
    _before(Delivery, "_asked", lambda *_: noted.add("asked"))
    real = Ledger.transaction

    @contextmanager
    def transaction(self: Ledger) -> Iterator[None]:
        noted.clear()
        with real(self):
            yield
            if when == "before" and wanted in noted:
                meet()
        if when == "after" and wanted in noted:
            meet()

    Ledger.transaction = transaction  # type: ignore[method-assign]  # a trap in its place


def _on_the_wire(point: str, meet: Callable[[], None]) -> None:
    stream = transport._Stream
    really_write, really_read = stream.write, stream.read
    storing: dict[int, str] = {}  # by stream: how far its Store is

    def write(self: transport._Stream, buffer: bytes, timeout: float | None = None) -> None:
        if bytes(buffer[:5]) == b"POST ":
            really_write(self, buffer, timeout)
            storing[id(self)] = "head"
            if point == "K6":
                meet()
        elif storing.get(id(self)) == "head":
            half = len(buffer) // 2
            really_write(self, buffer[:half], timeout)
            storing[id(self)] = "body"
            if point == "K7":
                meet()
            really_write(self, buffer[half:], timeout)
        else:
            really_write(self, buffer, timeout)

    def read(self: transport._Stream, max_bytes: int, timeout: float | None = None) -> bytes:
        if storing.pop(id(self), "") == "body" and point == "K8":
            meet()
        return really_read(self, max_bytes, timeout)

    stream.write, stream.read = write, read  # type: ignore[method-assign]  # a trap in its place

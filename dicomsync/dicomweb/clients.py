"""The clients of a process, one for each archive, made as they are first needed.

So a process that asks no archive anything never imports httpx: a look at an unchanged folder is done in
half the time and memory without it.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

from .archive import Archive

if TYPE_CHECKING:
    from .client import Client

_clients: Final[dict[tuple[int, Archive], Client]] = {}
_making: Final = threading.Lock()


def client_for(archive: Archive) -> Client:
    """Give this process's one client for an archive, made at its first use; raises UsageProblem.

    A process that was forked makes its own: connections cannot be shared between processes.
    """
    key = (os.getpid(), archive)
    with _making:
        if key not in _clients:
            from .client import Client

            _clients[key] = Client(archive)
        return _clients[key]


def close_clients() -> None:
    """Close every client of this process; `client_for` makes new ones."""
    with _making:
        for key in [key for key in _clients if key[0] == os.getpid()]:
            _clients.pop(key).close()

"""What the service manager is told: sd_notify(3), by one datagram at a time.

Nothing here waits and nothing here raises: a manager that is gone or busy must not hold up uploads.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

STATUS_CHARACTERS = 256
_ENDLESS = 2**64 - 1  # what the manager's "infinity" looks like


class Notify:
    """Tells the service manager at `address` how it goes; with an empty address it does nothing.

    A change of state (ready, reloading, stopping) that could not be handed over goes with whatever
    is told next, as the manager waits for it; a status or a sign of life is simply dropped.
    """

    def __init__(self, address: str = "", watchdog_seconds: float | None = None) -> None:
        self._address = _socket_address(address)
        self._owed = ""
        self.watchdog_seconds = watchdog_seconds if self._address else None
        """How long `watchdog` may be silent before the manager kills us (call it twice as often), or None."""

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] | None = None) -> Notify:
        """Take NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment.

        They are meant for this process alone: a child that inherited them would speak in its name.
        """
        if environ is None:
            environ = os.environ
        address = environ.pop("NOTIFY_SOCKET", "")
        usec, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", None)
        return cls(address, _watchdog_seconds(usec, pid))

    def ready(self) -> None:
        """Say that the start, or a reload, is over."""
        self._change("READY=1")

    def reloading(self) -> None:
        """Say that a reload has begun; `ready` ends it, whether or not the new config was taken."""
        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._change(f"RELOADING=1\nMONOTONIC_USEC={usec}")  # the time is for Type=notify-reload (v253)

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._change("STOPPING=1")

    def status(self, text: str) -> None:
        """Say in one line how it stands."""
        self._tell(f"STATUS={_one_line(text)}")

    def watchdog(self) -> None:
        """Give a sign of life."""
        self._tell("WATCHDOG=1")

    def _change(self, state: str) -> None:
        self._owed = ""  # the newest state is the one that counts
        if not self._tell(state):
            self._owed = f"{state}\n"

    def _tell(self, lines: str) -> bool:
        if not self._address:
            return True
        message = f"{self._owed}{lines}".encode("utf-8", "replace")
        try:
            # A socket for each message: nothing to mend when the manager's was made anew.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(message, self._address)
        except OSError:
            return False
        self._owed = ""
        return True


def _socket_address(text: str) -> bytes:
    """Turn $NOTIFY_SOCKET into an address: a path, or "@" and an abstract name; b"" for anything else."""
    if len(text) < 2 or text[0] not in "/@" or "\0" in text:
        return b""
    address = os.fsencode(text)
    return b"\0" + address[1:] if address.startswith(b"@") else address


def _watchdog_seconds(usec: str, pid: str | None) -> float | None:
    """Read the two variables as sd_watchdog_enabled(3) does; what is not for us is None."""
    if pid is not None and pid.strip() != str(os.getpid()):
        return None
    if not (usec.isascii() and usec.isdigit() and len(usec) <= 20):
        return None
    value = int(usec)
    return value / 1e6 if 0 < value < _ENDLESS else None


def _one_line(text: str) -> str:
    """Keep what can be shown, on one line that is not too long; a line of its own would be a message."""
    shown = "".join(
        one if one.isprintable() else " " if one.isspace() else "" for one in text[: 4 * STATUS_CHARACTERS]
    )
    line = " ".join(shown.split())
    return line if len(line) <= STATUS_CHARACTERS else f"{line[: STATUS_CHARACTERS - 1]}…"

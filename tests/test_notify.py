"""What the service manager hears, on real datagram sockets."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dicomsync.notify import STATUS_CHARACTERS, Notify


class Manager:
    """Listens where a service manager would."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """Every message since the last look."""
        messages = []
        with suppress(BlockingIOError):
            while True:
                messages.append(self.socket.recv(65536).decode())
        return messages

    def fill(self) -> None:
        """Leave no room for another message."""
        to = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    other.sendto(b"FILLER=1", to)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest) -> Iterator[Manager]:
    with tempfile.TemporaryDirectory() as directory:  # pytest's own may be too long for a socket
        name = f"@dicomsync-{secrets.token_hex(8)}" if request.param == "abstract" else f"{directory}/notify"
        listening = Manager(name)
        yield listening
        listening.socket.close()


def test_each_thing_said_is_one_message(manager: Manager) -> None:
    notify = Notify(manager.address)
    notify.ready()
    notify.status("3 pending, oldest 12 s")
    notify.watchdog()
    notify.stopping()
    assert manager.heard() == ["READY=1", "STATUS=3 pending, oldest 12 s", "WATCHDOG=1", "STOPPING=1"]


def test_a_reload_carries_the_time_it_began(manager: Manager) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Notify(manager.address).reloading()
    [message] = manager.heard()
    state, _, rest = message.partition("\n")
    name, _, usec = rest.partition("=")
    assert (state, name) == ("RELOADING=1", "MONOTONIC_USEC")
    assert before <= int(usec) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("as it is", "as it is"),
        ("two\nREADY=1\r\nlines", "two READY=1 lines"),
        ("a\0b\x1b[31mc\x7fd\u202ee", "ab[31mcde"),  # what a terminal would act on
        ("wide\u2028\u00a0\t\tspaces  ", "wide spaces"),
        ("ältest 5 s", "ältest 5 s"),
        ("half \udc80 a name", "half a name"),
        ("", ""),
        ("x" * 10_000, "x" * (STATUS_CHARACTERS - 1) + "…"),
        ("x" * STATUS_CHARACTERS, "x" * STATUS_CHARACTERS),
    ],
)
def test_a_status_is_one_line_of_what_can_be_shown(manager: Manager, text: str, line: str) -> None:
    Notify(manager.address).status(text)
    assert manager.heard() == [f"STATUS={line}"]


def test_a_busy_manager_holds_nothing_up_and_status_is_dropped(manager: Manager) -> None:
    notify = Notify(manager.address)
    manager.fill()
    began = time.monotonic()
    for _ in range(1000):
        notify.status("busy")
        notify.watchdog()
    assert time.monotonic() - began < 10
    assert set(manager.heard()) == {"FILLER=1"}
    notify.watchdog()
    assert manager.heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    ("change", "state"),
    [(Notify.ready, "READY=1"), (Notify.stopping, "STOPPING=1")],
    ids=["ready", "stopping"],
)
def test_a_state_a_busy_manager_did_not_take_goes_with_the_next_word(
    manager: Manager, change: Callable[[Notify], None], state: str
) -> None:
    notify = Notify(manager.address)
    manager.fill()
    change(notify)
    notify.watchdog()  # no room yet
    manager.heard()
    notify.watchdog()
    notify.watchdog()
    assert manager.heard() == [f"{state}\nWATCHDOG=1", "WATCHDOG=1"]


def test_of_states_not_taken_only_the_newest_counts(manager: Manager) -> None:
    notify = Notify(manager.address)
    manager.fill()
    notify.reloading()
    notify.ready()
    manager.heard()
    notify.status("on")
    assert manager.heard() == ["READY=1\nSTATUS=on"]


def test_a_manager_that_vanished_and_came_back_is_told_again(manager: Manager) -> None:
    notify = Notify(manager.address)
    manager.socket.close()
    if manager.address.startswith("/"):
        Path(manager.address).unlink()
    notify.ready()
    notify.status("alone")
    notify.watchdog()
    again = Manager(manager.address)
    try:
        notify.watchdog()
        assert again.heard() == ["READY=1\nWATCHDOG=1"]
    finally:
        again.socket.close()


@pytest.mark.parametrize(
    "address",
    ["", "/", "@", "relative/path", "vsock:2:1234", "/a\0b", "/" + "x" * 500, "@" + "x" * 500, "/dev/null"],
)
def test_without_a_socket_to_speak_of_nothing_happens(address: str) -> None:
    notify = Notify(address)
    notify.ready()
    notify.status("hello")
    notify.watchdog()
    notify.reloading()
    notify.stopping()


def test_the_environment_says_where_and_how_often_and_is_emptied_of_it(manager: Manager) -> None:
    environ = {
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": "120000000",
        "WATCHDOG_PID": str(os.getpid()),
        "PATH": "/usr/bin",
    }
    notify = Notify.from_environment(environ)
    assert environ == {"PATH": "/usr/bin"}
    assert notify.watchdog_seconds == 120
    notify.ready()
    assert manager.heard() == ["READY=1"]


def test_children_do_not_inherit_the_variables(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}.items():
        monkeypatch.setenv(name, value)
    Notify.from_environment()
    script = "import os; print([n for n in os.environ if n.startswith(('NOTIFY_', 'WATCHDOG_'))])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"


ME = "this process"


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("120000000", ME, 120.0),
        ("1500000", None, 1.5),
        ("120000000", "1", None),  # meant for another process
        ("120000000", "", None),
        ("120000000", "nobody", None),
        (None, ME, None),
        ("", ME, None),
        ("0", ME, None),
        ("-5", ME, None),
        ("soon", ME, None),
        ("²", ME, None),
        ("9" * 5000, ME, None),
        (str(2**64 - 1), ME, None),
    ],
)
def test_the_watchdog_is_on_only_when_it_is_meant_for_us(
    usec: str | None, pid: str | None, expected: float | None
) -> None:
    whom = str(os.getpid()) if pid == ME else pid
    given = {"NOTIFY_SOCKET": "/run/systemd/notify", "WATCHDOG_USEC": usec, "WATCHDOG_PID": whom}
    environ = {name: value for name, value in given.items() if value is not None}
    assert Notify.from_environment(environ).watchdog_seconds == expected
    assert not environ


def test_a_watchdog_for_another_process_silences_nothing_else(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}
    notify = Notify.from_environment(environ)
    notify.ready()
    assert notify.watchdog_seconds is None
    assert manager.heard() == ["READY=1"]


def test_without_a_socket_there_is_no_watchdog() -> None:
    assert Notify.from_environment({"WATCHDOG_USEC": "1000000"}).watchdog_seconds is None

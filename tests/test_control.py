"""The socket for commands: who may open it, what is refused, and what an end on either side leaves."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dicomsync import control
from dicomsync.errors import DicomsyncError, LedgerInUse, UsageProblem

from .test_daemon import until

Message = dict[str, Any]


def echo(message: Message) -> Iterator[Message]:
    yield {"n": 1}
    yield {"heard": message, "last": True}


@contextmanager
def served(path: Path, answer: Any = echo, *, group: bool = False) -> Iterator[str]:
    server = control.Server(str(path), answer, group=group)
    try:
        yield str(path)
    finally:
        server.close()


def said(path: Path, raw: bytes) -> bytes:
    """Say anything at all to a server; gives everything it answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


@pytest.mark.parametrize(("group", "mode"), [(False, 0o600), (True, 0o660)])
def test_the_socket_lets_in_whom_the_config_names_and_nobody_else(
    tmp_path: Path, group: bool, mode: int
) -> None:
    with served(tmp_path / "control.sock", group=group) as path:
        assert stat.S_IMODE(os.stat(path).st_mode) == mode


def test_a_request_is_answered_line_by_line(tmp_path: Path) -> None:
    with served(tmp_path / "control.sock") as path:
        assert list(control.ask(path, {"a": 1})) == [{"n": 1}, {"heard": {"a": 1}, "last": True}]


@pytest.mark.parametrize("raw", [b"{\n", b"[1]\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n"])
def test_what_is_no_request_is_told_so(tmp_path: Path, raw: bytes) -> None:
    with served(tmp_path / "control.sock") as path:
        told = json.loads(said(Path(path), raw))
        assert "no request" in told["error"]["message"]
        assert list(control.ask(path, {}))  # it goes on


def test_a_request_without_an_end_is_left_unanswered(tmp_path: Path) -> None:
    with served(tmp_path / "control.sock") as path:
        assert said(Path(path), b'{"a": 1}') == b""
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            said(Path(path), b"x" * (4 * control.LINE_BYTES))
        assert list(control.ask(path, {}))


def test_an_error_of_the_daemon_comes_in_its_own_words_and_with_its_exit_code(tmp_path: Path) -> None:
    def refuse(message: Message) -> Iterator[Message]:
        if "a" not in message:
            raise UsageProblem("Not like this.", hint="But like that.")
        yield {}

    with served(tmp_path / "control.sock", refuse) as path, pytest.raises(DicomsyncError) as caught:
        list(control.ask(path, {}))
    assert (caught.value.message, caught.value.hint) == ("Not like this.", "But like that.")
    assert caught.value.exit_code == 2


def test_a_mistake_of_ours_tells_nothing_of_what_it_was_about(tmp_path: Path) -> None:
    def stumble(message: Message) -> Iterator[Message]:
        if "a" not in message:
            raise ValueError("DOE^JANE")
        yield {}

    with served(tmp_path / "control.sock", stumble) as path, pytest.raises(DicomsyncError) as caught:
        list(control.ask(path, {}))
    assert "DOE" not in caught.value.message


def test_a_daemon_that_ends_in_the_middle_leaves_an_error_and_not_silence(tmp_path: Path) -> None:
    def half(_message: Message) -> Iterator[Message]:
        yield {"n": 1}

    with served(tmp_path / "control.sock", half) as path, pytest.raises(DicomsyncError) as caught:
        list(control.ask(path, {}))
    assert caught.value.exit_code == 5


def test_nobody_there_means_that_the_ledgers_owner_takes_no_commands(tmp_path: Path) -> None:
    with pytest.raises(LedgerInUse, match="takes no commands"):
        list(control.ask(str(tmp_path / "control.sock"), {}))


def test_what_a_killed_daemon_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with served(path):
        assert list(control.ask(str(path), {}))
    assert not path.exists()


def test_the_socket_of_a_living_daemon_is_never_taken(tmp_path: Path) -> None:
    with served(tmp_path / "control.sock") as path:
        with pytest.raises(UsageProblem, match="Another daemon"):
            control.Server(path, echo, group=False)
        assert list(control.ask(path, {}))


def test_a_file_in_its_place_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("mine")
    with pytest.raises(UsageProblem, match="is no socket"):
        control.Server(str(path), echo, group=False)
    assert path.read_text() == "mine"


def test_a_path_longer_than_a_sockets_address_works(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    deep.mkdir(parents=True)
    with served(deep / "control.sock") as path:
        assert list(control.ask(path, {"a": 1}))[-1]["heard"] == {"a": 1}


def test_a_directory_that_is_not_there_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="cannot be made"):
        control.Server(str(tmp_path / "none" / "control.sock"), echo, group=False)


def test_a_command_that_leaves_frees_its_place(tmp_path: Path) -> None:
    ended: list[int] = []

    def forever(_message: Message) -> Iterator[Message]:
        try:
            while True:
                yield {"more": "x" * 4096}
        finally:
            ended.append(len(ended) + 1)

    with served(tmp_path / "control.sock", forever) as path:
        for n in range(1, 2 * control.CONNECTIONS):
            next(one := control.ask(path, {}))
            one.close()  # type: ignore[attr-defined]  # the outside
            until(partial(ended.__contains__, n))
        assert next(control.ask(path, {}))


def test_by_default_the_socket_is_beside_the_ledger_even_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "ledger.db")
    assert control.place("", str(tmp_path / "link.db")) == str(tmp_path / "real" / "control.sock")
    assert control.place("/run/x/control.sock", "/elsewhere") == "/run/x/control.sock"


def test_what_goes_wrong_inside_is_told_and_logged_without_its_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(_message: Message) -> Iterator[Message]:
        raise ValueError("/patients/Doe^Jane.dcm\n1.2.3")

    with served(tmp_path / "control.sock", stumble) as path, pytest.raises(DicomsyncError) as caught:
        list(control.ask(path, {}))
    assert str(caught.value) == "Something went wrong inside the daemon; see its log."
    assert caplog.messages == ["a command could not be answered (ValueError)"]

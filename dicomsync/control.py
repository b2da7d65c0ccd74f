"""The door for commands to a running daemon: a Unix socket, JSON lines, one request a connection.

Who may open the socket may ask; the file's mode says who that is. A request is a line, the answers are
lines, the last of them says what came of it. Nothing here knows what is asked.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dicomsync.errors import DicomsyncError, LedgerInUse, UsageProblem

log = logging.getLogger("dicomsync.control")

NAME = "control.sock"
LINE_BYTES = 1 << 20
ANSWER_BYTES = 16 << 20
CONNECTIONS = 16
REQUEST_SECONDS = 10.0
ANSWER_SECONDS = 120.0  # the daemon answers every few seconds: one that is silent for so long hangs
_ADDRESS_BYTES = 100  # what fits into a socket's address, and a little less

Message = dict[str, Any]


def place(given: str, ledger: str) -> str:
    """Say where the socket is: where the config says, else beside the ledger."""
    return os.path.abspath(given) if given else os.path.join(os.path.dirname(os.path.realpath(ledger)), NAME)


class Server:
    """Takes requests at `path` until it is closed; each is answered in a thread of its own.

    `answer` gives the messages to send; a DicomsyncError it raises is sent in its own words.
    """

    def __init__(self, path: str, answer: Callable[[Message], Iterator[Message]], *, group: bool) -> None:
        self._path = path
        self._answer = answer
        self._room = threading.BoundedSemaphore(CONNECTIONS)
        self._socket = _listen(path, 0o660 if group else 0o600)
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def close(self) -> None:
        """Take no more requests, and take the socket away."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with suppress(OSError):
            os.unlink(self._path)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            if not self._room.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection,), name="command", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(REQUEST_SECONDS)
                request = _line(connection, LINE_BYTES)
                for message in self._messages(request):
                    _send(connection, message)
        except OSError:
            log.debug("a command has left")  # it went away, or never said what it wants
        finally:
            self._room.release()

    def _messages(self, request: bytes) -> Iterator[Message]:
        try:
            asked = json.loads(request)
            if not isinstance(asked, dict):
                raise TypeError
        except (ValueError, TypeError, RecursionError):
            yield _told(UsageProblem("This is no request a daemon understands; nothing was done."))
            return
        try:
            yield from self._answer(asked)
        except DicomsyncError as problem:
            yield _told(problem)
        except Exception as error:
            log.error("a command could not be answered (%s)", type(error).__name__)
            yield _told(DicomsyncError("Something went wrong inside the daemon; see its log."))


def ask(path: str, request: Message) -> Iterator[Message]:
    """Ask the daemon behind the socket at `path`, and give its messages as they come.

    Raises LedgerInUse where nobody answers there (the ledger's owner is then no daemon of this config),
    and whatever error the daemon sends.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_SECONDS)
        try:
            with _address(path) as address:
                connection.connect(address)
            _send(connection, request)
        except OSError as error:
            raise _unreached(error) from None
        with connection.makefile("rb") as lines:
            while True:
                try:
                    line = lines.readline(ANSWER_BYTES)
                except OSError:
                    raise _left("did not answer for too long") from None
                if not line.endswith(b"\n"):
                    raise _left("ended, or was told to take a new config, before it had answered")
                message = json.loads(line)
                if "error" in message:
                    raise _problem(message["error"])
                yield message
                if message.get("last"):
                    return


def _unreached(error: OSError) -> LedgerInUse:
    if isinstance(error, PermissionError):
        return LedgerInUse(
            "A daemon has the ledger, and this user may not talk to it; nothing was done.",
            hint='Ask as its user or as root, or let its group in: [control] access = "group".',
        )
    return LedgerInUse(
        "The ledger is in use by another dicomsync, which takes no commands; nothing was done.",
        hint="Wait until it ends; `dicomsync status` shows what it is doing.",
    )


def _left(words: str) -> DicomsyncError:
    problem = DicomsyncError(
        f"The daemon {words}. What it has found is in the ledger.",
        hint="`dicomsync status` shows how it stands; the same command may be run again.",
    )
    problem.exit_code = 5
    return problem


def _told(problem: DicomsyncError) -> Message:
    return {
        "error": {"message": problem.message, "hint": problem.hint, "exit_code": problem.exit_code},
        "last": True,
    }


def _problem(told: Message) -> DicomsyncError:
    problem = DicomsyncError(str(told["message"]), hint=str(told["hint"]))
    problem.exit_code = int(told["exit_code"])
    return problem


def _send(connection: socket.socket, message: Message) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _line(connection: socket.socket, most: int) -> bytes:
    """Read one line; OSError where it does not come whole."""
    line = b""
    while not line.endswith(b"\n"):
        piece = connection.recv(65536)
        line += piece
        if not piece or len(line) > most:
            raise ConnectionError
    return line


def _listen(path: str, mode: int) -> socket.socket:
    """Listen at `path`; what an earlier daemon left there goes, a living one's socket is refused."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        os.fchmod(listening.fileno(), mode)  # before it is bound, so that it never lets in more
        with _address(path) as address:
            listening.bind(address)
        os.chmod(path, mode)
        listening.listen(CONNECTIONS)
    except OSError as error:
        listening.close()
        raise UsageProblem(
            f"The socket for commands at {path} cannot be made: {error.strerror}.",
            hint="Give another place with [control] socket; its directory must exist.",
        ) from None
    except UsageProblem:
        listening.close()
        raise
    return listening


def _clear(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise UsageProblem(
                f"{path} is there and is no socket; it was left as it is.",
                hint="Give another place with [control] socket.",
            )
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, _address(path) as address:
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise UsageProblem(
        f"Another daemon takes its commands at {path}; this one was not started.",
        hint="Two ledgers in one directory? Give each daemon a place of its own: [control] socket.",
    )


@contextmanager
def _address(path: str) -> Iterator[str]:
    """Give an address for `path`, however long it is: a socket's own may have about a hundred bytes."""
    if len(os.fsencode(path)) <= _ADDRESS_BYTES:
        yield path
        return
    directory = os.open(Path(path).parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{Path(path).name}"
    finally:
        os.close(directory)

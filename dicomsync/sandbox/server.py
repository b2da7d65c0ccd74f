"""Running the archive: in a thread for tests and the demonstration, until a signal for the command."""

from __future__ import annotations

import hashlib
import signal
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dicomsync.errors import UsageProblem
from dicomsync.sandbox.faults import Faults
from dicomsync.sandbox.records import Kept, Recorded

if TYPE_CHECKING:
    from dicomsync.sandbox.app import Sandbox
    from dicomsync.sandbox.shelf import Shelf

HOST = "127.0.0.1"  # never beyond this machine: it is not for patients
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Archive:
    """A sandbox that is running: where it is, what it was asked, what it holds, how it misbehaves."""

    def __init__(self, url: str, app: Sandbox, shelf: Shelf, requests: list[Recorded]) -> None:
        self.url = url
        self.requests = requests
        self.directory = shelf.directory
        self._app = app
        self._shelf = shelf

    @property
    def faults(self) -> tuple[str, ...]:
        """The faults set now, as they were asked for."""
        return self._app.faults.specs

    @faults.setter
    def faults(self, specs: Sequence[str]) -> None:
        self.set_faults(specs)

    def set_faults(self, specs: Sequence[str]) -> None:
        """Replace all faults for the requests that begin from now on; counts start anew."""
        self._app.faults = Faults(specs)

    def stored(self) -> dict[str, Kept]:
        """Return what is kept, by SOP Instance UID, hashed from the disk now: claims play no part in it."""
        kept = {}
        for one in self._shelf.all():
            with suppress(FileNotFoundError):  # deleted meanwhile
                kept[one.sop] = Kept(one.path, _sha256(one.path))
        return kept


@contextmanager
def running(
    directory: Path, faults: Sequence[str] = (), *, port: int = 0, durable: bool = False, record: bool = True
) -> Iterator[Archive]:
    """Serve `directory` from a thread, on 127.0.0.1, for as long as the block lasts; port 0 is any free one.

    Requests are answered from the first line of the block on. `durable` flushes to the disk what is
    stored; `record` keeps every request in `Archive.requests`.
    """
    set_up = Faults(faults)  # a spec that cannot be read is told before anything is started
    try:
        from dicomsync.sandbox.app import Sandbox
        from dicomsync.sandbox.listen import Server
        from dicomsync.sandbox.shelf import Shelf
    except ImportError as missing:
        raise UsageProblem(
            f"the sandbox needs {missing.name}, which is not installed.", hint="pip install 'dicomsync[web]'"
        ) from missing
    requests: list[Recorded] = []
    listener = _listener(port)
    try:
        shelf = Shelf(directory, durable=durable)
        app = Sandbox(shelf, set_up, requests if record else None)
        server = Server(app, listener)
    except BaseException:
        listener.close()
        raise
    url = f"http://{HOST}:{listener.getsockname()[1]}/v2"
    try:
        server.start()
        yield Archive(url, app, shelf, requests)
    finally:
        server.stop()
        shelf.close()


def serve(directory: Path, port: int, faults: Sequence[str], announce: Callable[[str], None]) -> None:
    """Serve `directory` on this machine until SIGINT or SIGTERM; `announce` gets the address once it serves.

    To be called from the main thread. Says nothing else: what it logs holds no UID and no path.
    """
    # Blocked here, the signals are blocked in the threads started below, and wait for sigtimedwait.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings may quote a patient's values
            with running(directory, faults, port=port, durable=True, record=False) as archive:
                announce(archive.url)
                signal.sigwait(_SIGNALS)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _listener(port: int) -> socket.socket:
    """Return a socket that is listening, so that the address is known before the server starts."""
    # The protocol is named because asyncio sends small writes at once (no Nagle) only where it is.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(256)
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageProblem(
            f"the sandbox cannot listen on port {port}: {error}", hint="choose another port, or 0 for any."
        ) from error
    return listener


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""A proxy that stands between dicomsync and an archive and keeps a record of what was on the wire, and when.

It forwards bytes as they come. For every Store it notes which SOP Instance UIDs are in it, each from the
first byte of the part that holds it to the end of the exchange, as the archive sees that: an exchange
whose client has died goes on until the archive has closed its side. It can hold everything at a byte
chosen beforehand, so that a test can strike there, and it can be as slow as a bad line.
"""

from __future__ import annotations

import itertools
import re
import select
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

HOST = "127.0.0.1"
PIECE_BYTES = 64 * 1024
BUFFER_BYTES = 64 * 1024  # small, so that little of a request hides in the buffers of the system
SECONDS = 30.0
_SOP_INSTANCE_UID = b"\x02\x00\x03\x00UI"  # of the file meta information: explicit little endian always


@dataclass
class Exchange:
    """One request and its answer. Times are monotonic; `ended` None: it is still open."""

    method: str
    target: str
    body_length: int
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    status: int = 0
    body_bytes: int = 0
    in_flight: dict[str, float] = field(default_factory=dict)  # SOP Instance UID: since when
    cut: str = ""  # who broke it off: client | archive | proxy

    @property
    def is_store(self) -> bool:
        """Whether it is a Store."""
        return self.method == "POST" and "/studies" in urlsplit(self.target).path

    @property
    def whole(self) -> bool:
        """Whether the archive was given the whole body."""
        return self.body_bytes == self.body_length

    def asks_about(self, instances: Mapping[str, tuple[str, str]]) -> set[str]:
        """Say which of these instances (SOP: Study and Series UIDs) its answer tells of."""
        if self.method != "GET" or self.status not in (200, 204, 404, 410):
            return set()
        parts = urlsplit(self.target)
        listed = parse_qs(parts.query).get("SOPInstanceUID")
        if listed:
            return set(instances) & set(listed[0].split(","))
        segments = parts.path.split("/")
        below = dict(itertools.pairwise(segments))
        if below.get("instances"):
            return set(instances) & {below["instances"]}
        if segments[-1] != "instances":
            return set()
        series, study = below.get("series"), below.get("studies")
        return {
            sop
            for sop, (its_study, its_series) in instances.items()
            if its_study == study and series in (None, its_series)
        }


class _Dropped(Exception):
    """The test wants this connection to break here."""


class RecordingProxy:
    """Forwards everything to the server of `archive_url`; `url` is what takes its place."""

    def __init__(self, archive_url: str) -> None:
        parts = urlsplit(archive_url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._server = (parts.hostname, parts.port)
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._listener.bind((HOST, 0))
        self._listener.listen(64)
        self.url = f"http://{HOST}:{self._listener.getsockname()[1]}{parts.path}"
        self.exchanges: list[Exchange] = []
        self.bytes_per_second: float | None = None  # of each Store's body
        self.held = threading.Event()  # a hold has been reached
        self._passed_bytes = 0  # of all Stores' bodies
        self._hold_at: int | None = None
        self._hold_last_byte = False
        self._hold_answer = False
        self._dropping = False
        self._changed = threading.Condition()
        self._accepting = threading.Lock()  # a connection is waiting or it is counted, at every moment
        self._serving = 0  # connections whose exchange is not over, or not on record yet
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> RecordingProxy:
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self.release(drop=True)
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(SECONDS)

    # what a test does

    def hold(self, at_byte: int | None = None, *, last_byte: bool = False, answer: bool = False) -> None:
        """Let Stores come no further than this: so many body bytes in all; or each without its last byte,
        or without its answer."""
        with self._changed:
            self._hold_at, self._hold_last_byte, self._hold_answer = at_byte, last_byte, answer
            self._dropping = False
            self.held.clear()

    def release(self, *, drop: bool = False) -> None:
        """Let what is held go on; or break it off, and what waits in the buffers is lost."""
        with self._changed:
            self._hold_at, self._hold_last_byte, self._hold_answer = None, False, False
            self._dropping = drop
            self._changed.notify_all()

    @property
    def quiet(self) -> bool:
        """Whether no exchange is open or on its way here: what a client sent before it died is on record."""
        with self._accepting:
            return not self._serving and not waiting(self._listener)

    @property
    def stores(self) -> list[Exchange]:
        """The Stores so far."""
        return [one for one in list(self.exchanges) if one.is_store]

    # what it saw

    def twice_in_flight(self) -> set[str]:
        """Say which instances were in two open requests at one moment."""
        found: set[str] = set()
        for uid, flights in self._flights().items():
            found |= {uid for one, other in itertools.pairwise(flights) if other[0] < one[1]}
        return found

    def studies_not_begun_alone(self, instances: Mapping[str, str]) -> set[str]:
        """Say whose first request (of these instances, SOP to Study UIDs) was open as the second began."""
        spans: dict[str, list[tuple[float, float]]] = {}
        for exchange in self.stores:
            ended = float("inf") if exchange.ended is None else exchange.ended
            for study in {instances[uid] for uid in exchange.in_flight}:
                spans.setdefault(study, []).append((exchange.began, ended))
        firsts = {study: sorted(found)[:2] for study, found in spans.items()}
        return {study for study, found in firsts.items() if len(found) == 2 and found[1][0] < found[0][1]}

    def sent_again_unasked(self, instances: Mapping[str, tuple[str, str]], looks: int = 1) -> set[str]:
        """Say which instances were sent again without the archive having been asked so often in between."""
        found: set[str] = set()
        for uid, flights in self._flights().items():
            for one, other in itertools.pairwise(flights):
                between = [
                    exchange
                    for exchange in self.exchanges
                    if exchange.began >= one[1]
                    and exchange.ended is not None
                    and exchange.ended <= other[0]
                    and uid in exchange.asks_about(instances)
                ]
                if len(between) < looks:
                    found.add(uid)
        return found

    def given_whole(self) -> dict[str, int]:
        """Count for each instance how often the archive was given a whole request with it."""
        counts: dict[str, int] = {}
        for exchange in self.stores:
            for uid in exchange.in_flight:
                counts[uid] = counts.get(uid, 0) + exchange.whole
        return counts

    def _flights(self) -> dict[str, list[tuple[float, float]]]:
        flights: dict[str, list[tuple[float, float]]] = {}
        for exchange in self.stores:
            ended = float("inf") if exchange.ended is None else exchange.ended
            for uid, since in exchange.in_flight.items():
                flights.setdefault(uid, []).append((since, ended))
        return {uid: sorted(found) for uid, found in flights.items()}

    # how it forwards

    def _spawn(self, target: object, *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]  # the test's own shorthand
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        while not self._stopping.is_set():
            waiting(self._listener, None)
            try:
                with self._accepting:
                    client, _ = self._listener.accept()
                    self._serving += 1
            except OSError:
                return
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(SECONDS)
        with client:
            try:
                self._exchange(client)
            finally:
                with self._accepting:
                    self._serving -= 1
            _linger(client)

    def _exchange(self, client: socket.socket) -> None:
        """Forward one request and its answer; every connection is for one exchange."""
        try:
            head, rest = _head(client)
        except OSError:
            return
        if not head:
            return
        exchange = _exchange(head)
        self.exchanges.append(exchange)
        try:
            with socket.create_connection(self._server, SECONDS) as server:
                self._forward(exchange, client, server, head, rest)
        except OSError:
            exchange.cut = exchange.cut or "archive"
        exchange.ended = exchange.ended or time.monotonic()

    def _forward(
        self, exchange: Exchange, client: socket.socket, server: socket.socket, head: bytes, rest: bytes
    ) -> None:
        kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        server.sendall(b"\r\n".join([*kept, b"Connection: close", b"", b""]))
        answer = self._spawn(self._give_back, exchange, client, server)
        try:
            self._give(exchange, client, server, head, rest)
        except _Dropped:
            exchange.cut = "proxy"
            client.shutdown(socket.SHUT_RDWR)
        except OSError:  # the archive reads no more: it may have answered
            pass
        if exchange.body_bytes < exchange.body_length:
            exchange.cut = exchange.cut or "client"
            server.shutdown(socket.SHUT_WR)
        answer.join()

    def _give(
        self, exchange: Exchange, client: socket.socket, server: socket.socket, head: bytes, rest: bytes
    ) -> None:
        seen = _Parts(exchange, head)
        taken_bytes = 0
        while taken_bytes < exchange.body_length:
            chunk = rest or client.recv(PIECE_BYTES)
            rest = b""
            if not chunk:
                return
            taken_bytes += len(chunk)
            while chunk:
                count = self._let(exchange, len(chunk))
                seen.take(chunk[:count])
                server.sendall(chunk[:count])
                exchange.body_bytes += count
                chunk = chunk[count:]

    def _let(self, exchange: Exchange, count: int) -> int:
        """Wait until some of `count` bytes may pass, and say how many."""
        if not exchange.is_store:
            return count
        if self.bytes_per_second:
            count = min(count, 16 * 1024)
            self._stopping.wait(count / self.bytes_per_second)
        with self._changed:
            while True:
                if self._dropping:
                    raise _Dropped
                allowed = count
                if self._hold_at is not None:
                    allowed = min(allowed, self._hold_at - self._passed_bytes)
                if self._hold_last_byte:
                    allowed = min(allowed, exchange.body_length - 1 - exchange.body_bytes)
                if allowed > 0:
                    self._passed_bytes += allowed
                    return allowed
                self.held.set()
                self._changed.wait()

    def _give_back(self, exchange: Exchange, client: socket.socket, server: socket.socket) -> None:
        """Forward the answer as it comes; without a client it is read to its end all the same.

        The last piece waits for the archive to close its side, so that the exchange is on record as over
        before the client can know.
        """
        kept = b""
        while chunk := _received(server):
            if not exchange.status:
                status_line, _, rest = chunk.partition(b"\r\n")
                exchange.status = int(status_line.split(b" ")[1])
                chunk = status_line + b"\r\nConnection: close\r\n" + rest
                self._wait_for_answer(exchange)
                if _has_gone(client):
                    exchange.cut = exchange.cut or "client"
            self._send(exchange, client, kept)
            kept = chunk
        exchange.ended = time.monotonic()
        if kept:
            self._send(exchange, client, kept)
        else:
            exchange.cut = exchange.cut or "archive"
        try:
            client.shutdown(socket.SHUT_WR if kept else socket.SHUT_RDWR)
        except OSError:
            exchange.cut = exchange.cut or "client"

    @staticmethod
    def _send(exchange: Exchange, client: socket.socket, chunk: bytes) -> None:
        try:
            client.sendall(chunk)
        except OSError:
            exchange.cut = exchange.cut or "client"

    def _wait_for_answer(self, exchange: Exchange) -> None:
        with self._changed:
            while exchange.is_store and self._hold_answer and not self._dropping:
                self.held.set()
                self._changed.wait()


class _Parts:
    """Finds the parts of a multipart body, and the instance in each, as the bytes go by."""

    def __init__(self, exchange: Exchange, head: bytes) -> None:
        self._exchange = exchange
        found = re.search(rb'boundary="?([^";\r\n]+)', head)
        self._boundary = b"--" + found[1] if found else b""
        self._wanted = re.compile(re.escape(self._boundary) + b"|" + re.escape(_SOP_INSTANCE_UID))
        self._rest = b""
        self._since: float | None = None  # the first byte of the part whose UID is still to come

    def take(self, chunk: bytes) -> None:
        """Look at the next bytes of the body."""
        if not self._boundary:
            return
        now, data, done = time.monotonic(), self._rest + chunk, 0
        for match in self._wanted.finditer(data):
            if match[0] == self._boundary:
                self._since = now
            elif self._since is not None:
                end = match.end() + 2 + int.from_bytes(data[match.end() : match.end() + 2], "little")
                if len(data) < max(end, match.end() + 2):
                    self._rest = data[match.start() :]
                    return
                uid = data[match.end() + 2 : end].rstrip(b"\0").decode("ascii")
                self._exchange.in_flight[uid] = self._since
                self._since = None
            done = match.end()
        longest = max(len(self._boundary), len(_SOP_INSTANCE_UID))
        self._rest = data[max(done, len(data) - longest + 1) :]


def waiting(listener: socket.socket, seconds: float | None = 0.0) -> bool:
    """Say whether a connection waits to be accepted, or comes within so many seconds (None: whenever)."""
    try:
        return bool(select.select([listener], [], [], seconds)[0])
    except (OSError, ValueError):  # closed meanwhile
        return False


def _head(client: socket.socket) -> tuple[bytes, bytes]:
    """Read a request's head without its empty line, and what came with it; empty if there is none."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = client.recv(PIECE_BYTES)
        if not chunk:
            return b"", b""
        data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _exchange(head: bytes) -> Exchange:
    method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return Exchange(method, target, int(found[1]) if found else 0)


def _received(server: socket.socket) -> bytes:
    try:
        return server.recv(PIECE_BYTES)
    except OSError:
        return b""


def _has_gone(client: socket.socket) -> bool:
    """Say whether the client has closed its side: sending to it may well succeed once more."""
    readable, _, _ = select.select([client], [], [], 0)
    try:
        return bool(readable) and not client.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def _linger(client: socket.socket) -> None:
    """Let the client read its answer: closing with bytes of its own unread would reset the connection."""
    client.settimeout(1)
    try:
        while client.recv(PIECE_BYTES):
            pass
    except OSError:
        return

"""A network between a client and an archive that is as slow, and goes wrong, at the very byte it is told to.

    with FaultProxy(archive.url) as network:
        network.requests = Line(bytes_per_second=1_000_000)  # each way has a line of its own
        network.answers = Line(latency_seconds=0.05)
        network.faults = [Fault(Act.RESET, at=0.5)]  # the next Store breaks off in its middle
        network.cut("refused")  # nobody listens any more
        network.mend()

Bytes are forwarded as they come, connections are kept as both sides keep them, and nothing is changed but
when bytes arrive and how many do. A fault meets one message, a request or the answer to one; `exchanges` says
afterwards what passed. Plain HTTP/1.1 without pipelining, requests with a length: what dicomsync sends.
"""

from __future__ import annotations

import fcntl
import queue
import re
import socket
import struct
import termios
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from urllib.parse import urlsplit

from .recording_proxy import waiting

HOST = "127.0.0.1"
PIECE_BYTES = 64 * 1024
PIECES_UNDER_WAY = 64  # 4 MiB each way: enough for 100 ms at 40 MB/s
PACED_SECONDS = 0.005  # a slow line moves in steps no longer than this
SECONDS = 30.0


class Way(StrEnum):
    """Where bytes go."""

    REQUEST = "request"
    ANSWER = "answer"


class Act(StrEnum):
    """What goes wrong at a byte."""

    RESET = "reset"  # both sides get RST
    END = "end"  # whom the bytes go to gets FIN, and what would follow is lost; the other way goes on
    STALL = "stall"  # nothing more comes, for some seconds or (0) until the client has gone
    DRIP = "drip"  # from there on a byte every so many seconds


@dataclass(frozen=True)
class Line:
    """How one way behaves; the bandwidth is shared by all connections."""

    latency_seconds: float = 0.0
    bytes_per_second: float | None = None
    piece_bytes: int = PIECE_BYTES  # the most that is sent at once


@dataclass(frozen=True)
class Fault:
    """What happens to the next `times` messages of a method, after so many bytes of the body.

    `at` counts from the body's beginning, or if negative from its end; a float is a share of it. With
    `head` it counts bytes of the head. An answer without a length can be met by a count from the start alone.
    """

    act: Act
    way: Way = Way.REQUEST
    at: int | float = 0  # which of the two it is matters
    head: bool = False
    method: str = "POST"
    times: int = 1
    seconds: float = 0.0

    def position(self, head_bytes: int, body_bytes: int) -> int:
        """Say after how many bytes of the message that is."""
        start, length = (0, head_bytes) if self.head else (head_bytes, body_bytes)
        if isinstance(self.at, float):
            return start + int(self.at * length)
        return start + self.at + (length if self.at < 0 else 0)


@dataclass
class Exchange:
    """A request and its answer: how much of each body was passed on, and the fault that met one of them."""

    method: str
    target: str
    body_bytes: int
    sent_bytes: int = 0
    answer_bytes: int = 0
    fault: Fault | None = None
    struck: bool = False

    @property
    def whole(self) -> bool:
        """Whether the whole request was passed on."""
        return self.sent_bytes == self.body_bytes


@dataclass
class _Message:
    exchange: Exchange
    way: Way
    head_bytes: int
    body_bytes: int
    passed: int = 0
    drip_seconds: float = 0.0

    @property
    def room(self) -> int | None:
        """How many more bytes pass before something goes wrong; None: all of them."""
        fault = self.exchange.fault
        if fault is None or fault.way is not self.way or self.exchange.struck:
            return None
        return max(0, fault.position(self.head_bytes, self.body_bytes) - self.passed)

    def count(self, size: int) -> None:
        self.passed += size
        in_body = max(0, self.passed - self.head_bytes)
        if self.way is Way.REQUEST:
            self.exchange.sent_bytes = in_body
        else:
            self.exchange.answer_bytes = in_body


@dataclass
class _Pace:
    """One way's bandwidth: when the line is free again."""

    free_at: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, size: int, bytes_per_second: float) -> float:
        """Take the line for so many bytes; gives the moment at which they are through."""
        with self.lock:
            self.free_at = max(self.free_at, time.monotonic()) + size / bytes_per_second
            return self.free_at


class FaultProxy:
    """Forwards everything to the server of `archive_url`; `url` is what takes its place."""

    def __init__(self, archive_url: str) -> None:
        parts = urlsplit(archive_url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.server = (parts.hostname, parts.port)
        self.requests = self.answers = Line()
        self.faults: list[Fault] = []
        self.exchanges: list[Exchange] = []
        self.paces = {Way.REQUEST: _Pace(), Way.ANSWER: _Pace()}
        self.stopping = threading.Event()
        self._met: dict[int, int] = {}
        self._lock = threading.Lock()
        self._accepting = threading.Lock()  # a connection is waiting or it is listed, at every moment
        self._connections: list[_Connection] = []
        self._threads: list[threading.Thread] = []
        self._fillers: list[socket.socket] = []
        self._how = ""
        self._listener = _listener(0)
        self._port: int = self._listener.getsockname()[1]
        self.url = f"http://{HOST}:{self._port}{parts.path}"

    def __enter__(self) -> FaultProxy:
        self._spawn(self._listener)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self.cut("refused")
        for thread in self._threads:
            thread.join(SECONDS)

    # what a test does

    def cut(self, how: str) -> None:
        """Break every connection; new ones are refused, reset, met with silence or lost in a black hole."""
        assert how in ("refused", "reset", "silent", "black hole")
        self._how = how
        _shut(self._listener)
        for connection in self._connections:
            connection.abort()
        if how in ("reset", "silent"):
            self._listen(64)
        elif how == "black hole":  # a full queue takes no further SYN
            self._listen(0, accepts=False)
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex((HOST, self._port))
                self._fillers.append(filler)

    def mend(self) -> None:
        """Let connections be made again."""
        _shut(self._listener)
        for filler in self._fillers:
            filler.close()
        self._how = ""
        self._fillers.clear()
        self._listen(64)

    @property
    def quiet(self) -> bool:
        """Whether no connection is open: all that a client sent before it died has been passed on."""
        with self._accepting:
            return not any(one.is_open for one in self._connections) and not waiting(self._listener)

    @property
    def struck(self) -> list[Exchange]:
        """The exchanges that a fault has met."""
        return [one for one in list(self.exchanges) if one.struck]

    # how it forwards

    def line(self, way: Way) -> Line:
        """Give the line of one way."""
        return self.requests if way is Way.REQUEST else self.answers

    def begin(self, head: bytes) -> Exchange:
        """Note a request, and the fault that is to meet it or its answer."""
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        exchange = Exchange(method, target, _length(head))
        with self._lock:
            for fault in self.faults:
                if fault.method == method and self._met.get(id(fault), 0) < fault.times:
                    self._met[id(fault)] = self._met.get(id(fault), 0) + 1
                    exchange.fault = fault
                    break
            self.exchanges.append(exchange)
        return exchange

    def _listen(self, backlog: int, *, accepts: bool = True) -> None:
        self._listener = _listener(self._port, backlog)
        if accepts:
            self._spawn(self._listener)

    def _spawn(self, listener: socket.socket) -> None:
        thread = threading.Thread(target=self._accept, args=(listener,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                waiting(listener, None)
                with self._accepting:
                    client, _ = listener.accept()
                    if self._how == "reset":
                        _reset(client)
                        continue
                    connection = _Connection(self, client)
                    self._connections.append(connection)
                if not self._how:
                    self._threads += connection.start()


class _Connection:
    """A client's connection and ours to the server: two ways, a reader and a writer for each."""

    def __init__(self, proxy: FaultProxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server: socket.socket | None = None
        self._exchange: Exchange | None = None
        self._gone = threading.Event()  # the client has, or both sides were cut
        self._ways_left = 2
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether bytes may still pass, one way or the other."""
        return self._ways_left > 0

    def start(self) -> list[threading.Thread]:
        try:
            self._server = socket.create_connection(self._proxy.server, SECONDS)
        except OSError:
            self.abort()
            self._ways_left = 0
            return []
        threads = []
        for way, source, sink in (
            (Way.REQUEST, self._client, self._server),
            (Way.ANSWER, self._server, self._client),
        ):
            source.settimeout(None)
            sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            under_way: _Queue = queue.Queue(PIECES_UNDER_WAY)
            threads.append(threading.Thread(target=self._read, args=(way, source, under_way), daemon=True))
            threads.append(threading.Thread(target=self._write, args=(way, sink, under_way), daemon=True))
        for thread in threads:
            thread.start()
        return threads

    def abort(self) -> None:
        """Cut both sides with RST."""
        self._gone.set()
        for side in (self._client, self._server):
            if side is not None:
                _reset(side)

    def _read(self, way: Way, source: socket.socket, under_way: _Queue) -> None:
        cut = self._requests() if way is Way.REQUEST else self._answers()
        next(cut)
        try:
            while data := source.recv(PIECE_BYTES):
                due = time.monotonic() + self._proxy.line(way).latency_seconds
                pieces = cut.send(data)
                for message, piece in pieces:
                    self._put(under_way, (due, message, piece))
        except OSError:
            self.abort()
        if way is Way.REQUEST:
            self._gone.set()
        self._put(under_way, None)

    def _put(self, under_way: _Queue, item: _Item | None) -> None:
        while not self._proxy.stopping.is_set():
            with suppress(queue.Full):
                under_way.put(item, timeout=0.2)
                return

    def _take(self, under_way: _Queue) -> _Item | None:
        while not self._proxy.stopping.is_set():
            with suppress(queue.Empty):
                return under_way.get(timeout=0.2)
        return None

    def _requests(self) -> _Cutter:
        """Cut what the client sends into messages; a head is passed on once it is whole."""
        waiting, left, message = b"", 0, None
        pieces: list[tuple[_Message | None, bytes]] = []
        while True:
            data = yield pieces
            pieces = []
            while data:
                if message is not None and left:
                    pieces.append((message, data[:left]))
                    data, left = data[left:], max(0, left - len(data))
                    continue
                head, end, data = (waiting + data).partition(b"\r\n\r\n")
                waiting = b"" if end else head
                if end:
                    self._exchange = self._proxy.begin(head)
                    left = self._exchange.body_bytes
                    message = _Message(self._exchange, Way.REQUEST, len(head) + 4, left)
                    pieces.append((message, head + end))

    def _answers(self) -> _Cutter:
        """Say of what the server sends which exchange it answers."""
        waiting, message = b"", None
        pieces: list[tuple[_Message | None, bytes]] = []
        while True:
            data = yield pieces
            pieces = []
            exchange = self._exchange
            if message is None or message.exchange is not exchange:
                head, end, rest = (waiting + data).partition(b"\r\n\r\n")
                waiting = b"" if end else head
                if end and exchange is not None:
                    message = _Message(exchange, Way.ANSWER, len(head) + 4, _length(head))
                    pieces.append((message, head + end + rest))
            else:
                pieces.append((message, data))

    def _write(self, way: Way, sink: socket.socket, under_way: _Queue) -> None:
        lost = False
        try:
            while (item := self._take(under_way)) is not None:
                due, message, data = item
                self._proxy.stopping.wait(max(0.0, due - time.monotonic()))
                lost = lost or not self._pass_on(way, sink, message, data)
            with suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            self.abort()
        with self._lock:
            self._ways_left -= 1
            if not self._ways_left:
                for side in (self._client, self._server):
                    if side is not None:
                        side.close()

    def _pass_on(self, way: Way, sink: socket.socket, message: _Message | None, data: bytes) -> bool:
        """Pass bytes on, as far as they come; says whether this way is still open."""
        line, view = self._proxy.line(way), memoryview(data)
        while message is not None:
            room = message.room
            if room == 0:
                if not self._strike(sink, message):
                    return False
                continue
            if not view:
                return True
            size = min(len(view), line.piece_bytes, room or len(view))
            if message.drip_seconds:
                size = 1
                self._proxy.stopping.wait(message.drip_seconds)
            elif line.bytes_per_second:
                size = max(1, min(size, int(line.bytes_per_second * PACED_SECONDS)))
                through = self._proxy.paces[way].take(size, line.bytes_per_second)
                self._proxy.stopping.wait(max(0.0, through - time.monotonic()))
            sink.sendall(view[:size])
            message.count(size)
            view = view[size:]
        return True

    def _strike(self, sink: socket.socket, message: _Message) -> bool:
        """Let go wrong what is to; says whether more may pass this way."""
        fault = message.exchange.fault
        assert fault is not None
        message.exchange.struck = True
        _arrived(sink)
        match fault.act:
            case Act.RESET:
                self.abort()
                raise OSError
            case Act.END:
                sink.shutdown(socket.SHUT_WR)
                return False
            case Act.STALL:
                if self._gone.wait(fault.seconds or SECONDS) or not fault.seconds:
                    raise OSError
            case Act.DRIP:
                message.drip_seconds = fault.seconds
        return True


_Item = tuple[float, _Message | None, bytes]
_Queue = queue.Queue[_Item | None]
_Cutter = Generator[list[tuple[_Message | None, bytes]], bytes, None]


def _length(head: bytes) -> int:
    found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return int(found[1]) if found else 0


def _listener(port: int, backlog: int = 64) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    listener.listen(backlog)
    return listener


def _shut(listener: socket.socket) -> None:
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
    listener.close()


def _reset(side: socket.socket) -> None:
    """Close with RST, and wake who waits for bytes of it."""
    with suppress(OSError):
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        side.shutdown(socket.SHUT_RD)
    side.close()


def _arrived(sink: socket.socket) -> None:
    """Wait until the other side's system has all that was sent: RST would take the rest back."""
    end = time.monotonic() + 1.0
    with suppress(OSError, ValueError):  # closed meanwhile
        while time.monotonic() < end:
            (left,) = struct.unpack("i", fcntl.ioctl(sink.fileno(), termios.TIOCOUTQ, bytes(4)))
            if not left:
                return
            time.sleep(0.001)

"""A server on loopback that does to each connection exactly what a script says, byte by byte."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

REASONS = {200: "OK", 204: "No Content", 302: "Found", 404: "Not Found", 413: "Too Large"}


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Mapping[str, str]
    head: bytes
    body: bytes = b""


@dataclass
class Peer:
    """The server's end of one connection, as a script plays it."""

    sock: socket.socket
    stopping: threading.Event
    seen: list[Request]
    _rest: bytes = field(default=b"")

    def head(self) -> Request | None:
        """Read one request's head and note it; None if the client has gone."""
        while b"\r\n\r\n" not in self._rest:
            data = self.sock.recv(65536)
            if not data:
                return None
            self._rest += data
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        method, target, _version = line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
        request = Request(method, target, headers, head)
        self.seen.append(request)
        return request

    def body(self, count: int) -> bytes:
        """Read so many bytes of the body."""
        while len(self._rest) < count:
            data = self.sock.recv(1 << 20)
            if not data:
                break
            self._rest += data
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def request(self) -> Request | None:
        """Read one request whole."""
        request = self.head()
        if request is None:
            return None
        body = self.body(int(request.headers.get("content-length", "0")))
        self.seen[-1] = whole = Request(request.method, request.target, request.headers, request.head, body)
        return whole

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a whole answer; `Content_Type="x"` gives the header Content-Type: x."""
        self.send(answer(status, body, **headers))

    def drip(self, data: bytes, seconds: float) -> None:
        """Send a byte each so many seconds, until the client goes or the test ends."""
        for byte in data:
            self.send(bytes([byte]))
            if self.stopping.wait(seconds):
                return

    def stall(self) -> None:
        """Do nothing until the test ends."""
        self.stopping.wait(30)

    def reset(self) -> None:
        """Break the connection as a crash does: RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Script = Callable[[Peer], None]


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"]
    if status != 204:
        headers.setdefault("Content_Length", str(len(body)))
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def answering(respond: Callable[[Request], bytes]) -> Script:
    """A script that answers every request on its connection, as ordinary servers do."""

    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            peer.send(respond(request))

    return script


class ScriptedServer:
    """Plays the first script to the first connection and so on; the last one to all that follow."""

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Request] = []
        self.connections = 0
        self._scripts = scripts
        self._tls = tls
        self._stopping = threading.Event()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/v2"

    def __enter__(self) -> ScriptedServer:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def wait(self, seconds: float) -> None:
        """Let time pass: only for what is about time."""
        self._stopping.wait(seconds)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            thread = threading.Thread(target=self._play, args=(script, sock), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _play(self, script: Script, sock: socket.socket) -> None:
        sock.settimeout(10)
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            self._open.append(sock)
            with sock:
                script(Peer(sock, self._stopping, self.seen))
        except OSError:  # the client has gone: that is what many tests are about
            sock.close()


TEST_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBZjCCAQ2gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABC4592sSb9xeGKqV
Nz2MCwZ1x85TJRjuhUdCcU+DhcMGHpCUmRcT2xfJPAbh4K0jy3Pfe1xVkB0Eaphv
pkhxwlujTjBMMBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAPBgNVHRMBAf8E
BTADAQH/MB0GA1UdDgQWBBQ/KXaVPik/5wLixgXUtlzTFXWlajAKBggqhkjOPQQD
AgNHADBEAiAH0evjuTSwRkzoy9k/45qCw/NmUq91cApwpvIsP4sv3AIgE3+O73dA
F44sJPkdZvMXFW9WEfriQkJWkRp1ypl4uH8=
-----END CERTIFICATE-----
"""
"""For localhost and 127.0.0.1, signed by itself, until 2120; its key is below and protects nothing."""

TEST_KEY = """\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEILF5TH2M0Zoev1qjmYfnmj6AZD/DPSJwvHVCVaH+EggPoAoGCCqGSM49
AwEHoUQDQgAELjn3axJv3F4YqpU3PYwLBnXHzlMlGO6FR0JxT4OFwwYekJSZFxPb
F8k8BuHgrSPLc997XFWQHQRqmG+mSHHCWw==
-----END EC PRIVATE KEY-----
"""

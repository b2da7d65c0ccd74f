"""The wire: connections whose every read and write ends in time, for httpx to send requests over.

httpx and httpcore limit one socket call each, so that an answer dripping in byte by byte never ends.
Here a request carries one `Limit` that all its socket calls obey. It travels as httpx's own timeout
(a request extension), which httpcore hands through to the network stream.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpcore

from .. import __version__
from ..errors import SecretProblem
from .http import httpx

HEADERS: Final = {
    "Connection": "keep-alive",
    "User-Agent": f"dicomsync/{__version__}",
    "Accept-Encoding": "identity",
    "Accept": "*/*",
}
"""What every request says, if it does not say otherwise."""

_ANSWER: Final = re.compile(rb"HTTP/1\.[01] [2-9]")  # the head of an answer that is not 1xx
_LOOK_SECONDS: Final = 0.25  # while the archive takes nothing: how often to look for an early answer
_IDLE_CONNECTIONS: Final = 8
_RECORD_BYTES: Final = 16 << 10  # of TLS (RFC 8446 5.1)


class Limit(float):
    """How long one request may still take: what httpcore believes to be a timeout in seconds.

    `idle_seconds` bounds each socket call, `ends_at` (monotonic seconds) all of them; whoever makes
    the request moves both as it goes from phase to phase.
    """

    idle_seconds: float
    ends_at: float

    @classmethod
    def starting(cls, idle_seconds: float, total_seconds: float) -> Limit:
        """Make one that ends `total_seconds` from now."""
        limit = cls(idle_seconds)
        limit.allow(idle_seconds, total_seconds)
        return limit

    def allow(self, idle_seconds: float, total_seconds: float) -> None:
        """Begin a new phase: from now on this long between bytes, and this long in all."""
        self.idle_seconds = idle_seconds
        self.ends_at = time.monotonic() + total_seconds

    def extend(self, seconds: float) -> None:
        """Leave out of the reckoning a time for which it was us who waited."""
        self.ends_at += seconds

    def left(self) -> float:
        """Say how many seconds the next socket call may take; 0 or less: none."""
        return min(self.idle_seconds, self.ends_at - time.monotonic())


@dataclass(slots=True)
class ProxyRoute:
    """The way through an HTTP proxy: its URL, TLS for one that is reached by https, our credential to it."""

    url: str
    ssl_context: ssl.SSLContext | None = None
    authorization: bytes | None = field(default=None, repr=False)


class Transport(httpx.BaseTransport):
    """HTTP/1.1 over bounded streams: no proxy but `proxy`, no redirects, no retries, no cookies.

    Requests are handed to it as they are. A client of httpx's around it would only have to be kept from
    following redirects and keeping cookies, and takes a quarter of a request's processor time (90 of 360 µs).

    `ssl_context` None is for plain http. Threads share it and never wait for one another.
    """

    def __init__(
        self, ssl_context: ssl.SSLContext | None, keepalive_seconds: float, proxy: ProxyRoute | None = None
    ) -> None:
        settings: dict[str, Any] = {
            "ssl_context": ssl_context,
            "max_connections": None,
            "max_keepalive_connections": _IDLE_CONNECTIONS,
            "keepalive_expiry": keepalive_seconds,
            "http1": True,
            "http2": False,
            "retries": 0,
            "network_backend": _Backend(),
        }
        self._is_closed = False
        if proxy is None:
            self._pool = httpcore.ConnectionPool(**settings)
        else:
            said = [] if proxy.authorization is None else [(b"Proxy-Authorization", proxy.authorization)]
            self._pool = httpcore.HTTPProxy(
                proxy.url, proxy_headers=said, proxy_ssl_context=proxy.ssl_context, **settings
            )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and give its answer, the body still to be read; raises httpx's exceptions."""
        if self._is_closed:  # httpcore's pool would open another connection
            raise RuntimeError("this transport was closed: it sends nothing any more")
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        assert isinstance(request.stream, Iterable)  # noqa: S101 - httpx's sync client gives no other
        with _as_httpx():
            answer = self._pool.handle_request(
                httpcore.Request(
                    request.method,
                    url,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_AnswerStream(answer),
            extensions={key: answer.extensions[key] for key in ("http_version", "network_stream")},
            request=request,
        )

    def close(self) -> None:
        """Close every connection, for good."""
        self._is_closed = True
        self._pool.close()


class _AnswerStream(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


@contextmanager
def _as_httpx() -> Iterator[None]:
    """Turn httpcore's exceptions into httpx's, which carry the same names; others pass."""
    try:
        yield
    except _HTTPCORE_ERRORS as error:
        if isinstance(error, httpcore.ProxyError) and str(error).startswith("407"):
            raise SecretProblem(
                "no credential: the proxy does not accept ours (407); the archive was sent nothing",
                hint="Are proxy_username and proxy_password_from right?",
            ) from None
        raise getattr(httpx, type(error).__name__, httpx.TransportError)(str(error)) from error


_HTTPCORE_ERRORS: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,  # the pool tries another; should it ever not, nothing was sent
)


class _Backend(httpcore.NetworkBackend):
    """httpcore's own sockets, each wrapped so that it obeys a Limit."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            return _Stream(self._inner.connect_tcp(host, port, timeout, local_address, socket_options))
        except UnicodeError as error:  # a host name that no resolver can be asked for
            raise httpcore.ConnectError("the host name cannot be encoded") from error


class _Stream(httpcore.NetworkStream):
    """One connection: reads and writes end by the request's Limit, and an early answer ends a write."""

    def __init__(self, inner: httpcore.NetworkStream, *, is_nested: bool = False) -> None:
        self._inner = inner
        self._socket: socket.socket = inner.get_extra_info("socket")
        self._is_tls = isinstance(self._socket, ssl.SSLSocket)
        self._is_nested = is_nested

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        seconds = timeout.left() if isinstance(timeout, Limit) else timeout
        if seconds is not None and seconds <= 0:
            raise httpcore.ReadTimeout("the answer took too long")
        return self._inner.read(max_bytes, seconds)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        limit = timeout if isinstance(timeout, Limit) else Limit.starting(timeout or 60.0, timeout or 60.0)
        rest = memoryview(buffer)
        while rest:
            try:
                rest = rest[self._send(rest, limit) :]
            except TimeoutError:
                raise httpcore.WriteTimeout("the archive takes no more of the request") from None
            except OSError as error:
                raise httpcore.WriteError(str(error)) from error

    def _send(self, rest: memoryview, limit: Limit) -> int:
        """Send what the socket takes within the limit: how many bytes that was."""
        if limit.left() <= 0:
            raise TimeoutError
        if self._is_nested:  # TLS to the archive inside TLS to the proxy: the socket knows the outer one only
            self._inner.write(piece := bytes(rest[:_RECORD_BYTES]), limit.left())
            return len(piece)
        if self._is_tls:
            self._socket.settimeout(limit.left())
            return self._socket.send(rest)
        if self._socket.gettimeout() != 0:  # else it is so already: a system call less
            self._socket.setblocking(False)
        try:
            return self._socket.send(rest)
        except BlockingIOError:
            self._wait_to_write(limit)
            return 0

    def _wait_to_write(self, limit: Limit) -> None:
        """Wait until the socket takes bytes; a server that has answered and takes none ends the request.

        Without this the answer (a 413, say) would lie unread until the write timed out, and be lost.
        TLS streams cannot be looked into this way: their records need not be answers.
        """
        until = time.monotonic() + limit.left()
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        while not poll.poll(1000 * min(_LOOK_SECONDS, max(until - time.monotonic(), 0.001))):
            if self._has_answered():
                raise OSError("the archive answered before it had the whole request")
            if time.monotonic() >= until:
                raise TimeoutError

    def _has_answered(self) -> bool:
        try:
            head = self._socket.recv(16, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        return not head or _ANSWER.match(head) is not None  # b"": it will never say anything any more

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, timeout)
        return _Stream(inner, is_nested=self._is_tls)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

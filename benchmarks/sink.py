"""A DICOMweb archive that keeps nothing: it reads what is stored at full speed and acknowledges it truly.

    python -m benchmarks.sink

Of each part it reads the File Meta Information, for the SOP Instance UID that its answer must name, and has
the kernel drop the rest (MSG_TRUNC) where the part tells its length; where it does not, the boundary is
searched for, as PS3.18 8.6.1.2 asks of any reader, and a body in chunks is put together first. Prints its
port, then serves until it is terminated; GET /count says how many different instances it was given.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from contextlib import suppress

HOST = "127.0.0.1"
HEAD_BYTES = 64 * 1024
META_BYTES = 2048
CHUNK_BYTES = 1 << 20
_CLASS, _INSTANCE = b"\x02\x00\x02\x00UI", b"\x02\x00\x03\x00UI"


class Stranger(Exception):
    """What came is no request that this archive reads."""


class Stream:
    """What comes over one connection: read ahead a little, dropped where nobody wants it.

    Without a connection it is of what is `ahead` alone.
    """

    def __init__(self, connection: socket.socket | None, ahead: bytes = b"") -> None:
        self._socket = connection
        self._ahead = ahead
        self._at = 0
        self._trash = memoryview(bytearray(CHUNK_BYTES))

    def until(self, mark: bytes, most: int = HEAD_BYTES) -> bytes:
        """Read up to a mark, and past it; what is ahead of it is given, b"" if the stream ended first."""
        while (at := self._ahead.find(mark, self._at)) < 0:
            if len(self._ahead) - self._at > most or not self._more():
                return b""
        found = self._ahead[self._at : at]
        self._at = at + len(mark)
        return found

    def peek(self, count: int) -> bytes:
        """Look at what comes next, without taking it."""
        while len(self._ahead) - self._at < count and self._more():
            pass
        return self._ahead[self._at : self._at + count]

    def take(self, count: int) -> bytes:
        """Read bytes."""
        ahead = self._ahead[self._at : self._at + count]
        self._at += len(ahead)
        rest = bytearray(count - len(ahead))
        view = memoryview(rest)
        while view:
            got = self._socket.recv_into(view) if self._socket else 0
            if not got:
                raise Stranger
            view = view[got:]
        return ahead + rest

    def skip(self, count: int) -> None:
        """Drop bytes, in the kernel where they are still there."""
        ahead = min(count, len(self._ahead) - self._at)
        self._at += ahead
        count -= ahead
        while count > 0:
            most = min(count, CHUNK_BYTES)
            got = self._socket.recv_into(self._trash, most, socket.MSG_TRUNC) if self._socket else 0
            if not got:
                raise Stranger
            count -= got

    def drop_through(self, mark: bytes, most: int) -> int:
        """Drop bytes up to a mark, and it too; gives how many they were with it."""
        dropped = 0
        while (at := self._ahead.find(mark, self._at)) < 0:
            keep = max(self._at, len(self._ahead) - len(mark) + 1)
            dropped += keep - self._at
            self._at = keep
            if dropped > most or not self._more(CHUNK_BYTES):
                raise Stranger
        dropped += at + len(mark) - self._at
        self._at = at + len(mark)
        return dropped

    def write(self, data: bytes) -> None:
        """Send."""
        if self._socket:
            self._socket.sendall(data)

    def _more(self, most: int = HEAD_BYTES) -> bool:
        data = self._socket.recv(most) if self._socket else b""
        self._ahead = self._ahead[self._at :] + data
        self._at = 0
        return bool(data)


class Sink:
    """What was given so far."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def serve(self, connection: socket.socket) -> None:
        """Answer requests until the other side hangs up."""
        stream = Stream(connection)
        with connection, suppress(Stranger, OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while head := stream.until(b"\r\n\r\n"):
                self._answer(stream, head)

    def _answer(self, stream: Stream, head: bytes) -> None:
        request, _, rest = head.partition(b"\r\n")
        method, target, _ = request.split(b" ", 2)
        headers = fields(rest)
        length = int(headers.get(b"content-length", b"0"))
        if headers.get(b"expect", b"").lower() == b"100-continue":
            stream.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if method == b"GET":
            stream.skip(length)
            count = target == b"/count"
            stream.write(_response(200 if count else 204, json.dumps(len(self._seen)) if count else ""))
            return
        body = stream
        if b"chunked" in headers.get(b"transfer-encoding", b"").lower():
            whole = unchunked(stream)
            body, length = Stream(None, whole), len(whole)
        boundary = re.search(rb'boundary="?([^";]+)', headers.get(b"content-type", b""))
        named = parts(body, boundary[1], length) if boundary else [_single(body, length)]
        with self._lock:
            self._seen.update(uid for _, uid in named)
        stream.write(_response(200, json.dumps(_acknowledged(named))))


def fields(text: bytes) -> dict[bytes, bytes]:
    """Read header fields, with their names in small letters."""
    pairs = (line.partition(b":") for line in text.split(b"\r\n") if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def unchunked(stream: Stream) -> bytes:
    """Read a body in chunks (RFC 9112 7.1) to its end."""
    chunks = []
    while size := int(stream.until(b"\r\n").partition(b";")[0] or b"0", 16):
        chunks.append(stream.take(size))
        stream.until(b"\r\n")
    stream.until(b"\r\n")
    return b"".join(chunks)


def parts(stream: Stream, boundary: bytes, length: int) -> list[tuple[str, str]]:
    """Read a multipart body of `length` bytes; gives SOP Class and Instance UID of each part."""
    found = []
    mark = b"--" + boundary
    left = length - stream.drop_through(mark, length)
    while stream.peek(2) == b"\r\n":
        head = stream.until(b"\r\n\r\n")
        left -= len(head) + 4
        found.append(named(stream.peek(min(META_BYTES, left))))
        size = int(fields(head).get(b"content-length", b"0"))
        stream.skip(size)
        left -= size
        left -= stream.drop_through(b"\r\n" + mark, left)
    stream.skip(left)
    return found


def _single(stream: Stream, length: int) -> tuple[str, str]:
    found = named(stream.peek(min(META_BYTES, length)))
    stream.skip(length)
    return found


def named(meta: bytes) -> tuple[str, str]:
    """Find SOP Class and Instance UID in File Meta Information (PS3.10 7.1, explicit little endian)."""
    if meta[128:132] != b"DICM":
        raise Stranger
    return _value(meta, _CLASS), _value(meta, _INSTANCE)


def _value(meta: bytes, element: bytes) -> str:
    at = meta.find(element, 132)
    if at < 0:
        raise Stranger
    (length,) = struct.unpack_from("<H", meta, at + 6)
    return meta[at + 8 : at + 8 + length].rstrip(b"\0").decode("ascii")


def _acknowledged(named: list[tuple[str, str]]) -> dict[str, object]:
    """Build a Store Instances Response Module (PS3.18 I.2.2) that refers to every instance."""
    items = [
        {
            "00081150": {"vr": "UI", "Value": [sop_class]},
            "00081155": {"vr": "UI", "Value": [uid]},
            "00081190": {"vr": "UR", "Value": [f"http://{HOST}/instances/{uid}"]},
        }
        for sop_class, uid in named
    ]
    return {"00081199": {"vr": "SQ", "Value": items}}


def _response(status: int, body: str) -> bytes:
    content = body.encode()
    if status == 204:
        return b"HTTP/1.1 204 No Content\r\n\r\n"
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def main() -> None:
    """Serve on a port of the system's choice, a thread for each connection."""
    sink = Sink()
    with socket.create_server((HOST, 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=sink.serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()

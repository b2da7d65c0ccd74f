"""The limit: a folder stored by sendfile, with nothing looked at, proved or written down.

    python -m benchmarks.by_sendfile URL FOLDER [CONNECTIONS]

Over one connection a request holds a directory; over several, as many files as a batch of dicomsync.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO
from urllib.parse import SplitResult, urlsplit

AT_ONCE = 100  # of dicomsync's batches
_BOUNDARY = "limit"
_END = f"\r\n--{_BOUNDARY}--\r\n".encode()


def main() -> None:
    """Send all requests, over as many connections as are asked for."""
    url, folder = urlsplit(sys.argv[1]), sys.argv[2]
    connections = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    requests = list(_requests(folder, AT_ONCE if connections > 1 else sys.maxsize))
    with ThreadPoolExecutor(connections) as hands:
        list(hands.map(lambda first: _send(url, requests[first::connections]), range(connections)))


def _requests(folder: str, at_once: int) -> Iterator[list[str]]:
    for directory, _, names in os.walk(folder):
        files = [os.path.join(directory, name) for name in sorted(names) if name.endswith(".dcm")]
        yield from (files[at : at + at_once] for at in range(0, len(files), at_once))


def _send(url: SplitResult, requests: list[list[str]]) -> None:
    with socket.create_connection((url.hostname or "", url.port or 80)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answers = connection.makefile("rb")
        for files in requests:
            _store(connection, f"{url.path}/studies", files)
            _read_answer(answers)


def _store(connection: socket.socket, target: str, files: list[str]) -> None:
    heads = [
        f"\r\n--{_BOUNDARY}\r\nContent-Type: application/dicom\r\nContent-Length: {size}\r\n\r\n".encode()
        for size in map(os.path.getsize, files)
    ]
    length = sum(map(os.path.getsize, files)) + sum(map(len, heads)) + len(_END)
    connection.sendall(
        f"POST {target} HTTP/1.1\r\nHost: limit\r\nContent-Length: {length}\r\n"
        'Accept: application/dicom+json\r\nContent-Type: multipart/related; type="application/dicom"; '
        f"boundary={_BOUNDARY}\r\n\r\n".encode()
    )
    for path, head in zip(files, heads, strict=True):
        connection.sendall(head, socket.MSG_MORE)
        with open(path, "rb") as file:
            connection.sendfile(file)
    connection.sendall(_END)


def _read_answer(answers: BinaryIO) -> None:
    line = answers.readline()
    if b" 200 " not in line:
        raise SystemExit(f"the archive answered {line!r}")
    length = 0
    while line.strip():
        line = answers.readline()
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    answers.read(length)


if __name__ == "__main__":
    main()

"""The limit: a folder stored over one connection by sendfile, with nothing looked at, proved or written down.

python -m benchmarks.by_sendfile URL FOLDER
"""

from __future__ import annotations

import os
import socket
import sys
from typing import BinaryIO
from urllib.parse import urlsplit

_BOUNDARY = "limit"
_END = f"\r\n--{_BOUNDARY}--\r\n".encode()


def main() -> None:
    """Send a request for each directory that has files."""
    url, folder = urlsplit(sys.argv[1]), sys.argv[2]
    with socket.create_connection((url.hostname or "", url.port or 80)) as connection:
        answers = connection.makefile("rb")
        for directory, _, names in os.walk(folder):
            files = [os.path.join(directory, name) for name in sorted(names) if name.endswith(".dcm")]
            if files:
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
        f'Content-Type: multipart/related; type="application/dicom"; boundary={_BOUNDARY}\r\n\r\n'.encode()
    )
    for path, head in zip(files, heads, strict=True):
        connection.sendall(head, socket.MSG_MORE)
        with open(path, "rb") as file:
            connection.sendfile(file)
    connection.sendall(_END)


def _read_answer(answers: BinaryIO) -> None:
    line = answers.readline()
    if b" 200 " not in line:
        sys.exit(f"the archive answered {line!r}")
    length = 0
    while line.strip():
        line = answers.readline()
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    answers.read(length)


if __name__ == "__main__":
    main()

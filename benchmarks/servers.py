"""What is sent to, on loopback, each a process of its own and fresh for every run.

A link with latency or a limited rate goes between a sender and one of these: its URL in place of theirs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sink import HOST
from tests import orthanc as orthancs

COMMAND = [sys.executable, "-m", "dicomsync"]


@dataclass(frozen=True, slots=True)
class Server:
    """A running archive, and how many different instances it was given."""

    kind: str
    url: str
    count: Callable[[], int]
    dicom_port: int | None = None

    @property
    def root(self) -> str:
        """Where the server is, without its DICOMweb path."""
        return self.url.removesuffix("/dicom-web")


Starts = Callable[[], AbstractContextManager[Server]]
"""What starts a fresh server, and ends it with the block."""


@contextmanager
def sink() -> Iterator[Server]:
    """Run the archive that keeps nothing; it is spoken to as to the Medical Imaging Server."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.sink"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        url = f"http://{HOST}:{int(process.stdout.readline())}"
        yield Server("dicom-server", url, lambda: _number(f"{url}/count"))
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _number(url: str) -> int:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return int(answer.read())


def orthanc(place: Path) -> Starts:
    """Give what runs an empty Orthanc that keeps its files below `place`, with its DIMSE port open."""

    @contextmanager
    def started() -> Iterator[Server]:
        with (
            tempfile.TemporaryDirectory(dir=place) as home,
            orthancs.running(Path(home), dicom=True) as server,
        ):
            yield Server("orthanc", server.url, server.count, server.dicom_port)

    return started


@contextmanager
def sandbox(home: Path) -> Iterator[str]:
    """Run a sandbox; gives its URL."""
    port = orthancs.free_port()
    process = subprocess.Popen(
        [*COMMAND, "sandbox", "--store", str(home), "--port", str(port)], stdout=subprocess.DEVNULL
    )
    try:
        yield f"http://{HOST}:{port}/v2"
    finally:
        process.terminate()
        process.wait()

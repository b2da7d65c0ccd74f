"""Who sends: dicomsync and its peers, each as a command for one folder and one server."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.servers import COMMAND, Server

OURS = "dicomsync"
AT_A_TIME = "4"  # as many as dicomsync begins with
NO_DELAY = {"TCP_NODELAY": "1"}  # without it Debian's DCMTK waits for the other side's delayed ACKs

Command = Callable[[Path, Server, Path], Sequence[str]]
"""What to run for a folder, a server and a place for what it wants to keep."""


def _always() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Sender:
    """One way to get a folder into an archive; `missing` says why it cannot be run here, "" if it can."""

    name: str
    command: Command
    missing: Callable[[], str] = _always
    environment: Mapping[str, str] = field(default_factory=dict)


def _program(name: str, package: str) -> Callable[[], str]:
    return lambda: (
        "" if shutil.which(name) else f"{name} is not installed (Debian: apt-get install {package})"
    )


def _python(module: str, package: str) -> Callable[[], str]:
    def missing() -> str:
        return (
            "" if importlib.util.find_spec(module) else f"{package} is not installed (pip install {package})"
        )

    return missing


def dicomsync(folder: Path, server: Server, place: Path) -> list[str]:
    """Back a folder up with what is the default, and all safety on."""
    where = ["--archive", server.url, "--ledger", str(place / "ledger.db")]
    return [*COMMAND, "backfill", str(folder), *where, "--set", f"archive.kind={server.kind}", "-q"]


def _dcmsend(folder: Path, server: Server, _: Path) -> list[str]:
    return ["dcmsend", "-q", "+sd", "+r", "-nuc", "127.0.0.1", str(server.dicom_port), str(folder)]


def _storescu(folder: Path, server: Server, _: Path) -> list[str]:
    return ["storescu", "-q", "+sd", "+r", "-R", "127.0.0.1", str(server.dicom_port), str(folder)]


def _module(name: str, *more: str) -> Command:
    return lambda folder, server, _: [
        sys.executable,
        "-m",
        f"benchmarks.{name}",
        server.url,
        str(folder),
        *more,
    ]


def _dicomweb_client_command(folder: Path, server: Server, _: Path) -> list[str]:
    """Its own command, which reads all files and stores them in one request."""
    program = str(Path(sys.executable).with_name("dicomweb_client"))
    return [program, "--url", server.url, "store", "instances", *map(str, sorted(folder.rglob("*.dcm")))]


def _curl(folder: Path, server: Server, _: Path) -> list[str]:
    """One file a request: to Orthanc's own REST interface, elsewhere as a bare application/dicom."""
    url = f"{server.root}/instances" if server.kind == "orthanc" else f"{server.url}/studies"
    script = (
        'find "$0" -name "*.dcm" -print0 | xargs -0 -P "$2" -I{} '
        "curl -sf -o /dev/null -H 'Expect:' -H 'Content-Type: application/dicom' --data-binary @{} \"$1\""
    )
    return ["sh", "-c", script, str(folder), url, AT_A_TIME]


DICOMSYNC = Sender(OURS, dicomsync)
DCMSEND = Sender("dcmsend", _dcmsend, _program("dcmsend", "dcmtk"), NO_DELAY)
STORESCU = Sender("storescu", _storescu, _program("storescu", "dcmtk"), NO_DELAY)
_DICOMWEB_CLIENT = _python("dicomweb_client", "dicomweb-client")
DICOMWEB_CLIENT = Sender("dicomweb-client", _module("by_dicomweb_client"), _DICOMWEB_CLIENT)
ONE_BY_ONE = Sender("dicomweb-client, a file a request", _module("by_dicomweb_client", "1"), _DICOMWEB_CLIENT)
ALL_AT_ONCE = Sender("dicomweb-client's own command", _dicomweb_client_command, _DICOMWEB_CLIENT)
CURL = Sender("find | xargs curl", _curl, _program("curl", "curl"))
LIMIT = Sender("the limit (sendfile)", _module("by_sendfile"))
LIMIT_ABREAST = Sender("the limit (sendfile)", _module("by_sendfile", AT_A_TIME))
"""Over as many connections as dicomsync begins with: as fast as an archive that takes its time can be."""

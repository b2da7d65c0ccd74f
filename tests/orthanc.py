"""A private Orthanc with its DICOMweb plugin: a real server to be judged by, on loopback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

HOST = "127.0.0.1"
READY_SECONDS = 30.0
STOP_SECONDS = 30.0
PLUGIN = "libOrthancDicomWeb.so"
PLUGIN_PLACES = (
    "/usr/share/orthanc/plugins",
    "/usr/lib/orthanc",
    "/usr/local/share/orthanc/plugins",
    "/usr/local/lib/orthanc",
)


def missing() -> str | None:
    """Say why there can be no Orthanc on this machine, or None."""
    if _binary() is None:
        return "Orthanc is not installed (Debian: apt-get install orthanc orthanc-dicomweb)"
    if _plugin() is None:
        return "Orthanc's DICOMweb plugin is not installed (Debian: apt-get install orthanc-dicomweb)"
    return None


def _binary() -> str | None:
    return shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _plugin() -> Path | None:
    found = (path for place in PLUGIN_PLACES for path in sorted(Path(place).glob(f"{PLUGIN}*")))
    return next(found, None)


def free_port() -> int:
    """Find a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class Orthanc:
    """One Orthanc: it keeps its port and what it stores when it is stopped and started again."""

    def __init__(self, directory: Path, *, dicom: bool = False, overwrites: bool = False) -> None:
        self.port = free_port()
        self.dicom_port = free_port() if dicom else None
        self.overwrites = overwrites
        self.directory = directory
        self._name = f"tests-{uuid.uuid4().hex}"  # so that no other server on the port passes for it
        self._process: subprocess.Popen[bytes] | None = None
        # Plain HTTP: loading certificates would take longer than the requests.
        self._http = httpx.Client(base_url=f"http://{HOST}:{self.port}", trust_env=False, verify=False)

    @property
    def url(self) -> str:
        """Where its DICOMweb root is."""
        return f"http://{HOST}:{self.port}/dicom-web"

    def start(self) -> None:
        """Start it and wait until it answers, on the same port and storage as before."""
        binary, plugin = _binary(), _plugin()
        assert binary is not None, missing()
        storage = self.directory / "storage"
        storage.mkdir(parents=True, exist_ok=True)
        settings = {
            "Name": self._name,
            "StorageDirectory": str(storage),
            "IndexDirectory": str(storage),
            "HttpPort": self.port,
            "DicomServerEnabled": self.dicom_port is not None,
            "DicomPort": self.dicom_port or 4242,
            "DicomAlwaysAllowStore": True,
            "OverwriteInstances": self.overwrites,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "Plugins": [str(plugin)],
        }
        config = self.directory / "orthanc.json"
        config.write_text(json.dumps(settings))
        with (self.directory / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary, str(config)], stdout=log, stderr=log, env={**os.environ, "TCP_NODELAY": "1"}
            )
        end = time.monotonic() + READY_SECONDS
        while not self._answers():
            assert self._process.poll() is None, f"Orthanc ended at once: see {log.name}"
            assert time.monotonic() < end, f"Orthanc did not answer in time: see {log.name}"
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            answer = self._http.get("/system")
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and answer.json().get("Name") == self._name

    def stop(self) -> None:
        """Let it end in good order, as a service manager does."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            finally:
                self.kill()

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End it for good."""
        self.kill()
        self._http.close()

    def count(self) -> int:
        """Say how many instances it holds."""
        return int(self._get("/statistics")["CountInstances"])

    def stored(self) -> dict[str, bytes]:
        """Give all it holds: the very file by SOP Instance UID."""
        found: dict[str, bytes] = {}
        for one in self._get("/instances?expand"):
            uid = one["MainDicomTags"]["SOPInstanceUID"]
            assert uid not in found, "it holds one SOP Instance UID twice"
            found[uid] = self._file(one["ID"])
        return found

    def file(self, sop_uid: str) -> bytes:
        """Give the file it keeps under one SOP Instance UID."""
        answer = self._http.post("/tools/lookup", content=sop_uid)
        (identifier,) = (one["ID"] for one in answer.json() if one["Type"] == "Instance")
        return self._file(identifier)

    def put(self, content: bytes) -> None:
        """Give it an instance past its DICOMweb."""
        self._http.post("/instances", content=content).raise_for_status()

    def wipe(self) -> None:
        """Remove all it holds."""
        patients = self._get("/patients")
        if patients:
            answer = self._http.post("/tools/bulk-delete", json={"Resources": patients})
            answer.raise_for_status()
        assert self.count() == 0

    def _read(self, path: str) -> httpx.Response:
        try:
            return self._http.get(path)
        except httpx.RemoteProtocolError:  # it closed a kept connection just then (RFC 9112 9.3.1)
            return self._http.get(path)

    def _file(self, identifier: str) -> bytes:
        answer = self._read(f"/instances/{identifier}/file")
        answer.raise_for_status()
        return answer.content

    def _get(self, path: str) -> Any:
        answer = self._read(path)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def running(directory: Path, *, dicom: bool = False, overwrites: bool = False) -> Iterator[Orthanc]:
    """Run one for as long as the block lasts; `dicom`: it takes DIMSE C-STORE too.

    `overwrites`: a Store of what is there already replaces it, in silence.
    """
    server = Orthanc(directory, dicom=dicom, overwrites=overwrites)
    try:
        server.start()
        yield server
    finally:
        server.close()

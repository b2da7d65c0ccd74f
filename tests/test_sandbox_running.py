"""The sandbox starts, tells what it was asked, and stops."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from dicomsync import sandbox
from dicomsync.errors import UsageProblem
from dicomsync.sandbox import Archive
from tests.test_sandbox_support import (
    PLAIN,
    STORE,
    dicom,
    eventually,
    failed,
    get,
    post,
    related,
)

IMPLICIT = "1.2.840.10008.1.2"
PATH = "/studies/1.2.3/series/1.2.3.1/instances/1.2.3.4"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with sandbox.running(tmp_path / "archive") as archive:
        yield archive


def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    with sandbox.running(tmp_path) as archive:
        post(archive.url, dicom())
    with sandbox.running(tmp_path, durable=True) as archive:
        assert failed(post(archive.url, dicom())) == [("1.2.3.4", 45070)]
        assert list(archive.stored()) == ["1.2.3.4"]


def test_requests_are_recorded_with_their_times_and_bytes(archive: Archive) -> None:
    body = related(dicom())
    post(archive.url, dicom(), study="1.2.3")
    get(archive.url, "/studies?limit=1")
    stored, searched = archive.requests
    assert (stored.method, stored.path, stored.status) == ("POST", "/v2/studies/1.2.3", 200)
    assert stored.body_bytes == len(body)
    assert (searched.path, searched.query) == ("/v2/studies", "limit=1")
    assert stored.finished is not None
    assert searched.finished is not None
    assert stored.started <= stored.finished <= searched.started <= searched.finished


def test_it_stops_at_once_though_clients_hang_on(tmp_path: Path) -> None:
    with httpx.Client(headers=STORE, **PLAIN) as client, ThreadPoolExecutor(1) as pool:
        with sandbox.running(tmp_path, ["stall=60"]) as archive:
            client.get(archive.url.removesuffix("/v2"))  # a connection kept alive
            late = pool.submit(client.post, f"{archive.url}/studies", content=related(dicom()))
            eventually(lambda: archive.stored())
            began = time.monotonic()
        assert time.monotonic() - began < 2
        assert isinstance(late.exception(), httpx.TransportError)
    assert not [thread for thread in threading.enumerate() if thread.name == "sandbox"]


def test_a_port_in_use_is_told(archive: Archive, tmp_path: Path) -> None:
    port = int(archive.url.split(":")[2].split("/")[0])
    with pytest.raises(UsageProblem, match=str(port)), sandbox.running(tmp_path / "other", port=port):
        pass


def test_without_its_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dicomsync.sandbox.app", None)
    with pytest.raises(UsageProblem) as told, sandbox.running(tmp_path):
        pass
    assert "dicomsync[web]" in told.value.hint


def test_importing_the_sandbox_is_light() -> None:
    code = "import sys, dicomsync.sandbox; print({'uvicorn', 'starlette', 'pydicom'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"


@pytest.mark.parametrize("signal_name", ["SIGINT", "SIGTERM"])
def test_served_by_the_command_it_ends_on_a_signal_and_logs_no_uid(tmp_path: Path, signal_name: str) -> None:
    code = (
        "import sys, pathlib, functools; from dicomsync import sandbox; "
        "sandbox.serve(pathlib.Path(sys.argv[1]), 0, ['lost-answer@2'], functools.partial(print, flush=True))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "served")], stdout=-1, stderr=-1, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert post(url, dicom()).status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            post(url, dicom("1.2.3.5"))
        assert post(url, body=b"not multipart").status_code == 400
        process.send_signal(signal.Signals[signal_name])
        out, err = process.communicate(timeout=5)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out, err) == (0, "", "")

"""The network between dicomsync and the archive fails at every kind of byte: all is stored, and once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dicomsync import pacing, samples, sandbox, service, wiring
from dicomsync.dicomweb.bodies import BytesPart, StoreBody
from tests import accounts, conftest
from tests.conftest import AnyArchive, Site, by_uid
from tests.faultproxy import Act, Fault, FaultProxy, Line, Way
from tests.recording_proxy import RecordingProxy

COUNT = 6
LAST, WHOLE = -1, 1.0


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real time is short here: what waits a minute in life waits for a second."""
    monkeypatch.setattr(pacing, "BACKOFF_FIRST_SECONDS", 0.05)
    monkeypatch.setattr(
        service,
        "archive_of",
        lambda config: replace(
            wiring.archive_of(config), idle_timeout=0.7, connect_timeout=0.5, short_retry_seconds=1.0
        ),
    )


@pytest.fixture
def files(site: Site) -> list[Path]:
    """One study, to go in one request."""
    return samples.write_studies(
        site.folder, studies=1, series=1, instances=COUNT, rows=16, columns=16, seed=3
    )


def second_boundary(files: list[Path]) -> int:
    """Say after how many bytes of the body the boundary before the second part begins."""
    body = StoreBody([BytesPart(path.read_bytes()) for path in files])
    return b"".join(body).index(b"\r\n--" + body.boundary.encode())


# The proxy itself


class Echo(threading.Thread):
    """A server that takes one connection and gives 1,000 bytes; it keeps what it has received."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(daemon=True)
        self._listener = listener
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        self._got = b""

    def run(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            try:
                while b"end" not in self._got and (data := connection.recv(65536)):
                    self._got += data
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)
                connection.settimeout(0.5)
                while data := connection.recv(65536):
                    self._got += data
            except (ConnectionError, TimeoutError):
                pass

    def received(self) -> bytes:
        """Give what it has received, once it is over."""
        self.join(10)
        return self._got


@pytest.fixture
def echo() -> Iterator[Echo]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Echo(listener)
        server.start()
        yield server


BODY = b"0123456789end"
HEAD = b"POST /x/studies HTTP/1.1\r\nContent-Length: 13\r\n\r\n"


def spoken(url: str) -> bytes:
    """Send one request and give all that comes back, and how it ended."""
    port = int(url.split(":")[2].split("/")[0])
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(5)
        got = b""
        try:
            client.sendall(HEAD + BODY)
            while len(got) < 1_039 and (data := client.recv(65536)):
                got += data
        except ConnectionResetError:
            got += b"<reset>"
        return got


@pytest.mark.parametrize("at", [0, 1, 5, 12])
def test_a_request_is_reset_after_just_so_many_bytes_and_both_sides_know(echo: Echo, at: int) -> None:
    with FaultProxy(echo.url) as network:
        network.faults = [Fault(Act.RESET, at=at)]
        assert spoken(network.url).endswith(b"<reset>")
        assert (HEAD + BODY[:at]).startswith(echo.received())  # a reset may overtake what was not yet read
        assert [one.sent_bytes for one in network.struck] == [at]


@pytest.mark.parametrize(("at", "expected"), [(0, 0), (1, 1), (0.5, 500), (-1, 999), (1.0, 1000)])
def test_an_answer_ends_after_just_so_many_bytes(echo: Echo, at: float, expected: int) -> None:
    with FaultProxy(echo.url) as network:
        network.faults = [Fault(Act.END, Way.ANSWER, at=at)]
        head, _, body = spoken(network.url).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert body == b"x" * expected
        assert echo.received() == HEAD + BODY


def test_slices_and_slow_lines_change_no_byte(echo: Echo) -> None:
    with FaultProxy(echo.url) as network:
        network.requests = Line(piece_bytes=1)
        network.answers = Line(latency_seconds=0.1, bytes_per_second=5_000, piece_bytes=7)
        began = time.monotonic()
        assert spoken(network.url).endswith(b"\r\n\r\n" + b"x" * 1000)
        assert time.monotonic() - began > 0.3
        assert echo.received() == HEAD + BODY


# dicomsync on it


def run(site: Site, url: str) -> service.Report:
    return site.backfill(url, archive={"answer_timeout": 0.7, "confirm_wait": 0.15})


BREAKS = {
    "before the first byte": 0,
    "after the first byte": 1,
    "in the middle": 0.5,
    "before the last byte": LAST,
    "after the last byte": WHOLE,
}
BOUNDARY = {"just before a boundary": -1, "at a boundary": 0, "within a boundary": 1}


@pytest.mark.parametrize(
    ("place", "act"),
    [
        *((place, act) for place in BREAKS for act in (Act.RESET, Act.END, Act.STALL)),
        *((place, Act.RESET) for place in BOUNDARY),
    ],
)
def test_a_request_that_breaks_off_is_asked_about_and_all_is_stored_once(
    place: str, act: Act, site: Site, files: list[Path], sandboxed: sandbox.Archive
) -> None:
    at = BREAKS[place] if place in BREAKS else second_boundary(files) + BOUNDARY[place]
    with RecordingProxy(sandboxed.url) as proxy, FaultProxy(proxy.url) as network:
        network.faults = [Fault(act, at=at)]
        report = run(site, network.url)
        assert len(network.struck) == 1
        _is_well(report, site, proxy, conftest.SandboxArchive(sandboxed), files)


@pytest.mark.parametrize("act", [Act.RESET, Act.END, Act.STALL])
@pytest.mark.parametrize(
    ("place", "head"),
    [(0, True), (1, True), (LAST, True), (0, False), (1, False), (0.5, False), (LAST, False)],
    ids=lambda one: str(one),
)
def test_an_answer_that_breaks_off_is_asked_about_and_nothing_is_sent_again(
    place: float, head: bool, act: Act, site: Site, files: list[Path], sandboxed: sandbox.Archive
) -> None:
    with RecordingProxy(sandboxed.url) as proxy, FaultProxy(proxy.url) as network:
        network.faults = [Fault(act, Way.ANSWER, at=place, head=head)]
        report = run(site, network.url)
        assert len(network.struck) == 1
        assert len(proxy.stores) == 1, "the archive had it"
        _is_well(report, site, proxy, conftest.SandboxArchive(sandboxed), files)


def test_an_answer_that_drips_is_given_up_in_time(
    site: Site, files: list[Path], sandboxed: sandbox.Archive
) -> None:
    with RecordingProxy(sandboxed.url) as proxy, FaultProxy(proxy.url) as network:
        network.faults = [Fault(Act.DRIP, Way.ANSWER, at=0, seconds=0.1)]
        report = run(site, network.url)
        (struck,) = network.struck
        assert struck.answer_bytes < 20, "a byte a tenth of a second would have taken minutes"
        assert len(proxy.stores) == 1, "the archive had it"
        _is_well(report, site, proxy, conftest.SandboxArchive(sandboxed), files)


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("act", [Act.RESET, Act.STALL])
def test_the_real_archive_has_all_of_it_once_after_the_line_broke_twice(
    act: Act, method: str, site: Site, files: list[Path], archive: AnyArchive
) -> None:
    """Without a recording proxy between them: the archive meets the reset itself. Questions fail too."""
    with FaultProxy(archive.url) as network:
        network.faults = [
            Fault(act, Way.ANSWER, at=1, method="POST"),
            Fault(act, at=0.5, method="POST"),
            *([Fault(act, Way.ANSWER, at=0.5, method="GET", times=2)] if method == "GET" else []),
        ]
        report = run(site, network.url)
        assert (report.exit_code, report.due) == (0, 0)
        assert sum(one.whole for one in network.exchanges if one.method == "POST") == 1
        accounts.agree(site.ledger, archive, by_uid(files))


SLOW = {
    "one byte at a time": (Line(piece_bytes=1), Line(piece_bytes=1)),
    "seven bytes at a time": (Line(piece_bytes=7), Line(piece_bytes=7)),
    "a packet at a time, less one": (Line(piece_bytes=1459), Line(piece_bytes=1459)),
    "far away": (Line(latency_seconds=0.15), Line(latency_seconds=0.15)),
    "narrow upwards": (Line(bytes_per_second=30_000), Line()),
    "narrow downwards": (Line(), Line(bytes_per_second=30_000)),
}


@pytest.mark.parametrize("kind", SLOW)
def test_a_line_that_is_only_slow_is_no_fault_at_all(
    kind: str, site: Site, files: list[Path], archive: AnyArchive
) -> None:
    with FaultProxy(archive.url) as network:
        network.requests, network.answers = SLOW[kind]
        report = run(site, network.url)
        assert (report.exit_code, report.due, report.requests) == (0, 0, 1)
        assert [one.whole for one in network.exchanges if one.method == "POST"] == [True]
    accounts.agree(site.ledger, archive, by_uid(files))


@pytest.mark.parametrize("how", ["refused", "reset", "silent", "black hole"])
def test_an_archive_that_cannot_be_reached_is_waited_for(
    how: str, site: Site, files: list[Path], sandboxed: sandbox.Archive
) -> None:
    with FaultProxy(sandboxed.url) as network:
        network.cut(how)
        report = site.backfill(network.url, archive={"answer_timeout": 0.7}, patience=1.5)
        assert report.exit_code == 5
        assert site.instances() == {"pending": COUNT}
        assert not sandboxed.requests
        network.mend()
        assert run(site, network.url).exit_code == 0
    accounts.agree(site.ledger, conftest.SandboxArchive(sandboxed), by_uid(files))


def test_a_kept_connection_that_died_meanwhile_loses_nothing_and_no_store_is_repeated_unasked(
    site: Site, files: list[Path], sandboxed: sandbox.Archive
) -> None:
    """The archive closes each connection just after its answer, as one that keeps none does unannounced."""
    with FaultProxy(sandboxed.url) as network:
        network.faults = [
            Fault(Act.END, Way.ANSWER, at=WHOLE, method="GET", times=1),
            Fault(Act.RESET, Way.ANSWER, at=WHOLE, method="GET", times=1),
        ]
        report = run(site, network.url)
        assert (report.exit_code, report.due) == (0, 0)
        assert len(network.struck) >= 1
        assert sum(one.whole for one in network.exchanges if one.method == "POST") == 1
    accounts.agree(site.ledger, conftest.SandboxArchive(sandboxed), by_uid(files))


def _is_well(
    report: service.Report, site: Site, proxy: RecordingProxy, archive: AnyArchive, files: list[Path]
) -> None:
    assert (report.exit_code, report.due) == (0, 0)
    assert proxy.twice_in_flight() == set()
    assert set(proxy.given_whole().values()) == {1}, "what the archive got whole was not sent again"
    places = dict.fromkeys(by_uid(files), (samples.uid(3, 0), samples.uid(3, 0, 0)))
    assert proxy.sent_again_unasked(places, looks=2) == set()
    accounts.agree(site.ledger, archive, by_uid(files))

"""Storing over a wire on which everything goes wrong that can; no answer is ever better than it was."""

from __future__ import annotations

import email.utils
import gc
import json
import logging
import pickle
import re
import ssl
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest

from dicomsync import __version__
from dicomsync.dicomweb import (
    Archive,
    Basic,
    Bearer,
    BytesPart,
    Client,
    Network,
    PartChanged,
    Secret,
    check_kind,
    check_url,
    client_for,
    close_clients,
    read_parts,
)
from dicomsync.dicomweb.bodies import CHUNK_BYTES
from dicomsync.dicomweb.retry import safe_to_repeat, short_retries
from dicomsync.dicomweb.transport import Transport
from dicomsync.dicomweb.wire import WHY, no_answer, retry_after_seconds
from dicomsync.errors import ArchiveProblem, NoAnswer, SecretProblem, UsageProblem

from .scripted_server import TEST_CERTIFICATE, TEST_KEY, Peer, Script, ScriptedServer, answer, answering

STUDY, SERIES, SOP = "1.2.840.99.1", "1.2.840.99.1.2", "1.2.840.99.1.2.3"
BIG = 24 << 20  # more than the socket buffers of both ends
MODULE = json.dumps(
    {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [SOP]}}]}}
).encode()


@pytest.fixture(autouse=True)
def _no_client_is_left_open() -> Iterator[None]:
    yield
    close_clients()


def client(server: ScriptedServer, **settings: Any) -> Client:
    quick: dict[str, Any] = {
        "kind": "dicom-server",
        "connect_timeout": 5,
        "idle_timeout": 5,
        "answer_timeout": 5,
        "short_retries": 1,
    }
    return client_for(Archive(server.url, **{**quick, **settings}))


def module(_: object) -> bytes:
    return answer(200, MODULE, Content_Type="application/dicom+json")


def failure(server: ScriptedServer, size: int, **settings: Any) -> NoAnswer:
    with pytest.raises(NoAnswer) as caught:
        client(server, **settings).store([BytesPart(b"x" * size)])
    return caught.value


# --- what goes out


def test_a_store_is_what_every_archive_takes() -> None:
    with ScriptedServer(answering(module)) as server:
        stored = client(server).store([BytesPart(b"one"), BytesPart(b"two" * 1_000_000)], STUDY)
    (request,) = server.seen
    assert (request.method, request.target) == ("POST", f"/v2/studies/{STUDY}")
    assert request.headers["accept"] == "application/dicom+json"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"] == f"dicomsync/{__version__}"
    assert request.headers["content-length"] == str(len(request.body))
    assert not {"transfer-encoding", "expect", "authorization", "cookie"} & request.headers.keys()
    boundary = re.fullmatch(
        r'multipart/related; type="application/dicom"; boundary="([A-Za-z0-9-]{32,70})"',
        request.headers["content-type"],
    )
    assert boundary
    parts = [(dict(p.headers), b"".join(p.chunks)) for p in read_parts([request.body], boundary.group(1))]
    assert [payload for _, payload in parts] == [b"one", b"two" * 1_000_000]
    assert parts[0][0] == {"content-type": "application/dicom", "content-length": "3"}
    assert stored.status == 200
    assert stored.response is not None
    assert [one.sop_instance_uid for one in stored.response.referenced] == [SOP]
    assert (stored.sent_bytes, stored.total_bytes, stored.complete) == (
        len(request.body),
        len(request.body),
        True,
    )


@pytest.mark.parametrize("kind", ["orthanc", "generic", "auto"])
def test_the_study_is_in_the_url_where_it_is_named(kind: str) -> None:
    with ScriptedServer(answering(module)) as server:
        client(server, kind=kind).store([BytesPart(b"x")], STUDY)
        client(server, kind=kind).store([BytesPart(b"x")])
    assert [request.target for request in server.seen] == [f"/v2/studies/{STUDY}", "/v2/studies"]


def test_nothing_is_sent_for_an_empty_batch_or_a_malformed_uid() -> None:
    with ScriptedServer(answering(module)) as server:
        with pytest.raises(UsageProblem):
            client(server).store([])
        for study in ("../../system", "", "1.2\n", "1.2 ", "1" * 65):
            with pytest.raises(UsageProblem):
                client(server).store([BytesPart(b"x")], study)
    assert server.connections == 0


def test_the_credential_of_the_moment_is_sent(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("first\n")
    with ScriptedServer(answering(lambda _: answer(401))) as server:
        ours = client(server, auth=Bearer(Secret(str(secret))))
        assert ours.store([BytesPart(b"x")]).status == 401
        secret.write_text("second one\n")
        with pytest.raises(SecretProblem):
            ours.store([BytesPart(b"x")])
        secret.write_text("renewed\n")
        ours.store([BytesPart(b"x")])
        client(server, auth=Basic("me", Secret(str(secret)))).store([BytesPart(b"x")])
    assert [request.headers["authorization"] for request in server.seen] == [
        "Bearer first",
        "Bearer renewed",
        "Basic bWU6cmVuZXdlZA==",
    ]


def test_neither_proxies_nor_netrc_nor_cookies_come_in_from_outside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    with (
        ScriptedServer(answering(module)) as evil,
        ScriptedServer(answering(lambda _: answer(200, MODULE, Set_Cookie="a=b; Path=/"))) as server,
    ):
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, evil.url)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        for _ in range(2):
            assert client(server).store([BytesPart(b"x")]).status == 200
        assert evil.connections == 0
    assert not any({"authorization", "cookie"} & request.headers.keys() for request in server.seen)


def test_no_uid_reaches_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with ScriptedServer(answering(module)) as server:
        client(server).store([BytesPart(b"x")], STUDY)
    assert STUDY not in caplog.text
    assert "127.0.0.1" not in caplog.text


def test_connections_are_kept_and_threads_do_not_wait_for_one_another() -> None:
    with ScriptedServer(answering(module)) as server:
        ours = client(server)
        for _ in range(3):
            ours.store([BytesPart(b"x")])
        assert server.connections == 1
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: ours.store([BytesPart(b"x" * 100_000)]), range(48)))
    assert all(one.status == 200 for one in answers)


# --- what comes back


def test_the_body_counts_at_every_status_and_retry_after_is_told() -> None:
    def refuse(_: object) -> bytes:
        return answer(409, MODULE, Retry_After="7")

    with ScriptedServer(answering(refuse)) as server:
        stored = client(server).store([BytesPart(b"x")])
    assert (stored.status, stored.retry_after_seconds) == (409, 7.0)
    assert stored.response is not None
    assert stored.response.referenced


def test_an_answer_in_chunks_is_read() -> None:
    def chunked(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(MODULE), 10):
            piece = MODULE[at : at + 10]
            peer.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        peer.send(b"0\r\n\r\n")

    with ScriptedServer(chunked) as server:
        stored = client(server).store([BytesPart(b"x")])
    assert stored.response is not None


def test_an_answer_without_a_module_says_so_and_keeps_its_first_words() -> None:
    page = b"<html>\x1b[1m\r\n" + b"Sign in " * 1000
    with ScriptedServer(answering(lambda _: answer(200, page, Content_Type="text/html"))) as server:
        stored = client(server).store([BytesPart(b"x")])
    assert stored.response is None
    assert stored.excerpt.startswith("<html> [1m Sign in")
    assert len(stored.excerpt) <= 500


def test_an_oversized_answer_is_not_read_and_names_nothing() -> None:
    with ScriptedServer(answering(lambda _: answer(200, MODULE + b" " * 10_000))) as server:
        stored = client(server, response_cap_bytes=1000).store([BytesPart(b"x")])
    assert (stored.status, stored.response) == (200, None)


def test_a_compressed_answer_is_not_unpacked() -> None:
    with ScriptedServer(answering(lambda _: answer(200, MODULE, Content_Encoding="gzip"))) as server:
        stored = client(server).store([BytesPart(b"x")])
    assert (stored.status, stored.response) == (200, None)
    assert "compressed" in stored.excerpt


def test_a_redirect_is_an_answer_and_never_followed(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("token")
    with (
        ScriptedServer(answering(module)) as evil,
        ScriptedServer(answering(lambda _: answer(307, Location=f"{evil.url}/studies"))) as server,
    ):
        stored = client(server, auth=Bearer(Secret(str(tmp_path / "t")))).store([BytesPart(b"x")])
        assert (stored.status, stored.response) == (307, None)
        assert evil.connections == 0


def test_a_client_that_was_closed_sends_nothing_any_more() -> None:
    with ScriptedServer(answering(module)) as server:
        ours = client(server)
        ours.store([BytesPart(b"x")])
        ours.close()
        with pytest.raises(RuntimeError, match="closed"):
            ours.store([BytesPart(b"x")])
        assert len(server.seen) == 1


@pytest.mark.parametrize("where", ["http://[", "nowhere:", "", "/"])
def test_a_redirect_to_nowhere_is_the_same_answer(where: str) -> None:
    with ScriptedServer(answering(lambda _: answer(302, Location=where))) as server:
        assert client(server).store([BytesPart(b"x")]).status == 302


# --- answers that come early


@pytest.mark.parametrize("then", [lambda _: None, Peer.stall], ids=["closes", "stops reading"])
@pytest.mark.parametrize("status", [413, 401])
def test_an_early_refusal_is_seen_at_once(status: int, then: Script) -> None:
    def early(peer: Peer) -> None:
        peer.head()
        peer.answer(status)
        then(peer)

    with ScriptedServer(early) as server:
        began = time.monotonic()
        stored = client(server, idle_timeout=30).store([BytesPart(b"x" * BIG)])
    assert (stored.status, stored.complete) == (status, False)
    assert stored.sent_bytes < stored.total_bytes
    assert time.monotonic() - began < 5


def test_an_early_success_is_not_complete() -> None:
    def early(peer: Peer) -> None:
        peer.head()
        peer.answer(200, MODULE)

    with ScriptedServer(early) as server:
        stored = client(server).store([BytesPart(b"x" * BIG)])
    assert (stored.status, stored.complete) == (200, False)
    assert stored.sent_bytes < stored.total_bytes


def test_an_interim_answer_does_not_end_the_upload() -> None:
    def interim(peer: Peer) -> None:
        request = peer.head()
        assert request is not None
        peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        peer.stopping.wait(0.6)  # long enough that the client looks
        peer.body(int(request.headers["content-length"]))
        peer.answer(200, MODULE)

    with ScriptedServer(interim) as server:
        stored = client(server).store([BytesPart(b"x" * BIG)])
    assert (stored.status, stored.complete) == (200, True)


# --- no answer


def closes_after(count: int) -> Script:
    def script(peer: Peer) -> None:
        peer.head()
        peer.body(count)

    return script


@pytest.mark.parametrize("count", [0, 1, 65536])
def test_a_connection_closed_in_the_middle_is_broken_and_never_tried_again(count: int) -> None:
    with ScriptedServer(closes_after(count)) as server:
        error = failure(server, BIG, short_retries=3)
        assert server.connections == 1
    assert error.why == "broken"
    assert 0 < error.sent_bytes < error.total_bytes


def test_a_connection_closed_after_everything_is_broken_too() -> None:
    def swallow(peer: Peer) -> None:
        peer.request()

    with ScriptedServer(swallow) as server:
        error = failure(server, 1000, short_retries=3)
        assert server.connections == 1
    assert error.why == "broken"
    assert 0 < error.sent_bytes == error.total_bytes


def test_requests_that_broke_off_leave_nothing_of_their_bodies_to_the_garbage_collector() -> None:
    with ScriptedServer(closes_after(0)) as server:
        ours = client(server)
        gc.disable()
        tracemalloc.start()
        try:
            for _ in range(5):
                with suppress(NoAnswer):
                    ours.store([BytesPart(b"x" * BIG)])
            left_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.enable()
        assert server.connections == 5
    assert left_bytes < CHUNK_BYTES


def test_a_reset_is_broken() -> None:
    def reset(peer: Peer) -> None:
        peer.request()
        peer.reset()

    with ScriptedServer(reset) as server:
        assert failure(server, 1000).why == "broken"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + MODULE,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n" % (len(MODULE), MODULE),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n" + MODULE,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"not http at all\r\n\r\n",
        b"HTTP/1.1 20",
    ],
    ids=lambda said: repr(said[:60]),
)
def test_a_cut_or_malformed_answer_is_none(said: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(said)

    with ScriptedServer(script) as server:
        error = failure(server, 1000, short_retries=3)
        assert server.connections == 1
    assert error.why == "broken"
    assert 0 < error.sent_bytes == error.total_bytes
    assert "not http" not in str(error)


@pytest.mark.parametrize("status", [401, 413, 503])
def test_a_refusal_needs_no_body_to_be_understood(status: int) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 %d X\r\nContent-Length: 9999\r\n\r\nshort" % status)

    with ScriptedServer(script) as server:
        stored = client(server).store([BytesPart(b"x")])
    assert (stored.status, stored.response) == (status, None)


def test_a_server_that_takes_nothing_is_cut_off() -> None:
    def accept(peer: Peer) -> None:
        peer.stall()

    with ScriptedServer(accept) as server:
        error = failure(server, BIG, idle_timeout=0.3)
    assert error.why == "timeout"
    assert 0 < error.sent_bytes < error.total_bytes


def silent(peer: Peer) -> None:
    peer.request()
    peer.stall()


def drips_its_head(peer: Peer) -> None:
    peer.request()
    peer.drip(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000, 0.02)


def drips_its_body(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    peer.drip(b"y" * 1000, 0.02)


def says_wait_for_ever(peer: Peer) -> None:
    peer.request()
    while not peer.stopping.wait(0.02):
        peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")


@pytest.mark.parametrize("script", [silent, drips_its_head, drips_its_body, says_wait_for_ever])
def test_an_answer_that_never_ends_is_cut_off(script: Script) -> None:
    with ScriptedServer(script) as server:
        began = time.monotonic()
        error = failure(server, 1000, answer_timeout=0.4, idle_timeout=0.4)
        assert time.monotonic() - began < 4
    assert error.why == "timeout"
    assert 0 < error.sent_bytes == error.total_bytes


def test_an_archive_may_be_silent_for_longer_while_it_stores() -> None:
    def store_slowly(peer: Peer) -> None:
        peer.request()
        peer.stopping.wait(0.6)
        peer.answer(200, MODULE)

    with ScriptedServer(store_slowly) as server:
        stored = client(server, idle_timeout=0.2, answer_timeout=5).store([BytesPart(b"x")])
    assert stored.status == 200


def test_a_server_that_takes_less_than_the_floor_rate_is_cut_off() -> None:
    def sip(peer: Peer) -> None:
        request = peer.head()
        while request and peer.body(4096) and not peer.stopping.wait(0.02):
            pass

    with ScriptedServer(sip) as server:
        error = failure(server, BIG, idle_timeout=0.5, floor_bytes_per_second=BIG)
    assert error.why == "timeout"


@dataclass
class Slow:
    size_bytes: int = 3 << 20

    def chunks(self) -> Iterator[bytes]:
        for _ in range(3):
            time.sleep(0.2)
            yield b"x" * (1 << 20)


def test_a_body_that_is_produced_too_slowly_is_cut_off() -> None:
    with ScriptedServer(answering(module)) as server, pytest.raises(NoAnswer) as caught:
        client(server, idle_timeout=0.1, floor_bytes_per_second=1 << 30).store([Slow()])
    assert caught.value.why == "timeout"


@dataclass
class Breaking:
    error: Exception
    size_bytes: int = BIG

    def chunks(self) -> Iterator[bytes]:
        yield b"x" * (3 << 20)
        raise self.error


@pytest.mark.parametrize("error", [OSError(5, "I/O"), TimeoutError(), KeyError("x"), StopAsyncIteration()])
def test_what_a_part_raises_is_raised_unchanged(error: Exception) -> None:
    with ScriptedServer(answering(module)) as server:
        with pytest.raises(type(error)) as caught:
            client(server, short_retries=3).store([Breaking(error)])
        assert caught.value is error
        assert server.connections <= 1  # the server may not even have noticed it yet


@dataclass
class Shrunk:
    size_bytes: int = 10

    def chunks(self) -> Iterator[bytes]:
        return iter([b"only 9 by"])


def test_a_file_that_changes_size_never_makes_a_whole_request() -> None:
    with ScriptedServer(answering(module)) as server, pytest.raises(PartChanged):
        client(server).store([BytesPart(b"x" * (3 << 20)), Shrunk()])
    assert all(len(request.body) < int(request.headers["content-length"]) for request in server.seen)


def test_an_archive_that_is_not_there_is_unreachable() -> None:
    with ScriptedServer(silent) as server:
        ours = client(server)
    with pytest.raises(NoAnswer, match="Connection refused") as caught:
        ours.store([BytesPart(b"x")])
    assert (caught.value.why, caught.value.sent_bytes) == ("unreachable", 0)
    with pytest.raises(NoAnswer, match="cannot be resolved"):
        client_for(replace(ours.archive, url="http://no-such-host.invalid/v2")).store([BytesPart(b"x")])


# --- short retries


def test_only_what_never_began_is_repeated_and_the_body_is_fresh() -> None:
    def hang_up(_: Peer) -> None:
        pass

    with ScriptedServer(hang_up, hang_up, answering(lambda _: answer(200, b"[]"))) as server:
        client(server, short_retries=3, kind="generic").identify()
    assert server.connections == 3


def test_short_retries_are_three_within_their_time() -> None:
    calls: list[float] = []

    def fail(sent_bytes: int, why: str) -> None:
        calls.append(time.monotonic())
        raise NoAnswer(why, "no", sent_bytes=sent_bytes, total_bytes=9)

    for sent_bytes, why, times in [
        (0, "unreachable", 3),
        (0, "broken", 3),
        (0, "timeout", 1),
        (1, "broken", 1),
    ]:
        calls.clear()
        with pytest.raises(NoAnswer):
            short_retries(3, 15, fail, sent_bytes, why)
        assert len(calls) == times
    calls.clear()
    with pytest.raises(NoAnswer):
        short_retries(3, 0, fail, 0, "broken")
    assert len(calls) == 1
    assert not safe_to_repeat(ValueError())


# --- values and words


def test_every_exception_of_httpx_means_something() -> None:
    assert set(exceptions_of(httpx)) == set(WHY)
    assert set(WHY.values()) == {"unreachable", "broken", "timeout", "local"}


def exceptions_of(module: object) -> list[type[Exception]]:
    return [
        found for found in vars(module).values() if isinstance(found, type) and issubclass(found, Exception)
    ]


@pytest.mark.parametrize("kind", exceptions_of(httpcore), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("when", ["before the answer", "in its body"])
def test_every_exception_of_httpcore_ends_as_no_answer(
    kind: type[Exception], when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body() -> Iterator[bytes]:
        yield b"["
        raise kind("DOE^JOHN")

    def handle(_pool: object, _request: object) -> httpcore.Response:
        if when == "before the answer":
            raise kind("DOE^JOHN")
        return httpcore.Response(
            200, content=body(), extensions={"http_version": b"HTTP/1.1", "network_stream": None}
        )

    monkeypatch.setattr(httpcore.ConnectionPool, "handle_request", handle)
    ours = client_for(Archive("http://127.0.0.1:1/v2", kind="generic", short_retries=1))
    with pytest.raises(NoAnswer) as caught:
        list(ours.search("studies"))
    same_name = getattr(httpx, kind.__name__, httpx.TransportError)
    assert caught.value.why == WHY[same_name]
    assert "DOE" not in str(caught.value)


@pytest.mark.parametrize("kind", [one for one in exceptions_of(httpx) if issubclass(one, httpx.RequestError)])
def test_every_request_error_of_httpx_ends_as_no_answer(
    kind: type[httpx.RequestError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def handle(_transport: object, _request: object) -> httpx.Response:
        raise kind("DOE^JOHN")

    monkeypatch.setattr(Transport, "handle_request", handle)
    with pytest.raises(NoAnswer) as caught:
        client_for(Archive("http://127.0.0.1:1/v2", short_retries=1)).identify()
    assert caught.value.why == WHY[kind]


@pytest.mark.parametrize("kind", [httpx.ReadError, httpx.RemoteProtocolError, httpx.LocalProtocolError])
def test_messages_never_repeat_what_came_over_the_wire(kind: Callable[[str], Exception]) -> None:
    error = no_answer(kind("illegal status line: DOE^JOHN http://h/studies/1.2.3"))
    assert "DOE" not in str(error)
    assert "1.2.3" not in str(error)


NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0), ("120", 120.0), (" 1.5 ", 1.5), ("86400", 3600.0), ("999999999", 3600.0),
        ("-1", None), ("1e99", None), ("NaN", None), ("inf", None), ("", None), ("soon", None),
        ("9" * 400, None), (email.utils.formatdate(NOW + 60, usegmt=True), 60.0),
        (email.utils.formatdate(NOW - 60, usegmt=True), 0.0),
        (email.utils.formatdate(NOW + 1e6, usegmt=True), 3600.0),
        ("Fri, 99 Foo 2026 00:00:00 GMT", None), ("Fri, 31 Dec 99999 23:59:59 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_understood_or_ignored(value: str, seconds: float | None) -> None:
    assert retry_after_seconds(httpx.Headers({"Retry-After": value}), NOW) == seconds


def test_a_retry_date_counts_from_the_servers_own_clock() -> None:
    date, until = (email.utils.formatdate(NOW + s, usegmt=True) for s in (-5000, -4990))
    assert retry_after_seconds(httpx.Headers({"Retry-After": until, "Date": date}), NOW) == 10.0
    assert retry_after_seconds(httpx.Headers(), NOW) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "https://h:8042/dicom-web",
        "https://h.example/v2/partitions/a",
        "http://[::1]:80/x",
        "http://10.0.0.1/",
    ],
)
def test_good_urls_are_good(url: str) -> None:
    assert check_url(url) is None
    assert httpx.URL(url).is_absolute_url


@pytest.mark.parametrize(
    "url",
    [
        "", "h", "ftp://h/", "http://", "http:///v2", "http://u:s3cret@h/", "http://u@h/", "https://h/v2?x=1",
        "https://h/?", "https://h/#f", "http://h:99999/", "http://h:x/", "http://h:0/", "http://h/a b", "http://h/\n",
        "http://[::1/",
        "http://h/../x", "http://" + "a" * 64 + ".example/", "http://a..b/", "http://h\\evil/", "http://bücher/",
    ],
)  # fmt: skip
def test_bad_urls_are_told_in_words_without_secrets(url: str) -> None:
    problem = check_url(url)
    assert problem
    assert "s3cret" not in problem
    with pytest.raises(UsageProblem):
        client_for(Archive(url))


def test_an_archive_is_a_value_that_travels() -> None:
    archive = Archive("http://h/v2//", auth=Bearer(Secret("/run/t")))
    assert archive.url == "http://h/v2"
    assert pickle.loads(pickle.dumps(archive)) == archive
    assert client_for(archive) is client_for(pickle.loads(pickle.dumps(archive)))
    assert client_for(archive) is not client_for(replace(archive, kind="orthanc"))
    assert check_kind("orthanc") is None
    assert check_kind("pacs")


# --- TLS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "certificate.pem"
    path.write_text(TEST_CERTIFICATE + TEST_KEY)
    return path


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_an_unknown_certificate_is_refused_in_words_before_anything_is_sent(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with ScriptedServer(answering(module), tls=tls(certificate)) as server:
        error = failure(server, 10)
    assert (error.why, error.sent_bytes) == ("unreachable", 0)
    assert "certificate was not accepted" in str(error)
    assert server.seen == []


def test_a_site_can_add_its_own_authority(certificate: Path) -> None:
    with ScriptedServer(answering(module), tls=tls(certificate)) as server:
        stored = client(server, network=Network(ca_file=str(certificate))).store(
            [BytesPart(b"x" * (5 << 20))]
        )
        assert (stored.status, stored.complete) == (200, True)
    with pytest.raises(ArchiveProblem, match="cannot be read"):
        client(server, network=Network(ca_file=str(certificate) + "missing"))


def test_a_stalled_tls_connection_is_cut_off(certificate: Path) -> None:
    def stall(peer: Peer) -> None:
        peer.head()
        peer.stall()

    with ScriptedServer(stall, tls=tls(certificate)) as server:
        error = failure(server, BIG, network=Network(ca_file=str(certificate)), idle_timeout=0.3)
    assert error.why == "timeout"

"""Through a proxy of the config, and past every other: what each on the way gets to see."""

from __future__ import annotations

import base64
import json
import select
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dicomsync.dicomweb import Archive, Bearer, BytesPart, Client, ClientCredentials, Network, Proxy, Secret
from dicomsync.errors import NoAnswer, SecretProblem, UsageProblem

from .issuer import Authority, Issuer, guarded
from .scripted_server import Peer, Request, ScriptedServer, answer, answering

MODULE = json.dumps({"00081199": {"vr": "SQ", "Value": []}}).encode()
TOKEN, PASSWORD = "zztoken", "zzproxy-pässword"
BIG = 8 << 20


def stored(_: Request) -> bytes:
    return answer(200, MODULE, Content_Type="application/dicom+json")


def tunnel(peer: Peer) -> None:
    """Do as a proxy does: CONNECT to wherever it is asked to, and pass on what comes."""
    request = peer.head()
    assert request is not None
    assert request.method == "CONNECT"
    host, _, port = request.target.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as beyond:
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        ends = {peer.sock: beyond, beyond: peer.sock}
        while True:
            waiting = isinstance(peer.sock, ssl.SSLSocket) and peer.sock.pending()
            ready = [peer.sock] if waiting else select.select(list(ends), [], [], 10)[0]
            for one in ready:
                data = one.recv(65536)
                if not data:
                    return
                ends[one].sendall(data)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def secret(tmp_path: Path) -> Callable[[str], Secret]:
    def place(content: str) -> Secret:
        path = tmp_path / f"secret-{len(list(tmp_path.iterdir()))}"
        path.write_text(content, encoding="utf-8")
        return Secret(str(path))

    return place


def client(url: str, **settings: Any) -> Client:
    return Client(Archive(url, "dicom-server", short_retries=1, idle_timeout=10, **settings))


def store(url: str, size: int = 1, **settings: Any) -> int:
    ours = client(url, **settings)
    try:
        return ours.store([BytesPart(b"x" * size)]).status
    finally:
        ours.close()


def basic(request: Request) -> str:
    return base64.b64decode(request.headers["proxy-authorization"].removeprefix("Basic ")).decode()


@pytest.mark.parametrize("proxy_is_tls", [False, True])
def test_an_archive_over_tls_is_reached_through_a_proxy_that_sees_only_its_name(
    authority: Authority, secret: Callable[[str], Secret], proxy_is_tls: bool
) -> None:
    seen_by_proxy = authority.server() if proxy_is_tls else None
    with (
        ScriptedServer(answering(stored), tls=authority.server()) as archive,
        ScriptedServer(tunnel, tls=seen_by_proxy) as proxy,
    ):
        way = Proxy(proxy.url.removesuffix("/v2"), "me", secret(PASSWORD))
        network = Network(ca_file=authority.file, proxy=way)
        assert store(archive.url, BIG, auth=Bearer(secret(TOKEN)), network=network) == 200
    (told,) = proxy.seen
    assert (told.method, told.target) == ("CONNECT", f"127.0.0.1:{archive.port}")
    assert basic(told) == f"me:{PASSWORD}"
    assert TOKEN.encode() not in told.head
    (request,) = archive.seen
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert "proxy-authorization" not in request.headers
    assert len(request.body) > BIG


def test_the_proxy_cannot_stand_in_for_the_archive(
    authority: Authority, tmp_path: Path, secret: Callable[[str], Secret]
) -> None:
    another = Authority(tmp_path, "other")
    with (
        ScriptedServer(answering(stored), tls=another.server()) as false_archive,
        ScriptedServer(tunnel) as proxy,
    ):
        network = Network(ca_file=authority.file, proxy=Proxy(proxy.url.removesuffix("/v2")))
        with pytest.raises(NoAnswer, match="certificate was not accepted"):
            store(false_archive.url, auth=Bearer(secret(TOKEN)), network=network)
        assert false_archive.seen == []


def test_an_archive_without_tls_is_asked_through_the_proxy_by_its_whole_address() -> None:
    with ScriptedServer(answering(stored)) as proxy:
        network = Network(proxy=Proxy(proxy.url.removesuffix("/v2")))
        assert store("http://archive.example/v2", network=network) == 200
    assert proxy.seen[0].target == "http://archive.example/v2/studies"
    assert proxy.seen[0].headers["host"] == "archive.example"


def test_a_proxy_that_does_not_know_us_is_told_and_asked_once(
    authority: Authority, secret: Callable[[str], Secret]
) -> None:
    with ScriptedServer(answering(lambda _: answer(407, b"zzserver-text"))) as proxy:
        way = Proxy(proxy.url.removesuffix("/v2"), "me", secret(PASSWORD))
        ours = Client(
            Archive("https://archive.example/v2", "dicom-server", network=Network(proxy=way), short_retries=3)
        )
        with pytest.raises(SecretProblem, match="the proxy does not accept ours") as caught:
            ours.store([BytesPart(b"x")])
        ours.close()
    assert PASSWORD not in f"{caught.value!r} {caught.value.hint}"
    assert len(proxy.seen) == 1


@pytest.mark.parametrize("status", [302, 403, 502])
def test_a_proxy_that_does_not_reach_the_archive_is_told_by_its_status(status: int) -> None:
    with ScriptedServer(answering(lambda _: answer(status, b"", Location="http://127.0.0.1:9/"))) as proxy:
        network = Network(proxy=Proxy(proxy.url.removesuffix("/v2")))
        with pytest.raises(NoAnswer, match=f"the proxy answered {status}") as caught:
            store("https://archive.example/v2", network=network)
    assert (caught.value.why, caught.value.sent_bytes) == ("unreachable", 0)


def test_tokens_are_got_through_the_proxy_too_but_not_those_of_this_machine(
    authority: Authority, secret: Callable[[str], Secret]
) -> None:
    for tls, connects in ((authority.server(), 2), (None, 1)):
        with (
            Issuer(tls=tls) as issuer,
            guarded(issuer, stored, authority.server()) as archive,
            ScriptedServer(tunnel) as proxy,
        ):
            network = Network(ca_file=authority.file, proxy=Proxy(proxy.url.removesuffix("/v2")))
            auth = ClientCredentials(issuer.url, "me", secret("zzclient"))
            assert store(archive.url, auth=auth, network=network) == 200
            assert len(proxy.seen) == connects
            assert issuer.asked == 1


@pytest.mark.parametrize(
    "url",
    ["http://me:zzsecret@proxy.example:3128", "socks5://proxy.example", "http://proxy.example/path", "x"],
)
def test_a_proxy_is_an_address_and_nothing_else(url: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        client("http://archive.example/v2", network=Network(proxy=Proxy(url)))
    assert "zzsecret" not in f"{caught.value} {caught.value.hint}"


def test_no_secret_is_in_the_repr_of_what_holds_it(secret: Callable[[str], Secret]) -> None:
    from dicomsync.dicomweb.route import proxy_route

    way = Proxy("http://proxy.example", "me", secret(PASSWORD))
    route = proxy_route(Network(proxy=way))
    assert route is not None
    assert route.authorization is not None
    assert route.authorization.decode() not in repr(route)
    assert "/secret-" not in repr(way)

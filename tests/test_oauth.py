"""OAuth2 client credentials, with a real token endpoint and a real archive on loopback."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest

from dicomsync.dicomweb import Archive, BytesPart, Client, ClientCredentials, Network, Secret, once
from dicomsync.dicomweb.authorizer import Authorizer
from dicomsync.errors import ArchiveProblem, NoAnswer, Refused, SecretProblem, UsageProblem

from .issuer import CLIENT, CLIENT_SECRET, PREFIX, Authority, Issuer, guarded
from .scripted_server import Peer, Request, ScriptedServer, answer

MODULE = json.dumps({"00081199": {"vr": "SQ", "Value": []}}).encode()
BIG = 8 << 20


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as one:
        yield one


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    (tmp_path / "secret").write_text(CLIENT_SECRET + "\n", encoding="utf-8")
    return Secret(str(tmp_path / "secret"))


@pytest.fixture
def auth(issuer: Issuer, secret: Secret) -> ClientCredentials:
    return ClientCredentials(issuer.url, CLIENT, secret)


def stored(_: Request) -> bytes:
    return answer(200, MODULE, Content_Type="application/dicom+json")


def client(url: str, auth: ClientCredentials, **settings: Any) -> Client:
    return Client(Archive(url, "dicom-server", auth, short_retries=1, connect_timeout=5, **settings))


# What is asked, and how


def test_the_secret_goes_into_a_header_as_the_standard_codes_it(
    issuer: Issuer, auth: ClientCredentials
) -> None:
    assert Authorizer(auth).header() == f"Bearer {PREFIX}1"
    (request,) = issuer.server.seen
    coded = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
    assert [unquote_plus(one) for one in coded.split(":")] == [CLIENT, CLIENT_SECRET]
    assert (request.method, request.target) == ("POST", "/token")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert issuer.form() == {"grant_type": "client_credentials"}


def test_or_into_the_form_for_an_issuer_that_wants_it_there(issuer: Issuer, auth: ClientCredentials) -> None:
    asked = replace(auth, client_auth="post", scope="a b", audience="pacs", resource="https://pacs/")
    Authorizer(asked).header()
    assert "authorization" not in issuer.server.seen[0].headers
    assert issuer.form() == {
        "grant_type": "client_credentials",
        "client_id": CLIENT,
        "client_secret": CLIENT_SECRET,
        "scope": "a b",
        "audience": "pacs",
        "resource": "https://pacs/",
    }


def test_a_secret_that_changes_is_used_from_the_next_renewal_on(
    issuer: Issuer, auth: ClientCredentials
) -> None:
    issuer.lifetime_seconds = 0
    authorizer = Authorizer(replace(auth, client_auth="post"))
    authorizer.header()
    path = auth.client_secret.path
    assert path is not None
    Path(path).write_text("another")
    authorizer.header()
    assert [issuer.form(at)["client_secret"] for at in (0, 1)] == [CLIENT_SECRET, "another"]


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        (3600, 1),
        ("3600", 1),
        (None, 1),
        ("soon", 1),
        (float("nan"), 1),
        (-5, 1),
        (True, 1),
        (10**400, 1),
        (0, 3),
    ],
)
def test_a_lifetime_that_says_nothing_sensible_is_taken_for_a_short_one(
    issuer: Issuer, auth: ClientCredentials, said: object, asked: int
) -> None:
    issuer.lifetime_seconds = said
    authorizer = Authorizer(auth)
    for _ in range(3):
        authorizer.header()
    assert issuer.asked == asked


def test_one_token_serves_many_requests_of_many_threads(issuer: Issuer, auth: ClientCredentials) -> None:
    with guarded(issuer, stored) as archive:
        ours = client(archive.url, auth)
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: ours.store([BytesPart(b"x")]), range(20)))
        ours.close()
    assert {one.status for one in answers} == {200}
    assert (len(archive.seen), issuer.asked) == (20, 1)


# Renewed once on 401


def test_a_rejected_token_is_renewed_and_the_whole_body_sent_once_more(
    issuer: Issuer, auth: ClientCredentials
) -> None:
    with guarded(issuer, stored) as archive:
        ours = client(archive.url, auth)
        ours.store([BytesPart(b"x")])
        issuer.revoke_all()
        got = ours.store([BytesPart(b"y" * BIG)])
        ours.close()
    assert (got.status, got.complete) == (200, True)
    assert [one.headers["authorization"] for one in archive.seen] == [
        f"Bearer {PREFIX}{number}" for number in (1, 1, 2)
    ]
    assert b"y" * BIG in archive.seen[2].body
    assert issuer.asked == 2


def test_a_rejection_in_the_middle_of_a_body_is_answered_with_the_whole_body_anew(
    issuer: Issuer, auth: ClientCredentials
) -> None:
    def impatient(peer: Peer) -> None:
        while (request := peer.head()) is not None:
            if request.headers["authorization"].endswith("-1"):
                peer.body(1 << 20)
                peer.answer(401, b"", Connection="close")
                peer.stall()  # and reads no more
                return
            peer.body(int(request.headers["content-length"]))
            peer.send(stored(request))

    with ScriptedServer(impatient) as archive:
        ours = client(archive.url, auth)
        got = ours.store([BytesPart(b"y" * (24 << 20))])
        ours.close()
    assert (got.status, got.complete) == (200, True)
    assert (len(archive.seen), issuer.asked) == (2, 2)


def test_a_search_is_asked_once_more_too(issuer: Issuer, auth: ClientCredentials) -> None:
    with guarded(issuer, lambda _: answer(200, b"[]", Content_Type="application/dicom+json")) as archive:
        ours = client(archive.url, auth)
        ours.identify()
        issuer.revoke_all()
        ours.identify()
        ours.close()
    assert issuer.asked == 2


def test_a_second_401_stands_and_four_threads_make_no_storm_of_renewals(
    issuer: Issuer, auth: ClientCredentials
) -> None:
    together = threading.Barrier(4)

    def reject(peer: Peer) -> None:
        while peer.request() is not None:
            if peer.seen[-1].headers["authorization"].endswith("-1"):
                together.wait(20)  # all four are rejected before the first can renew
            peer.answer(401)

    with ScriptedServer(reject) as archive:
        ours = client(archive.url, auth)
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: ours.store([BytesPart(b"x")]), range(4)))
        ours.close()
    assert {one.status for one in answers} == {401}
    assert len(archive.seen) == 8
    assert issuer.asked == 2


def test_an_issuer_that_is_gone_when_a_token_is_rejected_leaves_the_401_as_it_is(
    issuer: Issuer, auth: ClientCredentials
) -> None:
    with guarded(issuer, stored) as archive:
        ours = client(archive.url, auth)
        ours.store([BytesPart(b"x")])
        issuer.revoke_all()
        issuer.respond = lambda _: answer(500)
        assert ours.store([BytesPart(b"x")]).status == 401
        ours.close()
    assert len(archive.seen) == 2


def test_an_issuer_that_gives_the_same_token_again_changes_nothing(
    issuer: Issuer, auth: ClientCredentials
) -> None:
    issuer.more = {"access_token": "same"}
    with guarded(issuer, stored) as archive:
        ours = client(archive.url, auth)
        assert ours.store([BytesPart(b"x")]).status == 401
        ours.close()
    assert (len(archive.seen), issuer.asked) == (1, 2)


@pytest.mark.parametrize("status", [400, 403, 407, 500, 503])
def test_no_other_answer_costs_a_token(issuer: Issuer, auth: ClientCredentials, status: int) -> None:
    with guarded(issuer, lambda _: answer(status)) as archive:
        ours = client(archive.url, auth)
        assert ours.store([BytesPart(b"x")]).status == status
        ours.close()
    assert (len(archive.seen), issuer.asked) == (1, 1)


# An issuer that does not give one

CANARY = "zzserver-text"
LOUD = json.dumps({"error": CANARY, "error_description": f"{CANARY} {CLIENT_SECRET}"}).encode()


def code(error: str) -> bytes:
    return json.dumps({"error": error, "error_description": CANARY}).encode()


@pytest.mark.parametrize(
    ("status", "body", "words", "hint"),
    [
        (401, code("invalid_client"), "401, invalid_client", "has the secret expired"),
        (400, code("invalid_scope"), "400, invalid_scope", "scope"),
        (400, code("unauthorized_client"), "400, unauthorized_client", "grant"),
        (400, LOUD, "answered 400", "token_url"),
        (401, b"", "answered 401", "secret"),
        (404, b"<html>" + CANARY.encode(), "answered 404", "token_url"),
        (302, b"", "answered 302", "never followed"),
        (200, b"", "not with a bearer token", "token_url"),
        (200, b"<html>" + CANARY.encode(), "not with a bearer token", "token_url"),
        (200, b'["' + CANARY.encode() + b'"]', "not with a bearer token", "token_url"),
        (200, b'{"access_token": 5}', "not with a bearer token", "token_url"),
        (200, b'{"access_token": "zzserver-text and more"}', "not with a bearer token", "token_url"),
        (200, b'{"access_token": "x", "token_type": "mac"}', "not with a bearer token", "token_url"),
        (200, b"[" * 200_000, "not with a bearer token", "token_url"),
        (200, b" " * (300 << 10), "larger than any token", "token_url"),
    ],
)
def test_what_is_no_token_is_told_in_our_words_and_the_archive_gets_nothing(
    issuer: Issuer, auth: ClientCredentials, status: int, body: bytes, words: str, hint: str
) -> None:
    issuer.respond = lambda _: answer(status, body, Content_Type="application/json", Location=issuer.url)
    with guarded(issuer, stored) as archive:
        ours = client(archive.url, auth)
        with pytest.raises(SecretProblem, match=words) as caught:
            ours.store([BytesPart(b"x")])
        ours.close()
    error = caught.value
    assert hint in error.hint
    told = f"{error} {error!r} {error.hint} {error.__cause__!r}"
    assert CANARY not in told
    assert CLIENT_SECRET not in told
    assert (archive.seen, issuer.asked) == ([], 1)


def test_a_compressed_answer_is_not_unpacked(issuer: Issuer, auth: ClientCredentials) -> None:
    issuer.respond = lambda _: answer(200, b'{"access_token": "x"}', Content_Encoding="gzip")
    with pytest.raises(SecretProblem):
        Authorizer(auth).header()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_issuer_is_tried_again_when_it_says(
    issuer: Issuer, auth: ClientCredentials, status: int
) -> None:
    issuer.respond = lambda _: answer(status, CANARY.encode(), Retry_After="17")
    with pytest.raises(Refused) as caught:
        Authorizer(auth).header()
    assert (caught.value.status, caught.value.retry_after_seconds) == (status, 17)
    assert "token endpoint" in str(caught.value)
    issuer.respond = None
    assert Authorizer(auth).header() == f"Bearer {PREFIX}1"


def test_an_issuer_that_is_not_there_is_like_an_archive_that_is_not(secret: Secret) -> None:
    with ScriptedServer(lambda peer: peer.reset()) as gone:
        auth = ClientCredentials(gone.url, CLIENT, secret)
        with pytest.raises(NoAnswer, match="token endpoint") as caught:
            Authorizer(auth).header()
    assert (caught.value.why, caught.value.sent_bytes) == ("unreachable", 0)


def test_an_issuer_that_drips_or_stalls_is_cut_off(secret: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once, "_IDLE_SECONDS", 0.3)
    monkeypatch.setattr(once, "_TOTAL_SECONDS", 1.0)

    def stall(peer: Peer) -> None:
        peer.request()
        peer.stall()

    def drip(peer: Peer) -> None:
        peer.request()
        peer.drip(answer(200, b" " * 10_000), 0.05)

    for script in (stall, drip):
        began = time.monotonic()
        with ScriptedServer(script) as slow, pytest.raises(NoAnswer):
            Authorizer(ClientCredentials(slow.url, CLIENT, secret)).header()
        assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/token",
        "http://127.0.0.1.evil.example/token",
        "https://me:zzsecret@issuer.example/token",
        "https://good.example@evil.example/token",
        "https://issuer.example/token?secret=zzsecret",
        "https://issuer.example/token#zzsecret",
        "ftp://issuer.example/",
        "https://",
        "https://issuer.example\\@evil.example/",
        "https://issuer.example/a b",
    ],
)
def test_a_secret_is_not_sent_to_what_is_not_plainly_a_server_over_tls(url: str, secret: Secret) -> None:
    with pytest.raises(UsageProblem) as caught:
        Authorizer(ClientCredentials(url, CLIENT, secret))
    assert "zzsecret" not in f"{caught.value} {caught.value.hint}"


# TLS to the issuer


def test_the_issuers_certificate_is_checked_with_the_same_authorities(tmp_path: Path, secret: Secret) -> None:
    authority = Authority(tmp_path)
    with Issuer(tls=authority.server()) as issuer:
        auth = ClientCredentials(issuer.url, CLIENT, secret)
        with pytest.raises(NoAnswer, match="certificate was not accepted"):
            Authorizer(auth).header()
        assert issuer.asked == 0
        assert Authorizer(auth, Network(ca_file=authority.file)).header() == f"Bearer {PREFIX}1"


def test_an_authority_that_cannot_be_read_is_told(secret: Secret, tmp_path: Path) -> None:
    auth = ClientCredentials("https://127.0.0.1:9/token", CLIENT, secret)
    with pytest.raises(ArchiveProblem, match="ca_file"):
        Authorizer(auth, Network(ca_file=str(tmp_path / "none"))).header()

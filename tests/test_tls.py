"""TLS on loopback: whom we trust, who we are, and what is sent to a server that is not who it should be."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dicomsync.dicomweb import Archive, BytesPart, Client, Network, Secret
from dicomsync.dicomweb.route import tls_context
from dicomsync.errors import ArchiveProblem, NoAnswer, SecretProblem

from .issuer import Authority
from .scripted_server import Request, ScriptedServer, answer, answering

MODULE = json.dumps({"00081199": {"vr": "SQ", "Value": []}}).encode()
PASSWORD = "zzkey-password"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def stored(_: Request) -> bytes:
    return answer(200, MODULE, Content_Type="application/dicom+json")


def store(url: str, size: int = 1, **network: Any) -> int:
    archive = Archive(url, "dicom-server", network=Network(**network), short_retries=1, idle_timeout=5)
    client = Client(archive)
    try:
        return client.store([BytesPart(b"x" * size)]).status
    finally:
        client.close()


def encrypted(key: str) -> str:
    """Give the same key behind a password."""
    from cryptography.hazmat.primitives import serialization

    opened = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    path = Path(key + ".closed")
    path.write_bytes(
        opened.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(PASSWORD.encode()),
        )
    )
    return str(path)


def test_a_sites_own_authority_is_trusted_beside_the_public_ones(authority: Authority) -> None:
    public = len(tls_context(Network()).get_ca_certs())
    assert public > 50
    assert len(tls_context(Network(ca_file=authority.file)).get_ca_certs()) == public + 1
    with ScriptedServer(answering(stored), tls=authority.server()) as server:
        assert store(server.url, 8 << 20, ca_file=authority.file) == 200
        assert store(server.url.replace("https:", "HTTPS:"), ca_file=authority.file) == 200


def test_a_certificate_for_another_name_of_another_authority_or_of_the_past_is_not_sent_anything(
    authority: Authority, tmp_path: Path
) -> None:
    last_year = authority.server(until=datetime.now(UTC) - timedelta(days=1))
    for presented in (authority.server("other.example"), Authority(tmp_path, "other").server(), last_year):
        with ScriptedServer(answering(stored), tls=presented) as server:
            with pytest.raises(NoAnswer, match="certificate was not accepted"):
                store(server.url, ca_file=authority.file)
            assert server.seen == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(authority: Authority, version: ssl.TLSVersion) -> None:
    context = authority.server()
    context.minimum_version = context.maximum_version = version
    with ScriptedServer(answering(stored), tls=context) as server:
        assert store(server.url, ca_file=authority.file) == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_tls_1_1_is_not_spoken(authority: Authority) -> None:
    assert tls_context(Network()).minimum_version >= ssl.TLSVersion.TLSv1_2
    context = authority.server()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with ScriptedServer(answering(stored), tls=context) as server:
        with pytest.raises(NoAnswer, match="TLS failed"):
            store(server.url, ca_file=authority.file)
        assert server.seen == []


def test_the_environment_adds_no_authority_and_gets_no_session_keys(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, authority.file)
    with ScriptedServer(answering(stored), tls=authority.server()) as server:
        with pytest.raises(NoAnswer, match="certificate was not accepted"):
            store(server.url)
        assert store(server.url, ca_file=authority.file) == 200
    assert not keys.exists()


# Our own certificate


def test_an_archive_that_wants_a_certificate_gets_ours(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.client("modality")
    together = tmp_path / "both.pem"
    together.write_bytes(Path(certificate).read_bytes() + Path(key).read_bytes())
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    with ScriptedServer(answering(stored), tls=authority.server(asks=authority)) as server:
        settings: tuple[dict[str, Any], ...] = (
            {"client_certificate": certificate, "client_key": key},
            {"client_certificate": str(together)},
            {
                "client_certificate": certificate,
                "client_key": encrypted(key),
                "client_key_password": Secret(str(password)),
            },
        )
        for ours in settings:
            assert store(server.url, ca_file=authority.file, **ours) == 200


def test_without_it_or_with_a_strangers_nothing_is_stored(authority: Authority, tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path, "other").client("stranger")
    with ScriptedServer(answering(stored), tls=authority.server(asks=authority)) as server:
        strangers: dict[str, Any] = {"client_certificate": certificate, "client_key": key}
        for ours in ({}, strangers):
            with pytest.raises(NoAnswer):
                store(server.url, ca_file=authority.file, **ours)
        assert server.seen == []


def test_a_key_that_cannot_be_used_is_told_at_once_and_never_asked_for_at_the_terminal(
    authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.client("modality")
    _, another = authority.client("another")
    wrong = tmp_path / "wrong"
    wrong.write_text("zzwrong")
    keys: tuple[dict[str, Any], ...] = (
        {"client_key": another},
        {"client_key": encrypted(key)},
        {"client_key": encrypted(key), "client_key_password": Secret(str(wrong))},
        {"client_key": str(tmp_path / "none")},
        {},
    )
    for settings in keys:
        network = Network(client_certificate=certificate, **settings)
        with pytest.raises(SecretProblem, match="client certificate or its key") as caught:
            tls_context(network, shows_certificate=True)
        assert "zzwrong" not in f"{caught.value!r} {caught.value.hint}"
        assert str(tmp_path) not in str(caught.value)


def test_our_certificate_is_for_the_archive_alone(authority: Authority, tmp_path: Path) -> None:
    network = Network(ca_file=authority.file, client_certificate=str(tmp_path / "none"))
    tls_context(network)
    with pytest.raises(SecretProblem):
        tls_context(network, shows_certificate=True)


@pytest.mark.parametrize("content", [None, b"", b"no certificates", b"\xff" * 100])
def test_authorities_that_cannot_be_read_are_told(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArchiveProblem, match="ca_file cannot be read"):
        tls_context(Network(ca_file=str(path)))

"""A server that is no part of it sees no request and no credential, whatever would send us there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dicomsync.dicomweb import (
    Archive,
    Auth,
    Basic,
    Bearer,
    BytesPart,
    Client,
    ClientCredentials,
    Secret,
)
from dicomsync.errors import DicomsyncError, UsageProblem
from tests.conftest import Site, small

from .issuer import Issuer, guarded
from .scripted_server import Request, ScriptedServer, answer, answering

MODULE = json.dumps({"00081199": {"vr": "SQ", "Value": []}}).encode()
REDIRECTS = (300, 301, 302, 303, 305, 307, 308)


@pytest.fixture
def stranger() -> Iterator[ScriptedServer]:
    """One that would take all: nothing may have come, not even a connection."""
    with ScriptedServer(answering(lambda _: answer(200, MODULE, Content_Type="application/json"))) as server:
        yield server
    assert (server.connections, server.seen) == (0, [])


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    (tmp_path / "secret").write_text("zzsecret")
    return Secret(str(tmp_path / "secret"))


def stored(_: Request) -> bytes:
    return answer(200, MODULE, Content_Type="application/dicom+json")


def everything(client: Client) -> list[object]:
    """Ask all that can be asked; what comes of it, an answer or an error."""
    found: list[object] = []
    asks: list[Callable[[], object]] = [
        lambda: client.store([BytesPart(b"x" * 1_000_000)], "1.2"),
        client.identify,
        lambda: client.present("1.2", {"1.2.3": "1.2.4"}),
        lambda: b"".join(client.instance("1.2", "1.3", "1.4").__enter__()),
    ]
    for ask in asks:
        try:
            found.append(ask())
        except DicomsyncError as error:
            found.append(error)
    client.close()
    return found


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize(
    "form", ["http://{}/v2/studies", "//{}/v2/studies", "http://127.0.0.1@{}/", "\\\\{}\\"]
)
def test_an_archive_that_sends_us_elsewhere_is_not_followed(
    stranger: ScriptedServer, secret: Secret, status: int, form: str
) -> None:
    where = form.format(f"127.0.0.1:{stranger.port}")
    headers = {"Location": where, "Refresh": f"0;url={where}", "Content_Location": where, "Alt_Svc": where}
    with ScriptedServer(answering(lambda _: answer(status, b"", **headers))) as archive:
        for auth in (Bearer(secret), Basic("me", secret)):
            everything(Client(Archive(archive.url, "dicom-server", auth, short_retries=1)))
    assert archive.seen


@pytest.mark.parametrize("status", REDIRECTS)
def test_an_issuer_that_sends_us_elsewhere_is_not_followed(
    stranger: ScriptedServer, secret: Secret, status: int
) -> None:
    with Issuer() as issuer, guarded(issuer, stored) as archive:
        issuer.respond = lambda _: answer(status, b"", Location=f"http://127.0.0.1:{stranger.port}/token")
        for how in ("basic", "post"):
            auth = ClientCredentials(issuer.url, "me", secret, client_auth=how)
            everything(Client(Archive(archive.url, "dicom-server", auth, short_retries=1)))
        assert issuer.asked >= 2
        assert archive.seen == []


def test_an_archive_that_rejects_us_cannot_name_another_issuer(
    stranger: ScriptedServer, secret: Secret
) -> None:
    challenge = f'Bearer authorization_uri="http://127.0.0.1:{stranger.port}/token", realm="x"'
    with (
        Issuer() as issuer,
        ScriptedServer(answering(lambda _: answer(401, b"", WWW_Authenticate=challenge))) as archive,
    ):
        auth = ClientCredentials(issuer.url, "me", secret)
        everything(Client(Archive(archive.url, "dicom-server", auth, short_retries=1)))
        assert archive.seen


@pytest.mark.parametrize(
    "form",
    [
        "http://127.0.0.1:1@{}/v2",
        "http://good.example%40{}@{}/v2",
        "http://127.0.0.1:1\\@{}/v2",
        "http://{}#@good/",
    ],
)
def test_an_address_that_reads_like_another_is_refused(
    stranger: ScriptedServer, secret: Secret, form: str
) -> None:
    address = f"127.0.0.1:{stranger.port}"
    with pytest.raises(UsageProblem):
        Client(Archive(form.format(*[address] * form.count("{}")), "dicom-server", Bearer(secret)))
    with pytest.raises(UsageProblem):
        Client(
            Archive(
                "http://127.0.0.1:9/v2",
                "dicom-server",
                ClientCredentials(form.format(*[address] * form.count("{}")), "me", secret),
            )
        )


def test_neither_proxies_nor_passwords_of_the_environment_are_used(
    stranger: ScriptedServer, secret: Secret, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{stranger.port}")
        monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{stranger.port}")
    monkeypatch.setenv("NO_PROXY", "")
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login zznetrc password zznetrc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    with Issuer() as issuer, guarded(issuer, stored) as archive:
        auth: Auth
        for auth in (ClientCredentials(issuer.url, "me", secret), Bearer(secret)):
            everything(Client(Archive(archive.url, "dicom-server", auth, short_retries=1)))
        assert issuer.asked == 1
        heads = b"".join(one.head for one in [*archive.seen, *issuer.server.seen])
    with ScriptedServer(answering(stored)) as open_archive:
        everything(Client(Archive(open_archive.url, "dicom-server", short_retries=1)))
        assert all("authorization" not in one.headers for one in open_archive.seen)
    assert b"Basic enpuZXRyYz" not in heads


def test_what_answers_sets_no_cookie_that_comes_back(secret: Secret) -> None:
    with ScriptedServer(answering(lambda _: answer(200, b"[]", Set_Cookie="zz=1; Path=/"))) as archive:
        everything(Client(Archive(archive.url, "dicom-server", Bearer(secret), short_retries=1)))
    assert len(archive.seen) > 2
    assert all("cookie" not in one.headers for one in archive.seen)


def test_a_whole_backfill_with_strange_proxies_around_it_goes_to_the_archive_alone(
    stranger: ScriptedServer, site: Site, secret: Secret
) -> None:
    site.write("a/1.dcm", small("1"))
    site.environment = dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"), f"http://127.0.0.1:{stranger.port}"
    )
    with (
        Issuer() as issuer,
        guarded(issuer, lambda _: answer(302, b"", Location=f"http://127.0.0.1:{stranger.port}/")) as archive,
    ):
        site.configure(
            archive.url,
            archive={
                "auth": "oauth2",
                "token_url": issuer.url,
                "client_id": "me",
                "client_secret_from": secret.source,
                "kind": "dicom-server",
            },
        )
        done = site.run_backfill("-vv", "--patience", "0.5s", "--max-duration", "5s")
        assert done.code == 5
        assert archive.seen
        assert "zzsecret" not in done.out + done.err
        assert "zztoken" not in done.out + done.err

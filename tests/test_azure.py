"""Azure through azure-identity: its credentials as the config names them, and real ones against loopback."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest

from dicomsync.dicomweb import DICOM_SCOPE, Archive, Azure, BytesPart, Client, Network, Proxy, Secret
from dicomsync.dicomweb.authorizer import Authorizer
from dicomsync.dicomweb.azure import EntraTokens
from dicomsync.errors import ArchiveProblem, NoAnswer, SecretProblem, UsageProblem

from .issuer import Authority
from .scripted_server import Request, ScriptedServer, answer, answering
from .test_proxy import basic, tunnel

identity = pytest.importorskip("azure.identity")
TokenCredential = pytest.importorskip("azure.core.credentials").TokenCredential

MODULE = json.dumps({"00081199": {"vr": "SQ", "Value": []}}).encode()
TENANT, CLIENT = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"
SECRET = "zzazure-secret"


class AccessToken(NamedTuple):
    """What a TokenCredential gives (azure.core.credentials)."""

    token: str
    expires_on: int


class FakeCredential:
    """A TokenCredential by the protocol that azure-core documents: get_token(*scopes)."""

    made: ClassVar[list[tuple[tuple[Any, ...], dict[str, Any]]]]
    scopes: ClassVar[list[tuple[str, ...]]]
    lifetime_seconds = 3600
    error: Exception | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.made.append((arguments, named))

    def get_token(self, *scopes: str, **named: Any) -> AccessToken:
        self.scopes.append(scopes)
        if self.error is not None:
            raise self.error
        return AccessToken(f"zzazure-{len(self.scopes)}", int(time.time()) + self.lifetime_seconds)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], type[FakeCredential]]:
    def replaced(name: str) -> type[FakeCredential]:
        class Fake(FakeCredential):
            made: ClassVar[list[tuple[tuple[Any, ...], dict[str, Any]]]] = []
            scopes: ClassVar[list[tuple[str, ...]]] = []

        assert hasattr(identity, name)
        monkeypatch.setattr(identity, name, Fake)
        return Fake

    return replaced


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    (tmp_path / "secret").write_text(SECRET + "\n")
    return Secret(str(tmp_path / "secret"))


# What is made of the config


def test_a_managed_identity_is_asked_for_the_scope_of_the_dicom_service(
    fake: Callable[[str], type[FakeCredential]],
) -> None:
    made = fake("ManagedIdentityCredential")
    assert Authorizer(Azure()).header() == "Bearer zzazure-1"
    assert made.scopes == [(DICOM_SCOPE,)] == [("https://dicom.healthcareapis.azure.com/.default",)]
    assert "client_id" not in made.made[0][1], "system-assigned"
    Authorizer(Azure(client_id=CLIENT)).header()
    assert made.made[1][1]["client_id"] == CLIENT


@pytest.mark.parametrize(
    ("credential", "name", "arguments"),
    [
        ("secret", "ClientSecretCredential", (TENANT, CLIENT, SECRET)),
        ("certificate", "CertificateCredential", (TENANT, CLIENT, "/etc/ours.pem")),
        ("cli", "AzureCliCredential", ()),
        ("default", "DefaultAzureCredential", ()),
    ],
)
def test_every_kind_of_credential_is_the_packages_own(
    fake: Callable[[str], type[FakeCredential]],
    secret: Secret,
    credential: str,
    name: str,
    arguments: tuple[str, ...],
) -> None:
    made = fake(name)
    auth = Azure(credential, "a/.default", TENANT, CLIENT, secret, "/etc/ours.pem")
    assert Authorizer(auth).header() == "Bearer zzazure-1"
    ((given, named),) = made.made
    assert given == arguments
    assert made.scopes == [("a/.default",)]
    if credential == "certificate":
        assert named["password"] == SECRET


def test_a_token_is_kept_until_it_is_near_its_end(fake: Callable[[str], type[FakeCredential]]) -> None:
    made = fake("ManagedIdentityCredential")
    authorizer = Authorizer(Azure())
    assert {authorizer.header() for _ in range(3)} == {"Bearer zzazure-1"}
    made.lifetime_seconds = -10
    for_each_request = Authorizer(Azure())
    assert [for_each_request.header() for _ in range(2)] == ["Bearer zzazure-2", "Bearer zzazure-3"]


def test_a_rejected_token_is_renewed_once_by_a_credential_that_remembers_none(
    fake: Callable[[str], type[FakeCredential]],
) -> None:
    made = fake("ManagedIdentityCredential")

    def respond(request: Request) -> bytes:
        if request.headers["authorization"].endswith("-1"):
            return answer(401)
        return answer(200, MODULE, Content_Type="application/dicom+json")

    with ScriptedServer(answering(respond)) as archive:
        client = Client(Archive(archive.url, "dicom-server", Azure()))
        assert client.store([BytesPart(b"x")]).status == 200
        client.close()
    assert (len(made.made), len(archive.seen)) == (2, 2)


# What goes wrong


def test_what_the_package_says_is_not_repeated_but_for_entras_code(
    fake: Callable[[str], type[FakeCredential]],
) -> None:
    made = fake("ManagedIdentityCredential")
    made.error = identity.CredentialUnavailableError(message=f"zzserver-text AADSTS7000215: {SECRET}")
    with pytest.raises(SecretProblem, match="AADSTS7000215") as caught:
        Authorizer(Azure()).header()
    made.error = RuntimeError(SECRET)
    with pytest.raises(SecretProblem, match="RuntimeError") as odd:
        Authorizer(Azure()).header()
    for error in (caught.value, odd.value):
        told = f"{error!r} {error.hint} {error.__cause__!r}"
        assert SECRET not in told
        assert "zzserver-text" not in told


def test_without_a_way_to_entra_it_is_as_with_an_archive_that_is_not_there(
    fake: Callable[[str], type[FakeCredential]],
) -> None:
    from azure.core.exceptions import ServiceRequestError

    fake("ManagedIdentityCredential").error = ServiceRequestError("zzserver-text")
    with pytest.raises(NoAnswer, match="Entra") as caught:
        Authorizer(Azure()).header()
    assert caught.value.why == "unreachable"


def test_without_the_package_its_extra_is_named(monkeypatch: pytest.MonkeyPatch, secret: Secret) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    for auth in (Azure(), Azure("secret", tenant_id=TENANT, client_id=CLIENT, secret=secret)):
        with pytest.raises(SecretProblem, match="azure-identity") as caught:
            Authorizer(auth).header()
        assert "dicomsync[azure]" in caught.value.hint


def test_the_package_is_loaded_only_by_who_needs_it() -> None:
    code = (
        "import sys, dicomsync.dicomweb, dicomsync.service; print([m for m in sys.modules if 'azure' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("authority", ["https://login.example", "me@evil", "a b", "x/../y", "h:port"])
def test_an_authority_is_a_host_and_nothing_else(authority: str) -> None:
    with pytest.raises(UsageProblem):
        Authorizer(Azure(authority=authority))


# The real package, against a made-up Entra on loopback


class Entra:
    """As much of Entra as msal asks for."""

    def __init__(self, authority: Authority) -> None:
        self.respond: Callable[[Request], bytes] = self.give
        self.server = ScriptedServer(answering(self._answer), tls=authority.server())
        self.host = f"127.0.0.1:{self.server.port}"
        self.asked: list[Request] = []

    def give(self, request: Request) -> bytes:
        token = {"access_token": f"zzreal-{len(self.asked)}", "token_type": "Bearer", "expires_in": 3600}
        return answer(200, json.dumps(token).encode(), Content_Type="application/json")

    def _answer(self, request: Request) -> bytes:
        if request.method == "POST":
            self.asked.append(request)
            return self.respond(request)
        root = f"https://{self.host}/{TENANT}"
        found = {
            "issuer": f"{root}/v2.0",
            "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
            "token_endpoint": f"{root}/oauth2/v2.0/token",
        }
        return answer(200, json.dumps(found).encode(), Content_Type="application/json")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def entra(authority: Authority) -> Iterator[Entra]:
    one = Entra(authority)
    with one.server:
        yield one


@pytest.mark.parametrize("credential", ["managed", "default", "cli"])
def test_the_real_package_takes_what_we_give_it(credential: str) -> None:
    made = EntraTokens(Azure(credential), Network())._credential(None)
    assert isinstance(made, TokenCredential)
    made.close()


def by_secret(entra: Entra, secret: Secret) -> Azure:
    return Azure("secret", DICOM_SCOPE, TENANT, CLIENT, secret, authority=entra.host)


def test_the_real_package_gets_a_token_by_secret_over_our_tls(
    entra: Entra, authority: Authority, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(answering(lambda _: answer(502))) as stranger:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, stranger.url)
        ours = Authorizer(by_secret(entra, secret), Network(ca_file=authority.file))
        assert ours.header() == "Bearer zzreal-1"
        assert ours.renew("Bearer zzreal-1")
        assert ours.header() == "Bearer zzreal-2", "none was kept back"
        assert stranger.connections == 0
    assert entra.asked[0].target == f"/{TENANT}/oauth2/v2.0/token"
    assert b"grant_type=client_credentials" in entra.asked[0].body
    assert SECRET.encode() in entra.asked[0].body


def test_the_real_package_gets_a_token_by_certificate(
    entra: Entra, authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.client("service")
    both = tmp_path / "both.pem"
    both.write_bytes(Path(key).read_bytes() + Path(certificate).read_bytes())
    auth = Azure("certificate", DICOM_SCOPE, TENANT, CLIENT, certificate=str(both), authority=entra.host)
    assert Authorizer(auth, Network(ca_file=authority.file)).header() == "Bearer zzreal-1"
    assert b"client_assertion=" in entra.asked[0].body


def test_the_real_package_goes_through_the_proxy_of_the_config(
    entra: Entra, authority: Authority, secret: Secret, tmp_path: Path
) -> None:
    (tmp_path / "proxy").write_text("zz/proxy:p@ss")
    with ScriptedServer(tunnel) as proxy:
        way = Proxy(proxy.url.removesuffix("/v2"), "me", Secret(str(tmp_path / "proxy")))
        ours = Authorizer(by_secret(entra, secret), Network(ca_file=authority.file, proxy=way))
        assert ours.header() == "Bearer zzreal-1"
    assert {one.target for one in proxy.seen} == {entra.host}
    assert {basic(one) for one in proxy.seen} == {"me:zz/proxy:p@ss"}


def test_an_entra_that_is_not_trusted_gets_no_secret(entra: Entra, secret: Secret) -> None:
    with pytest.raises(ArchiveProblem):
        Authorizer(by_secret(entra, secret)).header()
    assert entra.server.seen == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_an_entra_that_sends_us_elsewhere_is_not_followed(
    entra: Entra, authority: Authority, secret: Secret, status: int
) -> None:
    with ScriptedServer(answering(entra.give), tls=authority.server()) as stranger:
        where = stranger.url + "/token"
        entra.respond = lambda _: answer(status, b"", Location=where)
        with pytest.raises(ArchiveProblem) as caught:
            Authorizer(by_secret(entra, secret), Network(ca_file=authority.file)).header()
        assert (stranger.connections, stranger.seen) == (0, [])
    assert SECRET not in f"{caught.value!r} {caught.value.hint}"


def test_a_secret_that_entra_does_not_take_is_told_by_its_code(
    entra: Entra, authority: Authority, secret: Secret
) -> None:
    said = {"error": "invalid_client", "error_description": "AADSTS7000215: zzserver-text"}
    entra.respond = lambda _: answer(401, json.dumps(said).encode(), Content_Type="application/json")
    with pytest.raises(SecretProblem, match="AADSTS7000215") as caught:
        Authorizer(by_secret(entra, secret), Network(ca_file=authority.file)).header()
    assert "zzserver-text" not in f"{caught.value!r} {caught.value.hint}"

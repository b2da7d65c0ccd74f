"""Tokens from Microsoft Entra by azure-identity, an extra of the package: imported when it is needed.

A credential is made anew for each token: it keeps none back, so that a token which was rejected is not
given again. Its requests go over our TLS context and proxy, and take nothing from the environment; but
what a credential of "default", "managed" or "cli" is found by is azure-identity's own business.
"""

from __future__ import annotations

import re
import time
from typing import Any, Final

from ..errors import ArchiveProblem, NoAnswer, SecretProblem, UsageProblem
from .auth import Azure
from .network import Network
from .route import proxy_url, tls_context
from .secrets import SecretReader
from .tokens import Token
from .urls import check_url

_CODE: Final = re.compile(r"AADSTS[0-9]{4,9}", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?", re.ASCII)
_SECONDS: Final = 10
_HTTP: Final[dict[str, Any]] = {
    "connection_timeout": _SECONDS,
    "read_timeout": _SECONDS,
    "retry_total": 1,
    "logging_enable": False,
}
_CREDENTIALS: Final = ("managed", "default", "secret", "certificate", "cli")
_UNREACHED: Final = ("ServiceRequestError", "ServiceResponseError")  # azure.core: no connection, no answer


class EntraTokens:
    """Tokens of one Azure identity."""

    def __init__(self, auth: Azure, network: Network) -> None:
        if auth.credential not in _CREDENTIALS:
            raise UsageProblem(f"azure_credential is one of {', '.join(_CREDENTIALS)}; nothing was sent")
        if auth.authority and (
            not _HOST.fullmatch(auth.authority) or check_url(f"https://{auth.authority}") is not None
        ):
            raise UsageProblem("azure_authority is a host name; nothing was sent")
        self._auth = auth
        self._network = network
        self._secret = None
        if auth.secret is not None:
            self._secret = SecretReader(auth.secret, "secret of the Azure credential")

    def fetch(self) -> Token:
        """Ask for a token; raises SecretProblem where a person must act, NoAnswer if Entra is not reached."""
        asked_at, wall = time.monotonic(), time.time()
        session = None
        try:
            if self._auth.credential in ("secret", "certificate"):
                session = _session(self._network)
            credential = self._credential(session)
            try:
                got = credential.get_token(self._auth.scope)
            finally:
                getattr(credential, "close", lambda: None)()
        except ArchiveProblem:
            raise
        except Exception as error:  # its words may hold the server's, or a secret
            raise _problem(error) from None
        finally:
            if session is not None:
                session.close()
        return Token(str(got.token), asked_at, max(0.0, float(got.expires_on) - wall))

    def _credential(self, session: Any) -> Any:
        """Make the credential that the config names (a TokenCredential of azure-core)."""
        auth, identity = self._auth, _identity()
        secret = None if self._secret is None else self._secret.read()
        client = {"client_id": auth.client_id} if auth.client_id else {}
        tenant = {"tenant_id": auth.tenant_id} if auth.tenant_id else {}
        if auth.credential == "managed":
            return identity.ManagedIdentityCredential(**client, **_HTTP, use_env_settings=False)
        if auth.credential == "cli":
            return identity.AzureCliCredential(**tenant, process_timeout=_SECONDS)
        where: dict[str, Any] = {"authority": auth.authority} if auth.authority else {}
        if auth.credential == "default":
            managed = {"managed_identity_client_id": auth.client_id} if auth.client_id else {}
            return identity.DefaultAzureCredential(**managed, **where, **_HTTP)
        if where:  # the config says whom it trusts: no other host is asked about it
            where["disable_instance_discovery"] = True
        options = {**where, **_HTTP, "transport": _transport(session), "proxies": _proxies(self._network)}
        if auth.credential == "certificate":
            return identity.CertificateCredential(
                auth.tenant_id, auth.client_id, auth.certificate, password=secret, **options
            )
        return identity.ClientSecretCredential(auth.tenant_id, auth.client_id, secret, **options)


def _identity() -> Any:
    try:
        import azure.identity
    except ImportError:
        raise SecretProblem(
            'no credential: auth = "azure" needs the package azure-identity; nothing was sent',
            hint="Install it beside dicomsync: pip install 'dicomsync[azure]'",
        ) from None
    return azure.identity


def _session(network: Network) -> Any:
    """Make a session of requests (what azure-core sends by) that keeps to our TLS context."""
    _identity()
    import requests
    from requests.adapters import HTTPAdapter

    context = tls_context(network)

    class Adapter(HTTPAdapter):  # type: ignore[misc,unused-ignore]  # an untyped extra
        def init_poolmanager(self, *args: Any, **named: Any) -> None:
            super().init_poolmanager(*args, ssl_context=context, **named)

        def proxy_manager_for(self, proxy: str, **named: Any) -> Any:
            return super().proxy_manager_for(proxy, ssl_context=context, **named)

    session = requests.Session()
    session.trust_env = False
    session.mount("https://", Adapter())
    return session


def _transport(session: Any) -> Any:
    from azure.core.pipeline.transport import RequestsTransport

    return RequestsTransport(session=session, session_owner=False, use_env_settings=False, **_HTTP)


def _proxies(network: Network) -> dict[str, str]:
    return {} if network.proxy is None else {"https": proxy_url(network.proxy)}


def _problem(error: Exception) -> ArchiveProblem:
    """Say what happened without the package's text, in which only Entra's error code is surely harmless."""
    name = type(error).__name__
    if name in _UNREACHED:
        return NoAnswer("unreachable", "no token from Microsoft Entra: no connection, or no answer")
    code = _CODE.search(str(error))
    return SecretProblem(
        f"no credential: azure-identity gave no token ({code[0] if code else name}); nothing was sent",
        hint="Is this identity there, may it use the DICOM service, are tenant_id, client_id and its secret"
        " or certificate (PEM, with an RSA key) right? Microsoft lists the AADSTS codes.",
    )

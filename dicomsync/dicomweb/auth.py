"""Who we are to the archive: frozen descriptions that hold no secret, only where each one is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .secrets import Secret

DICOM_SCOPE: Final = "https://dicom.healthcareapis.azure.com/.default"
"""What a token for the Azure DICOM service is asked for, in the public cloud."""


@dataclass(frozen=True, slots=True)
class NoAuth:
    """No Authorization header is sent."""


@dataclass(frozen=True, slots=True)
class Basic:
    """HTTP Basic authentication (RFC 7617, UTF-8)."""

    username: str
    password: Secret


@dataclass(frozen=True, slots=True)
class Bearer:
    """A bearer token (RFC 6750) that something else keeps fresh."""

    token: Secret


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """OAuth2 client credentials (RFC 6749 4.4): a token of the issuer's, got and renewed by us.

    `client_auth` is how we show the issuer who we are: "basic", or "post" for issuers that want it in
    the form. `audience` and `resource` (RFC 8707) are sent where they are not empty.
    """

    token_url: str
    client_id: str
    client_secret: Secret
    scope: str = ""
    audience: str = ""
    resource: str = ""
    client_auth: str = "basic"


@dataclass(frozen=True, slots=True)
class Azure:
    """A token from Microsoft Entra by the package azure-identity.

    `credential` is "managed", "default", "secret", "certificate" or "cli"; the secret is the client's, or
    opens the certificate (a PEM file with its key). `authority` is a host, for other than the public cloud.
    """

    credential: str = "managed"
    scope: str = DICOM_SCOPE
    tenant_id: str = ""
    client_id: str = ""
    secret: Secret | None = None
    certificate: str = ""
    authority: str = ""


Auth = NoAuth | Basic | Bearer | ClientCredentials | Azure

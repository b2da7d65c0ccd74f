"""Which keys of `[archive]` make a credential, and what they may hold. Pure; config is who asks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_SECRET_PLACE: Final = re.compile(
    r"/[^\0]+|env:[A-Za-z_][A-Za-z0-9_]*|credential:(?!\.)[A-Za-z0-9_.@-]+", re.ASCII
)
_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?")

_CREDENTIALS: Final[dict[str, tuple[set[str], set[str]]]] = {
    # auth, and for "azure" its azure_credential: the keys it needs, the keys it may have
    "none": (set(), set()),
    "basic": ({"username", "password_from"}, set()),
    "bearer": ({"token_from"}, set()),
    "oauth2": (
        {"token_url", "client_id", "client_secret_from"},
        {"client_auth", "scope", "audience", "resource"},
    ),
    "azure managed": (set(), {"client_id", "scope"}),
    "azure default": (set(), {"client_id", "scope", "azure_authority"}),
    "azure secret": ({"tenant_id", "client_id", "client_secret_from"}, {"scope", "azure_authority"}),
    "azure certificate": (
        {"tenant_id", "client_id", "azure_certificate"},
        {"azure_certificate_password_from", "scope", "azure_authority"},
    ),
    "azure cli": (set(), {"tenant_id", "scope"}),
}

_TOGETHER: Final = {
    "client_key": "client_certificate",
    "client_key_password_from": "client_certificate",
    "proxy_username": "proxy",
    "proxy_password_from": "proxy_username",
}


def problems(archive: Mapping[str, Any]) -> list[str]:
    """Say which keys of a credential are missing, or would not be used: then another was meant."""
    told = []
    auth = archive.get("auth", "none")
    if auth == "azure":
        auth = f"azure {archive.get('azure_credential', 'managed')}"
    if isinstance(auth, str) and auth in _CREDENTIALS:
        every = set().union(*(one | other for one, other in _CREDENTIALS.values())) | {"azure_credential"}
        needs, may = _CREDENTIALS[auth]
        words = f'auth = "{auth.partition(" ")[0]}"'
        if auth.startswith("azure"):
            may = may | {"azure_credential"}
            words += f' with azure_credential = "{auth.partition(" ")[2]}"'
        given = {key for key in every if archive.get(key)}
        if missing := sorted(needs - given):
            told.append(f"archive: {words} needs {' and '.join(missing)}")
        if unused := sorted(given - needs - may):
            told.append(f"archive: {words} does not use {' and '.join(unused)}: is another auth meant?")
    for key, needed in _TOGETHER.items():
        if archive.get(key) and not archive.get(needed):
            told.append(f"archive: {key} is given without {needed}")
    return told


def secret_place(value: object) -> str:
    """Take where a secret is; raises ValueError for a secret itself, and never repeats it."""
    if not isinstance(value, str) or not _SECRET_PLACE.fullmatch(value):
        raise ValueError(
            'expected where the secret is: "/path/of/a/file", "env:NAME" or "credential:NAME";'
            " a secret itself does not belong into a config"
        )
    return value


def file_place(value: object) -> str:
    """Take the path of a file; raises ValueError for one that means another file to each who reads it."""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ValueError("expected the path of a file, from / on")
    return value


def authority(value: object) -> str:
    """Take the host that issues tokens; raises ValueError for a URL, and for anything else."""
    if not isinstance(value, str) or not _HOST.fullmatch(value):
        raise ValueError('expected a host such as "login.microsoftonline.us"')
    return value

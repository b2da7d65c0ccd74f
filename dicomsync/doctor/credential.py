"""Our credential: can it be had, by whom else, and for how long?"""

from __future__ import annotations

import os
import ssl
import stat
import time
from pathlib import Path
from typing import Final

from dicomsync import dicomweb
from dicomsync.dicomweb.authorizer import Authorizer
from dicomsync.dicomweb.network import tls_context
from dicomsync.doctor.certificate import expiry, told
from dicomsync.doctor.check import Check, ok, problem, warning
from dicomsync.errors import DicomsyncError
from dicomsync.words import span

_TOKEN_SECONDS: Final = 300.0


def examine(archive: dicomweb.Archive) -> list[Check]:
    """Look at all that says who we are; what gets a token for us is asked for one."""
    return [*_credential(archive), *_certificate(archive.network)]


def _credential(archive: dicomweb.Archive) -> list[Check]:
    if archive.auth == dicomweb.NoAuth():
        return [ok("credential", "none is configured")]
    checks = [check for secret in _secrets(archive) for check in _openness(secret)]
    authorizer = Authorizer(archive.auth, archive.network)
    try:
        authorizer.header()
        token = authorizer.token()
    except DicomsyncError as error:
        return [problem("credential", error.message, error.hint), *checks]
    if token is None:
        return checks or [ok("credential", "it can be read")]
    left = token.expires_at - time.monotonic()
    words = f"a token was given, good for {span(max(left, 0.0))}"
    if left < _TOKEN_SECONDS:
        return [warning("credential", words, "So short a life makes many requests: lengthen it."), *checks]
    return [ok("credential", words), *checks]


def _secrets(archive: dicomweb.Archive) -> list[dicomweb.Secret]:
    """List every secret that is used: ours to the archive or the issuer, the key's, the proxy's."""
    network = archive.network
    found = [network.client_key_password, network.proxy.password if network.proxy else None]
    match archive.auth:
        case (
            dicomweb.Basic(password=secret)
            | dicomweb.Bearer(token=secret)
            | dicomweb.ClientCredentials(client_secret=secret)
        ):
            found.insert(0, secret)
        case dicomweb.Azure(secret=kept):
            found.insert(0, kept)
    return [secret for secret in found if secret is not None]


def _openness(secret: dicomweb.Secret) -> list[Check]:
    """Say who may read its file; nothing where there is none, which its reading tells."""
    path = secret.path
    if path is None or not os.path.isfile(path):
        return []
    return _mode(path)


def _mode(path: str) -> list[Check]:
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o027:
        words = f"{path} can be read or changed by others (mode {mode:04o})"
        return [warning("credential", words, f"chmod 0640 {path}" if mode & 0o007 else f"chmod g-w {path}")]
    return [ok("credential", f"{path} can be read, and not by everyone")]


def _certificate(network: dicomweb.Network) -> list[Check]:
    """Can our client certificate be used, and when does it end?"""
    if network.client_certificate is None:
        return []
    try:
        tls_context(network, shows_certificate=True)
        text = Path(network.client_certificate).read_text("ascii", "replace")
        begin, end = text.index(ssl.PEM_HEADER), text.index(ssl.PEM_FOOTER)
        ends = expiry(ssl.PEM_cert_to_DER_cert(text[begin : end + len(ssl.PEM_FOOTER)]))
    except DicomsyncError as error:
        return [problem("client certificate", error.message, error.hint)]
    except (OSError, ValueError, IndexError):
        return [warning("client certificate", "its end could not be read")]
    return [told("client certificate", ends)]

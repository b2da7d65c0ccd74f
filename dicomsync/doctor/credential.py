"""Our credential: can it be had, by whom else, and for how long?"""

from __future__ import annotations

import os
import stat
import time
from typing import Final

from dicomsync import certificates, dicomweb
from dicomsync.dicomweb.authorizer import Authorizer
from dicomsync.dicomweb.route import tls_context
from dicomsync.doctor.certificate import told
from dicomsync.doctor.check import Check, ok, problem, warning
from dicomsync.errors import DicomsyncError
from dicomsync.words import span

_SHORT_SECONDS: Final = 30.0
_UNREACHED: Final = "Is the issuer running, is token_url right, and does every firewall let us through?"


def examine(archive: dicomweb.Archive) -> list[Check]:
    """Look at all that says who we are; what gets a token for us is asked for one."""
    return [_credential(archive), *_certificate(archive.network)]


def _credential(archive: dicomweb.Archive) -> Check:
    if archive.auth == dicomweb.NoAuth():
        return ok("credential", "none is configured")
    authorizer = Authorizer(archive.auth, archive.network)
    try:
        authorizer.header()
        token = authorizer.token()
    except DicomsyncError as error:
        return problem("credential", error.message, error.hint or _UNREACHED)
    files = [path for secret in dicomweb.secrets_of(archive) if (path := secret.path) is not None]
    for path in files:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        if mode & 0o027:
            words = f"{path} can be read or changed by others (mode {mode:04o})"
            return warning("credential", words, f"chmod 0640 {path}" if mode & 0o007 else f"chmod g-w {path}")
    words = f"{' and '.join(files)} can be read, and not by everyone" if files else "it can be had"
    if token is None:
        return ok("credential", words)
    left_seconds = max(0.0, token.expires_at - time.monotonic())
    if left_seconds < _SHORT_SECONDS:
        words = f"the token lives for {span(left_seconds)} only: each makes a request to the issuer"
        return warning("credential", words, "Let the issuer give it a longer life.")
    return ok("credential", f"a token was given, good for {span(left_seconds)}; {words}")


def _certificate(network: dicomweb.Network) -> list[Check]:
    """Can our client certificate be used, and when does it end?"""
    if network.client_certificate is None:
        return []
    try:
        tls_context(network, shows_certificate=True)
        ends = certificates.of_file(network.client_certificate)
    except DicomsyncError as error:
        return [problem("client certificate", error.message, error.hint)]
    except certificates.UNREADABLE:
        return [warning("client certificate", "its end could not be read")]
    return [told("client certificate", ends)]

"""Serving: the address, the token, the server, and its end."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import uvicorn

from dicomsync import addresses
from dicomsync.concerns import How
from dicomsync.config import WebConfig
from dicomsync.dicomweb.secrets import Secret, SecretReader
from dicomsync.errors import UsageProblem
from dicomsync.web.app import application
from dicomsync.web.guard import Guard
from dicomsync.web.outlook import Outlook

TOKEN_CHARACTERS = 16
CONNECTIONS = 64
END_SECONDS = 3


def serve(web: WebConfig, ledger: Path, how: How, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `announce` gets the address once requests are answered.

    To be called from the main thread. Raises UsageProblem for an address that cannot be had, and
    UsageProblem or SecretProblem for a token that cannot be read or is too short.
    """
    token = _token(web.token_from)
    host, port = addresses.listening(web.listen)
    app = Guard(application(Outlook(ledger, how), reveals=token is not None), web.hosts, token)
    listener = _listener(host, port)
    shown = f"[{host}]" if ":" in host else host
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=END_SECONDS,
    )
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises them once more when it is done
        signal.signal(number, lambda _number, _frame: sys.exit(0))
    with listener:
        announce(f"http://{shown}:{listener.getsockname()[1]}/")
        uvicorn.Server(config).run(sockets=[listener])


def _token(place: str) -> Callable[[], str] | None:
    """Give what reads the token; a new one counts from the moment it is in its file."""
    if not place:
        return None
    reader = SecretReader(Secret(place), "token of [web]")
    if len(reader.read()) < TOKEN_CHARACTERS:
        raise UsageProblem(
            f"The token of [web] has fewer than {TOKEN_CHARACTERS} characters; nothing is served.",
            hint="Make one: openssl rand -hex 16",
        )
    return reader.read


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(CONNECTIONS)
    except OSError as error:
        listener.close()
        raise UsageProblem(
            f"Nothing can listen at {host}, port {port}: {error.strerror}.",
            hint="Choose another address or port: listen in [web] of the config.",
        ) from None
    return listener

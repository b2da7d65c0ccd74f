"""Where the page listens, and who may ask for it by which name. Pure; config is who asks."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*\.?")


def listening(value: object) -> tuple[str, int]:
    """Read "127.0.0.1:9646" or "[::1]:9646"; raises ValueError for anything else. Port 0 is any free one."""
    text = value if isinstance(value, str) else ""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/\s]+):([0-9]{1,5})", text)
    if match is None or int(match[2]) > 65535:
        raise ValueError('expected an address and a port such as "127.0.0.1:9646" or "[::1]:9646"')
    host = match[1].strip("[]")
    if host != "localhost":
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError("expected an address of this machine, not a name: 127.0.0.1, 0.0.0.0") from None
    return host, int(match[2])


def name(value: object) -> str:
    """Check a host name by which the page is asked for, as a proxy before it may have; raises ValueError."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError('expected the name of a host such as "status.example", without port or address')
    return value.lower()


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach an address."""
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def admits(header: str, names: tuple[str, ...]) -> bool:
    """Say whether a request with this Host header may be answered: an address, localhost or one of `names`.

    A page from elsewhere that has its own name resolved to this machine's address (DNS rebinding) asks
    under that name, and is not.
    """
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/\s]+)(:[0-9]{1,5})?", header)
    if match is None:
        return False
    host = match[1].lower()
    if host in ("localhost", *names):
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def problems(web: Mapping[str, Any]) -> list[str]:
    """Say what is wrong between the keys of `[web]`: what others can reach needs a token."""
    listen, hosts = web.get("listen", "localhost:0"), web.get("hosts", ())
    if web.get("token_from"):
        return []
    try:
        beyond = not is_loopback(listening(listen)[0])
    except ValueError:  # told by itself
        return []
    if beyond:
        return ["web: listen is beyond this machine, and so needs token_from (or a loopback address)"]
    return ["web: hosts are for those who come through a proxy, and so need token_from"] if hosts else []

"""Where an archive is and how patient we are with it: one frozen value that any worker can be handed."""

from __future__ import annotations

from dataclasses import dataclass, field

from .auth import Auth, Azure, Basic, Bearer, ClientCredentials, NoAuth
from .kinds import KINDS
from .network import Network
from .secrets import Secret
from .throttle import Timetable


@dataclass(frozen=True, slots=True)
class Archive:
    """One DICOMweb archive: its base URL (kept without a last slash), its kind, and all the limits.

    `answer_timeout` is how long it may be silent once it has the whole request (it is storing then),
    `idle_timeout` how long no byte may move otherwise; seconds. What moves slower than the floor
    rate, after `idle_timeout` of grace, is cut off. `bandwidth` holds what is sent, by all threads of a
    process together, to a rate by the time of day (none: as fast as it goes).
    """

    url: str
    kind: str = "auto"
    auth: Auth = field(default_factory=NoAuth)
    connect_timeout: float = 10
    idle_timeout: float = 60
    answer_timeout: float = 300
    floor_bytes_per_second: int = 65_536
    response_cap_bytes: int = 32 << 20
    short_retries: int = 3
    short_retry_seconds: float = 15
    network: Network = field(default_factory=Network)
    bandwidth: Timetable = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", self.url.rstrip("/"))


def check_kind(kind: str) -> str | None:
    """Say what is wrong with a kind's name in a config, or None."""
    known = ["auto", *KINDS]
    return None if kind in known else f"the kind of archive is one of {', '.join(known)}"


def secrets_of(archive: Archive) -> list[Secret]:
    """List the secrets that are used: ours to the archive or the issuer, the key's, the proxy's."""
    network = archive.network
    found = [network.client_key_password, network.proxy.password if network.proxy else None]
    match archive.auth:
        case Basic(password=secret) | Bearer(token=secret) | ClientCredentials(client_secret=secret):
            found.insert(0, secret)
        case Azure(secret=kept):
            found.insert(0, kept)
        case _:
            pass
    return [secret for secret in found if secret is not None]

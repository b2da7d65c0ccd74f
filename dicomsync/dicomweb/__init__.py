"""A DICOMweb client that knows of archives and nothing of this program: Store, Retrieve, Search, Delete.

Everything goes in and comes out as values, streams both ways, and every error is one of `errors`
(`client.identify()` first, if the archive's kind is to be found out):

    client = client_for(Archive("http://localhost:8042/dicom-web"))
    answer = client.store([BytesPart(path.read_bytes()) for path in paths])
    found = [value(row, "00100010") for row in client.search("studies", matching={"PatientID": "DEMO"})]
    with client.retrieve(study) as parts:
        sizes = [sum(map(len, part.chunks)) for part in parts]

Each name below is imported when it is first used: what an archive is, and what it can do, is known without
httpx, which a look at an unchanged folder never needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .archive import Archive, check_kind, secrets_of
    from .auth import DICOM_SCOPE, Auth, Azure, Basic, Bearer, ClientCredentials, NoAuth
    from .bodies import BytesPart, Part, PartChanged, StoreBody
    from .client import Client
    from .clients import client_for, close_clients
    from .delete import Deletion, Outcome
    from .dicomjson import Dataset, uid, value
    from .identify import Identified
    from .kinds import KINDS, Kind
    from .multipart import ReceivedPart, boundary_of, read_parts
    from .network import Network, Proxy, check_proxy
    from .once import told
    from .response import Failed, Referenced, StoreResponse
    from .retrieve import Metadata
    from .search import Level, SearchResults
    from .secrets import Secret, SecretReader
    from .store import StoreAnswer
    from .urls import check_receiver_url, check_token_url, check_url, is_loopback

__all__ = [
    "DICOM_SCOPE",
    "KINDS",
    "Archive",
    "Auth",
    "Azure",
    "Basic",
    "Bearer",
    "BytesPart",
    "Client",
    "ClientCredentials",
    "Dataset",
    "Deletion",
    "Failed",
    "Identified",
    "Kind",
    "Level",
    "Metadata",
    "Network",
    "NoAuth",
    "Outcome",
    "Part",
    "PartChanged",
    "Proxy",
    "ReceivedPart",
    "Referenced",
    "SearchResults",
    "Secret",
    "SecretReader",
    "StoreAnswer",
    "StoreBody",
    "StoreResponse",
    "boundary_of",
    "check_kind",
    "check_proxy",
    "check_receiver_url",
    "check_token_url",
    "check_url",
    "client_for",
    "close_clients",
    "is_loopback",
    "read_parts",
    "secrets_of",
    "told",
    "uid",
    "value",
]

_MODULES = {
    "archive": ("Archive", "check_kind", "secrets_of"),
    "auth": ("DICOM_SCOPE", "Auth", "Azure", "Basic", "Bearer", "ClientCredentials", "NoAuth"),
    "bodies": ("BytesPart", "Part", "PartChanged", "StoreBody"),
    "client": ("Client",),
    "clients": ("client_for", "close_clients"),
    "delete": ("Deletion", "Outcome"),
    "dicomjson": ("Dataset", "uid", "value"),
    "identify": ("Identified",),
    "kinds": ("KINDS", "Kind"),
    "multipart": ("ReceivedPart", "boundary_of", "read_parts"),
    "network": ("Network", "Proxy", "check_proxy"),
    "once": ("told",),
    "response": ("Failed", "Referenced", "StoreResponse"),
    "retrieve": ("Metadata",),
    "search": ("Level", "SearchResults"),
    "secrets": ("Secret", "SecretReader"),
    "store": ("StoreAnswer",),
    "urls": ("check_receiver_url", "check_token_url", "check_url", "is_loopback"),
}


def __getattr__(name: str) -> object:
    """Import what has this name (PEP 562)."""
    for module, names in _MODULES.items():
        if name in names:
            found: object = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(name)

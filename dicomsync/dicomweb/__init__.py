"""A DICOMweb client that knows of archives and nothing of this program: Store, Retrieve, Search.

`client_for(Archive(url)).store(parts)` is the way in; everything goes in and comes out as values.
"""

from .archive import Archive, check_kind, check_url
from .auth import Auth, Basic, Bearer, NoAuth
from .client import Client, StoreAnswer, client_for, close_clients
from .identify import Identified
from .kinds import KINDS, Kind
from .multipart import BytesPart, Part, PartChanged, ReceivedPart, StoreBody, boundary_of, read_parts
from .response import Failed, Referenced, StoreResponse

__all__ = [
    "KINDS",
    "Archive",
    "Auth",
    "Basic",
    "Bearer",
    "BytesPart",
    "Client",
    "Failed",
    "Identified",
    "Kind",
    "NoAuth",
    "Part",
    "PartChanged",
    "ReceivedPart",
    "Referenced",
    "StoreAnswer",
    "StoreBody",
    "StoreResponse",
    "boundary_of",
    "check_kind",
    "check_url",
    "client_for",
    "close_clients",
    "read_parts",
]

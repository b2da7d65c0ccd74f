"""A DICOMweb client that knows of archives and nothing of this program: Store, Retrieve, Search.

`client_for(Archive(url)).store(parts)` is the way in; everything goes in and comes out as values.
"""

from .archive import Archive, check_kind
from .auth import DICOM_SCOPE, Auth, Azure, Basic, Bearer, ClientCredentials, NoAuth
from .client import Client, StoreAnswer, client_for, close_clients
from .identify import Identified
from .kinds import KINDS, Kind
from .multipart import BytesPart, Part, PartChanged, ReceivedPart, StoreBody, boundary_of, read_parts
from .network import Network, Proxy, check_proxy
from .response import Failed, Referenced, StoreResponse
from .secrets import Secret
from .urls import check_token_url, check_url

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
    "Failed",
    "Identified",
    "Kind",
    "Network",
    "NoAuth",
    "Part",
    "PartChanged",
    "Proxy",
    "ReceivedPart",
    "Referenced",
    "Secret",
    "StoreAnswer",
    "StoreBody",
    "StoreResponse",
    "boundary_of",
    "check_kind",
    "check_proxy",
    "check_token_url",
    "check_url",
    "client_for",
    "close_clients",
    "read_parts",
]

"""A DICOMweb client that knows of archives and nothing of this program: Store, Retrieve, Search, Delete.

Everything goes in and comes out as values, streams both ways, and every error is one of `errors`
(`client.identify()` first, if the archive's kind is to be found out):

    client = client_for(Archive("http://localhost:8042/dicom-web"))
    answer = client.store([BytesPart(path.read_bytes()) for path in paths])
    found = [value(row, "00100010") for row in client.search("studies", matching={"PatientID": "DEMO"})]
    with client.retrieve(study) as parts:
        sizes = [sum(map(len, part.chunks)) for part in parts]
"""

from .archive import Archive, check_kind, check_url
from .auth import Auth, Basic, Bearer, NoAuth
from .bodies import BytesPart, Part, PartChanged, StoreBody
from .client import Client, client_for, close_clients
from .delete import Deletion, Outcome
from .dicomjson import Dataset, uid, value
from .identify import Identified
from .kinds import KINDS, Kind
from .multipart import ReceivedPart, boundary_of, read_parts
from .response import Failed, Referenced, StoreResponse
from .retrieve import Metadata
from .search import Level, SearchResults
from .store import StoreAnswer

__all__ = [
    "KINDS",
    "Archive",
    "Auth",
    "Basic",
    "Bearer",
    "BytesPart",
    "Client",
    "Dataset",
    "Deletion",
    "Failed",
    "Identified",
    "Kind",
    "Level",
    "Metadata",
    "NoAuth",
    "Outcome",
    "Part",
    "PartChanged",
    "ReceivedPart",
    "Referenced",
    "SearchResults",
    "StoreAnswer",
    "StoreBody",
    "StoreResponse",
    "boundary_of",
    "check_kind",
    "check_url",
    "client_for",
    "close_clients",
    "read_parts",
    "uid",
    "value",
]

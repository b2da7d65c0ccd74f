"""What an archive is, told by what only its kind offers; and that it is a DICOMweb archive at all.

Only harmless questions are asked, and no more of them than needed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from . import orthanc
from .kinds import DCM4CHEE, DICOM_SERVER, GENERIC, GOOGLE, HEALTH_IMAGING, KINDS, ORTHANC, Kind
from .session import Session

_GOOGLE: Final = re.compile(
    r"/projects/[^/]+/locations/[^/]+/datasets/[^/]+/dicomStores/[^/]+/dicomWeb", re.ASCII
)
_HEALTH_IMAGING: Final = re.compile(
    r"https://dicom-medical-imaging[^/]*\.amazonaws\.com/.*|.*/datastore/[0-9a-f]{32}", re.ASCII
)
_NOBODYS_STUDY: Final = "2.25.0"


@dataclass(frozen=True, slots=True)
class Identified:
    """The kind of an archive, by its name in `KINDS`, and what it says of itself, fit to print."""

    kind: str
    says: str


def identify(session: Session, kind: str) -> Identified:
    """Prove reachability, authorisation and DICOMweb by one search; then find the kind if it is "auto"."""
    session.prove()
    if kind in KINDS:
        return Identified(kind, f"{KINDS[kind].words}, as configured")
    known = _by_address(session.archive.url)
    if known is not None:
        return Identified(known.name, f"{known.words}, by its address")
    if _is_dicom_server(session):
        return Identified(DICOM_SERVER.name, DICOM_SERVER.words)
    version = orthanc.version(session)
    if version is not None:
        return Identified(ORTHANC.name, f"{ORTHANC.words} {version}".rstrip())
    if _is_dcm4chee(session):
        return Identified(DCM4CHEE.name, DCM4CHEE.words)
    return Identified(GENERIC.name, GENERIC.words)


def _by_address(url: str) -> Kind | None:
    """Cloud services are told by the form of their URLs, which no site can choose (1.1)."""
    if _GOOGLE.search(url):
        return GOOGLE
    return HEALTH_IMAGING if _HEALTH_IMAGING.fullmatch(url) else None


def _is_dicom_server(session: Session) -> bool:
    """Its change feed is no one else's (docs/concepts/change-feed.md): a list of entries, empty at first."""
    found = session.get(
        session.url("changefeed?limit=1&includemetadata=false"), accept="application/json"
    ).json()
    if not isinstance(found, list):
        return False
    return all(isinstance(entry, dict) and "sequence" in {str(k).lower() for k in entry} for entry in found)


def _is_dcm4chee(session: Session) -> bool:
    """It counts what a search would find, as no other does (QidoRS.java): {"count": 0} of nobody's study."""
    url = session.url("studies", _NOBODYS_STUDY, "instances", "count")
    found = session.get(url, accept="application/json").json()
    return isinstance(found, dict) and type(found.get("count")) is int

"""What an archive is, told by what only its kind offers; and that it is a DICOMweb archive at all."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from .kinds import DICOM_SERVER, GENERIC, KINDS, ORTHANC
from .session import Answer, Session

_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,39}", re.ASCII)


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
    if _is_dicom_server(session):
        return Identified(DICOM_SERVER.name, DICOM_SERVER.words)
    version = _orthanc_version(session)
    if version is not None:
        return Identified(ORTHANC.name, f"{ORTHANC.words} {version}".rstrip())
    return Identified(GENERIC.name, GENERIC.words)


def _is_dicom_server(session: Session) -> bool:
    """Its change feed is no one else's (docs/concepts/change-feed.md): a list of entries, empty at first."""
    answer = session.get(session.url("changefeed?limit=1&includemetadata=false"), accept="application/json")
    found = _json(answer)
    if not isinstance(found, list):
        return False
    return all(isinstance(entry, dict) and "sequence" in {str(k).lower() for k in entry} for entry in found)


def _orthanc_version(session: Session) -> str | None:
    """Orthanc's own REST interface is beside its DICOMweb root: its version, None if it is not Orthanc."""
    parent = re.sub(r"(?<![:/])/[^/]*$", "", session.archive.url)
    found = _json(session.get(f"{parent}/system", accept="application/json"))
    if not isinstance(found, dict) or "ApiVersion" not in found or "DicomAet" not in found:
        return None
    version = found.get("Version")
    return version if isinstance(version, str) and _VERSION.fullmatch(version) else ""


def _json(answer: Answer) -> object:
    """The JSON of a 200, else None: any other answer means that this is not there."""
    if answer.status != 200:
        return None
    try:
        found: object = json.loads(answer.body)
        return found
    except (ValueError, RecursionError):
        return None

"""Orthanc's own REST interface, beside its DICOMweb root: what it is, and how it deletes."""

from __future__ import annotations

import json
import re
from typing import Final

from ..errors import BadAnswer, Refused
from .bodies import BytesPart, SinglePartBody
from .session import Session
from .wire import refused

_JSON: Final = "application/json"
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,39}", re.ASCII)
_IDENTIFIER: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}", re.ASCII)
_LEVELS: Final = {1: ("Study", "studies"), 2: ("Series", "series"), 3: ("Instance", "instances")}
_KEYWORDS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_HINT: Final = "Orthanc deletes by its own REST interface, beside its DICOMweb root: we must reach it there."
_ADVICE: Final = dict.fromkeys((401, 403, 404, 405), _HINT)


def version(session: Session) -> str | None:
    """Say which Orthanc this is: "" if it does not tell, None if it is none."""
    found = session.get(f"{_root(session)}/system", accept=_JSON).json()
    if not isinstance(found, dict) or "ApiVersion" not in found or "DicomAet" not in found:
        return None
    version = found.get("Version")
    return version if isinstance(version, str) and _VERSION.fullmatch(version) else ""


def delete(session: Session, uids: tuple[str, ...], *, alone: bool = False) -> bool:
    """Delete a study, series or instance, named by its UIDs from the study down; False if there is none.

    Orthanc may have it several times, under several Patient IDs: all of them are deleted, or with `alone`
    none (Refused).
    """
    level, path = _LEVELS[len(uids)]
    deleted = False
    identifiers = _find(session, level, uids)
    if alone and len(identifiers) > 1:
        raise Refused(
            "the archive has it more than once, under several Patient IDs; nothing was deleted",
            hint="look at them there, and delete the one that is meant.",
            status=409,
        )
    for identifier in identifiers:
        answer = session.ask("DELETE", f"{_root(session)}/{path}/{identifier}", accept=_JSON)
        if answer.status not in (200, 404):  # 404: someone else was quicker
            raise refused(answer.status, answer.headers, _ADVICE)
        deleted = True
    return deleted


def _find(session: Session, level: str, uids: tuple[str, ...]) -> list[str]:
    """Its own identifiers of what has just these UIDs, all of them: a SOP Instance UID alone may be twice."""
    query = {"Level": level, "Query": dict(zip(_KEYWORDS, uids, strict=False))}
    payload = BytesPart(json.dumps(query).encode("ascii"))
    url = f"{_root(session)}/tools/find"
    answer = session.ask("POST", url, accept=_JSON, body=lambda: SinglePartBody(payload, _JSON))
    if answer.status != 200:
        raise refused(answer.status, answer.headers, _ADVICE)
    found = answer.json()
    if not isinstance(found, list) or not all(
        isinstance(one, str) and _IDENTIFIER.fullmatch(one) for one in found
    ):
        raise BadAnswer("what is beside the DICOMweb root does not answer as Orthanc does", status=200)
    return found


def _root(session: Session) -> str:
    """http://HOST:8042/dicom-web to http://HOST:8042; a base URL without a path is its own."""
    return re.sub(r"(?<![:/])/[^/]*$", "", session.archive.url)

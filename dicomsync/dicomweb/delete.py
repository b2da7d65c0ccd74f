"""Delete, which PS3.18 does not have: each kind of archive does it in its own way, or not at all.

A 404 is only called absence once a search at the same base URL has answered without finding it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tenacity import RetryError, Retrying, retry_if_result, stop_before_delay, wait_exponential

from ..errors import BadAnswer, Refused, UsageProblem
from . import orthanc
from .dicomjson import uid
from .kinds import Kind
from .search import SERIES_INSTANCE_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID
from .session import Answer, Session
from .wire import refused

_JSON: Final = "application/json"
_CODE: Final = re.compile(r"[A-Za-z0-9._-]{1,16}\^[A-Za-z0-9._-]{1,16}", re.ASCII)
_OPERATION: Final = re.compile(r"projects/[A-Za-z0-9._:/-]{1,400}/operations/[A-Za-z0-9._-]{1,200}", re.ASCII)
_NAMES: Final = (
    ("studies", "StudyInstanceUID", STUDY_INSTANCE_UID),
    ("series", "SeriesInstanceUID", SERIES_INSTANCE_UID),
    ("instances", "SOPInstanceUID", SOP_INSTANCE_UID),
)
_OWN_WAY: Final = (
    "this archive does not delete by DICOMweb: name its kind in the config, or use its own tools."
)
_ADVICE: Final = {
    400: "the archive does not understand the request; nothing was deleted.",
    403: "the credential may not delete: its role needs that right.",
    405: _OWN_WAY,
    409: "the archive is busy with it: try again later.",
    501: _OWN_WAY,
}


class Outcome(StrEnum):
    """What became of what was to be deleted."""

    DELETED = "deleted"  # gone from searches; some archives purge the bytes later
    ABSENT = "absent"  # it was not there, which a search at the same base URL confirmed
    REJECTED = "rejected"  # hidden from searches, and kept (dcm4chee)
    UNFINISHED = "unfinished"  # accepted; not done, or not wholly done, when we stopped looking


@dataclass(frozen=True, slots=True)
class Deletion:
    """What one Delete did, and the status it was answered with; `operation` is what goes on (Google)."""

    outcome: Outcome
    status: int
    operation: str = ""


def delete(
    session: Session,
    kind: Kind,
    uids: tuple[str, ...],
    reject_code: str,
    wait_seconds: float,
    *,
    alone: bool = False,
) -> Deletion:
    """Delete what these UIDs name, from the study down, in the kind's way; safe to repeat.

    Raises Refused with `alone` where several things have these UIDs: then nothing was deleted.
    """
    match kind.delete:
        case "none":
            raise UsageProblem(
                f"{kind.words} cannot delete by DICOMweb; nothing was deleted",
                hint="use its own interface (DeleteImageSet).",
            )
        case "rest":
            if orthanc.delete(session, uids, alone=alone):
                return Deletion(Outcome.DELETED, 200)
            return _absent(session, uids, 200)
        case "reject":
            return _reject(session, uids, reject_code)
        case "operation":
            return _operation(session, uids, wait_seconds)
        case "dicomweb":
            return _delete(session, uids)[0]


def _delete(session: Session, uids: tuple[str, ...]) -> tuple[Deletion, Answer]:
    answer = session.ask("DELETE", session.resource(*uids), accept=_JSON)
    match answer.status:
        case 200 | 204:
            return Deletion(Outcome.DELETED, answer.status), answer
        case 202:
            return Deletion(Outcome.UNFINISHED, answer.status), answer
        case 404 | 410:
            return _absent(session, uids, answer.status), answer
    raise refused(answer.status, answer.headers, _ADVICE)


def _reject(session: Session, uids: tuple[str, ...], code: str) -> Deletion:
    """dcm4chee: hide it with a rejection note; 202 says that some instances could not be (IocmRS)."""
    if not _CODE.fullmatch(code):
        raise UsageProblem(
            "what should be a rejection note's code is none; nothing was deleted",
            hint="it is a code and its scheme, as 113039^DCM (data retention expired).",
        )
    answer = session.ask("POST", f"{session.resource(*uids)}/reject/{code.replace('^', '%5E')}", accept=_JSON)
    match answer.status:
        case 200 | 204:
            return Deletion(Outcome.REJECTED, answer.status)
        case 202:
            return Deletion(Outcome.UNFINISHED, answer.status)
        case 404 | 410:
            return _absent(session, uids, answer.status)
    raise refused(answer.status, answer.headers, _ADVICE)


def _operation(session: Session, uids: tuple[str, ...], wait_seconds: float) -> Deletion:
    """Google: a study's or series' DELETE begins an operation, which is looked at until it is done."""
    deletion, answer = _delete(session, uids)
    found = answer.json()
    name = found.get("name") if isinstance(found, dict) else None
    is_instance = len(uids) == len(_NAMES)
    if deletion.outcome is not Outcome.DELETED or (name is None and is_instance):
        return deletion
    root, _, dataset = session.archive.url.partition("/projects/")
    dataset = dataset.partition("/dicomStores/")[0]
    if not (isinstance(name, str) and _OPERATION.fullmatch(name) and name.startswith(f"projects/{dataset}/")):
        raise BadAnswer(
            "the archive began to delete it, and names no operation to be looked at", status=answer.status
        )
    looking = Retrying(
        retry=retry_if_result(lambda done: not done),
        stop=stop_before_delay(wait_seconds),
        wait=wait_exponential(multiplier=0.25, max=10),
    )
    try:
        looking(_is_done, session, f"{root}/{name}")
    except RetryError:
        return Deletion(Outcome.UNFINISHED, answer.status, name)
    return Deletion(Outcome.DELETED, answer.status, name)


def _is_done(session: Session, url: str) -> bool:
    answer = session.get(url, accept=_JSON)
    if answer.status != 200:
        raise refused(answer.status, answer.headers)
    found = answer.json()
    if not isinstance(found, dict):
        raise BadAnswer(
            "the archive's operation cannot be looked at: it may have been deleted, or not", status=200
        )
    if "error" in found:
        raise Refused(
            "the archive began to delete it, and its operation ended with an error",
            hint="some of it may be deleted: search for what is left, and try again.",
            status=answer.status,
        )
    return found.get("done") is True


def _absent(session: Session, uids: tuple[str, ...], status: int) -> Deletion:
    """Prove by one search that it is not there; raises Refused if it is, and what a search may raise."""
    path, keyword, tag = _NAMES[len(uids) - 1]
    above = session.resource(*uids[:-1]) + "/" if len(uids) > 1 else session.url("")
    answer = session.get(f"{above}{path}?{keyword}={uids[-1]}&limit=1&offset=0")
    if answer.status in (404, 410):
        session.prove()
    elif any(uid(row, tag) == uids[-1] for row in answer.rows()):
        raise Refused(
            "the archive says that it is not there, and a search finds it all the same",
            hint=f"nothing was deleted: {_OWN_WAY}",
            status=status,
        )
    return Deletion(Outcome.ABSENT, status)

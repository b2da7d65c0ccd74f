"""In how many ways an archive can take a DELETE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicomsync.dicomweb import Deletion, Outcome
from dicomsync.errors import BadAnswer, NoAnswer, Refused, UsageProblem

if TYPE_CHECKING:
    from .archive import Archive

DELETE_WAYS = ("delete", "unable", "unreachable", "timeout", "refused", "later", "never", "garbage", "lose",
               "done-refused", "crash", "crash-done")  # fmt: skip
DELETE_STATUSES = (400, 403, 404, 405, 409, 500, 501, 503)
LATE_DELETE_SECONDS = 40.0  # for so long a deletion that was taken may take


class Crash(BaseException):
    """The daemon ends here, as by kill -9."""


def delete(archive: Archive, uids: tuple[str, str, str], alone: bool) -> Deletion:
    """Delete one instance, in the way that is on; the next one is honest again."""
    way, archive.delete_way = archive.delete_way, "delete"
    if way != "delete":
        archive.faults[f"delete {way}"] = archive.faults.get(f"delete {way}", 0) + 1
    match way:
        case "unable":
            raise UsageProblem("no such thing; nothing was deleted")
        case "crash":
            raise Crash("delete: not sent")
        case "unreachable":
            raise NoAnswer("unreachable", "no connection")
    archive.deletes(uids, alone)
    return _answer(archive, way, uids[0], uids[2])


def _answer(archive: Archive, way: str, study: str, sop: str) -> Deletion:
    there = archive.studies.get(sop) == study and sop in archive.held
    match way:
        case "timeout":
            raise NoAnswer("timeout", "no answer")
        case "refused":
            raise Refused("no", status=DELETE_STATUSES[archive.delete_argument % len(DELETE_STATUSES)])
        case "later" | "never":
            if way == "later" and there:
                archive.late_deletes.append(
                    (archive.now() + LATE_DELETE_SECONDS * archive.luck.random(), sop)
                )
            return Deletion(Outcome.UNFINISHED, 202)
        case "garbage":
            raise BadAnswer("not DICOMweb")
    if there:
        archive.erase(sop)
    match way:
        case "lose":
            raise NoAnswer("broken", "gone")
        case "done-refused":
            raise Refused("no", status=500)
        case "crash-done":
            raise Crash("delete: no answer read")
    return Deletion(Outcome.DELETED, 200) if there else Deletion(Outcome.ABSENT, 404)

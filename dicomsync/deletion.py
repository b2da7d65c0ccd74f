"""May what left a folder be deleted from the archive? Pure: facts in, and out comes why not, or "".

Whatever is not proved counts against a deletion. Codes are those of `reasons.DELETION_REASONS`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dicomsync.model import InstanceState

WINDOW_SECONDS = 86_400.0  # over which the guards count
IN_FLIGHT_SECONDS = 3600.0  # a file may leave while its instance is on its way

_OURS = ("", "warning", "confirmed", "resolved")
"""The reasons of what this ledger itself has stored; what it found there is somebody else's."""
_REFUSED = {"agrees": "rewritten", "presence-only": "uncompared"}


@dataclass(frozen=True, slots=True)
class Rules:
    """The knobs of `[deletions]`; shares are parts of one, None for `undo_seconds` is no undo."""

    confirm_after_seconds: float = 600.0
    grace_seconds: float = 259_200.0
    max_deletions: int = 20
    max_share: float = 0.02
    undo_seconds: float | None = 2_592_000.0
    undo_max_bytes: int = 10 * 2**30


@dataclass(frozen=True, slots=True)
class Root:
    """What tells one folder from another in its place; `problem` is why that could not be seen.

    `nested` are the places below it where other file systems are mounted.
    """

    marker: str = ""
    device: int = 0
    inode: int = 0
    filesystem_id: int = 0
    filesystem: str = ""
    nested: tuple[bytes, ...] = ()
    problem: str = ""


def unhealthy(enrolled: Root | None, seen: Root) -> str:
    """Say why a folder is not, or not proved to be, the one that was enrolled; "" if it is."""
    if enrolled is None:
        return "not-enrolled"
    if seen.problem:
        return seen.problem
    if seen.marker != enrolled.marker:
        return "marker-other"
    ours = (enrolled.device, enrolled.inode, enrolled.filesystem_id, enrolled.filesystem)
    if (seen.device, seen.inode, seen.filesystem_id, seen.filesystem) != ours:
        return "root-other"
    return ""


@dataclass(frozen=True, slots=True)
class FullScan:
    """One full pass over a folder; `began` and moments like it are in the folder's own seconds.

    `root` is device and inode of the directory that was read as the folder itself; `before` and `after`
    say why the folder was not healthy then ("" if it was).
    """

    number: int
    began: float
    problems: int
    root: tuple[int, int]
    before: str
    after: str


def proves_nothing(scan: FullScan, enrolled: Root | None) -> str:
    """Say why a pass is no evidence of anything's absence; "" if it is."""
    if scan.before or scan.after:
        return scan.before or scan.after
    if enrolled is not None and scan.root != (enrolled.device, enrolled.inode):
        return "root-other"
    return "unread" if scan.problems else ""


@dataclass(frozen=True, slots=True)
class Left:
    """What is known of an instance whose file has left; moments are wall seconds.

    `reason` is how it came to be stored.
    `ledger_trusted` and `clock_trusted` say that it came after the ledger was last in doubt, and after
    the wall clock last went back; `one_folder` and `one_disk`, of all files that ever held it, that they
    lay in this folder and on its file system, and were last seen in it when it was the one enrolled.
    """

    state: InstanceState
    reason: str
    live: bool
    verified: bool
    hashed: bool
    found: str
    stored_at: float | None
    left_at: float
    ledger_trusted: bool = True
    clock_trusted: bool = True
    one_folder: bool = True
    one_disk: bool = True


def ineligible(left: Left, within_seconds: float | None) -> str:
    """Say why this is never mirrored; "" if it may be, once it is stored and compared.

    `within_seconds` is how long after it was stored a file may leave (None: the folder is a master copy).
    """
    due = (InstanceState.PENDING, InstanceState.SENDING, InstanceState.UNCONFIRMED)
    if left.state in due:
        return ""  # it waits until that is settled
    if left.state not in (InstanceState.STORED, InstanceState.LEAVING, InstanceState.DELETING):
        return "not-stored"
    if left.reason in _REFUSED:
        return _REFUSED[left.reason]
    if left.reason not in _OURS:
        return "not-ours"
    if left.found in ("missing", "differs"):
        return {"missing": "lost-there", "differs": "differs-there"}[left.found]
    if not left.hashed or left.stored_at is None:
        return "uncompared"
    if not left.ledger_trusted:
        return "doubted-ledger"
    if not left.one_folder:
        return "other-folder"
    if not left.one_disk:
        return "other-disk"
    return _out_of_time(left, left.stored_at, within_seconds)


def _out_of_time(left: Left, stored_at: float, within_seconds: float | None) -> str:
    if within_seconds is None:
        return ""
    if not left.live:
        return "backlog"
    if not left.clock_trusted:
        return "clock"
    return "" if -IN_FLIGHT_SECONDS <= left.left_at - stored_at <= within_seconds else "late"


def confirmed(scan: FullScan, first_scan: int, first_seen: float, rules: Rules) -> bool:
    """Say whether this pass is the second one, and far enough from the end of the first."""
    return scan.number > first_scan and scan.began - first_seen >= rules.confirm_after_seconds


def guard(eligible: int, live: int, rules: Rules, *, directory_gone: bool) -> str:
    """Say which guard `eligible` deletions of a folder in 24 hours trip; `live` instances are left in it."""
    if eligible <= 0:
        return ""
    if eligible > rules.max_deletions:
        return "many"
    if live <= 0:
        return "emptied"
    if directory_gone:
        return "directory-gone"
    return "share" if eligible > max(1, math.floor(rules.max_share * live)) else ""


@dataclass(frozen=True, slots=True)
class Standing:
    """All that a deletion whose absence is confirmed waits for."""

    enrolled: bool
    on: bool
    supported: bool
    unhealthy: str
    frozen: str
    ledger_settled: bool  # nothing is doubted any more
    folders_read: bool  # every other folder was read whole since it was last seen to be absent
    files_known: bool  # no file anywhere whose content is not known yet
    graced_seconds: float
    study_open: bool  # something of its study is on its way, in conflict, or not known
    archive_answers: bool


def waits_for(standing: Standing, rules: Rules) -> str:
    """Say what a deletion waits for, the longest first; "" if its last check may begin."""
    waits = (
        (standing.frozen, bool(standing.frozen)),
        ("cannot-delete", not standing.supported),
        (standing.unhealthy, bool(standing.unhealthy)),
        ("not-enrolled", not standing.enrolled),
        ("grace", not standing.graced_seconds >= rules.grace_seconds),
        ("report", not standing.on),
        ("doubted-ledger", not standing.ledger_settled),
        ("study-open", standing.study_open),
        ("folders-unread", not standing.folders_read),
        ("files-unknown", not standing.files_known),
        ("archive-away", not standing.archive_answers),
    )
    return next((code for code, holds in waits if holds), "")

"""What a person may order about mirrored deletions: values, and what each does to the ledger."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dicomsync.deletion import Root
from dicomsync.errors import DeletionsFrozen, UsageProblem
from dicomsync.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Enrol:
    """Take down which folder it is at `path` whose deletions are mirrored."""

    path: str
    identity: Root


@dataclass(frozen=True, slots=True)
class Approve:
    """Let what waits in the frozen folder at `path` go on: just so many, the latest of them this row."""

    path: str
    count: int
    latest: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Let these instances stay in the archive, by SOP Instance UID; all that wait with `everything`."""

    uids: tuple[str, ...] = ()
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Undo:
    """Store again what was deleted as its file had been removed."""

    uid: str


MirrorOrder = Enrol | Approve | Cancel | Undo

_NOT_UNDONE = {
    "not-mirrored": (
        "No mirrored deletion of this instance is on record",
        "`dicomsync explain UID` says more.",
    ),
    "copy-gone": ("Its copy is not kept any more", "Export it again from where it came."),
    "uid-taken": ("Another content has its UID by now", "`dicomsync explain UID` says which."),
}


def carry_out(ledger: Ledger, order: MirrorOrder, at: float, wall: float) -> int:
    """Do what is ordered; gives how many instances (of an enrolment, folders) that was about.

    Raises UsageProblem or DeletionsFrozen where it cannot be done: then nothing was changed.
    """
    match order:
        case Enrol(path, identity):
            ledger.enrol(os.fsencode(path), identity, wall)
            return 1
        case Approve():
            return _approve(ledger, order, wall)
        case Cancel():
            return _cancel(ledger, order, wall)
        case Undo(uid):
            if why := ledger.undo(uid, at, wall):
                words, hint = _NOT_UNDONE[why]
                raise UsageProblem(f"{words}; nothing was changed.", hint=hint)
            return 1


def _approve(ledger: Ledger, order: Approve, wall: float) -> int:
    root = next((one for one in ledger.roots() if one.path == os.fsencode(order.path)), None)
    if root is None or not root.frozen:
        raise UsageProblem("This folder's deletions are not frozen; nothing was changed.")
    waiting = ledger.removals(root.root_id)
    if (len(waiting), max((one.removal_id for one in waiting), default=0)) != (order.count, order.latest):
        raise DeletionsFrozen(
            "What waits there has changed meanwhile; nothing was approved.",
            hint="Look at it again: `dicomsync deletions list`.",
        )
    return ledger.approve(root.root_id, wall)


def _cancel(ledger: Ledger, order: Cancel, wall: float) -> int:
    waiting = [one for one in ledger.removals() if one.stage != "deleting"]
    if not order.everything:
        known = {one.due.sop_instance_uid for one in waiting}
        if not set(order.uids) <= known:
            raise UsageProblem(
                "Not all of these wait to be deleted; nothing was cancelled.",
                hint="`dicomsync deletions list` has their SOP Instance UIDs.",
            )
        waiting = [one for one in waiting if one.due.sop_instance_uid in order.uids]
    for one in waiting:
        ledger.give_up(one, "cancelled", wall)
    return len(waiting)


def to_message(order: MirrorOrder) -> dict[str, Any]:
    """Give an order as plain values."""
    message = {"order": type(order).__name__.lower(), **asdict(order)}
    if isinstance(order, Enrol):
        message["identity"] |= {"nested": [one.hex() for one in order.identity.nested]}
    return message


def from_message(message: Mapping[str, Any]) -> MirrorOrder | None:
    """Read an order that came from outside; None where it is none of these."""
    match message:
        case {"order": "enrol", "path": str(path), "identity": dict(identity)}:
            found = _root(identity)
            return None if found is None else Enrol(path, found)
        case {"order": "approve", "path": str(path), "count": int(count), "latest": int(latest)}:
            return Approve(path, count, latest)
        case {"order": "cancel", "uids": list(uids), "everything": bool(everything)} if all(
            isinstance(one, str) for one in uids
        ):
            return Cancel(tuple(uids), everything)
        case {"order": "undo", "uid": str(uid)}:
            return Undo(uid)
    return None


def _root(identity: Mapping[str, Any]) -> Root | None:
    match identity:
        case {
            "marker": str(marker),
            "device": int(device),
            "inode": int(inode),
            "filesystem_id": int(filesystem_id),
            "filesystem": str(filesystem),
            "nested": list(nested),
        } if all(0 <= one < 2**63 for one in (device, inode, filesystem_id)) and len(marker) == 32:
            try:
                places = tuple(bytes.fromhex(one) for one in nested)
            except (TypeError, ValueError):
                return None
            return Root(marker, device, inode, filesystem_id, filesystem, places)
    return None

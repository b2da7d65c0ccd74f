"""What is to be so when everything is well again and nothing is left to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import blobs
from .rows import CTIME, INODE, INSTANCE, PATH, REASON, SHA256, SIZE, STATE, UID, Row
from .verdict import promise

if TYPE_CHECKING:
    from .disk import Node
    from .site import Site


def every_file_has_one_outcome(site: Site) -> None:
    """I1, L1: the ledger knows every file as it is, and what could be stored is."""
    instances, files = site.oracle.rows
    by_path = {row[PATH]: row for row in files.values() if row[STATE] not in ("gone", "missed")}
    there: dict[bytes, Node] = {}
    for root in site.folders:
        there |= dict(site.disk.files(root))
    for path in by_path.keys() - there.keys():  # what is no regular file any more need not be told apart
        promise(site.disk.find(path) is not None, "I1: a file is said to be there and is not")
    for path, node in there.items():
        if not path.lower().endswith(b".dcm"):
            continue
        row = by_path.get(path)
        promise(row is not None, "I1: a file is there and the ledger does not know it")
        assert row is not None
        _one_outcome(site, row, node.data, instances)
        promise(
            (row[SIZE], row[CTIME], row[INODE]) == (len(node.data), node.ctime_ns, node.inode),
            "I1: a file is not the one that was looked at",
        )


def _one_outcome(site: Site, row: Row, data: bytes, instances: dict[int, Row]) -> None:
    """Every file ends in just one way, and it is the right one."""
    blob = blobs.by_data().get(data)
    if blob is None:
        allowed = ("held", "ignored", "ready") if data in site.oracle.plausible else ("held", "ignored")
        promise(row[STATE] in allowed, f"I3: a file that is not whole is {row[STATE]}")
        return
    promise(row[STATE] == "ready", f"L1: a whole file is {row[STATE]} ({row[REASON]})")
    instance = instances[row[INSTANCE]]
    promise(instance[UID] == blob.sop, "I1: a file is taken for another instance")
    promise(instance[SHA256] in (None, blob.digest), "I1: a file is taken for another content")
    state = instance[STATE]
    held = site.archive.held.get(blob.sop)
    ours = site.archive.altered(data)[128:]
    same = held is not None and held[128:] == ours
    if blob.sop in site.oracle.excused:
        return
    others = [one for one in instances.values() if one[UID] == blob.sop and one is not instance]
    if state == "stored":
        weak = site.oracle.was_lost and instance[REASON] == "presence-only"  # it says just that
        agrees = held is not None and instance[REASON] == "agrees" and same_but_for_padding(held[128:], ours)
        promise(same or agrees or weak, "I2: stored, and the archive has something else")
    elif state == "conflict":
        promise(others or not same, "L1: a conflict with nothing")
    elif state == "rejected":  # a person asked for all that could be tried again
        elsewhere = site.oracle.was_lost and site.archive.studies.get(blob.sop) != blob.study
        promise(others or elsewhere, "L1: a whole file's instance is rejected")
    else:
        promise(state == "deleted", f"L1: a whole file's instance is {state}")
        promise(instance[REASON] != "mirrored", "I1: a whole file's instance was deleted for having left")


def same_but_for_padding(one: bytes, other: bytes) -> bool:
    """Say whether two are the same but for zeros after the last element, which writers pad with."""
    short, long = sorted((one, other), key=len)
    return long.startswith(short) and not any(long[len(short) :])

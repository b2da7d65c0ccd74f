"""The other direction: once every fault has ended, what must be deleted is, and what returns is not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from dicomsync.model import MARKER

from . import blobs
from .mirrors import FULL_SCAN_SECONDS
from .verdict import promise

if TYPE_CHECKING:
    from .site import Site

WAITS_FOR_A_PERSON = {"report", "not-enrolled", "study-open", "no-room", "cannot-delete"}
"""What a removal may wait for when nothing is wrong any more; each is looked at once more."""
TRIED = b"/one/trial.dcm"
BESIDE = b"/one/beside.dcm"
OPEN_STATES = ("pending", "sending", "unconfirmed", "conflict", "deleting")


def long_enough(site: Site) -> float:
    """Give the seconds in which the whole protocol comes to its end."""
    rules = site.mirrors.config.rules
    return 3 * max(FULL_SCAN_SECONDS, rules.confirm_after_seconds) + rules.grace_seconds + 600.0


def settles(site: Site) -> None:
    """Let what has left come to its end; then whatever still waits says truly for what."""
    for root in site.folders:
        site.disk.remove(root + b"/" + MARKER)
        site.mirrors.enrol(root)
    for _ in range(2):  # a person lets go on what is frozen, and looks again
        for root in site.folders:
            site.mirrors.approve(root)
        site.passes(long_enough(site))
    for uid, stage, reason, mode, frozen, study in site.oracle.ask(
        """SELECT i.sop_instance_uid, r.stage, r.reason, t.mode, t.frozen, i.study_id FROM removals r
        JOIN instances i ON i.id = r.instance_id JOIN roots t ON t.id = r.root_id
        WHERE r.stage IN ('left', 'absent', 'confirmed', 'grace', 'deleting')"""
    ):
        opened = site.oracle.ask(
            f"SELECT 1 FROM instances WHERE study_id = ? AND state IN {OPEN_STATES}", study
        )
        held = site.oracle.ask(
            "SELECT 1 FROM files WHERE state = 'held' AND reason IN ('unreadable', 'resource', 'poison')"
        )
        true = frozen or opened or held or mode == "report" or _without_room(site)
        promise(true, f"L1: a removal waits for nothing ({stage}, {reason!r}, {mode})")
        del uid
    if _without_room(site):  # that would go one by one, whenever an older copy is let go
        site.mirrors.cancel(0)


def _without_room(site: Site) -> bool:
    return site.mirrors.config.rules.undo_max_bytes < 10_000


def trial(site: Site, *, returns: bool) -> None:
    """A test image is stored and removed: it goes; or it `returns` in time: it stays, and that is told."""
    blob = _unused(site)
    if blob is None or site.archive.kind == "dcm4chee" or _without_room(site):
        return
    site.mirrors.configure(replace(site.mirrors.config, modes=("on", site.mirrors.config.modes[1])))
    site.passes(2 * FULL_SCAN_SECONDS)
    site.disk.write(TRIED, blob.data)
    site.changed(TRIED)
    site.passes(2 * FULL_SCAN_SECONDS)
    promise(_state(site, blob.sop) == ["stored"], f"L1: a test image is {_state(site, blob.sop)}")
    site.disk.remove(TRIED)
    site.changed(TRIED)
    rules = site.mirrors.config.rules
    if returns:
        site.passes(2 * FULL_SCAN_SECONDS + rules.confirm_after_seconds)
        site.disk.write(TRIED, blob.data)
        site.changed(TRIED)
    for _ in range(2):
        site.passes(long_enough(site))
        site.mirrors.approve(site.folders[0])  # a guard may well be tripped by what went before
    site.passes(FULL_SCAN_SECONDS)
    if returns:
        promise(blob.sop in site.archive.held, "I4: what came back is deleted")
        promise(_state(site, blob.sop) == ["stored"], "I4: what came back is not stored")
        promise(("stays", "reappeared") in _history(site, blob.sop), "I4: that it came back is not told")
    else:
        waits = site.oracle.ask("SELECT stage, reason, approved FROM removals ORDER BY id DESC LIMIT 1")
        roots = site.oracle.ask("SELECT mode, unhealthy, frozen, seconds FROM roots")
        promise(
            blob.sop not in site.archive.held,
            f"L1: what was removed is not deleted {json.dumps([waits, roots])}",
        )
        promise(_state(site, blob.sop) == ["deleted"], "L1: what was removed is not told to be deleted")


def _unused(site: Site) -> blobs.Blob | None:
    """Give an instance that nobody has seen, of a study in which nothing is open."""
    rows = site.oracle.rows[0].values()
    known, opened = {row[1] for row in rows}, {row[7] for row in rows if row[2] in OPEN_STATES}
    known |= set(site.archive.held) | site.oracle.deletions.anywhere
    for blob in blobs.universe():
        if blob.sop not in known and blob.study not in opened:
            return blob
    return None


def _state(site: Site, uid: str) -> list[str]:
    return [row[2] for row in site.oracle.rows[0].values() if row[1] == uid]


def _history(site: Site, uid: str) -> list[tuple[str, str]]:
    return [
        (str(event), str(detail))
        for event, detail in site.oracle.ask(
            """SELECT h.event, h.detail FROM history h JOIN instances i ON i.id = h.row
            WHERE h.what = 'instance' AND i.sop_instance_uid = ?""",
            uid,
        )
    ]

"""How mirrored deletions stand, for a person and for a program: folders, candidates, what they wait for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dicomsync import failures, words
from dicomsync.handles import handle

if TYPE_CHECKING:
    from dicomsync.deletion import Rules
    from dicomsync.ledger import Reader, Removal, RootRow, Standing

EXAMPLES = 5
UNDOABLE = 20
_HINDRANCES = frozenset({"study-open", "interrupted", "unseen", "not-enrolled", "root-unreadable",
                         "root-other", "marker-missing", "marker-unreadable", "marker-other"})  # fmt: skip
_WAITING = ("left", "absent", "confirmed", "grace", "deleting")


def snapshot(reader: Standing) -> list[dict[str, Any]]:
    """Give each folder that mirrors with its counts, as plain values, for `status`."""
    sums = reader.removal_sums()
    return [_folder(root, sums.get(root.root_id, {})) for root in reader.roots() if root.mode != "off"]


def _folder(root: RootRow, stages: dict[str, int]) -> dict[str, Any]:
    return {
        "path": os.fsdecode(root.path),
        "mode": root.mode,
        "enrolled": root.identity is not None,
        "unhealthy": root.unhealthy,
        "frozen": root.frozen,
        "waiting": sum(stages.get(stage, 0) for stage in _WAITING),
        "deleted": stages.get("deleted", 0),
    }


def lines(folders: list[dict[str, Any]], *, listed: bool = False) -> list[str]:
    """Say it to a person who asks how all stands, or has them `listed`."""
    told = []
    for one in folders:
        told.append(f"  {_shown(one['path'])}: {mode(one)}; {counts(one)}")
        if one["frozen"]:
            told.append(f"    FROZEN: {failures.in_words(one['frozen'])}")
            told += ["    nothing of it is deleted until you have looked: `dicomsync deletions list`"] * (
                not listed
            )
        elif one["unhealthy"]:
            told.append(f"    nothing of it is deleted now: {failures.in_words(one['unhealthy'])}")
    return told


def counts(folder: dict[str, Any]) -> str:
    """Say how much waits, and how much is done."""
    return f"{folder['waiting']:,} waiting, {folder['deleted']:,} deleted"


def mode(folder: dict[str, Any]) -> str:
    """Say whether a folder deletes, or only reports."""
    if folder["mode"] == "on":
        return "mirrors deletions" if folder["enrolled"] else "only reports, as it is not enrolled"
    return "only reports what it would delete"


def told(reader: Reader, rules: Rules) -> dict[str, Any]:
    """Give all folders that mirror with all that waits, as plain values; `schema` as in `status`."""
    sums = reader.removal_sums()
    folders = []
    for root in [one for one in reader.roots() if one.mode != "off"]:
        waiting = [_candidate(reader, root, one, rules) for one in reader.removals(root.root_id)]
        latest = max((one["row"] for one in waiting), default=0)
        gone = [_undoable(reader, one) for one in reader.undoable(root.root_id, UNDOABLE)]
        more = {"frozen_at": root.frozen_at, "latest": latest, "candidates": waiting, "undoable": gone}
        folders.append(_folder(root, sums.get(root.root_id, {})) | more)
    return {"schema": 1, "folders": folders}


def _undoable(reader: Reader, one: dict[str, Any]) -> dict[str, Any]:
    return {
        "instance": handle("instance", one["instance_id"]),
        "sop_instance_uid": one["sop_instance_uid"],
        "files": _files(reader, one["instance_id"]),
        "deleted_at": one["deleted_at"],
    }


def _files(reader: Reader, instance_id: int) -> list[str]:
    return [os.fsdecode(bytes(row["path"])) for row in reader.files_of(instance_id, EXAMPLES)]


def _candidate(reader: Reader, root: RootRow, one: Removal, rules: Rules) -> dict[str, Any]:
    served = None if one.graced_seconds is None else root.seconds - one.graced_seconds
    return {
        "row": one.removal_id,
        "instance": handle("instance", one.due.instance_id),
        "study_instance_uid": one.due.study_instance_uid,
        "sop_instance_uid": one.due.sop_instance_uid,
        "files": _files(reader, one.due.instance_id),
        "left_at": one.left_at,
        "stage": one.stage,
        "approved": one.approved,
        "waits_for": waits_for(root, one, rules),
        "grace_left_seconds": None if served is None else max(0.0, round(rules.grace_seconds - served, 1)),
    }


def waits_for(root: RootRow, one: Removal, rules: Rules) -> str:
    """Give the code of what one removal waits for, "" where it is its turn."""
    if one.stage == "deleting":
        return "asking"
    if root.frozen or root.unhealthy:
        return "frozen" if root.frozen else root.unhealthy
    if one.stage in ("left", "absent"):
        return {"left": "first-scan", "absent": "second-scan"}[one.stage]
    if one.stage == "confirmed":
        return one.reason or "comparing"
    if one.graced_seconds is not None and root.seconds - one.graced_seconds < rules.grace_seconds:
        return "grace"
    return one.reason


def text(found: dict[str, Any], most: int = 100) -> str:
    """Say it to a person: folder by folder, what is frozen and what to do, then each candidate."""
    if not found["folders"]:
        return 'No folder mirrors its deletions (mirror_deletions is "off", or no daemon has run since).'
    said: list[str] = []
    for one in found["folders"]:
        said += lines([one], listed=True)
        frozen = bool(one["frozen"])
        said += [f"    {line}" for line in _candidates(one["candidates"], most, frozen=frozen)]
        if one["frozen"]:
            said += [
                "    Nothing of it is deleted now. If it was meant: `dicomsync deletions approve -c FILE`;"
            ]
            said += ["    if not: bring the files back, or `dicomsync deletions cancel --all -c FILE`."]
        if one["undoable"]:
            said += ["    deleted, the latest first; `dicomsync deletions undo UID -c FILE` stores it again:"]
        for gone in one["undoable"]:
            said += [f"      {words.moment(gone['deleted_at'])}  {gone['sop_instance_uid']}"]
            said += [f"        {_shown(path)}" for path in gone["files"][:1]]
    return "\n".join(said)


def _candidates(candidates: list[dict[str, Any]], most: int, *, frozen: bool) -> list[str]:
    said = []
    for one in candidates[:most]:
        why = failures.in_words(one["waits_for"]) if one["waits_for"] else "its turn"
        left = one["grace_left_seconds"]
        said.append(f"{one['sop_instance_uid']}  {one['instance']}")
        said += [f"  {_shown(path)}" for path in one["files"]]
        how = "cannot go yet" if one["waits_for"] in _HINDRANCES else "waits for"
        said.append(f"  left {words.moment(one['left_at'])}; {how}: {why}")
        if left and not frozen:
            said.append(f"  goes in {words.span(left)} at the earliest, while the daemon is up")
    if len(candidates) > most:
        said.append(f"… and {len(candidates) - most:,} more: --json has all of them")
    return said


def to_approve(folder: dict[str, Any]) -> str:
    """Say to the person who is asked what would be let go: counts, studies, examples."""
    waiting = folder["candidates"]
    studies = words.count(len({one["study_instance_uid"] for one in waiting}), "study", "studies")
    said = [
        f"{_shown(folder['path'])} is frozen: {failures.in_words(folder['frozen'])}.",
        f"{words.count(len(waiting), 'instance')} of {studies} would be deleted from the archive, such as:",
    ]
    for one in waiting[:EXAMPLES]:
        said.append(f"  {one['sop_instance_uid']} of study {one['study_instance_uid']}")
        said += [f"    {_shown(path)}" for path in one["files"][:1]]
    return "\n".join(said)


def _shown(path: str) -> str:
    return words.visible(path.encode("utf-8", "surrogateescape"))

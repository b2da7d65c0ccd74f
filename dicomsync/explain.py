"""The life of one file, instance, study or batch, from the ledger, for the person at the machine.

This is the one place that turns a handle back into paths and UIDs.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any

from dicomsync import failures, handles, words
from dicomsync.handles import handle
from dicomsync.ledger import RESOLVING, Reader
from dicomsync.model import FileState, InstanceState, Sighting, StatKey
from dicomsync.scan import look
from dicomsync.status import MEANINGS, by_outcome

_UID = re.compile(r"[0-9.]{3,64}")
_HANDLE = re.compile(rf"(?:({'|'.join(handles.KINDS)})[ :-]?)?([0-9a-f]{{6,16}})")


def explain(reader: Reader, subject: str, wall: float) -> list[str] | None:
    """Say all that is known of a file, a UID or a handle, a line each; None where nothing is."""
    if found := _HANDLE.fullmatch(subject.strip().lower()):
        lines = _by_handle(reader, found[1], found[2], wall)
        if lines:
            return lines
    if _UID.fullmatch(subject):
        lines = _by_uid(reader, subject, wall)
        if lines:
            return lines
    try:
        path = os.fsencode(os.path.abspath(subject))
    except UnicodeEncodeError:  # no name on this machine
        return None
    if row := reader.file_at(path):
        return [*_file(reader, row, wall), f"  {_on_disk(path, row)}"]
    if row := reader.directory_at(path):
        return _directory(reader, row)
    return None


def problems(reader: Reader, most: int = 50) -> list[str]:
    """List what needs a person: a line a file with its handle, why, and its path."""
    rows = reader.problems(most + 1)
    lines = []
    for row in rows[:most]:
        if row["instance_id"] is None:
            state, why, detail = row["file_state"], row["file_reason"], row["file_detail"]
        else:
            state, why, detail = row["state"], row["reason"], row["detail"]
        lines.append(f"{handle('file', row['file_id'])}  {state}: {_why(why, detail)}")
        lines.append(f"    {words.visible(row['path'])}")
    for row in reader.lost_instances(most):
        lines.append(f"{handle('instance', row['id'])}  {row['found']}: {_FOUND[Sighting(row['found'])]}")
        lines.append(f"    {row['sop_instance_uid']}")
    if len(rows) > most:
        lines.append("… and more; the views problem_list and lost_list of the ledger have all of them")
    return [*lines, "", *_to_do(reader)] if lines else []


_COPY = "copy or export them again"
_INSTANCES_TO_DO = {
    InstanceState.CONFLICT: "in conflict: `dicomsync conflicts list -c FILE --compare` says how",
    InstanceState.REJECTED: "rejected: `dicomsync retry -c FILE --rejected` sends them again, once mended",
    InstanceState.MISSED: f"missed: bring the files back, or {_COPY}",
}
_FILES_TO_DO = {
    FileState.MISSED: f"missed: bring them back, or {_COPY}",
    FileState.HELD: f"held: {_COPY}; `dicomsync retry -c FILE --held` reads them as they are now",
}


def _to_do(reader: Reader) -> list[str]:
    """Say what there is to do, by state, with the count of all of them."""
    counts, lost = reader.counts(), sum(reader.lost().values())
    lines = [
        f"{words.count(counts.instances[state], 'instance')} {what}"
        for state, what in _INSTANCES_TO_DO.items()
        if counts.instances[state]
    ]
    lines += [
        f"{words.count(counts.files[state], 'file')} {what}"
        for state, what in _FILES_TO_DO.items()
        if counts.files[state]
    ]
    if lost:
        gone = words.count(lost, "instance")
        lines.append(f"{gone} lost or changed in the archive: `dicomsync verify -c FILE` looks again")
    return lines


def _by_handle(reader: Reader, kind: str | None, word: str, wall: float) -> list[str]:
    lines: list[str] = []
    for one in (kind,) if kind else handles.KINDS:
        number = handles.number(one, word)
        if number is None:
            continue
        match one:
            case "file" if row := reader.file(number):
                lines += _file(reader, row, wall)
            case "instance" if row := reader.instance(number):
                lines += _instance(reader, row, wall)
            case "study" if row := reader.study(number):
                lines += _study(reader, row, wall)
            case "batch" if row := reader.batch(number):
                lines += _batch(row)
            case "directory" if row := reader.directory(number):
                lines += _directory(reader, row)
            case "folder" if path := reader.folder_path(number):
                lines += [f"{handle('folder', number)}: {words.visible(path)}"]
                lines += _history(reader, "folder", number)
    return lines


def _by_uid(reader: Reader, uid: str, wall: float) -> list[str]:
    lines: list[str] = []
    if row := reader.study_under(uid):
        lines += _study(reader, row, wall)
    for row in reader.instances_under(uid):
        lines += _instance(reader, row, wall)
    return lines


def _directory(reader: Reader, row: dict[str, Any]) -> list[str]:
    """Say what is known in and below a directory."""
    lines = [f"{handle('directory', row['id'])}: {words.visible(row['path'])}"]
    table = words.table(by_outcome(reader.outcomes([bytes(row["path"])])), indent="    ")
    lines += table.splitlines() or ["  no file of it, or below it, is known"]
    return lines + _history(reader, "directory", row["id"])


def _on_disk(path: bytes, row: dict[str, Any]) -> str:
    """Say whether a file is still the one that the ledger speaks of."""
    (now,) = look((path,))
    if isinstance(now, str):
        return f"on disk: it cannot be looked at ({now})"
    if now is None:
        return "on disk: not there any more"
    key = StatKey(row["size_bytes"], row["mtime_ns"], row["ctime_ns"], row["inode"])
    if now != key:
        return "on disk: changed since, or another file; the next pass looks at it again"
    return "on disk: unchanged since"


_FILE_NEXT = {
    FileState.SETTLING: "looked at again until it has not changed for a while",
    FileState.HELD: "looked at again when it changes; `dicomsync retry -c FILE --held` looks at once",
    FileState.MISSED: "if it comes back it is taken; otherwise export it again",
}


def _file_next(state: FileState, reason: str) -> str:
    if reason == "unreadable":
        return "tried again with every pass"
    if reason == "earlier":
        return "nothing, until it changes; `dicomsync backfill -c FILE PATH` takes it"
    if reason == "comparing":
        return "read whole, and compared with the other content under its UID"
    return _FILE_NEXT.get(state, "")


def _file(reader: Reader, row: dict[str, Any], wall: float) -> list[str]:
    state = FileState(row["state"])
    lines = [
        f"{handle('file', row['id'])}: {words.visible(row['path'])}",
        f"  {state}: {MEANINGS[state]}",
        f"  {words.size(row['size_bytes'])}, first seen {words.moment(row['seen_at'])}",
    ]
    if row["reason"]:
        lines.append(f"  why: {_why(row['reason'], row['detail'])}")
        lines.append(f"  more: `dicomsync help {row['reason']}`")
    lines += _history(reader, "file", row["id"])
    if ahead := _file_next(state, row["reason"]):
        lines.append(f"  next: {ahead}")
    if row["instance_id"] is not None:
        instance = reader.instance(row["instance_id"])
        if instance is not None:
            lines += _instance(reader, instance, wall)
    return lines


def _instance(reader: Reader, row: dict[str, Any], wall: float) -> list[str]:
    state = InstanceState(row["state"])
    lines = [
        f"{handle('instance', row['id'])} of {handle('study', row['study_id'])}",
        f"  {state}: {MEANINGS[state]}",
        f"  Study    {row['study_instance_uid']}",
        f"  Series   {row['series_instance_uid']}",
        f"  Instance {row['sop_instance_uid']}",
        f"  {words.size(row['size_bytes'])}, first seen {words.moment(row['seen_at'])}, "
        + ("as it came" if row["live"] else "as its folder was read the first time, or on request"),
    ]
    if row["sha256"]:
        lines.append(f"  SHA-256  {row['sha256'].hex()}")
    if row["reason"] == "already-there" and state is InstanceState.UNCONFIRMED:
        lines.append("  why: the archive has something under this UID, or had: it is asked, and compared")
    elif row["reason"]:
        detail = "" if row["reason"] == RESOLVING else row["detail"]  # there it is for the way back
        lines.append(f"  why: {_why(row['reason'], detail)}")
        lines.append(f"  more: `dicomsync help {row['reason']}`")
    if state is InstanceState.CONFLICT and row["likeness"]:
        lines.append(f"  compared: {_likeness(row['likeness'])}")
    if row["batch_id"] is not None:
        batch = reader.batch(row["batch_id"])
        if batch is not None:
            lines += [f"  {line}" for line in _batch(batch)]
    if row["stored_at"] is not None:
        lines += _proof(row)
    lines += [f"  file {words.visible(one['path'])} ({one['state']})" for one in reader.files_of(row["id"])]
    lines += _history(reader, "instance", row["id"])
    ahead = _next(state, row, reader.study(row["study_id"]) or {}, wall)
    removed = reader.removal_of(row["id"]) if state is InstanceState.STORED else None
    lines.append(f"  next: {_AFTER_REMOVAL if removed else ahead}")
    return lines


_AFTER_REMOVAL = "its file has left: `dicomsync deletions list -c FILE` says what becomes of it"


def _likeness(code: str) -> str:
    from dicomsync.compare import WORDS, Likeness  # costs pydicom, which nothing else here needs

    return WORDS[Likeness(code)]


def _proof(row: dict[str, Any]) -> list[str]:
    """Say when it was stored, what that was proved by, and what the archive had of it since."""
    compared = f"compared and found equal {words.moment(row['verified_at'])}"
    proof = compared if row["verified_at"] else "acknowledged, not compared"
    lines = [f"  stored {words.moment(row['stored_at'])} ({proof})"]
    if row["found_at"] is not None and row["found_at"] != row["verified_at"]:
        lines.append(f"  asked again {words.moment(row['found_at'])}: {_FOUND[Sighting(row['found'])]}")
    return lines


_FOUND = {
    Sighting.PRESENT: "it is there; its bytes were not compared",
    Sighting.EQUAL: "it is there, with the same bytes",
    Sighting.ABSENT: "it was not found; the archive is asked once more",
    Sighting.MISSING: "the archive does not have it any more",
    Sighting.DIFFERS: "the archive has other bytes than were stored",
}


def _next(state: InstanceState, row: dict[str, Any], study: dict[str, Any], wall: float) -> str:
    when = "now" if row["due_at"] <= wall else f"in {words.span(row['due_at'] - wall)}"
    match state:
        case _ if row["reason"] == RESOLVING:
            return "the same `conflicts resolve` again: it looks at what the archive has, and goes on"
        case InstanceState.PENDING:
            tries = f", after {words.count(row['attempts'], 'attempt')}" if row["attempts"] else ""
            study_at = study.get("due_at") or 0.0
            if study_at > max(wall, row["due_at"]):
                return f"sent in {words.span(study_at - wall)}, when its study has been quiet{tries}"
            free = ", as soon as a transfer is free and the archive answers" if when == "now" else ""
            return f"sent {when}{tries}{free}"
        case InstanceState.SENDING:
            return "the answer is waited for; after a restart the archive is asked"
        case InstanceState.UNCONFIRMED:
            return f"the archive is asked {when}" + (", for the second time" if row["looks"] else "")
        case InstanceState.CONFLICT:
            return "a person decides: `dicomsync conflicts diff -c FILE UID` shows both"
        case InstanceState.REJECTED:
            return "sent again when its file changes, or a person says so (`dicomsync retry -c FILE UID`)"
        case InstanceState.MISSED:
            return "if the file comes back it is sent; otherwise export it again"
        case InstanceState.STORED if row["found"] == Sighting.MISSING:
            return "a person decides: `dicomsync verify -c FILE --heal` has it sent again; nothing else does"
        case InstanceState.STORED if row["found"] == Sighting.DIFFERS:
            return "a person looks; nothing is sent over what the archive has"
    return _next_of_deletion(state, row["reason"])


def _next_of_deletion(state: InstanceState, reason: str) -> str:
    if state is InstanceState.LEAVING:
        return "deleted from the archive after its grace: `dicomsync deletions list -c FILE` says when"
    if state is InstanceState.DELETING:
        return "the archive is asked until it has it no more"
    if state is InstanceState.DELETED and reason == "mirrored":
        return "if its file comes back it is stored; `dicomsync deletions undo UID -c FILE` stores its copy"
    return "nothing: it is done"


def _study(reader: Reader, row: dict[str, Any], wall: float) -> list[str]:
    lines = [
        f"{handle('study', row['id'])}",
        f"  Study    {row['study_instance_uid']}",
        f"  first seen {words.moment(row['seen_at'])}",
    ]
    rows = [
        [one["state"], f"{one['n']:,}", f"{words.size(one['size_bytes'])}  {one['reason']}".rstrip()]
        for one in reader.states_in(row["id"])
    ]
    lines += words.table(rows, indent="    ").splitlines()
    lines += [f"  {line}" for batch in reader.batches_of(row["id"]) for line in _batch(batch)]
    if row["pending"] and row["due_at"] is not None:
        wait = row["due_at"] - wall
        lines.append(
            "  next batch " + (f"in {words.span(wait)}" if wait > 0 else "as soon as a transfer is free")
        )
    return lines


def _batch(row: dict[str, Any]) -> list[str]:
    status = f"status {row['status']}" if row["status"] is not None else "no answer"
    if row["status"] is None and "already-there" in row["outcome"]:
        status = "found there, and nothing sent of that"
    took = f" after {words.span(row['answered_at'] - row['sent_at'])}" if row["answered_at"] else ""
    head = f"{handle('batch', row['id'])} of {handle('study', row['study_id'])}"
    return [
        f"{head}: {words.count(row['instances'], 'instance')}, {words.size(row['size_bytes'])}, "
        f"sent {words.moment(row['sent_at'])}; "
        + (f"{status}{took}: {row['outcome']}" if row["answered_at"] else "the answer is waited for")
    ]


def _history(reader: Reader, what: str, row: int) -> list[str]:
    return [
        f"  {words.moment(one['at'])}  {one['event']}"
        + (f": {_why(one['detail'], '')}" if one["detail"] else "")
        for one in reader.history(what, row)
    ]


def _why(code: str, detail: str) -> str:
    """Say a reason in words, with what the archive or the system said of it."""
    said = failures.in_words(code)
    return f"{said} [{words.visible(detail.encode())}]" if detail else said


def now() -> float:
    """Give the wall clock."""
    return time.time()

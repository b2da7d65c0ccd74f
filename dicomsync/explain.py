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
from dicomsync.ledger import Reader
from dicomsync.model import FileState, InstanceState
from dicomsync.status import MEANINGS

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
    row = reader.file_at(os.fsencode(os.path.abspath(subject)))
    return None if row is None else _file(reader, row, wall)


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
    if len(rows) > most:
        lines.append("… and more; the view problem_list of the ledger has all of them")
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
                lines += [f"{handle('directory', number)}: {words.visible(row['path'])}"]
                lines += _history(reader, "directory", number)
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


def _file(reader: Reader, row: dict[str, Any], wall: float) -> list[str]:
    state = FileState(row["state"])
    lines = [
        f"{handle('file', row['id'])}: {words.visible(row['path'])}",
        f"  {state}: {MEANINGS[state]}",
        f"  {words.size(row['size_bytes'])}, first seen {words.moment(row['seen_at'])}",
    ]
    if row["reason"]:
        lines.append(f"  why: {_why(row['reason'], row['detail'])}")
    lines += _history(reader, "file", row["id"])
    if state is FileState.HELD:
        lines.append("  next: looked at again when it changes")
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
        f"  {words.size(row['size_bytes'])}, first seen {words.moment(row['seen_at'])}",
    ]
    if row["sha256"]:
        lines.append(f"  SHA-256  {row['sha256'].hex()}")
    if row["reason"]:
        lines.append(f"  why: {_why(row['reason'], row['detail'])}")
    if state is InstanceState.CONFLICT and row["likeness"]:
        lines.append(f"  compared: {row['likeness']}")
    if row["batch_id"] is not None:
        batch = reader.batch(row["batch_id"])
        if batch is not None:
            lines += [f"  {line}" for line in _batch(batch)]
    if row["stored_at"] is not None:
        checked = words.moment(row["verified_at"])
        proof = f"compared and found equal {checked}" if row["verified_at"] else "acknowledged, not compared"
        lines.append(f"  stored {words.moment(row['stored_at'])} ({proof})")
    lines += [f"  file {words.visible(one['path'])} ({one['state']})" for one in reader.files_of(row["id"])]
    lines += _history(reader, "instance", row["id"])
    lines.append(f"  next: {_next(state, row, wall)}")
    return lines


def _next(state: InstanceState, row: dict[str, Any], wall: float) -> str:
    when = "now" if row["due_at"] <= wall else f"in {words.span(row['due_at'] - wall)}"
    match state:
        case InstanceState.PENDING:
            return f"sent {when}" + (f", after {row['attempts']} attempts" if row["attempts"] else "")
        case InstanceState.SENDING:
            return "the answer is waited for; after a restart the archive is asked"
        case InstanceState.UNCONFIRMED:
            return f"the archive is asked {when}" + (", for the second time" if row["looks"] else "")
        case InstanceState.CONFLICT:
            return "a person decides: `dicomsync conflicts diff` shows both; no more is sent under this UID"
        case InstanceState.REJECTED:
            return "a person looks, or the file changes; it is not sent again by itself"
        case InstanceState.MISSED:
            return "if the file comes back it is sent; otherwise export it again"
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

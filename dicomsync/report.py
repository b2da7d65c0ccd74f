"""Reports: every file with exactly one outcome, a study's receipt, and what the site may clear away.

Records are plain values under stable keys; moments are in UTC as ISO 8601, sizes in bytes. They name
paths and UIDs: they are for the person at the machine.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from dicomsync import failures, words
from dicomsync.errors import UsageProblem
from dicomsync.handles import handle, number
from dicomsync.ledger import Reader, ends
from dicomsync.model import FileState, InstanceState, Sighting, StatKey

Record = dict[str, Any]
Look = Callable[[tuple[bytes, ...]], tuple[StatKey | str | None, ...]]


def files(reader: Reader, since: float = 0.0) -> Iterator[Record]:
    """Give one record for each file first seen since then (wall seconds), first seen first."""
    for page in reader.account(since):
        yield from map(_file, page)


def _file(row: Record) -> Record:
    file_state = FileState(row["file_state"])
    state = InstanceState(row["state"]) if row["state"] else None
    outcome = ends(file_state, state)
    of_file = isinstance(outcome, FileState)
    reason, detail = (row["file_reason"], row["file_detail"]) if of_file else (row["reason"], row["detail"])
    return {
        "file": handle("file", row["file_id"]),
        "path": _shown(row["path"]),
        "outcome": str(outcome),
        "reason": reason,
        "why": _why(reason, detail),
        "file_state": str(file_state),
        "instance_state": str(state) if state else None,
        "size_bytes": row["size_bytes"],
        "seen_at": _iso(row["seen_at"]),
        "stored_at": _iso(row["stored_at"]),
        "verified_at": _iso(row["verified_at"]),
        "study_instance_uid": row["study_instance_uid"],
        "series_instance_uid": row["series_instance_uid"],
        "sop_instance_uid": row["sop_instance_uid"],
        "sha256": row["sha256"].hex() if row["sha256"] else None,
    }


def study_named(reader: Reader, name: str) -> int:
    """Give the row of a study by its UID or its handle; UsageProblem where the ledger knows none."""
    row = reader.study_under(name)
    if row is None:
        known = number("study", name.strip().lower().removeprefix("study").strip(" :-"))
        row = None if known is None else reader.study(known)
    if row is None:
        raise UsageProblem(
            "The ledger knows no such study.", hint="`dicomsync explain FILE` shows the UIDs of a file."
        )
    return int(row["id"])


def receipt(reader: Reader, study_id: int, since: float = 0.0) -> Iterator[Record]:
    """Give one record for each instance of a study: what it is, where it is, what the archive said."""
    base = (reader.fact("archive") or "").rstrip("/")
    for page in reader.instances_of(study_id, since):
        for row in page:
            yield _instance(row, base, [_shown(one["path"]) for one in reader.files_of(row["id"])])


def _instance(row: Record, base: str, paths: list[str]) -> Record:
    stored = row["state"] == InstanceState.STORED
    place = (
        f"studies/{row['study_instance_uid']}/series/{row['series_instance_uid']}"
        f"/instances/{row['sop_instance_uid']}"
    )
    return {
        "instance": handle("instance", row["id"]),
        "study_instance_uid": row["study_instance_uid"],
        "series_instance_uid": row["series_instance_uid"],
        "sop_instance_uid": row["sop_instance_uid"],
        "state": row["state"],
        "reason": row["reason"],
        "why": _why(row["reason"], row["detail"]),
        "size_bytes": row["size_bytes"],
        "sha256": row["sha256"].hex() if row["sha256"] else None,
        "seen_at": _iso(row["seen_at"]),
        "sent_at": _iso(row["sent_at"]),
        "status": row["status"],
        "stored_at": _iso(row["stored_at"]),
        "verified_at": _iso(row["verified_at"]),
        "proof": _proof(row) if stored else None,
        "url": f"{base}/{place}" if stored and base else None,
        "files": paths,
    }


def _proof(row: Record) -> str:
    """Say how it is known that the archive has it."""
    if row["found"] in (Sighting.MISSING, Sighting.DIFFERS):
        return str(row["found"])
    if row["verified_at"] is not None:
        return "compared"
    asked = "found" if row["found"] == Sighting.PRESENT else "acknowledged"
    return {"presence-only": "found", "agrees": "agrees"}.get(row["reason"], asked)


PROOFS = {
    "compared": "its bytes were compared with the archive's and are equal",
    "found": "the archive was asked and has it; its bytes were not compared",
    "agrees": "the archive rewrites what it stores; its UIDs, transfer syntax and pixel data are the same",
    "acknowledged": "the archive named it as stored; not compared",
    "missing": "the archive was asked twice since, and does not have it any more",
    "differs": "the archive was found to have other bytes since",
}


def removable(reader: Reader, look: Look, study_id: int | None = None, since: float = 0.0) -> Iterator[bytes]:
    """Give the paths whose instance the archive has, compared, and which are on disk as they were then."""
    pages = (
        reader.account(since, verified=True)
        if study_id is None
        else reader.account_of(study_id, since, verified=True)
    )
    for page in pages:
        paths = tuple(row["path"] for row in page)
        for row, now in zip(page, look(paths), strict=True):
            key = StatKey(row["size_bytes"], row["mtime_ns"], row["ctime_ns"], row["inode"])
            if now == key:
                yield row["path"]


# writing


def as_jsonl(records: Iterable[Record]) -> Iterator[str]:
    """Write records as JSON, one a line."""
    return map(json.dumps, records)


def as_csv(records: Iterable[Record]) -> Iterator[str]:
    """Write records as CSV (RFC 4180), with a line of names first."""
    for place, record in enumerate(records):
        if place == 0:
            yield _csv(record.keys())
        yield _csv(record.values())


def as_table(records: Iterable[Record]) -> Iterator[str]:
    """Write files for a person, a line each, and the sums by outcome at the end."""
    totals: Counter[str] = Counter()
    for record in records:
        totals[record["outcome"]] += 1
        yield file_line(record)
    sums = ", ".join(f"{n:,} {outcome}" for outcome, n in totals.most_common())
    yield f"{words.count(totals.total(), 'file')}" + (f": {sums}" if sums else "")


def _csv(values: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(map(_cell, values))
    return line.getvalue()


def _cell(value: object) -> object:
    """Give a value as a cell: a name may hold what moves a terminal, and CSV has no escapes of its own."""
    text = " | ".join(value) if isinstance(value, list) else value
    return words.visible(text.encode()) if isinstance(text, str) else text


def file_line(record: Record) -> str:
    """Say a file in a line."""
    why = f"  ({record['why']})" if record["why"] else ""
    seen, size = record["seen_at"], words.size(record["size_bytes"])
    path = words.visible(record["path"].encode())
    return f"{record['outcome']:<12}{seen}  {size:>8}  {record['file']}  {path}{why}"


def instance_lines(record: Record) -> str:
    """Say an instance of a receipt in a few lines."""
    lines = [
        f"{record['instance']}: {record['state']}" + (f" ({record['why']})" if record["why"] else ""),
        f"  Series   {record['series_instance_uid']}",
        f"  Instance {record['sop_instance_uid']}",
        f"  SHA-256  {record['sha256'] or '-'}  {words.size(record['size_bytes'])}",
    ]
    if record["sent_at"]:
        status = f"status {record['status']}" if record["status"] is not None else "no answer"
        if record["status"] is None and record["reason"] == "already-there":
            status = "not needed: it was found there"
        lines.append(f"  sent     {record['sent_at']}; {status}")
    if record["stored_at"]:
        lines.append(f"  stored   {record['stored_at']}; {PROOFS.get(record['proof'], 'no longer')}")
    if record["verified_at"]:
        lines.append(f"  verified {record['verified_at']}, by SHA-256 from byte 128 on")
    if record["url"]:
        lines.append(f"  {record['url']}")
    return "\n".join(
        [*lines, *(f"  file     {words.visible(path.encode())}" for path in record["files"]), ""]
    )


def head(reader: Reader, study_id: int, wall: float) -> list[str]:
    """Say whose receipt it is, and how the study stands as a whole."""
    row = reader.study(study_id) or {}
    states = reader.states_in(study_id)
    instances = sum(one["n"] for one in states)
    stored = sum(one["n"] for one in states if one["state"] == InstanceState.STORED)
    verified = sum(one["verified"] for one in states if one["state"] == InstanceState.STORED)
    size_bytes = sum(one["size_bytes"] for one in states)
    kind = reader.fact("archive_kind")
    return [
        f"Receipt of {handle('study', study_id)}, as known {_iso(wall)}",
        f"  Study    {row['study_instance_uid']}",
        f"  Archive  {reader.fact('archive') or '-'}" + (f" ({kind})" if kind else ""),
        f"  {words.count(instances, 'instance')}, {words.size(size_bytes)}: {stored:,} stored, "
        f"of these {verified:,} compared",
        "",
    ]


def _why(reason: str, detail: str) -> str:
    said = failures.in_words(reason)
    return f"{said} [{detail}]" if detail else said


def _shown(path: bytes) -> str:
    """Give a path as text; bytes that are no UTF-8 in escapes (`-0` gives them as they are)."""
    return path.decode("utf-8", "backslashreplace")


def _iso(wall: float | None) -> str | None:
    return None if wall is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall))

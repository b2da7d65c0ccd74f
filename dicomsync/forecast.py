"""What would become of a file that the ledger has never seen: by its place, its name, its kind, its content.

It asks the rooms that would decide, in the order in which the daemon would, and changes nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from dicomsync import failures, header, jobs, names, words
from dicomsync.handles import handle
from dicomsync.ledger import Reader
from dicomsync.model import Changed, Folder, StatKey, Unfit, Whole


def forecast(reader: Reader, path: bytes, folders: Sequence[Folder] | None, wall: float) -> list[str]:
    """Say what would be done with what is at `path`, why, and what to do about it; reads it if need be.

    `folders` are those of the config; None where there is none to ask.
    """
    lines = [f"{words.visible(path)}: the ledger has never seen it"]
    if folders is None:
        lines.append("  whether it lies in a folder that is looked into cannot be said without -c FILE")
    return lines + [f"  {line}" for line in _foretold(reader, path, folders, wall)]


def _foretold(reader: Reader, path: bytes, folders: Sequence[Folder] | None, wall: float) -> Iterator[str]:
    folder = None
    if folders is not None:
        folder = next((one for one in folders if names.lies_in(path, one)), None)
        if folder is None:
            yield "not looked at: it lies in none of the folders of the config"
            yield "next: `dicomsync backfill -c FILE PATH` stores what is there all the same"
            return
    try:
        status = os.lstat(path)
    except OSError as problem:
        yield f"not to be looked at: {problem.strerror}"
        return
    obstacle = (folder and names.obstacle(path, folder)) or _kind(status, folder is not None)
    if obstacle:
        yield obstacle
        return
    key = StatKey.of(status)
    if folder is not None and folder.new_only and key.ctime_ns / 1e9 < _first_look(reader, folder, wall):
        yield f"left alone: {failures.in_words('earlier')}"
        yield "next: `dicomsync backfill -c FILE PATH` takes it"
        return
    yield from _by_content(reader, path)
    if folder is not None:
        age = max(0.0, wall - key.ctime_ns / 1e9)
        yield f"it changed {words.span(age)} ago, and settles in {words.span(folder.settle_seconds)}"
        yield f"next: found by a pass within {words.span(folder.scan_seconds)}, if the daemon runs"


def _kind(status: os.stat_result, placed: bool) -> str:
    """Say why something that is no regular file is left alone; "" for one that is."""
    if stat.S_ISDIR(status.st_mode):
        return "a directory, not read yet" if placed else "a directory"
    if stat.S_ISLNK(status.st_mode):
        return "left alone: a symbolic link, and those are not followed"
    return "" if stat.S_ISREG(status.st_mode) else f"left alone: {failures.in_words('special')}"


def _first_look(reader: Reader, folder: Folder, wall: float) -> float:
    """Say when the daemon first saw a folder; one it has not seen yet, it would see now."""
    seen = [one["seen_at"] for one in reader.folders() if os.fsencode(one["path"]) == folder.path]
    return float(seen[0]) if seen else wall


def _by_content(reader: Reader, path: bytes) -> Iterator[str]:
    """Read the header as the daemon would, and say what it would make of it."""
    match found := header.read(path):
        case Unfit():
            yield f"{found.state}: {failures.in_words(found.reason)}" + (
                f" [{found.detail}]" if found.detail else ""
            )
        case Changed():
            yield "settling: it changes just now"
        case Whole():
            yield from _whole(reader, path, found)


def _whole(reader: Reader, path: bytes, found: Whole) -> Iterator[str]:
    known = reader.instances_under(found.sop_instance_uid)
    (digest,) = jobs.digest(((path, found.key),)) if known else (b"",)
    same = [one for one in known if one["sha256"] == digest]
    if not known:
        yield "stored: it is whole, and its SOP Instance UID is new"
    elif same:
        one = same[0]
        yield f"not sent: one more file of {handle('instance', one['id'])}, which is {one['state']}"
    elif any(one["sha256"] is None and one["size_bytes"] == found.key.size_bytes for one in known):
        yield f"compared first with {handle('instance', known[0]['id'])}, which has the same SOP Instance UID"
    else:
        one = known[0]
        yield f"conflict: other content than {handle('instance', one['id'])}, which is {one['state']}"
    yield f"Study    {found.study_instance_uid}"
    yield f"Series   {found.series_instance_uid}"
    yield f"Instance {found.sop_instance_uid}"

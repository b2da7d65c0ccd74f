"""What the hands do for mirrored deletions: look, fetch a copy back, delete one instance, ask.

Plain functions from values to values, as in `jobs`; none of them raises. Whatever is not seen, or not
proved, is said so; what that means is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from dicomsync import deletion, dicomweb, jobs, roots
from dicomsync.deletion import Root
from dicomsync.errors import DicomsyncError, NoAnswer, NotThere, Refused, UsageProblem
from dicomsync.model import Due, StatKey
from dicomsync.pacing import Signal
from dicomsync.rules import Finding

PREAMBLE_BYTES = 128
SPARE_BYTES = 64 * 2**20  # the ledger's disk is never filled up with copies
_IS_COPY = re.compile(rb"[0-9a-f]{32}(\.part)?")
_OWN_WAY = (405, 501)  # what an archive answers that does not delete by DICOMweb


class Seen(StrEnum):
    """What was seen in a file's place."""

    ABSENT = "absent"  # the system says that there is none (ENOENT), in a directory of the folder's disk
    THERE = "there"
    UNSEEN = "unseen"  # something else was in the way: that proves nothing


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen of a folder before and after, and between of the files of some instances.

    `directories_gone`: of each, whether its top-level directory has gone as well.
    """

    before: Root
    after: Root
    seen: tuple[Seen, ...]
    directories_gone: tuple[bool, ...]


def look_for(root: bytes, wanted: tuple[tuple[bytes, ...], ...]) -> Looked:
    """Look for all paths of each of some instances below a folder."""
    before = roots.look(root)
    seen = tuple(_look_for_all(root, before.device, paths) for paths in wanted)
    gone = tuple(any(_top_gone(root, path) for path in paths) for paths in wanted)
    return Looked(before, roots.look(root), seen, gone)


def _look_for_all(root: bytes, device: int, paths: tuple[bytes, ...]) -> Seen:
    found = {_look_for(root, device, path) for path in paths}
    for one in (Seen.THERE, Seen.UNSEEN):
        if one in found or not found:
            return one if found else Seen.UNSEEN
    return Seen.ABSENT


def _look_for(root: bytes, device: int, path: bytes) -> Seen:
    """Look for one file; of directories that have gone with it, the nearest that is left must be ours."""
    try:
        os.lstat(path)
        return Seen.THERE
    except FileNotFoundError:
        pass
    except OSError:
        return Seen.UNSEEN
    above = os.path.dirname(path)
    while True:
        try:
            status = os.lstat(above) if above != root else os.stat(above)
        except FileNotFoundError:
            if above == root or not above.startswith(root.rstrip(b"/") + b"/"):
                return Seen.UNSEEN
            above = os.path.dirname(above)
        except OSError:
            return Seen.UNSEEN
        else:
            ours = stat.S_ISDIR(status.st_mode) and status.st_dev & (2**63 - 1) == device
            return Seen.ABSENT if ours else Seen.UNSEEN


def _top_gone(root: bytes, path: bytes) -> bool:
    """Say whether the directory right below the folder, in which a file was, has gone; if in doubt it has."""
    below = path[len(root.rstrip(b"/")) + 1 :].split(b"/")
    if len(below) < 2:
        return False
    try:
        return not stat.S_ISDIR(os.lstat(os.path.join(root, below[0])).st_mode)
    except OSError:
        return True


@dataclass(frozen=True, slots=True)
class Target:
    """One instance to be deleted: where it is in the archive, and what must be so in the folder."""

    due: Due
    root: bytes
    enrolled: Root
    paths: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the last check found; `kept` is the copy in the trash, None where none was wanted or made."""

    looked: Looked
    finding: Finding = Finding.FAILED
    kept: tuple[bytes, StatKey] | None = None
    no_room: bool = False
    signal: Signal = field(default_factory=Signal)


def wrong(target: Target, looked: Looked) -> str:
    """Say what a look found that forbids a deletion; "" if nothing."""
    for root in (looked.before, looked.after):
        if why := deletion.unhealthy(target.enrolled, root):
            return why
    return {Seen.ABSENT: "", Seen.THERE: "reappeared", Seen.UNSEEN: "unseen"}[looked.seen[0]]


def prepare(archive: dicomweb.Archive, target: Target, trash: bytes | None, room_bytes: int) -> Prepared:
    """Look once more, and compare the archive's copy with what was stored; into `trash` it is kept.

    A copy that does not fit into `room_bytes`, or on the disk, is not fetched.
    """
    looked = look_for(target.root, (target.paths,))
    if wrong(target, looked):
        return Prepared(looked)
    if trash is None:
        (found,), signal = _compared(archive, target.due)
        return Prepared(look_for(target.root, (target.paths,)), found, signal=signal)
    try:
        os.makedirs(trash, 0o700, exist_ok=True)
        disk = os.statvfs(trash)
        if target.due.size_bytes > min(room_bytes, disk.f_bavail * disk.f_frsize - SPARE_BYTES):
            return Prepared(looked, no_room=True)
        kept = _fetch(archive, target.due, trash)
    except NotThere:
        return Prepared(looked, Finding.ABSENT)
    except DicomsyncError as error:
        return Prepared(looked, signal=jobs.signal_of(error))
    except OSError:
        return Prepared(looked, no_room=True)
    finding = Finding.EQUAL if kept else Finding.DIFFERENT
    return Prepared(look_for(target.root, (target.paths,)), finding, kept)


def _compared(archive: dicomweb.Archive, due: Due) -> tuple[tuple[Finding], Signal]:
    asked = jobs.compare(archive, (due,))
    return (asked.found[0].finding,), asked.signal


def _fetch(archive: dicomweb.Archive, due: Due, trash: bytes) -> tuple[bytes, StatKey] | None:
    """Fetch the archive's copy, with our preamble, under a name that says nothing; None if it differs."""
    path = os.path.join(trash, uuid.uuid4().hex.encode("ascii"))
    fresh = path + b".part"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            preamble = due.preamble or bytes(PREAMBLE_BYTES)
            running = hashlib.sha256(preamble)
            file.write(preamble)
            fetched_bytes = 0
            uids = (due.study_instance_uid, due.series_instance_uid, due.sop_instance_uid)
            with dicomweb.client_for(archive).instance(*uids) as chunks:
                for chunk in chunks:
                    ours = chunk[max(0, PREAMBLE_BYTES - fetched_bytes) :]
                    running.update(ours)
                    file.write(ours)
                    fetched_bytes += len(chunk)
            if running.digest() != due.sha256 or fetched_bytes != due.size_bytes:
                return None
            file.flush()
            os.fsync(file.fileno())
        os.rename(fresh, path)
        directory = os.open(trash, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return path, StatKey.of(os.stat(path))
    finally:
        with suppress(FileNotFoundError):
            os.unlink(fresh)


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of one deletion; `sent` is False where the archive was asked for nothing.

    `why` is the code of what was in the way, "" where the archive took it; `supported` is False where it
    does not delete at all.
    """

    sent: bool
    why: str = ""
    supported: bool = True
    signal: Signal = field(default_factory=Signal)


def delete(archive: dicomweb.Archive, target: Target) -> Sent:
    """Delete one instance, in the archive's own way, right after one more look."""
    if why := wrong(target, look_for(target.root, (target.paths,))):
        return Sent(sent=False, why=why)
    due = target.due
    try:
        client = dicomweb.client_for(archive)
        done = client.delete(
            due.study_instance_uid, due.series_instance_uid, due.sop_instance_uid, alone=True
        )
    except UsageProblem:
        return Sent(sent=False, why="cannot-delete", supported=False)
    except NoAnswer as error:
        return Sent(sent=True, why="no-answer", signal=jobs.signal_of(error))
    except Refused as error:
        supported = error.status not in _OWN_WAY
        return Sent(sent=True, why="refused" if supported else "cannot-delete", supported=supported)
    except DicomsyncError as error:
        return Sent(sent=True, why="no-answer", signal=jobs.signal_of(error))
    return Sent(sent=True, why="" if done.outcome is not dicomweb.Outcome.UNFINISHED else "unfinished")


class Where(StrEnum):
    """Whether the archive has an instance."""

    THERE = "there"
    GONE = "gone"  # neither a search finds it nor a Retrieve
    UNKNOWN = "unknown"


def whereabouts(archive: dicomweb.Archive, due: Due) -> Where:
    """Ask whether the archive has one instance."""
    uids = (due.study_instance_uid, due.series_instance_uid, due.sop_instance_uid)
    try:
        client = dicomweb.client_for(archive)
        if client.present(due.study_instance_uid, {due.sop_instance_uid: due.series_instance_uid}):
            return Where.THERE
        with client.instance(*uids):
            return Where.THERE
    except NotThere:
        return Where.GONE
    except DicomsyncError:
        return Where.UNKNOWN


def forget(paths: tuple[bytes, ...]) -> tuple[bool, ...]:
    """Remove copies from the trash; says of each whether it is not there any more."""
    return tuple(_forget(path) for path in paths)


def sweep(trash: bytes, known: frozenset[bytes], before: float) -> int:
    """Remove what a process that ended left behind: copies that nobody knows, written before that wall time.

    Gives how many there were.
    """
    swept = 0
    with suppress(OSError), os.scandir(trash) as found:
        for one in found:
            ours = _IS_COPY.fullmatch(os.path.basename(one.path)) and one.path not in known
            if ours and os.lstat(one.path).st_mtime < before and _forget(one.path):
                swept += 1
    return swept


def _forget(path: bytes) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True

"""Storing files by hand: each proved whole, stored study by study, and what became of each one told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from pathlib import Path

from dicomsync import batching, dicomweb, header, jobs, rules, scan, words
from dicomsync.delivery import verdict
from dicomsync.failures import in_words
from dicomsync.jobs import Way
from dicomsync.model import Changed, Due, InstanceState, Source, StatKey, Transition, Unfit, Whole


class Fate(StrEnum):
    """What became of a file; the first three are no case for anybody."""

    STORED = "stored"
    THERE = "already there"
    COPY = "copy"  # of another file of this command, under the same UID with the same bytes
    UNCLEAR = "unclear"  # the archive may have it
    NOT_STORED = "not stored"  # and may be, another time
    REFUSED = "refused"
    CONFLICT = "conflict"
    UNFIT = "not sent"


@dataclass(frozen=True, slots=True)
class Told:
    """One file's fate, with why; `sop_instance_uid` is "" where it has none."""

    path: Path
    fate: Fate
    words: str = ""
    sop_instance_uid: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    due: Due
    source: Source


def store(
    archive: dicomweb.Archive,
    paths: Sequence[Path],
    way: Way = Way.MULTIPART,
    study: str | None = None,
    tell: Callable[[int, int], None] = lambda _files, _bytes: None,
) -> Iterator[Told]:
    """Store files and say of each what became of it; of no other `study` than this, if one is given.

    `archive` names its kind. `tell` is called with files and bytes that are done. Raises the errors of
    the client where the archive as a whole cannot be used.
    """
    done = [0, 0]

    def count(one: Told) -> Told:
        done[0] += 1
        done[1] += one.size_bytes
        tell(*done)
        return one

    files: list[_File] = []
    seen: dict[str, _File] = {}
    for number, path in enumerate(paths):
        read = _read(number, path, study)
        if isinstance(read, _File):
            first = seen.setdefault(read.due.sop_instance_uid, read)
            if first is not read:
                read = _twin(read, first)
        if isinstance(read, Told):
            yield count(read)
        else:
            files.append(read)
    files.sort(key=_study)
    for _, group in groupby(files, _study):
        for batch in _batches(list(group), dicomweb.KINDS[archive.kind], way):
            for one in _send(archive, batch, way, by_study=study is not None):
                yield count(one)


def _study(file: _File) -> str:
    return file.due.study_instance_uid


def _read(number: int, path: Path, study: str | None) -> _File | Told:
    where = os.fsencode(os.path.realpath(path))
    sight = scan.look((where,))[0]
    if not isinstance(sight, StatKey):
        return Told(path, Fate.UNFIT, sight or "there is no such file")
    found = header.read(where, sight)
    match found:
        case Unfit():
            return Told(path, Fate.UNFIT, _why(found), size_bytes=sight.size_bytes)
        case Changed():
            return Told(path, Fate.UNFIT, "it is changing just now", size_bytes=sight.size_bytes)
        case Whole() if study is not None and found.study_instance_uid != study:
            return Told(path, Fate.UNFIT, "it is of another study", found.sop_instance_uid, sight.size_bytes)
    source = Source(number, where, found.key)
    uids = (found.study_instance_uid, found.series_instance_uid, found.sop_instance_uid)
    due = Due(number, *uids, sight.size_bytes, found.preamble, None, "", 0, 0, 0, None, source)
    return _File(path, due, source)


def _why(found: Unfit) -> str:
    words = in_words(found.reason)
    return f"{words} ({found.detail})" if found.detail else words


def _twin(file: _File, first: _File) -> Told:
    """Say what a second file under one UID is: never two contents in one request."""
    ours, theirs = jobs.digest(tuple((one.source.path, one.source.key) for one in (file, first)))
    other = words.visible(os.fsencode(first.path.name))
    if isinstance(ours, bytes) and ours == theirs:
        return _told(file, Fate.COPY, f"the same as {other}")
    return _told(file, Fate.CONFLICT, f"{other} has other content under the same SOP Instance UID")


def _batches(files: list[_File], kind: dicomweb.Kind, way: Way) -> Iterator[list[_File]]:
    most = 1 if way is Way.SINGLE_PART else kind.batch_instances
    caps = batching.Caps(max_instances=most, max_bytes=kind.batch_bytes)
    by_id = {file.due.instance_id: file for file in files}
    while by_id:
        chosen = batching.choose([file.due for file in by_id.values()], caps, kind.max_request_bytes)
        yield [by_id.pop(due.instance_id) for due in chosen or [next(iter(by_id.values())).due]]


def _send(archive: dicomweb.Archive, batch: Sequence[_File], way: Way, *, by_study: bool) -> Iterator[Told]:
    """Store one batch; what that leaves open is asked about at once."""
    dues = tuple(file.due for file in batch)
    came = jobs.store(archive, dues, way, by_study=by_study)
    if came.signal is not None:
        words = came.signal.words
        return (_told(file, Fate.NOT_STORED, words) for file in batch)
    sent = [due for due in dues if due.instance_id in came.sent]
    changes = {one.instance_id: one for one in verdict(sent, came, 0.0).transitions}
    for instance_id in came.there:
        changes[instance_id] = Transition(instance_id, InstanceState.UNCONFIRMED, "already-there")
    changes |= _asked(archive, dues, changes)
    lost = {one.instance_id for one in came.lost}
    return (_fate(file, changes.get(file.due.instance_id), file.due.instance_id in lost) for file in batch)


def _asked(
    archive: dicomweb.Archive, dues: Iterable[Due], changes: dict[int, Transition]
) -> dict[int, Transition]:
    open_questions = {
        due.instance_id: due._replace(reason=changes[due.instance_id].reason)
        for due in dues
        if due.instance_id in changes and changes[due.instance_id].state is InstanceState.UNCONFIRMED
    }
    if not open_questions:
        return {}
    asked = jobs.ask(archive, tuple(open_questions.values()))
    return {
        one.instance_id: rules.after_look(open_questions[one.instance_id], one.finding, one.sha256, 0.0)
        for one in asked.found
    }


_FATES = {
    InstanceState.STORED: Fate.STORED,
    InstanceState.UNCONFIRMED: Fate.UNCLEAR,
    InstanceState.PENDING: Fate.NOT_STORED,
    InstanceState.REJECTED: Fate.REFUSED,
    InstanceState.CONFLICT: Fate.CONFLICT,
}


def _fate(file: _File, change: Transition | None, lost: bool) -> Told:
    if change is None or lost:
        return _told(file, Fate.UNCLEAR if change else Fate.UNFIT, "the file changed while it was being sent")
    if change.reason == "already-there" and change.state is InstanceState.STORED:
        return _told(file, Fate.THERE, "the same bytes")
    words = " ".join(part for part in (in_words(change.reason), change.detail) if part)
    return _told(file, _FATES[change.state], words)


def _told(file: _File, fate: Fate, words: str = "") -> Told:
    return Told(file.path, fate, words, file.due.sop_instance_uid, file.due.size_bytes)

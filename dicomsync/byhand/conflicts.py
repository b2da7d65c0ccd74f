"""Conflicts by hand: what differs, and a person's decision carried out, the ledger's word always first."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

from dicomsync import copies, dicomweb, jobs
from dicomsync.compare import Comparison, Likeness, Unreadable
from dicomsync.copies import FileChanged
from dicomsync.delivery import verdict
from dicomsync.errors import ArchiveProblem, NotThere, Refused, UsageProblem
from dicomsync.failures import in_words
from dicomsync.jobs import Way
from dicomsync.ledger import RESOLVING, Conflict, Copy
from dicomsync.model import Due, InstanceState
from dicomsync.pacing import Trouble
from dicomsync.resolution import Resolve, Step

Take = Callable[[Resolve], int]
"""What records a step, as `handover.resolving` gives it."""


class Left(Exception):
    """A conflict that stays one: `words` say why, and what to do. Nothing in the archive was changed."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words


# what differs


@dataclass(frozen=True, slots=True)
class Diff:
    """One conflict's comparison; `other` is where the other content is: "archive" or "file"."""

    comparison: Comparison
    other: str


def between_files(case: Conflict) -> bool:
    """Whether the other content is a file's that was not sent, so that the archive is not needed."""
    rival = case.rival
    return case.ours.reason == "other-file" and rival is not None and rival.state is InstanceState.PENDING


def diff(client: dicomweb.Client | None, case: Conflict) -> Diff:
    """Compare a content in conflict with the other one; `client` may be None `between_files`.

    Raises Left where that cannot be, and the client's errors.
    """
    source = case.ours.source
    if source is None:
        raise Left("no file holds this content any more, so that there is nothing to compare")
    try:
        with _other(client, case) as (copy, where):
            return Diff(copies.compared(source, copy), where)
    except FileChanged:
        raise Left("one of the files has changed since it was found: it is looked at again") from None
    except Unreadable as problem:
        raise Left(f"one of the two cannot be compared: {problem}") from None
    except OSError as problem:
        raise Left(f"a file could not be read: {os.strerror(problem.errno or 0)}") from None


def compared(client: dicomweb.Client | None, case: Conflict, take: Take) -> Likeness | Left:
    """Compare, and record how like the contents are; gives why not where that cannot be told."""
    try:
        likeness = diff(client, case).comparison.likeness
    except Left as left:
        return left
    take(Resolve.one(Step.COMPARED, case.ours.instance_id, likeness.value))
    return likeness


@contextmanager
def _other(client: dicomweb.Client | None, case: Conflict) -> Iterator[tuple[BinaryIO, str]]:
    """Open the other content: of a rival that was not sent its file, else what the archive has."""
    rival = case.rival
    if client is None or (rival is not None and between_files(case)):
        if rival is None or rival.source is None:
            raise Left("the other file has left its folder")
        with (
            copies.opened(rival.source.path, rival.source.key) as descriptor,
            os.fdopen(descriptor, "rb", closefd=False) as file,
        ):
            yield file, "file"
        return
    place = _place(client, case)
    if place is None:
        raise Left("the archive does not have this instance")
    with copies.fetched(client, place) as copy:
        yield copy, "archive"


Uids = tuple[str, str, str]


def _place(client: dicomweb.Client, case: Conflict) -> Uids | None:
    """Say where the archive has something under this UID; None where it proves to have nothing."""
    sop = case.ours.sop_instance_uid
    for one in (case.ours, case.rival):
        if one is not None and client.present(one.study_instance_uid, {sop: one.series_instance_uid}):
            return one.uids
    if not client.kind.searches_across:
        return None
    for row in client.search("instances", matching={"SOPInstanceUID": sop}, limit=2):
        study, series = dicomweb.uid(row, "0020000D"), dicomweb.uid(row, "0020000E")
        if study and series and dicomweb.uid(row, "00080018") == sop:
            return study, series, sop
    return None


# keeping what the archive has


def keep_archive(client: dicomweb.Client, case: Conflict, take: Take) -> str:
    """Settle a conflict with what the archive has, once it was seen to have it; gives what was done.

    Raises Left, and DicomsyncError while the other content is on its way.
    """
    ours, place = case.ours, _place(client, case)
    if place is None:
        raise Left(
            "the archive has nothing under this UID any more, and keeping that would lose the instance; "
            "--keep folder stores the file"
        )
    if ours.reason == RESOLVING and ours.sha256 is not None:
        with copies.fetched(client, place) as copy:
            if copies.digest_of(copy, ours.preamble) == ours.sha256:
                take(Resolve.one(Step.REPLACED, ours.instance_id, ours.sha256.hex()))
                return "the file's content was in the archive already: stored"
    take(Resolve.one(Step.KEEP_ARCHIVE, ours.instance_id))
    return "the archive's content is kept; the file's is not stored"


# having the file's content stored


def keep_folder(archive: dicomweb.Archive, client: dicomweb.Client, case: Conflict, take: Take) -> str:
    """Have the file's content stored in the place of the other one, if this kind allows it.

    What the archive has is deleted only where it is, by comparison now, what this ledger has stored;
    and put back where the file's content is then refused. Gives what was done. Raises Left where
    nothing in the archive was changed; any other DicomsyncError leaves the mark that it was begun.
    """
    ours, rival = case.ours, case.rival
    due = _due(ours, _digest(ours))
    sha256 = due.sha256 or b""
    if rival is not None and rival.state is InstanceState.PENDING:
        take(Resolve.one(Step.FIRST, ours.instance_id))
        return "nothing was sent yet: the file's content is stored instead of the other one"
    attempt = _Attempt(archive, client, case, due, take)
    place = _place(client, case)
    if place is None:
        take(Resolve.one(Step.BEGIN, ours.instance_id, sha256.hex()))
        with _begun():
            return attempt.into_nothing()
    with copies.fetched(client, place) as copy:
        if copies.digest_of(copy, due.preamble) == sha256 and place == ours.uids:
            take(Resolve.one(Step.REPLACED, ours.instance_id, sha256.hex()))
            return "the archive has the file's content already: stored"
        proven = rival is not None and place == rival.uids and _is(copy, rival)
        upserts = client.kind.upsert and place == ours.uids
        if not (upserts or (proven and _deletes(client.kind))):
            raise Left(_explained(client.kind, case))
        take(Resolve.one(Step.BEGIN, ours.instance_id, sha256.hex()))
        with _begun():
            if upserts and (done := attempt.over(copy, proven=proven)):
                return done
            return attempt.instead_of(copy, place)


@contextmanager
def _begun() -> Iterator[None]:
    """Say of what goes wrong from here on how to go on."""
    try:
        yield
    except ArchiveProblem as problem:
        problem.message = f"{problem.message.rstrip('.')}. The ledger keeps it as begun."
        problem.hint = "Give the same command again: it looks at what the archive has, and goes on."
        raise


def _deletes(kind: dicomweb.Kind) -> bool:
    """Whether an instance can be deleted there so that another content may take its place."""
    return kind.delete in ("dicomweb", "rest", "operation") and kind.returns_sent_bytes is not False


def _is(copy: BinaryIO, rival: Copy) -> bool:
    return rival.sha256 is not None and copies.digest_of(copy, rival.preamble) == rival.sha256


def _explained(kind: dicomweb.Kind, case: Conflict) -> str:
    """Say why it is not ours to replace, and what a person can do."""
    if not _deletes(kind):
        why = f"{kind.words} cannot replace an instance over DICOMweb"
    elif case.rival is None:
        why = "what the archive has was not stored from here"
    else:
        why = "what the archive has is not what was stored from here"
    return f"{why}, so that nothing was changed. {_BY_HAND}"


def _digest(ours: Copy) -> bytes:
    if ours.source is None:
        raise Left("no file holds this content any more: put it back into its folder first")
    (found,) = jobs.digest(((ours.source.path, ours.source.key),))
    if not isinstance(found, bytes):
        raise Left("its file has changed, or cannot be read: nothing was changed")
    return found


def _due(ours: Copy, sha256: bytes) -> Due:
    return Due(
        ours.instance_id, *ours.uids, ours.size_bytes, ours.preamble, sha256, "", 0, 0, 0, None, ours.source
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """The archive's copy as a part, to be put back."""

    copy: BinaryIO

    @property
    def size_bytes(self) -> int:
        """Its length."""
        return self.copy.seek(0, os.SEEK_END)

    def chunks(self) -> Iterator[bytes]:
        """Give it from its beginning."""
        self.copy.seek(0)
        while chunk := self.copy.read(copies.CHUNK_BYTES):
            yield chunk


@dataclass(frozen=True, slots=True)
class _NotTaken:
    """Why the archive has not the file's content; `offered` is False where it does not know that request."""

    words: str
    offered: bool = True


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Having one content stored that was marked as begun."""

    archive: dicomweb.Archive
    client: dicomweb.Client
    case: Conflict
    due: Due
    take: Take

    def into_nothing(self) -> str:
        """Store it where the archive has nothing."""
        problem = self._store(Way.MULTIPART)
        if problem is None:
            return "stored, compared, and the same"
        if self.case.ours.reason != RESOLVING and _place(self.client, self.case) is None:
            self._undo()
            raise Left(f"the archive does not take it ({problem.words}), and has nothing under this UID")
        raise ArchiveProblem(f"The archive did not take it ({problem.words}). {self._now()}")

    def over(self, before: BinaryIO, *, proven: bool) -> str | None:
        """Store it over what is there (PUT); None where this archive knows no PUT, and it may be deleted.

        An archive that is busy, or refuses this content, is not helped by deleting what it has.
        """
        problem = self._store(Way.REPLACE)
        if problem is None:
            return "replaced in the archive; compared, and the same"
        if not self._still(before, self.case.ours.uids):
            raise ArchiveProblem(f"The archive did not replace it ({problem.words}). {self._now()}")
        if proven and not problem.offered and _deletes(self.client.kind):
            return None
        self._undo()
        ahead = "Give this command again when that is mended" if problem.offered else _BY_HAND
        raise Left(f"the archive did not replace it ({problem.words}): it has what it had. {ahead}")

    def instead_of(self, before: BinaryIO, place: Uids) -> str:
        """Delete what is there, store the file's content; where that fails, put back what was there."""
        try:
            outcome = self.client.delete(*place).outcome
        except (Refused, UsageProblem) as refusal:
            self._undo()
            raise Left(f"the archive does not let it be deleted: {refusal.message}") from None
        if outcome is dicomweb.Outcome.UNFINISHED:
            raise ArchiveProblem("The archive has begun to delete what it had, and is not done")
        problem = self._store(Way.MULTIPART)
        if problem is None:
            return "the old content was deleted and the file's stored; compared, and the same"
        if _place(self.client, self.case) is None:
            with suppress(ArchiveProblem):  # what it has then is told below
                self.client.store([_Kept(before)])
        did_not = f"the archive did not take the file's content ({problem.words})"
        if self._still(before, place):
            self._undo()
            raise Left(f"{did_not}; what it had is there again")
        raise ArchiveProblem(f"T{did_not[1:]}. {self._now()}")

    def _now(self) -> str:
        """Say what the archive has under the UID now that it went wrong."""
        if _place(self.client, self.case) is None:
            return "It has nothing under this UID now; the file is where it was"
        return "It has something under this UID that is not what it had"

    def _store(self, way: Way) -> _NotTaken | None:
        """Store it and compare; None where the archive has it now, else what went wrong."""
        came = jobs.store(self.archive, (self.due,), way)
        said = verdict([self.due] if came.sent else [], came, 0.0)
        signal = came.signal or said.signal
        offered = signal is None or signal.trouble is not Trouble.SETUP
        if self._has():
            sha256 = self.due.sha256 or b""
            self.take(Resolve.one(Step.REPLACED, self.due.instance_id, sha256.hex()))
            return None
        if came.there:
            return _NotTaken("it has another content by now")
        if came.signal is not None:
            return _NotTaken(came.signal.words, offered)
        if not said.transitions:
            return _NotTaken("the file has changed")
        change = said.transitions[0]
        stored = change.state is InstanceState.STORED
        return _NotTaken("it said so, and does not show it" if stored else in_words(change.reason), offered)

    def _has(self) -> bool:
        try:
            with copies.fetched(self.client, self.case.ours.uids) as copy:
                return copies.digest_of(copy, self.due.preamble) == self.due.sha256
        except NotThere:
            return False

    def _still(self, before: BinaryIO, place: Uids) -> bool:
        """Whether the archive has what it had."""
        try:
            with copies.fetched(self.client, place) as now:
                return copies.digest_of(now, b"") == copies.digest_of(before, b"")
        except NotThere:
            return False

    def _undo(self) -> None:
        self.take(Resolve.one(Step.UNDO, self.due.instance_id))


_BY_HAND = (
    "Compare the two (`dicomsync conflicts diff`), delete the archive's instance there if it is the wrong "
    "one, and give this command again: it then stores the file"
)

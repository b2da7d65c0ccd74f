"""What the hands do: plain functions from picklable values to values, run by an executor.

Whatever can wait on a disk, a share or the archive is here. A job decides nothing: it says what it
saw, and `rules` and the engine say what that means. None of them raises.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from dicomsync import copies, dicomweb, header
from dicomsync.copies import FileChanged
from dicomsync.dicomweb.response import Referenced, StoreResponse
from dicomsync.errors import (
    ArchiveProblem,
    BadAnswer,
    DicomsyncError,
    NoAnswer,
    NotThere,
    Refused,
    SecretProblem,
)
from dicomsync.model import Changed, Due, Header, Source, StatKey
from dicomsync.pacing import Signal, Trouble
from dicomsync.rules import Answer, Finding, signal_for
from dicomsync.scan import Sight, look

_FOUND_THERE = ("duplicate", "already-there")  # before anything of ours was sent

Digest = bytes | Changed | str
"""A SHA-256, or that the file is another one now, or what was in the way, in the system's words."""


def read_headers(files: tuple[tuple[bytes, StatKey], ...]) -> tuple[Header, ...]:
    """Read the headers of these files, each as it was when it was looked at."""
    return tuple(header.read(path, key) for path, key in files)


def digest(files: tuple[tuple[bytes, StatKey], ...]) -> tuple[Digest, ...]:
    """Take the SHA-256 of each whole file."""
    return tuple(_digest(path, key) for path, key in files)


def _digest(path: bytes, key: StatKey) -> Digest:
    seen = look((path,))[0]
    if seen != key:  # also what must not even be read, as a pipe in its place
        return seen if isinstance(seen, str) else Changed(seen)
    running = hashlib.sha256()
    try:
        for chunk in copies.chunks(path, key):
            running.update(chunk)
    except FileChanged as change:
        return Changed(change.key)
    except OSError as error:
        return os.strerror(error.errno or 0)
    return running.digest()


@dataclass(slots=True)
class FilePart:
    """One part of a store request: a file's very bytes, hashed as they go out."""

    due: Due
    source: Source
    sha256: bytes | None = None

    @property
    def size_bytes(self) -> int:
        """The part's length."""
        return self.source.key.size_bytes

    def chunks(self) -> Iterator[bytes]:
        """Read the file afresh; a second pass never gets a spent generator."""
        running = hashlib.sha256()
        self.sha256 = None
        try:
            for chunk in copies.chunks(self.source.path, self.source.key):
                running.update(chunk)
                yield chunk
        except FileChanged as change:
            raise PartChanged(self.due.instance_id, self.source.file_id, change.key) from None
        except OSError as error:
            words = os.strerror(error.errno or 0)
            raise PartChanged(self.due.instance_id, self.source.file_id, words) from None
        self.sha256 = running.digest()


class PartChanged(Exception):
    """A file of a batch cannot supply its instance: `now` is its key, None (gone) or what is in the way."""

    def __init__(self, instance_id: int, file_id: int, now: Sight) -> None:
        super().__init__()
        self.lost = Lost(instance_id, file_id, now)


@dataclass(frozen=True, slots=True)
class Lost:
    """A file that could not supply its instance, and what was seen of it."""

    instance_id: int
    file_id: int
    now: Sight


@dataclass(frozen=True, slots=True)
class Silence:
    """A request that got no answer."""

    why: str
    sent_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Stored:
    """What came of one batch. What is in `there` and `lost` was not sent; `sent` was, or in part.

    Just one of `answer` (to the store), `silence` (none to the store) and `signal` (the archive could
    not even be asked what it has; nothing was sent) says how it went; none of them if nothing was left
    to send. `seconds` is what all of it took.
    """

    there: frozenset[int] = frozenset()
    lost: tuple[Lost, ...] = ()
    sent: tuple[int, ...] = ()
    digests: tuple[tuple[int, bytes], ...] = ()
    answer: Answer | None = None
    silence: Silence | None = None
    signal: Signal | None = None
    seconds: float = field(default=0.0, compare=False)


class Way(StrEnum):
    """How a batch is stored; the daemon knows the first alone."""

    MULTIPART = "multipart"
    SINGLE_PART = "single part"  # no standard's; one instance
    REPLACE = "replace"  # over what is there: only ever because a person says so


def store(
    archive: dicomweb.Archive,
    batch: tuple[Due, ...],
    way: Way = Way.MULTIPART,
    forgot: bool = False,
    *,
    by_study: bool = False,
) -> Stored:
    """Store one study's batch in one request; where the archive hides duplicates, search first.

    So it does where the ledger `forgot` what it had sent.

    The study is put into the URL where the kind makes that a sound guard, or if `by_study` asks for it.
    Only files that are still the ones proved whole are sent. Searching first costs one request and
    keeps an archive that says "stored" while it keeps other content from being believed.
    """
    began = time.monotonic()
    came = _stored(archive, batch, way, forgot, by_study)
    return replace(came, seconds=time.monotonic() - began)


def _stored(
    archive: dicomweb.Archive, batch: tuple[Due, ...], way: Way, forgot: bool, by_study: bool
) -> Stored:
    ready, lost = _unchanged(batch)
    if not ready:
        return Stored(lost=lost)
    try:
        client = dicomweb.client_for(archive)
        kind = dicomweb.KINDS[archive.kind]
        searches = (kind.hides_duplicates or forgot) and way is not Way.REPLACE
        there = _there(client, ready) if searches else frozenset()
    except DicomsyncError as error:
        return Stored(lost=lost, signal=signal_of(error))
    parts = [FilePart(due, due.source) for due in ready if due.instance_id not in there and due.source]
    if not parts:
        return Stored(there=there, lost=lost)
    study = parts[0].due.study_instance_uid if by_study or kind.store_by_study_url else None
    answer: Answer | None = None
    silence: Silence | None = None
    try:
        got = _request(client, way, parts, study)
        answer = Answer(
            got.status, got.response, got.complete, got.sent_bytes, got.retry_after_seconds, got.excerpt
        )
    except NoAnswer as error:
        silence = Silence(error.why, error.sent_bytes, error.total_bytes)
    except PartChanged as change:
        lost = (*lost, change.lost)
        total = sum(part.size_bytes for part in parts)
        silence = Silence("local", total, total)  # some of it may have arrived: it is asked about
    except dicomweb.PartChanged:
        total = sum(part.size_bytes for part in parts)
        silence = Silence("local", total, total)
    except ArchiveProblem as error:
        return Stored(there=there, lost=lost, signal=signal_of(error))
    return Stored(
        there=there,
        lost=lost,
        sent=tuple(part.due.instance_id for part in parts),
        digests=tuple((part.due.instance_id, part.sha256) for part in parts if part.sha256),
        answer=answer,
        silence=silence,
    )


def _request(
    client: dicomweb.Client, way: Way, parts: list[FilePart], study: str | None
) -> dicomweb.StoreAnswer:
    match way:
        case Way.MULTIPART:
            return client.store(parts, study)
        case Way.SINGLE_PART:
            return client.store_single_part(parts[0], study)
        case Way.REPLACE:
            return client.upsert(parts, study)


def pretend(_archive: dicomweb.Archive, batch: tuple[Due, ...], *_more: object) -> Stored:
    """Take a batch as `store` would, read every byte of it, and send nothing: for a daemon in shadow."""
    began = time.monotonic()
    ready, lost = _unchanged(batch)
    digests = []
    for due in ready:
        taken = _digest(due.source.path, due.source.key) if due.source else ""
        if isinstance(taken, bytes):
            digests.append((due.instance_id, taken))
    sent = tuple(instance_id for instance_id, _ in digests)
    named = tuple(Referenced(due.sop_instance_uid) for due in ready if due.instance_id in sent)
    answer = Answer(200, StoreResponse(named), complete=True, sent_bytes=1) if sent else None
    seconds = time.monotonic() - began
    return Stored(lost=lost, sent=sent, digests=tuple(digests), answer=answer, seconds=seconds)


def _unchanged(batch: tuple[Due, ...]) -> tuple[list[Due], tuple[Lost, ...]]:
    """Leave out what is not on disk as it was when it was proved whole."""
    held = [(due, due.source) for due in batch if due.source is not None]
    ready, lost = [], []
    for (due, source), now in zip(held, look(tuple([source.path for _, source in held])), strict=True):
        if now == source.key:
            ready.append(due)
        else:
            lost.append(Lost(due.instance_id, source.file_id, now))
    return ready, tuple(lost)


def _there(client: dicomweb.Client, batch: list[Due]) -> frozenset[int]:
    wanted = {due.sop_instance_uid: due.series_instance_uid for due in batch}
    there = client.present(batch[0].study_instance_uid, wanted)
    return frozenset(due.instance_id for due in batch if due.sop_instance_uid in there)


def signal_of(error: DicomsyncError) -> Signal:
    """Say what an error that stopped a request tells of the archive, in words fit for a log."""
    match error:
        case NoAnswer(why="unreachable"):
            return Signal(Trouble.UNREACHABLE, error.message)
        case NoAnswer(why=why):
            return Signal(
                Trouble.FAILING, "no answer in time" if why == "timeout" else "the connection broke"
            )
        case Refused(status=status, retry_after_seconds=after):
            signal = signal_for(status, after)
            return signal if signal.trouble is not Trouble.NONE else Signal(Trouble.SETUP, f"status {status}")
        case BadAnswer():
            return Signal(Trouble.FAILING, "its answer is not DICOMweb: a proxy's page?")
        case SecretProblem():
            return Signal(Trouble.AUTH, error.message)
    return Signal(Trouble.SETUP, error.message)


@dataclass(frozen=True, slots=True)
class Found:
    """What asking about one instance found.

    `sha256` is of our own file, where it was read for this; `lost` says that it could not be.
    """

    instance_id: int
    finding: Finding
    sha256: bytes | None = None
    lost: Lost | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking about a batch."""

    found: tuple[Found, ...]
    signal: Signal = field(default_factory=Signal)


def ask(archive: dicomweb.Archive, batch: tuple[Due, ...]) -> Asked:
    """Find out which instances of one study the archive has, and whether they are the same as ours."""
    seen = find(archive, batch)
    there = {one.instance_id for one in seen.found if one.finding is Finding.PRESENT}
    compared = compare(archive, tuple(due for due in batch if due.instance_id in there))
    by_id = {one.instance_id: one for one in (*seen.found, *compared.found)}
    signal = compared.signal if seen.signal.trouble is Trouble.NONE else seen.signal
    return Asked(tuple(by_id[due.instance_id] for due in batch), signal)


def find(archive: dicomweb.Archive, batch: tuple[Due, ...]) -> Asked:
    """Find out which instances of one study the archive has."""
    try:
        there = _there(dicomweb.client_for(archive), list(batch))
    except DicomsyncError as error:
        return Asked(tuple(Found(due.instance_id, Finding.FAILED) for due in batch), signal_of(error))
    return Asked(
        tuple(
            Found(due.instance_id, Finding.PRESENT if due.instance_id in there else Finding.ABSENT)
            for due in batch
        )
    )


def compare(archive: dicomweb.Archive, batch: tuple[Due, ...]) -> Asked:
    """Find out of instances that the archive has whether they are the same as ours."""
    found = []
    signal = Signal()
    for due in batch:
        if signal.trouble is not Trouble.NONE:  # do not go on asking an archive that just broke off
            found.append(Found(due.instance_id, Finding.FAILED))
        else:
            client = dicomweb.client_for(archive)
            one, signal = _compare(client, dicomweb.KINDS[archive.kind], due)
            found.append(one)
    return Asked(tuple(found), signal)


def _compare(client: dicomweb.Client, kind: dicomweb.Kind, due: Due) -> tuple[Found, Signal]:
    """Compare the archive's copy with ours from byte 128 on (some archives zero the preamble).

    Our SHA-256 is of the whole file, so the archive's copy is hashed with our preamble in front.
    """
    ours = due.sha256
    if ours is None and due.source is not None:
        taken = _digest(due.source.path, due.source.key)
        if not isinstance(taken, bytes):
            now = taken.key if isinstance(taken, Changed) else taken
            lost = Lost(due.instance_id, due.source.file_id, now)
            return Found(due.instance_id, Finding.UNREAD, lost=lost), Signal()
        ours = taken
    if ours is None:
        return Found(due.instance_id, Finding.UNREAD), Signal()
    try:
        if kind.returns_sent_bytes:
            theirs, size_bytes = copies.remote_digest(client, _uids(due), due.preamble)
            same = theirs == ours and size_bytes == due.size_bytes
            finding = Finding.EQUAL if same else Finding.DIFFERENT
        else:
            finding = _compare_rewritten(client, due, ours)
            if finding is Finding.AGREES and kind.returns_sent_bytes is None and due.reason in _FOUND_THERE:
                finding = Finding.DIFFERENT  # it is not known to rewrite: somebody else's file, then
    except NotThere:
        finding = Finding.ABSENT
    except Refused as error:
        if error.status not in (400, 403, 406):
            return Found(due.instance_id, Finding.FAILED, ours), signal_of(error)
        finding = Finding.INCOMPARABLE  # this account, or this archive, does not give it out
    except DicomsyncError as error:
        return Found(due.instance_id, Finding.FAILED, ours), signal_of(error)
    except OSError:  # no room for the archive's copy, or our own disk
        finding = Finding.FAILED
    return Found(due.instance_id, finding, ours), Signal()


def _uids(due: Due) -> tuple[str, str, str]:
    return due.study_instance_uid, due.series_instance_uid, due.sop_instance_uid


def _compare_rewritten(client: dicomweb.Client, due: Due, ours: bytes) -> Finding:
    """Compare with an archive that may rewrite what it stores: bytes first, then the datasets."""
    with copies.fetched(client, _uids(due)) as copy:
        if copies.digest_of(copy, due.preamble) == ours:
            return Finding.EQUAL
        if due.source is None:
            return Finding.INCOMPARABLE
        return copies.agreement(due.source, copy)


@dataclass(frozen=True, slots=True)
class Probed:
    """What a small harmless question to the archive found."""

    kind: str = ""
    says: str = ""
    signal: Signal = field(default_factory=Signal)
    hint: str = ""


def probe(archive: dicomweb.Archive) -> Probed:
    """Find out whether the archive answers, accepts the credential and speaks DICOMweb, and which it is."""
    try:
        identified = dicomweb.client_for(archive).identify()
    except DicomsyncError as error:
        return Probed(signal=signal_of(error), hint=error.hint)
    return Probed(identified.kind, identified.says)

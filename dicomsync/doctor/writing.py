"""The write test: one harmless instance is stored, retrieved, compared and deleted, because a person asked.

It is stored as the daemon stores, and judged by the same rules; the ledger is left out of it. It is of a
study of its own, so that deleting this study deletes nothing else. Whatever may be left behind is named.
"""

from __future__ import annotations

import secrets
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from dicomsync import dicomweb, samples
from dicomsync.byhand import store as byhand
from dicomsync.byhand.store import Fate, Told
from dicomsync.dicomweb import Outcome
from dicomsync.doctor.archive import brisk
from dicomsync.doctor.check import Check, State, attempt, ok, problem, skipped
from dicomsync.words import size

STORE, RETRIEVE, COMPARE, DELETE = "test store", "test retrieve", "test compare", "test delete"
STEP_SECONDS: Final = 60.0
MUCH_BYTES: Final = 1 << 20  # far more than was stored
_ASK: Final = "Ask who runs the archive: the instance was whole, and has all that its kind of image needs."
_NOT_THERE: Final = frozenset({Fate.NOT_STORED, Fate.REFUSED, Fate.UNFIT})

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Instance:
    """The instance of one write test, with UIDs that nobody has had (PS3.5 B.2)."""

    study: str
    series: str
    sop: str
    content: bytes


def generated() -> Instance:
    """Make the instance of a new study of a new patient, both of which say what they are."""
    study, series, sop = (f"2.25.{uuid.uuid4().int}" for _ in range(3))
    patient = f"WRITE-TEST-{secrets.token_hex(4).upper()}"
    return Instance(study, series, sop, samples.harmless(study, series, sop, patient))


def untried() -> list[Check]:
    """Say that an archive that cannot be used was sent nothing."""
    return [
        skipped(name, "not tried: the archive cannot be used") for name in (STORE, RETRIEVE, COMPARE, DELETE)
    ]


def examine(archive: dicomweb.Archive) -> list[Check]:
    """Store one instance, retrieve it, compare it, delete it, and see that it is gone."""
    instance = generated()
    archive = brisk(archive)
    try:
        client = dicomweb.client_for(archive)
        told = _step(STORE, lambda: _store(archive, client, instance), _ASK)
        checks = [told if isinstance(told, Check) else _stored(told)]
        if isinstance(told, Told) and told.fate in _NOT_THERE:
            return checks + [
                skipped(name, "not tried: it was not stored") for name in (RETRIEVE, COMPARE, DELETE)
            ]
        content = _step(RETRIEVE, lambda: _retrieve(client, instance), _ASK)
        checks += _compared(content, instance, client.kind)
        gone = _step(DELETE, lambda: _delete(client, instance), "")
        return [*checks, _left(gone, instance) if isinstance(gone, Check) else _deleted(gone, instance)]
    finally:
        dicomweb.close_clients()


def _step(name: str, step: Callable[[], Found], todo: str) -> Found | Check:
    """Take one step, for a bounded time; what goes wrong is a problem, as a person wants to see it work."""
    done = attempt(name, step, STEP_SECONDS)
    if isinstance(done, Check):
        return replace(done, state=State.PROBLEM, todo=done.todo or todo)
    return done


def _store(archive: dicomweb.Archive, client: dicomweb.Client, instance: Instance) -> Told:
    kind = client.identify().kind
    with tempfile.TemporaryDirectory(prefix="dicomsync-") as directory:
        path = Path(directory) / "write-test.dcm"
        path.write_bytes(instance.content)
        (told,) = byhand.store(replace(archive, kind=kind), [path])
    return told


def _stored(told: Told) -> Check:
    if told.fate is Fate.STORED:
        return ok(STORE, f"one generated instance was stored ({size(told.size_bytes)})")
    return problem(STORE, f"{told.fate.value}: {told.words}", _ASK)


def _retrieve(client: dicomweb.Client, instance: Instance) -> bytes:
    content = bytearray()
    with client.instance(instance.study, instance.series, instance.sop) as chunks:
        for chunk in chunks:
            content += chunk
            if len(content) > MUCH_BYTES:
                break
    return bytes(content)


def _compared(content: bytes | Check, instance: Instance, kind: dicomweb.Kind) -> list[Check]:
    """Compare from byte 128 on: some archives zero the preamble."""
    if isinstance(content, Check):
        return [content, skipped(COMPARE, "not tried: it could not be retrieved")]
    retrieved = ok(RETRIEVE, f"it was retrieved ({size(len(content))})")
    if content[128:] == instance.content[128:]:
        return [retrieved, ok(COMPARE, "the same bytes, after the preamble")]
    if kind.returns_sent_bytes is False:
        return [
            retrieved,
            skipped(COMPARE, f"no sense in it: {kind.words} gives other bytes than it was sent"),
        ]
    todo = "Something changes images on their way: what the archive has can never be proved the same."
    return [retrieved, problem(COMPARE, "the archive gives other bytes than it was sent", todo)]


def _delete(client: dicomweb.Client, instance: Instance) -> tuple[Outcome, bool]:
    """Delete it in the archive's own way; gives what that did, and whether it is there all the same."""
    outcome = client.delete(instance.study, wait_seconds=STEP_SECONDS / 3).outcome
    return outcome, bool(client.present(instance.study, {instance.sop: instance.series}))


def _deleted(gone: tuple[Outcome, bool], instance: Instance) -> Check:
    match gone:
        case (Outcome.DELETED, False):
            return ok(DELETE, "it was deleted, and is gone")
        case (Outcome.REJECTED, False):
            return ok(DELETE, "it was hidden by a rejection note; the archive may keep its bytes")
        case (Outcome.ABSENT, False):
            words = "the archive says that it was not there"
        case (Outcome.UNFINISHED, _):
            words = "the archive has begun to delete it, and is not done"
        case _:
            words = "the archive says that it was deleted, and it is still there"
    return _left(problem(DELETE, words), instance)


def _left(check: Check, instance: Instance) -> Check:
    """Name what may be left behind, and what was in the way."""
    remove = f"It may be left there: remove study {instance.study} (DICOMSYNC^WRITE TEST) by hand."
    return replace(check, todo=f"{remove} {check.todo}".strip())

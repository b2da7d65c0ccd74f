"""What a command may ask of the one who has the ledger: values, and what each does to it.

A command that finds the ledger free does it itself; else the daemon does it, in its loop. Both call the
same function with the same value.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from dicomsync import mirror_orders
from dicomsync.errors import DicomsyncError, UsageProblem
from dicomsync.ledger import Ledger, Scope
from dicomsync.mirror_orders import MirrorOrder
from dicomsync.model import InstanceState, Seen, Sighting
from dicomsync.resolution import Resolve, Step


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again: `uids` of instances or studies, all rejected ones (of one `reason`), all that is held."""

    uids: tuple[str, ...] = ()
    rejected: bool = False
    reason: str | None = None
    held: bool = False


@dataclass(frozen=True, slots=True)
class Retried:
    """What a retry has done: instances that will be stored again, or sooner; files to be looked at again.

    `left` counts what was meant and stayed as it is, by why. `directories` are those of the held files.
    """

    instances: int = 0
    sooner: int = 0
    files: int = 0
    left: Mapping[str, int] = field(default_factory=dict)
    directories: tuple[bytes, ...] = ()


_LAST_MOMENT = 253402300799.0  # the end of the year 9999: no clock says more
_NO_BYTES = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # surrogates that stand for no byte of a name

NO_FILE = "rejected, and without a file to send or with its UID taken by another content"
LEFT = {
    InstanceState.CONFLICT: "in conflict: no content is sent over another",
    InstanceState.MISSED: "missed: its file must come back first",
    InstanceState.UNCONFIRMED: "being asked about: sent again only if the archive proves not to have it",
    InstanceState.SENDING: "on its way",
    InstanceState.STORED: "stored",
}


def retry(ledger: Ledger, wanted: Retry, at: float, wall: float) -> Retried:
    """Let what is wanted be tried again, from `at` on; belongs inside a transaction.

    Raises UsageProblem for a UID that the ledger does not know: then nothing was changed.
    """
    named = [_scope(ledger, uid) for uid in wanted.uids]
    left: Counter[str] = Counter()
    instances = sooner = 0
    for scope in named:
        sooner += ledger.hurry(scope, at)
        for state, n in ledger.counted(scope).items():
            left[LEFT.get(InstanceState(state), "")] += n
    for scope in [*named, *([Scope(reason=wanted.reason)] if wanted.rejected else [])]:
        instances += ledger.rejected_again(scope, at, wall)
        left[NO_FILE] += ledger.counted(scope).get(InstanceState.REJECTED, 0)
    files, directories = ledger.held_again() if wanted.held else (0, [])
    told = {words: n for words, n in left.items() if words and n}
    return Retried(instances, sooner, files, told, tuple(directories))


def _scope(ledger: Ledger, uid: str) -> Scope:
    study_id = ledger.study_known(uid)
    scope = Scope(sop_instance_uid=uid) if study_id is None else Scope(study_id=study_id)
    if study_id is None and not ledger.counted(scope):
        raise UsageProblem(
            "The ledger knows no study and no instance with one of these UIDs; nothing was changed.",
            hint="`dicomsync explain FILE` shows the UIDs of a file.",
        )
    return scope


@dataclass(frozen=True, slots=True)
class Backfill:
    """Look into `paths` (none: all folders) at once, and take what names `include` and `exclude` allow."""

    archive: str
    paths: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Send and ask nothing more about this study, series or instance: a person is having it deleted."""

    study: str
    series: str | None = None
    sop: str | None = None


@dataclass(frozen=True, slots=True)
class Settle:
    """What was withdrawn is deleted now, or (the archive did not do it) is again what it was."""

    study: str
    series: str | None
    sop: str | None
    deleted: bool


def withdraw(ledger: Ledger, order: Withdraw) -> int:
    """Mark what is to be deleted; gives how many instances the ledger knows of it.

    Raises DicomsyncError (exit code 5) while some of it is on its way: then nothing was changed.
    """
    scope = _deleted_scope(ledger, order)
    if scope is None:
        return 0
    if ledger.counted(scope).get(InstanceState.SENDING, 0):
        raise being_sent()
    return ledger.mark_deleting(scope)


def settle(ledger: Ledger, order: Settle, wall: float) -> int:
    """Record what came of it; gives how many instances that was about."""
    scope = _deleted_scope(ledger, order)
    return 0 if scope is None else ledger.settle_deleting(scope, wall, deleted=order.deleted)


def being_sent() -> DicomsyncError:
    """Give the error for a study that has a request on its way."""
    problem = DicomsyncError(
        "Some of it is being sent, or asked about, just now; nothing was deleted.",
        hint="Try again in a moment.",
    )
    problem.exit_code = 5
    return problem


def _deleted_scope(ledger: Ledger, order: Withdraw | Settle) -> Scope | None:
    study_id = ledger.study_known(order.study)
    return None if study_id is None else Scope(study_id, order.series, order.sop)


@dataclass(frozen=True, slots=True)
class Saw:
    """What the archive, asked at that wall time, had of what is stored."""

    asked_at: float
    seen: tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class Heal:
    """Store these again, by row: a person says so, and the archive was twice found not to have them."""

    instance_ids: tuple[int, ...]


def saw(ledger: Ledger, order: Saw) -> int:
    """Record what was seen; gives how many of it are new alarms. Nothing is sent because of it."""
    return ledger.saw(order.seen, order.asked_at).total()


def heal(ledger: Ledger, order: Heal, at: float, wall: float) -> int:
    """Put back to pending what is missing and a file still holds; gives how many instances that are."""
    return ledger.heal(order.instance_ids, at, wall)


Order = Retry | Backfill | Withdraw | Settle | Saw | Heal | Resolve | MirrorOrder


def to_message(order: Order) -> dict[str, Any]:
    """Give an order as plain values."""
    if isinstance(order, MirrorOrder):
        return mirror_orders.to_message(order)
    if isinstance(order, Saw):
        seen = [[s.instance_id, s.sighting.value, (s.sha256 or b"").hex()] for s in order.seen]
        return {"order": "saw", "asked_at": order.asked_at, "seen": seen}
    return {"order": type(order).__name__.lower(), **asdict(order)}


def from_message(message: Mapping[str, Any]) -> Order:
    """Read an order that came from outside; UsageProblem where it is none."""
    match message:
        case {
            "order": "retry",
            "uids": list(uids),
            "rejected": bool(rejected),
            "reason": str() | None as reason,
            "held": bool(held),
        } if _texts(uids):
            return Retry(tuple(uids), rejected, reason, held)
        case {
            "order": "backfill",
            "archive": str(archive),
            "paths": list(paths),
            "include": list(include),
            "exclude": list(exclude),
        } if _texts([*paths, *include, *exclude]):
            return Backfill(archive, tuple(paths), tuple(include), tuple(exclude))
        case {
            "order": "withdraw",
            "study": str(study),
            "series": str() | None as series,
            "sop": str() | None as sop,
        }:
            return Withdraw(study, series, sop)
        case {
            "order": "settle",
            "study": str(study),
            "series": str() | None as series,
            "sop": str() | None as sop,
            "deleted": bool(deleted),
        }:
            return Settle(study, series, sop, deleted)
        case {"order": "resolve", "step": str(step), "of": list(of)} if _pairs(step, of):
            return Resolve(step, tuple((int(row), str(word)) for row, word in of))
        case {"order": "saw", "asked_at": int() | float() as asked_at, "seen": list(seen)} if (
            0 <= asked_at <= _LAST_MOMENT
        ):
            return Saw(float(asked_at), tuple(map(_seen, seen)))
        case {"order": "heal", "instance_ids": list(ids)} if all(map(_is_row, ids)):
            return Heal(tuple(ids))
    if (order := mirror_orders.from_message(message)) is not None:
        return order
    raise _not_understood()


def _seen(one: object) -> Seen:
    match one:
        case [int(instance_id), str(sighting), str(digest)] if _is_row(instance_id) and sighting in list(
            Sighting
        ):
            with suppress(ValueError):
                return Seen(instance_id, Sighting(sighting), bytes.fromhex(digest) or None)
    raise _not_understood()


def _is_row(one: object) -> bool:
    return isinstance(one, int) and 0 < one < 2**63  # what SQLite can take


def _not_understood() -> UsageProblem:
    return UsageProblem(
        "The daemon does not understand this command; nothing was done.",
        hint="Are the command and the daemon of the same version?",
    )


def _texts(values: Sequence[object]) -> bool:
    """Say whether all are texts that came from bytes, as names of files do (PEP 383)."""
    return all(
        isinstance(value, str) and "\0" not in value and not _NO_BYTES.search(value) for value in values
    )


def _pairs(step: str, of: Sequence[object]) -> bool:
    word = re.compile("[0-9a-f]{64}" if step in (Step.BEGIN, Step.REPLACED) else "[a-z]*")
    return step in set(Step) and all(
        isinstance(one, list)
        and len(one) == 2
        and type(one[0]) is int
        and _is_row(one[0])
        and isinstance(one[1], str)
        and word.fullmatch(one[1])
        for one in of
    )

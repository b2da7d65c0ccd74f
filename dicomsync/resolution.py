"""What a person decides about conflicts: the steps, and what each does to the ledger.

Replacing what the archive has takes two: `begin` before the archive is asked, then `replaced` or `undo`.
What is in between shows as begun, and the same command goes on with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dicomsync.errors import DicomsyncError
from dicomsync.ledger import Ledger
from dicomsync.model import InstanceState


class Step(StrEnum):
    """What is recorded of a conflict; beside each the word that goes with it."""

    COMPARED = "compared"  # how like the contents are
    KEEP_ARCHIVE = "keep archive"
    BEGIN = "begin"  # the SHA-256 of the file whose content is to be stored, in hexadecimal
    UNDO = "undo"
    REPLACED = "replaced"  # the SHA-256 of what the archive has now, in hexadecimal
    FIRST = "first"  # the other content was not sent yet: this one goes instead


@dataclass(frozen=True, slots=True)
class Resolve:
    """Take this step for these instances, by row, each with its word ("" where there is none)."""

    step: str
    of: tuple[tuple[int, str], ...]

    @classmethod
    def one(cls, step: Step, instance_id: int, word: str = "") -> Resolve:
        """Take a step for one instance."""
        return cls(step.value, ((instance_id, word),))


_UNSENT = frozenset({InstanceState.PENDING})
_MOVING = frozenset(
    {InstanceState.SENDING, InstanceState.UNCONFIRMED, InstanceState.LEAVING, InstanceState.DELETING}
)
_NOT_WHILE = {
    Step.KEEP_ARCHIVE: _MOVING | _UNSENT,
    Step.BEGIN: _MOVING | _UNSENT,
    Step.FIRST: frozenset({*InstanceState} - _UNSENT),
}


def studies(ledger: Ledger, order: Resolve) -> frozenset[str]:
    """Say whose requests must not be on their way while this step is taken."""
    found = (ledger.in_conflict(instance_id) for instance_id, _ in order.of)
    return frozenset(one[0] for one in found if one is not None)


def resolve(ledger: Ledger, order: Resolve, at: float, wall: float) -> int:
    """Take a step; gives for how many instances: what is no conflict any more is left as it is.

    Belongs inside a transaction. Raises DicomsyncError (exit code 5) while another content under one of
    these UIDs is on its way: then nothing was changed.
    """
    step = Step(order.step)
    standing = {one: ledger.in_conflict(one) for one, _ in order.of}
    if any(found and found[1] in _NOT_WHILE.get(step, ()) for found in standing.values()):
        raise moving()
    taken = [(one, word) for one, word in order.of if standing[one] is not None]
    for instance_id, word in taken:
        match step:
            case Step.COMPARED:
                ledger.learn_likeness(instance_id, word)
            case Step.KEEP_ARCHIVE:
                ledger.supersede(instance_id, wall)
            case Step.BEGIN:
                ledger.learn_sha256(instance_id, bytes.fromhex(word))
                ledger.mark_resolving(instance_id)
            case Step.UNDO:
                ledger.unmark_resolving(instance_id)
            case Step.REPLACED:
                ledger.replaced(instance_id, bytes.fromhex(word), wall)
            case Step.FIRST:
                ledger.goes_first(instance_id, at, wall)
    return len(taken)


def moving() -> DicomsyncError:
    """Give the error for a UID under which something is on its way."""
    problem = DicomsyncError(
        "Another content under this UID is still to be sent, being asked about or being deleted just now; "
        "nothing was changed.",
        hint="Try again when `dicomsync explain` says that it is stored.",
    )
    problem.exit_code = 5
    return problem

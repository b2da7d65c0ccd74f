"""Whose is this SOP Instance UID? One content per UID goes to the archive, and no second. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeGuard

from dicomsync.model import CLAIMING, InstanceState, Whole


@dataclass(frozen=True, slots=True)
class Known:
    """An instance the ledger already has under this UID, as seen from the file that is asked about.

    `sha256` is None while its bytes were never read; `path` is the smallest of the *other* paths that
    hold it now, None if there is none. `yielded` says that it is a conflict only because another
    unsent file went first, `resolving` that a person has begun to have it stored, `mirrored` that it was
    deleted only because its file had left.
    """

    instance_id: int
    state: InstanceState
    study_instance_uid: str
    series_instance_uid: str
    size_bytes: int
    sha256: bytes | None
    path: bytes | None
    yielded: bool = False
    resolving: bool = False
    mirrored: bool = False

    @property
    def lacks_file(self) -> bool:
        """Whether it is not in the archive for want of a file alone: one that comes back is stored."""
        return self.mirrored or self.state is InstanceState.MISSED


class Claim(StrEnum):
    """What a whole file means for the ledger."""

    NEW = "new"  # a new instance, due
    SAME = "same"  # one more path of a known instance: nothing is sent
    REVIVES = "revives"  # an instance thought missed, or whose deletion was mirrored, has a file again: due
    UPDATES = "updates"  # the file's own instance, not yet in the archive, has other content now
    SUPPLIES = "supplies"  # its own instance, which the archive is being asked about, has its file again
    PREVAILS = "prevails"  # the content of an instance that had yielded, by a smaller path than the other's
    DISPLACES = "displaces"  # other content, both unsent: the smaller path goes, the other conflicts
    ASKS = "asks"  # other content than one the archive refused for its own: it may be just that one
    CONFLICTS = "conflicts"  # other content under a UID that is taken: a person decides
    COMPARE = "compare"  # cannot be told without reading the bytes of both
    LEAVES = "leaves"  # the same, but the file is of another study or series now: that one is asked alone
    LATER = "later"  # the archive is being asked about this UID: wait for the answer


@dataclass(frozen=True, slots=True)
class Decision:
    """The claim, and the known instance it is about, if any."""

    claim: Claim
    instance_id: int | None = None


def decide(
    new: Whole, path: bytes, sha256: bytes | None, known: Sequence[Known], own: int | None = None
) -> Decision:
    """Say what the file at `path`, found whole, is to the instances known under its UID.

    `own` is the instance this very file held until now. Contents are compared by SHA-256, and only
    where sizes and UIDs do not already tell them apart. What the archive has, or may have, stands;
    among the unsent the smallest path does, so that the order of a listing decides nothing.
    """
    taken = next((k for k in known if k.state in CLAIMING), None)
    alone = taken is not None and taken.instance_id == own and taken.path is None
    stale = taken if alone and taken and taken.state is InstanceState.PENDING else None
    if alone and taken and taken.state is InstanceState.UNCONFIRMED and taken.sha256 is None:
        claim = Claim.SUPPLIES if _same_place(new, taken) else Claim.LEAVES
        return Decision(claim, taken.instance_id)
    if stale is None and _on_the_move(taken):
        return Decision(Claim.LATER, taken.instance_id)
    for other in known:
        if other is stale or (taken is not None and other.lacks_file):
            continue  # what was missed cannot come back while another content has its place
        alike = _alike(new, sha256, other)
        if alike is None:
            return Decision(Claim.COMPARE, other.instance_id)
        if alike:
            return Decision(_claim_of_equal(path, other, taken), other.instance_id)
    if stale is not None:
        return Decision(Claim.UPDATES, stale.instance_id)
    return _contest(path, known, taken)


def _claim_of_equal(path: bytes, other: Known, taken: Known | None) -> Claim:
    """Say what a file with the content of a known instance is to it."""
    if taken is None:
        return Claim.REVIVES if other.lacks_file else Claim.SAME
    if other.yielded and taken.state is InstanceState.PENDING and (taken.path is None or path < taken.path):
        return Claim.PREVAILS
    return Claim.SAME


def _contest(path: bytes, known: Sequence[Known], taken: Known | None) -> Decision:
    """Say what becomes of a content that is not known under a UID that may be taken."""
    if taken is None:
        refused = [k for k in known if k.state is InstanceState.CONFLICT and not k.yielded]
        begun = next((k for k in refused if k.resolving), None)
        if begun is not None:  # its request may be on the way
            return Decision(Claim.CONFLICTS, begun.instance_id)
        return Decision(Claim.ASKS, refused[0].instance_id) if refused else Decision(Claim.NEW)
    if taken.state in (InstanceState.SENDING, InstanceState.UNCONFIRMED):
        return Decision(Claim.LATER, taken.instance_id)
    if taken.state is InstanceState.PENDING and (taken.path is None or path < taken.path):
        return Decision(Claim.DISPLACES, taken.instance_id)
    return Decision(Claim.CONFLICTS, taken.instance_id)


def _on_the_move(taken: Known | None) -> TypeGuard[Known]:
    """Whether the instance that is due has lost its file for now: that one is being looked at again."""
    return (
        taken is not None
        and taken.state is InstanceState.PENDING
        and taken.path is None
        and taken.sha256 is None
    )


def _same_place(new: Whole, other: Known) -> bool:
    """Whether an archive that is asked about one is asked where it would have the other."""
    return (new.study_instance_uid, new.series_instance_uid) == (
        other.study_instance_uid,
        other.series_instance_uid,
    )


def _alike(new: Whole, sha256: bytes | None, other: Known) -> bool | None:
    """Tell whether the contents are equal; None when only the bytes can tell and were not read."""
    if other.size_bytes != new.key.size_bytes or not _same_place(new, other):
        return False
    if other.sha256 is None or sha256 is None:
        # Without a file and without a hash nothing can ever be compared. Taking the file for one that
        # was missed sends it, which loses nothing; for one a person has decided against, sends nothing.
        if other.path is None and other.sha256 is None:
            return other.state in (InstanceState.MISSED, InstanceState.DELETED, InstanceState.SUPERSEDED)
        return None
    return other.sha256 == sha256

"""Whole files into the ledger: which instance is it, does its content stand, what becomes of the others.

The decision is `claims.decide`; here is what each claim does to the ledger's rows.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dicomsync import claims
from dicomsync.claims import Claim, Decision
from dicomsync.handles import handle
from dicomsync.jobs import Digest
from dicomsync.ledger import Ledger, NewFile
from dicomsync.model import DUE, FileState, InstanceState, Moment, StatKey, Transition, Unfit, Whole
from dicomsync.work import Pace

log = logging.getLogger("dicomsync.intake")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file on its way into the ledger; `own` is the instance it held until now."""

    directory_id: int
    path: bytes
    key: StatKey
    settle_seconds: float
    file_id: int | None = None
    own: int | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Files to be hashed: that of row `of` first, then the one it is compared with."""

    of: int
    files: tuple[tuple[bytes, StatKey], ...]


class Enrolment:
    """What whole, unfit and vanished files mean for the ledger's rows."""

    def __init__(self, ledger: Ledger, pace: Pace) -> None:
        self._ledger = ledger
        self._pace = pace
        self._waiting: deque[Comparison] = deque()
        self.comparing: dict[int, tuple[Candidate, Whole, int | None]] = {}  # by file
        self.enrolled = 0
        self.enrolled_bytes = 0

    def put(
        self,
        candidate: Candidate,
        state: FileState,
        reason: str,
        now: Moment,
        *,
        instance_id: int | None = None,
        detail: str = "",
    ) -> int:
        """Record where a file is; gives its row."""
        name = os.path.basename(candidate.path)
        row = NewFile(candidate.directory_id, name, candidate.key, state, reason, detail, instance_id)
        return self._ledger.put_file(row, now.wall)

    def unfit(self, candidate: Candidate, found: Unfit, now: Moment) -> None:
        """Record a file that must not be sent, and why."""
        if found.key is not None:
            candidate = replace(candidate, key=found.key)
        file_id = self.put(candidate, found.state, found.reason, now, detail=found.detail)
        if found.state is FileState.HELD:
            log.info("%s is held: %s", handle("file", file_id), found.reason)
        if candidate.own is not None:
            self.give_up_if_fileless(candidate.own, now, "replaced")

    def vanished(self, candidate: Candidate, now: Moment) -> None:
        """Record a file that left before its header was read, or in the middle of its life."""
        if candidate.file_id is None:
            file_id = self.put(candidate, FileState.SETTLING, "fresh", now)
            candidate = replace(candidate, file_id=file_id)
        self.leave(candidate.file_id or 0, now)

    def leave(self, file_id: int, now: Moment) -> None:
        """Record that a file is proved gone: harmless, unless something of it was never stored."""
        found = self._ledger.file(file_id)
        if found is None:
            return
        directory_id, _, row = found
        unknown = row.state in (FileState.SETTLING, FileState.HELD) and row.instance_id is None
        if (
            unknown
            and row.reason != "unreadable"
            and not self._ledger.renamed_within(directory_id, row.key, file_id)
        ):
            self._ledger.move_file(file_id, FileState.MISSED, "left-early")
            self._ledger.remember("file", file_id, "missed", row.reason, now.wall)
            log.warning(
                "%s left its folder before it could be stored (%s)", handle("file", file_id), row.reason
            )
        else:
            self._ledger.move_file(file_id, FileState.GONE, "gone")
        if row.instance_id is not None:
            self.give_up_if_fileless(row.instance_id, now, "left")

    def back(self, file_id: int, instance_id: int, now: Moment) -> None:
        """Record that a file that had left is there again, the very same."""
        self._ledger.move_file(file_id, FileState.READY, "")
        if self._ledger.state_of(instance_id) is InstanceState.MISSED:
            self._become(instance_id, InstanceState.PENDING, "reappeared", now)

    def give_up_if_fileless(self, instance_id: int, now: Moment, reason: str = "left") -> bool:
        """Call an instance missed that is due and that no file holds, or is being looked at for, any more."""
        due = self._ledger.state_of(instance_id) is InstanceState.PENDING
        if not due or self._ledger.linked_files(instance_id):
            return False
        self._become(instance_id, InstanceState.MISSED, reason, now)
        self._ledger.remember("instance", instance_id, "missed", reason, now.wall)
        log.warning("%s left its folder before it could be stored", handle("instance", instance_id))
        return True

    def _become(self, instance_id: int, state: InstanceState, reason: str, now: Moment) -> None:
        change = Transition(instance_id, state, reason)
        self._ledger.move([change], now.wall, [self._pace.at(now)])

    # whole files

    def enrol(self, candidate: Candidate, whole: Whole, sha256: bytes | None, now: Moment) -> bool:
        """Take a whole file into the ledger; False where it must be looked at again later.

        A file whose UID is known is compared first: then the answer comes to `compared`.
        """
        candidate = replace(candidate, key=whole.key)
        known = self._ledger.known(whole.sop_instance_uid)
        decision = claims.decide(whole, candidate.path, sha256, known, candidate.own)
        match decision.claim:
            case Claim.LATER:
                return False
            case Claim.COMPARE:
                self._compare(candidate, whole, decision, now)
            case Claim.NEW:
                self._add(candidate, whole, sha256, InstanceState.PENDING, "", now)
            case Claim.CONFLICTS | Claim.DISPLACES:
                self._contend(candidate, whole, sha256, decision, known, now)
            case Claim.SAME | Claim.REVIVES | Claim.UPDATES:
                self._join(candidate, whole, sha256, decision, now)
        return True

    def _add(
        self,
        candidate: Candidate,
        whole: Whole,
        sha256: bytes | None,
        state: InstanceState,
        reason: str,
        now: Moment,
    ) -> int:
        at = self._pace.at(now)
        instance_id = self._ledger.add_instance(whole, state, reason, now.wall, at, sha256)
        self.put(candidate, FileState.READY, "", now, instance_id=instance_id)
        if state in DUE:
            self.enrolled += 1
            self.enrolled_bytes += whole.key.size_bytes
            self._ledger.arrived(whole.study_instance_uid, at + self._pace.caps.quiet_seconds, now.wall)
        if candidate.own is not None:
            self.give_up_if_fileless(candidate.own, now, "replaced")
        return instance_id

    def _join(
        self, candidate: Candidate, whole: Whole, sha256: bytes | None, decision: Decision, now: Moment
    ) -> None:
        """Take a file that holds a known instance: one more path, or the instance's new content."""
        instance_id = decision.instance_id or 0
        if decision.claim is not Claim.SAME:
            self._ledger.rewrite_instance(instance_id, whole, sha256, now.wall)
            self._ledger.remember("instance", instance_id, str(decision.claim), "", now.wall)
        self.put(candidate, FileState.READY, "", now, instance_id=instance_id)
        if decision.claim is not Claim.SAME:
            reason = "reappeared" if decision.claim is Claim.REVIVES else ""
            self._become(instance_id, InstanceState.PENDING, reason, now)
            at = self._pace.at(now)
            self._ledger.arrived(whole.study_instance_uid, at + self._pace.caps.quiet_seconds, now.wall)
        if candidate.own is not None and candidate.own != instance_id:
            self.give_up_if_fileless(candidate.own, now, "replaced")

    def _contend(
        self,
        candidate: Candidate,
        whole: Whole,
        sha256: bytes | None,
        decision: Decision,
        known: Sequence[claims.Known],
        now: Moment,
    ) -> None:
        """Take a file with other content under a UID that is taken: one of the two is a conflict."""
        other = decision.instance_id or 0
        if decision.claim is Claim.DISPLACES:
            self._become(other, InstanceState.CONFLICT, "other-file", now)
            conflict, pending = other, self._add(candidate, whole, sha256, InstanceState.PENDING, "", now)
            log.debug("%s goes first", handle("instance", pending))
        else:
            taken = next(one for one in known if one.instance_id == other)
            reason = "differs" if taken.state is InstanceState.STORED else "other-file"
            conflict = self._add(candidate, whole, sha256, InstanceState.CONFLICT, reason, now)
        self._ledger.remember("instance", conflict, "conflict", "", now.wall)
        log.warning(
            "%s has other content under a SOP Instance UID that is taken", handle("instance", conflict)
        )

    # comparing

    def _compare(self, candidate: Candidate, whole: Whole, decision: Decision, now: Moment) -> None:
        other = decision.instance_id or 0
        file_id = self.put(candidate, FileState.SETTLING, "comparing", now, instance_id=candidate.own)
        files = [(candidate.path, candidate.key)]
        source = None if self._ledger.has_sha256(other) else self._ledger.source(other)
        if source is not None:
            files.append((source.path, source.key))
        self.comparing[file_id] = (
            replace(candidate, file_id=file_id),
            whole,
            other if source is not None else None,
        )
        self._waiting.append(Comparison(file_id, tuple(files)))

    def next_comparison(self) -> Comparison | None:
        """Give the next files to be hashed."""
        return self._waiting.popleft() if self._waiting else None

    def compared(self, file_id: int, digests: Sequence[Digest]) -> tuple[Candidate, Whole]:
        """Record what was learnt of the other file; gives the one that is being enrolled."""
        candidate, whole, other = self.comparing.pop(file_id)
        if other is not None and isinstance(digests[1], bytes):
            self._ledger.learn_sha256(other, digests[1])
        return candidate, whole

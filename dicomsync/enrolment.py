"""Whole files into the ledger: which instance is it, does its content stand, what becomes of the others.

The decision is `claims.decide`; here is what each claim does to the ledger's rows.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dicomsync import claims, failures
from dicomsync.claims import Claim, Decision
from dicomsync.handles import handle
from dicomsync.jobs import Digest
from dicomsync.ledger import Arrival, Ledger, NewFile
from dicomsync.model import CLAIMING, DUE, FileState, InstanceState, Moment, StatKey, Transition, Unfit, Whole
from dicomsync.work import Pace

log = logging.getLogger("dicomsync.intake")


class Candidate(NamedTuple):
    """A file on its way into the ledger; `own` is the instance it held until now."""

    directory_id: int
    path: bytes
    key: StatKey
    settle_seconds: float
    file_id: int | None = None
    own: int | None = None
    returned: bool = False  # it had left, and is back the very same
    live: bool = False  # it came after its folder had been read whole
    first: bool = True  # it was found by the first pass over its folder
    place: int = 0  # what its folder was when it was listed (`Ledger.place`)
    late: bool = False  # nothing more is known to come from its directory: its study need not wait


@dataclass(frozen=True, slots=True)
class Comparison:
    """A whole file to be hashed, and with it `other_file`, that of the instance `other`, where needed."""

    candidate: Candidate
    whole: Whole
    other: int | None
    files: tuple[tuple[bytes, StatKey], ...]
    other_file: int | None = None


class Enrolment:
    """What whole, unfit and vanished files mean for the ledger's rows."""

    def __init__(self, ledger: Ledger, pace: Pace) -> None:
        self._ledger = ledger
        self._pace = pace
        self._waiting: deque[Comparison] = deque()
        self.comparing: set[bytes] = set()  # paths
        self.recorded = 0  # files that were found whole, or not
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
        self.recorded += state is not FileState.SETTLING
        if state is FileState.READY and instance_id is not None:
            self._ledger.came_back(instance_id, now.wall)
        row = NewFile(
            candidate.directory_id, name, candidate.key, state, reason, detail, instance_id, candidate.place
        )
        return self._ledger.put_file(row, now.wall)

    def standing(self, candidate: Candidate) -> Candidate:
        """Give it without its instance where that was taken out while the file was being read."""
        if candidate.own is not None and self._ledger.state_of(candidate.own) is None:
            return candidate._replace(own=None)
        return candidate

    def unfit(self, candidate: Candidate, found: Unfit, now: Moment) -> None:
        """Record a file that must not be sent, and why."""
        candidate = self.standing(candidate)
        if found.key is not None:
            candidate = candidate._replace(key=found.key)
        own = candidate.own if found.reason == "unreadable" else None  # it may be read the next time
        file_id = self.put(candidate, found.state, found.reason, now, instance_id=own, detail=found.detail)
        if found.state is FileState.HELD:
            log.info("%s is held: %s", handle("file", file_id), found.reason)
        if candidate.own is not None and own is None:
            self.give_up_if_fileless(candidate.own, now, "replaced")

    def vanished(self, candidate: Candidate, now: Moment) -> None:
        """Record a file that left before its header was read, or in the middle of its life."""
        if candidate.file_id is None:
            file_id = self.put(candidate, FileState.SETTLING, "fresh", now)
            candidate = candidate._replace(file_id=file_id)
        self.leave(candidate.file_id or 0, now)

    def leave(self, file_id: int, now: Moment) -> None:
        """Record that a file is proved gone: harmless, unless something of it was never stored."""
        found = self._ledger.file(file_id)
        if found is None:
            return
        directory_id, path, row = found
        if row.state in (FileState.GONE, FileState.MISSED):
            return  # a pass and a batch may both have found it gone
        unknown = row.state in (FileState.SETTLING, FileState.HELD) and row.instance_id is None
        if unknown and not self._ledger.renamed_within(directory_id, row.key, file_id):
            why = failures.in_words(row.reason)
            self._ledger.move_file(file_id, FileState.MISSED, "left-early", f"until then {row.state}: {why}")
            self._ledger.remember("file", file_id, "missed", row.reason, now.wall)
            log.warning(
                "%s left its folder before it could be stored (until then %s: %s)",
                handle("file", file_id),
                row.state,
                why,
            )
        else:
            self._ledger.move_file(file_id, FileState.GONE, "gone")
        if row.instance_id is not None:
            if row.state is not FileState.READY:  # it held that instance before it changed, not as it left
                self._ledger.unlink_file(file_id)
            else:
                self._ledger.note_left(row.instance_id, path, now.wall)
            self.give_up_if_fileless(row.instance_id, now, "left")

    def back(self, file_id: int, instance_id: int, now: Moment) -> bool:
        """Take a file that had left and is there again, the very same; False if it must be read anew."""
        if self._ledger.state_of(instance_id) in (InstanceState.MISSED, InstanceState.DELETED):
            return False  # another content may have its place by now
        self._ledger.move_file(file_id, FileState.READY, "")
        self._ledger.came_back(instance_id, now.wall)
        return True

    def give_up_if_fileless(self, instance_id: int, now: Moment, reason: str = "left") -> bool:
        """Take leave of an instance that no file holds, or is being looked at for, any more.

        One that is due is missed. One that was refused or stood in conflict, and whose last file was
        overwritten, is no more: a person has put something else in its place. One that was missed, and
        whose file has returned to find its UID taken, lives on as the conflict that this is.
        """
        state = self._ledger.state_of(instance_id)
        if self._ledger.linked_files(instance_id):
            return False
        settled = (InstanceState.REJECTED, InstanceState.CONFLICT)
        if (reason == "replaced" and state in settled) or (
            reason == "returned" and state is InstanceState.MISSED
        ):
            self._ledger.drop_instance(instance_id)
            return True
        if state is not InstanceState.PENDING:
            return False
        unsent = self._ledger.reason_of(instance_id) or "waiting"
        why = failures.in_words(unsent)
        self._become(instance_id, InstanceState.MISSED, reason, now, f"not stored until then: {why}")
        self._ledger.remember("instance", instance_id, "missed", unsent, now.wall)
        log.warning("%s left its folder before it could be stored (%s)", handle("instance", instance_id), why)
        return True

    def _become(
        self, instance_id: int, state: InstanceState, reason: str, now: Moment, detail: str = ""
    ) -> None:
        change = Transition(instance_id, state, reason, detail)
        self._ledger.move([change], now.wall, [self._pace.at(now)])

    # whole files

    def enrol_new(
        self, found: Sequence[tuple[Candidate, Whole]], now: Moment
    ) -> list[tuple[Candidate, Whole]]:
        """Take the whole files that are new in every way, all at once; gives the others, for `enrol`.

        That is nearly all in a backfill, at a third of the time: see `ledger.many`.
        """
        taken = self._ledger.taken(whole.sop_instance_uid for _, whole in found)
        new: dict[str, tuple[Candidate, Whole]] = {}
        others = []
        for candidate, whole in found:
            uid = whole.sop_instance_uid
            if candidate.own is None and uid not in taken and uid not in new:
                new[uid] = candidate, whole  # with nothing known, `claims` says no more than that it is new
            else:
                others.append((candidate, whole))
        arrivals = [self._arrival(candidate, whole, now) for candidate, whole in new.values()]
        self._ledger.add_arrivals(arrivals, now.wall, self._pace.at(now))
        self.recorded += len(new)
        self.enrolled += len(new)
        self.enrolled_bytes += sum(whole.key.size_bytes for _, whole in new.values())
        latest = {whole.study_instance_uid: (candidate, whole) for candidate, whole in new.values()}
        for candidate, whole in latest.values():
            self._arrived(candidate, whole, now)
        return others

    def _arrival(self, candidate: Candidate, whole: Whole, now: Moment) -> Arrival:
        name = os.path.basename(candidate.path)
        ready = NewFile(candidate.directory_id, name, candidate.key, FileState.READY, place=candidate.place)
        return Arrival(whole, ready, *self._beginning(candidate, whole, "", now), candidate.live)

    def enrol(
        self, candidate: Candidate, whole: Whole, sha256: bytes | None, now: Moment
    ) -> Candidate | None:
        """Take a whole file into the ledger; gives what must be looked at again later, if anything.

        A file whose UID is known is compared first: then the answer comes to `compared`.
        """
        candidate = self.standing(candidate)
        known = self._ledger.known(whole.sop_instance_uid, candidate.file_id)
        decision = claims.decide(whole, candidate.path, sha256, known, candidate.own)
        match decision.claim:
            case Claim.LATER:
                # What it held before had another UID: two files that have changed places must not wait
                # for each other.
                same = any(one.instance_id == candidate.own for one in known)
                return candidate if same else candidate._replace(own=None)
            case Claim.LEAVES:
                return candidate._replace(own=None)
            case Claim.COMPARE:
                self._compare(candidate, whole, decision, now)
            case Claim.NEW:
                self._add(candidate, whole, sha256, *self._beginning(candidate, whole, "", now), now)
            case Claim.ASKS:  # the archive has a content that the ledger does not know
                self._add(candidate, whole, sha256, InstanceState.UNCONFIRMED, "already-there", now)
            case Claim.CONFLICTS | Claim.DISPLACES:
                self._contend(candidate, whole, sha256, decision, known, now)
            case Claim.PREVAILS:
                self._yield(next(one.instance_id for one in known if one.state in CLAIMING), now)
                self._join(candidate, whole, sha256, decision, now)
            case Claim.SAME | Claim.REVIVES | Claim.UPDATES | Claim.SUPPLIES:
                self._join(candidate, whole, sha256, decision, now)
        return None

    def _beginning(
        self, candidate: Candidate, whole: Whole, reason: str, now: Moment
    ) -> tuple[InstanceState, str]:
        """Say where an instance begins: due, but where the ledger has lost its memory asked about first."""
        if self._ledger.doubts(whole.key.ctime_ns / 1e9, now.wall, first=candidate.first):
            return InstanceState.UNCONFIRMED, "doubted"
        return InstanceState.PENDING, reason

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
        instance_id = self._ledger.add_instance(
            whole, state, reason, now.wall, at, sha256, live=candidate.live
        )
        self.put(candidate, FileState.READY, "", now, instance_id=instance_id)
        if state in DUE:
            self.enrolled += 1
            self.enrolled_bytes += whole.key.size_bytes
            self._arrived(candidate, whole, now)
        if candidate.own is not None:
            self.give_up_if_fileless(candidate.own, now, "returned" if candidate.returned else "replaced")
        return instance_id

    def _join(
        self, candidate: Candidate, whole: Whole, sha256: bytes | None, decision: Decision, now: Moment
    ) -> None:
        """Take a file that holds a known instance: one more path, or the instance's new content."""
        instance_id, claim = decision.instance_id or 0, decision.claim
        if claim not in (Claim.SAME, Claim.PREVAILS):
            self._ledger.rewrite_instance(instance_id, whole, sha256, now.wall)
        if claim is not Claim.SAME:
            self._ledger.remember("instance", instance_id, str(claim), "", now.wall)
        self.put(candidate, FileState.READY, "", now, instance_id=instance_id)
        if claim not in (Claim.SAME, Claim.SUPPLIES):
            revived = claim is Claim.REVIVES
            begins = (
                self._beginning(candidate, whole, "reappeared", now)
                if revived
                else (InstanceState.PENDING, "")
            )
            self._become(instance_id, *begins, now)
            self._arrived(candidate, whole, now)
        if candidate.own is not None and candidate.own != instance_id:
            self.give_up_if_fileless(candidate.own, now, "replaced")

    def _arrived(self, candidate: Candidate, whole: Whole, now: Moment) -> None:
        quiet = 0.0 if candidate.late else self._pace.caps.quiet_seconds
        self._ledger.arrived(whole.study_instance_uid, self._pace.at(now) + quiet, now.wall)

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
            self._yield(other, now)
            self._add(candidate, whole, sha256, InstanceState.PENDING, "", now)
        else:
            taken = next(one for one in known if one.instance_id == other)
            reason = "other-file" if taken.state is InstanceState.PENDING else "differs"
            conflict = self._add(candidate, whole, sha256, InstanceState.CONFLICT, reason, now)
            self._tell_conflict(conflict, now)

    def _yield(self, instance_id: int, now: Moment) -> None:
        """Let an unsent instance stand back for another content under its UID, from a smaller path."""
        self._become(instance_id, InstanceState.CONFLICT, "other-file", now)
        self._tell_conflict(instance_id, now)

    def _tell_conflict(self, instance_id: int, now: Moment) -> None:
        self._ledger.remember("instance", instance_id, "conflict", "", now.wall)
        log.warning(
            "%s has other content under a SOP Instance UID that is taken", handle("instance", instance_id)
        )

    # comparing

    def _compare(self, candidate: Candidate, whole: Whole, decision: Decision, now: Moment) -> None:
        other = decision.instance_id or 0
        file_id = self.put(candidate, FileState.SETTLING, "comparing", now, instance_id=candidate.own)
        source = None if self._ledger.has_sha256(other) else self._ledger.source(other, file_id)
        files = [(candidate.path, candidate.key), *([(source.path, source.key)] if source else [])]
        known = candidate._replace(file_id=file_id)
        self.comparing.add(candidate.path)
        self._waiting.append(
            Comparison(
                known, whole, other if source else None, tuple(files), source.file_id if source else None
            )
        )

    def next_comparison(self) -> Comparison | None:
        """Give the next files to be hashed."""
        return self._waiting.popleft() if self._waiting else None

    def compared(self, comparison: Comparison, digests: Sequence[Digest]) -> None:
        """Record what was learnt of the other file."""
        self.comparing.discard(comparison.candidate.path)
        if comparison.other is not None and isinstance(digests[1], bytes):
            self._ledger.learn_sha256(comparison.other, digests[1])

"""Mirrored deletions in the loop: what is proved absent is compared, serves its grace, and goes, one by one.

Everything here runs in the engine's loop and waits on the ledger alone. What is decided is `deletion`'s,
what is proved `evidence`'s; what looks at a disk, or asks the archive, is `removal`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from dicomsync import deletion, jobs, removal
from dicomsync.deletion import Rules, Standing
from dicomsync.delivery import Delivery
from dicomsync.evidence import Evidence, Mirrored
from dicomsync.handles import handle
from dicomsync.intake import Intake
from dicomsync.ledger import Ledger, Removal, RootRow
from dicomsync.model import Folder, InstanceState, Moment
from dicomsync.pacing import Trouble
from dicomsync.removal import Prepared, Seen, Sent, Target, Where
from dicomsync.rules import Finding
from dicomsync.work import Pace, Work

log = logging.getLogger("dicomsync.mirroring")

TEND_SECONDS = 1.0  # between two thoughts of what goes next
AGAIN_SECONDS = 30.0  # after an archive that did not answer, or a trash without room
POLLS = 8  # looks after a DELETE that was taken, over about three minutes, before it counts as not done
TRASH_SECONDS = 3600.0
ORPHAN_SECONDS = 86_400.0  # a copy that is younger may be on its way into the ledger

_FOUND = {
    Finding.DIFFERENT: "differs-there",
    Finding.ABSENT: "lost-there",
    Finding.AGREES: "rewritten",
    Finding.INCOMPARABLE: "uncompared",
    Finding.UNREAD: "uncompared",
}


class Mirroring:
    """What leaves folders that mirror, followed to its end; of a backfill it does nothing at all."""

    def __init__(
        self,
        ledger: Ledger,
        delivery: Delivery,
        pace: Pace,
        rules: Rules,
        trash: bytes,
        intakes: Callable[[], Sequence[Intake]],
    ) -> None:
        self._ledger = ledger
        self._delivery = delivery
        self._pace = pace
        self._rules = rules
        self._trash = trash if rules.undo_seconds is not None else None
        self.evidence = Evidence(ledger, delivery, rules, intakes)
        self._active = False
        self._tend_at = self._ask_at = self._compare_at = self._prepare_at = float("-inf")
        self._trash_at = float("-inf")
        self._comparing = False
        self._in_vain: dict[int, float] = {}  # when a removal was last tried: others go before it
        self._busy: int | None = None  # the removal that is being prepared, deleted, or asked about
        self._intended: Target | None = None
        self._taken: dict[int, str] = {}  # what the archive said to the DELETE of a removal
        self._polls = 0
        self._unwanted: list[bytes] = []  # copies of what was not deleted after all

    def begin(self, folders: Sequence[Folder], url: str, now: Moment) -> None:
        """Take up what an earlier process left; under other conditions, evidence begins again."""
        if self._pace.once or not self._pace.sends:
            return
        self._active = self.evidence.begin(folders, url, now)

    @property
    def observes(self) -> bool:
        """Whether any folder mirrors, so that passes are to be followed."""
        return bool(self.evidence.folders)

    def next_at(self) -> float | None:
        """Say at which monotonic moment there is something to do; None where nothing ever is."""
        if not self._active:
            return None
        return min([self._tend_at, *(one.look_at for one in self.evidence.folders.values())])

    def plan(self, now: Moment) -> list[Work]:
        """Say what is to be looked at, compared, fetched, deleted or asked now."""
        if not self._active:
            return []
        works = self.evidence.plan(now)
        if self._intended is not None:
            works.append(self._delete(self._intended))
        if now.mono >= self._tend_at:
            self._tend_at = now.mono + TEND_SECONDS
            works += [*self._plan_comparison(now), *self._plan_deletion(now), *self._plan_trash(now)]
        return works

    # comparing

    def _plan_comparison(self, now: Moment) -> list[Work]:
        if self._comparing or now.mono < self._compare_at or not self._delivery.circuit.closed:
            return []
        waiting = []
        for one in self.evidence.folders.values():
            if self.evidence.row(one).frozen:
                continue
            for each in self._ledger.removals(one.root_id, stage="confirmed"):
                if self._ledger.state_of(each.due.instance_id) is not InstanceState.STORED:
                    continue
                if each.verified:
                    self._let_leave(one, each, now)
                else:
                    waiting.append((one, each))
        if not waiting:
            return []
        self._comparing = True
        one, each = min(waiting, key=lambda found: self._tried_at(found[1]))
        arguments = (self._delivery.archive, (each.due,))
        return [Work(jobs.compare, arguments, partial(self._compared, one, each.removal_id))]

    def _compared(self, one: Mirrored, removal_id: int, asked: jobs.Asked, now: Moment) -> None:
        self._comparing = False
        each = self._ledger.removal(removal_id)
        if each is None or each.stage != "confirmed":
            return
        finding = asked.found[0].finding
        if finding is Finding.EQUAL:
            self._ledger.compared(each, now.wall)
            if self._ledger.state_of(each.due.instance_id) is InstanceState.STORED:
                self._let_leave(one, each, now)
        elif finding in _FOUND:
            self.evidence.give_up(each, _FOUND[finding], now)
        else:
            self._in_vain[removal_id] = now.mono
            self._compare_at = now.mono + AGAIN_SECONDS
            self._ledger.keep_back(each, "archive-away")

    def _let_leave(self, one: Mirrored, each: Removal, now: Moment) -> None:
        row = self.evidence.row(one)
        really = row.mode == "on" and row.identity is not None
        self._ledger.let_leave(each, now.wall, really=really)

    # deleting, one at a time

    def _plan_deletion(self, now: Moment) -> list[Work]:
        if self._busy is not None or not self._delivery.circuit.closed:
            return []
        begun = self._ledger.removals(stage="deleting")
        if begun:
            if now.mono < self._ask_at:
                return []
            each = begun[0]
            self._hold(each)
            arguments = (self._delivery.archive, each.due)
            return [Work(removal.whereabouts, arguments, partial(self._asked, each))]
        if now.mono < self._prepare_at:
            return []
        for one, row, each in self._ripe():
            if work := self._prepare(one, row, each, now):
                return [work]
        return []

    def _ripe(self) -> Iterator[tuple[Mirrored, RootRow, Removal]]:
        """Give what has served its grace, the longest first; what was tried in vain after all others."""
        tried = []
        for one in self.evidence.folders.values():
            row = self.evidence.row(one)
            if row.frozen:  # there may be thousands, and all wait for the same
                continue
            for each in self._ledger.removals(one.root_id, stage="grace"):
                if each.removal_id in self._in_vain:
                    tried.append((one, row, each))
                elif self._waits(one, row, each) == "grace":
                    break  # the longest graced come first
                else:
                    yield one, row, each
        yield from sorted(tried, key=lambda found: self._tried_at(found[2]))

    def _tried_at(self, each: Removal) -> float:
        return self._in_vain.get(each.removal_id, float("-inf"))

    def _waits(self, one: Mirrored, row: RootRow, each: Removal) -> str:
        served = row.seconds - (each.graced_seconds if each.graced_seconds is not None else row.seconds)
        standing = Standing(
            enrolled=row.identity is not None,
            on=row.mode == "on",
            supported=self.evidence.deletes,
            unhealthy=row.unhealthy or ("" if one.healthy_at is not None else "unseen"),
            frozen=row.frozen,
            ledger_settled=not self._ledger.doubts_left(),
            folders_read=each.first_scan is not None and self.evidence.all_read_since(each.first_scan),
            files_known=self.evidence.known(),
            graced_seconds=served,
            study_open=self._ledger.study_open(each)
            or bool(self._delivery.traffic.about(each.due.study_instance_uid))
            or self._ledger.state_of(each.due.instance_id) is not InstanceState.LEAVING,
            archive_answers=self._delivery.circuit.closed,
        )
        return deletion.waits_for(standing, self._rules)

    def _prepare(self, one: Mirrored, row: RootRow, each: Removal, now: Moment) -> Work | None:
        """Begin the last check of what may go, or record what it waits for."""
        why = self._waits(one, row, each)
        if why != each.reason:
            self._ledger.keep_back(each, why)
        if why or row.identity is None:
            return None
        if against := self.evidence.against(one, each, Seen.ABSENT):
            self.evidence.give_up(each, against, now)
            return None
        target = Target(each.due, row.path, row.identity, tuple(self._ledger.paths_of(each.due.instance_id)))
        self._hold(each)
        used = sum(size_bytes for _, _, size_bytes, _ in self._ledger.kept_copies())
        arguments = (self._delivery.archive, target, self._trash, self._rules.undo_max_bytes - used)
        return Work(removal.prepare, arguments, partial(self._prepared, one, each, target, now.mono))

    def _hold(self, each: Removal) -> None:
        self._busy = each.removal_id
        self._delivery.traffic.hold(each.due.study_instance_uid)

    def _release(self, each: Removal) -> None:
        self._busy = None
        self._delivery.traffic.release(each.due.study_instance_uid)

    def _prepared(
        self, one: Mirrored, each: Removal, target: Target, looked_at: float, found: Prepared, now: Moment
    ) -> None:
        """Commit the intent, if after the last look everything still is as it must be."""
        self._release(each)
        if found.kept is not None:
            self._unwanted.append(found.kept[0])  # unless it goes now
        self.evidence.tick(one, looked_at, found.looked.before, now)
        self.evidence.guard(one, now)
        current, row = self._ledger.removal(each.removal_id), self.evidence.row(one)
        if current is None or current.stage != "grace":
            return
        why = removal.wrong(target, found.looked)
        against = self.evidence.against(one, current, Seen.THERE if why == "reappeared" else Seen.ABSENT)
        against = against or ("" if why else _FOUND.get(found.finding, ""))
        if against:
            self.evidence.give_up(current, against, now)
            return
        why = why or ("no-room" if found.no_room else self._waits(one, row, current))
        if not why and found.finding is not Finding.EQUAL:
            why = "archive-away"
        if why:
            self._ledger.keep_back(current, why)
            self._in_vain[current.removal_id] = now.mono
            self._prepare_at = now.mono + AGAIN_SECONDS
            return
        self._in_vain.pop(current.removal_id, None)
        self._ledger.compared(current, now.wall)
        if found.kept is not None:
            self._unwanted.remove(found.kept[0])
        if earlier := self._ledger.intend(current, found.kept, row.seconds, now.wall):
            self._unwanted.append(earlier)
        self._intended = target
        self._busy = current.removal_id

    def _delete(self, target: Target) -> Work:
        """Send the DELETE whose intent is committed with this turn."""
        self._intended = None
        removal_id = self._busy or 0
        self._delivery.traffic.hold(target.due.study_instance_uid)
        return Work(
            removal.delete, (self._delivery.archive, target), partial(self._deleted, target, removal_id)
        )

    def _deleted(self, target: Target, removal_id: int, sent: Sent, now: Moment) -> None:
        """Take what came of it; only by asking is it believed that it is gone."""
        self._busy = None
        self._delivery.traffic.release(target.due.study_instance_uid)
        each = self._ledger.removal(removal_id)
        if each is None or each.stage != "deleting":
            return
        if sent.signal.trouble is not Trouble.NONE:
            self._ask_at = now.mono + AGAIN_SECONDS
        else:
            self._ask_at = now.mono
        self._polls = 0
        if sent.sent:
            self._taken[removal_id] = sent.why
            return
        self._ledger.not_deleted(each, sent.why, now.wall)
        if not sent.supported:
            self._freeze_of(each, sent.why, now)

    def _asked(self, begun: Removal, where: Where, now: Moment) -> None:
        """Take whether the archive still has what was to be deleted."""
        self._release(begun)
        each = self._ledger.removal(begun.removal_id)
        if each is None or each.stage != "deleting":
            return
        answered = self._taken.get(each.removal_id)  # None: an earlier process asked
        self._polls += 1
        self._ask_at = now.mono + min(60.0, 2.0**self._polls)
        name = handle("instance", each.due.instance_id)
        if where is Where.GONE:
            seconds = next(row.seconds for row in self._ledger.roots() if row.root_id == each.root_id)
            self._ledger.mirrored(each, seconds, self._pace.at(now), now.wall)
            log.warning("%s was deleted from the archive, as its file was removed", name)
        elif where is Where.THERE and (answered not in ("", "unfinished") or self._polls >= POLLS):
            why = {None: "interrupted", "": "not-gone", "unfinished": "not-gone"}.get(answered, answered)
            self._ledger.not_deleted(each, why or "", now.wall)
            log.warning("%s was not deleted from the archive: %s", name, why)
            if why not in ("interrupted", "no-answer"):
                self._freeze_of(each, why or "", now)
        else:
            return
        self._taken.pop(each.removal_id, None)
        self._polls, self._ask_at = 0, now.mono

    def _freeze_of(self, each: Removal, why: str, now: Moment) -> None:
        for one in self.evidence.folders.values():
            if one.root_id == each.root_id:
                self.evidence.freeze(one, why, now)

    # the trash

    def _plan_trash(self, now: Moment) -> list[Work]:
        """Remove the copies that were kept long enough."""
        unwanted, self._unwanted = tuple(self._unwanted), []
        works = [Work(removal.forget, (unwanted,), _forgotten)] if unwanted else []
        if now.mono < self._trash_at:
            return works
        self._trash_at = now.mono + TRASH_SECONDS
        window = self._rules.undo_seconds
        old = [
            (removal_id, path)
            for removal_id, path, _, age in self._ledger.kept_copies()
            if window is not None and age > window and self._ledger.forget_copy(removal_id)
        ]
        if paths := tuple(path for _, path in old):
            works.append(Work(removal.forget, (paths,), _forgotten))
        if self._trash is not None and window is not None:
            known = frozenset(path for _, path, _, _ in self._ledger.kept_copies())
            before = now.wall - max(window, ORPHAN_SECONDS)
            works.append(Work(removal.sweep, (self._trash, known, before), _swept))
        return works


def _swept(orphans: int, now: Moment) -> None:
    """Tell what was left behind."""
    del now
    if orphans:
        log.info("%d old copies that no deletion came of were removed from the trash", orphans)


def _forgotten(gone: tuple[bool, ...], now: Moment) -> None:
    """Tell what could not be removed."""
    del now
    if not all(gone):
        log.warning("%d old copies in the trash could not be removed", len(gone) - sum(gone))

"""Mirrored deletions in the loop: absence proved twice, a grace served, one last look, one DELETE at a time.

Everything here runs in the engine's loop and waits on the ledger alone. What is decided is `deletion`'s;
what looks at a disk, or asks the archive, is `removal`'s. A folder's own clock goes on only while it is
seen to be healthy, in the monotonic time of a daemon that is up.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import dicomsync
from dicomsync import deletion, dicomweb, jobs, removal, roots
from dicomsync.deletion import FullScan, Root, Rules, Standing
from dicomsync.delivery import Delivery
from dicomsync.handles import handle
from dicomsync.intake import Intake
from dicomsync.ledger import Ledger, Removal, RootRow
from dicomsync.ledger.mirrors import CLOCK_FROM
from dicomsync.model import Folder, InstanceState, Moment
from dicomsync.pacing import Trouble
from dicomsync.passes import Pass
from dicomsync.removal import Looked, Prepared, Seen, Sent, Target, Where
from dicomsync.rules import Finding
from dicomsync.work import Pace, Work

log = logging.getLogger("dicomsync.mirroring")

LOOK_SECONDS = 30.0  # between two looks at a folder that mirrors
LONGEST_LOOK_SECONDS = 300.0  # a longer while between two looks is not counted: nobody knows what was then
JUMP_SECONDS = 300.0  # by which the two clocks may part
TEND_SECONDS = 1.0  # between two thoughts of what goes next
AGAIN_SECONDS = 30.0  # after an archive that did not answer, or a trash without room
POLLS = 8  # looks after a DELETE that was taken, over about three minutes, before it counts as not done
TRASH_SECONDS = 3600.0
JUMPED = "wall_seen"  # the fact that keeps the latest wall time, to notice a clock that went back

_FOUND = {
    Finding.DIFFERENT: "differs-there",
    Finding.ABSENT: "lost-there",
    Finding.AGREES: "rewritten",
    Finding.INCOMPARABLE: "uncompared",
    Finding.UNREAD: "uncompared",
}


@dataclass(slots=True)
class _Folder:
    """One folder that mirrors, and what is known of it at the moment; moments are monotonic."""

    folder: Folder
    root_id: int
    enrolled: Root | None
    stands_for: Root | None = None  # of one that is not enrolled: as it was seen first
    healthy_at: float | None = None  # when it was last looked at and healthy
    look_at: float = float("-inf")
    looking: bool = False
    before: tuple[str, float] = ("unseen", 0.0)  # of the pass under way: why not healthy, and its own seconds
    scan: FullScan | None = None  # a pass that is over, and not yet evidence
    candidates: frozenset[int] = field(default_factory=frozenset)
    proving: bool = False

    def unhealthy(self, seen: Root) -> str:
        """Say why the folder is not the one it was; one that is not enrolled is compared with itself."""
        if self.enrolled is not None:
            return deletion.unhealthy(self.enrolled, seen)
        plain = replace(seen, marker="", problem="" if seen.problem.startswith("marker") else seen.problem)
        if self.stands_for is None and not plain.problem:
            self.stands_for = plain
        return deletion.unhealthy(self.stands_for, plain)


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
        self._intakes = intakes
        self._folders: dict[bytes, _Folder] = {}
        self._active = False
        self._read: dict[bytes, int] = {}  # the latest pass over each folder that read all of it
        self._watched: tuple[bytes, ...] = ()
        self._tend_at = self._ask_at = self._compare_at = self._prepare_at = float("-inf")
        self._trash_at = float("-inf")
        self._comparing = False
        self._busy: int | None = None  # the removal that is being prepared, deleted, or asked about
        self._intended: Target | None = None
        self._taken: dict[int, str] = {}  # what the archive said to the DELETE of a removal
        self._polls = 0
        self._latest: Moment | None = None

    def begin(self, folders: Sequence[Folder], url: str, now: Moment) -> None:
        """Take up what an earlier process left; under other conditions, evidence begins again."""
        if self._pace.once or not self._pace.sends:
            return
        mirrors = [folder for folder in folders if folder.mirror != "off"]
        self._watched = tuple(folder.path for folder in folders)
        for folder in mirrors:
            conditions = json.dumps(
                [dicomsync.__version__, url, asdict(self._rules), _plain(folder)], sort_keys=True
            )
            row = self._ledger.mirror(folder.path, folder.mirror, conditions, now.wall)
            self._folders[folder.path] = _Folder(folder, row.root_id, row.identity)
        self._ledger.mirror_no_more([folder.path for folder in mirrors], now.wall)
        self._active = bool(self._ledger.roots())
        seen = float(self._ledger.fact(JUMPED) or 0.0)
        if self._active and now.wall < seen - JUMP_SECONDS:
            self._jumped(now, back=True)

    @property
    def observes(self) -> bool:
        """Whether any folder mirrors, so that passes are to be followed."""
        return bool(self._folders)

    def next_at(self) -> float | None:
        """Say at which monotonic moment there is something to do; None where nothing ever is."""
        if not self._active:
            return None
        return min([self._tend_at, *(one.look_at for one in self._folders.values())])

    def plan(self, now: Moment) -> list[Work]:
        """Say what is to be looked at, compared, fetched, deleted or asked now."""
        if not self._active:
            return []
        self._watch_clocks(now)
        works = [work for one in self._folders.values() for work in self._plan_folder(one, now)]
        if self._intended is not None:
            works.append(self._delete(self._intended))
        if now.mono >= self._tend_at:
            self._tend_at = now.mono + TEND_SECONDS
            works += [*self._plan_comparison(now), *self._plan_deletion(now), *self._plan_trash(now)]
        return works

    # clocks

    def _watch_clocks(self, now: Moment) -> None:
        """Begin again where the clocks part: the wall clock was set, or the machine slept."""
        before, self._latest = self._latest, now
        if before is None:
            return
        parted = (now.wall - before.wall) - (now.mono - before.mono)
        if abs(parted) > JUMP_SECONDS:
            self._jumped(now, back=parted < 0)

    def _jumped(self, now: Moment, *, back: bool) -> None:
        log.warning("the clock has jumped: what has left its folder must be proved absent anew")
        if back:
            self._ledger.distrust(CLOCK_FROM)
        self._ledger.begin_again("clock", now.wall)

    def _tick(self, one: _Folder, looked_at: float, seen: Root, now: Moment) -> str:
        """Let a folder's clock go on after a look that was begun then; gives why it is not healthy."""
        problem = one.unhealthy(seen)
        since, served = one.healthy_at, 0.0
        if problem:
            one.healthy_at = None
        else:
            if since is not None and 0.0 < looked_at - since <= LONGEST_LOOK_SECONDS:
                served = looked_at - since
            one.healthy_at = looked_at if since is None else max(since, looked_at)
        row = self._row(one)
        if problem != row.unhealthy:
            self._tell(one, problem or "healthy", now)
        self._ledger.tick(one.root_id, served, problem)
        self._ledger.note_nested(row, seen.nested)
        self._ledger.set_fact(JUMPED, str(now.wall))
        one.enrolled = self._row(one).identity
        return problem

    def _tell(self, one: _Folder, why: str, now: Moment) -> None:
        number = self._ledger.folder_row(one.folder.path)
        if number is not None:
            self._ledger.remember("folder", number, "deletions", why, now.wall)
            level = logging.INFO if why in ("healthy", "not-enrolled") else logging.WARNING
            log.log(level, "mirrored deletions of %s: %s", handle("folder", number), why)

    def _row(self, one: _Folder) -> RootRow:
        return next(row for row in self._ledger.roots() if row.root_id == one.root_id)

    # evidence

    def enrolled(self) -> None:
        """Take note that a folder was enrolled: by the next look it is compared with what is recorded."""
        for one in self._folders.values():
            row = self._row(one)
            one.enrolled, one.healthy_at, one.scan = row.identity, None, None
            one.before, one.look_at = ("unseen", 0.0), float("-inf")

    def before(self, path: bytes, now: Moment) -> Work | None:
        """Give the look that comes before a full pass over a folder; None where none is needed."""
        one = self._folders.get(path)
        if one is None:
            return None
        one.before = ("unseen", 0.0)
        return Work(roots.look, (path,), partial(self._looked_before, one, now.mono))

    def _looked_before(self, one: _Folder, looked_at: float, seen: Root, now: Moment) -> None:
        problem = self._tick(one, looked_at, seen, now)
        one.before = (problem, self._row(one).seconds)

    def ended(self, path: bytes, passed: Pass, now: Moment) -> None:
        """Take a full pass that is over, of any folder."""
        del now
        if not passed.problems and not passed.lost:
            self._read[path] = passed.number.number
        one = self._folders.get(path)
        if one is None:
            return
        problems = passed.problems + bool(passed.lost)
        one.scan = FullScan(passed.number.number, one.before[1], problems, passed.root, one.before[0], "")
        one.candidates = frozenset(each.removal_id for each in self._ledger.removals(one.root_id))
        one.before = ("unseen", 0.0)

    def _plan_folder(self, one: _Folder, now: Moment) -> Iterator[Work]:
        if now.mono >= one.look_at and not one.looking:
            one.looking = True
            yield Work(roots.look, (one.folder.path,), partial(self._looked_at, one, now.mono))
        if one.scan is None or one.proving or not self._known():
            return
        waiting = [
            each
            for each in self._ledger.removals(one.root_id)
            if each.removal_id in one.candidates and each.stage != "deleting"
        ]
        scan, one.scan = one.scan, None
        if waiting:
            one.proving = True
            wanted = tuple(tuple(self._ledger.paths_of(each.due.instance_id)) for each in waiting)
            ids = [each.removal_id for each in waiting]
            record = partial(self._proved, one, scan, ids, now.mono)
            yield Work(removal.look_for, (one.folder.path, wanted), record)
        else:
            self._guard(one, now)

    def _known(self) -> bool:
        """Whether it is known of every file that was found anywhere what it holds."""
        return all(intake.settled for intake in self._intakes()) and not self._ledger.contents_unknown()

    def _looked_at(self, one: _Folder, looked_at: float, seen: Root, now: Moment) -> None:
        one.looking = False
        rules = self._rules
        often = min(LOOK_SECONDS, rules.grace_seconds / 10, rules.confirm_after_seconds / 4)
        one.look_at = now.mono + max(TEND_SECONDS / 2, often)
        self._tick(one, looked_at, seen, now)

    def _proved(
        self,
        one: _Folder,
        scan: FullScan,
        ids: Sequence[int],
        looked_at: float,
        looked: Looked,
        now: Moment,
    ) -> None:
        """Take what was seen of the files that a pass did not come by."""
        one.proving = False
        after = self._tick(one, looked_at, looked.before, now) or one.unhealthy(looked.after)
        scan = replace(scan, after=after)
        if Seen.UNSEEN in looked.seen or deletion.proves_nothing(scan, one.enrolled or one.stands_for):
            return
        over = self._row(one).seconds + (now.mono - looked_at)
        for removal_id, seen, gone in zip(ids, looked.seen, looked.directories_gone, strict=True):
            each = self._ledger.removal(removal_id)
            if each is None or each.stage == "deleting":
                continue
            if why := self._against(one, each, seen):
                self._give_up(each, why, now)
            else:
                self._advance(each, scan, over, now, directory_gone=gone)
        self._guard(one, now)

    def _against(self, one: _Folder, each: Removal, seen: Seen) -> str:
        """Say why nothing comes of a removal; "" if something still may."""
        if self._ledger.held_elsewhere(each):
            return "elsewhere"
        if seen is Seen.THERE:
            return "reappeared"
        left = self._ledger.left(each, self._row(one))
        return deletion.ineligible(left, one.folder.delete_within_seconds)

    def _advance(
        self, each: Removal, scan: FullScan, over: float, now: Moment, *, directory_gone: bool
    ) -> None:
        self._ledger.still_absent(each, directory_gone=directory_gone)
        if each.first_scan is None or each.first_seconds is None:
            self._ledger.proved_once(each, scan.number, over, directory_gone=directory_gone)
        elif (
            each.stage == "absent"
            and self._all_read_since(each.first_scan)
            and deletion.confirmed(scan, each.first_scan, each.first_seconds, self._rules)
        ):
            self._ledger.proved_again(each, over, now.wall)

    def _all_read_since(self, number: int) -> bool:
        return all(self._read.get(path, 0) > number for path in self._watched)

    def _give_up(self, each: Removal, why: str, now: Moment) -> None:
        self._ledger.give_up(each, why, now.wall)
        log.info("%s stays in the archive: %s", handle("instance", each.due.instance_id), why)

    # guards

    def _guard(self, one: _Folder, now: Moment) -> None:
        """Freeze a folder's deletions where a guard is tripped; only a person lets them go on."""
        row = self._row(one)
        waiting = self._ledger.removals(one.root_id)
        since = row.seconds - deletion.WINDOW_SECONDS
        counted = [
            each
            for each in waiting
            if not each.approved and each.first_seconds is not None and each.first_seconds > since
        ]
        if row.frozen:
            if not waiting:
                self._ledger.thaw(one.root_id)
                self._tell(one, "nothing-left", now)
            return
        if not counted:
            return
        why = deletion.guard(
            len(counted) + self._ledger.gone_lately(row),
            self._ledger.live_in(row),
            self._rules,
            directory_gone=any(each.directory_gone for each in counted),
        )
        if not why and dicomweb.KINDS[self._kind()].delete == "none":
            why = "cannot-delete"
        if why:
            self._freeze(one, why, now)

    def _freeze(self, one: _Folder, why: str, now: Moment) -> None:
        self._ledger.freeze(one.root_id, why, now.wall)
        number = self._ledger.folder_row(one.folder.path)
        if number is not None:
            self._ledger.remember("folder", number, "deletions-frozen", why, now.wall)
            log.error(
                "mirrored deletions of %s are frozen (%s): nothing of it is deleted until a person has looked"
                " (`dicomsync deletions list`)",
                handle("folder", number),
                why,
            )

    def _kind(self) -> str:
        kind = self._delivery.archive.kind
        return kind if kind in dicomweb.KINDS else "generic"

    # comparing

    def _plan_comparison(self, now: Moment) -> list[Work]:
        if self._comparing or now.mono < self._compare_at or not self._delivery.circuit.closed:
            return []
        for one in self._folders.values():
            if self._row(one).frozen:
                continue
            for each in self._ledger.removals(one.root_id, stage="confirmed"):
                if self._ledger.state_of(each.due.instance_id) is not InstanceState.STORED:
                    continue
                if each.verified:
                    self._let_leave(one, each, now)
                    continue
                self._comparing = True
                arguments = (self._delivery.archive, (each.due,))
                return [Work(jobs.compare, arguments, partial(self._compared, one, each.removal_id))]
        return []

    def _compared(self, one: _Folder, removal_id: int, asked: jobs.Asked, now: Moment) -> None:
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
            self._give_up(each, _FOUND[finding], now)
        else:
            self._compare_at = now.mono + AGAIN_SECONDS
            self._ledger.keep_back(each, "archive-away")

    def _let_leave(self, one: _Folder, each: Removal, now: Moment) -> None:
        row = self._row(one)
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
        for one in self._folders.values():
            row = self._row(one)
            for each in self._ledger.removals(one.root_id, stage="grace"):
                if self._waits(one, row, each) == "grace":
                    break  # the longest graced come first
                if work := self._prepare(one, row, each, now):
                    return [work]
        return []

    def _waits(self, one: _Folder, row: RootRow, each: Removal) -> str:
        served = row.seconds - (each.graced_seconds if each.graced_seconds is not None else row.seconds)
        standing = Standing(
            enrolled=row.identity is not None,
            on=row.mode == "on",
            supported=dicomweb.KINDS[self._kind()].delete != "none",
            unhealthy=row.unhealthy or ("" if one.healthy_at is not None else "unseen"),
            frozen=row.frozen,
            ledger_settled=not self._ledger.doubts_left(),
            folders_read=each.first_scan is not None and self._all_read_since(each.first_scan),
            files_known=self._known(),
            graced_seconds=served,
            study_open=self._ledger.study_open(each)
            or self._delivery.busy_with(each.due.study_instance_uid)
            or self._ledger.state_of(each.due.instance_id) is not InstanceState.LEAVING,
            archive_answers=self._delivery.circuit.closed,
        )
        return deletion.waits_for(standing, self._rules)

    def _prepare(self, one: _Folder, row: RootRow, each: Removal, now: Moment) -> Work | None:
        """Begin the last check of what may go, or record what it waits for."""
        why = self._waits(one, row, each)
        if why != each.reason:
            self._ledger.keep_back(each, why)
        if why or row.identity is None:
            return None
        if against := self._against(one, each, Seen.ABSENT):
            self._give_up(each, against, now)
            return None
        target = Target(each.due, row.path, row.identity, tuple(self._ledger.paths_of(each.due.instance_id)))
        self._hold(each)
        used = sum(size_bytes for _, _, size_bytes, _ in self._ledger.kept_copies())
        arguments = (self._delivery.archive, target, self._trash, self._rules.undo_max_bytes - used)
        return Work(removal.prepare, arguments, partial(self._prepared, one, each, target, now.mono))

    def _hold(self, each: Removal) -> None:
        self._busy = each.removal_id
        self._delivery.hold(each.due.study_instance_uid)

    def _release(self, each: Removal) -> None:
        self._busy = None
        self._delivery.release(each.due.study_instance_uid)

    def _prepared(
        self, one: _Folder, each: Removal, target: Target, looked_at: float, found: Prepared, now: Moment
    ) -> None:
        """Commit the intent, if after the last look everything still is as it must be."""
        self._release(each)
        self._tick(one, looked_at, found.looked.before, now)
        self._guard(one, now)
        current, row = self._ledger.removal(each.removal_id), self._row(one)
        if current is None or current.stage != "grace":
            return
        why = removal.wrong(target, found.looked)
        against = self._against(one, current, Seen.THERE if why == "reappeared" else Seen.ABSENT)
        against = against or ("" if why else _FOUND.get(found.finding, ""))
        if against:
            self._give_up(current, against, now)
            return
        why = why or ("no-room" if found.no_room else self._waits(one, row, current))
        if not why and found.finding is not Finding.EQUAL:
            why = "archive-away"
        if why:
            self._ledger.keep_back(current, why)
            self._prepare_at = now.mono + AGAIN_SECONDS
            return
        self._ledger.compared(current, now.wall)
        self._ledger.intend(current, found.kept, row.seconds, now.wall)
        self._intended = target
        self._busy = current.removal_id

    def _delete(self, target: Target) -> Work:
        """Send the DELETE whose intent is committed with this turn."""
        self._intended = None
        removal_id = self._busy or 0
        self._delivery.hold(target.due.study_instance_uid)
        return Work(
            removal.delete, (self._delivery.archive, target), partial(self._deleted, target, removal_id)
        )

    def _deleted(self, target: Target, removal_id: int, sent: Sent, now: Moment) -> None:
        """Take what came of it; only by asking is it believed that it is gone."""
        self._busy = None
        self._delivery.release(target.due.study_instance_uid)
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
        for one in self._folders.values():
            if one.root_id == each.root_id:
                self._freeze(one, why, now)

    # the trash

    def _plan_trash(self, now: Moment) -> list[Work]:
        """Remove the copies that were kept long enough."""
        if now.mono < self._trash_at:
            return []
        self._trash_at = now.mono + TRASH_SECONDS
        window = self._rules.undo_seconds
        old = [
            (removal_id, path)
            for removal_id, path, _, age in self._ledger.kept_copies()
            if window is not None and age > window and self._ledger.forget_copy(removal_id)
        ]
        paths = tuple(path for _, path in old)
        return [Work(removal.forget, (paths,), _forgotten)] if paths else []


def _forgotten(gone: tuple[bool, ...], now: Moment) -> None:
    """Tell what could not be removed."""
    del now
    if not all(gone):
        log.warning("%d old copies in the trash could not be removed", len(gone) - sum(gone))


def _plain(folder: Folder) -> dict[str, object]:
    return {key: repr(value) for key, value in asdict(folder).items()}

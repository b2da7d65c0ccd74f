"""Evidence for mirrored deletions: what is proved absent, by which clock, and what stops all of a folder's.

Everything here runs in the engine's loop and waits on the ledger alone. A folder's own clock goes on only
while it is seen to be healthy, in the monotonic time of a daemon that is up.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import dicomsync
from dicomsync import deletion, dicomweb, removal, roots
from dicomsync.deletion import FullScan, Root, Rules
from dicomsync.delivery import Delivery
from dicomsync.handles import handle
from dicomsync.intake import Intake
from dicomsync.ledger import Ledger, Removal, RootRow
from dicomsync.ledger.mirrors import CLOCK_FROM
from dicomsync.model import Folder, Moment
from dicomsync.passes import Pass
from dicomsync.removal import Looked, Seen
from dicomsync.work import Work

log = logging.getLogger("dicomsync.mirroring")

LOOK_SECONDS = 30.0  # between two looks at a folder that mirrors
SHORTEST_LOOK_SECONDS = 0.5
LONGEST_LOOK_SECONDS = 300.0  # a longer while between two looks is not counted: nobody knows what was then
JUMP_SECONDS = 300.0  # by which the two clocks may part
JUMPED = "wall_seen"  # the fact that keeps the latest wall time, to notice a clock that went back


@dataclass(slots=True)
class Mirrored:
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


class Evidence:
    """What leaves folders that mirror, proved or not; passes over them are followed."""

    def __init__(
        self, ledger: Ledger, delivery: Delivery, rules: Rules, intakes: Callable[[], Sequence[Intake]]
    ) -> None:
        self._ledger = ledger
        self._delivery = delivery
        self._rules = rules
        self._intakes = intakes
        self.folders: dict[bytes, Mirrored] = {}
        self._read: dict[bytes, int] = {}  # the latest pass over each folder that read all of it
        self._watched: tuple[bytes, ...] = ()
        self._latest: Moment | None = None

    def begin(self, folders: Sequence[Folder], url: str, now: Moment) -> bool:
        """Take up what an earlier process left; under other conditions, evidence begins again.

        Says whether there is, or ever was, a folder that mirrors.
        """
        mirrors = [folder for folder in folders if folder.mirror != "off"]
        self._watched = tuple(folder.path for folder in folders)
        for folder in mirrors:
            conditions = json.dumps(
                [dicomsync.__version__, url, asdict(self._rules), _plain(folder)], sort_keys=True
            )
            row = self._ledger.mirror(folder.path, folder.mirror, conditions, now.wall)
            self.folders[folder.path] = Mirrored(folder, row.root_id, row.identity)
        self._ledger.mirror_no_more([folder.path for folder in mirrors], now.wall)
        if not self._ledger.roots():
            return False
        if now.wall < float(self._ledger.fact(JUMPED) or 0.0) - JUMP_SECONDS:
            self._jumped(now, back=True)
        return True

    def plan(self, now: Moment) -> list[Work]:
        """Say which folders are to be looked at, and what in them."""
        self._watch_clocks(now)
        return [work for one in self.folders.values() for work in self._plan_folder(one, now)]

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

    def tick(self, one: Mirrored, looked_at: float, seen: Root, now: Moment) -> str:
        """Let a folder's clock go on after a look that was begun then; gives why it is not healthy."""
        problem = one.unhealthy(seen)
        since, served = one.healthy_at, 0.0
        if problem:
            one.healthy_at = None
        else:
            if since is not None and 0.0 < looked_at - since <= LONGEST_LOOK_SECONDS:
                served = looked_at - since
            one.healthy_at = looked_at if since is None else max(since, looked_at)
        row = self.row(one)
        if problem != row.unhealthy:
            self._tell(one, problem or "healthy", now)
        self._ledger.tick(one.root_id, served, problem)
        self._ledger.note_nested(row, seen.nested)
        self._ledger.set_fact(JUMPED, str(now.wall))
        one.enrolled = self.row(one).identity
        return problem

    def _tell(self, one: Mirrored, why: str, now: Moment) -> None:
        number = self._ledger.folder_row(one.folder.path)
        if number is not None:
            self._ledger.remember("folder", number, "deletions", why, now.wall)
            level = logging.INFO if why in ("healthy", "nothing-left", "not-enrolled") else logging.WARNING
            log.log(level, "mirrored deletions of %s: %s", handle("folder", number), why)

    def row(self, one: Mirrored) -> RootRow:
        """Give a folder as the ledger has it."""
        return next(row for row in self._ledger.roots() if row.root_id == one.root_id)

    # evidence

    def enrolled(self) -> None:
        """Take note that a folder was enrolled: by the next look it is compared with what is recorded."""
        for one in self.folders.values():
            row = self.row(one)
            one.enrolled, one.healthy_at, one.scan = row.identity, None, None
            one.before, one.look_at = ("unseen", 0.0), float("-inf")

    def before(self, path: bytes, now: Moment) -> Work | None:
        """Give the look that comes before a full pass over a folder; None where none is needed."""
        one = self.folders.get(path)
        if one is None:
            return None
        one.before = ("unseen", 0.0)
        return Work(roots.look, (path,), partial(self._looked_before, one, now.mono))

    def _looked_before(self, one: Mirrored, looked_at: float, seen: Root, now: Moment) -> None:
        problem = self.tick(one, looked_at, seen, now)
        one.before = (problem, self.row(one).seconds)

    def ended(self, path: bytes, passed: Pass, now: Moment) -> None:
        """Take a full pass that is over, of any folder."""
        del now
        if not passed.problems and not passed.lost:
            self._read[path] = passed.number.number
        one = self.folders.get(path)
        if one is None:
            return
        problems = passed.problems + bool(passed.lost)
        one.scan = FullScan(passed.number.number, one.before[1], problems, passed.root, one.before[0], "")
        one.candidates = frozenset(each.removal_id for each in self._ledger.removals(one.root_id))
        one.before = ("unseen", 0.0)

    def _plan_folder(self, one: Mirrored, now: Moment) -> Iterator[Work]:
        if now.mono >= one.look_at and not one.looking:
            one.looking = True
            yield Work(roots.look, (one.folder.path,), partial(self._looked_at, one, now.mono))
        if one.scan is None or one.proving or not self.known():
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
            self.guard(one, now)

    def known(self) -> bool:
        """Say whether it is known of every file that was found anywhere what it holds."""
        return all(intake.settled for intake in self._intakes()) and not self._ledger.contents_unknown()

    def _looked_at(self, one: Mirrored, looked_at: float, seen: Root, now: Moment) -> None:
        one.looking = False
        rules = self._rules
        often = min(LOOK_SECONDS, rules.grace_seconds / 10, rules.confirm_after_seconds / 4)
        one.look_at = now.mono + max(SHORTEST_LOOK_SECONDS, often)
        self.tick(one, looked_at, seen, now)

    def _proved(
        self,
        one: Mirrored,
        scan: FullScan,
        ids: Sequence[int],
        looked_at: float,
        looked: Looked,
        now: Moment,
    ) -> None:
        """Take what was seen of the files that a pass did not come by."""
        one.proving = False
        after = self.tick(one, looked_at, looked.before, now) or one.unhealthy(looked.after)
        scan = replace(scan, after=after)
        if deletion.proves_nothing(scan, one.enrolled or one.stands_for):
            return
        over = self.row(one).seconds + (now.mono - looked_at)
        left = []
        for removal_id, seen, gone in zip(ids, looked.seen, looked.directories_gone, strict=True):
            each = self._ledger.removal(removal_id)
            if each is None or each.stage == "deleting":
                continue
            if why := self.against(one, each, seen):
                self.give_up(each, why, now)
            else:
                left.append((each, seen, gone))
        if any(seen is Seen.UNSEEN for _, seen, _ in left):
            return  # what is in the way of one may be in the way of all
        for each, _, gone in left:
            self._advance(each, scan, over, now, directory_gone=gone)
        self.guard(one, now)

    def against(self, one: Mirrored, each: Removal, seen: Seen) -> str:
        """Say why nothing comes of a removal; "" if something still may."""
        if self._ledger.held_elsewhere(each):
            return "elsewhere"
        if seen is Seen.THERE:
            return "reappeared"
        if not self._ledger.paths_of(each.due.instance_id):
            return "name-taken"
        left = self._ledger.left(each, self.row(one))
        return deletion.ineligible(left, one.folder.delete_within_seconds)

    def _advance(
        self, each: Removal, scan: FullScan, over: float, now: Moment, *, directory_gone: bool
    ) -> None:
        self._ledger.still_absent(each, directory_gone=directory_gone)
        if each.first_scan is None or each.first_seconds is None:
            self._ledger.proved_once(each, scan.number, over, directory_gone=directory_gone)
        elif (
            each.stage == "absent"
            and self.all_read_since(each.first_scan)
            and deletion.confirmed(scan, each.first_scan, each.first_seconds, self._rules)
        ):
            self._ledger.proved_again(each, over, now.wall)

    def all_read_since(self, number: int) -> bool:
        """Say whether every folder was read whole after that pass."""
        return all(self._read.get(path, 0) > number for path in self._watched)

    def give_up(self, each: Removal, why: str, now: Moment) -> None:
        """End a removal of which nothing comes, and tell why."""
        self._ledger.give_up(each, why, now.wall)
        log.info("%s stays in the archive: %s", handle("instance", each.due.instance_id), why)

    # guards

    def guard(self, one: Mirrored, now: Moment) -> None:
        """Freeze a folder's deletions where a guard is tripped; only a person lets them go on."""
        row = self.row(one)
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
            self._ledger.live_in(row, self._read.get(one.folder.path, 0)),
            self._rules,
            directory_gone=any(each.directory_gone for each in counted),
        )
        if not why and not self.deletes:
            why = "cannot-delete"
        if why:
            self.freeze(one, why, now)

    def freeze(self, one: Mirrored, why: str, now: Moment) -> None:
        """Stop all deletions of a folder until a person has looked."""
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

    @property
    def deletes(self) -> bool:
        """Whether the archive can delete at all, as far as is known."""
        return dicomweb.KINDS.get(self._delivery.archive.kind, dicomweb.KINDS["generic"]).delete != "none"


def _plain(folder: Folder) -> dict[str, object]:
    return {key: repr(value) for key, value in asdict(folder).items()}

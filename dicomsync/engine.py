"""The one loop that joins the rooms: it alone changes state, and it waits on the ledger alone.

One turn is one transaction: what the hands brought back is recorded, what is due is planned, and only
after the commit is it handed out. So an intent is always in the ledger before its effect, and if the
ledger cannot commit, nothing goes on the wire.
"""

from __future__ import annotations

import queue
import random
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from dicomsync import batching, dicomweb
from dicomsync.audit import Audit
from dicomsync.deletion import Rules
from dicomsync.delivery import Delivery
from dicomsync.errors import DicomsyncError, LedgerProblem
from dicomsync.intake import Intake
from dicomsync.ledger import Ledger
from dicomsync.listings import Passed
from dicomsync.mirroring import Mirroring
from dicomsync.model import DUE, Folder, InstanceState, Moment
from dicomsync.passes import Pass
from dicomsync.scan import Sight
from dicomsync.suspects import Suspects
from dicomsync.work import Pace, Work

if TYPE_CHECKING:
    from dicomsync.visits import Visit

T = TypeVar("T")

RESULTS_A_TURN = 16
LONGEST_WAIT_SECONDS = 1.0
SHORTEST_WAIT_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; totals grow while `scanning`. Bytes are of instances, settled or known."""

    scanning: bool
    studies: int
    studies_total: int
    instances: int
    instances_total: int
    size_bytes: int
    size_bytes_total: int
    asked: int  # instances the archive is, or will be, asked about
    circuit: str  # what is wrong with the archive, or ""


class Engine:
    """Everything from folder to archive, one `turn` at a time.

    `hands` runs the jobs: threads in life, the same thread in tests. It must offer at least
    `workers_for` workers, so that no job waits for one of another kind.
    """

    def __init__(
        self,
        ledger: Ledger,
        folders: Sequence[Folder],
        archive: dicomweb.Archive,
        pace: Pace,
        hands: Executor,
        luck: random.Random | None = None,
        deletions: Rules | None = None,
        trash: bytes = b"",
    ) -> None:
        self.ledger = ledger
        self.pace = pace
        self._hands = hands
        self._inbox: queue.SimpleQueue[tuple[Work, Future[object]]] = queue.SimpleQueue()
        self._waiting: list[tuple[Work, Future[object]]] = []
        self._out = 0
        self._stopping = False
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._ordered: list[_Order] = []
        self._visits: list[Visit] = []
        self._luck = luck or random.Random()  # noqa: S311 - jitter, not a secret
        self._suspects = Suspects(ledger)
        self.intakes = [Intake(ledger, folder, pace, self._luck, self._suspects) for folder in folders]
        self._watching = tuple(self.intakes)
        self.delivery = Delivery(
            ledger,
            archive,
            pace,
            self._luck,
            lost=self._lost,
            fileless=self.intakes[0].enrolment.give_up_if_fileless,
            hangs=self._hangs,
            waits=self._waits,
        )
        self.audit = Audit(ledger, self.delivery, pace)
        self._waited: set[bytes] = set()  # folders that do not answer, or are not there
        rules = deletions or Rules()
        self.mirroring = Mirroring(ledger, self.delivery, pace, rules, trash, lambda: self.intakes)
        self._studies_before = 0
        self._due_before = (0, 0, 0)

    @staticmethod
    def workers_for(folders: int, transfers: int) -> int:
        """Say how many workers the hands need at most, so that no job of one folder waits for another's.

        Requests that are stuck in a folder that hangs take no other request's place.
        """
        return (9 + transfers) * folders + transfers + 5

    def begin(self, now: Moment) -> None:
        """Take over what an earlier process left, and begin a pass over every folder."""
        with self.ledger.transaction():
            self.delivery.begin(now)
            self._suspects.begin()
            self._begin_mirroring(now)
            self._reschedule()
            self._studies_before = self.ledger.studies()
            self._due_before = self.ledger.waiting()

    def _begin_mirroring(self, now: Moment) -> None:
        folders = [intake.folder for intake in self._watching]
        self.mirroring.begin(folders, self.delivery.archive.url, now)
        if self.mirroring.observes:
            for intake in self._watching:
                intake.passes.observer = self.mirroring.evidence

    def turn(self, now: Moment) -> bool:
        """One turn: record what finished, plan what is due, hand it out. True if there was anything."""
        self._collect()
        while not self._orders.empty():
            self._ordered.append(self._orders.get_nowait())
        self.delivery.traffic.begin_turn()
        try:
            with self.ledger.transaction():
                for work, future in self._waiting:
                    work.record(future.result(), now)
                answers = [order.answer(now) for order in self._ordered]
                works = [] if self._stopping else self._plan(now)
                self._reschedule()
        except LedgerProblem:
            self.delivery.traffic.forget_planned()
            raise
        busy = bool(self._waiting or works or answers)
        self._hand_out(works)
        for answer in answers:
            answer()
        self._ordered = []
        self._look_after_visits()
        return busy

    def look_ahead(self, now: Moment) -> bool:
        """One turn that lists what is in the folders and does nothing else; False if nothing is left to list.

        A part of its caller's transaction, of which nothing counts until that is committed. A listing needs
        no intent, as it has no effect.
        """
        self._collect()
        for work, future in self._waiting:
            work.record(future.result(), now)
        self._hand_out([work for intake in self.intakes for work in intake.plan_passes(now)])
        return self._out > 0

    def _collect(self) -> None:
        while len(self._waiting) < RESULTS_A_TURN and not self._inbox.empty():
            self._waiting.append(self._inbox.get_nowait())

    def _hand_out(self, works: Sequence[Work]) -> None:
        """Start these, with what was waiting recorded."""
        self._out += len(works) - sum(work is not _NOTHING for work, _ in self._waiting)
        self._waiting = []
        for work in works:
            self._start(work)

    def wait(self, now: Moment) -> None:
        """Wait until a result is there or the next thing is due, a second at most."""
        self.wait_for_results(self._pause_seconds(now))

    def wait_for_results(self, seconds: float = LONGEST_WAIT_SECONDS) -> None:
        """Wait until a result is there, so long at most. Nothing is asked of the ledger."""
        with suppress(queue.Empty):
            self._waiting.append(self._inbox.get(timeout=seconds))

    # what commands ask: see `commanded`

    def order(self, act: Callable[[Moment], T]) -> Future[T]:
        """Have `act` done in the loop, inside a turn's transaction; any thread may ask.

        The future is done when the transaction is; it raises the DicomsyncError that `act` raised, which
        must not have changed anything by then.
        """
        order = _Order(act)
        self._orders.put(order)
        self.wake()
        return order.future

    def visit(self, folders: Sequence[Folder], now: Moment) -> Visit:
        """Look into these folders at once, for a person; belongs into an `order`."""
        from dicomsync import visits

        pace = replace(self.pace, once=True)

        def make(folder: Folder) -> Intake:
            intake = Intake(self.ledger, folder, pace, self._luck, self._suspects)
            self.intakes.append(intake)
            return intake

        visiting = [intake for intake in self.intakes if intake not in self._watching]
        visit = visits.begin(folders, self._watching, visiting, make)
        self.delivery.hurry(now)
        self._visits.append(visit)
        return visit

    def leave(self, visit: Visit) -> None:
        """Follow a visit no more; what it began goes on. Any thread may say so."""
        visit.left = True

    def _look_after_visits(self) -> None:
        delivery = self.delivery
        for visit in self._visits:
            read, passed, unreadable = visit.look()
            visit.standing = replace(
                visit.standing,
                read=read,
                passed=passed,
                unreadable=unreadable,
                requests=delivery.requests,
                trouble=delivery.circuit.words,
                hint=delivery.hint,
                says=delivery.says,
                unreached=delivery.failed_to_reach,
                refused=delivery.refused,
                sending=delivery.sending,
            )
        self._visits = [visit for visit in self._visits if not (visit.left and visit.standing.read)]
        for intake in [one for one in self.intakes if one not in self._watching and one.idle]:
            self.intakes.remove(intake)

    def stop(self) -> None:
        """Start nothing more; what is on its way is still recorded by further turns."""
        self._stopping = True

    def part(self) -> None:
        """Take leave in good order: nothing that is being read now is to be suspected of anything."""
        with suppress(LedgerProblem), self.ledger.transaction():
            self.ledger.forget_readings()

    def hint(self, directories: Iterable[bytes], *, everywhere: bool = False) -> None:
        """Take directories that a watcher found worth a look; `everywhere` asks for full passes."""
        hinted = list(directories)
        for intake in self.intakes:
            root = intake.folder.path
            below = root.rstrip(b"/") + b"/"
            mine = [path for path in hinted if path == root or path.startswith(below)]
            intake.passes.hint(mine, everywhere=everywhere)

    def wake(self) -> None:
        """End a `wait` early; may be called from a signal handler or another thread."""
        if self._inbox.empty():  # a thousand hints are one reason to look
            future: Future[object] = Future()
            future.set_result(None)
            self._inbox.put((_NOTHING, future))

    @property
    def idle(self) -> bool:
        """Whether everything found has been taken in and nothing is on its way."""
        return self.read_all and self.delivery.idle and self._out <= 0

    @property
    def read_all(self) -> bool:
        """Whether every folder was read to its end and no file waits for a look or for its header."""
        return all(intake.idle for intake in self.intakes)

    @property
    def nothing_new(self) -> bool:
        """Whether all that was listed so far is as the ledger has it, and nothing waits to be stored."""
        return all(intake.nothing_new for intake in self.intakes) and not self.ledger.count(*DUE)

    @property
    def hanging(self) -> int:
        """How many folders do not answer."""
        return sum(intake.pulse.hangs for intake in self.intakes)

    @property
    def unreadable(self) -> int:
        """How many directories cannot be read, as far as the passes have come."""
        return sum(len(intake.passes.unreadable) for intake in self.intakes)

    @property
    def passed(self) -> Passed:
        """What the latest pass over each folder passed over."""
        total = Passed()
        for one in self._latest():
            total = total.plus(one.passed)
        return total

    @property
    def finished(self) -> bool:
        """Whether nothing is left that a machine can do."""
        due = DUE if self.pace.stores else (InstanceState.UNCONFIRMED,)
        return self.idle and not (self.pace.sends and self.ledger.count(*due))

    @property
    def moved(self) -> tuple[int, ...]:
        """Figures that grow with everything that gets on: while they stand still, nothing does."""
        listed = sum(intake.passes.listed for intake in self.intakes)
        recorded = sum(intake.enrolment.recorded for intake in self.intakes)
        return listed, recorded, self.delivery.settled

    def progress(self) -> Progress:
        """Say how far this run is."""
        studies, instances, size_bytes = self._due_before
        delivery = self.delivery
        total = studies + self.ledger.studies() - self._studies_before
        return Progress(
            any(intake.passes.under_way for intake in self.intakes),
            max(0, total - self.ledger.due_study_count()),
            total,
            delivery.settled,
            instances + sum(intake.enrolment.enrolled for intake in self.intakes),
            delivery.settled_bytes,
            size_bytes + sum(intake.enrolment.enrolled_bytes for intake in self.intakes),
            self.ledger.count(InstanceState.UNCONFIRMED),
            delivery.circuit.words,
        )

    def _plan(self, now: Moment) -> list[Work]:
        works = [work for intake in self.intakes for work in intake.plan(now)]
        before, self._waited = self._waited, {one.folder.path for one in self.intakes if one.waits}
        if before - self._waited:
            self.delivery.folder_answers(now)
        return works + self.delivery.plan(now) + self.audit.plan(now) + self.mirroring.plan(now)

    def _lost(self, file_id: int, sight: Sight, now: Moment) -> None:
        """Give a file that could not supply its instance back to the folder it is in."""
        if file_id < 0:
            self.ledger.copy_lost(-file_id)
            return
        found = self.ledger.file(file_id)
        self._intake_of(found[1] if found else b"").looks.lost(file_id, sight, now)

    def _hangs(self, path: bytes) -> bool:
        """Say whether the folder a file is in does not answer."""
        return bool(self.hanging) and self._intake_of(path).pulse.hangs

    def _waits(self, path: bytes) -> bool:
        """Say whether the folder a file is in does not answer, or is not there."""
        return bool(self._waited) and self._intake_of(path).waits

    def _intake_of(self, path: bytes) -> Intake:
        roots = ((one, one.folder.path) for one in self.intakes)
        inside = (one for one, root in roots if path == root or path.startswith(root.rstrip(b"/") + b"/"))
        return next(inside, self.intakes[0])

    def _latest(self) -> list[Pass]:
        return [one for intake in self.intakes if (one := intake.passes.latest) is not None]

    def _start(self, work: Work) -> None:
        future: Future[object] = self._hands.submit(work.function, *work.arguments)
        future.add_done_callback(lambda done: self._inbox.put((work, done)))

    def _reschedule(self) -> None:
        for study, quiet_at in self.ledger.touched_studies():
            due_at = batching.due_at(
                study.first_at, quiet_at, study.pending, study.pending_bytes, self.pace.caps
            )
            self.ledger.schedule(study.study_id, study.first_at, due_at)

    def _pause_seconds(self, now: Moment) -> float:
        moments = [now.mono + LONGEST_WAIT_SECONDS]
        moments += [at for intake in self.intakes if (at := intake.next_at(now)) is not None]
        if (mirrors_at := self.mirroring.next_at()) is not None:
            moments.append(mirrors_at)
        if self.pace.sends and not self.delivery.circuit.closed:
            moments += [at for at in [self.delivery.probe_at()] if at is not None]
        elif self.pace.sends and self.delivery.traffic.free:
            due = self.ledger.next_due()
            if due is not None:
                moments.append(now.mono + due - self.pace.at(now))
        return max(SHORTEST_WAIT_SECONDS, min(moments) - now.mono)


class _Order:
    """Something to be done in the loop; what comes of it is told once it is committed."""

    def __init__(self, act: Callable[[Moment], Any]) -> None:
        self._act = act
        self.future: Future[Any] = Future()

    def answer(self, now: Moment) -> Callable[[], None]:
        """Do it; gives what tells the one who asked."""
        try:
            result = self._act(now)
        except LedgerProblem:
            raise
        except DicomsyncError as problem:
            return partial(self.future.set_exception, problem)
        return partial(self.future.set_result, result)


def _nothing(_result: object, _now: Moment) -> None:
    """Record nothing: only the loop was to wake."""


_NOTHING = Work(_nothing, (), _nothing)

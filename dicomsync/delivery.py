"""The sending half of the engine: which batch goes now, what came of it, whom to ask about what.

Everything here runs in the engine's loop and waits on the ledger alone. Requests are handed out as
`Work` after the intent is committed, and their answers come back to a method of this room.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

from dicomsync import batching, dicomweb, jobs, rules, words
from dicomsync.handles import handle
from dicomsync.ledger import DueStudy, Ledger
from dicomsync.model import DUE, Due, InstanceState, Moment, Transition
from dicomsync.pacing import Circuit, Signal, SizeLimit, Trouble, backoff_seconds
from dicomsync.rules import Finding
from dicomsync.scan import Sight
from dicomsync.traffic import Request, Traffic
from dicomsync.work import Pace, Work

log = logging.getLogger("dicomsync.delivery")

ASKED_AT_ONCE = 50
ASKED_BYTES = 256 * 1024 * 1024
GIVE_UP_SECONDS = 15.0  # for an archive to be reached at all
HANGING_SECONDS = 600.0  # between two thoughts of sending what is in a folder that hangs, or is not there
HANGING_ASKED_SECONDS = 60.0  # and of asking about it


class Delivery:
    """Batches to the archive and questions about them."""

    def __init__(
        self,
        ledger: Ledger,
        archive: dicomweb.Archive,
        pace: Pace,
        luck: random.Random,
        *,
        lost: Callable[[int, Sight, Moment], None],
        fileless: Callable[[int, Moment], bool],
        hangs: Callable[[bytes], bool],
        waits: Callable[[bytes], bool],
    ) -> None:
        self._ledger = ledger
        self._archive = archive
        self._pace = pace
        self._luck = luck
        self._lost = lost
        self._fileless = fileless
        self._waits = waits
        self.traffic = Traffic(pace.transfers, hangs)
        self._backlog_next = False  # with one transfer only, live and backlog take turns
        self._probing = False
        self._limit = SizeLimit()
        self.circuit = Circuit()
        self._give_up_at = float("inf")  # known once the archive was asked
        self.answered = False  # the archive has answered well since the start
        self.says = ""
        self.hint = ""
        self.settled = 0  # instances that are due no more
        self.settled_bytes = 0
        self.stored = 0
        self.stored_bytes = 0
        self.requests = 0

    def begin(self, now: Moment) -> int:
        """Take over what an earlier process left on its way; gives how many instances that were."""
        most = self._ledger.fact("request_limit")
        if most:
            size, _, learnt = most.partition("@")
            self._limit = SizeLimit(int(size), float(learnt))
        self._ledger.fold_tallies(now.wall)
        at = self._pace.at(now)
        wait = rules.ASK_WAITS["restart"][0] * self._pace.confirm_wait_seconds
        latest = at + max(900.0, 8 * self._pace.confirm_wait_seconds)
        left = self._ledger.recover(at, at + wait, latest)
        if left:
            log.warning("%d instances were on their way when dicomsync stopped: the archive is asked", left)
        return left

    @property
    def archive(self) -> dicomweb.Archive:
        """The archive, of the kind it was found to be."""
        return self._archive

    @property
    def idle(self) -> bool:
        """Whether no request is on its way."""
        return not self.sending and not self._probing

    @property
    def failed_to_reach(self) -> bool:
        """Whether it is time to give up on an archive that has not answered well even once.

        Three probes without a connection, or a quarter of a minute of them; a wrong address or a
        credential that is not accepted is no better the second time.
        """
        if self.answered or not self.circuit.failures:
            return False
        late = self.circuit.failures >= 3 or self.circuit.probe_at > self._give_up_at
        return self.refused or late

    @property
    def refused(self) -> bool:
        """Whether it is for a person to mend: the address, the credential, or the archive's settings."""
        return self.circuit.trouble in (Trouble.AUTH, Trouble.SETUP)

    @property
    def sending(self) -> bool:
        """Whether a batch, or a question about one, is on its way."""
        return self.traffic.any

    def hurry(self, now: Moment) -> None:
        """Ask an archive that is left alone at once how it is: a person wants to know."""
        if not self.circuit.closed:
            self.circuit = replace(self.circuit, probe_at=min(self.circuit.probe_at, now.mono))

    def plan(self, now: Moment) -> list[Work]:
        """Say which requests go now; what they are about is recorded before they do."""
        if not self._pace.sends:
            return [] if self._pace.once else self._plan_batches(now, self.traffic.free)
        if not self.circuit.closed:
            return self._plan_probe(now)
        if not self._pace.stores:
            return self._plan_questions(now, self.traffic.free)
        works = self._plan_questions(now, (self.traffic.free + 1) // 2)
        return works + self._plan_batches(now, self.traffic.free)

    # the archive as a whole

    def probe_at(self) -> float | None:
        """Say at which monotonic moment the archive is to be asked how it is; None if it is not, or is now.

        A backfill that finds nothing to do asks nothing, and never imports httpx.
        """
        idle = self._probing or (self._pace.once and not self._ledger.count(*DUE))
        return None if idle else self.circuit.probe_at

    def _plan_probe(self, now: Moment) -> list[Work]:
        at = self.probe_at()
        if at is None or now.mono < at:
            return []
        self._probing = True
        self._give_up_at = min(self._give_up_at, now.mono + GIVE_UP_SECONDS)
        return [Work(jobs.probe, (self._archive,), self._probed)]

    def _probed(self, probed: jobs.Probed, now: Moment) -> None:
        self._probing = False
        self._learn(probed.signal, now, probe=True)
        self.hint = probed.hint
        if probed.signal.trouble is Trouble.NONE:
            if not self.answered:
                log.info("the archive answers: %s", probed.kind)
            self.answered = True
            self.says = probed.says
            self._archive = replace(self._archive, kind=probed.kind)
            self._ledger.set_fact("archive_kind", probed.kind)

    def _learn(self, signal: Signal, now: Moment, *, probe: bool = False) -> None:
        """Take what an answer, or none, says of the archive as a whole."""
        before = self.circuit
        self.circuit = before.after(signal, now.mono, self._luck.random(), probe=probe)
        if not self.circuit.closed and before.trouble is not self.circuit.trouble:
            log.warning("the archive cannot be used: %s; it is tried again by itself", self.circuit.words)
        elif not before.closed and self.circuit.closed and before.trouble is not Trouble.NONE:
            log.info("the archive answers again, after %s", words.span(now.mono - before.since))

    # storing

    def _plan_batches(self, now: Moment, free: int) -> list[Work]:
        works: list[Work] = []
        if free <= 0:
            return works
        at = self._pace.at(now)
        caps = self._pace.caps.share(self.traffic.share)
        for study in self._in_order(at):
            if len(works) >= free:
                break
            works += self._batches_of(study, caps, free - len(works), now)
        return works

    def _batches_of(self, study: DueStudy, caps: batching.Caps, most: int, now: Moment) -> list[Work]:
        """Give a study's next batch; of the backlog all full ones that may go: one a turn cost a quarter."""
        works: list[Work] = []
        pending, pending_bytes = study.pending, study.pending_bytes
        while len(works) < most and (not works or self._may_take(study)):
            batch = batching.choose(self._with_files(study, now), caps, self._limit.at(now.wall))
            if not batch:
                break
            works.append(self._send(study, batch, now))
            pending -= len(batch)
            pending_bytes -= sum(due.size_bytes for due in batch)
            if study.live or not caps.full(pending, pending_bytes):
                break
        return works

    def _may_take(self, study: DueStudy) -> bool:
        kind = dicomweb.KINDS.get(self._archive.kind)
        shared = kind is not None and kind.shares_studies
        return self.traffic.may_take(study.study_instance_uid, shared=shared)

    def _in_order(self, at: float) -> Iterator[DueStudy]:
        """Give the due studies: live ones first, but never on all transfers while there is a backlog."""
        live, backlog = (
            [one for one in self._ledger.due_studies(at, live=kind) if self._may_take(one)]
            for kind in (True, False)
        )
        at_once = self.traffic.at_once
        if at_once == 1 and live and backlog:
            first, second = (backlog, live) if self._backlog_next else (live, backlog)
            self._backlog_next = not self._backlog_next
            return iter([*first, *second])
        out = [one.live for one in self.traffic.moving]
        kept = 1 if backlog or not all(out) else 0
        room = max(0, at_once - kept - sum(out))
        return iter([*live[:room], *backlog, *([] if backlog else live[room:])])

    def _with_files(self, study: DueStudy, now: Moment) -> list[Due]:
        """Give the study's due instances that a file can supply; the others wait, or are missed."""
        at = self._pace.at(now)
        ready = []
        for due in self._ledger.pending_of(study, at, self._pace.caps.max_instances):
            if due.source is not None and self._waits(due.source.path):
                self._put_off(due._replace(reason="hangs"), InstanceState.PENDING, HANGING_SECONDS, now)
            elif due.source is not None:
                ready.append(due)
            elif not self._fileless(due.instance_id, now):
                wait = Transition(due.instance_id, InstanceState.PENDING, "changed", together=due.together)
                self._ledger.move([wait], now.wall, [at + self._pace.confirm_wait_seconds])
        return ready

    def _put_off(self, due: Due, state: InstanceState, seconds: float, now: Moment) -> None:
        """Let an instance wait for its folder to answer again."""
        wait = Transition(due.instance_id, state, due.reason, looks=due.looks, together=due.together)
        self._ledger.move([wait], now.wall, [self._pace.at(now) + seconds])

    def folder_answers(self, now: Moment) -> None:
        """Let what waited for a folder to answer go."""
        self._ledger.recall("hangs", self._pace.at(now))

    def _send(self, study: DueStudy, batch: tuple[Due, ...], now: Moment) -> Work:
        batch_id = self._ledger.open_batch(study.study_id, batch, now.wall)
        request = self.traffic.send(study.study_instance_uid, _paths(batch), now.mono, live=study.live)
        self.requests += 1
        where = handle("study", study.study_id)
        log.debug("%s of %s: %d instances go", handle("batch", batch_id), where, len(batch))
        job = jobs.store if self._pace.sends else jobs.pretend
        how = (jobs.Way.MULTIPART, self._ledger.doubt is not None)
        return Work(job, (self._archive, batch, *how), partial(self._sent, request, batch_id, study, batch))

    def _sent(
        self,
        request: Request,
        batch_id: int,
        study: DueStudy,
        batch: Sequence[Due],
        came: jobs.Stored,
        now: Moment,
    ) -> None:
        """Record what came of one batch: every instance of it, exactly once."""
        self.traffic.back(request)
        wait = self._pace.confirm_wait_seconds
        sent = [due for due in batch if due.instance_id in came.sent]
        judged = verdict(sent, came, wait)
        changes = list(judged.transitions)
        left = {lost.instance_id for lost in came.lost if lost.now is None}
        for due in batch:
            if due.instance_id in came.there:
                changes.append(rules.unconfirmed(due, "already-there", wait))
            elif due.instance_id not in came.sent:
                why = "changed" if came.signal is None else _held_back(came.signal)
                why = due.reason if due.instance_id in left else why  # what it had waited for till then
                changes.append(Transition(due.instance_id, InstanceState.PENDING, why, together=due.together))
        self._become(batch, changes, now, dict(came.digests))
        for lost in came.lost:
            self._lost(lost.file_id, lost.now, now)
        signal = came.signal or (judged.signal if came.answer or came.silence else None)
        if signal is not None:
            self._learn(signal, now)
            self.traffic.learn(request, sent, signal, now.mono, came.seconds)
        if judged.too_large:
            self._halve(sum(due.size_bytes for due in sent), now)
        status = came.answer.status if came.answer else None
        self._ledger.close_batch(batch_id, now.wall, status, _outcome(changes))
        level = logging.INFO if all(_ordinary(change) for change in changes) else logging.WARNING
        where = handle("study", study.study_id)
        log.log(level, "%s of %s: %s", handle("batch", batch_id), where, _outcome(changes))

    def _halve(self, size_bytes: int, now: Moment) -> None:
        self._limit = self._limit.refused(size_bytes, now.wall)
        self._ledger.set_fact("request_limit", f"{self._limit.most_bytes}@{self._limit.learnt_at}")
        log.warning(
            "a request of %d bytes was too large (413): at most %d from now on",
            size_bytes,
            self._limit.most_bytes,
        )

    # asking

    def _plan_questions(self, now: Moment, free: int) -> list[Work]:
        works: list[Work] = []
        due = []
        for one in self._ledger.unconfirmed(self._pace.at(now), 4 * ASKED_AT_ONCE):
            if one.sha256 is None and one.source is not None and self._waits(one.source.path):
                self._put_off(one, InstanceState.UNCONFIRMED, HANGING_ASKED_SECONDS, now)
            else:
                due.append(one)
        due.sort(key=_study)
        waiting = set()
        for study, group in groupby(due, _study):
            if self.traffic.about(study):
                waiting.add(study)
            elif len(works) < free:
                batch = tuple(_some(group))
                request = self.traffic.ask(study, _paths(batch))
                works.append(Work(jobs.ask, (self._archive, batch), partial(self._asked, request, batch)))
        self.traffic.asks(waiting)
        return works

    def _asked(self, request: Request, batch: Sequence[Due], asked: jobs.Asked, now: Moment) -> None:
        self.traffic.back(request)
        wait = self._pace.confirm_wait_seconds
        by_id = {due.instance_id: due for due in batch}
        changes = [
            rules.after_look(by_id[one.instance_id], self._finding(one), one.sha256, wait)
            for one in asked.found
        ]
        self._become(batch, changes, now)
        for one in asked.found:
            if one.lost is not None:
                self._lost(one.lost.file_id, one.lost.now, now)
        self._learn(asked.signal, now, probe=True)
        for change in changes:  # of a ledger that is rebuilt everything is asked about: that is ordinary
            doubted = by_id[change.instance_id].reason == "doubted"
            if change.state is not InstanceState.UNCONFIRMED and not doubted:
                self._ledger.remember("instance", change.instance_id, "asked", change.reason, now.wall)
        log.info("asked about %d instances: %s", len(batch), _outcome(changes))

    def _finding(self, found: jobs.Found) -> Finding:
        """Wait for our own file while there is one; when none is left nothing can be compared."""
        if found.finding is Finding.UNREAD and not self._ledger.linked_files(found.instance_id):
            return Finding.INCOMPARABLE
        return found.finding

    # both

    def _become(
        self,
        batch: Iterable[Due],
        changes: Sequence[Transition],
        now: Moment,
        digests: Mapping[int, bytes] | None = None,
    ) -> None:
        """Record the changes, with when each instance is due again; `digests` are of what was sent."""
        at = self._pace.at(now)
        by_id = {due.instance_id: due for due in batch}
        moments = []
        for change in changes:
            due = by_id[change.instance_id]
            wait = change.wait_seconds
            if wait is None:
                wait = backoff_seconds(due.attempts, self._luck.random())
            moments.append(at + wait)
            if change.state not in DUE:
                self.settled += 1
                self.settled_bytes += due.size_bytes
                if change.state is InstanceState.STORED:
                    self.stored += 1
                    self.stored_bytes += due.size_bytes
        self._ledger.move(changes, now.wall, moments, digests)
        if self._pace.after_store != "none":
            fresh = [c.instance_id for c in changes if c.state is InstanceState.STORED and not c.verified]
            self._ledger.check_later(fresh, at + self._pace.confirm_wait_seconds)


def verdict(sent: Sequence[Due], came: jobs.Stored, confirm_wait: float) -> rules.Verdict:
    """Say what became of the instances that were sent."""
    if came.answer is not None:
        return rules.after_answer(sent, came.answer, confirm_wait)
    if came.silence is not None:
        silence = came.silence
        return rules.after_no_answer(sent, silence.why, silence.sent_bytes, confirm_wait)
    return rules.Verdict(())


def _held_back(signal: Signal) -> str:
    """Why an instance that could have gone did not."""
    return {Trouble.AUTH: "no-access", Trouble.SETUP: "setup", Trouble.BUSY: "busy"}.get(
        signal.trouble, "no-answer"
    )


def _ordinary(change: Transition) -> bool:
    """Whether an outcome is nothing to look up from one's work for."""
    return change.state is InstanceState.STORED or change.reason in ("already-there", "duplicate", "split")


def _paths(batch: Iterable[Due]) -> frozenset[bytes]:
    return frozenset(due.source.path for due in batch if due.source is not None)


def _study(due: Due) -> str:
    return due.study_instance_uid


def _some(group: Iterable[Due]) -> Iterable[Due]:
    """Take as many as one job should ask about: comparing reads every byte back."""
    size_bytes = 0
    for count, due in enumerate(group):
        if count and (count >= ASKED_AT_ONCE or size_bytes + due.size_bytes > ASKED_BYTES):
            return
        size_bytes += due.size_bytes
        yield due


def _outcome(changes: Sequence[Transition]) -> str:
    """Say what became of a batch, in counts: "48 stored, 2 unconfirmed (silent)"."""
    counts: dict[str, int] = {}
    for change in changes:
        words = f"{change.state} ({change.reason})" if change.reason else str(change.state)
        counts[words] = counts.get(words, 0) + 1
    return ", ".join(f"{n} {words}" for words, n in counts.items()) or "nothing"

"""The ledger held against the archive in the background: it reports, and never sends anything again.

Two kinds of questions, one at a time, and none while the archive is in trouble: about what was stored a
moment ago, where the config asks for that, and a slow round of all that is stored. Everything here runs in
the engine's loop; neither takes a transfer from what is to be stored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from dicomsync import dicomweb, jobs, rules
from dicomsync.delivery import Delivery
from dicomsync.handles import handle
from dicomsync.ledger import Ledger
from dicomsync.model import Due, Moment, Seen
from dicomsync.pacing import Trouble, backoff_seconds
from dicomsync.work import Pace, Work

log = logging.getLogger("dicomsync.audit")

Job = Callable[[dicomweb.Archive, tuple[Due, ...]], jobs.Asked]

FIRST_LOOK_SECONDS = 600.0  # after a start
LOOK_SECONDS = 30.0  # at least, between two looks of the slow round: ten million instances in ten days
REST_TIMES = 99.0  # and so many times as long as the look took: one hundredth of the time
LOOKED_AT = 1000  # instances in one look of the slow round
FOUND_AT_ONCE = 500
COMPARED_AT_ONCE = 50
COMPARED_BYTES = 256 * 1024 * 1024
SECOND_LOOK = 8.0  # times confirm_wait after the first
AGAIN_SECONDS = 900.0  # before what got no answer is asked about again
ROUND = "audit_round"  # the fact that keeps how far the slow round has come


class Audit:
    """Questions about what is stored, for as long as a daemon runs."""

    def __init__(self, ledger: Ledger, delivery: Delivery, pace: Pace) -> None:
        self._ledger = ledger
        self._delivery = delivery
        self._pace = pace
        self._asking = False
        self._failures = 0
        self._rest_until = 0.0  # of questions about what is due to be checked
        self._look_at = pace.started.mono + FIRST_LOOK_SECONDS

    def plan(self, now: Moment) -> list[Work]:
        """Say which question goes now, if any."""
        if self._pace.once or not self._pace.sends or self._asking or not self._delivery.circuit.closed:
            return []
        if now.mono >= self._rest_until and (batch := self._due(now)):
            job = jobs.ask if self._pace.after_store == "bytes" else jobs.find
            return [self._ask(job, batch, now, look=False)]
        if now.mono >= self._look_at and (batch := self._next_of_round(now)):
            return [self._ask(jobs.find, batch, now, look=True)]
        return []

    def _due(self, now: Moment) -> tuple[Due, ...]:
        compares = self._pace.after_store == "bytes"
        found = self._ledger.to_check(self._pace.at(now), COMPARED_AT_ONCE if compares else FOUND_AT_ONCE)
        if not compares:
            return tuple(found)
        batch: list[Due] = []
        size_bytes = 0
        for due in found:
            size_bytes += due.size_bytes
            if batch and size_bytes > COMPARED_BYTES:
                break
            batch.append(due)
        return tuple(batch)

    def _next_of_round(self, now: Moment) -> tuple[Due, ...]:
        study, _, instance = (self._ledger.fact(ROUND) or "0:0").partition(":")
        study_id, found = self._ledger.stored_after(int(study), int(instance), LOOKED_AT)
        self._ledger.set_fact(ROUND, f"{study_id}:{found[-1].instance_id if found else 0}")
        if not found:
            self._look_at = now.mono + LOOK_SECONDS
        return tuple(found)

    def _ask(self, job: Job, batch: tuple[Due, ...], now: Moment, *, look: bool) -> Work:
        self._asking = True
        if not look:  # should no answer come of it
            ids = [due.instance_id for due in batch]
            self._ledger.check_later(ids, self._pace.at(now) + AGAIN_SECONDS)
        return Work(job, (self._delivery.archive, batch), partial(self._asked, batch, now, look))

    def _asked(self, batch: Sequence[Due], began: Moment, look: bool, asked: jobs.Asked, now: Moment) -> None:
        """Record what was seen; what got no answer is asked about later."""
        self._asking = False
        by_id = {due.instance_id: due for due in batch}
        seen = [
            Seen(one.instance_id, sighting, one.sha256)
            for one in asked.found
            if (sighting := rules.sighted(by_id[one.instance_id], one.finding)) is not None
        ]
        again_at = self._pace.at(now) + SECOND_LOOK * self._pace.confirm_wait_seconds
        alarms = self._ledger.saw(seen, began.wall, again_at)
        self._rest(now, now.mono - began.mono, look=look, good=asked.signal.trouble is Trouble.NONE)
        for study_id, n in alarms.items():
            where = handle("study", study_id)
            log.warning("%s: %d instances are not in the archive as they were stored", where, n)

    def _rest(self, now: Moment, took_seconds: float, *, look: bool, good: bool) -> None:
        """Leave the archive alone: long after a look of the slow round, a while beside stores."""
        self._failures = 0 if good else self._failures + 1
        wait = 0.0 if good else backoff_seconds(self._failures, 1.0)
        if look:
            self._look_at = now.mono + max(LOOK_SECONDS, REST_TIMES * took_seconds, wait)
        elif self._delivery.sending:
            wait = max(wait, took_seconds)
        self._rest_until = now.mono + wait

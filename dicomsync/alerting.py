"""Telling who is not looking: a heartbeat while all is well, and alerts while something is not.

What is told is decided in the loop, by `alerts`, from the very facts that `status` tells of; it is sent by
a hand, one message at a time to each receiver. One that hangs or refuses is tried again later, with what is
to be told then, and delays nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dicomsync import alerts, receivers
from dicomsync.alerts import Alert, News, Policy
from dicomsync.concerns import Limits
from dicomsync.hands import Threads
from dicomsync.model import Moment
from dicomsync.receivers import Receiver

if TYPE_CHECKING:
    from dicomsync.ledger import Ledger

log = logging.getLogger("dicomsync.alerts")

FACT = "alerts"  # of the ledger: what was told
FIRST_SECONDS, MOST_SECONDS = 30.0, 3600.0  # how long a receiver that failed is left alone


@dataclass(frozen=True, slots=True)
class Settings:
    """What `[alerts]` asks for; a receiver is None where there is none."""

    name: str
    webhook: Receiver | None
    form: str
    heartbeat: Receiver | None
    every_seconds: float
    policy: Policy
    limits: Limits


class Line:
    """The line to one receiver: at most one message on its way, and how it went of late."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._hands = Threads(1)
        self._sent: Future[str] | None = None
        self._failures = 0
        self._failing, self._failing_since = "", 0.0
        self._taken_at: float | None = None
        self.next_at = float("-inf")
        """Not before this moment (monotonic) is anything sent."""

    @property
    def busy(self) -> bool:
        """Whether a message is on its way, or nobody has asked yet what became of it."""
        return self._sent is not None

    def send(self, media_type: str = "", content: bytes = b"") -> None:
        """Have it sent by the hand."""
        self._sent = self._hands.submit(receivers.send, self._receiver, media_type, content)

    def came(self, now: Moment) -> bool | None:
        """Say whether what was sent was taken; None while there is no answer, or nothing was sent."""
        if self._sent is None or not self._sent.done():
            return None
        try:
            failed = self._sent.result()
        except Exception as error:
            failed = f"it could not be sent ({type(error).__name__})"
        self._sent = None
        if failed:
            self._fail(failed, now)
        else:
            if self._failures:
                log.info("the %s is taken again", self._receiver.name)
            self._failures, self._failing, self._taken_at = 0, "", now.wall
        return not failed

    def _fail(self, failed: str, now: Moment) -> None:
        if not self._failures:
            self._failing_since = now.wall
        if failed != self._failing:
            log.warning("the %s was not taken: %s; it is tried again", self._receiver.name, failed)
        self._failures, self._failing = self._failures + 1, failed
        self.next_at = now.mono + min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(self._failures - 1, 10))

    def told(self, wall: float) -> dict[str, Any]:
        """Give how it goes, as plain values for the facts."""
        failing = max(0.0, round(wall - self._failing_since, 3)) if self._failures else None
        taken = None if self._taken_at is None else max(0.0, round(wall - self._taken_at, 3))
        return {"failing": self._failing or None, "failing_seconds": failing, "taken_seconds": taken}

    def close(self) -> None:
        """Let the hand end after what it is about."""
        self._hands.shutdown()


class Alerting:
    """Tells for one daemon. What was told is kept in the ledger, so that a restart tells nothing twice."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.settings = settings
        self._ledger = ledger
        self._webhook = Line(settings.webhook) if settings.webhook else None
        self._heartbeat = Line(settings.heartbeat) if settings.heartbeat else None
        self._alerts = alerts.loaded(ledger.fact(FACT))
        self._news: tuple[News, ...] = ()  # on its way
        self._kept = _mark(self._alerts)
        self._withheld = False

    def lines(self, wall: float) -> Mapping[str, dict[str, Any]]:
        """Say how the receivers take what they are sent, for the facts."""
        found = {}
        if self._webhook is not None:
            told = sum(1 for one in self._alerts if one.told_level)
            found["webhook"] = self._webhook.told(wall) | {"told": told}
        if self._heartbeat is not None:
            found["heartbeat"] = self._heartbeat.told(wall) | {"withheld": self._withheld}
        return found

    def turn(self, facts: alerts.Facts, now: Moment, *, keeps: bool) -> None:
        """Take what came of what was sent, send what is to be told, and record that where `keeps` lets it.

        Raises LedgerProblem where it cannot be recorded.
        """
        if self._heartbeat is not None:
            self._beat(self._heartbeat, facts, now)
        if self._webhook is not None:
            self._tell(self._webhook, facts, now)
            if keeps:
                self._keep()

    def _beat(self, line: Line, facts: alerts.Facts, now: Moment) -> None:
        if line.came(now) is False:
            line.next_at = now.mono + self.settings.every_seconds
        self._withheld = not alerts.beats(facts)
        if not line.busy and not self._withheld and now.mono >= line.next_at:
            line.next_at = now.mono + self.settings.every_seconds
            line.send()

    def _tell(self, line: Line, facts: alerts.Facts, now: Moment) -> None:
        settings = self.settings
        if line.came(now):
            self._alerts = alerts.told(self._alerts, self._news, now.wall)
        if line.busy:
            return  # what is on its way stays as it was told
        self._alerts = alerts.follow(self._alerts, facts, now.wall, settings.policy)
        self._news = alerts.due(self._alerts, now.wall, settings.policy)
        if self._news and now.mono >= line.next_at:
            line.send(*alerts.body(self._news, facts, settings.name, now.wall, settings.form))

    def _keep(self) -> None:
        mark = _mark(self._alerts)
        if mark != self._kept:
            with self._ledger.transaction():
                self._ledger.set_fact(FACT, alerts.dumped(self._alerts))
            self._kept = mark

    def close(self) -> None:
        """Let the hands end."""
        for line in (self._webhook, self._heartbeat):
            if line is not None:
                line.close()


def _mark(known: Iterable[Alert]) -> set[tuple[tuple[str, str], str, float]]:
    """Give what must outlive a restart: what was told of what, and when."""
    return {(one.key, one.told_level, one.told_at) for one in known if one.told_level}

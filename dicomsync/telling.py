"""What a daemon tells of itself: status.json for who looks, heartbeat and alerts for who does not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from dicomsync import concerns, facts, wiring
from dicomsync.alerting import Alerting
from dicomsync.certificates import Certificates
from dicomsync.concerns import Level
from dicomsync.config import Config
from dicomsync.hands import Threads
from dicomsync.ledger import Ledger, Reader
from dicomsync.model import Moment
from dicomsync.pacing import Circuit
from dicomsync.statusfile import Around, StatusFile

log = logging.getLogger("dicomsync.daemon")

AGAIN_SECONDS = 1800.0  # how often a trouble that lasts is told again in the log


class Journal:
    """Says in the log that a trouble lasts, and that a folder is not watched: nobody else does."""

    def __init__(self) -> None:
        self._troubled_at: float | None = None
        self._unwatched: dict[str, str] = {}

    def turn(self, told: facts.Facts, mono: float) -> None:
        """Take how it stands, as of this moment (monotonic seconds)."""
        if told["level"] != Level.WRONG:
            self._troubled_at = None
        elif self._troubled_at is None:
            self._troubled_at = mono  # what it is was told when it began
        elif mono - self._troubled_at >= AGAIN_SECONDS:
            self._troubled_at = mono
            log.warning("still: %s", concerns.line(told))
        unwatched = {
            one["about"]: one["words"] for one in told["concerns"] if one["code"] == "folder-unwatched"
        }
        for about, words in unwatched.items():
            if self._unwatched.get(about) != words:
                log.warning("%s", words)
        self._unwatched = unwatched


class Telling:
    """Tells of one daemon from its start to its end, in its loop; nothing here waits for anybody else."""

    def __init__(self, config: Config, ledger: Ledger, runtime: str, *, sends: bool) -> None:
        self._ledger = ledger
        self._sends = sends
        self._file = StatusFile(Path(config.ledger.path), runtime)
        self._file.remove()  # one that died has left it
        with ledger.transaction():
            ledger.set_fact(facts.STATUS_FILE, str(self._file.path))
        self._journal = Journal()
        self._alerting: Alerting | None = None
        self.take(config)

    def take(self, config: Config) -> None:
        """Tell as this config says, from now on."""
        if self._alerting is not None:
            self._alerting.close()
        self._expected = wiring.expected_of(config)
        self._certificates = Certificates(wiring.archive_of(config.archive), Threads(1))
        self._alerting = Alerting(wiring.alerts_of(config), self._ledger) if self._sends else None

    def tell(
        self, circuit: Circuit, watch: Mapping[bytes, str], now: Moment, blocked: tuple[str, float] | None
    ) -> facts.Facts:
        """Tell how it stands, and give that; `watch` says of each folder how it is watched.

        `blocked` says why the ledger cannot be written, and since when (wall seconds).
        Raises LedgerProblem where the ledger cannot be read, or what was told cannot be recorded.
        """
        around = Around(expected=self._expected)
        if self._alerting is not None:
            self._certificates.turn(now.mono)
            limits, lines = self._alerting.settings.limits, self._alerting.lines(now.wall)
            around = Around(limits, self._expected, self._certificates.ends, lines)
        with Reader.over(self._ledger) as reader:
            told = self._file.write(reader, circuit, watch, now, blocked, around)
        if self._alerting is not None:
            self._alerting.turn(told, now, keeps=not blocked)
        self._journal.turn(told, now.mono)
        return told

    def end(self) -> None:
        """Take status.json away; who waits for a heartbeat waits in vain."""
        self._file.remove()
        if self._alerting is not None:
            self._alerting.close()

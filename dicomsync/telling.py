"""What a daemon tells of itself: status.json for who looks, heartbeat and alerts for who does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dicomsync import facts, wiring
from dicomsync.alerting import Alerting
from dicomsync.certificates import Certificates
from dicomsync.config import Config
from dicomsync.hands import Threads
from dicomsync.ledger import Ledger, Reader
from dicomsync.model import Moment
from dicomsync.pacing import Circuit
from dicomsync.statusfile import Around, StatusFile


class Telling:
    """Tells of one daemon from its start to its end, in its loop; nothing here waits for anybody else."""

    def __init__(self, config: Config, ledger: Ledger, runtime: str, *, sends: bool) -> None:
        self._ledger = ledger
        self._sends = sends
        self._file = StatusFile(Path(config.ledger.path), runtime)
        self._file.remove()  # one that died has left it
        with ledger.transaction():
            ledger.set_fact(facts.STATUS_FILE, str(self._file.path))
        self._alerting: Alerting | None = None
        self.take(config)

    def take(self, config: Config) -> None:
        """Tell as this config says, from now on."""
        if self._alerting is not None:
            self._alerting.close()
        self._expected = wiring.expected_of(config)
        self._certificates = Certificates(wiring.archive_of(config.archive), Threads(1))
        self._alerting = Alerting(wiring.alerts_of(config), self._ledger) if self._sends else None

    def tell(self, circuit: Circuit, watch: Mapping[bytes, str], now: Moment, blocked: str) -> None:
        """Tell how it stands; `watch` says of each folder how it is watched, `blocked` why the ledger is.

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

    def end(self) -> None:
        """Take status.json away; who waits for a heartbeat waits in vain."""
        self._file.remove()
        if self._alerting is not None:
            self._alerting.close()

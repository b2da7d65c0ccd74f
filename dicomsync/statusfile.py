"""status.json: what a running daemon tells of itself, for an operators' group, page and metrics.

It is beside the ledger, or in the service's runtime directory, whose group may read it; nothing in it
names a person, a path or a host. Without it no daemon is running: it is taken away in the end.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dicomsync import __version__, facts
from dicomsync.concerns import How, Limits
from dicomsync.ledger import Reader
from dicomsync.model import Moment
from dicomsync.pacing import Circuit

log = logging.getLogger("dicomsync.daemon")


@dataclass(frozen=True, slots=True)
class Around:
    """What a daemon knows beside the ledger; as in `facts.Life`, but `expected` by the folder's path."""

    limits: Limits = facts.USUAL
    expected: Mapping[bytes, float] = field(default_factory=dict)
    certificates: Mapping[str, float] = field(default_factory=dict)
    alerts: Mapping[str, facts.Facts] = field(default_factory=dict)


_NOTHING_AROUND = Around()


class StatusFile:
    """Writes status.json for one daemon from its start to its end."""

    def __init__(self, ledger: Path, runtime: str) -> None:
        self._ledger = ledger
        self.path = Path(runtime or os.path.dirname(os.path.realpath(ledger))) / "status.json"
        self._mode = 0o640 if runtime else 0o600
        self._started_at = time.time()

    def write(
        self,
        reader: Reader,
        circuit: Circuit,
        watch: Mapping[bytes, str],
        now: Moment,
        blocked: tuple[str, float] | None = None,
        around: Around = _NOTHING_AROUND,
    ) -> facts.Facts:
        """Write how it stands, and give that; `watch` says of each configured folder how it is watched.

        `blocked` says why the ledger cannot be written, and since when (wall seconds).
        Raises LedgerProblem where the ledger cannot be read; that the file cannot be written stops nothing.
        """
        troubled = bool(circuit.words)
        rows = {os.fsencode(row["path"]): row["id"] for row in reader.folders()}
        life = facts.Life(
            at=now.wall,
            pid=os.getpid(),
            started_at=self._started_at,
            version=__version__,
            trouble=circuit.words,
            kind=circuit.trouble.value,
            trouble_at=now.wall - (now.mono - circuit.since) if troubled else None,
            retry_at=now.wall + (circuit.probe_at - now.mono) if troubled else None,
            blocked=blocked[0] if blocked else "",
            blocked_at=blocked[1] if blocked else None,
            watch={rows[path]: how for path, how in watch.items() if path in rows},
            expected={rows[path]: span for path, span in around.expected.items() if path in rows},
            limits=around.limits,
            certificates=around.certificates,
            alerts=around.alerts,
        )
        near = replace(facts.beside(self._ledger, None), life=life, daemon=True, holder=life.pid)
        told = facts.for_operators(facts.snapshot(reader, now.wall, near, How()))
        fresh = f"{self.path}.new"
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w") as file:
                os.fchmod(descriptor, self._mode)  # the service's umask would keep the group out
                json.dump(told | {"written_at": round(now.wall, 3)}, file)
            os.replace(fresh, self.path)
        except OSError as error:  # a full /run is no reason to stop storing
            log.debug("status.json cannot be written (%s)", error.strerror)
        return told

    def remove(self) -> None:
        """Take the file away: the daemon ends."""
        with contextlib.suppress(OSError):
            self.path.unlink()

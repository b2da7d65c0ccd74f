"""A service on a booted Debian: an instance of the unit, with its config, its folder and its archive."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from dicomsync import sandbox
from dicomsync.ledger import Reader
from dicomsync.model import InstanceState
from dicomsync.samples import write_studies
from tests.booted import Machine

CONFIG = """
[archive]
url = "{url}"
confirm_wait = "0.2s"
[ledger]
path = "/var/lib/dicomsync/{name}/ledger.db"
[[folders]]
path = "/srv/{name}"
settle = "0.1s"
scan_interval = "0.5s"
[batch]
quiet = "0.1s"
"""


@dataclass
class Service:
    """One instance of the unit, with its config, its folder and its archive."""

    machine: Machine
    name: str
    archive: sandbox.Archive

    def __post_init__(self) -> None:
        self.unit = f"dicomsync@{self.name}.service"
        self.folder = self.machine.path(f"/srv/{self.name}")
        self.config = self.machine.path(f"/etc/dicomsync/{self.name}.toml")
        self.ledger = self.machine.path(f"/var/lib/dicomsync/{self.name}/ledger.db")
        self.folder.mkdir()
        self.config.write_text(CONFIG.format(url=self.archive.url, name=self.name))

    def systemctl(self, verb: str, *more: str) -> str:
        return self.machine.ask("systemctl", verb, *more, self.unit)

    def show(self, name: str) -> str:
        """One of the unit's properties, as systemd has it."""
        return self.systemctl("show", f"--property={name}", "--value")

    def said(self) -> str:
        """All that systemd and the daemon said of this instance."""
        return self.machine.ask("journalctl", f"--unit={self.unit}", "--no-pager", "--output=cat")

    def signal(self, name: str) -> None:
        self.systemctl("kill", "--kill-whom=main", f"--signal={name}")

    def arrive(self, count: int, seed: int = 1) -> None:
        """Let a study of so many instances come into the folder."""
        below = self.folder / f"came-{seed}"
        write_studies(below, studies=1, series=1, instances=count, rows=8, columns=8, seed=seed)

    def has(self, path: str) -> bool:
        return self.machine.run("test", "-e", path).returncode == 0

    def counted(self, state: InstanceState) -> int:
        with Reader.open(self.ledger) as reader:
            return reader.counts().instances[state]

    def until(self, what: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait until something is so; where it does not become so, show what the service said."""
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, f"it did not come to pass:\n{self.said()}"
            time.sleep(0.1)

    def until_stored(self, count: int) -> None:
        """Wait until the archive has so many instances, and the ledger knows it."""
        self.until(lambda: len(self.archive.stored()) == count)
        self.until(lambda: self.counted(InstanceState.STORED) == count)

    def posts(self) -> int:
        return sum(request.method == "POST" for request in self.archive.requests)

"""How long from the last byte written to stored, less `settle` and `quiet`, by a real daemon.

Studies of one instance are written at random moments, to an idle daemon or (--backlog) to one that is
busy with what was there before. Stored is when the ledger has committed the archive's answer.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import servers
from benchmarks.goals import GOALS, Finding
from benchmarks.measuring import median, percentile
from dicomsync.samples import instance, retold, uid, write_ct_files

SETTLE_SECONDS = QUIET_SECONDS = 1.0


@contextmanager
def archive(name: str, home: Path) -> Iterator[str]:
    """Run the archive that was asked for; gives its URL and kind, as a config has them."""
    if name == "sandbox":
        with servers.sandbox(home) as url:
            yield f'url = "{url}"'
        return
    home.mkdir()
    start = servers.sink if name == "sink" else servers.orthanc(home)
    with start() as server:
        yield f'url = "{server.url}"\nkind = "{server.kind}"'


@contextmanager
def daemon(home: Path, archive: str) -> Iterator[None]:
    """Run a daemon over `home`/in; `archive` is what the config says of it."""
    config = home / "config.toml"
    config.write_text(
        f'[archive]\n{archive}\n[ledger]\npath = "{home / "ledger.db"}"\n'
        f'[[folders]]\npath = "{home / "in"}"\nsettle = {SETTLE_SECONDS}\nwatch = "events"\n'
        f"[batch]\nquiet = {QUIET_SECONDS}\n"
    )
    process = subprocess.Popen([*servers.COMMAND, "run", "-q", "-c", str(config)])
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def stored(home: Path) -> dict[str, float]:
    """Say when each instance was stored (wall seconds), by SOP Instance UID."""
    if not (home / "ledger.db").exists():
        return {}
    with closing(sqlite3.connect(f"{(home / 'ledger.db').as_uri()}?mode=ro", uri=True)) as database:
        try:
            return dict(
                database.execute("SELECT sop_instance_uid, stored_at FROM instances WHERE state = 'stored'")
            )
        except sqlite3.OperationalError:  # its tables are being made
            return {}


def drop(folder: Path, studies: int, every_seconds: float, seed: object) -> dict[str, float]:
    """Write studies at random moments; gives when each was closed, by SOP Instance UID."""
    luck = random.Random(str(seed))
    old = (uid("t"), uid("t", 0), uid("t", 0, 0))
    template = instance(
        study_uid=old[0],
        series_uid=old[1],
        sop_uid=old[2],
        rows=512,
        columns=512,
        extra={"PatientID": "DEMO"},
    )
    closed = {}
    for number in range(studies):
        time.sleep(luck.expovariate(1 / every_seconds))
        new = (uid(seed, number), uid(seed, number, 0), uid(seed, number, 0, 0))
        data = retold(template, dict(zip(old, new, strict=True)))
        (folder / f"{seed}-{number}.dcm").write_bytes(data)
        closed[new[2]] = time.time()
    return closed


def until_stored(home: Path, wanted: set[str]) -> dict[str, float]:
    """Wait until these are stored."""
    while not wanted <= (found := stored(home)).keys():
        time.sleep(0.2)
    return found


@dataclass(frozen=True, slots=True)
class Waits:
    """How long each study took, in seconds, and how much of the backlog was left as the last was written."""

    seconds: tuple[float, ...]
    left: int

    @property
    def milliseconds(self) -> tuple[float, float, float]:
        """Median, 95th percentile and worst."""
        seconds = self.seconds
        return 1000 * median(seconds), 1000 * percentile(seconds, 0.95), 1000 * max(seconds)


def measure(name: str, studies: int, every_seconds: float, backlog: int = 0, seed: int = 0) -> Waits:
    """Run a daemon and an archive, and drop studies."""
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        (home / "in").mkdir()
        write_ct_files(home / "in" / "backlog", count=backlog, seed=seed)
        with archive(name, home / "archive") as where, daemon(home, where):
            first = drop(home / "in", 1, 0.1, "first")
            if not backlog:
                until_stored(home, set(first))  # and then there is a watch
            else:
                while not stored(home):
                    time.sleep(0.05)
            closed = drop(home / "in", studies, every_seconds, seed)
            left = backlog + 1 + len(closed) - len(stored(home))
            found = until_stored(home, set(closed))
    return Waits(tuple(found[one] - closed[one] - SETTLE_SECONDS - QUIET_SECONDS for one in closed), left)


def findings(name: str, studies: int, backlog: int, seed: int) -> Iterator[Finding]:
    """Say the 95th percentile, idle and, of a third as many, while a backlog runs that outlasts them."""
    titles = (("to visible, p95, idle", studies, 0), ("to visible, p95, backlog", studies // 3, backlog))
    for title, count, before in titles:
        waits = measure(name, count, 0.3, before, seed)
        half, p95, worst = waits.milliseconds
        detail = f"median {half:.0f}, worst {worst:.0f} ms; {waits.left} instances left"
        yield Finding(title, name, p95, "ms", GOALS.get((title, name)), detail=detail)


def main() -> None:
    """Print a line: median, 95th percentile and worst."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", choices=["sandbox", "sink", "orthanc"], default="sandbox")
    parser.add_argument("--studies", type=int, default=60)
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two studies, on average")
    parser.add_argument("--backlog", type=int, default=0, help="instances that are there before it starts")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    waits = measure(options.archive, options.studies, options.every, options.backlog, options.seed)
    half, p95, worst = waits.milliseconds
    print(
        f"{len(waits.seconds)} studies, {options.archive}, {os.cpu_count()} processors, "
        f"backlog {options.backlog} ({waits.left} instances left when the last was written): "
        f"median {half:.0f} ms, p95 {p95:.0f} ms, worst {worst:.0f} ms"
    )


if __name__ == "__main__":
    main()

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
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from dicomsync.samples import instance, retold, uid, write_ct_files
from tests import orthanc

SETTLE_SECONDS = QUIET_SECONDS = 1.0
COMMAND = [sys.executable, "-m", "dicomsync"]


@contextmanager
def sandbox(home: Path) -> Iterator[str]:
    """Run a sandbox as a process of its own; gives its URL."""
    port = orthanc.free_port()
    process = subprocess.Popen(
        [*COMMAND, "sandbox", "--store", str(home), "--port", str(port)], stdout=subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{port}/v2"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def archive(name: str, home: Path) -> Iterator[str]:
    """Run the archive that was asked for; gives its URL."""
    if name == "sandbox":
        with sandbox(home) as url:
            yield url
    else:
        with orthanc.running(home) as server:
            yield server.url


@contextmanager
def daemon(home: Path, url: str) -> Iterator[None]:
    """Run a daemon over `home`/in."""
    config = home / "config.toml"
    config.write_text(
        f'[archive]\nurl = "{url}"\n[ledger]\npath = "{home / "ledger.db"}"\n'
        f'[[folders]]\npath = "{home / "in"}"\nsettle = {SETTLE_SECONDS}\nwatch = "events"\n'
        f"[batch]\nquiet = {QUIET_SECONDS}\n"
    )
    process = subprocess.Popen([*COMMAND, "run", "-q", "-c", str(config)])
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


def main() -> None:
    """Print a line: median, 95th percentile and worst."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", choices=["sandbox", "orthanc"], default="sandbox")
    parser.add_argument("--studies", type=int, default=60)
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two studies, on average")
    parser.add_argument("--backlog", type=int, default=0, help="instances that are there before it starts")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        (home / "in").mkdir()
        write_ct_files(home / "in" / "backlog", count=options.backlog, seed=options.seed)
        with archive(options.archive, home / "archive") as url, daemon(home, url):
            first = drop(home / "in", 1, 0.1, "first")
            if not options.backlog:
                until_stored(home, set(first))  # and then there is a watch
            else:
                while not stored(home):
                    time.sleep(0.05)
            closed = drop(home / "in", options.studies, options.every, options.seed)
            left = options.backlog + 1 + len(closed) - len(stored(home))
            found = until_stored(home, set(closed))
    waits = sorted(found[one] - closed[one] - SETTLE_SECONDS - QUIET_SECONDS for one in closed)
    print(
        f"{len(waits)} studies, {options.archive}, {os.cpu_count()} processors, backlog {options.backlog} "
        f"({left} instances left when the last was written): median {statistics.median(waits):.2f} s, "
        f"p95 {waits[int(len(waits) * 0.95)]:.2f} s, worst {waits[-1]:.2f} s"
    )


if __name__ == "__main__":
    main()

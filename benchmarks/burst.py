"""A hundred thousand small files at once: is every one stored, in how much memory, and how fast?

    python -m benchmarks.burst --files 100000

A daemon watches an empty folder; then the files come as fast as this machine writes them. What was written
is held against the ledger and against the archive's own listing. Ends with 1 if anything is lost or was sent
twice, or if the daemon has ever had more memory than `--most-mib`.
"""

from __future__ import annotations

import argparse
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

from dicomsync import sandbox
from dicomsync.samples import instance, retold, uid

COMMAND = [sys.executable, "-m", "dicomsync", "run", "-q", "-c"]


def write(folder: Path, files: int, studies: int) -> set[str]:
    """Write the files, a directory a study, interleaved; gives their SOP Instance UIDs."""
    old = (uid("t"), uid("t", 0), uid("t", 0, 0))
    template = instance(
        study_uid=old[0], series_uid=old[1], sop_uid=old[2], rows=8, columns=8, extra={"PatientID": "DEMO"}
    )
    for study in range(studies):
        (folder / f"study{study}").mkdir()
    written = set()
    for number in range(files):
        study = number % studies
        new = (uid("b", study), uid("b", study, 0), uid("b", study, 0, number))
        path = folder / f"study{study}" / f"{number:06}.dcm"
        path.write_bytes(retold(template, dict(zip(old, new, strict=True))))
        written.add(new[2])
    return written


def peak_mib(pid: int) -> float:
    """Say how much memory a process has had at most."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def stored(ledger: Path) -> int:
    """Say how many instances the ledger calls stored."""
    if not ledger.exists():
        return 0
    with closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True)) as database:
        try:
            row = database.execute("SELECT n FROM counts WHERE what = 'instance' AND state = 'stored'")
            return int((row.fetchone() or (0,))[0])
        except sqlite3.OperationalError:  # its tables are being made
            return 0


def listed(ledger: Path) -> tuple[dict[str, str], int]:
    """Give every instance's state, row by row, and how many instances all requests together held."""
    with closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True)) as database:
        states = dict(database.execute("SELECT sop_instance_uid, state FROM instances"))
        (sent,) = database.execute("SELECT total(instances) FROM batches").fetchone()
        return states, int(sent)


def main() -> int:
    """Print what came of it; gives the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--most-mib", type=float, default=256.0, help="more memory than this is a failure")
    parser.add_argument("--patience", type=float, default=3600.0, help="seconds until it is called lost")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, sandbox.running(Path(place) / "archive") as archive:
        return burst(Path(place), archive, options)


def burst(home: Path, archive: sandbox.Archive, options: argparse.Namespace) -> int:
    """Run a daemon, write the files, wait, and hold the three accounts together."""
    folder, ledger, config = home / "in", home / "state" / "ledger.db", home / "config.toml"
    folder.mkdir()
    config.write_text(
        f'[archive]\nurl = "{archive.url}"\n[ledger]\npath = "{ledger}"\n'
        f'[[folders]]\npath = "{folder}"\nsettle = 1\nscan_interval = 2\nwatch = "events"\n'
        "[batch]\nquiet = 1\n"
    )
    daemon = subprocess.Popen([*COMMAND, str(config)])
    written: set[str] = set()
    began = time.monotonic()
    writer = threading.Thread(
        target=lambda: written.update(write(folder, options.files, options.studies)), daemon=True
    )
    try:
        writer.start()
        end = began + options.patience
        done, peak = 0, 0.0
        while done < options.files and time.monotonic() < end and daemon.poll() is None:
            time.sleep(0.5)
            done, peak = stored(ledger), peak_mib(daemon.pid)
            print(f"\r{done} stored, {peak:.0f} MiB", end="", file=sys.stderr, flush=True)
        took = time.monotonic() - began
        writer.join()
        (states, sent), kept = listed(ledger), set(archive.stored())
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)
    whole = {one for one, state in states.items() if state == "stored"}
    posts = sum(request.method == "POST" for request in archive.requests)
    print(
        f"\nburst: {len(written)} files, {len(whole)} stored, {len(kept)} in the archive, "
        f"{posts} requests, {sent - len(states)} sent again, "
        f"peak {peak:.0f} MiB, {took:.0f} s, {len(whole) / took:.0f} files/s"
    )
    accounted = written == whole == kept == set(states) and sent == len(written)
    return 0 if accounted and peak <= options.most_mib else 1


if __name__ == "__main__":
    sys.exit(main())

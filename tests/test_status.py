"""`status` as it is typed: what is wrong before anything else, and live."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from dicomsync import samples

from .conftest import Site


def backfilled(site: Site, tmp_path: Path) -> None:
    """A ledger with four instances due, as the archive is away, and one file held."""
    samples.write_studies(site.folder, studies=1, series=1, instances=4, rows=8, columns=8)
    site.write("cut.dcm", next(site.folder.rglob("*.dcm")).read_bytes()[:-4])
    site.configure("http://127.0.0.1:1/dicom-web")
    assert site.run_backfill("-q").code == 5


def test_what_is_wrong_and_what_helps_come_first(site: Site, tmp_path: Path) -> None:
    backfilled(site, tmp_path)
    told = site.run("status", "-c", site.config_file).out.splitlines()
    assert told[0].startswith("4 instances still due, and no daemon or backfill is running")
    assert f"      dicomsync backfill -c {site.config_file}" in told
    assert any(
        re.fullmatch(r"!  1 file held: not whole, or not readable \(.*\)  \[held\]", line) for line in told
    )
    assert told.index("Instances") > told.index(f"      dicomsync explain -c {site.config_file}")


def test_watching_gives_a_program_a_line_each_time(site: Site, tmp_path: Path) -> None:
    backfilled(site, tmp_path)
    process = site.start("status", "-c", site.config_file, "--watch", "--json", "--every", "100ms")
    assert process.stdout is not None
    seen = [json.loads(process.stdout.readline()) for _ in range(3)]
    assert seen[0]["at"] < seen[1]["at"] < seen[2]["at"]
    assert {one["level"] for one in seen} == {"person"}


def test_watching_shows_a_person_on_a_terminal_what_changes(site: Site, tmp_path: Path) -> None:
    backfilled(site, tmp_path)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "dicomsync", "status", "-c", site.config_file, "--watch", "--every", "100ms"],
        stdout=theirs,
        stdin=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "400", "LINES": "50"},
    )
    os.close(theirs)
    seen = b""
    try:
        while seen.count(b"still due") < 4:
            seen += os.read(ours, 65536)
        site.ledger.unlink()
        while b"is gone; nothing can be shown" not in seen:
            seen += os.read(ours, 65536)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"Traceback" not in seen

"""Folders in trouble: missing, gone for a while, unreadable, hanging. Each is told and stops nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dicomsync.samples import instance, uid, write_studies

from . import accounts, fuse
from .conftest import need
from .test_daemon import Site, opened, until

STUDIES = 6  # more than there are transfers
OFTEN = "from dicomsync import daemon, pulse, wiring; daemon.STATUS_SECONDS = 0.3\n"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with opened(tmp_path, OFTEN) as one:
        yield one


def second(where: Path) -> str:
    """A second folder, for the config."""
    return (
        f'[[folders]]\npath = "{where}"\nsettle = "0.1s"\nscan_interval = "0.2s"\nfull_scan_interval = "1s"'
    )


def write(site: Site, seed: int, instances: int = 2) -> None:
    write_studies(
        site.folder / str(seed), studies=1, series=1, instances=instances, rows=8, columns=8, seed=seed
    )


def sent(site: Site) -> int:
    """How many instances all requests together held."""
    return int(accounts.rows(site.ledger, "SELECT total(instances) FROM batches")[0][0])


def status(site: Site) -> Any:
    told = subprocess.run(
        [sys.executable, "-m", "dicomsync", "status", "--json", "--ledger", str(site.ledger)],
        capture_output=True,
        check=True,
        timeout=60,
    )
    return json.loads(told.stdout)


# hanging


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[fuse.Hanging]:
    """A mount with a few studies of one instance each."""
    need(fuse.missing() or None)
    files = {
        f"{number}.dcm": instance(
            study_uid=uid("m", number),
            series_uid=uid("m", number, 1),
            sop_uid=uid("m", number, 1, 1),
            rows=8,
            columns=8,
            extra={"PatientID": "DEMO"},
        )
        for number in range(STUDIES)
    }
    try:
        one = fuse.Hanging(tmp_path / "mount", files)
    except PermissionError:  # a container that may not mount
        need("mounting is not allowed here")
        raise
    yield one
    one.close()


def hanging_seconds(site: Site) -> float | None:
    """Say for how long the mount has been told to hang."""
    (found,) = (one["hanging_seconds"] for one in status(site)["folders"] if one["path"].endswith("mount"))
    return None if found is None else float(found)


def test_a_folder_that_hangs_from_the_start_is_told_and_stops_nothing_else(
    site: Site, mount: fuse.Hanging
) -> None:
    site.prelude += "pulse.HANGS_SECONDS = wiring.LOOK_SECONDS = 1"
    site.configure(second(mount.where))
    mount.hang()
    write(site, 1)
    site.start()
    site.ready()
    until(lambda: len(site.archive.stored()) == 2)
    until(lambda: any("folder 2 does not answer" in line.lower() for line in site.heard()))
    assert "does not answer; what is in it waits" in site.said()
    assert str(mount.where) not in site.said()
    assert (hanging_seconds(site) or 0) >= 1
    write(site, 2)
    until(lambda: len(site.archive.stored()) == 4)
    mount.answer()
    until(lambda: site.stored() == 4 + STUDIES)
    until(lambda: hanging_seconds(site) is None)
    assert "answers again" in site.said()


def test_files_that_are_due_in_a_folder_that_hangs_are_in_no_other_files_way(
    site: Site, mount: fuse.Hanging
) -> None:
    site.prelude += "pulse.HANGS_SECONDS = 1"
    site.archive.set_faults(["down"])
    site.configure(second(mount.where))
    site.start()
    site.ready()
    until(lambda: any(f"{STUDIES} instances due" in line for line in site.heard()))
    mount.hang()
    site.archive.set_faults([])
    write(site, 1)
    until(lambda: len(site.archive.stored()) == 2, 60)
    write(site, 2)
    until(lambda: len(site.archive.stored()) == 4)
    mount.answer()
    until(lambda: site.stored() == 4 + STUDIES, 60)
    posts = sum(request.method == "POST" for request in site.archive.requests)
    accounts.sent_each_once(site.ledger, posts, 4 + STUDIES)


def test_sigterm_ends_it_in_time_though_a_folder_hangs_in_the_middle_of_everything(
    site: Site, mount: fuse.Hanging
) -> None:
    site.prelude += "daemon.DRAIN_SECONDS = 2; wiring.LOOK_SECONDS = 1"
    site.archive.set_faults(["down"])
    site.configure(second(mount.where))
    site.start()
    site.ready()
    until(lambda: any(f"{STUDIES} instances due" in line for line in site.heard()))
    mount.hang()
    site.archive.set_faults([])
    until(lambda: "the archive answers" in site.said(), 60)
    began = time.monotonic()
    site.tell(signal.SIGTERM)
    assert site.ends() == 0
    assert time.monotonic() - began < 10
    assert "Traceback" not in site.said()
    mount.answer()
    site.start()
    until(lambda: site.stored() == STUDIES, 60)
    assert len([request for request in site.archive.requests if request.method == "POST"]) == STUDIES


def test_a_reload_while_requests_are_stuck_in_a_folder_ends_it_rather_than_send_twice(
    site: Site, mount: fuse.Hanging
) -> None:
    site.prelude += "wiring.LOOK_SECONDS = 1; daemon.QUIESCE_SECONDS = 3"
    site.archive.set_faults(["down"])
    site.configure(second(mount.where))
    site.start()
    site.ready()
    until(lambda: any(f"{STUDIES} instances due" in line for line in site.heard()))
    mount.hang()
    site.archive.set_faults([])
    until(lambda: status(site)["counts"]["sending"] == 4, 60)
    site.tell(signal.SIGHUP)
    assert site.ends() == 1
    assert "Requests are still on their way, and the archive or a folder does not answer" in site.said()
    assert "Traceback" not in site.said()
    mount.answer()
    site.start()
    until(lambda: site.stored() == STUDIES, 60)
    assert len([request for request in site.archive.requests if request.method == "POST"]) == STUDIES


# missing, gone, unreadable


def test_a_folder_that_is_missing_at_the_start_is_waited_for(site: Site, tmp_path: Path) -> None:
    late = tmp_path / "late"
    site.configure(second(late))
    write(site, 1)
    site.start()
    site.ready()
    until(lambda: len(site.archive.stored()) == 2)
    until(lambda: any("Folder 2 cannot be read" in line for line in site.heard()))
    assert str(late) not in site.said()
    write_studies(late, studies=1, series=1, instances=3, rows=8, columns=8, seed=7)
    until(lambda: site.stored() == 5)
    until(lambda: "can be read again" in site.said())


def test_a_folder_that_goes_and_comes_back_loses_nothing_and_sends_nothing_twice(
    site: Site, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    write_studies(other, studies=1, series=1, instances=3, rows=8, columns=8, seed=7)
    site.configure(second(other))
    site.start()
    site.ready()
    until(lambda: site.stored() == 3)
    away = other.rename(tmp_path / "away")
    until(lambda: "cannot be read, or not all of it" in site.said())
    write(site, 1)
    until(lambda: site.stored() == 5)
    away.rename(other)
    write_studies(other / "new", studies=1, series=1, instances=3, rows=8, columns=8, seed=8)
    until(lambda: site.stored() == 8)
    counts = status(site)
    assert counts["files"]["ready"] == 8
    assert counts["files"]["gone"] == counts["files"]["missed"] == counts["counts"]["missed"] == 0
    assert sent(site) == 8


NO_PRIVILEGES = """
import ctypes
class Cap(ctypes.Structure): _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]
assert ctypes.CDLL(None).capset(ctypes.byref(Cap(0x20080522, 0)), bytes(24)) == 0
"""  # capset(2): root like anybody else, who may not enter what its mode does not open


def test_what_may_not_be_read_is_told_and_is_read_once_it_may(site: Site, tmp_path: Path) -> None:
    site.prelude += NO_PRIVILEGES if os.geteuid() == 0 else ""
    shut = tmp_path / "shut"
    write_studies(shut, studies=1, series=1, instances=3, rows=8, columns=8, seed=7)
    write(site, 1)
    write(site, 2)
    site.configure(second(shut), folder='full_scan_interval = "1s"')
    shut.chmod(0)
    (site.folder / "2").chmod(0)
    site.start()
    try:
        site.ready()
        until(lambda: site.stored() == 2)
        until(
            lambda: any(
                "Folder 2 cannot be read" in line and "1 other thing" in line for line in site.heard()
            )
        )
        assert "Permission denied" in site.said()
        problems = {one["path"]: one["problems"] for one in status(site)["folders"]}
        assert problems == {str(site.folder): 1, str(shut): 1}
    finally:
        shut.chmod(0o700)
        (site.folder / "2").chmod(0o700)
    until(lambda: site.stored() == 7)
    until(lambda: site.said().count("can be read again") == 2)

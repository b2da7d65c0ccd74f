"""Disks that are really full or cannot be written, and a system that watches less than it is asked to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomsync import sandbox
from dicomsync.samples import write_studies

from . import accounts, mounted
from .conftest import SandboxArchive, by_uid, need, small
from .test_daemon import IMPATIENT, Site, until, watches
from .test_daemon_folders import NO_PRIVILEGES

LEDGER_DISK = "4m"
WAITING = "nothing is sent until it can be written"


class Small(Site):
    """A site whose ledger has a small disk to itself."""

    real: SandboxArchive
    written: dict[str, bytes]

    def write(self, seed: int, studies: int = 1, instances: int = 5) -> None:
        paths = write_studies(
            self.folder / str(seed),
            studies=studies,
            series=1,
            instances=instances,
            rows=8,
            columns=8,
            seed=seed,
        )
        self.written |= by_uid(paths)

    def waits(self) -> bool:
        return WAITING in next((one for one in reversed(self.heard()) if one.startswith("STATUS=")), "")

    def status(self) -> subprocess.CompletedProcess[str]:
        command = ["dicomsync", "status", "--ledger", str(self.ledger)]
        return subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, timeout=60, check=False
        )

    @property
    def posts(self) -> int:
        return sum(one.method == "POST" for one in self.archive.requests)

    def is_well(self) -> None:
        until(lambda: accounts.states(self.ledger) == {"stored": len(self.written)}, 60)
        assert self.process is not None
        assert self.process.poll() is None
        assert "Traceback" not in self.said()
        accounts.agree(self.ledger, self.real, self.written)
        assert accounts.rows(self.ledger, "SELECT count(*), sum(instances) FROM batches") == [
            (self.posts, len(self.written))
        ], "every instance was in one request"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Small]:
    with mounted.disk(tmp_path / "state", LEDGER_DISK), sandbox.running(tmp_path / "archive") as archive:
        one = Small(tmp_path, archive, prelude=f"{IMPATIENT}\ndaemon.QUIESCE_SECONDS = 20\n")
        one.real, one.written = SandboxArchive(archive), {}
        yield one
        if one.process is not None and one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        one.socket.close()


def test_a_full_disk_under_the_ledger_stops_all_sending_is_told_and_mends_itself(site: Small) -> None:
    site.start()
    site.ready()
    site.write(1)
    until(lambda: accounts.states(site.ledger) == {"stored": 5})
    ballast = mounted.fill(site.ledger.parent)
    site.write(2, studies=8, instances=50)
    until(site.waits)
    before, kept = site.posts, len(site.archive.stored())
    site.write(3)
    told = site.status()
    assert told.returncode in (0, 20), told.stderr
    assert "Traceback" not in told.stderr
    until(lambda: "its disk is full" in site.said())
    assert (site.posts, len(site.archive.stored())) == (before, kept)
    ballast.unlink()
    site.is_well()


def test_a_disk_that_fills_while_an_answer_is_on_its_way_costs_no_second_store(site: Small) -> None:
    site.archive.set_faults(["stall=1.5@1"])
    site.write(1)
    site.start()
    site.ready()
    until(lambda: len(site.archive.stored()) == 5)
    ballast = mounted.fill(site.ledger.parent)
    site.write(2, studies=8, instances=50)  # so much that the log has no room left for it
    until(lambda: "The ledger" in site.said(), 40)
    ballast.unlink()
    site.is_well()


def test_the_watched_disk_is_full_too_and_the_halves_it_leaves_are_not_sent(
    site: Small, tmp_path: Path
) -> None:
    with mounted.disk(site.folder, "2m"):
        site.start()
        site.ready()
        site.write(1)
        until(lambda: accounts.states(site.ledger) == {"stored": 5})
        ballast = mounted.fill(site.ledger.parent), mounted.fill(site.folder)
        before = site.posts
        content = small("late", study="late", size=64)
        with ballast[1].open("r+b") as file:  # two pages of room: a modality gets half of its file written
            file.truncate(file.seek(0, 2) - 8192)
        late = site.folder / "late.dcm"
        with pytest.raises(OSError, match="No space left"):
            late.write_bytes(content)
        assert 0 < late.stat().st_size < len(content)
        ballast[0].unlink()
        until(lambda: accounts.states(site.ledger, "files") == {"ready": 5, "held": 1})
        assert site.posts == before
        ballast[1].unlink()
        late.write_bytes(content)
        site.written |= by_uid([late])
        site.is_well()


def test_a_ledger_that_cannot_be_written_refuses_the_start_in_words(site: Small) -> None:
    site.write(1)
    site.start()
    site.ready()
    until(lambda: accounts.states(site.ledger) == {"stored": 5})
    _end(site)
    site.write(2)
    before = site.posts
    with mounted.read_only(site.ledger.parent):
        site.start()
        assert site.ends() == 1
    assert "Traceback" not in site.said()
    assert "read-only" in site.said().lower()
    assert site.posts == before
    site.start()
    site.is_well()


def test_a_ledger_directory_without_the_right_to_write_refuses_the_start_in_words(site: Small) -> None:
    site.prelude += NO_PRIVILEGES if os.geteuid() == 0 else ""
    site.write(1)
    site.ledger.parent.chmod(0o500)
    site.start()
    assert site.ends() == 1
    assert "Traceback" not in site.said()
    assert "ermission denied" in site.said()
    assert site.posts == 0
    site.ledger.parent.chmod(0o700)
    site.start()
    site.is_well()


def test_a_disk_that_is_full_at_the_start_is_told_in_words_and_loses_nothing(site: Small) -> None:
    site.write(1)
    site.start()
    site.ready()
    until(lambda: accounts.states(site.ledger) == {"stored": 5})
    _end(site)
    ballast = mounted.fill(site.ledger.parent)
    site.write(2, studies=4, instances=50)
    before = site.posts
    site.told.clear()
    site.start()
    until(lambda: site.process is not None and (site.process.poll() is not None or site.waits()))
    assert "Traceback" not in site.said()
    assert "its disk is full" in site.said()
    assert site.posts == before
    ballast.unlink()
    if site.process is not None and site.process.poll() is not None:
        site.start()  # as systemd does
    site.is_well()


@pytest.mark.watcher
def test_over_the_watch_limit_it_is_told_what_is_only_scanned_and_everything_is_stored(site: Small) -> None:
    fewer = 'echo 5 > /proc/sys/user/max_inotify_watches && exec "$@"'  # of a user namespace of its own
    site.before = ("unshare", "--user", "--map-root-user", "sh", "-c", fewer, "sh")
    done = subprocess.run([*site.before, "true"], capture_output=True, text=True, check=False)
    need(f"no user namespace of our own: {done.stderr.strip()}" if done.returncode else None)
    site.configure(folder='watch = "events"')
    for number in range(12):
        (site.folder / f"study{number}").mkdir()
    site.start()
    site.ready()
    until(lambda: "watch limit reached: 5 of 13 directories" in site.said())
    assert "sysctl -w fs.inotify.max_user_watches=" in site.said()
    assert watches(site.pid) <= 5
    for number in range(12):
        path = site.folder / f"study{number}" / "1.dcm"
        path.write_bytes(small("1", study=str(number)))
        site.written |= by_uid([path])
    site.is_well()


def _end(site: Small) -> None:
    assert site.process is not None
    site.process.terminate()
    assert site.ends() == 0

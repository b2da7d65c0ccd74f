"""Commands beside a running daemon: they go through its socket, and end as if they had done it themselves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dicomsync import sandbox
from dicomsync.samples import write_studies

from .test_daemon import Site, until


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A daemon that leaves alone what was there before it: two studies of three."""
    with sandbox.running(tmp_path / "archive") as archive:
        one = Site(tmp_path, archive)
        write_studies(one.folder / "old", studies=2, series=1, instances=3, rows=8, columns=8)
        one.configure(folder='start = "new"')
        one.start()
        one.ready()
        until(lambda: one.control.is_socket())
        yield one
        assert "Traceback" not in one.said()
        if one.process is not None and one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        one.socket.close()


def command(site: Site, *words: str) -> list[str]:
    name, *rest = words
    return [sys.executable, "-m", "dicomsync", name, "-c", str(site.config), *rest]


@contextmanager
def followed(site: Site) -> Iterator[subprocess.Popen[str]]:
    """A backfill that follows the daemon, which has begun."""
    words = command(site, "backfill", "--no-progress")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as following:
        until(lambda: any("6 instances" in line for line in site.heard()))
        yield following


def told(site: Site, *words: str, code: int = 0) -> str:
    done = subprocess.run(command(site, *words), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_backfill_beside_the_daemon_stores_what_the_daemon_was_to_leave_alone(site: Site) -> None:
    until(lambda: "20 instances" not in site.said())
    text = told(site, "backfill", "--no-progress")
    assert "by the running daemon, finished" in text
    assert "6 instances stored now" in text
    assert len(site.archive.stored()) == 6
    assert site.stored() == 6
    again = json.loads(told(site, "backfill", "--no-progress", "--json"))
    assert (again["end"], again["stored_now"], again["by_daemon"]) == ("finished", 0, True)


def test_a_place_outside_the_folders_is_taken_too_by_the_names_given(site: Site) -> None:
    write_studies(site.home / "elsewhere", studies=1, series=1, instances=4, rows=8, columns=8, seed=9)
    for path in (site.home / "elsewhere").rglob("*.dcm"):
        path.rename(path.with_suffix(".img"))
    assert "4 files" in told(site, "backfill", "--no-progress", str(site.home / "elsewhere"))
    assert not site.archive.stored()
    told(site, "backfill", "--no-progress", "--include", "*.img", str(site.home / "elsewhere"))
    assert len(site.archive.stored()) == 4


def test_an_archive_that_is_away_ends_the_command_with_5_and_the_daemon_goes_on(site: Site) -> None:
    site.archive.set_faults(["down"])
    text = told(site, "backfill", "--no-progress", "--max-duration", "4s", code=5)
    assert "6 files still due" in text
    assert "The daemon goes on with them" in text
    site.archive.set_faults([])
    until(lambda: len(site.archive.stored()) == 6, 60)


def test_ctrl_c_stops_the_command_and_not_the_daemon(site: Site) -> None:
    site.archive.set_faults(["status=503@store"])
    with followed(site) as following:
        following.send_signal(signal.SIGINT)
        said, _ = following.communicate(timeout=30)
    assert following.returncode == 5
    assert "stopped by a signal" in said
    assert "Traceback" not in said
    site.archive.set_faults([])
    until(lambda: len(site.archive.stored()) == 6, 60)


def test_a_daemon_killed_in_the_middle_is_told_and_nothing_is_lost(site: Site) -> None:
    site.archive.set_faults(["status=503@store"])
    with followed(site) as following:
        site.tell(signal.SIGKILL)
        said, _ = following.communicate(timeout=30)
    assert following.returncode == 5
    assert "The daemon ended" in said
    site.archive.set_faults([])
    assert "6 instances stored now" in told(site, "backfill", "--no-progress")  # it goes on by itself


def test_what_the_archive_refused_is_tried_again_at_once(site: Site) -> None:
    site.archive.set_faults(["reason=43265"])
    told(site, "backfill", "--no-progress", code=20)
    site.archive.set_faults([])
    assert "6 rejected instances will be stored again" in told(site, "retry", "--rejected")
    until(lambda: site.stored() == 6)
    assert "knows no study" in told(site, "retry", "9.9.9", code=2)


def test_without_a_daemon_retry_does_it_itself(site: Site) -> None:
    site.archive.set_faults(["reason=43265"])
    told(site, "backfill", "--no-progress", code=20)
    site.tell(signal.SIGTERM)
    assert site.ends() == 0
    assert not site.control.exists()
    site.archive.set_faults([])
    assert "for the reason A9" in told(site, "retry", "--rejected", "--reason", "A9"), (
        "and where they are told"
    )
    assert "with the next backfill" in told(site, "retry", "--rejected", "--reason", "failure-A901")
    assert "6 instances stored now" in told(site, "backfill", "--no-progress")


def test_another_archive_is_refused_before_anything_is_asked_of_it(site: Site) -> None:
    words = ("backfill", "--no-progress", "--archive", "http://127.0.0.1:9/other")
    assert "stores into another archive" in told(site, *words, code=2)


def test_beside_another_backfill_there_is_nobody_to_take_commands(site: Site) -> None:
    site.tell(signal.SIGTERM)
    site.ends()
    site.archive.set_faults(["stall=60@store:1"])
    with subprocess.Popen(command(site, "backfill", "-q")) as first:
        until(lambda: site.archive.stored())
        assert "takes no commands" in told(site, "backfill", code=73)
        assert "takes no commands" in told(site, "retry", "--held", code=73)
        first.kill()


def test_a_reload_ends_what_follows_the_old_config_and_says_so(site: Site) -> None:
    site.archive.set_faults(["status=503@store"])
    with followed(site) as following:
        site.tell(signal.SIGHUP)
        said, _ = following.communicate(timeout=30)
    assert following.returncode == 5
    assert "take a new config" in said
    site.archive.set_faults([])
    until(lambda: len(site.archive.stored()) == 6, 60)

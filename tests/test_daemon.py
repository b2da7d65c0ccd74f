"""The daemon as a process of its own: ready, storing as files come, reload, end, and one writer."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dicomsync import facts, sandbox
from dicomsync.concerns import How
from dicomsync.ledger import Reader
from dicomsync.model import InstanceState
from dicomsync.samples import instance, write_studies

from . import conftest


def until(what: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something is so; fail when it does not become so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


@dataclass
class Site:
    """A folder, a config, a manager's socket, and the daemon between them."""

    home: Path
    archive: Any  # a sandbox, or a proxy before some archive
    told: list[str] = field(default_factory=list)
    prelude: str = ""  # Python that the daemon's process runs first, such as one with another constant
    before: tuple[str, ...] = ()  # the command that is to run it

    def __post_init__(self) -> None:
        self.folder = self.home / "in"
        self.folder.mkdir()
        self.ledger = self.home / "state" / "ledger.db"
        self.control = self.ledger.with_name("control.sock")
        self.config = self.home / "dicomsync.toml"
        self.log = self.home / "log"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.home / "notify"))
        self.socket.setblocking(False)
        self.process: subprocess.Popen[bytes] | None = None
        self.configure()

    def configure(self, extra: str = "", folder: str = "") -> None:
        self.config.write_text(
            f'[archive]\nurl = "{self.archive.url}"\nconfirm_wait = "0.2s"\n'
            f'[ledger]\npath = "{self.ledger}"\n'
            f'[[folders]]\npath = "{self.folder}"\nsettle = "0.1s"\nscan_interval = "0.2s"\n{folder}\n'
            f'[batch]\nquiet = "0.1s"\n{extra}\n'
        )

    def start(self, *more: str) -> None:
        (self.home / "runtime").mkdir(exist_ok=True)
        environment = {**os.environ, "RUNTIME_DIRECTORY": str(self.home / "runtime")}
        environment |= {"NOTIFY_SOCKET": str(self.home / "notify"), "WATCHDOG_USEC": "2000000"}
        program = ["-m", "dicomsync"]
        prelude = self.prelude + conftest.DEAF * conftest.dead_watch
        if prelude:
            program = ["-c", f"{prelude}\nfrom dicomsync import cli; cli.main()"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.before, sys.executable, *program, "run", "-c", str(self.config), *more],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                umask=0o077,  # as the unit says
            )

    def heard(self) -> list[str]:
        """Everything the manager was told so far."""
        while True:
            try:
                self.told += self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self.told

    def ready(self) -> Site:
        until(lambda: "READY=1" in self.heard())
        return self

    def tell(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def ends(self) -> int:
        assert self.process is not None
        return self.process.wait(40)

    def said(self) -> str:
        return self.log.read_text()

    def stored(self) -> int:
        with Reader.open(self.ledger) as reader:
            return reader.counts().instances[InstanceState.STORED]


def watches(pid: int) -> int:
    """Count a process's inotify watches (proc(5), fdinfo), which only root may."""
    found = 0
    if os.geteuid() != 0:
        pytest.skip("nobody but root may look into a daemon")
    for one in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(OSError):  # closed meanwhile
            found += one.read_text().count("inotify wd:")
    return found


@contextmanager
def opened(home: Path, prelude: str = "") -> Iterator[Site]:
    """Make a site with a sandbox; its daemon ends with it."""
    with sandbox.running(home / "archive") as archive:
        one = Site(home, archive, prelude=prelude)
        yield one
        if one.process is not None and one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        one.socket.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with opened(tmp_path) as one:
        yield one


@pytest.mark.parametrize("watch", ["events", "scan", "a watcher that never fires"])
def test_what_comes_is_stored_as_it_comes(site: Site, watch: str) -> None:
    if watch.endswith("never fires"):
        site.prelude = conftest.DEAF
    site.configure(folder=f'watch = "{"scan" if watch == "scan" else "events"}"')
    write_studies(site.folder / "before", studies=1, series=1, instances=3, rows=8, columns=8)
    site.start()
    site.ready()
    until(lambda: len(site.archive.stored()) == 3)
    write_studies(site.folder / "after/deep", studies=2, series=1, instances=3, rows=8, columns=8, seed=5)
    until(lambda: len(site.archive.stored()) == 9)
    until(lambda: site.stored() == 9)
    site.tell(signal.SIGTERM)
    assert site.ends() == 0
    assert "STOPPING=1" in site.heard()
    assert "Traceback" not in site.said()


@pytest.mark.watcher
@pytest.mark.parametrize("deaf", [False, True], ids=["a watcher", "a dead one"])
def test_only_a_watcher_that_fires_spares_the_wait_for_a_scan(site: Site, deaf: bool) -> None:
    site.prelude = conftest.DEAF * deaf
    site.configure(folder='watch = "events"')
    site.config.write_text(site.config.read_text().replace('scan_interval = "0.2s"', 'scan_interval = "1h"'))
    write_studies(site.folder / "before", studies=1, series=1, instances=1, rows=8, columns=8)
    site.start()
    site.ready()
    until(lambda: site.stored() == 1)
    until(lambda: watches(site.pid) == 4)
    write_studies(site.folder / "after", studies=1, series=1, instances=1, rows=8, columns=8, seed=1)
    if deaf:
        time.sleep(2)  # what does not happen cannot be waited for
        assert site.stored() == 1
    else:
        until(lambda: site.stored() == 2)


def test_it_is_ready_before_the_archive_is_and_tells_how_it_stands(site: Site) -> None:
    site.archive.set_faults(["down"])
    write_studies(site.folder, studies=1, series=1, instances=2, rows=8, columns=8)
    site.start()
    site.ready()
    until(lambda: any("2 instances due" in line for line in site.heard()))
    until(lambda: "WATCHDOG=1" in site.heard())
    site.archive.set_faults([])
    until(lambda: len(site.archive.stored()) == 2, 60)


def test_kill_9_in_the_middle_is_caught_up_with(site: Site) -> None:
    site.archive.set_faults(["stall=5@1"])
    write_studies(site.folder, studies=1, series=1, instances=5, rows=8, columns=8)
    site.start()
    site.ready()
    until(lambda: len(site.archive.stored()) == 5)
    site.tell(signal.SIGKILL)
    site.ends()
    site.told.clear()
    site.start()
    site.ready()
    until(lambda: site.stored() == 5)
    assert sum(request.method == "POST" for request in site.archive.requests) == 1


def test_a_second_daemon_on_the_same_ledger_gets_73(site: Site) -> None:
    site.start()
    site.ready()
    second = subprocess.run(
        [sys.executable, "-m", "dicomsync", "run", "-c", str(site.config)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 73
    assert "in use" in second.stderr


def test_sigterm_lets_what_is_on_its_way_come_to_its_end(site: Site) -> None:
    site.archive.set_faults(["stall=2@1"])
    write_studies(site.folder, studies=1, series=1, instances=5, rows=8, columns=8)
    site.start()
    site.ready()
    until(lambda: len(site.archive.stored()) == 5)
    site.tell(signal.SIGTERM)
    assert site.ends() == 0
    assert site.stored() == 5


def test_a_bad_new_config_is_told_and_the_old_one_kept(site: Site) -> None:
    site.start()
    site.ready()
    good = site.config.read_text()
    site.config.write_text(good + "\n[upload]\ntransfer = 3\n")
    site.tell(signal.SIGHUP)
    until(lambda: "did you mean 'transfers'" in site.said())
    until(lambda: site.heard().count("READY=1") == 2)
    write_studies(site.folder, studies=1, series=1, instances=2, rows=8, columns=8)
    until(lambda: len(site.archive.stored()) == 2)


CANARY = "/data/Canary^Anna"
BAD_CONFIGS = {
    "folders that overlap": (f'[[folders]]\npath = "{CANARY}"\n[[folders]]\npath = "{CANARY}/a"', "overlap"),
    "a path for a key": (f'[upload]\n"{CANARY}" = 1', "upload.(a key): no such key"),
    "a path for a number": (f'[upload]\ntransfers = "{CANARY}"', "upload.transfers: "),
    "a path for a choice": (f'[[folders]]\npath = "/b"\nwatch = "{CANARY}"', "folders.2.watch: "),
    "no TOML": (f'x = "{CANARY}', "is not TOML (at "),
    "a secret in the wrong place": (f'[archive.auth]\ntoken = "{CANARY}"', "archive.auth: "),
}


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_a_refused_config_is_logged_by_its_keys_and_without_any_value(site: Site, name: str) -> None:
    more, words = BAD_CONFIGS[name]
    site.start()
    site.ready()
    site.config.write_text(f"{site.config.read_text()}\n{more}\n")
    site.tell(signal.SIGHUP)
    until(lambda: site.heard().count("READY=1") == 2)
    line = next(line for line in site.said().splitlines() if "was not taken" in line)
    assert words in line
    assert "dicomsync doctor" in line
    assert "Canary" not in site.said()
    assert str(site.home) not in site.said()


def test_a_good_new_config_is_taken_and_says_what_changed(site: Site) -> None:
    site.start()
    site.ready()
    (site.folder / "x.img").write_bytes(instance(study_uid="1.2.3", series_uid="1.2.3.1", sop_uid="1.2.3.4"))
    site.configure(folder='include = ["*.img"]')
    site.tell(signal.SIGHUP)
    until(lambda: "changed: folders" in site.said())
    until(lambda: len(site.archive.stored()) in (0, 1) and site.heard().count("READY=1") == 2)


def test_in_shadow_nothing_is_sent_and_nothing_written_and_the_end_tells_all(site: Site) -> None:
    write_studies(site.folder, studies=2, series=1, instances=3, rows=8, columns=8)
    site.start("-n")
    site.ready()
    until(lambda: any("nothing is sent (-n)" in line and "is stored" in line for line in site.heard()))
    until(lambda: site.said().count("3 stored") == 2)
    site.tell(signal.SIGTERM)
    assert site.ends() == 0
    assert "6 instances, " in site.said()
    assert not site.archive.requests
    assert not site.ledger.exists()


def test_in_shadow_it_tells_what_would_go_now_and_not_what_went_before(site: Site) -> None:
    write_studies(site.folder, studies=1, series=1, instances=3, rows=8, columns=8)
    site.start()
    site.ready()
    until(lambda: site.ledger.exists() and site.stored() == 3)
    site.tell(signal.SIGTERM)
    assert site.ends() == 0
    site.log.write_text("")
    write_studies(site.folder / "more", studies=1, series=1, instances=2, rows=8, columns=8, seed=5)
    site.start("-n")
    until(lambda: "2 stored" in site.said())
    site.tell(signal.SIGTERM)
    assert site.ends() == 0
    assert "\n2 instances, " in site.said()
    assert "in 1 request." in site.said()
    site.log.write_text("")
    assert site.stored() == len(site.archive.stored()) == 3


def test_a_full_ledger_disk_sends_nothing_and_it_resumes_by_itself(site: Site) -> None:
    site.start()
    site.ready()
    assert site.process is not None
    size = site.ledger.stat().st_size
    resource.prlimit(site.process.pid, resource.RLIMIT_FSIZE, (size + 64_000, resource.RLIM_INFINITY))
    write_studies(site.folder, studies=4, series=1, instances=100, rows=8, columns=8)
    until(lambda: "The ledger" in site.said())
    until(lambda: any("nothing is sent until it can be written" in line for line in site.heard()))
    posts = sum(request.method == "POST" for request in site.archive.requests)
    assert posts < 8
    infinite = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(site.process.pid, resource.RLIMIT_FSIZE, infinite)
    until(lambda: len(site.archive.stored()) == 400, 60)
    until(lambda: site.stored() == 400)
    assert site.process.poll() is None


IMPATIENT = """
from dicomsync import daemon
from dicomsync.ledger import opening
daemon.QUIESCE_SECONDS, opening.BUSY_SECONDS, daemon.LEDGER_RETRY_SECONDS = 2, 0.3, 0.2
"""


@contextmanager
def locked(ledger: Path) -> Iterator[None]:
    """Hold the ledger's write lock, as a forgotten shell of sqlite3 does."""
    with closing(sqlite3.connect(ledger, isolation_level=None, timeout=30)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


def test_a_ledger_locked_by_somebody_else_while_an_answer_comes_ends_it_and_nothing_is_sent_twice(
    site: Site,
) -> None:
    site.prelude = IMPATIENT
    site.archive.set_faults(["stall=1@1"])
    write_studies(site.folder, studies=1, series=1, instances=5, rows=8, columns=8)
    site.start()
    site.ready()
    until(lambda: len(site.archive.stored()) == 5)
    with locked(site.ledger):
        assert site.ends() == 1
    assert "The ledger is locked by another program" in site.said()
    assert "Close whatever has it open for writing" in site.said().rsplit("still on their way", 1)[1]
    assert "nothing is lost" in site.said()
    assert "Traceback" not in site.said()
    assert site.stored() == 0
    site.start()
    until(lambda: site.stored() == 5)
    assert sum(request.method == "POST" for request in site.archive.requests) == 1


def test_a_ledger_locked_for_a_while_is_waited_for_and_nothing_is_lost(site: Site) -> None:
    site.prelude = IMPATIENT
    site.start()
    site.ready()
    until(lambda: "the archive answers" in site.said())
    with locked(site.ledger):
        write_studies(site.folder, studies=1, series=1, instances=5, rows=8, columns=8)
        until(lambda: any("nothing is sent until it can be written" in line for line in site.heard()))
        until(lambda: looked(site)["headline"].startswith("The ledger is locked by another program"))
        assert not site.archive.stored()
    until(lambda: site.stored() == 5)
    until(lambda: looked(site)["level"] == "well")
    assert site.process is not None
    assert site.process.poll() is None
    assert sum(request.method == "POST" for request in site.archive.requests) == 1


def looked(site: Site) -> dict[str, Any]:
    """What `status` tells of it."""
    return facts.look(site.ledger, time.time(), How())


def test_status_says_that_it_runs_how_it_watches_and_that_it_has_ended(site: Site) -> None:
    site.prelude = "from dicomsync import daemon; daemon.STATUS_SECONDS = 0.2\n"
    write_studies(site.folder, studies=1, series=1, instances=2, rows=8, columns=8)
    site.configure(folder='watch = "scan"')
    site.start()
    site.ready()
    until(lambda: looked(site)["daemon"]["state"] == "running")
    until(lambda: [one["watch"] for one in looked(site)["folders"]] == ["scan"])
    assert looked(site)["daemon"]["pid"] == site.pid
    site.tell(signal.SIGKILL)
    site.ends()
    assert looked(site)["daemon"]["state"] == "stopped"
    site.start()
    until(lambda: looked(site)["daemon"]["pid"] == site.pid)
    until(lambda: looked(site)["level"] == "well")
    site.tell(signal.SIGTERM)
    assert site.ends() == 0
    assert looked(site)["concerns"][0]["code"] == "daemon-stopped"
    assert not (site.home / "runtime" / "status.json").exists()


def test_an_archive_that_goes_away_is_told_with_its_trouble_and_when_it_is_tried_again(site: Site) -> None:
    site.prelude = "from dicomsync import daemon; daemon.STATUS_SECONDS = 0.2\n"
    site.start()
    site.ready()
    until(lambda: looked(site)["daemon"]["state"] == "running" and not looked(site)["archive"]["trouble"])
    site.archive.set_faults(["status=401"])
    write_studies(site.folder, studies=1, series=1, instances=2, rows=8, columns=8)
    until(lambda: [one["code"] for one in looked(site)["concerns"]] == ["archive-auth"])
    assert looked(site)["archive"]["trouble_seconds"] < 60
    assert looked(site)["archive"]["retry_seconds"] is not None


def test_a_renewed_token_is_tried_at_once_however_long_the_wait_was_to_be(site: Site) -> None:
    site.prelude = (
        "from dicomsync import daemon, pacing; daemon.STATUS_SECONDS = 0.2\n"
        "pacing.backoff_seconds = lambda failures, luck: 900.0\n"
    )
    token = site.home / "token"
    token.write_text("an-old-token-7f3a9c")
    site.archive.set_faults(["token=a-new-token-7f3a9c"])
    text = site.config.read_text()
    site.config.write_text(text.replace("[ledger]", f'auth = "bearer"\ntoken_from = "{token}"\n[ledger]'))
    write_studies(site.folder, studies=1, series=1, instances=2, rows=8, columns=8)
    site.start()
    site.ready()
    until(lambda: any("does not accept the credential" in line for line in site.heard()))
    until(lambda: "the archive cannot be used: it does not accept the credential" in site.said())
    token.write_text("a-new-token-7f3a9c")
    until(lambda: site.stored() == 2)
    assert "the archive is tried at once" in site.said()


def test_operators_may_read_how_it_stands_without_learning_where_or_who(site: Site) -> None:
    write_studies(site.folder, studies=1, series=1, instances=2, rows=8, columns=8)
    site.start()
    site.ready()
    path = site.home / "runtime" / "status.json"
    until(lambda: path.exists() and json.loads(path.read_text())["counts"]["stored"] == 2)
    assert path.stat().st_mode & 0o777 == 0o640
    text = path.read_text()
    assert "127.0.0.1" not in text
    assert str(site.home) not in text
    assert json.loads(text)["folders"][0]["number"] == 1

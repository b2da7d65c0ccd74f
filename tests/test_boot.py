"""The unit under a real systemd: start, kill -9, a hang, a stop, a reload, and what is never restarted.

One machine is booted for them all; each test has an archive and an instance of the unit of its own, which
is used as it is shipped, hardening and waits and all.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomsync import sandbox
from dicomsync.model import InstanceState
from tests import booted
from tests.booted import Machine, Source
from tests.serviced import Service

pytestmark = [
    pytest.mark.boot,
    pytest.mark.timeout(900),  # the first of them builds and boots the tree
]


@pytest.fixture(scope="module")
def machine(debian: Path) -> Iterator[Machine]:
    with booted.booted(debian) as one:
        one.ask("sh", "-ec", f"cd /srv/checkout\n{booted.installation()}\nsystemctl daemon-reload")
        yield one


@pytest.fixture
def service(machine: Machine, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    name = str(request.node.name).removeprefix("test_").replace("_", "-")[:40]
    with sandbox.running(tmp_path / "archive") as archive:
        one = Service(machine, name, archive)
        yield one
        machine.run("systemctl", "kill", "--signal=KILL", one.unit)
        machine.run("systemctl", "stop", one.unit)


def test_installed_as_readme_says_it_starts_is_ready_and_stores(service: Service) -> None:
    """The one with everything as `init` writes it: no wait is shortened."""
    service.config.unlink()
    program = "/opt/dicomsync/bin/dicomsync"
    at = ["--archive", service.archive.url, "--folder", f"/srv/{service.name}"]
    at += ["--ledger", f"/var/lib/dicomsync/{service.name}/ledger.db"]
    service.machine.ask(program, "init", f"/etc/dicomsync/{service.name}.toml", *at)
    service.machine.ask(program, "doctor", "-c", f"/etc/dicomsync/{service.name}.toml")
    service.arrive(3)
    service.systemctl("enable", "--now")  # returns when READY=1 was told, and fails if it never is
    assert service.show("ActiveState") == "active"
    service.until_stored(3)
    service.until(lambda: service.show("StatusText") == "All is well: everything that was found is stored.")
    assert service.show("NRestarts") == "0"


def test_it_runs_as_its_user_shut_in_and_what_it_writes_is_its_own(service: Service) -> None:
    service.systemctl("start")
    process = f"/proc/{service.show('MainPID')}"
    ask = service.machine.ask
    assert ask("stat", "--format=%U:%G", process) == "dicomsync:dicomsync"
    status = dict(line.split(":", 1) for line in ask("cat", f"{process}/status").splitlines())
    assert int(status["CapBnd"], 16) == 0
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")
    for namespace in ("user", "mnt", "ipc"):
        assert ask("readlink", f"{process}/ns/{namespace}") != ask("readlink", f"/proc/1/ns/{namespace}")
    modes = {
        f"/var/lib/dicomsync/{service.name}": "700",
        f"/var/lib/dicomsync/{service.name}/ledger.db": "600",
        f"/run/dicomsync/{service.name}": "750",
        f"/run/dicomsync/{service.name}/status.json": "640",
    }
    service.until(lambda: service.has(list(modes)[-1]))
    for path, mode in modes.items():
        assert ask("stat", "--format=%a %U:%G", path) == f"{mode} dicomsync:dicomsync", path


def test_an_operator_reads_how_it_stands_by_group_and_nobody_else_does(service: Service) -> None:
    service.arrive(2)
    service.systemctl("start")
    service.until_stored(2)
    path = f"/run/dicomsync/{service.name}/status.json"
    operator = ["setpriv", "--reuid=nobody", "--clear-groups", "--regid"]
    service.until(lambda: service.has(path))
    service.until(
        lambda: json.loads(service.machine.ask(*operator, "dicomsync", "cat", path))["counts"]["stored"] == 2
    )
    assert service.machine.run(*operator, "nogroup", "cat", path).returncode != 0


def test_after_kill_9_it_is_started_again_and_catches_up(service: Service) -> None:
    service.archive.set_faults(["stall=60@1"])  # all is stored there, and the answer is not yet given
    service.arrive(5)
    service.systemctl("start")
    service.until(lambda: len(service.archive.stored()) == 5)
    assert service.counted(InstanceState.SENDING) == 5
    service.signal("KILL")
    service.arrive(2, seed=2)
    service.until(lambda: service.show("NRestarts") == "1" and service.show("ActiveState") == "active")
    service.until_stored(7)
    assert service.posts() == 2  # the first five were asked about, not sent again


def test_hung_it_gives_no_sign_of_life_and_the_watchdog_starts_it_again(service: Service) -> None:
    drop_in = service.machine.path(f"/etc/systemd/system/{service.unit}.d/site.conf")
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nWatchdogSec=10\n")
    service.machine.ask("systemctl", "daemon-reload")
    service.arrive(3)
    service.systemctl("start")
    service.until_stored(3)
    hung = service.show("MainPID")
    service.signal("STOP")
    service.arrive(2, seed=2)
    service.until(lambda: service.show("NRestarts") == "1" and service.show("ActiveState") == "active")
    assert service.show("MainPID") != hung
    assert "Watchdog timeout" in service.said()
    service.until_stored(5)


def test_stopped_while_uploading_it_records_what_came_of_it_and_ends_well(service: Service) -> None:
    service.archive.set_faults(["stall=8@1"])
    service.arrive(5)
    service.systemctl("start")
    service.until(lambda: len(service.archive.stored()) == 5)
    assert service.counted(InstanceState.SENDING) == 5  # the answer is still to come
    service.systemctl("stop")
    assert service.counted(InstanceState.STORED) == 5
    ended = (service.show("ActiveState"), service.show("Result"), service.show("ExecMainStatus"))
    assert ended == ("inactive", "success", "0")
    assert service.posts() == 1


def test_reloaded_with_a_bad_config_it_says_so_and_keeps_the_old_one(service: Service) -> None:
    service.systemctl("start")
    before = service.show("MainPID")
    service.config.write_text(service.config.read_text() + "\n[upload]\ntransfer = 3\n")
    service.systemctl("reload")
    service.until(lambda: "did you mean 'transfers'" in service.said())
    service.arrive(2)
    service.until_stored(2)
    kept = (service.show("ActiveState"), service.show("MainPID"), service.show("NRestarts"))
    assert kept == ("active", before, "0")


def test_a_config_that_cannot_be_used_ends_it_with_2_for_good(service: Service) -> None:
    service.config.write_text("[archive]\n")
    assert service.machine.run("systemctl", "start", service.unit).returncode != 0
    _failed_for_good(service, 2)


def test_a_ledger_in_use_ends_it_with_73_for_good(service: Service) -> None:
    service.systemctl("start")
    service.systemctl("stop")
    with service.ledger.with_name("ledger.db.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert service.machine.run("systemctl", "start", service.unit).returncode != 0
        _failed_for_good(service, 73)
    assert "in use" in service.said()


def _failed_for_good(service: Service, code: int) -> None:
    """It has failed, and no restart is due: else it would be "activating" until RestartSec is over."""
    state = (service.show("ActiveState"), service.show("SubState"), service.show("NRestarts"))
    assert state == ("failed", "failed", "0")
    assert service.show("ExecMainStatus") == str(code)


# Where the tree comes from

RELEASE = {"ID": "debian", "VERSION_CODENAME": "bookworm"}
ONE_LINE = """\
# deb http://off.test/debian bookworm main
deb-src http://sources.test/debian bookworm main
deb [arch=amd64 signed-by=/keys/mirror.gpg] http://mirror.test/debian bookworm main contrib # ours
deb http://mirror.test/debian bookworm-updates main
"""
DEB822 = """\
Types: deb-src
URIs: http://sources.test/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://off.test/debian
Suites: bookworm
Components: main

Types: deb deb-src
# where it was
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /keys/mirror.gpg
"""
MIRROR = Source("http://mirror.test/debian", "bookworm", ("main", "contrib"), "/keys/mirror.gpg")
OTHERS = "deb https://other.test/tools bookworm main\ndeb https://other.test/debian bookworm stable\n"


@pytest.mark.parametrize(
    ("name", "text"), [("debian.list", ONE_LINE), ("debian.sources", DEB822)], ids=["one-line", "deb822"]
)
def test_the_mirror_is_the_one_that_apt_uses_here(tmp_path: Path, name: str, text: str) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (parts / "aaa.list").write_text(OTHERS)
    (parts / "debian.sources.off").write_text(DEB822.replace("mirror", "off"))
    (parts / name).write_text(text)
    assert booted.own_source(tmp_path, RELEASE) == MIRROR


def test_the_oldest_place_for_it_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(ONE_LINE)
    assert booted.own_source(tmp_path, RELEASE) == MIRROR


def test_a_key_within_the_sources_is_no_file_of_keys() -> None:
    key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n xsBN\n -----END PGP PUBLIC KEY BLOCK-----"
    [first, *_] = booted.deb822(DEB822.replace("Signed-By: /keys/mirror.gpg", key))
    assert (first.mirror, first.keyring) == (MIRROR.mirror, "")


def test_where_apt_has_no_mirror_of_this_release_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb cdrom:[Debian]/ bookworm main\n" + ONE_LINE)
    assert booted.own_source(tmp_path, {**RELEASE, "VERSION_CODENAME": "trixie"}) is None

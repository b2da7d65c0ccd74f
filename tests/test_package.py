"""The Debian package on a booted Debian: built there without a network, installed, upgraded, removed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dicomsync import sandbox
from tests import booted
from tests.booted import Machine
from tests.serviced import Service

pytestmark = [
    pytest.mark.boot,
    pytest.mark.timeout(900),  # the first of them builds the tree and the package, and boots
]

DOCUMENTS = "/usr/share/doc/dicomsync"
EXAMPLE = "/etc/dicomsync/example.toml"
BASH = "/usr/share/bash-completion/completions/dicomsync"


@dataclass
class Package:
    """The package on a machine, in two revisions; `said` is what its first installation printed."""

    machine: Machine
    said: str = ""
    ran: str = ""  # what ran after that

    def build(self) -> None:
        ask = self.machine.ask
        ask("/srv/checkout/packaging/deb", "/srv/checkout/wheels", "/srv/debs", within=300)
        # The next one, which is the same but for its name.
        ask("dpkg-deb", "--raw-extract", self.file(1), "/srv/next")
        ask("sed", "-i", "/^Version: /s/-1$/-2/", "/srv/next/DEBIAN/control")
        ask("dpkg-deb", "-Znone", "--build", "/srv/next", self.file(2))

    def file(self, revision: int) -> str:
        [first] = self.machine.path("/srv/debs").glob("dicomsync_*-1_*.deb")
        return f"/srv/debs/{first.name.replace('-1_', f'-{revision}_')}"

    def dpkg(self, verb: str, what: str) -> str:
        return self.machine.ask("dpkg", "--force-unsafe-io", verb, what, within=180)

    def install(self, revision: int = 1) -> str:
        return self.dpkg("--install", self.file(revision))

    def units(self) -> str:
        """Every instance that runs, or failed to."""
        states = "--state=active,activating,reloading,deactivating,failed"
        return self.machine.ask("systemctl", "list-units", states, "--plain", "--no-legend", "dicomsync*@*")


@pytest.fixture(scope="module")
def first(debian: Path) -> Iterator[Package]:
    with booted.booted(debian) as machine:
        one = Package(machine)
        one.build()
        one.said = one.install()
        one.ran = one.units()
        yield one


@pytest.fixture
def package(first: Package) -> Package:
    """The package, installed in its first revision."""
    version = first.machine.run("dpkg-query", "--show", "--showformat=${Version}", "dicomsync").stdout
    if not version.endswith("-1"):
        first.install()
    return first


@pytest.fixture
def service(package: Package, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    """An instance that a person has configured."""
    name = str(request.node.name).removeprefix("test_").replace("_", "-")[:40]
    with sandbox.running(tmp_path / "archive") as archive:
        one = Service(package.machine, name, archive)
        one.config.chmod(0o644)
        yield one
        package.machine.run("systemctl", "disable", "--now", one.unit)


def test_installed_it_has_all_in_its_place_and_runs_nothing(package: Package) -> None:
    ask = package.machine.ask
    assert "dicomsync init /etc/dicomsync/main.toml" in package.said
    assert package.ran == ""
    assert ask("dicomsync", "--version").startswith("dicomsync 0.")
    assert ask("dicomsync", "help", "73").startswith("Exit code 73")  # by the page that the wheel brings
    assert ask("stat", "--format=%a %U:%G", "/etc/dicomsync") == "2750 root:dicomsync"
    assert ask("dpkg-query", "--show", "--showformat=${Conffiles}", "dicomsync").split()[0] == EXAMPLE
    for path in (
        "/usr/share/man/man1/dicomsync.1.gz",
        "/usr/share/man/man1/dicomsync-ledger-check.1.gz",
        f"{DOCUMENTS}/when-something-is-wrong.md",
        f"{DOCUMENTS}/changelog.gz",
        f"{DOCUMENTS}/examples/datasette.json",
    ):
        ask("test", "-s", path)
    assert ask("dpkg", "--verify", "dicomsync") == ""


def test_its_bash_completion_completes(package: Package) -> None:
    script = f"""
        . {BASH}
        COMP_WORDS=(dicomsync ledger '') COMP_CWORD=2
        _dicomsync_completion dicomsync
        echo "${{COMPREPLY[*]}}"
    """
    assert {"backup", "check", "rebuild"} <= set(package.machine.ask("bash", "-c", script).split())


def test_configured_as_it_says_it_stores_and_serves_its_page(package: Package, service: Service) -> None:
    ask, config = package.machine.ask, f"/etc/dicomsync/{service.name}.toml"
    service.config.unlink()
    at = ["--archive", service.archive.url, "--folder", f"/srv/{service.name}"]
    ask("dicomsync", "init", "--yes", *at, config)
    ask("dicomsync", "doctor", "-c", config)
    ask("sed", "-i", 's/^quiet = .*/quiet = "0.1s"/; s/^settle = .*/settle = "0.1s"/', config)
    service.arrive(3)
    service.systemctl("enable", "--now")
    service.until_stored(3)
    web, page = f"dicomsync-web@{service.name}", "http://127.0.0.1:9646/readyz"
    ask("systemctl", "start", web)
    look = f"import urllib.request as web; print(web.urlopen('{page}', timeout=30).status)"
    service.until(lambda: package.machine.run("python3", "-c", look).stdout.strip() == "200")
    ask("systemctl", "stop", web)


def test_an_upgrade_stops_what_runs_and_starts_that_and_no_other(package: Package, service: Service) -> None:
    package.machine.path(f"/etc/dicomsync/{service.name}-off.toml").write_text(service.config.read_text())
    service.arrive(2)
    service.systemctl("start")
    service.until_stored(2)
    before = service.show("MainPID")
    package.install(revision=2)
    service.until(lambda: service.show("ActiveState") == "active" and service.show("MainPID") != before)
    assert [line.split()[0] for line in package.units().splitlines()] == [service.unit]
    service.arrive(2, seed=2)
    service.until_stored(4)
    assert service.posts() == 2  # it knows what it had stored


def test_removed_it_stops_and_purged_it_keeps_ledger_and_config_and_says_so(
    package: Package, service: Service
) -> None:
    service.arrive(2)
    service.systemctl("enable", "--now")
    service.until_stored(2)
    package.dpkg("--remove", "dicomsync")
    assert package.units() == ""
    assert not service.has("/usr/bin/dicomsync")
    said = package.dpkg("--purge", "dicomsync")
    assert "/var/lib/dicomsync is kept" in said
    assert "/etc/dicomsync is kept" in said
    assert service.config.exists()
    assert not service.has(f"/etc/systemd/system/multi-user.target.wants/{service.unit}")
    package.install()
    service.systemctl("start")
    service.arrive(1, seed=2)
    service.until_stored(3)
    assert service.posts() == 2

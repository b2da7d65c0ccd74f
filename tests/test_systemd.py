"""The unit and what goes with it, as systemd itself reads them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

UNITS = Path(__file__).parent.parent / "systemd"
UNIT = UNITS / "dicomsync@.service"
WEB_UNIT = UNITS / "dicomsync-web@.service"
EXAMPLE = UNITS / "dicomsync@.service.d" / "example.conf"

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not here (Debian: the package systemd)",
)


def read(text: str) -> dict[str, list[str]]:
    """Every "Section.Directive" with all its values, in order."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[] ")
        elif line and not line.startswith(("#", ";")):
            name, is_set, value = line.partition("=")
            assert is_set, line
            found.setdefault(f"{section}.{name.strip()}", []).append(value.strip())
    return found


def switched_on(text: str) -> str:
    """Take out the "#" of every directive that is commented out; prose has a blank after it."""
    return re.sub(r"(?m)^#(?=[A-Z]\w+=)", "", text)


@pytest.fixture
def installed() -> Iterator[Path]:
    """A directory with the unit as an instance, whose program is there to be found.

    pytest's own directories have "[" in their names, which the unit's syntax would have to quote.
    """
    with tempfile.TemporaryDirectory() as directory:
        yield install(UNIT, Path(directory))


def install(unit: Path, directory: Path) -> Path:
    """Put an instance of a unit into a directory, whose program is there to be found."""
    program = directory / "opt" / "dicomsync"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text, times = re.subn(r"(?m)^ExecStart=\S+", f"ExecStart={program}", unit.read_text())
    assert times == 1
    put = directory / unit.name.replace("@", "@test")
    put.write_text(text)
    return put


def analyze(*arguments: str, unit: Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze over a unit in its directory, beside the machine's own."""
    env = {**os.environ, "SYSTEMD_UNIT_PATH": f"{unit.parent}:", "SYSTEMD_COLORS": "0", "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        ["systemd-analyze", *arguments, str(unit)], capture_output=True, text=True, env=env, timeout=60
    )


def site(unit: Path, text: str) -> None:
    """Install a drop-in for this instance."""
    below = unit.with_name(f"{unit.name}.d")
    below.mkdir()
    (below / "site.conf").write_text(text)


@needs_analyze
def test_systemd_finds_nothing_to_say_about_the_unit(installed: Path) -> None:
    done = analyze("verify", unit=installed)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_analyze
def test_nor_about_the_example_with_everything_switched_on(installed: Path) -> None:
    installed.write_text(switched_on(installed.read_text()))
    site(installed, switched_on(EXAMPLE.read_text()))
    mount = "[Mount]\nWhat=/dev/sdz1\nWhere=/data/modality\n"  # what the example binds the daemon to
    installed.with_name("data-modality.mount").write_text(mount)
    done = analyze("verify", unit=installed)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_analyze
def test_a_misspelt_directive_would_be_noticed_in_the_unit_and_in_a_drop_in(installed: Path) -> None:
    site(installed, "[Service]\nNoNewPrivilege=yes\n")
    installed.write_text(installed.read_text().replace("LockPersonality=", "LookPersonality="))
    said = analyze("verify", unit=installed).stderr
    assert "LookPersonality" in said
    assert "NoNewPrivilege" in said


@needs_analyze
def test_the_exposure_is_at_most_one_and_a_half_of_ten(installed: Path) -> None:
    done = analyze("security", "--offline=true", "--threshold=15", "--no-pager", unit=installed)
    assert done.returncode == 0, done.stdout + done.stderr
    [user] = [line for line in done.stdout.splitlines() if "User=" in line]
    assert user.startswith("✓")  # root alone would still pass the threshold


@needs_analyze
@pytest.mark.parametrize("more", ["", "credential"])
def test_the_pages_unit_is_as_sound_and_writes_nothing(more: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        unit = install(WEB_UNIT, Path(directory))
        if more:
            unit.write_text(switched_on(unit.read_text()))
        done = analyze("verify", unit=unit)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        done = analyze("security", "--offline=true", "--threshold=20", "--no-pager", unit=unit)
        assert done.returncode == 0, done.stdout + done.stderr
    known = read(WEB_UNIT.read_text())
    assert known["Service.ExecStart"] == ["/opt/dicomsync/bin/dicomsync web -c /etc/dicomsync/%i.toml"]
    assert known["Service.ProtectSystem"] == ["strict"]
    assert not {f"Service.{name}" for name in ("StateDirectory", "RuntimeDirectory", "ReadWritePaths")} & set(
        known
    )


@needs_analyze
def test_a_unit_without_its_sandbox_would_not_pass(installed: Path) -> None:
    bare = "[Service]\nType=notify\nUser=dicomsync\nExecStart=/bin/true\n"
    installed.write_text(bare)
    done = analyze("security", "--offline=true", "--threshold=15", "--no-pager", unit=installed)
    assert done.returncode != 0


@pytest.mark.parametrize(
    ("directive", "values"),
    [
        ("Unit.StartLimitIntervalSec", ["0"]),
        ("Service.Type", ["notify"]),
        ("Service.NotifyAccess", ["main"]),
        ("Service.ExecStart", ["/opt/dicomsync/bin/dicomsync run -c /etc/dicomsync/%i.toml"]),
        ("Service.ExecReload", ["/bin/sh -c 'kill -HUP \"$MAINPID\"'"]),
        ("Service.WatchdogSec", ["120"]),
        ("Service.Restart", ["always"]),
        ("Service.RestartSec", ["10"]),
        ("Service.RestartPreventExitStatus", ["2 73"]),
        ("Service.KillMode", ["mixed"]),
        ("Service.TimeoutStopSec", ["120"]),
        ("Service.User", ["dicomsync"]),
        ("Service.Group", ["dicomsync"]),
        ("Service.UMask", ["0077"]),
        ("Service.StateDirectory", ["dicomsync/%i"]),
        ("Service.StateDirectoryMode", ["0700"]),
        ("Service.RuntimeDirectory", ["dicomsync/%i"]),
        ("Service.ProtectSystem", ["strict"]),
        ("Service.ProtectHome", ["read-only"]),
        ("Service.NoNewPrivileges", ["yes"]),
        ("Service.CapabilityBoundingSet", [""]),
        ("Service.AmbientCapabilities", [""]),
        ("Service.PrivateUsers", ["yes"]),
        ("Service.MemoryDenyWriteExecute", ["yes"]),
        ("Service.RestrictAddressFamilies", ["AF_INET AF_INET6 AF_UNIX"]),
        ("Service.SystemCallFilter", ["@system-service", "~@privileged @resources"]),
        ("Service.SystemCallErrorNumber", ["EPERM"]),
        ("Service.NoExecPaths", ["/"]),
        ("Service.MemorySwapMax", ["0"]),
        ("Service.LimitCORE", ["0"]),
        ("Install.WantedBy", ["multi-user.target"]),
    ],
)
def test_what_the_daemon_relies_on_is_in_the_unit(directive: str, values: list[str]) -> None:
    assert read(UNIT.read_text())[directive] == values


@pytest.mark.parametrize(
    "name",
    [
        "BindsTo",  # one folder that goes must not stop the others
        "RequiresMountsFor",
        "Requires",
        "IPAddressDeny",  # without the site's addresses nothing would be reached
        "BindReadOnlyPaths",  # of a mount point it would keep an unmounted share in sight
        "ReadOnlyPaths",
        "LoadCredential",  # a file that is not there would keep it from starting
        "DynamicUser",
    ],
)
def test_what_only_a_site_can_decide_is_not_switched_on(name: str) -> None:
    assert not [one for one in read(UNIT.read_text()) if one.endswith(f".{name}")]


@pytest.mark.parametrize(
    "name", ["SupplementaryGroups", "BindsTo", "IPAddressDeny", "IPAddressAllow", "LoadCredential"]
)
def test_the_example_shows_it_and_changes_nothing_until_it_is_edited(name: str) -> None:
    assert not read(EXAMPLE.read_text())
    assert [one for one in read(switched_on(EXAMPLE.read_text())) if one.endswith(f".{name}")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories to the user it makes")
@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not here")
@pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="systemd-tmpfiles is not here")
def test_the_user_and_the_directories_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for program, more in (("systemd-sysusers", []), ("systemd-tmpfiles", ["--create"])):
        snippet = UNITS / f"{program.partition('-')[2]}.d" / "dicomsync.conf"
        command = [program, *more, f"--root={tmp_path}", str(snippet)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
    user = next(
        line for line in (tmp_path / "etc/passwd").read_text().splitlines() if line.startswith("dicomsync:")
    )
    uid, gid = map(int, user.split(":")[2:4])
    assert uid != 0
    assert user.endswith("/nologin")
    config = (tmp_path / "etc/dicomsync").stat()
    # What root writes there is the group's to read.
    assert (config.st_uid, config.st_gid, config.st_mode & 0o7777) == (0, gid, 0o2750)

"""`doctor` asked by root says what the service's user sees, and never that all is well where it is not."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomsync import config, doctor
from dicomsync.doctor import service
from dicomsync.doctor.check import State
from dicomsync.doctor.service import Account
from dicomsync.ledger import Ledger

UNIT = "dicomsync@main"
NOBODY = pwd.getpwnam("nobody")
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may try what another user sees")


@pytest.fixture
def home() -> Iterator[Path]:
    """A place that every user may enter, as /etc and /data are."""
    directory = Path(tempfile.mkdtemp(dir="/var/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def site(home: Path) -> config.Config:
    (home / "token").write_text("a-token-7f3a9c")
    (home / "token").chmod(0o640)
    (home / "in").mkdir(mode=0o750)
    (home / "main.toml").write_text("")
    return config.build(
        {
            "archive": {
                "url": "http://127.0.0.1:1/v2",
                "auth": "bearer",
                "token_from": str(home / "token"),
            },
            "ledger": {"path": str(home / "ledger.db")},
            "folders": [{"path": str(home / "in")}],
        }
    )


def account(*groups: int) -> Account:
    return Account(NOBODY.pw_name, NOBODY.pw_uid, NOBODY.pw_gid, groups)


@ROOT
def test_a_folder_that_only_root_may_read_is_a_problem_of_the_service(
    home: Path, site: config.Config
) -> None:
    (home / "token").chmod(0o644)
    (home / "main.toml").chmod(0o644)
    [told] = service.by_account(UNIT, account(), str(home / "main.toml"), site)
    assert told.state is State.PROBLEM
    assert told.words == f"{UNIT} runs as nobody, who may not read {home / 'in'}"
    assert "SupplementaryGroups=" in told.todo


@ROOT
def test_a_secret_that_only_root_may_read_is_one_too(home: Path, site: config.Config) -> None:
    (home / "main.toml").chmod(0o644)
    (home / "in").chmod(0o755)
    [told] = service.by_account(UNIT, account(), str(home / "main.toml"), site)
    assert told.words.endswith(f"may not read {home / 'token'}")
    assert "chgrp nobody" in told.todo


@ROOT
def test_a_group_of_the_service_opens_what_it_opens(home: Path, site: config.Config) -> None:
    group = 54_321
    for one in (home / "token", home / "main.toml", home / "in"):
        os.chown(one, 0, group)
    (home / "main.toml").chmod(0o640)
    [told] = service.by_account(UNIT, account(group), str(home / "main.toml"), site)
    assert told.state is State.OK


def test_the_account_is_read_from_the_unit_with_all_its_groups() -> None:
    group = os.getgrouplist(NOBODY.pw_name, NOBODY.pw_gid)
    found = service.account_of("User=nobody\nGroup=\nSupplementaryGroups=root\n")
    assert found == Account("nobody", NOBODY.pw_uid, NOBODY.pw_gid, (*group, 0))


@pytest.mark.parametrize(
    "shown", ["", "User=\nGroup=\n", "User=nobody-of-this-name\n"], ids=["silent", "no-user", "unknown"]
)
def test_where_no_unit_names_a_user_nothing_is_said_of_one(
    shown: str, home: Path, site: config.Config
) -> None:
    assert service.account_of(shown) is None
    assert service.by_account(UNIT, None, str(home / "main.toml"), site) == []


def test_what_a_daemon_at_work_cannot_read_is_a_problem_whoever_asks(home: Path, site: config.Config) -> None:
    ledger = Ledger.open(Path(site.ledger.path))
    try:
        with ledger.transaction():
            scan = ledger.begin_scan(os.fsencode(home / "in"), time.time())
            ledger.folder_lost(scan, time.time(), "it is empty, and what was mounted there is not")
        named = {one.name: one for one in doctor.examine("main.toml", lambda: site)}
        assert named["folder 1"].state is State.OK  # to who asks it is an empty folder
        assert named["folder 1 daemon"].state is State.PROBLEM
        assert "what was mounted there is not" in named["folder 1 daemon"].words
    finally:
        ledger.close()
    assert service.by_daemon(site) == []  # no daemon is at work

"""What the service sees, where that is not what the person who asks sees: root may read everything.

A daemon at work has said itself which folders it cannot read; before there is one, its user is asked to try.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dicomsync import dicomweb, wiring
from dicomsync.concerns import How
from dicomsync.config import Config
from dicomsync.doctor.check import Check, looked, ok, problem
from dicomsync.ledger import Reader, holding
from dicomsync.words import visible

SECONDS = 10.0
# The shell, as our own Python may lie where that user may not go.
TRY = 'for one; do [ -r "$one" ] && { [ ! -d "$one" ] || [ -x "$one" ]; } && echo 1 || echo 0; done'


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a service runs as."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


def examine(source: str, config: Config) -> list[Check]:
    """Compare with what the service's user may read, and with what a daemon at work has found."""
    found = looked("daemon", lambda: by_daemon(config))
    source = os.path.abspath(source)
    unit = How.by(source).service
    if unit and os.geteuid() == 0:
        found += looked("service", lambda: by_account(unit, _account(unit), source, config))
    return found


def by_daemon(config: Config) -> list[Check]:
    """Say what a daemon at work cannot read, whoever asks."""
    path = Path(os.path.realpath(config.ledger.path))
    try:
        if not path.exists() or not holding.holder(path):
            return []
    except OSError:  # it cannot be known here
        return []
    with Reader.open(path) as reader:
        lost = {row["path"]: row["lost"] for row in reader.folders() if row.get("lost")}
    return [
        problem(
            f"folder {number} daemon",
            f"the daemon at work cannot read {visible(os.fsencode(one.path))}: {lost[one.path]}",
            "Mount it, and let the service's user read it: it goes on by itself at its next scan.",
        )
        for number, one in enumerate(config.folders, 1)
        if one.path in lost
    ]


def by_account(unit: str, account: Account | None, source: str, config: Config) -> list[Check]:
    """Say what the user of the service may not read: the config, secrets, folders."""
    if account is None:
        return []
    secrets = [one.path for one in dicomweb.secrets_of(wiring.archive_of(config.archive))]
    folders = [one.path for one in config.folders]
    paths = [path for path in (source, *secrets, *folders) if path is not None and os.path.exists(path)]
    shut = shut_out(account, paths)
    if not shut:
        return [ok("service", f"{unit} runs as {account.name}, who may read all of these")]
    some = os.path.isdir(shut[0])
    todo = (
        f"`systemctl edit {unit}`: [Service] SupplementaryGroups=GROUP, a group that may read it; "
        f"or setfacl -Rm u:{account.name}:rX,d:u:{account.name}:rX DIR"
        if some
        else f"chgrp {account.name} FILE; chmod 0640 FILE"
    )
    names = ", ".join(visible(os.fsencode(path)) for path in shut)
    return [problem("service", f"{unit} runs as {account.name}, who may not read {names}", todo)]


def shut_out(account: Account, paths: Sequence[str]) -> list[str]:
    """Have a process of this account try which of these it may read; gives those it may not."""
    done = subprocess.run(
        ["/bin/sh", "-c", TRY, "sh", *paths],
        user=account.uid,
        group=account.gid,
        extra_groups=account.groups,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    return [path for path, may in zip(paths, done.stdout.split(), strict=True) if may == "0"]


def account_of(shown: str) -> Account | None:
    """Read what `systemctl show` says of a unit's user and groups; None where it names none."""
    said = dict(line.partition("=")[::2] for line in shown.splitlines())
    try:
        user = pwd.getpwnam(said["User"])
        gid = grp.getgrnam(said["Group"]).gr_gid if said.get("Group") else user.pw_gid
        groups = [grp.getgrnam(name).gr_gid for name in said.get("SupplementaryGroups", "").split()]
    except KeyError:
        return None
    return Account(user.pw_name, user.pw_uid, gid, (*os.getgrouplist(user.pw_name, gid), *groups))


def _account(unit: str) -> Account | None:
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return None
    asked = ("--property=User", "--property=Group", "--property=SupplementaryGroups")
    done = subprocess.run(
        [systemctl, "show", unit, *asked], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    return account_of(done.stdout)

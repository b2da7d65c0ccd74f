"""A folder on a disk in a mount namespace, a daemon there, and what goes over the wire to the archive."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from dicomsync import facts
from dicomsync.ledger import Reader
from dicomsync.mirroring import AGAIN_SECONDS

from . import conftest, fuse
from .conftest import AnyArchive, Done, Site, finished, need, small, uid_of
from .namespace import Namespace, missing, namespace
from .recording_proxy import RecordingProxy

PATIENCE = 60.0
PASSES = 4
MARKER = ".dicomsync-root"


def eventually(condition: Callable[[], object], every: float = 0.1) -> None:
    """Wait until a condition holds, without keeping busy those who are to bring it about."""
    conftest.eventually(condition, PATIENCE, every)


@dataclass
class Real(Site):
    """A site in a namespace: `incoming`, which mirrors, and `second`, which does not, are both on `disk`."""

    namespace: Namespace = field(kw_only=True)
    archive: AnyArchive = field(kw_only=True)
    wire: RecordingProxy = field(kw_only=True)
    stored: dict[str, str] = field(default_factory=dict)  # SOP Instance UID by the name of its file
    needed_seconds: float = 0.0  # by a removal that was followed
    shown: Path | None = None  # where the folder's files are, if not on the disk
    daemon: subprocess.Popen[str] | None = None

    @property
    def second(self) -> Path:
        return self.home / "second"

    @property
    def disk(self) -> Path:
        """Where the disk is at all times, whatever is mounted at the folders: as those outside see it."""
        return self.namespace.seen(self.home / "disk")

    def put_disk_in(self) -> None:
        for where in (self.home / "disk", self.second):
            where.mkdir()
        self.namespace.tmpfs(self.home / "disk")
        for where in (self.folder, self.second):
            (self.disk / where.name).mkdir()
            self.bind(where.name, where)

    def bind(self, name: str, where: Path) -> None:
        """Mount a directory of the disk."""
        self.namespace.mount("--bind", self.home / "disk" / name, where)

    def close(self) -> None:
        """End what was started, however the test ended."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()

    # the daemon

    def prepare(self, delete_within: str = "24h", **deletions: Any) -> None:
        """Write the config: impatient, and with no guard but those that no number opens."""
        often = {"scan_interval": 0.2, "full_scan_interval": 0.2, "watch": "scan", "include": ["*.dcm"]}
        lax = {"max_deletions": 1000, "max_deletion_share": "100%"}
        self.configure(
            self.wire.url,
            folders={"mirror_deletions": "on", "delete_within": delete_within, **often},
            deletions={"confirm_after": 0.3, "grace": 0.8, **lax, **deletions},
        )
        second = (
            f'[[folders]]\npath = "{self.second}"\nsettle = 0\nscan_interval = 0.2\nfull_scan_interval = 0.2'
        )
        self.config_file.write_text(f"{self.config_file.read_text()}{second}\n")

    def begin(self) -> None:
        """Start the daemon, and wait until it has read both folders: what comes now comes live."""
        began = time.time()
        self.daemon = self.start("run", "-c", self.config_file)
        both = (self.folder, self.second)
        eventually(
            lambda: self.ledger.exists() and all((self.last_read(one) or 0) > began for one in both),
        )

    def end(self) -> Done:
        """End the daemon in good order."""
        assert self.daemon is not None
        self.daemon.terminate()
        done = finished(self.daemon)
        assert done.code == 0, done.err
        assert "Traceback" not in done.err
        return done

    def deletions(self, *arguments: str) -> Done:
        return self.run("deletions", *arguments, "-c", self.config_file)

    def enrol(self) -> None:
        assert self.deletions("enrol", str(self.folder)).code == 0

    def told(self) -> dict[str, Any]:
        """Give what `status --json` prints."""
        with Reader.open(self.ledger) as reader:
            return facts.snapshot(reader, time.time())

    def shows(self, view: fuse.Failing) -> None:
        """Let the folder be what a view of the disk shows, and enrol it anew, as it is."""
        shutil.copytree(self.disk / "incoming", view.source, dirs_exist_ok=True)
        self.shown = view.source
        self.namespace.mount("--bind", view.where, self.folder)
        self.enrol()

    def stands(self) -> dict[str, Any]:
        """Give how the folder's mirrored deletions stand."""
        (folder,) = self.told()["deletions"]
        assert isinstance(folder, dict)
        return folder

    def last_read(self, where: Path) -> float | None:
        """Give when a folder was last read to its end (wall seconds), None if never."""
        now = time.time()
        with Reader.open(self.ledger) as reader:
            folders = facts.snapshot(reader, now)["folders"]
        seconds = [one["last_scan_seconds"] for one in folders if one["path"] == str(where)]
        return now - seconds[0] if seconds and seconds[0] is not None else None

    def latest_pass(self) -> int:
        """Give the number of the latest pass over the folder, also of one that did not find it."""
        ((number,),) = self.query("SELECT scan FROM folders WHERE path = ?", os.fsencode(self.folder))
        return int(number)

    # files, and what the archive is told

    def at(self, name: str) -> Path:
        """Give where a file of the folder is at all times, as those outside see it."""
        return (self.shown or self.disk / "incoming") / name

    def store(self, *names: str, below: Path | None = None, study: str = "") -> None:
        """Have new files stored, each of a study of its own, if it is not to be this one."""
        for name in names:
            path = below / name if below else self.at(name)
            path.parent.mkdir(exist_ok=True)
            content = small(name, study=study or name)
            path.with_suffix(".part").write_bytes(content)
            path.with_suffix(".part").rename(path)
            self.stored[name] = uid_of(content)
        eventually(lambda: len(self.held()) >= len(self.stored), every=0.1 + len(self.stored) / 5000)
        assert set(self.stored.values()) <= self.held()
        eventually(lambda: self.told()["counts"]["sending"] == 0)

    def deletes(self) -> list[str]:
        """Give every DELETE the archive was ever sent, whatever it answered."""
        return [one.target for one in self.wire.exchanges if one.method == "DELETE"]

    def held(self) -> set[str]:
        """Give what the archive holds, looked at from behind."""
        while True:
            with suppress(FileNotFoundError, httpx.HTTPStatusError):  # deleted in the middle of the look
                return set(self.archive.stored())

    def posts(self) -> int:
        """Count what was sent to be stored."""
        return len(self.wire.stores)

    def follows(self, name: str) -> None:
        """See a removed file's instance go: that one, by one DELETE, and nothing else."""
        before = len(self.deletes())
        self.stored.pop(name)
        eventually(lambda: len(self.held()) == len(self.stored), every=0.1 + len(self.stored) / 5000)
        assert self.held() == set(self.stored.values())
        assert len(self.deletes()) == before + 1

    def removal_is_followed(self, name: str) -> None:
        """Show that a removal is followed now, and how long that takes where its last check passes at once.

        One that was held back is checked again in half a minute: then another file shows it.
        """
        for number in range(3):
            one = f"{number}-{name.replace('/', '-')}" if number else name
            self.store(one)
            began = time.monotonic()
            self.at(one).unlink()
            self.follows(one)
            self.needed_seconds = time.monotonic() - began
            if self.needed_seconds < AGAIN_SECONDS:
                return

    def nothing_goes(self) -> None:
        """Wait longer than a removal takes, and for several passes: not one DELETE, and all is there."""
        before = len(self.deletes())
        began, latest, passes = time.monotonic(), self.latest_pass(), 0
        while passes < 2 * PASSES or time.monotonic() - began < 1.5 * self.needed_seconds:  # quick ones too
            assert time.monotonic() - began < PATIENCE, "the folder is not read any more"
            if self.latest_pass() > latest:
                latest, passes = self.latest_pass(), passes + 1
            time.sleep(0.05)
        assert self.deletes()[before:] == []
        assert self.held() == set(self.stored.values())


@contextmanager
def mounted_site(home: Path, archive: AnyArchive) -> Iterator[Real]:
    """Give a site whose disk is in; what was started on it is ended with the block."""
    need(missing())
    (home / "incoming").mkdir(parents=True)
    with namespace() as own, RecordingProxy(archive.url) as wire:
        one = Real(home, before=own.enter, namespace=own, archive=archive, wire=wire)
        try:
            one.put_disk_in()
            yield one
        finally:
            one.close()

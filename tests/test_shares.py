"""A folder's mount goes, or hangs, under a daemon with a real archive: nothing is lost, or said to be."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomsync.samples import write_studies

from . import accounts, conftest, fuse, mounted
from .conftest import AnyArchive, OrthancArchive, by_uid, small
from .faultproxy import FaultProxy
from .orthanc import Orthanc
from .test_daemon import Site, until
from .test_daemon_folders import OFTEN, second, status

pytestmark = pytest.mark.orthanc


class Two(Site):
    """A site with two folders, one of them on a mount, and a network that can be cut."""

    network: FaultProxy
    real: AnyArchive
    written: dict[str, bytes]

    def write(self, where: Path, seed: int, instances: int = 2) -> None:
        paths = write_studies(
            where / str(seed), studies=1, series=1, instances=instances, rows=8, columns=8, seed=seed
        )
        self.written |= by_uid(paths)

    @property
    def due(self) -> int:
        found = accounts.states(self.ledger)
        return sum(n for state, n in found.items() if state != "stored")

    def sent_each_once(self, instances: int) -> None:
        went = sum(one.method == "POST" and one.whole for one in self.network.exchanges)
        accounts.sent_each_once(self.ledger, went, instances)


@pytest.fixture
def site(tmp_path: Path, orthanc: Orthanc) -> Iterator[Two]:
    with FaultProxy(orthanc.url) as network:
        one = Two(tmp_path, network, prelude=OFTEN)
        one.network, one.real, one.written = network, OrthancArchive(orthanc), {}
        yield one
        if one.process is not None and one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        one.socket.close()


@pytest.fixture
def share(tmp_path: Path) -> Iterator[mounted.Share]:
    with mounted.share(tmp_path / "share") as one:
        yield one


def told_gone(site: Site, where: Path) -> bool:
    (folder,) = (one for one in status(site)["folders"] if one["path"] == str(where))
    return bool(folder["problems"])


@pytest.mark.parametrize("restarted", [False, True], ids=["seen by the daemon", "while it was not running"])
def test_a_share_that_is_unmounted_takes_nothing_along_and_gets_everything_stored_when_it_is_back(
    site: Two, share: mounted.Share, restarted: bool
) -> None:
    site.configure(second(share.where))
    site.write(share.where, 1)
    site.write(site.folder, 2)
    site.start()
    site.ready()
    until(lambda: accounts.states(site.ledger) == {"stored": 4})
    site.network.cut("refused")
    site.write(share.where, 3)  # found, and not stored yet, when the share goes
    until(lambda: site.due == 2)
    if restarted:
        site.tell(signal.SIGKILL)
        site.ends()
    share.goes()
    if restarted:
        site.start()
    until(lambda: "it is empty, and what was mounted there is not" in site.said())
    until(lambda: told_gone(site, share.where))
    site.network.mend()
    site.write(site.folder, 4)
    until(lambda: accounts.states(site.ledger)["stored"] == 6, 60)
    assert accounts.states(site.ledger) == {"stored": 6, "pending": 2}
    files = accounts.states(site.ledger, "files")
    assert files["ready"] + files.get("held", 0) == 8, "one that a request did not find is held: unreadable"
    share.comes()
    site.write(share.where, 5)
    until(lambda: accounts.states(site.ledger) == {"stored": 10}, 60)
    until(lambda: not told_gone(site, share.where))
    assert "left its folder" not in site.said()
    assert "Traceback" not in site.said()
    accounts.agree(site.ledger, site.real, site.written)
    site.sent_each_once(10)


def test_a_share_that_goes_while_a_file_on_it_settles_is_not_said_to_have_lost_it(
    site: Two, share: mounted.Share
) -> None:
    site.configure(second(share.where).replace('settle = "0.1s"', 'settle = "3s"'))
    site.write(site.folder, 1)
    (share.where / "other").mkdir()  # it is looked into before anything is on it
    site.start()
    site.ready()
    until(lambda: accounts.states(site.ledger) == {"stored": 2})
    site.write(share.where, 2)
    until(lambda: accounts.states(site.ledger, "files") == {"ready": 2, "settling": 2})
    share.goes()
    until(lambda: accounts.states(site.ledger, "files") == {"ready": 2, "held": 2})
    assert accounts.rows(site.ledger, "SELECT DISTINCT reason FROM files WHERE state = 'held'") == [
        ("unreadable",)
    ]
    share.comes()
    until(lambda: accounts.states(site.ledger) == {"stored": 4}, 60)
    assert "left its folder" not in site.said()
    accounts.agree(site.ledger, site.real, site.written)


def test_a_folder_that_was_emptied_where_it_always_was_has_lost_its_files(
    site: Two, share: mounted.Share
) -> None:
    """The other side of it: on the mount it was found on, an empty folder is an empty folder."""
    site.configure(second(share.where))
    site.write(share.where, 1)
    site.start()
    site.ready()
    until(lambda: accounts.states(site.ledger) == {"stored": 2})
    for path in sorted((share.where / "1").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (share.where / "1").rmdir()
    until(lambda: accounts.states(site.ledger, "files") == {"gone": 2})
    assert not told_gone(site, share.where)


def test_a_mount_that_hangs_in_the_middle_of_a_study_is_told_and_everything_is_stored_once_it_answers(
    site: Two, tmp_path: Path
) -> None:
    conftest.need(fuse.missing() or None)
    files = {f"{number}.dcm": small(str(number), study=f"f{number % 3}") for number in range(6)}
    mount = fuse.Hanging(tmp_path / "mount", files)
    try:
        site.prelude += "pulse.HANGS_SECONDS = 1"
        site.configure(second(mount.where))
        site.network.cut("refused")
        site.written |= {conftest.uid_of(content): content for content in files.values()}
        site.start()
        site.ready()
        until(lambda: site.due == 6)
        mount.hang()
        site.network.mend()
        site.write(site.folder, 1)
        until(lambda: accounts.states(site.ledger).get("stored") == 2, 60)
        until(lambda: any("folder 2 does not answer" in line.lower() for line in site.heard()))
        assert accounts.states(site.ledger, "files") == {"ready": 8}
        mount.answer()
        until(lambda: accounts.states(site.ledger) == {"stored": 8}, 60)
    finally:
        mount.close()
    assert "left its folder" not in site.said()
    accounts.agree(site.ledger, site.real, site.written)
    site.sent_each_once(8)

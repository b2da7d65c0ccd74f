"""Folders that are lost, exchanged, hidden or changed in every way a disk can be: nothing is deleted for it.

Real mounts in a mount namespace, and a real daemon there, without privileges as the service has none. Each
test first has a removal followed, so that what it says next could fail; and what is wanted of the archive
is read off the wire in front of it.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dicomsync import failures, status

from . import fuse
from .conftest import AnyArchive, need
from .mirrored import MARKER, Real, eventually, mounted_site

# Each waits, several times, longer than a removal took: where that was slow once, all of it is.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def site(tmp_path: Path, archive: AnyArchive) -> Iterator[Real]:
    with mounted_site(tmp_path / "site", archive) as one:
        yield one


SIX = ("a/1.dcm", "a/2.dcm", "b/3.dcm", "b/4.dcm", "c/5.dcm", "c/6.dcm")
MANY = 1_000
only_sandbox = pytest.mark.parametrize("archive", ["sandbox"], indirect=True)
"""Where what counts is the folder, and a second archive would say nothing new."""


# Another folder in the folder's place, or none


def lose_and_find_again(
    site: Real, fault: Callable[[Real], Callable[[], None]], why: str, *, writable: bool
) -> None:
    """Let it happen right after a file was removed, and mend it: then alone that file's instance goes."""
    site.prepare()
    site.enrol()
    site.begin()
    site.store(*SIX)
    site.removal_is_followed("a/control.dcm")
    site.at("b/4.dcm").unlink()
    mend = fault(site)
    eventually(lambda: site.stands()["unhealthy"] == why)
    site.nothing_goes()
    assert f"nothing of it is deleted now: {failures.in_words(why)}" in status.text(site.told())
    site.store("elsewhere.dcm", below=site.disk / "second")
    if writable:
        site.store("new.dcm", below=site.namespace.seen(site.folder))
    site.nothing_goes()
    mend()
    eventually(lambda: site.stands()["unhealthy"] == "")
    site.follows("b/4.dcm")  # and not what has gone with the other disk
    if writable:
        site.nothing_goes()
    site.end()


def unmounted(site: Real) -> Callable[[], None]:
    site.namespace.unmount(site.folder)
    return lambda: site.bind("incoming", site.folder)


def mounted_empty(site: Real) -> Callable[[], None]:
    site.namespace.unmount(site.folder)
    site.namespace.tmpfs(site.folder)

    def again() -> None:
        site.namespace.unmount(site.folder)
        site.bind("incoming", site.folder)

    return again


def another_disk(site: Real) -> Callable[[], None]:
    """One that is enrolled too, as the marker on it says."""
    site.namespace.tmpfs(site.folder)
    marker = site.namespace.seen(site.folder) / MARKER
    marker.mkdir()
    (marker / "id").write_text("0" * 32 + "\n")
    return lambda: site.namespace.unmount(site.folder)


def a_copy_of_the_disk(site: Real) -> Callable[[], None]:
    """The marker and all, from a backup that is older than what came since."""
    site.namespace.tmpfs(site.folder)
    shutil.copytree(site.at(MARKER), site.namespace.seen(site.folder) / MARKER)
    return lambda: site.namespace.unmount(site.folder)


def another_directory(site: Real) -> Callable[[], None]:
    """The marker was moved along, or was in a template."""
    shutil.copytree(site.at(MARKER), site.disk / "other" / MARKER)
    site.bind("other", site.folder)
    return lambda: site.namespace.unmount(site.folder)


def no_marker(site: Real) -> Callable[[], None]:
    site.at(MARKER).rename(site.disk / "aside")

    def again() -> None:
        (site.disk / "aside").rename(site.at(MARKER))

    return again


def a_marker_that_is_none(site: Real) -> Callable[[], None]:
    before = (site.at(MARKER) / "id").read_text()
    (site.at(MARKER) / "id").write_text("not an id")

    def again() -> None:
        (site.at(MARKER) / "id").write_text(before)

    return again


def no_access(site: Real) -> Callable[[], None]:
    site.at("").chmod(0)
    return lambda: site.at("").chmod(0o755)


@pytest.mark.parametrize(
    ("fault", "why", "writable"),
    [
        pytest.param(unmounted, "marker-missing", False, id="unmounted"),
        pytest.param(mounted_empty, "marker-missing", True, id="an empty disk"),
        pytest.param(another_disk, "marker-other", True, id="another disk"),
        pytest.param(a_copy_of_the_disk, "root-other", True, id="a copy of the disk"),
        pytest.param(another_directory, "root-other", True, id="another directory"),
        pytest.param(no_marker, "marker-missing", True, id="no marker"),
        pytest.param(a_marker_that_is_none, "marker-unreadable", True, id="a marker that is none"),
        pytest.param(no_access, "root-unreadable", False, id="no access"),
    ],
)
@only_sandbox
def test_nothing_goes_while_another_folder_or_none_is_in_the_folders_place(
    site: Real, fault: Callable[[Real], Callable[[], None]], why: str, writable: bool
) -> None:
    lose_and_find_again(site, fault, why, writable=writable)


@pytest.mark.orthanc
@pytest.mark.parametrize("archive", ["orthanc"], indirect=True)
def test_nothing_goes_from_a_real_archive_while_the_folder_is_not_mounted(site: Real) -> None:
    lose_and_find_again(site, unmounted, "marker-missing", writable=False)


# What is mounted below it, over it, or cannot be read in it


@only_sandbox
def test_a_disk_mounted_below_the_folder_takes_nothing_along_and_what_it_hides_has_not_left(
    site: Real,
) -> None:
    site.prepare()
    site.enrol()
    site.begin()
    site.store(*SIX)
    site.removal_is_followed("a/control.dcm")
    site.namespace.tmpfs(site.folder / "a")  # 1 and 2 are below it now
    site.nothing_goes()
    nested = site.namespace.seen(site.folder)
    site.store("a/7.dcm", "a/8.dcm", below=nested)
    (nested / "a" / "7.dcm").unlink()
    site.nothing_goes()
    site.namespace.unmount(site.folder / "a")
    site.nothing_goes()
    site.store("a/9.dcm")
    site.removal_is_followed("b/again.dcm")
    site.end()


def no_right(site: Real, view: fuse.Failing | None) -> Callable[[], None]:
    del view
    site.at("a").chmod(0)
    return lambda: site.at("a").chmod(0o755)


def error(number: int) -> Callable[[Real, fuse.Failing | None], Callable[[], None]]:
    def fails(site: Real, view: fuse.Failing | None) -> Callable[[], None]:
        del site
        assert view is not None
        view.fail("a", number)
        return view.mend

    return fails


@pytest.fixture
def view(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[fuse.Failing | None]:
    """A disk that can be told to fail, if one is wanted; it is there before the namespace is."""
    if not request.param:
        yield None
        return
    need(fuse.missing() or None)
    (tmp_path / "failing").mkdir()
    one = fuse.Failing(tmp_path / "mount", tmp_path / "failing")
    yield one
    one.close()


@pytest.mark.parametrize(
    ("fault", "view"),
    [
        pytest.param(no_right, False, id="EACCES"),
        pytest.param(error(errno.EIO), True, id="EIO"),
        pytest.param(error(errno.ESTALE), True, id="ESTALE"),
    ],
    indirect=["view"],
)
@only_sandbox
def test_nothing_goes_while_one_directory_cannot_be_read_whatever_else_was_removed(
    view: fuse.Failing | None,
    site: Real,
    fault: Callable[[Real, fuse.Failing | None], Callable[[], None]],
) -> None:
    site.prepare()
    site.enrol()
    if view is not None:
        site.shows(view)
    site.begin()
    site.store(*SIX)
    site.removal_is_followed("a/control.dcm")
    site.at("a/2.dcm").unlink()  # both have left: of one that cannot be seen any more, of the other it can
    site.at("b/4.dcm").unlink()
    mend = fault(site, view)
    eventually(lambda: site.told()["folders"][0]["problems"] == 1)
    site.store("c/new.dcm")
    site.nothing_goes()
    assert "1 directory could not be read" in status.text(site.told())
    mend()
    uids = {site.stored.pop(name) for name in ("a/2.dcm", "b/4.dcm")}
    eventually(lambda: not uids & site.held())
    site.nothing_goes()
    site.end()


# What is still there, under another name or by other rules


def narrowed(site: Real) -> None:
    """In the config, while the daemon is down: it reads no directory a any more, and no *.DCM."""
    site.end()
    text = site.config_file.read_text()
    site.config_file.write_text(text.replace('include = ["*.dcm"]', 'include = ["c*.dcm"]\nexclude = ["a"]'))
    site.begin()


def renamed(site: Real) -> None:
    site.at("b").rename(site.at("z"))
    site.at("a/1.dcm").rename(site.at("c/one.dcm"))


def linked_in_the_folder(site: Real) -> None:
    site.at("c/link.dcm").hardlink_to(site.at("a/1.dcm"))
    site.at("a/1.dcm").unlink()


def linked_in_another_folder(site: Real) -> None:
    (site.disk / "second" / "link.dcm").hardlink_to(site.at("a/1.dcm"))
    site.at("a/1.dcm").unlink()


def moved_to_another_folder(site: Real) -> None:
    site.at("a").rename(site.disk / "second" / "a")


@pytest.mark.parametrize(
    "change", [narrowed, renamed, linked_in_the_folder, linked_in_another_folder, moved_to_another_folder]
)
@only_sandbox
def test_what_is_only_left_out_renamed_moved_or_linked_stays(
    site: Real, change: Callable[[Real], None]
) -> None:
    site.prepare()
    site.enrol()
    site.begin()
    site.store(*SIX)
    site.removal_is_followed("a/control.dcm")
    posts = site.posts()
    change(site)
    site.nothing_goes()
    assert site.posts() == posts
    assert site.told()["counts"]["stored"] == 6
    site.removal_is_followed("c/c-again.dcm")
    site.end()


# Too much at once


@only_sandbox
def test_a_folder_that_is_emptied_but_for_its_marker_freezes_and_thaws_when_all_is_back(site: Real) -> None:
    site.prepare()
    site.enrol()
    site.begin()
    site.store(*SIX)
    site.removal_is_followed("a/control.dcm")
    for name in "abc":
        site.at(name).rename(site.disk / name)
    eventually(lambda: site.stands()["frozen"] == "emptied")
    site.nothing_goes()
    told = site.run("status", "-c", site.config_file)
    assert (told.code, "FROZEN: nothing is left in the folder" in told.out) == (22, True)
    for name in "abc":
        (site.disk / name).rename(site.at(name))
    eventually(lambda: site.stands()["frozen"] == "")
    site.removal_is_followed("a/again.dcm")
    site.end()


@only_sandbox
def test_a_thousand_files_that_go_at_once_are_all_kept(site: Real) -> None:
    """With the guards as they are by default, in a folder that is a master copy."""
    site.prepare(max_deletions=20, max_deletion_share="2%", delete_within="always")
    site.enrol()
    site.begin()
    names = [f"{n % 10}/{n}.dcm" for n in range(MANY + 100)]
    site.store(*names, study="one")
    site.removal_is_followed("0/control.dcm")
    for name in names[:MANY]:
        site.at(name).unlink()
    # by share where a pass saw the first few of them gone, and no more of the others
    eventually(lambda: site.stands()["frozen"] in ("many", "share"))
    eventually(lambda: site.stands()["waiting"] == MANY)
    site.store("new.dcm")
    site.nothing_goes()
    assert "FROZEN: more left in 24 hours than `max_deletion" in status.text(site.told())
    assert site.deletions("cancel", "--all").code == 0
    eventually(lambda: site.stands()["frozen"] == "")
    site.removal_is_followed("0/again.dcm")
    site.end()


# The ledger


@only_sandbox
def test_last_weeks_ledger_put_in_the_place_of_todays_deletes_nothing_it_remembers(site: Real) -> None:
    site.prepare()
    site.enrol()
    site.begin()
    site.store(*SIX)
    site.removal_is_followed("a/control.dcm")
    site.end()
    shutil.copytree(site.ledger.parent, site.home / "backup")
    site.begin()
    site.store("b/since.dcm")
    for name in ("a/1.dcm", "b/since.dcm"):
        site.at(name).unlink()
    eventually(lambda: site.stands()["waiting"] > 0)
    site.end()
    shutil.copyfile(site.home / "backup" / site.ledger.name, site.ledger)
    for other in ("-wal", "-shm"):
        site.ledger.with_name(site.ledger.name + other).unlink(missing_ok=True)
    site.at("b/3.dcm").unlink()
    site.begin()
    site.at("c/5.dcm").unlink()
    site.nothing_goes()
    assert site.told()["doubt"] is not None
    site.removal_is_followed("a/again.dcm")
    site.end()

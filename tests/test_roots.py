"""The marker of a folder that mirrors: only the very one counts, and all else is told."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dicomsync import deletion, removal, roots, scan
from dicomsync.errors import UsageProblem
from dicomsync.model import MARKER, Folder
from dicomsync.removal import Seen

NAME = os.fsdecode(MARKER)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


def at(path: Path) -> bytes:
    return os.fsencode(path)


def test_placing_it_twice_keeps_the_first_and_whoever_runs_the_service_can_read_it(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        first = roots.place(at(folder))
    finally:
        os.umask(before)
    assert roots.place(at(folder)) == first == roots.look(at(folder))
    assert (folder / NAME).stat().st_mode & 0o777 == 0o755
    assert (folder / NAME / "id").stat().st_mode & 0o777 == 0o644


def test_a_place_that_is_none_cannot_be_enrolled(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem):
        roots.place(at(tmp_path / "nowhere"))


def gone(path: Path) -> None:
    shutil.rmtree(path / NAME)


def without_id(path: Path) -> None:
    (path / NAME / "id").unlink()


def garbage(path: Path) -> None:
    (path / NAME / "id").write_bytes(b"\xff" * 32)


def empty(path: Path) -> None:
    (path / NAME / "id").write_bytes(b"")


def a_link(path: Path) -> None:
    (path / NAME).rename(path / "moved")
    (path / NAME).symlink_to(path / "moved")


def a_link_to_the_id(path: Path) -> None:
    (path / NAME / "id").rename(path / "id")
    (path / NAME / "id").symlink_to(path / "id")


def a_file(path: Path) -> None:
    shutil.rmtree(path / NAME)
    (path / NAME).write_text("x")


def a_pipe(path: Path) -> None:
    (path / NAME / "id").unlink()
    os.mkfifo(path / NAME / "id")


def another_id(path: Path) -> None:
    (path / NAME / "id").write_text("0" * 32 + "\n")


def another_directory(path: Path) -> None:
    path.rename(path.parent / "away")
    shutil.copytree(path.parent / "away", path)


def unmounted(path: Path) -> None:
    path.rename(path.parent / "away")


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (gone, "marker-missing"),
        (without_id, "marker-missing"),
        (garbage, "marker-unreadable"),
        (empty, "marker-unreadable"),
        (a_link, "marker-unreadable"),
        (a_link_to_the_id, "marker-unreadable"),
        (a_file, "marker-unreadable"),
        (a_pipe, "marker-unreadable"),
        (another_id, "marker-other"),
        (another_directory, "root-other"),
        (unmounted, "root-unreadable"),
    ],
)
def test_whatever_becomes_of_it_the_folder_is_not_healthy(
    folder: Path, happens: Callable[[Path], None], why: str
) -> None:
    enrolled = roots.place(at(folder))
    assert deletion.unhealthy(enrolled, roots.look(at(folder))) == ""
    happens(folder)
    assert deletion.unhealthy(enrolled, roots.look(at(folder))) == why


def test_a_scan_passes_by_the_marker_whatever_its_patterns(folder: Path) -> None:
    roots.place(at(folder))
    (folder / "1.dcm").write_bytes(b"x")
    every = Folder(at(folder), include=("*",))
    (listing,) = scan.step(every, scan.start(every)).listings
    assert [one.name for one in listing.entries] == [b"1.dcm"]


# looking for what left


def seen(folder: Path, *paths: Path) -> Seen:
    return removal.look_for(at(folder), (tuple(map(at, paths)),)).seen[0]


def test_only_what_the_system_says_does_not_exist_is_absent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "there.dcm").write_bytes(b"x")
    (folder / "dangling.dcm").symlink_to("nowhere")
    (folder / "deep").mkdir()
    assert seen(folder, folder / "gone.dcm") is Seen.ABSENT
    assert seen(folder, folder / "deep" / "gone.dcm") is Seen.ABSENT
    assert seen(folder, folder / "never" / "was" / "gone.dcm") is Seen.ABSENT
    assert seen(folder, folder / "there.dcm") is Seen.THERE
    assert seen(folder, folder / "dangling.dcm") is Seen.THERE
    assert seen(folder, folder / "there.dcm" / "gone.dcm") is Seen.UNSEEN  # ENOTDIR
    assert seen(folder, folder / ("n" * 300)) is Seen.UNSEEN  # ENAMETOOLONG
    assert seen(folder, folder / "gone.dcm", folder / "there.dcm") is Seen.THERE
    assert seen(folder) is Seen.UNSEEN  # no path is no proof
    assert seen(folder.parent / "unmounted", folder.parent / "unmounted" / "1.dcm") is Seen.UNSEEN


def test_a_directory_that_became_a_link_hides_what_was_in_it(folder: Path) -> None:
    (folder / "deep").symlink_to(folder.parent)
    assert seen(folder, folder / "deep" / "gone.dcm") is Seen.UNSEEN


@pytest.mark.parametrize("number", [13, 5, 116, 2**20])  # EACCES, EIO, ESTALE, and one unheard of
def test_any_other_error_proves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    real = os.lstat

    def fails(path: bytes) -> os.stat_result:
        if path.endswith(b"gone.dcm"):
            raise OSError(number, "")
        return real(path)

    monkeypatch.setattr(os, "lstat", fails)
    assert seen(folder, folder / "gone.dcm") is Seen.UNSEEN


def test_a_directory_right_below_that_has_gone_is_told(folder: Path) -> None:
    (folder / "left").mkdir()
    wanted = tuple((at(folder / name),) for name in ("1.dcm", "left/1.dcm", "gone/1.dcm", "gone/deep/1.dcm"))
    looked = removal.look_for(at(folder), wanted)
    assert looked.directories_gone == (False, False, True, True)

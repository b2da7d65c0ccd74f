"""The life of a file in a screenful; and of one that was never seen, what would become of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dicomsync import sandbox, scan
from dicomsync.explain import explain, problems
from dicomsync.forecast import forecast
from dicomsync.model import Folder
from dicomsync.names import obstacle
from dicomsync.samples import write_studies
from tests.test_cli import backfill, run
from tests.world import World, breaks, gives


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    one = World(tmp_path, monkeypatch)
    yield one
    one.check()
    one.die()


def told(world: World, subject: Path | str) -> str:
    lines = explain(world.reader, str(subject), world.now.wall)
    assert lines is not None
    assert len(lines) < 25  # a screenful
    return "\n".join(lines)


def foretold(world: World, path: Path, **folder: object) -> str:
    rules = replace(Folder(os.fsencode(world.folder)), **folder)  # type: ignore[arg-type]  # the test's own shorthand
    return "\n".join(forecast(world.reader, os.fsencode(path), [rules], world.now.wall))


# a life


def test_of_a_stored_file_it_says_the_batch_the_answer_and_that_nothing_is_left_to_do(world: World) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    world.until_done()
    text = told(world, path)
    for words in (
        "1 instance",
        "status 200",
        "acknowledged, not compared",
        "next: nothing",
        "unchanged since",
    ):
        assert words in text
    path.write_bytes(b"other")
    assert "changed since" in told(world, path)
    path.unlink()
    assert "not there any more" in told(world, path)


def test_of_what_waits_it_says_for_what_and_how_long(world: World) -> None:
    world.once = False
    world.again()
    path = world.put("1.dcm", "1.2.3.1", fresh=True)
    world.turns()
    assert "looked at again until it has not changed for a while" in told(world, path)
    world.passes(6)
    assert "when its study has been quiet" in told(world, path)
    world.archive.answers = [gives(503)]
    world.passes(30)
    assert "status 503" in told(world, path)


def test_of_a_lost_answer_it_says_when_the_archive_is_asked_and_what_it_said(world: World) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    world.archive.answers = [world.archive.lose_answer]
    world.turns()
    assert "no answer" in told(world, path)
    assert "the archive is asked in" in told(world, path)
    world.until_done()
    assert "compared and found equal" in told(world, path)
    assert "asked: the answer was lost" in told(world, path)


def test_of_a_refused_file_it_says_the_code_and_the_words(world: World) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    world.archive.refuse["1.2.3.1"] = 0xA900
    world.until_done()
    assert "validation failed (Failure Reason A900)" in told(world, path)
    assert "dicomsync retry -c FILE UID" in told(world, path)


def test_of_an_unreadable_file_it_says_the_system_s_words_and_that_it_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    real = os.open

    def refuse(place: bytes | str, flags: int, *more: int, dir_fd: int | None = None) -> int:
        if place == os.fsencode(path):
            raise PermissionError(errno.EACCES, "no")
        return real(place, flags, *more, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        world.until_done()
    assert "Permission denied" in told(world, path)
    assert "tried again with every pass" in told(world, path)
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "file ready": 1}


def test_of_a_directory_it_says_where_its_files_end(world: World) -> None:
    world.put("a/1.dcm", "1.2.3.1")
    world.put("a/b/2.dcm", "1.2.3.2")
    world.until_done()
    assert "stored  2" in told(world, world.folder / "a")


# missed: an alarm, with the reason it had not been sent


def test_what_left_before_it_could_be_stored_says_why_it_had_not_been(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    world.archive.answers = [breaks("unreachable", 0)]
    world.turns()
    path.unlink()
    world.again()
    world.until_done()
    assert world.states() == {"missed": 1, "file gone": 1}
    assert "not stored until then: the archive gave no answer" in told(world, path)
    assert "export it again" in told(world, path)
    assert "the archive gave no answer" in caplog.text
    assert str(path) not in caplog.text
    (handle, where, _, ahead) = problems(world.reader)
    assert "missed" in handle
    assert str(path) in where
    assert ahead == "1 instance missed: bring the files back, or copy or export them again"


def test_a_held_file_that_left_says_what_was_wrong_with_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    path.write_bytes(path.read_bytes()[:-1])
    world.until_done()
    path.unlink()
    world.again()
    world.until_done()
    assert "until then held: the file ends in the middle of an element" in told(world, path)
    assert "cut short" in caplog.text


def test_a_missed_file_ends_a_backfill_with_20_and_status_tells_it(tmp_path: Path) -> None:
    folder, ledger = tmp_path / "in", tmp_path / "state" / "ledger.db"
    write_studies(folder, studies=1, series=1, instances=2, rows=8, columns=8)
    with sandbox.running(tmp_path / "archive") as archive:
        archive.set_faults(["status=503"])
        assert backfill(folder, ledger, archive.url, "--patience", "1s").returncode == 5
        archive.set_faults([])
        next(folder.rglob("*.dcm")).unlink()
        done = backfill(folder, ledger, archive.url)
    assert done.returncode == 20
    assert "missed 1 1 left" in " ".join(done.stdout.split())
    assert "1 case for a person" in run("status", "--ledger", ledger).stdout
    assert "not stored until then" in run("explain", "--ledger", ledger).stdout


# never seen


def test_a_file_outside_every_folder_is_not_looked_at(world: World, tmp_path: Path) -> None:
    assert "none of the folders" in foretold(world, tmp_path / "x.dcm")


def test_a_name_that_is_left_out_is_told_with_its_pattern(world: World) -> None:
    assert "none of those included (*.dcm)" in foretold(world, world.put("a/IM1", "1.2.3.1"))
    assert "excluded by '*.DCM'" in foretold(world, world.put("1.dcm", "1.2.3.1"), exclude=("*.DCM",))
    assert "directory above it is excluded by 'a'" in foretold(
        world, world.put("a/b/1.dcm", "1.2.3.1"), exclude=("a",)
    )


def test_links_directories_and_pipes_are_told(world: World) -> None:
    path = world.put("a/1.dcm", "1.2.3.1")
    (world.folder / "link.dcm").symlink_to(path)
    (world.folder / "linked").symlink_to(world.folder / "a")
    os.mkfifo(world.folder / "pipe.dcm")
    assert "symbolic link" in foretold(world, world.folder / "link.dcm")
    assert "below a symbolic link" in foretold(world, world.folder / "linked" / "1.dcm")
    assert "a directory, not read yet" in foretold(world, world.folder / "a")
    assert "not a regular file" in foretold(world, world.folder / "pipe.dcm")


def test_what_would_be_held_or_ignored_is_told_with_its_reason(world: World) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    path.write_bytes(path.read_bytes()[:-1])
    assert "held: the file ends in the middle" in foretold(world, path)
    path.write_bytes(b"hello")
    assert "ignored: not a DICOM file" in foretold(world, path)


def test_a_new_file_would_be_stored_and_a_second_content_would_be_a_conflict(world: World) -> None:
    known = world.put("1.dcm", "1.2.3.1")
    assert "stored: it is whole" in foretold(world, known)
    world.until_done()
    assert "1.2.3.1" in foretold(world, world.put("2.dcm", "1.2.3.1"))
    assert "not sent: one more file of instance" in foretold(world, world.folder / "2.dcm")
    world.put("3.dcm", "1.2.3.1", pixel=8)
    assert "conflict: other content than instance" in foretold(world, world.folder / "3.dcm")


def test_what_was_there_before_the_daemon_is_told(world: World) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    assert "before the daemon first saw the folder" in foretold(world, path, new_only=True)


def test_what_is_foretold_is_what_the_scan_does(world: World) -> None:
    """The walk and the forecast each know the patterns: they must not disagree."""
    names = ["1.dcm", "IM2", "x/3.DCM", "skip/4.dcm", "x/skip/5.dcm", "6.dcm.part", "~7.dcm"]
    for name in names:
        world.put(name, "1.2.3.1")
    folder = Folder(os.fsencode(world.folder), exclude=("skip", "~*"))
    position, taken = scan.start(folder), set()
    while position.todo:
        step = scan.step(folder, position)
        position = step.position
        taken |= {os.path.join(one.directory, e.name) for one in step.listings for e in one.entries}
    for name in names:
        path = os.fsencode(world.folder / name)
        assert (obstacle(path, folder) == "") == (path in taken), name


@pytest.mark.parametrize(
    "subject", ["f" * 16, "instance " + "e" * 16, "\ud800", "a\0b", "1.2.\udcff"], ids=ascii
)
def test_what_can_be_no_row_and_no_path_is_not_known(world: World, subject: str) -> None:
    assert explain(world.reader, subject, world.now.wall) is None


def test_the_command_asks_the_config_for_the_folders(tmp_path: Path) -> None:
    folder, ledger = tmp_path / "in", tmp_path / "state" / "ledger.db"
    write_studies(folder, studies=1, series=1, instances=1, rows=8, columns=8)
    with sandbox.running(tmp_path / "archive") as archive:
        backfill(folder, ledger, archive.url)
    other = tmp_path / "other.dcm"
    other.write_bytes(next(folder.rglob("*.dcm")).read_bytes())
    config = ledger.parent.with_suffix(".toml")
    assert "none of the folders" in run("explain", "-c", config, other).stdout
    without = run("explain", "--ledger", ledger, other)
    assert without.returncode == 0
    assert "cannot be said without -c" in without.stdout
    assert "one more file of instance" in without.stdout

"""A daemon's passes: full ones, quick ones, and hints that only make a look come sooner."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dicomsync import scan
from dicomsync.model import FileState, Moment
from dicomsync.passes import Pass

from .world import World

OLD = (1_000_000_000, 1_000_000_000)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A daemon that has made its first pass over a folder with one study."""
    one = World(tmp_path, monkeypatch)
    one.once = False
    one.put("a/1.dcm", "1.2.3.1")
    age(one)
    one.again()
    one.now = Moment(one.now.wall + 7200, one.now.mono)
    one.again()
    one.passes(30)
    yield one
    one.check()
    one.die()


def age(world: World) -> None:
    """Let directories look as if nothing had happened in them lately."""
    for path in (world.folder, *world.folder.rglob("*")):
        if path.is_dir():
            os.utime(path, OLD)


def listings(world: World, seconds: float) -> list[bytes]:
    """Let time pass and say which directories were read."""
    read: list[bytes] = []
    passes = world.engine.intakes[0].passes
    real = passes._stepped

    def stepped(one: Pass, step: scan.Step, now: Moment) -> None:
        read.extend(os.path.relpath(it.directory, os.fsencode(world.folder)) for it in step.listings)
        real(one, step, now)

    passes._stepped = stepped  # type: ignore[method-assign]  # until the last line
    world.passes(seconds)
    passes._stepped = real  # type: ignore[method-assign]  # as it was
    return read


def test_the_first_pass_is_full_and_stores_what_is_there(world: World) -> None:
    assert world.states() == {"stored": 1, "file ready": 1}


def test_a_quick_pass_reads_only_directories_that_changed(world: World) -> None:
    world.put("b/c/2.dcm", "1.2.3.2")
    os.utime(world.folder / "a", OLD)
    read = set(listings(world, 70))
    assert {b"b", b"b/c"} <= read
    assert b"a" not in read


def test_a_hint_is_followed_without_a_commit_before_the_look(world: World) -> None:
    before = world.ledger.connection.total_changes
    world.hands.kept, world.hands.keeps = [], ("step",)
    world.engine.hint([os.fsencode(world.folder / "a")])
    world.turns()
    assert world.hands.kept, "the directory is being read"
    assert world.ledger.connection.total_changes == before
    world.hands.release()
    world.turns()


def test_nothing_changed_reads_nothing_until_the_next_full_pass(world: World) -> None:
    age(world)
    world.passes(140)
    assert set(listings(world, 130)) == {b"."}  # the folder itself is always looked at
    assert set(listings(world, 400)) == {b".", b"a"}


def test_a_new_file_is_found_without_any_watcher(world: World) -> None:
    world.put("a/2.dcm", "1.2.3.2")
    world.now = Moment(world.now.wall + 7200, world.now.mono)
    world.passes(100)
    assert world.states()["stored"] == 2


def test_a_tree_moved_in_is_read_to_its_depth(world: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    world.folder, inside = outside, world.folder
    world.put("x/y/z/3.dcm", "1.2.3.3")
    world.folder = inside
    outside.rename(inside / "moved")
    world.now = Moment(world.now.wall + 7200, world.now.mono)
    world.passes(100)
    assert world.states()["stored"] == 2


def test_a_file_that_left_is_noticed_by_the_quick_pass(world: World) -> None:
    (world.folder / "a/1.dcm").unlink()
    world.passes(100)
    assert world.states() == {"stored": 1, "file gone": 1}


def test_a_directory_that_left_is_noticed_and_looked_for_once(world: World) -> None:
    shutil.rmtree(world.folder / "a")
    world.passes(100)
    assert world.states() == {"stored": 1, "file gone": 1}
    age(world)
    world.passes(70)
    assert b"a" not in listings(world, 140)


def test_a_file_changed_in_place_is_found_by_the_full_pass(world: World) -> None:
    path = world.folder / "a/1.dcm"
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    age(world)
    world.now = Moment(world.now.wall + 7200, world.now.mono)
    world.passes(1300, step=5)
    assert world.states() == {"stored": 1, "conflict": 1, "file ready": 1}


def test_a_hint_brings_a_look_at_once(world: World) -> None:
    world.put("a/2.dcm", "1.2.3.2")
    world.engine.hint([os.fsencode(world.folder / "a")])
    world.turns()
    assert world.file_state(world.folder / "a/2.dcm")[0] in (FileState.SETTLING, FileState.READY)


def test_a_hint_from_a_new_directory_reads_it_whole(world: World) -> None:
    world.put("n/m/2.dcm", "1.2.3.2")
    world.engine.hint([os.fsencode(world.folder / "n")])
    world.turns()
    assert world.file_state(world.folder / "n/m/2.dcm")[0] in (FileState.SETTLING, FileState.READY)


def test_too_many_hints_become_one_full_pass(world: World) -> None:
    path = world.folder / "a/1.dcm"
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    world.engine.hint([], everywhere=True)
    world.turns()
    assert world.states() == {"stored": 1, "conflict": 1, "file ready": 1}


def test_a_directory_that_is_left_out_is_not_read_for_a_hint_or_a_change_in_it(world: World) -> None:
    world.exclude = ("a",)
    world.again()
    world.passes(30)
    world.put("a/2.dcm", "1.2.3.2")
    world.put("a/n/3.dcm", "1.2.3.3")
    world.engine.hint([os.fsencode(world.folder / "a"), os.fsencode(world.folder / "a/n")])
    world.passes(150, step=5)
    assert world.states() == {"stored": 1, "file ready": 1}


def test_hints_from_elsewhere_are_nobodys(world: World) -> None:
    world.engine.hint([b"/elsewhere"])
    world.turns()
    assert world.states() == {"stored": 1, "file ready": 1}


def test_a_folder_that_is_gone_is_told_once_and_is_back_by_itself(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    away = world.folder.with_name("away")
    world.folder.rename(away)
    world.passes(1500, step=5)
    assert world.states() == {"stored": 1, "file ready": 1}
    assert sum("cannot be read" in record.getMessage() for record in caplog.records) == 1
    assert world.reader.history("directory", 1)[-1]["event"] == "unreadable"
    away.rename(world.folder)
    world.put("a/2.dcm", "1.2.3.2")
    world.now = Moment(world.now.wall + 7200, world.now.mono)
    world.passes(1500, step=5)
    assert world.states()["stored"] == 2


def test_a_daemon_rests_ten_times_as_long_as_a_pass_took(world: World) -> None:
    passes = world.engine.intakes[0].passes
    one = passes.last
    assert one is not None
    passes._end(one, Moment(world.now.wall, one.began + 100))
    due = passes.next_at()
    assert due is not None
    assert due > one.began + 100 + 0.9 * 1000


def test_a_pass_that_is_held_to_a_rate_is_no_burden_and_asks_for_no_rest(world: World) -> None:
    passes = world.engine.intakes[0].passes
    passes._folder = replace(passes._folder, scan_ops_per_second=10)
    one = passes.last
    assert one is not None
    passes._end(one, Moment(world.now.wall, one.began + 100))
    due = passes.next_at()
    assert due is not None
    assert due < one.began + 100 + 1.1 * passes._folder.scan_seconds + 1


def test_a_folder_that_starts_new_leaves_what_was_there_before_and_a_backfill_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch)
    world.once, world.new_only = False, True
    old = world.put("old.dcm", "1.2.3.1")
    world.now = Moment(old.stat().st_ctime + 0.001, world.now.mono)  # the daemon starts after the old file
    world.again()
    world.passes(100)
    assert world.file_state(old) == (FileState.IGNORED, "earlier")
    world.put("new.dcm", "1.2.3.2")
    world.now = Moment(world.now.wall + 7200, world.now.mono)
    world.passes(100)
    assert world.states() == {"stored": 1, "file ready": 1, "file ignored": 1}
    world.once = True
    world.again()
    world.until_done()
    assert world.states() == {"stored": 2, "file ready": 2}
    world.die()


def test_a_night_in_which_the_folder_hung_asks_for_no_longer_rest_after_it(world: World) -> None:
    world.hands.keeps, world.hands.kept = ("step",), []
    world.engine.hint([], everywhere=True)
    world.passes(9000, step=50)
    assert world.engine.hanging == 1
    world.hands.release()
    world.turns()
    world.put("a/2.dcm", "1.2.3.2")
    world.passes(900, step=5)
    assert world.states() == {"stored": 2, "file ready": 2}


def test_a_folder_that_was_not_there_at_first_brings_a_backlog_and_nothing_that_came_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch)
    world.once = False
    world.put("1.dcm", "1.2.3.1")
    away = world.folder.rename(tmp_path / "away")
    world.again()
    world.passes(60)
    away.rename(world.folder)
    world.passes(300)
    (row,) = world.reader.instances_under("1.2.3.1")
    assert (row["state"], row["live"]) == ("stored", 0)
    world.die()

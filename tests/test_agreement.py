"""A directory that agreed with the ledger is not compared again, and whatever happens in it is still seen."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dicomsync import passes, scan
from dicomsync.entries import Entries
from dicomsync.ledger import Ledger
from dicomsync.model import StatKey

from .world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A folder with two studies and one file that is none, stored, and read once more: all of it agrees."""
    one = World(tmp_path, monkeypatch)
    one.put("a/1.dcm", "1.2.3.1")
    one.put("a/2.dcm", "1.2.3.2")
    one.put("b/3.dcm", "1.2.4.1", study="1.2.4")
    (one.folder / "b/4.dcm").write_bytes(b"no DICOM")
    one.until_done()
    again(one)
    yield one
    one.check()
    one.die()


def again(world: World) -> None:
    """Look again, as another backfill does."""
    world.again()
    world.until_done()


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The directories whose files are read from the ledger, as it happens."""
    found: list[int] = []
    real = Ledger.files_between

    def files_between(ledger: Ledger, directory_id: int, *bounds: Any) -> Any:
        found.append(directory_id)
        return real(ledger, directory_id, *bounds)

    monkeypatch.setattr(Ledger, "files_between", files_between)
    return found


def agreed(world: World) -> dict[str, bool]:
    rows = world.ledger.connection.execute("SELECT path, agreed IS NOT NULL FROM directories")
    return {os.path.relpath(os.fsdecode(path), world.folder): bool(whether) for path, whether in rows}


def test_what_agreed_is_not_read_from_the_ledger_again(world: World, compared: list[int]) -> None:
    assert agreed(world) == {".": True, "a": True, "b": True}
    again(world)
    assert compared == []
    assert world.states() == {"stored": 3, "file ready": 3, "file ignored": 1}


def unmarked(world: World) -> list[bytes]:
    """The directories that the latest pass did not come by, as the ledger says."""
    rows = world.ledger.connection.execute(
        "SELECT path FROM directories WHERE scan < (SELECT max(scan) FROM folders)"
    )
    return [row[0] for row in rows]


@pytest.mark.parametrize("at_once", [1, 2, 2_000])
def test_that_it_was_read_is_recorded_for_many_directories_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    os.utime(world.folder / "a", ns=(1, 1))
    monkeypatch.setattr(passes, "MARKED_AT_ONCE", at_once)
    recorded: list[int] = []
    real = Ledger.read_again

    def read_again(ledger: Ledger, one: Any, directories: Any) -> None:
        recorded.append(len(directories))
        real(ledger, one, directories)

    monkeypatch.setattr(Ledger, "read_again", read_again)
    again(world)
    assert [n for n in recorded if n] == [at_once] * (3 // at_once) + [3 % at_once] * (3 % at_once > 0)
    assert unmarked(world) == []
    path = os.fsencode(world.folder / "a")
    times = world.ledger.connection.execute("SELECT mtime_ns FROM directories WHERE path = ?", (path,))
    assert times.fetchall() == [(1,)], "a time that alone has changed is recorded too"


def test_a_pass_that_dies_before_it_is_recorded_has_lost_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as cut:
        cut.setattr(passes.Passes, "_mark", lambda _passes, _one: None)
        cut.setattr(passes.Passes, "_end", lambda _passes, _one, _now: None)
        world.again()
        world.turns()
    assert len(unmarked(world)) == 3
    again(world)
    assert unmarked(world) == []
    assert world.states() == {"stored": 3, "file ready": 3, "file ignored": 1}


def test_a_folder_that_is_not_where_it_was_is_told_though_its_listing_is_as_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "away", lambda _ground: "Input/output error")
    world.again()
    world.turns()
    assert world.engine.intakes[0].passes.unreadable == {os.fsencode(world.folder): "Input/output error"}
    assert world.states() == {"stored": 3, "file ready": 3, "file ignored": 1}


def test_after_what_agreed_a_step_reads_more_and_after_anything_else_as_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[int, int]] = []
    real = scan.step

    def step(folder: Any, position: Any, mount: bytes, most: int) -> scan.Step:
        found = real(folder, position, mount, 1)
        read.append((most, len(found.listings)))
        return found

    monkeypatch.setattr(scan, "step", step)
    world.put("b/5.dcm", "1.2.4.2", study="1.2.4")
    again(world)
    few, many = scan.STEP_ENTRIES, passes.AGREED_ENTRIES
    assert read == [(few, 1), (many, 1), (many, 1)]  # the folder and `a` agree; `b` is read last
    read.clear()
    world.put("5.dcm", "1.2.4.3", study="1.2.4")
    again(world)
    assert read == [(few, 1), (few, 1), (many, 1)]


def changed_in_place(folder: Path) -> None:
    path = folder / "a/1.dcm"
    status = path.stat()
    content = path.read_bytes()
    path.write_bytes(content[:-2] + b"\x07\x00")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # only its change time tells


def exchanged(folder: Path) -> None:
    one, other, between = folder / "a/1.dcm", folder / "a/2.dcm", folder / "a/between"
    one.rename(between)
    other.rename(one)
    between.rename(other)


@pytest.mark.parametrize(
    "happens",
    [
        changed_in_place,
        exchanged,
        lambda folder: (folder / "a/1.dcm").rename(folder / "a/9.dcm"),
        lambda folder: (folder / "a/1.dcm").unlink(),
        lambda folder: (folder / "a/1.dcm").rename(folder / "b/1.dcm"),
        lambda folder: os.link(folder / "b/3.dcm", folder / "a/3.dcm"),
    ],
    ids=["changed in place", "exchanged", "renamed", "gone", "moved", "one more name"],
)
def test_what_happens_in_it_is_seen_and_then_it_agrees_again(
    world: World, happens: Callable[[Path], None], compared: list[int]
) -> None:
    happens(world.folder)
    world.now = type(world.now)(world.now.wall + 7200, world.now.mono)  # settled meanwhile
    again(world)
    assert compared
    on_disk = {os.fsencode(path): StatKey.of(path.stat()) for path in world.folder.rglob("*.dcm")}
    rows = world.ledger.connection.execute(
        """SELECT CAST(d.path || '/' || f.name AS BLOB), f.size_bytes, f.mtime_ns, f.ctime_ns, f.inode
        FROM files f JOIN directories d ON d.id = f.directory_id WHERE f.state NOT IN ('gone', 'missed')"""
    )
    assert {row[0]: StatKey(*row[1:]) for row in rows} == on_disk
    again(world)
    compared.clear()
    again(world)
    assert compared == []


def test_a_file_that_comes_back_as_it_was_is_taken_up_again(world: World) -> None:
    path, aside = world.folder / "a/1.dcm", world.folder.parent / "aside"
    directory = world.folder / "a"
    path.rename(aside)
    for _ in range(3):
        again(world)
    assert world.states()["file gone"] == 1
    assert agreed(world)["a"], "what has left is not in the listing"
    aside.rename(path)
    world.now = type(world.now)(world.now.wall + 7200, world.now.mono)
    again(world)
    assert world.file_state(path)[0] == "ready"
    assert directory.is_dir()


def test_what_waits_for_something_never_agrees(world: World) -> None:
    world.once = False
    world.die()
    world.start()
    world.put("a/5.dcm", "1.2.3.5", fresh=True)
    world.turns()
    assert world.file_state(world.folder / "a/5.dcm")[0] == "settling"
    assert not agreed(world)["a"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE files SET state = 'settling' WHERE name = x'342E64636D'",
        "UPDATE files SET inode = inode + 1 WHERE name = x'332E64636D'",
        "DELETE FROM files WHERE name = x'342E64636D'",
        """INSERT INTO files (directory_id, name, size_bytes, mtime_ns, ctime_ns, inode, state, seen_at)
        SELECT directory_id, x'FF', 1, 1, 1, 1, 'gone', 0 FROM files WHERE name = x'342E64636D'""",
    ],
    ids=["another state", "another key", "dropped", "one more"],
)
def test_whoever_writes_a_row_of_it_ends_the_agreement(world: World, statement: str) -> None:
    with world.ledger.transaction():
        assert world.ledger.connection.execute(statement).rowcount == 1
    assert agreed(world) == {".": True, "a": True, "b": False}


def test_another_directory_in_the_place_of_the_folder_is_compared(world: World, compared: list[int]) -> None:
    elsewhere = world.folder.parent / "elsewhere"
    world.folder.rename(elsewhere)
    world.folder.mkdir()
    for path in elsewhere.iterdir():
        path.rename(world.folder / path.name)
    again(world)
    assert len(set(compared)) == 3, "of what is unchanged, it is recorded which folder it was seen in"


def test_a_digest_tells_names_and_every_number_of_a_key_apart() -> None:
    def one(name: bytes, *numbers: int) -> bytes:
        return Entries([name[:1], name[1:]], [*numbers, *numbers]).digest()

    found = [
        one(b"ab", 1, 2, 3, 4),
        one(b"abc", 1, 2, 3, 4),
        *(one(b"ab", *(9 if at == other else at + 1 for at in range(4))) for other in range(4)),
    ]
    assert len(set(found)) == len(found)
    assert one(b"ab", 1, 2, 3, 4) == found[0]

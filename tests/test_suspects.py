"""A file that ends the process that reads it: it is found out, held, and keeps no other from its way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomsync import header, jobs, orders
from dicomsync.model import FileState, Header, StatKey
from tests.world import World


class CrashedError(BaseException):
    """The process is no more: what a signal or the kernel does, nothing in it can catch."""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    one = World(tmp_path, monkeypatch)
    yield one
    one.check()
    one.die()


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> set[bytes]:
    """Paths of files whose header ends the process that reads it."""
    paths: set[bytes] = set()
    real = header.read

    def read(path: bytes, key: StatKey | None = None) -> Header:
        if path in paths:
            raise CrashedError
        return real(path, key)

    monkeypatch.setattr(header, "read", read)
    return paths


def crashes(world: World) -> bool:
    """Run until all is done, or until the process ends; then start anew, as a service manager does."""
    try:
        world.until_done()
    except CrashedError:
        world.again()
        return True
    return False


def test_a_file_that_ends_two_processes_is_held_and_all_others_are_stored(
    world: World, deadly: set[bytes]
) -> None:
    paths = [world.put(f"{n:03}.dcm", f"1.2.3.{n}") for n in range(200)]
    deadly.add(os.fsencode(paths[70]))
    assert [crashes(world) for _ in range(3)] == [True, True, False]
    assert world.file_state(paths[70]) == (FileState.HELD, "poison")
    assert world.states() == {"stored": 199, "file ready": 199, "file held": 1}


def test_two_of_them_among_the_same_files_are_both_found(world: World, deadly: set[bytes]) -> None:
    paths = [world.put(f"{n}.dcm", f"1.2.3.{n}") for n in range(9)]
    deadly |= {os.fsencode(paths[2]), os.fsencode(paths[6])}
    assert [crashes(world) for _ in range(4)] == [True, True, True, False]
    assert world.states() == {"stored": 7, "file ready": 7, "file held": 2}


def test_who_was_only_there_when_a_process_was_killed_is_stored(world: World, deadly: set[bytes]) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    deadly.add(os.fsencode(path))
    assert crashes(world)
    deadly.clear()  # it was the power
    assert not crashes(world)
    assert world.states() == {"stored": 1, "file ready": 1}
    assert not world.ledger.suspects()


def test_an_end_in_good_order_suspects_nobody(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.hands.kept, world.hands.keeps = [], ("read_headers",)
    world.turns()
    world.engine.stop()
    world.engine.part()
    world.again()
    assert not world.ledger.suspects()
    world.until_done()


def test_a_suspect_that_changes_on_disk_gets_a_fresh_start(world: World, deadly: set[bytes]) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    deadly.add(os.fsencode(path))
    assert crashes(world)
    world.put("1.dcm", "1.2.3.1", pixel=7)
    assert crashes(world)  # once again, and not held for what it was before
    deadly.clear()
    assert not crashes(world)
    assert world.states() == {"stored": 1, "file ready": 1}


def test_retry_gives_what_is_held_a_fresh_start(world: World, deadly: set[bytes]) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    deadly.add(os.fsencode(path))
    while crashes(world):
        pass
    assert world.file_state(path) == (FileState.HELD, "poison")
    world.again()
    world.until_done()
    assert world.file_state(path) == (FileState.HELD, "poison")  # never by itself
    deadly.clear()
    with world.ledger.transaction():
        assert orders.retry(world.ledger, orders.Retry(held=True), 0.0, 0.0).files == 1
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "file ready": 1}


def test_suspects_are_read_alone_and_the_rest_together(
    world: World, deadly: set[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [world.put(f"{n}.dcm", f"1.2.3.{n}") for n in range(3)]
    deadly.add(os.fsencode(paths[0]))
    assert crashes(world)
    deadly.clear()
    world.put("4.dcm", "1.2.3.4")
    world.put("5.dcm", "1.2.3.5")
    together: list[int] = []
    real = jobs.read_headers

    def read_headers(files: tuple[tuple[bytes, StatKey], ...]) -> tuple[Header, ...]:
        together.append(len(files))
        return real(files)

    monkeypatch.setattr(jobs, "read_headers", read_headers)
    world.until_done()
    assert together == [1, 1, 1, 2]


@pytest.mark.parametrize(
    ("error", "reason"), [(MemoryError, "resource"), (RecursionError, "resource"), (IndexError, "poison")]
)
def test_a_file_that_the_reader_fails_at_is_held_and_the_others_are_stored(
    world: World, monkeypatch: pytest.MonkeyPatch, error: type[Exception], reason: str
) -> None:
    bad = world.put("1.dcm", "1.2.3.1", columns=16)
    world.put("2.dcm", "1.2.3.2")
    real, size = header._judge, bad.stat().st_size

    def judge(descriptor: int, key: StatKey) -> Header:
        if key.size_bytes == size:
            raise error
        return real(descriptor, key)

    monkeypatch.setattr(header, "_judge", judge)
    world.until_done()
    assert world.file_state(bad) == (FileState.HELD, reason)
    assert world.states() == {"stored": 1, "file ready": 1, "file held": 1}

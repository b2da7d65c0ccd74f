"""A file that is made another while nobody looks, or while it is read: told by its times and its inode."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dicomsync import copies, jobs
from dicomsync.model import Changed, InstanceState, StatKey

from .world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    one = World(tmp_path, monkeypatch)
    yield one
    one.check()
    one.die()


def overwrite(path: Path, data: bytes) -> None:
    """Write over a file what is as long, and give it back its modification time."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def test_other_content_of_the_same_size_time_and_inode_is_seen(world: World) -> None:
    path = world.put("1.dcm", "1.2.3.1", pixel=1)
    world.until_done()
    first = path.read_bytes()
    overwrite(path, world.put("other.dcm", "1.2.3.1", pixel=2).read_bytes())
    (world.folder / "other.dcm").unlink()
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "conflict": 1, "file ready": 1}
    assert world.archive.held["1.2.3.1"] == first


def test_another_file_of_the_same_size_and_time_in_its_place_is_seen(world: World) -> None:
    path = world.put("1.dcm", "1.2.3.1", pixel=1)
    world.until_done()
    other = world.put("other.part", "1.2.3.1", pixel=2)
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.rename(path)
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "conflict": 1, "file ready": 1}


def test_a_file_overwritten_while_it_is_read_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = world.put("1.dcm", "1.2.3.1", pixel=1)
    key = StatKey.of(path.stat())
    meddling(monkeypatch, path, path.read_bytes())
    (answer,) = jobs.digest(((bytes(path), key),))
    assert answer == Changed(StatKey.of(path.stat()))
    assert answer != Changed(key)


def test_a_file_overwritten_while_it_is_sent_is_not_called_stored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.put("1.dcm", "1.2.3.1", pixel=1)
    data = world.put("2.dcm", "1.2.3.1", pixel=2).read_bytes()
    (world.folder / "2.dcm").unlink()
    meddling(monkeypatch, path, data)
    world.until_done()
    assert world.state("1.2.3.1") is InstanceState.STORED
    assert world.archive.held["1.2.3.1"] == data


def meddling(monkeypatch: pytest.MonkeyPatch, path: Path, data: bytes) -> None:
    """Have a file overwritten as soon as it was read once."""
    real = os.read

    def read(descriptor: int, count: int) -> bytes:
        monkeypatch.setattr(os, "read", real)
        found = real(descriptor, count)
        overwrite(path, data)
        return found

    monkeypatch.setattr(os, "read", read)


def test_nothing_is_given_of_a_file_that_was_overwritten_between_two_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "CHUNK_BYTES", 100)
    path = tmp_path / "1.dcm"
    path.write_bytes(b"a" * 250)
    pieces = copies.chunks(bytes(path), StatKey.of(path.stat()))
    assert next(pieces) == b"a" * 100
    overwrite(path, b"b" * 250)
    with pytest.raises(copies.FileChanged) as told:
        next(pieces)
    assert told.value.key == StatKey.of(path.stat())


@pytest.mark.parametrize("other", [os.mkdir, os.mkfifo])
def test_what_cannot_be_read_in_a_files_place_is_told_as_a_change(
    tmp_path: Path, other: Callable[[Path], None]
) -> None:
    path = tmp_path / "1.dcm"
    path.write_bytes(b"a" * 250)
    key = StatKey.of(path.stat())
    path.unlink()
    other(path)
    assert jobs.digest(((bytes(path), key),)) == (Changed(StatKey.of(path.stat())),)


def test_a_pipe_in_a_files_place_loses_nothing_of_what_waits_in_it(tmp_path: Path) -> None:
    path = tmp_path / "1.dcm"
    path.write_bytes(b"a" * 250)
    key = StatKey.of(path.stat())
    path.unlink()
    os.mkfifo(path)
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(pipe, b"somebody's")
        assert jobs.digest(((bytes(path), key),)) == (Changed(StatKey.of(path.stat())),)
        assert os.read(pipe, 100) == b"somebody's"
    finally:
        os.close(pipe)

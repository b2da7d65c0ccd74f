"""What is read leaves no trace on the disk it is on: neither its access time nor the page cache."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from dicomsync import header, jobs, quiet, scan
from dicomsync.model import Folder, StatKey, Whole
from dicomsync.samples import write_ct_files

LONG_AGO = 1_000_000_000


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "_refused", False)


def file_below(folder: Path) -> Path:
    (path,) = write_ct_files(folder, count=1, size=512)
    return path


def aged(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (LONG_AGO, path.stat().st_mtime))


def cached(path: Path) -> bool:
    """Whether the file's last page is in memory."""
    with path.open("rb") as file:
        try:
            return os.preadv(file.fileno(), [bytearray(1)], path.stat().st_size - 1, os.RWF_NOWAIT) == 1
        except BlockingIOError:
            return False


@pytest.mark.usefixtures("allowed")
def test_neither_a_scan_nor_a_header_nor_a_hash_moves_an_access_time(tmp_path: Path) -> None:
    path = file_below(tmp_path)
    aged(path, path.parent)
    path.read_bytes()
    os.listdir(path.parent)
    if path.stat().st_atime == LONG_AGO or path.parent.stat().st_atime == LONG_AGO:
        pytest.skip("this file system keeps no access times")
    aged(path, path.parent)
    folder = Folder(bytes(path.parent), include=("*",))
    (listing,) = scan.step(folder, scan.start(folder)).listings
    found = header.read(bytes(path), listing.entries[0].key)
    assert isinstance(found, Whole)
    assert jobs.digest(((bytes(path), found.key),)) != ("",)
    assert path.stat().st_atime == LONG_AGO
    assert path.parent.stat().st_atime == LONG_AGO


@pytest.mark.usefixtures("allowed")
def test_where_the_system_refuses_that_a_file_is_opened_as_ever_and_it_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_below(tmp_path)
    asked = []
    really = os.open

    def strict(name: Any, flags: int, *values: Any, **named: Any) -> int:
        asked.append(bool(flags & os.O_NOATIME))
        if flags & os.O_NOATIME:
            raise PermissionError(errno.EPERM, "not yours")
        return really(name, flags, *values, **named)

    monkeypatch.setattr("os.open", strict)
    assert isinstance(header.read(bytes(path)), Whole)
    assert isinstance(header.read(bytes(path)), Whole)
    assert asked == [True, False, False]


@pytest.mark.usefixtures("allowed")
def test_a_file_that_may_not_be_read_is_not_asked_for_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def closed(name: Any, flags: int, *values: Any, **named: Any) -> int:
        asked.append(flags)
        raise PermissionError(errno.EACCES, "closed")

    monkeypatch.setattr("os.open", closed)
    with pytest.raises(PermissionError):
        quiet.opened(bytes(tmp_path / "x"), os.O_RDONLY)
    assert len(asked) == 1
    assert not quiet._refused


def test_what_was_read_to_its_end_is_out_of_the_page_cache(tmp_path: Path) -> None:
    path = file_below(tmp_path)
    with path.open("rb+") as file:
        os.fsync(file.fileno())  # what is not on disk yet stays in memory
        file.read()
        assert cached(path)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if cached(path):
        pytest.skip("this file system is memory")
    path.read_bytes()
    assert cached(path)
    (digest,) = jobs.digest(((bytes(path), StatKey.of(path.stat())),))
    assert isinstance(digest, bytes)
    assert not cached(path)

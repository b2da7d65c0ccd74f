"""Walking real directories, the ugly ones first: every wanted name exactly once, and nothing raised."""

from __future__ import annotations

import errno
import os
import pickle
import socket
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dicomsync import names, scan
from dicomsync.listings import GONE, Listing, Passed
from dicomsync.model import Folder, StatKey
from dicomsync.pulse import HANGS_SECONDS
from dicomsync.scan import Position, Step

DICOM = bytes(128) + b"DICM" + bytes(8)


def folder(
    path: Path | bytes, *, include: tuple[str, ...] = ("*.dcm",), exclude: tuple[str, ...] = ()
) -> Folder:
    return Folder(bytes(path) if isinstance(path, Path) else path, include, exclude)


def steps(where: Folder, most: int = 2000) -> Iterator[Step]:
    position = scan.start(where)
    for _ in range(10_000):
        if not position.todo:
            return
        step = scan.step(where, position, most=most, part=most)
        yield step
        position = step.position
    raise AssertionError("the scan does not end")


def listings(where: Folder, most: int = 2000) -> list[Listing]:
    return [listing for step in steps(where, most) for listing in step.listings]


def paths(where: Folder, most: int = 2000) -> list[bytes]:
    return [os.path.join(one.directory, entry.name) for one in listings(where, most) for entry in one.entries]


def passed(where: Folder) -> Passed:
    total = Passed()
    for listing in listings(where):
        total = total.plus(listing.passed)
    return total


def problems(where: Folder) -> dict[bytes, str]:
    found = {one.directory: one for one in listings(where) if one.problem}
    assert not any(one.proves_absence or one.entries for one in found.values()), "it proves nothing"
    return {directory: one.problem for directory, one in found.items()}


def touch(path: Path | bytes, content: bytes = b"x") -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
    os.write(descriptor, content)
    os.close(descriptor)


# names


@pytest.mark.parametrize(
    "name",
    [
        b"\xff\xfe\x80.dcm",
        b"two words .dcm",
        b" .dcm",
        b"line\nbreak.dcm",
        b"\n.dcm",
        b"tab\there.dcm",
        b"-rf.dcm",
        b".hidden.dcm",
        b".dcm",
        b"quote'\"$(x).dcm",
        b"back\\slash.dcm",
        "M\u00fcller \u6771\u4eac \u202e.dcm".encode(),
        b"x" * 251 + b".dcm",
    ],
)
@pytest.mark.parametrize("of_directory", [False, True])
def test_any_name_a_disk_can_hold_is_found_and_kept_byte_for_byte(
    tmp_path: Path, name: bytes, of_directory: bool
) -> None:
    path = bytes(tmp_path) + b"/" + name + (b"/1.dcm" if of_directory else b"")
    touch(path)
    assert paths(folder(tmp_path)) == [path]


@pytest.mark.parametrize(
    ("name", "include", "exclude", "wanted"),
    [
        ("a.dcm", ("*.dcm",), (), True),
        ("A.DCM", ("*.dcm",), (), True),
        ("a.dcm", ("*.DCM",), (), True),
        ("a.dcm.tmp", ("*.dcm",), (), False),
        ("adcm", ("*.dcm",), (), False),
        ("a.dcm", ("*",), ("*.DCM",), False),
        ("a.Tmp", ("*",), ("*.tMP",), False),
        ("a.ima", ("*.dcm", "*.ima"), (), True),
        ("im1", ("im[0-9]",), (), True),
        ("imx", ("im[0-9]",), (), False),
        ("a.dcm", (), (), False),
        ("a\nb.dcm", ("*.dcm",), (), True),
        ("\u00c4.DCM", ("\u00e4.dcm",), (), True),
        ("a+b.dcm", ("a+b.dcm",), (), True),
    ],
)
def test_patterns_choose_by_the_whole_name_without_regard_to_case(
    tmp_path: Path, name: str, include: tuple[str, ...], exclude: tuple[str, ...], wanted: bool
) -> None:
    touch(tmp_path / name)
    where = folder(tmp_path, include=include, exclude=exclude)
    assert bool(paths(where)) is wanted
    assert passed(where).excluded == (0 if wanted else 1)


def test_an_excluded_directory_is_not_entered_and_an_include_says_nothing_of_directories(
    tmp_path: Path,
) -> None:
    touch(tmp_path / "Lock.TMP" / "deep" / "a.dcm")
    touch(tmp_path / "plain" / "a.dcm")
    assert paths(folder(tmp_path, exclude=("*.tmp",))) == [bytes(tmp_path / "plain" / "a.dcm")]


# trees


def test_a_tree_of_two_hundred_levels_is_walked_to_its_bottom(tmp_path: Path) -> None:
    deep = tmp_path
    for level in range(200):
        deep = deep / "d"
        deep.mkdir()
        if level % 50 == 49:
            touch(deep / f"{level}.dcm")
    assert [os.path.basename(path) for path in paths(folder(tmp_path))] == [
        b"49.dcm",
        b"99.dcm",
        b"149.dcm",
        b"199.dcm",
    ]


def test_a_tree_deeper_than_a_path_may_be_long_is_a_problem_of_that_directory_alone(tmp_path: Path) -> None:
    touch(tmp_path / "z" / "a.dcm")
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(25):
        os.mkdir(b"d" * 200, dir_fd=here)
        below = os.open(b"d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    found = listings(folder(tmp_path))
    assert [one.problem for one in found if one.problem] == [os.strerror(errno.ENAMETOOLONG)]
    assert found[-1].entries[0].name == b"a.dcm"


def test_directories_are_read_in_order_each_after_the_files_beside_it(tmp_path: Path) -> None:
    for name in ("b/2.dcm", "b/c/3.dcm", "a/1.dcm", "z.dcm", "b.dcm"):
        touch(tmp_path / name)
    root = bytes(tmp_path) + b"/"
    assert [path.removeprefix(root) for path in paths(folder(tmp_path))] == [
        b"b.dcm",
        b"z.dcm",
        b"a/1.dcm",
        b"b/2.dcm",
        b"b/c/3.dcm",
    ]


def test_links_are_not_followed_so_that_a_loop_is_none(tmp_path: Path) -> None:
    touch(tmp_path / "real" / "a.dcm")
    os.symlink(tmp_path, tmp_path / "real" / "up")
    os.symlink(tmp_path / "real", tmp_path / "again.dcm")
    os.symlink("self.dcm", tmp_path / "self.dcm")
    os.symlink(tmp_path / "real" / "a.dcm", tmp_path / "file.dcm")
    os.symlink(tmp_path / "nothing", tmp_path / "dangling.dcm")
    where = folder(tmp_path)
    assert paths(where) == [bytes(tmp_path / "real" / "a.dcm")]
    assert passed(where) == Passed(links=5)
    assert problems(where) == {}


@pytest.mark.parametrize("to", ["real", "real/a.dcm", "nothing"])
@pytest.mark.parametrize("name", ["link.dcm", "link", "readme.txt"])
def test_links_of_any_name_are_counted_as_links_unless_their_name_is_excluded(
    tmp_path: Path, name: str, to: str
) -> None:
    (tmp_path / "real").mkdir()
    touch(tmp_path / "real" / "a.dcm", DICOM)
    os.symlink(tmp_path / to, tmp_path / name)
    assert passed(folder(tmp_path)) == Passed(links=1)
    assert passed(folder(tmp_path, exclude=(name,))) == Passed(excluded=1)


def test_what_is_no_regular_file_is_counted_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.dcm")
    os.mkfifo(tmp_path / "pipe")  # excluded, and therefore a sample: reading it would hang
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(tmp_path, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/sock.dcm")  # short, however long the path
        os.close(here)
        where = folder(tmp_path)
        assert paths(where) == []
        assert passed(where) == Passed(excluded=1, special=2, sampled=1)


def test_a_file_is_seen_with_the_key_that_stat_gives(tmp_path: Path) -> None:
    touch(tmp_path / "a.dcm", b"12345")
    (listing,) = listings(folder(tmp_path))
    assert listing.entries[0].key == StatKey.of(os.stat(tmp_path / "a.dcm"))
    assert listing.proves_absence
    assert listing.upto is None


# the folder itself


def test_a_folder_that_is_not_there_proves_nothing(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert problems(folder(missing)) == {bytes(missing): os.strerror(errno.ENOENT)}


def test_a_folder_that_is_a_link_is_read_and_keeps_its_name(tmp_path: Path) -> None:
    touch(tmp_path / "real" / "sub" / "a.dcm")
    os.symlink(tmp_path / "real", tmp_path / "link")
    assert paths(folder(tmp_path / "link")) == [bytes(tmp_path / "link" / "sub" / "a.dcm")]


def test_a_folder_that_is_a_link_to_nothing_proves_nothing(tmp_path: Path) -> None:
    os.symlink(tmp_path / "nothing", tmp_path / "link")
    assert problems(folder(tmp_path / "link")) == {bytes(tmp_path / "link"): os.strerror(errno.ENOENT)}


def test_a_folder_that_is_one_file_is_that_file_whatever_its_name_and_proves_nothing_else(
    tmp_path: Path,
) -> None:
    touch(tmp_path / "IM0001")
    touch(tmp_path / "IM0002")
    (listing,) = listings(folder(tmp_path / "IM0001"))
    assert (listing.directory, [entry.name for entry in listing.entries]) == (bytes(tmp_path), [b"IM0001"])
    assert listing.entries[0].key == StatKey.of(os.stat(tmp_path / "IM0001"))
    assert not listing.proves_absence


def test_a_folder_that_is_neither_directory_nor_file_is_never_opened_and_proves_nothing(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "pipe.dcm")
    touch(tmp_path / "a.dcm")
    os.symlink("a.dcm", tmp_path / "link.dcm")  # the service names the file it leads to
    for name in ("pipe.dcm", "link.dcm"):
        (listing,) = listings(folder(tmp_path / name))
        assert (listing.directory, listing.entries) == (bytes(tmp_path), ())
        assert listing.passed == Passed(special=1)
        assert not listing.proves_absence


# what changes or fails in between


def failing(monkeypatch: pytest.MonkeyPatch, path: Path, code: int) -> None:
    """Let opening this path fail, as the tests may run as root, for whom every mode is open."""
    real = os.open

    def refuse(name: bytes | str | Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if os.fsencode(name) == bytes(path):
            raise OSError(code, os.strerror(code))
        return real(name, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(scan.os, "open", refuse)  # type: ignore[attr-defined]  # the outside


@pytest.mark.parametrize(
    "code", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EMFILE, errno.ELOOP]
)
def test_a_directory_that_cannot_be_read_says_why_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    for name in ("a/1.dcm", "b/2.dcm", "c/3.dcm"):
        touch(tmp_path / name)
    failing(monkeypatch, tmp_path / "b", code)
    where = folder(tmp_path)
    assert problems(where) == {bytes(tmp_path / "b"): os.strerror(code)}
    assert [os.path.basename(path) for path in paths(where)] == [b"1.dcm", b"3.dcm"]


def test_a_folder_that_cannot_be_opened_ends_the_scan_and_not_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a.dcm")
    failing(monkeypatch, tmp_path, errno.EACCES)
    assert problems(folder(tmp_path)) == {bytes(tmp_path): os.strerror(errno.EACCES)}


def test_a_directory_whose_listing_breaks_off_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a.dcm")

    def broken(_: int) -> object:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(scan.os, "scandir", broken)  # type: ignore[attr-defined]  # the outside
    assert problems(folder(tmp_path)) == {bytes(tmp_path): os.strerror(errno.EIO)}


def test_no_descriptor_is_left_open_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a" / "x.txt", DICOM)
    touch(tmp_path / "a" / "1.dcm")
    before = len(os.listdir("/proc/self/fd"))
    listings(folder(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(scan.os, "scandir", lambda _: 1 / 0)  # type: ignore[attr-defined]  # the outside
        with pytest.raises(ZeroDivisionError):
            listings(folder(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_directory_that_vanished_between_two_steps_has_its_files_looked_for(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.dcm")
    where = folder(tmp_path)
    first = scan.step(where, scan.start(where), most=1, part=1)
    os.unlink(tmp_path / "a" / "1.dcm")
    os.rmdir(tmp_path / "a")
    (listing,) = scan.step(where, first.position).listings
    # Nothing is said of its files but that they are not listed: each is then looked at by itself.
    assert (listing.problem, listing.entries, listing.mtime_ns) == ("", (), GONE)


@pytest.mark.parametrize("become", ["file", "link"])
def test_a_directory_that_became_something_else_between_two_steps_is_not_entered(
    tmp_path: Path, become: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    touch(elsewhere / "secret.dcm")
    (tmp_path / "in" / "a").mkdir(parents=True)
    where = folder(tmp_path / "in")
    first = scan.step(where, scan.start(where), most=1, part=1)
    (tmp_path / "in" / "a").rmdir()
    if become == "link":
        os.symlink(elsewhere, tmp_path / "in" / "a")
    else:
        touch(tmp_path / "in" / "a")
    second = scan.step(where, first.position)
    assert [listing.entries for listing in second.listings] == [()]
    assert second.listings[0].mtime_ns == GONE
    assert second.position.todo == ()


@pytest.mark.parametrize(
    "exclude", [(), ("*.tmp", "*.part"), ("*.tmp.dcm",), ("*m",), ("*",), ("~*", "*.tmp")]
)
@pytest.mark.parametrize("include", [(), ("*.dcm",), ("*.dcm", "*.IMA"), ("*",), ("IM*",), ("IM*", "*.dcm")])
def test_a_name_is_wanted_that_matches_what_is_included_and_nothing_that_is_excluded(
    include: tuple[str, ...], exclude: tuple[str, ...]
) -> None:
    asked = ["1.dcm", "1.DCM", "1.ima", "1.tmp", "1.tmp.dcm", "1.dcm.tmp", "~1.dcm", "IM1", "IM1.part", "m"]
    wanted = [
        name
        for name in asked
        if any(fnmatch(name.lower(), one.lower()) for one in include)
        and not any(fnmatch(name.lower(), one.lower()) for one in exclude)
    ]
    assert [name for name in asked if names.chooser(include, exclude)(name)] == wanted
    left = names.sieve(include, exclude)
    assert left(asked) == wanted
    assert left(wanted) == wanted
    for name in asked:
        assert left([name]) == [one for one in wanted if one == name]
        assert left([name, "1.dcm"]) == [one for one in (name, "1.dcm") if one in wanted]
    assert left([]) == []


def test_files_that_vanish_between_listing_and_look_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.dcm", "b.dcm", "c.dcm"):
        touch(tmp_path / name)
    real = os.stat

    def late(name: bytes, **options: Any) -> os.stat_result:
        if name == b"b.dcm":
            os.unlink(tmp_path / "b.dcm")
        return real(name, **options)

    monkeypatch.setattr(scan.os, "stat", late)  # type: ignore[attr-defined]  # the outside
    (listing,) = listings(folder(tmp_path))
    assert [entry.name for entry in listing.entries] == [b"a.dcm", b"c.dcm"]
    assert not listing.problem


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ESTALE, errno.EOVERFLOW])
def test_one_name_that_cannot_be_looked_at_is_a_problem_and_the_others_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    for name in ("a.dcm", "b.dcm", "c.dcm", "sub/d.dcm"):
        touch(tmp_path / name)
    real = os.stat

    def bad(name: bytes, **options: Any) -> os.stat_result:
        if name == b"b.dcm":
            raise OSError(code, os.strerror(code))
        return real(name, **options)

    monkeypatch.setattr(scan.os, "stat", bad)  # type: ignore[attr-defined]  # the outside
    top, below = listings(folder(tmp_path))
    assert [entry.name for entry in top.entries] == [b"a.dcm", b"c.dcm"]
    assert (top.problem, top.proves_absence) == (os.strerror(code), False)
    assert [entry.name for entry in below.entries] == [b"d.dcm"]
    assert (below.problem, below.proves_absence) == ("", True)


def test_a_file_that_became_a_directory_before_it_was_looked_at_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a.dcm")
    real = os.stat

    def late(name: bytes, **options: Any) -> os.stat_result:
        os.unlink(tmp_path / "a.dcm")
        os.mkdir(tmp_path / "a.dcm")
        return real(name, **options)

    monkeypatch.setattr(scan.os, "stat", late)  # type: ignore[attr-defined]  # the outside
    (listing,) = scan.step(folder(tmp_path), scan.start(folder(tmp_path))).listings
    assert (len(listing.entries), listing.passed.special) == (0, 1)


# very large directories


@pytest.mark.parametrize("most", [1, 2, 7, 50, 99, 100, 101, 5000])
def test_a_large_directory_is_read_in_parts_with_every_name_exactly_once_and_in_order(
    tmp_path: Path, most: int
) -> None:
    names = sorted(os.fsencode(f"{(number * 7919) % 100:02d}.dcm") for number in range(100))
    for name in reversed(names):
        touch(bytes(tmp_path) + b"/" + name)
    touch(tmp_path / "sub" / "last.dcm")
    touch(tmp_path / "sub2" / "last.dcm")
    found = listings(folder(tmp_path), most)
    parts = [one for one in found if one.directory == bytes(tmp_path)]
    assert [entry.name for part in parts for entry in part.entries] == names
    assert all(len(part.entries) <= most for part in parts)
    assert len(parts) == max(1, -(-100 // most))
    assert [part.after for part in parts] == [b"", *(part.upto for part in parts[:-1])]
    assert parts[-1].upto is None
    for part in parts:
        assert all(part.after < entry.name for entry in part.entries)
        assert part.upto is None or part.entries[-1].name == part.upto
    assert [one.directory for one in found[len(parts) :]] == [
        bytes(tmp_path / "sub"),
        bytes(tmp_path / "sub2"),
    ]


def test_what_is_passed_over_is_counted_once_however_many_parts_there_are(tmp_path: Path) -> None:
    for number in range(10):
        touch(tmp_path / f"{number}.dcm")
        touch(tmp_path / f"{number}.txt")
        os.symlink("0.dcm", tmp_path / f"link{number}.dcm")
    total = Passed()
    for listing in listings(folder(tmp_path), most=3):
        total = total.plus(listing.passed)
    assert (total.excluded, total.links) == (10, 10)


def test_a_name_that_arrives_in_a_part_already_read_waits_for_the_next_scan(tmp_path: Path) -> None:
    for name in ("b.dcm", "c.dcm", "d.dcm"):
        touch(tmp_path / name)
    where = folder(tmp_path)
    first = scan.step(where, scan.start(where), most=2, part=2)
    touch(tmp_path / "a.dcm")
    touch(tmp_path / "e.dcm")
    second = scan.step(where, first.position, most=2, part=2)
    assert [entry.name for entry in second.listings[0].entries] == [b"d.dcm", b"e.dcm"]


def test_what_one_step_takes_of_one_directory_is_a_part_and_of_several_about_as_many_as_asked(
    tmp_path: Path,
) -> None:
    for number in range(30):
        touch(tmp_path / f"{number:02d}.dcm")
    touch(tmp_path / "sub" / "last.dcm")
    where = folder(tmp_path)
    whole = scan.step(where, scan.start(where), most=5, part=100)
    assert [len(listing.entries) for listing in whole.listings] == [30], "a directory is not cut by `most`"
    parts = scan.step(where, scan.start(where), most=1000, part=7)
    assert [len(listing.entries) for listing in parts.listings] == [7, 7, 7, 7, 2, 1]
    assert parts.position.todo == ()


@pytest.mark.parametrize(("part", "most_memory"), [(2_000, 3_000_000), (scan.PART_ENTRIES, 7_000_000)])
def test_a_hundred_thousand_files_in_one_directory_take_the_memory_of_one_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int, most_memory: int
) -> None:
    class Found:
        """One of very many names; making so many files would be slower than reading them."""

        def __init__(self, number: int) -> None:
            self.name = f"{(number * 7919) % 100_000:06d}.dcm"

        def is_dir(self, *, follow_symlinks: bool) -> bool:
            return False

        def is_symlink(self) -> bool:
            return False

        def is_file(self, *, follow_symlinks: bool) -> bool:
            return True

    class Many:
        def __enter__(self) -> Iterator[Found]:
            return (Found(number) for number in range(100_000))

        def __exit__(self, *_: object) -> None:
            return

    touch(tmp_path / "file")
    one = os.stat(tmp_path / "file")
    monkeypatch.setattr(scan.os, "scandir", lambda _: Many())  # type: ignore[attr-defined]  # the outside
    monkeypatch.setattr(scan.os, "stat", lambda *_, **__: one)  # type: ignore[attr-defined]  # the outside
    where = folder(tmp_path)
    tracemalloc.start()
    try:
        first = scan.step(where, scan.start(where), part=part)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    second = scan.step(where, first.position, part=part)
    assert peak < most_memory, f"{peak:,} bytes"
    names = [entry.name for step in (first, second) for entry in step.listings[0].entries]
    assert names == [b"%06d.dcm" % number for number in range(2 * part)]
    assert len(pickle.dumps(second.position)) < 1000


def test_a_step_ends_after_about_as_many_entries_as_it_was_asked_for(tmp_path: Path) -> None:
    for number in range(30):
        touch(tmp_path / f"{number:02d}" / "a.dcm")
        touch(tmp_path / f"{number:02d}" / "b.dcm")
    sizes = [sum(len(one.entries) for one in step.listings) for step in steps(folder(tmp_path), most=9)]
    assert sum(sizes) == 60
    assert max(sizes) <= 10
    assert len(sizes) >= 6


def test_what_is_passed_over_and_empty_directories_end_a_step_as_well(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02d}").mkdir()
    assert max(len(step.listings) for step in steps(folder(tmp_path), most=5)) <= 5


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_a_scan_can_stop_anywhere_and_go_on_in_another_process(tmp_path: Path, most: int) -> None:
    for name in ("a/1.dcm", "a/2.dcm", "a/3.dcm", "b/c/4.dcm", "5.dcm"):
        touch(tmp_path / name)
    where = folder(tmp_path)
    found: list[bytes] = []
    position: Position = scan.start(where)
    while position.todo:
        position = pickle.loads(pickle.dumps(position))
        step: Step = pickle.loads(pickle.dumps(scan.step(where, position, most=most, part=most)))
        found += [entry.name for listing in step.listings for entry in listing.entries]
        position = step.position
    assert found == [b"5.dcm", b"1.dcm", b"2.dcm", b"3.dcm", b"4.dcm"]


# samples of what is passed over


def test_a_sample_of_the_excluded_tells_that_dicom_is_among_them(tmp_path: Path) -> None:
    touch(tmp_path / "IM0001", DICOM)
    touch(tmp_path / "IM0002", DICOM)
    touch(tmp_path / "readme.txt", b"no")
    touch(tmp_path / "nearly", DICOM[:131])
    touch(tmp_path / "a.dcm", DICOM)
    assert passed(folder(tmp_path)) == Passed(excluded=4, sampled=4, sampled_dicom=2)


def test_what_was_excluded_by_name_on_purpose_is_not_sampled(tmp_path: Path) -> None:
    for name in ("a.tmp", "b.PART", "IM0001"):
        touch(tmp_path / name, DICOM)
    where = folder(tmp_path, exclude=("*.tmp", "*.part"))
    assert passed(where) == Passed(excluded=3, sampled=1, sampled_dicom=1)


def test_no_more_than_a_few_are_opened_in_a_whole_scan(tmp_path: Path) -> None:
    for directory in range(5):
        for number in range(10):
            touch(tmp_path / str(directory) / f"IM{number}", DICOM)
    total = passed(folder(tmp_path))
    assert (total.excluded, total.sampled, total.sampled_dicom) == (50, scan.SAMPLES, scan.SAMPLES)


def test_a_sample_that_cannot_be_opened_is_no_dicom_and_a_link_is_no_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "outside" / "x.dcm", DICOM)
    touch(tmp_path / "in" / "IM0001", DICOM)
    os.symlink(tmp_path / "outside" / "x.dcm", tmp_path / "in" / "link")
    assert passed(folder(tmp_path / "in")) == Passed(excluded=1, links=1, sampled=1, sampled_dicom=1)
    failing(monkeypatch, Path("IM0001"), errno.EACCES)
    assert passed(folder(tmp_path / "in")) == Passed(excluded=1, links=1, sampled=1)


# single looks


def test_a_look_tells_a_file_that_is_gone_from_one_that_cannot_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a.dcm")
    root = bytes(tmp_path)
    real = os.lstat

    def stale(path: bytes) -> os.stat_result:
        if path.endswith(b"stale.dcm"):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return real(path)

    monkeypatch.setattr(scan.os, "lstat", stale)  # type: ignore[attr-defined]  # the outside
    found = scan.look(
        (
            root + b"/a.dcm",
            root + b"/none.dcm",
            root + b"/a.dcm/below",
            root + b"/no/such",
            root + b"/stale.dcm",
        )
    )
    assert found == (StatKey.of(os.stat(tmp_path / "a.dcm")), None, None, None, os.strerror(errno.ESTALE))


@pytest.mark.parametrize(
    "code", [errno.EACCES, errno.EIO, errno.ENOTCONN, errno.ETIMEDOUT, errno.ENAMETOOLONG]
)
def test_no_error_but_one_proves_absence(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(_: bytes) -> os.stat_result:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(scan.os, "lstat", fail)  # type: ignore[attr-defined]  # the outside
    assert scan.look((b"/x",)) == (os.strerror(code),)


def test_a_look_at_a_link_sees_the_link(tmp_path: Path) -> None:
    os.symlink("/nothing/here", tmp_path / "link.dcm")
    assert scan.look((bytes(tmp_path / "link.dcm"),)) == (StatKey.of(os.lstat(tmp_path / "link.dcm")),)


def test_a_time_before_1970_is_kept_as_a_number_the_ledger_can_hold(tmp_path: Path) -> None:
    touch(tmp_path / "a.dcm")
    keys = set()
    for moment in (-1, -5, -(10**18), 5):
        os.utime(tmp_path / "a.dcm", ns=(0, moment))
        keys.add(StatKey.of(os.stat(tmp_path / "a.dcm")).mtime_ns)
    assert len(keys) == 4
    assert all(0 <= key < 2**63 for key in keys)


def test_an_inode_of_sixty_four_bits_is_folded_into_what_the_ledger_can_hold() -> None:
    status = SimpleNamespace(st_size=1, st_mtime_ns=10**20, st_ctime_ns=1, st_ino=2**64 - 2)
    key = StatKey.of(cast("os.stat_result", status))
    assert key.inode == 2**63 - 2
    assert 0 <= key.mtime_ns < 2**63


# the folder itself


class Mounts:
    """Which directories are mount points; a device number for each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *points: Path) -> None:
        self.points = [bytes(one) for one in points]
        self._really = os.stat
        monkeypatch.setattr(scan.os, "stat", self.stat)  # type: ignore[attr-defined]  # the outside

    def stat(self, path: Any, **more: Any) -> Any:
        found = self._really(path, **more)
        if more or not isinstance(path, bytes):
            return found
        above = [one for one in self.points if path == one or path.startswith(one + b"/")]
        return SimpleNamespace(st_dev=len(max(above, key=len, default=b"")), st_mode=found.st_mode)


def found_on(where: Folder) -> bytes:
    listing, *_ = scan.step(where, scan.start(where)).listings
    return listing.mount


def test_where_a_folder_was_found_is_its_mount_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "share" / "in"
    inside.mkdir(parents=True)
    Mounts(monkeypatch, tmp_path / "share")
    assert found_on(folder(inside)) == bytes(tmp_path / "share")
    assert found_on(folder(tmp_path / "share")) == bytes(tmp_path / "share")


@pytest.mark.parametrize("deeper", ["", "in"], ids=["the mount point itself", "a directory on it"])
def test_an_empty_directory_where_a_mount_was_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deeper: str
) -> None:
    where = folder(tmp_path / "share" / deeper)
    os.makedirs(where.path)
    ground = scan.Ground(where.path, bytes(tmp_path / "share"))
    mounts = Mounts(monkeypatch, tmp_path / "share")
    paths = (where.path + b"/1.dcm",)
    assert scan.look(paths, ground) == (None,)
    mounts.points.clear()
    assert scan.look(paths, ground) == (scan.NOT_MOUNTED,)
    (listing,) = scan.step(where, scan.start(where), ground.mount).listings
    assert (listing.problem, listing.away, listing.proves_absence) == (scan.NOT_MOUNTED, True, False)
    touch(Path(os.fsdecode(where.path)) / "2.dcm")  # somebody works there: it is the folder now
    assert scan.look(paths, ground) == (None,)
    (listing,) = scan.step(where, scan.start(where), ground.mount).listings
    assert (listing.problem, listing.away) == ("", False)
    assert listing.proves_absence


def test_a_mount_on_an_emptied_folder_is_not_one_that_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = folder(tmp_path / "in")
    os.makedirs(where.path)
    Mounts(monkeypatch, tmp_path / "in")
    assert scan.away(scan.Ground(where.path, b"/")) == ""
    assert scan.away(scan.Ground(where.path)) == ""  # it was never looked into


def test_what_is_missing_with_its_whole_folder_is_not_gone(tmp_path: Path) -> None:
    ground = scan.Ground(bytes(tmp_path / "in"), b"/")
    file = bytes(tmp_path / "in" / "1.dcm")
    assert scan.look((file,), ground) == ("No such file or directory",)
    (tmp_path / "in").mkdir()
    assert scan.look((file,), ground) == (None,)


def test_a_folder_that_is_a_file_is_gone_when_the_file_is(tmp_path: Path) -> None:
    file = bytes(tmp_path / "1.dcm")
    assert scan.look((file,), scan.Ground(file, b"/")) == (None,)


def held(path: Path, ops_per_second: int) -> Folder:
    return replace(folder(path), scan_ops_per_second=ops_per_second)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only sleeping moves; gives how long each sleep was."""
    sleeps: list[float] = []
    monkeypatch.setattr(
        "dicomsync.listings.time",
        SimpleNamespace(monotonic=lambda: sum(sleeps), sleep=sleeps.append, time_ns=time.time_ns),
    )
    return sleeps


def test_a_scan_that_is_held_to_a_rate_takes_its_time_evenly(tmp_path: Path, slept: list[float]) -> None:
    for number in range(30):
        (tmp_path / f"{number:02}.dcm").touch()
    assert len(paths(held(tmp_path, 10))) == 30
    assert sum(slept) == pytest.approx(3.1)  # thirty files and their directory
    assert max(slept) < 0.11


def test_without_a_rate_it_never_waits(tmp_path: Path, slept: list[float]) -> None:
    (tmp_path / "1.dcm").touch()
    assert len(paths(folder(tmp_path))) == 1
    scan.look((bytes(tmp_path),))
    scan.changed(((bytes(tmp_path), 0),))
    assert slept == []


def test_however_low_the_rate_no_job_passes_for_one_that_hangs(tmp_path: Path, slept: list[float]) -> None:
    for number in range(90):
        (tmp_path / f"{number:02}.dcm").touch()
    where, longest = held(tmp_path, 1), 0.0
    position = scan.start(where)
    found = []
    while position.todo:
        before = sum(slept)
        step = scan.step(where, position)
        longest = max(longest, sum(slept) - before)
        position = step.position
        found += [entry.name for listing in step.listings for entry in listing.entries]
    assert found == sorted(path.name.encode() for path in tmp_path.iterdir())
    assert longest < 2 * scan.JOB_SECONDS < HANGS_SECONDS


def test_looks_and_glances_keep_to_the_rate_too(tmp_path: Path, slept: list[float]) -> None:
    scan.look((bytes(tmp_path),) * 5, None, 10)
    scan.changed(((bytes(tmp_path), 0),) * 5, 10)
    assert sum(slept) == pytest.approx(1.0)

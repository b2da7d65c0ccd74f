"""The header walk, held against pydicom, against the judge, and against its own caps."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any
from unittest.mock import patch

import pydicom
from hypothesis import strategies as st

from dicomsync import header, walk
from dicomsync.model import FileState, Header, StatKey, Unfit, Whole
from dicomsync.reasons import FILE_REASONS

from . import files, judge, promised

TAGS = (files.STUDY, files.SERIES, files.SOP, files.CLASS)
KEY = StatKey(1, 1, 1, 1)

# A file that is whole to the letter of PS3.5 is still held for what it says, and says of itself.
NOT_THE_WALKS = {"uid-missing", "uid-several", "uid-malformed", "uid-mismatch", "no-pixels", "short-pixels"}
NOT_THE_WALKS |= {"dicomdir", "syntax-missing"}


def read(data: bytes) -> Header:
    """What `header.read` says of these bytes, without a disk between."""
    fd = os.memfd_create("file")
    try:
        os.write(fd, data)
        return header._judge(fd, StatKey.of(os.fstat(fd)))
    finally:
        os.close(fd)


def by_pydicom(data: bytes) -> tuple[str, ...] | None:
    """The UIDs and the transfer syntax as pydicom reads them; None where it does not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(io.BytesIO(data))
            found = [str(dataset[tag].value).rstrip("\0 ") for tag in TAGS]
            return (*found, str(dataset.file_meta.TransferSyntaxUID))
        except Exception:  # whatever a broken file makes it raise
            return None


def ours(found: Whole) -> tuple[str, ...]:
    uids = found.study_instance_uid, found.series_instance_uid, found.sop_instance_uid, found.sop_class_uid
    return (*uids, found.transfer_syntax_uid)


@promised(files.whole_files())
def a_whole_file_has_the_uids_it_was_made_with(made: files.Made) -> None:
    assert judge.whole(made.data)
    found = read(made.data)
    assert isinstance(found, Whole), found
    assert ours(found) == (*made.uids, made.syntax) == by_pydicom(made.data)


@promised(st.tuples(files.whole_files(), st.integers(0, 10_000)))
def a_cut_file_is_whole_only_where_the_standard_says_so(drawn: tuple[files.Made, int]) -> None:
    made, cut = drawn
    data = made.data[: cut % len(made.data)]
    answer = read(data)
    if isinstance(answer, Whole):
        assert judge.whole(data)
        assert made.uids[3] == files.REPORT or b"\x7f" in data, "an image without its pixels"


@promised(files.damaged_files())
def a_damaged_file_has_an_answer_and_the_uids_that_pydicom_finds(data: bytes) -> None:
    answer = read(data)
    theirs = by_pydicom(data)
    if isinstance(answer, Whole):
        assert theirs in (None, ours(answer))
        return
    assert isinstance(answer, Unfit)
    assert answer.state in (FileState.HELD, FileState.IGNORED)
    assert answer.reason in FILE_REASONS
    assert answer.reason != "poison"
    if theirs is not None and judge.whole(data):
        assert answer.reason in NOT_THE_WALKS, answer


any_bytes = st.binary(max_size=400).flatmap(
    lambda noise: st.sampled_from(
        [noise, *(files.meta(syntax, files.CT, "1.2.3") + noise for syntax in files.SYNTAXES)]
    )
)


@promised(any_bytes | files.damaged_files() | files.deep_files() | files.bombs().map(lambda drawn: drawn[0]))
def no_bytes_are_read_twice_and_no_step_is_taken_in_vain(data: bytes) -> None:
    size = len(data)
    with small_caps(elements=200_000, nested=4_000_000, depth=64, inflated=1 << 20), counted() as steps:
        got = judged(data)
    inflated = (1 << 20) + size if files.DEFLATED.encode() in data else 0
    assert got <= 2 * size + 64 * 1024, f"{got} bytes read of {size}"
    assert steps["unpack_from"] <= size + inflated + 64, steps


@promised(any_bytes | files.damaged_files() | files.deep_files())
def no_cap_is_passed(data: bytes) -> None:
    elements, nested, depth = 20, 30, 3
    with small_caps(elements=elements, nested=nested, depth=depth, inflated=1000), counted() as steps:
        judged(data)
    # Each element of the top level may begin a sequence, and each sequence has a cap of its own.
    assert steps["unpack_from"] <= 4 * elements * nested + 64, steps
    assert steps["deepest"] <= 2 * depth + 2, steps


@promised(files.bombs())
def nothing_is_inflated_beyond_the_cap(drawn: tuple[bytes, int]) -> None:
    data, inflated = drawn
    with patch.object(header, "MAX_INFLATED_BYTES", 3_000):
        answer = read(data)
    assert isinstance(answer, Whole | Unfit)
    if inflated > 3_000:
        assert isinstance(answer, Unfit)
        assert answer.reason == "resource"


def judged(data: bytes) -> int:
    """Have the walk judge some bytes; gives how many it asked for."""
    asked = 0

    def give(count: int, offset: int) -> bytes:
        nonlocal asked
        assert count <= 1 << 20
        asked += count
        return data[offset : offset + count]

    with suppress(walk.HeldError):
        header._part_10(walk.Source(len(data), give), KEY)
    return asked


@contextmanager
def small_caps(elements: int, nested: int, depth: int, inflated: int) -> Iterator[None]:
    with (
        patch.object(walk, "MAX_ELEMENTS", elements),
        patch.object(walk, "MAX_NESTED", nested),
        patch.object(walk, "MAX_DEPTH", depth),
        patch.object(header, "MAX_INFLATED_BYTES", inflated),
    ):
        yield


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Count what the walk does: elements it unpacks, and how deep its stack of levels gets."""
    steps = {"unpack_from": 0, "deepest": 0}

    def look(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ == "unpack_from":
            steps["unpack_from"] += 1
        elif event == "return" and "levels" in frame.f_locals and frame.f_code.co_name.startswith("_"):
            steps["deepest"] = max(steps["deepest"], len(frame.f_locals["levels"]))

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield steps
    finally:
        sys.setprofile(before)

"""Learnt layouts change no answer: every file is judged as by the walk alone, however it differs."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from dicomsync import header, walk
from dicomsync.layouts import Layouts
from dicomsync.model import Header, Whole

from .test_header import (
    BIG,
    CT,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    PYDICOM,
    ROWS,
    SERIES,
    SOP,
    STUDY,
    deflated,
    delimiter,
    element,
    file,
    fragments,
    image,
    meta,
    open_item,
    sequence,
)

JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_PIXELS = fragments(b"", b"jpeg")
KINDS = {"explicit": EXPLICIT, "implicit": IMPLICIT, "compressed": JPEG}


def slice_of(kind: str, number: int, extra: bytes = b"", sop: str = "") -> bytes:
    """Give one file of a series: what differs from slice to slice has another length now and then."""
    syntax, form = KINDS[kind], IMPLICIT if kind == "implicit" else EXPLICIT
    sop = sop or f"1.2.3.{number}"

    def one(tag: int, vr: str, value: bytes | str | int) -> bytes:
        return element(tag, vr, value, syntax=form)

    item = open_item(one(0x00081155, "UI", "9.9.9") + one(0x00081199, "SQ", delimiter(0xFFFEE000)))
    pixels = JPEG_PIXELS if kind == "compressed" else one(0x7FE00010, "OW", bytes(32))
    elements = {
        0x00080016: one(0x00080016, "UI", CT),
        SOP: one(SOP, "UI", sop),
        0x00081140: sequence(item, delimiter(0xFFFEE000, 4) + b"item", syntax=form),
        0x00100010: one(0x00100010, "PN", "Nobody"),
        STUDY: one(STUDY, "UI", "1.2.3"),
        SERIES: one(SERIES, "UI", "1.2.4"),
        0x00200013: one(0x00200013, "IS", str(number)),
        0x00201041: one(0x00201041, "DS", str(number / 8)),
        0x00280002: one(0x00280002, "US", 1),
        ROWS: one(ROWS, "US", 4),
        0x00280011: one(0x00280011, "US", 4),
        0x00280100: one(0x00280100, "US", 16),
        0x00291010: one(0x00291010, "UN", b"more"),
    }
    return meta(syntax, sop) + b"".join(elements.values()) + extra + pixels


@pytest.fixture
def spot(tmp_path: Path) -> Path:
    return tmp_path / "file.dcm"


class Reader:
    """Reads files as a process that learns, and as one that has read nothing before."""

    def __init__(self, spot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spot, self.patch, self.layouts, self.fitted = spot, monkeypatch, fresh(), 0

    def learnt(self, data: bytes) -> Header:
        self.spot.write_bytes(data)
        self.fitted += self.layouts.fit(data[: walk.FIRST_BYTES]) is not None
        self.patch.setattr(header, "_LAYOUTS", self.layouts)
        return header.read(bytes(self.spot))

    def agrees(self, data: bytes) -> Header:
        answer = self.learnt(data)
        self.patch.setattr(header, "_LAYOUTS", fresh())
        assert answer == header.read(bytes(self.spot))
        return answer


def fresh() -> Layouts:
    return Layouts(header._META, header._DATASET, header._META_SYNTAX)


@pytest.fixture
def reader(spot: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    return Reader(spot, monkeypatch)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_two_slices_teach_the_layout_of_all_others(reader: Reader, kind: str) -> None:
    for number in (9, 10):
        assert isinstance(reader.agrees(slice_of(kind, number)), Whole)
    for number in (1, 99, 100, 12345, 8000):
        assert isinstance(reader.agrees(slice_of(kind, number)), Whole)
    assert reader.fitted == 5


def test_a_slice_cut_at_any_byte_is_judged_as_by_the_walk_alone(reader: Reader, kind: str) -> None:
    data = slice_of(kind, 11)
    reader.agrees(slice_of(kind, 9)), reader.agrees(slice_of(kind, 10))
    assert all(not isinstance(reader.agrees(data[:cut]), Whole) for cut in range(132, len(data)))
    assert reader.fitted > 20


def mutated(luck: random.Random, data: bytes) -> bytes:
    whole = bytearray(data)
    for _ in range(luck.randint(1, 3)):
        place = luck.randrange(132, len(whole))
        match luck.choice(("set", "number", "cut", "insert", "length", "repeat")):
            case "set":
                whole[place] = luck.randrange(256)
            case "number":
                whole[place] = luck.choice(b"\0\2\4\10\12\40\377SQUNOBCS")
            case "cut":
                del whole[place : place + luck.randint(1, 8)]
            case "insert":
                whole[place:place] = luck.randbytes(luck.randint(1, 8))
            case "length":
                whole[place : place + 4] = struct.pack("<I", luck.choice((0, 1, 2, 8, 0xFFFF, 0xFFFFFFFF)))
            case "repeat":
                whole[place:place] = whole[place - luck.randint(2, 40) : place]
    return bytes(whole)


def test_damaged_slices_are_judged_as_by_the_walk_alone(reader: Reader, kind: str) -> None:
    luck = random.Random(kind)
    for turn in range(800):
        if turn % 100 == 0:  # what damaged files teach each other is tried as well
            reader.layouts = fresh()
        number = luck.randint(1, 2000)
        reader.agrees(slice_of(kind, number) if turn % 8 < 3 else mutated(luck, slice_of(kind, number)))
    assert reader.fitted > 300


ODD = {
    "a second UID": element(STUDY, "UI", "1.2.9"),
    "the same UID again": element(STUDY, "UI", "1.2.3"),
    "an odd VR": element(0x00291011, "ZZ", "value"),
    "an odd VR that looks long": element(0x00291011, "ZZ", b"\2\0\0\0" + b"x" * 8),
    "an odd length": element(0x00291011, "LO", b"", length=3) + b"abc",
    "a tag out of order": element(0x00080005, "CS", "ISO_IR 100"),
    "a wanted tag with a long VR": element(0x00280008, "UT", "1"),
    "meta information in the dataset": element(0x00020010, "UI", IMPLICIT),
    "a sequence of unknown VR": sequence(vr="UN", tag=0x00291011),
    "an empty item": sequence(open_item(b""), tag=0x00291011),
    "an implicit item": sequence(
        open_item(element(0x00081155, "", "9", syntax=IMPLICIT)), tag=0x00291011
    ),
    "more than the first read": element(0x00291011, "UT", bytes(17_000)) + element(0x00291012, "LO", "x"),
    "fills the first read": b"".join(element(0x00291000 + n, "LO", "x" * 62) for n in range(300)),
    "a stray delimiter": delimiter(0xFFFEE00D),
    "zeros": bytes(64),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_element_is_judged_as_by_the_walk_alone_also_where_all_have_it(
    reader: Reader, kind: str, odd: str
) -> None:
    plain, strange = (
        (slice_of(kind, 9), slice_of(kind, 10)),
        (slice_of(kind, 11, ODD[odd]), slice_of(kind, 100, ODD[odd])),
    )
    for data in (*plain, *strange, *strange, *plain, *(data[:-1] for data in strange)):
        reader.agrees(data)


def test_a_file_that_fits_but_is_wrong_is_held(reader: Reader) -> None:
    for number in (9, 10):
        reader.agrees(slice_of("explicit", number))
    good = slice_of("explicit", 11)
    for old, new in (
        (b"1.2.3.11", b"1.2..311"),
        (element(ROWS, "US", 4), element(ROWS, "US", 5)),
        (b"1.2.4\0", b"     \0"),
    ):
        assert not isinstance(reader.agrees(good.replace(old, new)), Whole)
    assert not isinstance(reader.agrees(good.replace(b"1.2.3.11", b"1.2.3.12", 1)), Whole)
    assert reader.fitted == 4


def test_a_uid_given_twice_is_compared_in_each_file(reader: Reader) -> None:
    again = element(STUDY, "UI", "1.2.3")
    for number in (9, 10, 11):
        assert isinstance(reader.agrees(slice_of("explicit", number, again)), Whole)
    assert not isinstance(reader.agrees(slice_of("explicit", 12, element(STUDY, "UI", "1.2.9"))), Whole)
    assert reader.fitted == 2


@pytest.mark.parametrize("syntax", [BIG, DEFLATED])
def test_what_no_layout_is_for_teaches_none(reader: Reader, syntax: str) -> None:
    body = image(syntax=syntax) if syntax == BIG else [deflated(b"".join(image()))]
    for _ in range(4):
        assert isinstance(reader.agrees(file(body, syntax)), Whole)
    assert not reader.fitted


def test_files_of_another_encoding_do_not_fit(reader: Reader) -> None:
    """The same bytes but for one transfer syntax UID of the same length."""
    for number in (9, 10):
        reader.agrees(slice_of("compressed", number))
    other = slice_of("compressed", 11).replace(JPEG.encode(), b"1.2.840.10008.1.2.4.51")
    assert isinstance(reader.agrees(other), Whole)
    assert not reader.fitted


def test_a_file_that_says_another_syntax_than_those_before_is_not_read_as_they_are(reader: Reader) -> None:
    """One whose pixels alone are deflated, and that says that all is: no walk gets to its pixels."""

    def saying(syntax: str, number: int, pixels: bytes) -> bytes:
        before = slice_of("compressed", number).removeprefix(meta(JPEG, f"1.2.3.{number}"))
        return meta(syntax, f"1.2.3.{number}") + before.removesuffix(JPEG_PIXELS) + pixels

    for number, syntax in enumerate((JPEG, JPEG_LS, JPEG, JPEG_LS), 20):
        assert isinstance(reader.agrees(saying(syntax, number, JPEG_PIXELS)), Whole)
    pixels = deflated(element(0x7FE00010, "OW", bytes(32)))
    assert not isinstance(reader.agrees(saying(DEFLATED, 30, pixels)), Whole)


def test_series_that_lie_mixed_keep_their_layouts(reader: Reader) -> None:
    for one in KINDS:
        for number in (9, 10):
            reader.agrees(slice_of(one, number))
    for number in range(100, 130):
        for one in KINDS:
            reader.agrees(slice_of(one, number))
    assert reader.fitted == 90


def test_learning_ends_where_it_does_not_pay(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[object] = []
    monkeypatch.setattr(Layouts, "_common", lambda _, *files: compared.append(files))
    for number in range(600):
        extra = element(0x00290010 + number, "LO", "x")
        assert isinstance(reader.learnt(slice_of("explicit", 9, extra)), Whole)
    assert 90 < len(compared) < 100  # of 600; what they earn is spent on that as well


def test_the_cap_on_elements_counts_those_that_a_layout_steps_over(
    reader: Reader, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (9, 10):
        reader.agrees(slice_of(kind, number))
    for cap in range(12, 18):
        monkeypatch.setattr(walk, "MAX_ELEMENTS", cap)
        assert isinstance(reader.agrees(slice_of(kind, 11)), Whole) == (cap > 14)
    assert reader.fitted == 6


def test_every_file_that_pydicom_ships_is_judged_as_by_the_walk_alone_when_read_again(reader: Reader) -> None:
    for path in PYDICOM.rglob("*.dcm"):
        reader.layouts, data = fresh(), path.read_bytes()
        for _ in range(3):
            reader.agrees(data)
    assert reader.fitted > 50

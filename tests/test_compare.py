"""Two files under one UID: each way of differing, and what must not count as one."""

from __future__ import annotations

import io
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from dicomsync.compare import Comparison, Likeness, Unreadable, compare
from dicomsync.samples import instance

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
BIG, DEFLATED, JPEG = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.70"
UIDS = {"study_uid": "1.2.3", "series_uid": "1.2.3.1", "sop_uid": "1.2.3.1.1"}
NAMED = {"PatientName": "Doe^Jane", "PatientID": "A1"}
PIXELS = bytes(range(256)) * 2


def file(syntax: str = EXPLICIT, pixels: bytes = PIXELS, **extra: object) -> bytes:
    return instance(
        **UIDS, rows=16, columns=16, transfer_syntax=syntax, pixels=pixels, extra={**NAMED, **extra}
    )


def rewritten(change: Callable[[Dataset], None], data: bytes | None = None) -> bytes:
    """A file as pydicom writes it again after a change."""
    dataset = dcmread(io.BytesIO(data or file()))
    change(dataset)
    kept = io.BytesIO()
    dataset.save_as(kept, enforce_file_format=True)
    return kept.getvalue()


def how(one: bytes, other: bytes) -> Likeness:
    there, back = compared(one, other), compared(other, one)
    assert there.likeness is back.likeness, "it matters not which is whose"
    assert there.agrees is back.agrees
    return there.likeness


def compared(one: bytes, other: bytes) -> Comparison:
    return compare(io.BytesIO(one), io.BytesIO(other))


def lengths_undefined(dataset: Dataset) -> None:
    for sequence in (dataset["ReferencedImageSequence"].value,):
        sequence.is_undefined_length = True
        for item in sequence:
            item.is_undefined_length_sequence_item = True
    dataset["ReferencedImageSequence"].is_undefined_length = True


def item(uid: str = "1.2.9") -> Dataset:
    one = Dataset()
    one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = "1.2.8", uid
    return one


WITH_ITEM = file(ReferencedImageSequence=[item()])
OFFSETS = rewritten(
    lambda d: setattr(d, "PixelData", encapsulate([PIXELS], has_bot=False)), file(JPEG, PIXELS)
)
LATIN = file(SpecificCharacterSet="ISO_IR 100", InstitutionName="Spital Zürich", PatientName="Müller^Jörg")
UTF8 = file(SpecificCharacterSet="ISO_IR 192", InstitutionName="Spital Zürich", PatientName="Müller^Jörg")
POINTS = file().replace(b"DA\x08\x0019700101", b"DA\x0a\x001970.01.01")

TABLE = [
    ("itself", file(), file(), Likeness.EQUAL),
    ("preamble", file(), b"II*\0" + file()[4:], Likeness.PREAMBLE),
    ("meta header", file(), rewritten(lambda d: setattr(d.file_meta, "ImplementationVersionName", "X")),
     Likeness.REWRITTEN),
    ("implicit", file(), file(IMPLICIT), Likeness.REWRITTEN),
    ("deflated", file(), file(DEFLATED), Likeness.REWRITTEN),
    ("big endian", file(), file(BIG), Likeness.REWRITTEN),
    ("sequence lengths", WITH_ITEM, rewritten(lengths_undefined, WITH_ITEM), Likeness.REWRITTEN),
    ("implicit sequence", WITH_ITEM, file(IMPLICIT, ReferencedImageSequence=[item()]), Likeness.REWRITTEN),
    ("padding", file(StationName="AB"), file(StationName="AB  "), Likeness.REWRITTEN),
    ("character set", LATIN, UTF8, Likeness.REWRITTEN),
    ("offset table", file(JPEG), OFFSETS, Likeness.REWRITTEN),
    ("description", file(), file(StudyDescription="other"), Likeness.HEADER),
    ("left out", file(), file(StudyDescription=None), Likeness.HEADER),
    ("in a sequence", WITH_ITEM, file(ReferencedImageSequence=[item("1.2.7")]), Likeness.HEADER),
    ("one item more", WITH_ITEM, file(ReferencedImageSequence=[item(), item()]), Likeness.HEADER),
    ("private", file(), rewritten(lambda d: d.private_block(0x11, "ME", create=True).add_new(1, "LO", "x")),
     Likeness.HEADER),
    ("pixels", file(), file(pixels=PIXELS[:-1] + b"\0"), Likeness.PIXELS),
    ("fragments", file(JPEG), file(JPEG, pixels=PIXELS[:-1] + b"\0"), Likeness.PIXELS),
    ("no pixels", file(), file(PixelData=None), Likeness.PIXELS),
    ("compressed", file(), file(JPEG, pixels=b"abcd"), Likeness.RECODED),
    ("name in capitals", file(), file(PatientName="DOE^JANE^^"), Likeness.HEADER),
    ("name with commas", file(), file(PatientName="Doe, Jane"), Likeness.HEADER),
    ("no patient", file(), file(PatientID=None, PatientName=""), Likeness.HEADER),
    ("birth date as ACR-NEMA wrote it", file(), POINTS, Likeness.HEADER),
    ("another name", file(), file(PatientName="Doe^Janet"), Likeness.PATIENT),
    ("another ID", file(), file(PatientID="A2"), Likeness.PATIENT),
    ("another birth date", file(), file(PatientBirthDate="19700102"), Likeness.PATIENT),
    ("another in another charset", LATIN, file(SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Jürg"),
     Likeness.PATIENT),
    ("both patient and pixels", file(), file(pixels=b"\1\0" * 256, PatientID="A2"), Likeness.PATIENT),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "likeness"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE])
def test_how_like_two_files_are(one: bytes, other: bytes, likeness: Likeness) -> None:
    assert how(one, other) is likeness


def test_every_likeness_is_in_the_table() -> None:
    assert {row[3] for row in TABLE} == set(Likeness)


def test_what_differs_is_told_by_keyword_with_both_values() -> None:
    (found,) = compared(file(StudyDescription="one"), file(StudyDescription="other")).differences
    assert (found.tag, found.where) == ("00081030", "StudyDescription")
    assert (found.folder, found.archive) == ("one", "other")


def test_a_private_element_is_told_by_its_number_and_a_missing_one_as_none() -> None:
    with_private = rewritten(lambda d: d.private_block(0x11, "ME", create=True).add_new(1, "LO", "x"))
    found = {one.where: one for one in compared(file(), with_private).differences}
    assert found["(0011,1001)"].folder is None
    assert found["(0011,1001)"].archive == "x"


def test_numbers_are_shown_as_numbers_and_what_is_in_a_sequence_with_its_item() -> None:
    (rows,) = compared(file(HighBit=11), file(HighBit=12)).differences
    assert (rows.folder, rows.archive) == ("11", "12")
    (inner,) = compared(WITH_ITEM, file(ReferencedImageSequence=[item("1.2.7")])).differences
    assert inner.where == "ReferencedImageSequence[1].ReferencedSOPInstanceUID"
    assert inner.tag == "00081140.00081155"


def test_long_and_odd_values_are_shortened_and_harmless() -> None:
    (found,) = compared(file(), file(ImageComments="x\ty" * 40)).differences
    assert found.archive is not None
    assert len(found.archive) == 64
    assert found.archive.isprintable()


def test_many_differences_are_counted_and_the_first_given() -> None:
    one = file(ReferencedImageSequence=[item(f"1.2.{n}") for n in range(300)])
    other = file(ReferencedImageSequence=[item(f"1.3.{n}") for n in range(300)])
    found = compared(one, other)
    assert (len(found.differences), found.more) == (100, 200)


def test_pixels_are_told_by_their_hash() -> None:
    ours, theirs = compared(file(StudyDescription="one"), file(JPEG)).pixels
    assert ours == theirs
    assert ours is not None
    assert ours.size_bytes == len(PIXELS)


@pytest.mark.parametrize(
    ("other", "agrees"),
    [
        (file(StudyDescription="coerced"), True),
        (file(KVP="119"), True),
        (file(pixels=PIXELS[::-1]), False),
        (file(IMPLICIT), False),  # servers.md: the transfer syntax is to be the same
        (file(PatientID="A2"), False),
        (instance(**{**UIDS, "series_uid": "1.9"}, rows=16, columns=16, pixels=PIXELS, extra=NAMED), False),
    ],
)
def test_what_an_archive_may_have_rewritten_agrees(other: bytes, agrees: bool) -> None:
    assert compared(file(), other).agrees is agrees


def test_without_pixels_only_what_archives_coerce_may_differ() -> None:
    report = file(PixelData=None, TextValue="all is well")
    moved = file(PixelData=None, TextValue="all is well", InstitutionName="x")
    assert compared(report, moved).agrees
    assert not compared(report, file(PixelData=None, TextValue="it is not")).agrees


@pytest.mark.parametrize("broken", [b"", b"x" * 400, file()[:1], file()[:-300], file()[:140]])
def test_what_is_no_whole_dicom_file_is_told_and_nothing_made_of_it(broken: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        compared(file(), broken)
    assert "1.2.3" not in str(caught.value)


def test_a_file_cut_before_its_pixels_is_never_called_the_same() -> None:
    cut = file()[: file().index(struct.pack("<HH2s", 0x7FE0, 0x0010, b"OW"))]
    assert how(file(), cut) is Likeness.PIXELS


def test_pixel_data_is_never_held_whole(tmp_path: Path) -> None:
    big = 48 << 20
    paths = [tmp_path / "1.dcm", tmp_path / "2.dcm"]
    for path, text in zip(paths, ("one", "two"), strict=True):
        data = file(StudyDescription=text)
        at = data.index(struct.pack("<HH2s", 0x7FE0, 0x0010, b"OW"))
        with path.open("wb") as out:
            out.write(data[: at + 8] + struct.pack("<L", big))
            out.truncate(at + 12 + big)
    with paths[0].open("rb") as one, paths[1].open("rb") as other:
        tracemalloc.start()
        try:
            found = compare(one, other)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert found.likeness is Likeness.HEADER
    assert found.pixels[0] is not None
    assert found.pixels[0].size_bytes == big
    assert peak < 8 << 20

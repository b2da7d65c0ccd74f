"""The made-up studies are valid, as made up as they say, and the same every time."""

from __future__ import annotations

import io
from pathlib import Path

import pydicom
import pytest

from dicomsync import header, samples
from dicomsync.model import Whole

SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": samples.EXPLICIT,
    "big endian": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
    "compressed": "1.2.840.10008.1.2.4.50",
}


def build(**options: object) -> bytes:
    names = {"study_uid": "1.2.1", "series_uid": "1.2.2", "sop_uid": "1.2.3", "rows": 8, "columns": 8}
    return samples.instance(**(names | options))  # type: ignore[arg-type]  # the test's own shorthand


def read(path: Path, content: bytes) -> Whole:
    path.write_bytes(content)
    found = header.read(bytes(path))
    assert isinstance(found, Whole), found
    return found


def test_studies_have_the_shape_asked_for(tmp_path: Path) -> None:
    paths = samples.write_studies(tmp_path, studies=2, series=3, instances=2, rows=16, columns=16)
    found = [header.read(bytes(path)) for path in paths]
    whole = [each for each in found if isinstance(each, Whole)]
    assert len(whole) == len(paths) == 12
    assert len({each.study_instance_uid for each in whole}) == 2
    assert len({each.series_instance_uid for each in whole}) == 6
    assert len({each.sop_instance_uid for each in whole}) == 12
    assert {str(pydicom.dcmread(path).PatientName) for path in paths} == {"Demo^Anna", "Demo^Bruno"}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_uids(tmp_path: Path) -> None:
    options = {"studies": 1, "series": 1, "instances": 2, "rows": 8, "columns": 8}
    first, again, other = (
        [path.read_bytes() for path in samples.write_studies(tmp_path / name, seed=seed, **options)]
        for name, seed in (("a", 7), ("b", 7), ("c", 8))
    )
    assert first == again
    assert not set(first) & set(other)


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES)
def test_an_instance_is_whole_in_every_syntax_and_pydicom_agrees(tmp_path: Path, syntax: str) -> None:
    content = build(transfer_syntax=syntax)
    found = read(tmp_path / "file", content)
    dataset = pydicom.dcmread(io.BytesIO(content))
    assert found.transfer_syntax_uid == dataset.file_meta.TransferSyntaxUID == syntax
    assert found.sop_instance_uid == dataset.SOPInstanceUID == "1.2.3"
    assert dataset.Rows == 8


def test_an_instance_can_be_made_into_something_else(tmp_path: Path) -> None:
    report = "1.2.840.10008.5.1.4.1.1.88.11"
    bare = {"PixelData": None, "Rows": None, "Columns": None, "Modality": "SR"}
    assert read(tmp_path / "file", build(sop_class=report, extra=bare)).sop_class_uid == report
    assert b"PixelData" not in build(pixels=bytes(range(128)))
    assert bytes(range(128)) in build(pixels=bytes(range(128)))


@pytest.mark.parametrize("shape", samples.SHAPES)
def test_a_picture_has_its_size_and_is_not_blank(shape: str) -> None:
    picture = samples.draw(shape, 20, 30)
    assert len(picture) == 20 * 30 * 2
    assert len(set(picture)) > 1
    assert picture != samples.draw(shape, 20, 30, step=1)


def test_uids_have_one_length_and_are_valid() -> None:
    uids = {samples.uid("any", number) for number in range(200)}
    assert len(uids) == 200
    assert {len(uid) for uid in uids} == {43}
    assert all(int(uid.removeprefix("2.25.")) < 2**128 for uid in uids)


def test_many_ct_files_are_retold_from_one(tmp_path: Path) -> None:
    paths = samples.write_ct_files(tmp_path, count=12, studies=3, size=16)
    found = [header.read(bytes(path)) for path in paths]
    whole = [each for each in found if isinstance(each, Whole)]
    assert len({each.sop_instance_uid for each in whole}) == 12
    assert len({each.study_instance_uid for each in whole}) == 3
    assert len({path.stat().st_size for path in paths}) == 1
    assert len({pydicom.dcmread(path).PatientID for path in paths}) == 3


def test_a_retold_file_keeps_its_lengths() -> None:
    with pytest.raises(ValueError, match="lengths"):
        samples.retold(b"1.2.3", {"1.2.3": "1.2.34"})

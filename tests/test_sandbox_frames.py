"""The sandbox gives frames as they are stored, wherever they lie (PS3.5 A.4)."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import UID

from dicomsync import sandbox
from dicomsync.sandbox import Archive
from tests.test_sandbox_support import PLAIN, dicom, get, post

PATH = "/studies/1.2.3/series/1.2.3.1/instances/1.2.3.4"
JPEG = "1.2.840.10008.1.2.4.50"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
OCTETS = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
FRAMES = [b"\xff\xd8one\xff\xd9", b"\xff\xd8two!\xff\xd9", b"\xff\xd8three\xff\xd9"]


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with sandbox.running(tmp_path / "archive") as archive:
        yield archive


def compressed(pixels: bytes, *, syntax: str = JPEG, **attributes: Any) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(dicom(**attributes)))
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.PixelData = pixels
    dataset["PixelData"].is_undefined_length = True
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def parts(answer: httpx.Response) -> list[bytes]:
    boundary = answer.headers["content-type"].partition('boundary="')[2].rstrip('"').encode()
    pieces = answer.content.split(b"--" + boundary)[1:-1]
    return [piece.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for piece in pieces]


def frames(archive: Archive, numbers: str) -> list[bytes]:
    answer = get(archive.url, f"{PATH}/frames/{numbers}", OCTETS)
    assert answer.status_code == 200, answer.text
    assert int(answer.headers["content-length"]) == len(answer.content)
    return [part.rstrip(b"\0") for part in parts(answer)]


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])
def test_native_frames_are_cut_out(archive: Archive, syntax: str) -> None:
    post(archive.url, dicom(NumberOfFrames=3, payload=b"aaaabbbbcccc", syntax=syntax))
    assert frames(archive, "1") == [b"aaaa"]
    assert frames(archive, "3,1,3") == [b"cccc", b"aaaa", b"cccc"]


def test_colours_and_depth_count(archive: Archive) -> None:
    pixels = bytes(range(96))
    post(
        archive.url,
        dicom(SamplesPerPixel=3, NumberOfFrames=4, payload=pixels),
        dicom("1.2.3.5", SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL_422", payload=pixels[:8]),
    )
    assert frames(archive, "2") == [pixels[12:24]]
    assert parts(get(archive.url, PATH[:-1] + "5/frames/1", OCTETS)) == [pixels[:8]]


@pytest.mark.parametrize(
    ("pixels", "attributes"),
    [
        (encapsulate(FRAMES, has_bot=True), {}),
        (encapsulate(FRAMES, has_bot=False), {}),
        (encapsulate(FRAMES, fragments_per_frame=2, has_bot=True), {}),
        (
            encapsulate_extended(FRAMES)[0],
            {
                "ExtendedOffsetTable": encapsulate_extended(FRAMES)[1],
                "ExtendedOffsetTableLengths": encapsulate_extended(FRAMES)[2],
            },
        ),
    ],
    ids=["basic offset table", "one fragment each", "fragmented", "extended offset table"],
)
def test_compressed_frames_are_found(archive: Archive, pixels: bytes, attributes: dict[str, Any]) -> None:
    assert post(archive.url, compressed(pixels, NumberOfFrames=3, **attributes)).status_code == 200
    assert frames(archive, "1,2,3") == FRAMES
    assert frames(archive, "2") == [FRAMES[1]]


def test_the_only_frame_has_all_the_fragments(archive: Archive) -> None:
    post(archive.url, compressed(encapsulate(FRAMES[:1], fragments_per_frame=3, has_bot=False)))
    assert frames(archive, "1") == FRAMES[:1]


@pytest.mark.parametrize(
    "pixels",
    [
        encapsulate(FRAMES, fragments_per_frame=2, has_bot=False),
        struct.pack("<HHL3L", 0xFFFE, 0xE000, 12, 0, 5, 7) + encapsulate(FRAMES, has_bot=False)[8:],
    ],
    ids=["no offset table", "an offset table that does not fit"],
)
def test_frames_that_cannot_be_told_apart_are_406(archive: Archive, pixels: bytes) -> None:
    post(archive.url, compressed(pixels, NumberOfFrames=3))
    assert get(archive.url, f"{PATH}/frames/1", OCTETS).status_code == 406


@pytest.mark.parametrize(
    ("numbers", "status"),
    [
        ("3", 404), ("1,3", 404), ("999999999", 404),
        ("0", 400), ("-1", 400), ("x", 400), ("1,", 400), ("1,,2", 400), ("%D9%A1", 400), ("9" * 99, 400),
    ],
)  # fmt: skip
def test_frames_that_are_not_there_are_404_and_those_that_cannot_be_400(
    archive: Archive, numbers: str, status: int
) -> None:
    post(archive.url, dicom(NumberOfFrames=2, payload=b"aaaabbbb"))
    assert get(archive.url, f"{PATH}/frames/{numbers}", OCTETS).status_code == status


@pytest.mark.parametrize(
    ("sent", "number", "status"),
    [
        (dicom(NumberOfFrames=3), 3, 404),
        (dicom(NumberOfFrames=1234).replace(b"1234", b"many"), 1, 406),
        (dicom(Rows=0), 1, 406),
        (dicom(BitsAllocated=1), 1, 406),
        (dicom(Columns=None), 1, 406),
        (dicom(Rows=65535, Columns=65535, SamplesPerPixel=65535, BitsAllocated=65528), 1, 404),
    ],
)
def test_attributes_that_lie_about_the_frames_do_no_harm(
    archive: Archive, sent: bytes, number: int, status: int
) -> None:
    assert post(archive.url, sent).status_code in (200, 202)
    assert get(archive.url, f"{PATH}/frames/{number}", OCTETS).status_code == status


def test_an_instance_without_pixels_has_no_frames(archive: Archive) -> None:
    dataset = pydicom.dcmread(io.BytesIO(dicom()))
    del dataset.PixelData
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset)
    post(archive.url, buffer.getvalue())
    assert get(archive.url, f"{PATH}/frames/1", OCTETS).status_code == 404
    assert get(archive.url, "/studies/1.2.3/series/1.2.3.1/instances/9.9/frames/1", OCTETS).status_code == 404


@pytest.mark.parametrize(
    ("accept", "status", "media_type"),
    [
        (
            "application/octet-stream; transfer-syntax=*",
            200,
            f"application/octet-stream; transfer-syntax={JPEG}",
        ),
        (OCTETS, 200, "multipart/related"),
        ("*/*", 200, "multipart/related"),
        (
            f'multipart/related; type="application/octet-stream"; transfer-syntax={JPEG}',
            200,
            "multipart/related",
        ),
        ('multipart/related; type="application/octet-stream"', 406, ""),
        ('multipart/related; type="image/jp2"', 406, ""),
        ("application/dicom; transfer-syntax=*", 406, ""),
        ("image/jpeg", 406, ""),
        ("", 406, ""),
    ],
)
def test_frames_come_only_in_the_form_they_are_stored(
    archive: Archive, accept: str, status: int, media_type: str
) -> None:
    post(archive.url, compressed(encapsulate(FRAMES[:1])))
    answer = get(archive.url, f"{PATH}/frames/1", accept)
    assert answer.status_code == status
    assert status == 406 or answer.headers["content-type"].startswith(media_type)


def test_several_frames_need_multipart(archive: Archive) -> None:
    post(archive.url, dicom(NumberOfFrames=2, payload=b"aaaabbbb"))
    accept = "application/octet-stream; transfer-syntax=*"
    assert get(archive.url, f"{PATH}/frames/2", accept).content == b"bbbb"
    assert get(archive.url, f"{PATH}/frames/1,2", accept).status_code == 406


def test_jpeg_2000_comes_as_an_image_too(archive: Archive) -> None:
    post(archive.url, compressed(encapsulate(FRAMES[:1]), syntax=JPEG_2000))
    answer = get(archive.url, f"{PATH}/frames/1", 'multipart/related; type="image/jp2"')
    assert answer.status_code == 200
    assert f"Content-Type: image/jp2; transfer-syntax={JPEG_2000}\r\n".encode() in answer.content


def test_no_damaged_file_makes_it_stumble(archive: Archive) -> None:
    luck = random.Random(7)
    whole = [
        dicom(NumberOfFrames=2, payload=b"aaaabbbb", ProcedureCodeSequence=[pydicom.Dataset()]),
        compressed(encapsulate(FRAMES, has_bot=True), NumberOfFrames=3),
    ]
    for _ in range(150):
        damaged = bytearray(luck.choice(whole))
        for _ in range(luck.randint(1, 6)):
            damaged[luck.randrange(128, len(damaged))] = luck.choice([0, 255, luck.randrange(256)])
        assert post(archive.url, bytes(damaged)).status_code in (200, 202, 409)
    for row in get(archive.url, "/instances?includefield=all&limit=200").json():
        path = row["00081190"]["Value"][0].removeprefix(archive.url)
        assert len(get(archive.url, path + "/metadata").json()) == 1
        assert get(archive.url, path + "/frames/1,2", OCTETS).status_code in (200, 404, 406)


def test_frames_of_a_large_file_take_constant_memory(archive: Archive) -> None:
    size = 30 << 20
    head = dicom(NumberOfFrames=2, payload=b"", Rows=size >> 10, Columns=1 << 10)[:-4] + struct.pack(
        "<L", 2 * size
    )
    assert post(archive.url, body=head + bytes(2 * size), content_type="application/dicom").status_code == 200
    tracemalloc.start()
    try:
        with httpx.stream(
            "GET", f"{archive.url}{PATH}/frames/1,2", headers={"accept": OCTETS}, **PLAIN
        ) as got:
            assert sum(len(chunk) for chunk in got.iter_bytes()) > 2 * size
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 << 20

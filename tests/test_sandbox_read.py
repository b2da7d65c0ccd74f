"""The sandbox finds and gives back as the Medical Imaging Server for DICOM documents (v2)."""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pydicom
import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from dicomsync import sandbox
from dicomsync.sandbox import Archive, retrieve
from dicomsync.sandbox.header import Header
from dicomsync.sandbox.media import Wanted
from dicomsync.sandbox.shelf import Shelf, Shelved
from tests.test_sandbox_support import (
    CT,
    JSON,
    PLAIN,
    dicom,
    get,
    post,
    values,
)

IMPLICIT = "1.2.840.10008.1.2"
PATH = "/studies/1.2.3/series/1.2.3.1/instances/1.2.3.4"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with sandbox.running(tmp_path / "archive") as archive:
        yield archive


# Retrieve


def test_an_instance_comes_back_byte_for_byte_in_both_forms(archive: Archive) -> None:
    sent = dicom(syntax=IMPLICIT)
    post(archive.url, sent)
    one = get(archive.url, PATH, "application/dicom; transfer-syntax=*")
    assert one.status_code == 200
    assert one.content == sent
    assert one.headers["content-type"] == f"application/dicom; transfer-syntax={IMPLICIT}"
    for accept in ('multipart/related; type="application/dicom"; transfer-syntax=*', "*/*"):
        many = get(archive.url, PATH, accept)
        boundary = many.headers["content-type"].partition('boundary="')[2].rstrip('"')
        head, _, rest = many.content.partition(b"\r\n\r\n")
        assert head == f"--{boundary}\r\nContent-Type: application/dicom; transfer-syntax={IMPLICIT}".encode()
        assert rest == sent + f"\r\n--{boundary}--\r\n".encode()


@pytest.mark.parametrize("multipart", [False, True])
def test_an_answer_that_breaks_off_leaves_no_file_open(tmp_path: Path, multipart: bool) -> None:
    path = tmp_path / "one.dcm"
    path.write_bytes(dicom())
    found = Shelved(1, "1", "2", "3", "1.2.840.10008.1.2.1", path.stat().st_size, path)
    answer = retrieve.instances([found], [Wanted("application/dicom", multipart, "*")])
    read: list[bytes] = []

    async def receive() -> Message:
        raise AssertionError("nobody is listening")

    async def send(message: Message) -> None:
        read.append(message.get("body", b""))
        if path.read_bytes() in read:
            raise ClientDisconnect

    async def open_then() -> set[str]:
        with pytest.raises(ClientDisconnect):
            await answer({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)
        return {os.path.realpath(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd")}

    assert str(path) not in asyncio.run(open_then())


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/dicom", 406),
        ("application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90", 406),
        ('multipart/related; type="application/dicom"', 406),
        ('multipart/related; type="application/dicom; transfer-syntax=*"', 406),
        ("multipart/related; type=application/dicom; transfer-syntax=*", 406),
        ("image/png", 406),
        ("", 406),
        (f"application/dicom; transfer-syntax={IMPLICIT}", 200),
        ("application/dicom, application/dicom; transfer-syntax=*; q=0.5", 200),
    ],
)
def test_what_would_need_transcoding_is_406(archive: Archive, accept: str, status: int) -> None:
    post(archive.url, dicom(syntax=IMPLICIT))
    assert get(archive.url, PATH, accept).status_code == status


def test_explicit_vr_needs_no_transfer_syntax_in_the_accept(archive: Archive) -> None:
    post(archive.url, dicom())
    assert get(archive.url, PATH, "application/dicom").content == dicom()


def test_a_study_and_a_series_come_back_as_multipart(archive: Archive) -> None:
    post(archive.url, dicom(), dicom("1.2.3.5", series="1.2.3.2"))
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    for path, count in (("/studies/1.2.3", 2), ("/studies/1.2.3/series/1.2.3.2", 1)):
        answer = get(archive.url, path, accept)
        assert answer.content.count(b"Content-Type: application/dicom;") == count
        assert int(answer.headers["content-length"]) == len(answer.content)
    assert get(archive.url, "/studies/1.2.3", "application/dicom; transfer-syntax=*").status_code == 406


@pytest.mark.parametrize("suffix", ["", "/metadata"])
def test_unknown_is_404_and_malformed_is_400(archive: Archive, suffix: str) -> None:
    post(archive.url, dicom())
    accept = JSON if suffix else "*/*"
    assert get(archive.url, PATH + "5" + suffix, accept).status_code == 404
    assert get(archive.url, "/studies/9.9" + suffix, accept).status_code == 404
    assert get(archive.url, "/studies/a.b" + suffix, accept).status_code == 400
    assert get(archive.url, "/studies/1.2.3/series/..%2F9" + suffix, accept).status_code in (400, 404)


def test_metadata_agrees_with_pydicom_and_has_no_bulk(archive: Archive) -> None:
    item = pydicom.Dataset()
    item.CodeValue, item.CodeMeaning = "T-1", "Träume"
    sent = dicom(
        SpecificCharacterSet="ISO_IR 192",
        PatientName="Müller^Änne=山田",
        ProcedureCodeSequence=[item, pydicom.Dataset()],
        ImageType=["ORIGINAL", "PRIMARY"],
        PixelSpacing=["0.5", "0.25"],
        InstanceNumber="7",
        FrameIncrementPointer=0x00181063,
        ImagePositionPatient=None,
        RedPaletteColorLookupTableData=b"\0\0",
        StudyDescription="",
    )
    post(archive.url, sent)
    [found] = get(archive.url, PATH + "/metadata").json()
    expected = pydicom.dcmread(io.BytesIO(sent)).to_json_dict()
    for tag in ("7FE00010", "00281201"):
        expected.pop(tag)
        assert tag not in found
    assert found == expected


@pytest.mark.parametrize("syntax", [IMPLICIT, "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"])
def test_metadata_is_read_from_every_native_transfer_syntax(archive: Archive, syntax: str) -> None:
    if syntax.endswith((".1.2.2", ".99")):
        meta = pydicom.dcmread(io.BytesIO(dicom()))
        meta.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
        buffer = io.BytesIO()
        pydicom.dcmwrite(
            buffer, meta, enforce_file_format=True, implicit_vr=False, little_endian="2.2" not in syntax
        )
        sent = buffer.getvalue()
    else:
        sent = dicom(syntax=syntax)
    assert post(archive.url, sent).status_code in (200, 202)
    [found] = get(archive.url, PATH + "/metadata").json()
    assert found["00280010"] == {"vr": "US", "Value": [2]}
    assert found["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}


@pytest.mark.parametrize("path", ["/studies/1.2.3", "/studies/1.2.3/series/1.2.3.1", PATH])
def test_metadata_that_is_known_is_304(archive: Archive, path: str) -> None:
    post(archive.url, dicom(), dicom("1.2.3.5"))
    first = get(archive.url, path + "/metadata")
    assert len(first.json()) == (1 if path == PATH else 2)
    again = get(archive.url, path + "/metadata", if_none_match=first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    post(archive.url, dicom("1.2.3.6"))
    later = get(archive.url, path + "/metadata", if_none_match=first.headers["etag"])
    assert later.status_code == (304 if path == PATH else 200)


# Search


@pytest.fixture
def filled(archive: Archive) -> Archive:
    parts = [
        dicom(
            f"1.2.{study}.{series}.{number}",
            study=f"1.2.{study}",
            series=f"1.2.{study}.{series}",
            PatientID=f"P-{study}",
        )
        for study in (1, 2)
        for series in (1, 2)
        for number in (1, 2)
    ]
    assert post(archive.url, *parts).status_code == 200
    return archive


@pytest.mark.parametrize(
    ("path", "tag", "found"),
    [
        ("/studies", "0020000D", ["1.2.2", "1.2.1"]),
        ("/series", "0020000E", ["1.2.2.2", "1.2.2.1", "1.2.1.2", "1.2.1.1"]),
        ("/instances?limit=2", "00080018", ["1.2.2.2.2", "1.2.2.2.1"]),
        ("/instances?limit=2&offset=7", "00080018", ["1.2.1.1.1"]),
        ("/studies/1.2.1/series", "0020000E", ["1.2.1.2", "1.2.1.1"]),
        ("/studies/1.2.1/instances?limit=1", "00080018", ["1.2.1.2.2"]),
        ("/studies/1.2.1/series/1.2.1.1/instances", "00080018", ["1.2.1.1.2", "1.2.1.1.1"]),
        ("/studies?StudyInstanceUID=1.2.1", "0020000D", ["1.2.1"]),
        ("/studies?PatientID=P-1", "0020000D", ["1.2.1"]),
        ("/studies?00100020=P-2", "0020000D", ["1.2.2"]),
        ("/studies?StudyDate=20240101-20240103&limit=1", "0020000D", ["1.2.2"]),
        ("/studies?StudyDate=-20240102&limit=1", "0020000D", ["1.2.2"]),
        ("/series?SeriesInstanceUID=1.2.1.2", "0020000E", ["1.2.1.2"]),
        ("/series?0020000e=1.2.1.2&fuzzymatching=false", "0020000E", ["1.2.1.2"]),
        ("/instances?SOPInstanceUID=1.2.1.2.1", "00080018", ["1.2.1.2.1"]),
        ("/instances?SeriesInstanceUID=1.2.1.2&SOPInstanceUID=1.2.1.2.1", "00080018", ["1.2.1.2.1"]),
        ("/studies/1.2.1/instances?SeriesInstanceUID=1.2.1.1", "00080018", ["1.2.1.1.2", "1.2.1.1.1"]),
        ("/studies/1.2.1/series/1.2.1.1/instances?SOPInstanceUID=1.2.1.1.2", "00080018", ["1.2.1.1.2"]),
    ],
)
def test_a_search_finds_the_newest_first(filled: Archive, path: str, tag: str, found: list[str]) -> None:
    answer = get(filled.url, path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, JSON)
    assert values(answer, tag) == found


@pytest.mark.parametrize(
    "path",
    [
        "/studies?StudyInstanceUID=9.9",
        "/studies/9.9/instances",
        "/instances?offset=8",
        "/studies?StudyDate=20240103-",
    ],
)
def test_a_search_that_finds_nothing_is_204(filled: Archive, path: str) -> None:
    answer = get(filled.url, path)
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=201", "limit=-1", "limit=many", "offset=-1", "limit=5&limit=6",
        "NoSuchName=1", "PatientID=", "PatientID=%3Cb%3E", "Rows=2", "SOPInstanceUID=1.2",
        "includefield=NoSuchName",
        "includefield=all&includefield=PatientID", "StudyDate=-", "fuzzymatching=maybe",
    ],
)  # fmt: skip
def test_a_search_that_is_not_understood_is_400(filled: Archive, query: str) -> None:
    assert get(filled.url, f"/studies?{query}").status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/studies/x/series",
        "/studies/1.2.1/instances?PatientID=P-1",
        "/studies/1.2.1/series/1.2.1.1/instances?Modality=CT",
    ],
)
def test_what_the_path_fixes_cannot_be_searched_for_again(filled: Archive, path: str) -> None:
    assert get(filled.url, path).status_code == 400


def test_a_row_has_its_uids_and_its_retrieve_url(filled: Archive) -> None:
    [row] = get(filled.url, "/studies/1.2.1/instances?limit=1").json()
    address = f"{filled.url}/studies/1.2.1/series/1.2.1.2/instances/1.2.1.2.2"
    assert row["00081190"] == {"vr": "UR", "Value": [address]}
    assert [row[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018")] == [
        "1.2.1", "1.2.1.2", "1.2.1.2.2",
    ]  # fmt: skip
    assert get(filled.url, "/studies?limit=1").json()[0]["00100010"]["Value"] == [{"Alphabetic": "Doe^Jane"}]


def test_includefield_adds_what_is_asked_for(filled: Archive) -> None:
    path = "/studies/1.2.1/series/1.2.1.2/instances?limit=1"
    assert "00280010" not in get(filled.url, path).json()[0]
    for field in ("includefield=Rows", "includefield=00280010,Columns", "includefield=all"):
        assert get(filled.url, f"{path}&{field}").json()[0]["00280010"] == {"vr": "US", "Value": [2]}
    assert get(filled.url, f"{path}&includefield=PixelSpacing&includefield=00091001").status_code == 200


def test_the_numbers_of_instances_are_told_when_asked_for(filled: Archive) -> None:
    studies = get(filled.url, "/studies?includefield=NumberOfStudyRelatedInstances").json()
    assert [row["00201208"]["Value"] for row in studies] == [[4], [4]]
    series = get(filled.url, "/studies/1.2.1/series?includefield=00201209").json()
    assert [row["00201209"]["Value"] for row in series] == [[2], [2]]


@pytest.fixture
def named(archive: Archive) -> Archive:
    names = {"1.2.1": "Doe^John", "1.2.2": "Müller^Änne Doris", "1.2.3": "O_Doe^Jane"}
    parts = [
        dicom(
            f"{study}.1.1",
            study=study,
            series=f"{study}.1",
            PatientName=name,
            SpecificCharacterSet="ISO_IR 192",
        )
        for study, name in names.items()
    ]
    more = dicom("1.2.1.2.1", study="1.2.1", series="1.2.1.2", Modality="MR", StudyDescription="Schädel%")
    assert post(archive.url, *parts, more).status_code == 200
    assert post(
        archive.url, dicom("1.2.1.1.2", study="1.2.1", series="1.2.1.1", PatientName="Doe^John")
    ).is_success
    return archive


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("PatientName=doe^john", {"1.2.1"}),
        ("PatientName=MULLER^anne doris", {"1.2.2"}),
        ("PatientName=doe", set()),
        ("PatientName=doe*", set()),
        ("patientname=doe^john", None),
        ("StudyDescription=schädel%25", set()),
        ("PatientID=p-1", {"1.2.1", "1.2.2", "1.2.3"}),
        ("PatientID=p-1%00", {"1.2.1", "1.2.2", "1.2.3"}),
        ("fuzzymatching=true&PatientName=joh", {"1.2.1"}),
        ("fuzzymatching=true&PatientName=do", {"1.2.1", "1.2.2"}),
        ("PatientName=jo do&fuzzymatching=TRUE", {"1.2.1"}),
        ("fuzzymatching=true&PatientName=John Doe", {"1.2.1"}),
        ("fuzzymatching=true&PatientName=ohn", set()),
        ("fuzzymatching=true&PatientName=mull", {"1.2.2"}),
        ("fuzzymatching=true&PatientName=o_", {"1.2.3"}),
        ("fuzzymatching=true&PatientName=%25", set()),
        ("fuzzymatching=true&PatientID=P", set()),
        ("ModalitiesInStudy=MR", {"1.2.1"}),
        ("00080061=ct", {"1.2.1", "1.2.2", "1.2.3"}),
        ("ModalitiesInStudy=US", set()),
    ],
)
def test_names_and_texts_match_as_documented(named: Archive, query: str, found: set[str] | None) -> None:
    answer = get(named.url, f"/studies?{query}")
    if found is None:
        assert answer.status_code == 400
    elif found:
        assert set(values(answer, "0020000D")) == found
    else:
        assert answer.status_code == 204


def test_the_modalities_of_a_study_are_told_when_asked_for(named: Archive) -> None:
    [row] = get(named.url, "/studies?StudyInstanceUID=1.2.1&includefield=ModalitiesInStudy").json()
    assert row["00080061"] == {"vr": "CS", "Value": ["CT", "MR"]}
    series = get(named.url, "/series?ModalitiesInStudy=MR")
    assert set(values(series, "0020000E")) == {"1.2.1.1", "1.2.1.2"}
    assert get(named.url, "/studies/1.2.1/series?ModalitiesInStudy=MR").status_code == 400


STUDY_TAGS = {"0020000D", "00080020", "00081190", "00100010", "00100020"}
SERIES_TAGS = {"0020000E", "00080060"}


@pytest.mark.parametrize(
    ("path", "tags"),
    [
        ("/studies", STUDY_TAGS),
        ("/series", STUDY_TAGS | SERIES_TAGS),
        ("/instances", STUDY_TAGS | SERIES_TAGS | {"00080018"}),
    ],
)
def test_a_row_has_the_attributes_of_its_level_and_those_above(
    archive: Archive, path: str, tags: set[str]
) -> None:
    post(archive.url, dicom())
    assert set(get(archive.url, path).json()[0]) == tags


def test_includefield_all_has_sequences_too_and_no_unindexed_attribute(archive: Archive) -> None:
    item = pydicom.Dataset()
    item.CodeValue, item.CodeMeaning = "T-1", "Head"
    post(
        archive.url,
        dicom(ProcedureCodeSequence=[item], InstitutionName="Here", TimezoneOffsetFromUTC="+0100"),
    )
    [row] = get(archive.url, "/studies?includefield=all").json()
    assert row["00081032"]["Value"][0]["00080100"] == {"vr": "SH", "Value": ["T-1"]}
    assert row["00080201"]["Value"] == ["+0100"]
    assert "00080080" not in row
    assert "00280010" not in row


def test_when_instances_differ_about_their_study_the_latest_wins(archive: Archive) -> None:
    post(archive.url, dicom(PatientID="old"), dicom("1.2.3.5", PatientID="new"))
    assert values(get(archive.url, "/studies"), "00100020") == ["new"]


def test_a_study_of_ten_thousand_instances_is_paged_quickly(tmp_path: Path) -> None:
    shelf, path = Shelf(tmp_path), tmp_path / "a.dcm"
    path.write_bytes(dicom())
    tags = {"0020000D": "1.2", "0020000E": "1.2.1", "00080016": CT, "00100020": "P"}
    for number in range(1, 10_001):  # the index alone is measured, so its files are not written
        header = Header("", {tag: {"Value": [value]} for tag, value in tags.items()})
        header.values["00080018"] = {"Value": [f"1.2.1.{number}"]}
        with shelf._lock:
            shelf._enter(header, 1, "create")
    shelf._db.commit()
    shelf.close()
    with (
        sandbox.running(tmp_path) as archive,
        httpx.Client(**PLAIN, headers={"accept": JSON}) as client,
    ):
        began, found = time.monotonic(), set()
        for offset in range(0, 10_000, 200):
            page = client.get(f"{archive.url}/studies/1.2/series/1.2.1/instances?limit=200&offset={offset}")
            found.update(values(page, "00080018"))
        assert len(found) == 10_000
        assert time.monotonic() - began < 5  # 50 pages; a second on a slow machine


# Change feed, health, root


def test_the_change_feed_tells_what_was_stored_and_nothing_of_the_patient(archive: Archive) -> None:
    assert get(archive.url, "/changefeed").json() == []
    assert get(archive.url, "/changefeed/latest").status_code == 204
    post(archive.url, dicom(), dicom("1.2.3.5"))
    feed = get(archive.url, "/changefeed?includeMetadata=false").json()
    assert [entry["sequence"] for entry in feed] == [1, 2]
    latest = get(archive.url, "/changefeed/latest").json()
    assert latest == feed[1]
    stamp = latest.pop("timestamp")
    assert latest == {
        "sequence": 2,
        "studyInstanceUid": "1.2.3",
        "seriesInstanceUid": "1.2.3.1",
        "sopInstanceUid": "1.2.3.5",
        "action": "create",
        "state": "current",
    }
    assert get(archive.url, "/changefeed?limit=1&offset=1").json() == feed[1:]
    assert get(archive.url, f"/changefeed?startTime={stamp}").json() == feed[1:]
    assert get(archive.url, f"/changefeed?endTime={stamp}").json() == feed[:1]
    for query in (
        "limit=0", "limit=201", "offset=x", "startTime=noon", "limit=" + "9" * 5000, "offset=%D9%A1",
        "startTime=0001-01-01T00:00:00%2B05:00",
    ):  # fmt: skip
        assert get(archive.url, f"/changefeed?{query}").status_code == 400


def test_it_says_that_it_is_well_and_not_for_patients(archive: Archive) -> None:
    root = archive.url.removesuffix("/v2")
    assert get(root, "/health/check").json()["overallStatus"] == "Healthy"
    assert "not for patients" in get(root, "/").text

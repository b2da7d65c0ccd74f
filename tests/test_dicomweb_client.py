"""A client that others wrote stores, finds, retrieves and deletes in the sandbox; ours gets what it gets."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from dicomsync import dicomweb, sandbox
from tests.test_sandbox_support import dicom

AS_STORED = (("application/dicom", "*"),)
FRAMES_AS_STORED = (("application/octet-stream", "*"),)
STUDY, SERIES, OTHER_SERIES = "1.2.3", "1.2.3.1", "1.2.3.2"
SENT = {
    "1.2.3.4": dicom("1.2.3.4", NumberOfFrames=2, payload=b"\1\2\3\4\5\6\7\x08"),
    "1.2.3.5": dicom("1.2.3.5", SeriesDescription="Schädel", SpecificCharacterSet="ISO_IR 192"),
    "1.2.3.6": dicom("1.2.3.6", series=OTHER_SERIES, syntax="1.2.840.10008.1.2"),
}


def parsed(sent: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(sent))


@pytest.fixture
def client(tmp_path: Path) -> Iterator[DICOMwebClient]:
    with sandbox.running(tmp_path) as archive, requests.Session() as session:
        session.trust_env = False
        yield DICOMwebClient(archive.url, session=session)


@pytest.fixture
def filled(client: DICOMwebClient) -> DICOMwebClient:
    client.store_instances([parsed(sent) for sent in SENT.values()])
    return client


@pytest.fixture
def ours(filled: DICOMwebClient) -> dicomweb.Client:
    """Our client of the same archive."""
    return dicomweb.client_for(dicomweb.Archive(filled.base_url, kind="dicom-server"))


def without_retrieve_url(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """It repeats the Host of the request, where this other client leaves out the port."""
    return [{tag: attribute for tag, attribute in row.items() if tag != "00081190"} for row in rows]


def uids(found: list[dict[str, dict[str, list[str]]]], tag: str) -> set[str]:
    return {row[tag]["Value"][0] for row in found}


def test_what_it_stores_is_named_as_stored(client: DICOMwebClient) -> None:
    answer = client.store_instances([parsed(sent) for sent in SENT.values()], STUDY)
    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == list(SENT)
    assert "FailedSOPSequence" not in answer
    assert answer.RetrieveURL.endswith(f"/studies/{STUDY}")


def test_a_second_store_is_refused_in_a_way_it_understands(filled: DICOMwebClient) -> None:
    with pytest.raises(requests.HTTPError, match="409"):
        filled.store_instances([parsed(SENT["1.2.3.4"])])


def test_it_searches_studies_series_and_instances(filled: DICOMwebClient) -> None:
    assert uids(filled.search_for_studies(search_filters={"PatientID": "P-1"}), "0020000D") == {STUDY}
    assert filled.search_for_studies(search_filters={"PatientID": "P-2"}) == []
    named = filled.search_for_studies(fuzzymatching=True, search_filters={"PatientName": "jan"})
    assert uids(named, "0020000D") == {STUDY}
    assert uids(filled.search_for_series(STUDY), "0020000E") == {SERIES, OTHER_SERIES}
    assert uids(filled.search_for_series(search_filters={"Modality": "CT"}), "0020000D") == {STUDY}
    assert uids(filled.search_for_instances(), "00080018") == set(SENT)
    assert uids(filled.search_for_instances(STUDY, OTHER_SERIES), "00080018") == {"1.2.3.6"}
    paged = filled.search_for_instances(STUDY, limit=1, get_remaining=True, fields=["Rows"])
    assert uids(paged, "00080018") == set(SENT)
    assert {row["00280010"]["Value"][0] for row in paged} == {2}


@pytest.mark.parametrize("stream", [False, True])
def test_what_it_retrieves_is_what_it_stored(filled: DICOMwebClient, stream: bool) -> None:
    study = (
        filled.iter_study(STUDY, media_types=AS_STORED)
        if stream
        else filled.retrieve_study(STUDY, media_types=AS_STORED)
    )
    assert {one.SOPInstanceUID: one for one in study} == {uid: parsed(sent) for uid, sent in SENT.items()}
    [one] = filled.retrieve_series(STUDY, OTHER_SERIES, media_types=AS_STORED)
    assert one == parsed(SENT["1.2.3.6"])
    assert one.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"
    assert filled.retrieve_instance(STUDY, SERIES, "1.2.3.4") == parsed(SENT["1.2.3.4"])


def test_without_a_transfer_syntax_it_gets_explicit_vr_or_nothing(filled: DICOMwebClient) -> None:
    assert len(filled.retrieve_series(STUDY, SERIES)) == 2
    with pytest.raises(requests.HTTPError, match="406"):
        filled.retrieve_series(STUDY, OTHER_SERIES)


def test_metadata_is_what_it_stored_without_the_pixels(filled: DICOMwebClient) -> None:
    def described(sent: bytes) -> Dataset:
        dataset = parsed(sent)
        del dataset.PixelData
        return Dataset.from_json(dataset.to_json_dict())

    found = [Dataset.from_json(one) for one in filled.retrieve_study_metadata(STUDY)]
    assert {one.SOPInstanceUID: one for one in found} == {uid: described(sent) for uid, sent in SENT.items()}
    assert len(filled.retrieve_series_metadata(STUDY, SERIES)) == 2
    [one] = [Dataset.from_json(filled.retrieve_instance_metadata(STUDY, SERIES, "1.2.3.5"))]
    assert one == described(SENT["1.2.3.5"])


def test_frames_are_those_it_stored(filled: DICOMwebClient) -> None:
    def frames(uid: str, *numbers: int) -> list[bytes]:
        return filled.retrieve_instance_frames(
            STUDY, SERIES, uid, list(numbers), media_types=FRAMES_AS_STORED
        )

    assert frames("1.2.3.4", 1) == [b"\1\2\3\4"]
    assert frames("1.2.3.4", 2, 1) == [b"\5\6\7\x08", b"\1\2\3\4"]
    with pytest.raises(requests.HTTPError, match="404"):
        frames("1.2.3.4", 3)


def test_compressed_frames_come_back_as_they_were_compressed(client: DICOMwebClient) -> None:
    dataset = parsed(dicom("1.2.3.7", NumberOfFrames=2))
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate([b"\xff\xd8first\xd9", b"\xff\xd8second\xd9"])
    dataset["PixelData"].is_undefined_length = True
    client.store_instances([dataset])
    found = client.retrieve_instance_frames(STUDY, SERIES, "1.2.3.7", [1, 2], media_types=FRAMES_AS_STORED)
    assert [frame.rstrip(b"\0") for frame in found] == [b"\xff\xd8first\xd9", b"\xff\xd8second\xd9"]


def test_it_deletes_an_instance_a_series_and_a_study(filled: DICOMwebClient) -> None:
    filled.delete_instance(STUDY, SERIES, "1.2.3.4")
    assert uids(filled.search_for_instances(), "00080018") == {"1.2.3.5", "1.2.3.6"}
    filled.delete_series(STUDY, OTHER_SERIES)
    assert uids(filled.search_for_series(STUDY), "0020000E") == {SERIES}
    filled.delete_study(STUDY)
    assert filled.search_for_studies() == []
    with pytest.raises(requests.HTTPError, match="404"):
        filled.delete_study(STUDY)


# What it gets, ours gets


@pytest.mark.parametrize("series", [None, SERIES, OTHER_SERIES])
def test_ours_retrieves_the_same_study_and_series(
    filled: DICOMwebClient, ours: dicomweb.Client, series: str | None
) -> None:
    if series is None:
        theirs = filled.retrieve_study(STUDY, media_types=AS_STORED)
    else:
        theirs = filled.retrieve_series(STUDY, series, media_types=AS_STORED)
    with ours.retrieve(STUDY, series) as parts:
        found = [parsed(b"".join(part.chunks)) for part in parts]
    assert found == theirs
    syntaxes = [one.file_meta.TransferSyntaxUID for one in found]
    assert syntaxes == [one.file_meta.TransferSyntaxUID for one in theirs]


@pytest.mark.parametrize("sop", SENT)
def test_ours_retrieves_the_same_instance_and_its_metadata(
    filled: DICOMwebClient, ours: dicomweb.Client, sop: str
) -> None:
    series = OTHER_SERIES if sop == "1.2.3.6" else SERIES
    with ours.instance(STUDY, series, sop) as chunks:
        found = parsed(b"".join(chunks))
    assert found == filled.retrieve_instance(STUDY, series, sop, media_types=AS_STORED)
    with ours.metadata(STUDY, series, sop) as metadata:
        [described] = metadata.datasets
    assert described == filled.retrieve_instance_metadata(STUDY, series, sop)


def test_ours_retrieves_the_same_metadata_of_study_and_series(
    filled: DICOMwebClient, ours: dicomweb.Client
) -> None:
    with ours.metadata(STUDY) as study, ours.metadata(STUDY, SERIES) as series:
        assert list(study.datasets) == filled.retrieve_study_metadata(STUDY)
        assert list(series.datasets) == filled.retrieve_series_metadata(STUDY, SERIES)


@pytest.mark.parametrize("numbers", [[1], [2], [2, 1]])
def test_ours_retrieves_the_same_frames(
    filled: DICOMwebClient, ours: dicomweb.Client, numbers: list[int]
) -> None:
    with ours.frames(STUDY, SERIES, "1.2.3.4", numbers) as parts:
        found = [b"".join(part.chunks) for part in parts]
    theirs = filled.retrieve_instance_frames(STUDY, SERIES, "1.2.3.4", numbers, media_types=FRAMES_AS_STORED)
    assert found == theirs


def test_ours_finds_the_same_by_all_six_searches(filled: DICOMwebClient, ours: dicomweb.Client) -> None:
    wanted = {"PatientID": "P-1"}
    pairs = [
        (ours.search("studies", matching=wanted), filled.search_for_studies(search_filters=wanted)),
        (ours.search("series", matching=wanted), filled.search_for_series(search_filters=wanted)),
        (ours.search("series", study=STUDY), filled.search_for_series(STUDY)),
        (ours.search("instances", include=["all"]), filled.search_for_instances(fields=["all"])),
        (ours.search("instances", study=STUDY, limit=2), filled.search_for_instances(STUDY, limit=2)),
        (ours.search("instances", study=STUDY, series=SERIES), filled.search_for_instances(STUDY, SERIES)),
    ]
    for found, theirs in pairs:
        assert theirs
        assert without_retrieve_url(found) == without_retrieve_url(theirs)
    assert list(ours.search("studies", matching={"PatientID": "P-2"})) == []

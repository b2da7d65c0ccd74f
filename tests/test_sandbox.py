"""The sandbox stores as the Medical Imaging Server for DICOM documents (v2)."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest

from dicomsync import sandbox
from dicomsync.sandbox import Archive
from tests.test_sandbox_support import (
    AS_STORED,
    BOUNDARY,
    CT,
    JSON,
    PLAIN,
    RELATED,
    dicom,
    eventually,
    failed,
    get,
    post,
    referenced,
    related,
)

IMPLICIT = "1.2.840.10008.1.2"
PATH = "/studies/1.2.3/series/1.2.3.1/instances/1.2.3.4"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with sandbox.running(tmp_path / "archive") as archive:
        yield archive


def test_a_stored_instance_is_kept_as_it_was_sent(archive: Archive) -> None:
    sent = dicom()
    answer = post(archive.url, sent)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == JSON
    assert answer.json() == {
        "00081199": {
            "vr": "SQ",
            "Value": [
                {
                    "00081150": {"vr": "UI", "Value": [CT]},
                    "00081155": {"vr": "UI", "Value": ["1.2.3.4"]},
                    "00081190": {"vr": "UR", "Value": [archive.url + PATH]},
                    "00741048": {"vr": "SQ"},
                }
            ],
        }
    }
    [kept] = archive.stored().values()
    assert kept.path.read_bytes() == sent
    assert kept.sha256 == hashlib.sha256(sent).hexdigest()


def test_a_study_in_the_url_comes_back_as_retrieve_url(archive: Archive) -> None:
    answer = post(archive.url, dicom(), study="1.2.3")
    assert answer.status_code == 200
    assert answer.json()["00081190"]["Value"] == [f"{archive.url}/studies/1.2.3"]


def test_an_instance_of_another_study_than_the_url_is_refused(archive: Archive) -> None:
    answer = post(archive.url, dicom(), dicom("1.2.3.5", study="9.9"), study="1.2.3")
    assert answer.status_code == 202
    assert referenced(answer) == ["1.2.3.4"]
    assert failed(answer) == [("1.2.3.5", 43264)]
    answer = post(archive.url, dicom("1.2.3.5", study="9.9"), study="1.2.3")
    assert answer.status_code == 409
    assert "00081190" not in answer.json()
    assert "00081199" not in answer.json()


def test_the_same_uids_again_are_45070_whatever_the_bytes(archive: Archive) -> None:
    assert post(archive.url, dicom()).status_code == 200
    answer = post(archive.url, dicom(payload=b"\7\7\7\7"))
    assert answer.status_code == 409
    assert failed(answer) == [("1.2.3.4", 45070)]
    assert archive.stored()["1.2.3.4"].sha256 == hashlib.sha256(dicom()).hexdigest()


def test_the_same_instance_twice_in_one_request_is_stored_once(archive: Archive) -> None:
    answer = post(archive.url, dicom(), dicom())
    assert answer.status_code == 202
    assert referenced(answer) == ["1.2.3.4"]
    assert failed(answer) == [("1.2.3.4", 45070)]


def test_the_same_sop_uid_in_another_series_is_another_instance(archive: Archive) -> None:
    assert post(archive.url, dicom()).status_code == 200
    assert post(archive.url, dicom(series="1.2.3.2")).status_code == 200
    assert len(get(archive.url, "/instances").json()) == 2


def test_a_409_holds_a_reason_for_each_instance(archive: Archive) -> None:
    post(archive.url, dicom())
    answer = post(archive.url, dicom(), b"not DICOM at all", dicom("1.2.3.6", PatientID=None))
    assert answer.status_code == 409
    assert failed(answer) == [("1.2.3.4", 45070), ("", 43264), ("1.2.3.6", 43264)]


@pytest.mark.parametrize("content", [b"", b"not DICOM", b"\0" * 200, dicom()[128:]])
def test_what_is_not_dicom_fails_without_uids(archive: Archive, content: bytes) -> None:
    answer = post(archive.url, content)
    assert answer.status_code == 409
    assert answer.json()["00081198"]["Value"] == [{"00081197": {"vr": "US", "Value": [43264]}}]


@pytest.mark.parametrize(
    "wrong",
    [
        {"study": None},
        {"series": None},
        {"SOPClassUID": None},
        {"PatientID": None},
        {"PatientID": "x" * 65},
        {"PatientID": "a\x07b"},
    ],
)
def test_a_required_attribute_missing_or_impossible_fails(archive: Archive, wrong: dict[str, Any]) -> None:
    answer = post(archive.url, dicom(**wrong))
    assert answer.status_code == 409
    assert failed(answer) == [("1.2.3.4", 43264)]
    comment = answer.json()["00081198"]["Value"][0]["00741048"]["Value"][0]["00000902"]["Value"][0]
    assert comment.startswith("DICOM100: (00")
    assert archive.stored() == {}


def test_a_missing_sop_instance_uid_fails_with_its_class_alone(archive: Archive) -> None:
    answer = post(archive.url, dicom(None))
    [item] = answer.json()["00081198"]["Value"]
    assert item["00081150"]["Value"] == [CT]
    assert "00081155" not in item


def test_an_empty_patient_id_is_stored_with_a_warning(archive: Archive) -> None:
    answer = post(archive.url, dicom(PatientID=""))
    assert answer.status_code == 202
    [item] = answer.json()["00081199"]["Value"]
    assert item["00081196"] == {"vr": "US", "Value": [1]}
    assert "(0010,0020)" in item["00741048"]["Value"][0]["00000902"]["Value"][0]


def test_a_value_that_its_vr_forbids_is_stored_with_a_warning_and_not_indexed(
    archive: Archive,
) -> None:
    answer = post(archive.url, dicom(StudyDate="yesterday"))
    assert answer.status_code == 202
    [item] = answer.json()["00081199"]["Value"]
    assert item["00081196"]["Value"] == [1]
    assert 'Content "yesterday"' in item["00741048"]["Value"][0]["00000902"]["Value"][0]
    assert "00080020" not in get(archive.url, "/studies").json()[0]
    assert "00080020" not in get(archive.url, PATH + "/metadata").json()[0]


def test_every_value_is_checked_and_only_what_is_invalid_is_left_out(archive: Archive) -> None:
    first, second = pydicom.Dataset(), pydicom.Dataset()
    first.CodeValue, first.ContextUID, second.ContextUID = "T-1", "1.2", "1.2"
    sent = dicom(ContentDate="20240102", AcquisitionDate="20240102", ConceptCodeSequence=[first, second])
    answer = post(archive.url, sent.replace(b"20240102", b"tomorrow").replace(b"T-1 ", b"T\x01 1"))
    [item] = answer.json()["00081199"]["Value"]
    comments = [one["00000902"]["Value"][0] for one in item["00741048"]["Value"]]
    labels = [comment.partition(" - ")[0] for comment in comments]
    assert answer.status_code == 202
    assert labels == [f"DICOM100: ({tag})" for tag in ("0008,0020", "0008,0022", "0008,0023", "0040,a168")]
    [found] = get(archive.url, PATH + "/metadata").json()
    assert not {"00080020", "00080022", "00080023"} & set(found)
    assert [set(one) for one in found["0040A168"]["Value"]] == [{"00080117"}, {"00080117"}]


def test_several_values_where_one_is_searched_for_are_stored_with_a_warning_header(archive: Archive) -> None:
    answer = post(archive.url, dicom(Modality=["CT", "MR"]))
    assert answer.status_code == 200
    assert answer.headers["warning"].startswith("299 ")
    assert get(archive.url, "/series?Modality=CT").status_code == 200
    assert get(archive.url, "/series?Modality=MR").status_code == 204
    assert "warning" not in post(archive.url, dicom("1.2.3.5")).headers


def test_implicit_vr_is_stored_with_warning_45063(archive: Archive) -> None:
    answer = post(archive.url, dicom(syntax=IMPLICIT))
    assert answer.status_code == 202
    assert answer.json()["00081199"]["Value"][0]["00081196"]["Value"] == [45063]


def test_a_file_cut_short_after_its_uids_is_taken(archive: Archive) -> None:
    sent = dicom(payload=b"\1" * 1000)[:-500]
    assert post(archive.url, sent).status_code == 200
    assert archive.stored()["1.2.3.4"].sha256 == hashlib.sha256(sent).hexdigest()


def test_a_single_dicom_file_may_be_the_body(archive: Archive) -> None:
    assert post(archive.url, body=dicom(), content_type="application/dicom").status_code == 200
    answer = post(archive.url, body=b"", content_type="application/dicom")
    assert (answer.status_code, failed(answer)) == (409, [("", 43264)])


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("text/plain", 415),
        ("application/dicom; transfer-syntax=1.2.840.10008.1.2.1", 415),
        ('multipart/related; type="application/dicom"', 415),
        (f"multipart/related; type=application/dicom; boundary={BOUNDARY}", 415),
        (f'multipart/related; type="application/dicom+json"; boundary={BOUNDARY}', 415),
        (f'multipart/form-data; type="application/dicom"; boundary={BOUNDARY}', 415),
        (RELATED + '; start="<a>"', 400),
        (f'multipart/related; type="application/dicom"; boundary={"b" * 71}', 400),
        (f'multipart/related; boundary={BOUNDARY}; TYPE="application/dicom"', 200),
    ],
)
def test_the_content_type_must_be_exactly_right(archive: Archive, content_type: str, status: int) -> None:
    assert post(archive.url, dicom(), content_type=content_type).status_code == status


@pytest.mark.parametrize(
    "accept", [JSON, "application/json", "application/*", "*/*", f"text/html, {JSON};q=0.5"]
)
def test_the_answer_comes_for_every_accept_that_allows_json(archive: Archive, accept: str) -> None:
    assert post(archive.url, dicom(), accept=accept).status_code == 200


@pytest.mark.parametrize("accept", ["", "application/dicom", "text/html", f"{JSON};q=0"])
def test_an_accept_without_json_is_406(archive: Archive, accept: str) -> None:
    assert post(archive.url, dicom(), accept=accept).status_code == 406
    assert archive.stored() == {}


def test_a_missing_accept_is_406(archive: Archive) -> None:
    with httpx.Client(**PLAIN) as client:
        del client.headers["accept"]
        address = f"{archive.url}/studies"
        assert (
            client.post(address, content=related(dicom()), headers={"content-type": RELATED}).status_code
            == 406
        )
        assert client.get(address).status_code == 406


def test_a_part_type_with_parameters_makes_the_whole_request_415(archive: Archive) -> None:
    body = related(dicom(), head="Content-Type: application/dicom; transfer-syntax=1.2.840.10008.1.2.1\r\n")
    assert post(archive.url, body=body).status_code == 415
    mixed = related(dicom())[: -len(BOUNDARY) - 6] + related(b"{}", head="Content-Type: application/json\r\n")
    assert post(archive.url, body=mixed).status_code == 415
    assert archive.stored() == {}


def test_only_the_first_part_may_leave_its_type_out(archive: Archive) -> None:
    assert post(archive.url, body=related(dicom(), head="")).status_code == 200
    assert post(archive.url, body=related(dicom(), dicom("1.2.3.5"), head="")).status_code == 415


def test_part_headers_beside_the_type_change_nothing(archive: Archive) -> None:
    head = "Content-Length: 7\r\nMIME-Version: 1.0\r\ncontent-TYPE:application/dicom\r\n"
    assert post(archive.url, body=related(dicom(), head=head)).status_code == 200
    assert archive.stored()["1.2.3.4"].sha256 == hashlib.sha256(dicom()).hexdigest()


@pytest.mark.parametrize("body", [b"", f"--{BOUNDARY}--\r\n".encode(), related(dicom())[:-300]])
def test_a_request_without_a_whole_part_is_204(archive: Archive, body: bytes) -> None:
    answer = post(archive.url, body=body)
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_body_that_is_not_multipart_is_400(archive: Archive) -> None:
    assert post(archive.url, body=b"no boundary in sight").status_code == 400


def test_a_body_cut_in_its_last_part_stores_the_parts_before(archive: Archive) -> None:
    answer = post(archive.url, body=related(dicom(), dicom("1.2.3.5"))[:-300])
    assert (answer.status_code, referenced(answer)) == (200, ["1.2.3.4"])


def test_a_payload_that_looks_like_a_boundary_is_kept_whole(archive: Archive) -> None:
    tricky = f"\r\n--{BOUNDARY[:-1]}\r\n--{BOUNDARY}x\r\n-".encode() * 500
    sent = dicom(payload=tricky + b"-" * (len(tricky) % 2))
    body = related(sent)
    chunks = (body[i : i + 7] for i in range(0, len(body), 7))
    assert post(archive.url, body=chunks).status_code == 200
    assert archive.stored()["1.2.3.4"].sha256 == hashlib.sha256(sent).hexdigest()


def test_a_client_that_goes_away_while_sending_leaves_nothing(archive: Archive) -> None:
    def stops() -> Iterator[bytes]:
        yield related(dicom(), dicom("1.2.3.5"))[:-40]
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError):
        post(archive.url, body=stops())
    assert post(archive.url, dicom("1.2.3.9")).status_code == 200
    eventually(lambda: not list((archive.directory / "incoming").iterdir()))
    assert list(archive.stored()) == ["1.2.3.9"]


@pytest.mark.parametrize(
    "head",
    [
        "X: " + "x" * 20_000 + "\r\nContent-Type: application/dicom\r\n",
        "".join(f"X-{number}: y\r\n" for number in range(5000)),
        "Content-Type application/dicom\r\n",
        "\0: x\r\n",
    ],
    ids=["one huge header", "many headers", "no colon", "no name"],
)
def test_hostile_part_headers_are_400_and_leave_nothing(archive: Archive, head: str) -> None:
    answer = post(archive.url, body=related(dicom(), head=head))
    assert answer.status_code == 400
    assert list((archive.directory / "incoming").iterdir()) == []


@pytest.mark.parametrize("uid", ["../../../evil", "1.2/3", "..", "1.2.", "1" * 65, "1.2%2F3"])
@pytest.mark.parametrize("name", ["study", "series", "sop"])
def test_a_uid_that_leads_elsewhere_is_refused(archive: Archive, name: str, uid: str) -> None:
    given: dict[str, Any] = {name: uid}
    answer = post(archive.url, dicom(**given))
    assert answer.status_code == 409
    assert archive.stored() == {}
    assert {one.name for one in archive.directory.iterdir()} <= {
        "incoming",
        "index.sqlite",
        "index.sqlite-wal",
        "index.sqlite-shm",
    }


def test_a_body_without_a_length_has_the_same_limit(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicomsync.sandbox.app.MOST_BYTES", 1 << 20)
    assert post(archive.url, body=related(dicom(payload=bytes(1 << 20)))).status_code == 413
    assert post(archive.url, body=iter([related(dicom(payload=bytes(1 << 20)))])).status_code == 413
    assert post(archive.url, dicom()).status_code == 200


def test_a_malformed_study_in_the_url_is_400(archive: Archive) -> None:
    assert post(archive.url, dicom(), study="not-a-uid").status_code == 400
    assert post(archive.url, dicom(), study="1" * 65).status_code == 400


def test_the_version_is_part_of_every_address(archive: Archive) -> None:
    root = archive.url.removesuffix("/v2")
    assert post(root, dicom()).status_code == 404
    assert post(root + "/v1", dicom()).status_code == 404
    assert get(archive.url, "/nowhere").status_code == 404
    assert httpx.patch(f"{archive.url}/studies", **PLAIN).status_code == 405
    assert httpx.delete(f"{archive.url}/studies", **PLAIN).status_code == 405


def test_a_body_of_200_megabytes_takes_constant_memory(archive: Archive) -> None:
    head, piece, count = dicom(payload=b""), b"\xa5" * (1 << 20), 200
    opening = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    closing = f"\r\n--{BOUNDARY}--\r\n".encode()

    def body() -> Iterator[bytes]:
        yield opening + head
        for _ in range(count):
            yield piece
        yield closing

    length = len(opening) + len(head) + count * len(piece) + len(closing)
    tracemalloc.start()
    try:
        answer = post(archive.url, body=body(), content_length=str(length))
        with httpx.stream("GET", archive.url + PATH, headers=AS_STORED, **PLAIN) as got:
            returned = sum(len(chunk) for chunk in got.iter_bytes())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code == 200
    assert archive.stored()["1.2.3.4"].path.stat().st_size == returned == len(head) + count * len(piece)
    assert peak < 20 << 20


def test_four_uploads_at_once_are_stored_whole(archive: Archive) -> None:
    def upload(worker: int) -> list[int]:
        names = [f"1.2.{worker}.{number}" for number in range(1, 9)]
        batches = [[dicom(name, study=f"1.2.{worker}") for name in names[at : at + 4]] for at in (0, 4)]
        return [post(archive.url, *batch, study=f"1.2.{worker}").status_code for batch in batches]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(upload, range(4))) == [[200, 200]] * 4
    assert len(archive.stored()) == 32


def test_of_one_instance_in_four_requests_at_once_one_is_stored(archive: Archive) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: post(archive.url, dicom()).status_code, range(4)))
    assert sorted(answers) == [200, 409, 409, 409]

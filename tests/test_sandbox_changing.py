"""The sandbox replaces and deletes as the Medical Imaging Server for DICOM documents (v2)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from dicomsync import sandbox
from dicomsync.sandbox import Archive
from tests.test_sandbox_support import (
    AS_STORED,
    JSON,
    PLAIN,
    STORE,
    dicom,
    failed,
    get,
    post,
    referenced,
    related,
    values,
)

PATH = "/studies/1.2.3/series/1.2.3.1/instances/1.2.3.4"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with sandbox.running(tmp_path / "archive") as archive:
        yield archive


def put(url: str, *parts: bytes, path: str = "/studies") -> httpx.Response:
    return httpx.put(url + path, content=related(*parts), headers=STORE, **PLAIN)


def delete(url: str, path: str) -> httpx.Response:
    return httpx.delete(url + path, **PLAIN)


# Upsert


def test_an_upsert_stores_what_is_new_and_replaces_what_is_there(archive: Archive) -> None:
    post(archive.url, dicom(), dicom("1.2.3.5"))
    changed = dicom(payload=b"\7\7\7\7", PatientID="P-2")
    answer = put(archive.url, changed, dicom("1.2.3.6"))
    assert (answer.status_code, referenced(answer), failed(answer)) == (200, ["1.2.3.4", "1.2.3.6"], [])
    assert get(archive.url, PATH, AS_STORED["accept"]).content == changed
    assert len(archive.stored()) == 3
    assert values(get(archive.url, "/studies"), "00100020") == ["P-1"]  # 1.2.3.6 came last


def test_what_was_replaced_has_new_metadata_and_comes_first(archive: Archive) -> None:
    post(archive.url, dicom(), dicom("1.2.3.5"))
    before = get(archive.url, PATH + "/metadata").headers["etag"]
    put(archive.url, dicom(SeriesDescription="new"))
    after = get(archive.url, PATH + "/metadata", if_none_match=before)
    assert (after.status_code, values(after, "0008103E")) == (200, ["new"])
    assert values(get(archive.url, "/instances"), "00080018") == ["1.2.3.4", "1.2.3.5"]


def test_an_upsert_into_a_study_refuses_strangers(archive: Archive) -> None:
    answer = put(archive.url, dicom(), dicom("1.2.3.5", study="9.9"), path="/studies/1.2.3")
    assert answer.status_code == 202
    assert answer.json()["00081190"]["Value"] == [f"{archive.url}/studies/1.2.3"]
    assert failed(answer) == [("1.2.3.5", 43264)]


def test_an_upsert_that_fails_leaves_the_old_one(archive: Archive) -> None:
    post(archive.url, dicom())
    assert put(archive.url, dicom(PatientID=None)).status_code == 409
    assert get(archive.url, PATH, AS_STORED["accept"]).content == dicom()
    assert (
        httpx.put(archive.url + "/studies", content=b"x", headers={"accept": JSON}, **PLAIN).status_code
        == 415
    )


# Delete


@pytest.mark.parametrize(
    ("path", "left"),
    [
        (PATH, {"1.2.3.5", "1.2.3.6", "1.2.9"}),
        ("/studies/1.2.3/series/1.2.3.1", {"1.2.3.6", "1.2.9"}),
        ("/studies/1.2.3", {"1.2.9"}),
    ],
)
def test_a_delete_takes_what_it_names_and_nothing_else(archive: Archive, path: str, left: set[str]) -> None:
    post(
        archive.url,
        dicom(),
        dicom("1.2.3.5"),
        dicom("1.2.3.6", series="1.2.3.2"),
        dicom("1.2.9", study="9.9"),
    )
    kept = {one.path for uid, one in archive.stored().items() if uid in left}
    answer = delete(archive.url, path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert set(archive.stored()) == left
    assert set((archive.directory / "files").rglob("*.dcm")) == kept
    assert set(values(get(archive.url, "/instances"), "00080018")) == left
    assert get(archive.url, path, "*/*").status_code == 404
    assert get(archive.url, path + "/metadata").status_code == 404
    assert delete(archive.url, path).status_code == 404


def test_the_last_instance_takes_its_series_and_its_study_along(archive: Archive) -> None:
    post(archive.url, dicom(), dicom("1.2.3.6", series="1.2.3.2"))
    delete(archive.url, PATH)
    assert values(get(archive.url, "/series"), "0020000E") == ["1.2.3.2"]
    delete(archive.url, "/studies/1.2.3/series/1.2.3.2/instances/1.2.3.6")
    assert get(archive.url, "/series").status_code == 204
    assert get(archive.url, "/studies").status_code == 204
    assert list((archive.directory / "files").iterdir()) == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/studies/9.9", 404),
        ("/studies/1.2.3/series/9.9", 404),
        ("/studies/1.2.3/series/1.2.3.1/instances/9.9", 404),
        ("/studies/9.9/series/1.2.3.1/instances/1.2.3.4", 404),
        ("/studies/..", 404),
        ("/studies/%2E%2E%2F", 404),
        ("/studies/1.2.3%00", 400),
        ("/studies/*", 400),
        ("/studies/%D9%A1", 400),
        ("/studies/" + "1" * 65, 400),
        ("/studies/1.2.3/metadata", 405),
        ("/studies", 405),
        ("/series/1.2.3.1", 404),
    ],
)
def test_a_delete_that_names_nothing_deletes_nothing(archive: Archive, path: str, status: int) -> None:
    post(archive.url, dicom())
    assert delete(archive.url, path).status_code == status
    assert list(archive.stored()) == ["1.2.3.4"]


def test_what_was_deleted_may_be_stored_again(archive: Archive) -> None:
    post(archive.url, dicom())
    before = get(archive.url, "/studies/1.2.3/metadata").headers["etag"]
    delete(archive.url, PATH)
    assert post(archive.url, dicom(payload=b"\7\7\7\7")).status_code == 200
    assert get(archive.url, "/studies/1.2.3/metadata", if_none_match=before).status_code == 200


def test_deleting_one_of_two_changes_the_etag_of_their_study(archive: Archive) -> None:
    post(archive.url, dicom(), dicom("1.2.3.5"))
    before = get(archive.url, "/studies/1.2.3/metadata").headers["etag"]
    delete(archive.url, PATH)
    after = get(archive.url, "/studies/1.2.3/metadata", if_none_match=before)
    assert (after.status_code, len(after.json())) == (200, 1)


def test_the_change_feed_tells_what_became_of_each(archive: Archive) -> None:
    post(archive.url, dicom())
    put(archive.url, dicom())
    delete(archive.url, PATH)
    assert feed(archive) == [("create", "deleted"), ("update", "deleted"), ("delete", "deleted")]
    post(archive.url, dicom())
    assert feed(archive) == [
        ("create", "replaced"),
        ("update", "replaced"),
        ("delete", "replaced"),
        ("create", "current"),
    ]


def feed(archive: Archive) -> list[tuple[str, str]]:
    return [(entry["action"], entry["state"]) for entry in get(archive.url, "/changefeed").json()]


def test_changes_are_there_after_a_restart(tmp_path: Path) -> None:
    with sandbox.running(tmp_path) as archive:
        post(archive.url, dicom(), dicom("1.2.3.5"), dicom("1.2.3.6"))
        put(archive.url, dicom(payload=b"\7\7\7\7"))
        delete(archive.url, PATH[:-1] + "5")
        before = feed(archive)
    with sandbox.running(tmp_path) as archive:
        assert set(archive.stored()) == {"1.2.3.4", "1.2.3.6"}
        assert get(archive.url, PATH, AS_STORED["accept"]).content == dicom(payload=b"\7\7\7\7")
        assert feed(archive) == before


def test_stores_upserts_and_deletes_at_once_leave_files_and_index_of_one_mind(archive: Archive) -> None:
    def act(number: int) -> int:
        if number % 3 == 0:
            return delete(archive.url, PATH).status_code
        sent = dicom(payload=bytes([number]) * 4)
        return (post if number % 3 == 1 else put)(archive.url, sent).status_code

    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(act, range(48)))
    assert answers <= {200, 204, 404, 409}
    indexed = [one.path for one in archive.stored().values()]
    assert list((archive.directory / "files").rglob("*.dcm")) == indexed
    assert len(indexed) <= 1
    assert not list((archive.directory / "incoming").iterdir())

"""Deleting in each archive's own way; "was not there" is never guessed from a 404."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from dicomsync.dicomweb import Deletion, Outcome, close_clients
from dicomsync.errors import BadAnswer, NoAnswer, NotThere, Refused, UsageProblem

from .clients import DCM4CHEE, GOOGLE, PATHS, SERIES, SOP, STUDY, asked, client, results, routes, row
from .scripted_server import Peer, Request, ScriptedServer, answer, answering

EMPTY = results([])
LEVELS = [(STUDY,), (STUDY, SERIES), (STUDY, SERIES, SOP)]
BELOW = [
    f"/studies/{STUDY}",
    f"/studies/{STUDY}/series/{SERIES}",
    f"/studies/{STUDY}/series/{SERIES}/instances/{SOP}",
]


@pytest.fixture(autouse=True)
def _no_client_is_left_open() -> Iterator[None]:
    yield
    close_clients()


def as_json(value: object, status: int = 200) -> bytes:
    return answer(status, json.dumps(value).encode(), Content_Type="application/json")


def to_delete(deleted: bytes, searched: bytes = EMPTY) -> Callable[[Request], bytes]:
    """One answer to whatever changes something, another to searches."""
    return lambda request: searched if request.method == "GET" else deleted


# --- by DICOMweb


@pytest.mark.parametrize("kind", ["dicom-server", "generic"])
@pytest.mark.parametrize(("uids", "path"), list(zip(LEVELS, BELOW, strict=True)))
def test_a_study_series_or_instance_is_deleted(kind: str, uids: tuple[str, ...], path: str) -> None:
    with ScriptedServer(answering(to_delete(answer(204)))) as server:
        assert client(server, kind).delete(*uids) == Deletion(Outcome.DELETED, 204)
    assert asked(server) == [f"DELETE /v2{path}"]


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, Outcome.DELETED), (204, Outcome.DELETED), (202, Outcome.UNFINISHED)]
)
def test_what_the_answer_says_is_what_happened(status: int, outcome: Outcome) -> None:
    with ScriptedServer(answering(to_delete(answer(status)))) as server:
        assert client(server).delete(STUDY) == Deletion(outcome, status)


@pytest.mark.parametrize("nothing", [EMPTY, answer(204), results([row("1.9", "1.9", "1.9")])])
@pytest.mark.parametrize("uids", LEVELS)
@pytest.mark.parametrize("status", [404, 410])
def test_what_was_not_there_is_told_after_one_search(
    status: int, uids: tuple[str, ...], nothing: bytes
) -> None:
    with ScriptedServer(answering(to_delete(answer(status), nothing))) as server:
        assert client(server).delete(*uids) == Deletion(Outcome.ABSENT, status)
    assert len(server.seen) == 2
    assert server.seen[1].target.endswith(f"UID={uids[-1]}&limit=1&offset=0")


@pytest.mark.parametrize("uids", LEVELS)
def test_a_wrong_base_url_is_no_absence(uids: tuple[str, ...]) -> None:
    with ScriptedServer(answering(lambda _: answer(404))) as server, pytest.raises(NotThere) as caught:
        client(server).delete(*uids)
    assert "/dicom-web" in caught.value.hint


@pytest.mark.parametrize("kind", ["generic", "dcm4chee"])
def test_what_a_search_finds_was_not_absent_whatever_the_delete_said(kind: str) -> None:
    there = to_delete(answer(404), results([row(SOP)]))
    for uids in LEVELS:
        with ScriptedServer(answering(there)) as server, pytest.raises(Refused, match="finds it") as caught:
            client(server, kind).delete(*uids)
        assert "name its kind" in caught.value.hint
        assert not isinstance(caught.value, NotThere)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 405, 409, 429, 500, 501, 503])
@pytest.mark.parametrize("kind", ["dicom-server", "orthanc", "dcm4chee", "google", "generic"])
def test_a_refusal_is_no_deletion(kind: str, status: int) -> None:
    refusing = to_delete(answer(status, b"DOE^JOHN", Retry_After="5"))
    with ScriptedServer(answering(refusing)) as server, pytest.raises(Refused) as caught:
        client(server, kind, path=PATHS.get(kind, "/v2")).delete(STUDY)
    assert (caught.value.status, caught.value.retry_after_seconds) == (status, 5.0)
    assert caught.value.hint
    assert "DOE" not in f"{caught.value} {caught.value.hint}"


def test_an_archive_that_has_its_own_way_is_told_so() -> None:
    with ScriptedServer(answering(to_delete(answer(405)))) as server, pytest.raises(Refused) as caught:
        client(server).delete(STUDY)
    assert "name its kind" in caught.value.hint


def test_no_answer_is_no_deletion() -> None:
    def swallow(peer: Peer) -> None:
        peer.request()

    with ScriptedServer(swallow) as server, pytest.raises(NoAnswer):
        client(server, "dicom-server").delete(STUDY)


def test_an_archive_that_is_not_known_yet_is_looked_at_before_anything_is_deleted() -> None:
    system = as_json({"ApiVersion": 16, "DicomAet": "X", "Version": "1.12"})
    orthanc = routes(GET_studies=EMPTY, GET_system=system, POST_find=as_json([ID]), DELETE_x=b"")

    def respond(request: Request) -> bytes:
        return as_json({}) if request.target == f"/studies/{ID}" else orthanc(request)

    with ScriptedServer(answering(respond)) as server:
        ours = client(server, "auto", path="/dicom-web")
        assert ours.delete(STUDY).outcome is Outcome.DELETED
        assert ours.kind.name == "orthanc"
    changes = [one for one in asked(server) if not one.startswith("GET")]
    assert changes == ["POST /tools/find", f"DELETE /studies/{ID}"]


def test_healthimaging_cannot_and_is_not_asked() -> None:
    with ScriptedServer(answering(to_delete(answer(204)))) as server:
        with pytest.raises(UsageProblem, match="cannot delete") as caught:
            client(server, "healthimaging").delete(STUDY)
        assert "DeleteImageSet" in caught.value.hint
        assert server.connections == 0


# --- Orthanc

ID, TWIN = "0b4d509c-6136adb8-04a6bea1-ea9628c3-9cbd3e25", "1b4d509c-6136adb8-04a6bea1-ea9628c3-9cbd3e25"


class FakeOrthanc:
    """Its REST interface beside /dicom-web, as far as deleting needs it."""

    def __init__(self, *found: Any, deleted: bytes = b"", find: bytes = b"") -> None:
        self.found = list(found)
        self.deleted = deleted or as_json({"RemainingAncestor": None})
        self.find = find
        self.queries: list[Any] = []

    def __call__(self, request: Request) -> bytes:
        if request.target == "/tools/find":
            self.queries.append(json.loads(request.body))
            return self.find or as_json(self.found)
        if request.method == "DELETE":
            return self.deleted
        return EMPTY if request.target.startswith("/dicom-web/") else answer(404)


@pytest.mark.parametrize(
    ("uids", "level", "path"),
    [
        (LEVELS[0], "Study", "studies"),
        (LEVELS[1], "Series", "series"),
        (LEVELS[2], "Instance", "instances"),
    ],
)
def test_orthanc_deletes_beside_its_dicomweb_root(uids: tuple[str, ...], level: str, path: str) -> None:
    orthanc = FakeOrthanc(ID, TWIN)
    with ScriptedServer(answering(orthanc)) as server:
        deleted = client(server, "orthanc", path="/dicom-web").delete(*uids)
    assert deleted == Deletion(Outcome.DELETED, 200)
    assert asked(server) == ["POST /tools/find", f"DELETE /{path}/{ID}", f"DELETE /{path}/{TWIN}"]
    (query,) = orthanc.queries
    assert query["Level"] == level
    assert tuple(query["Query"].values()) == uids
    assert list(query["Query"]) == ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"][: len(uids)]


def test_what_orthanc_has_twice_is_left_alone_where_just_one_is_meant() -> None:
    orthanc = FakeOrthanc(ID, TWIN)
    with ScriptedServer(answering(orthanc)) as server, pytest.raises(Refused, match="more than once"):
        client(server, "orthanc", path="/dicom-web").delete(STUDY, SERIES, SOP, alone=True)
    assert asked(server) == ["POST /tools/find"]


def test_orthanc_has_it_no_longer() -> None:
    with ScriptedServer(answering(FakeOrthanc())) as server:
        assert client(server, "orthanc", path="/dicom-web").delete(STUDY) == Deletion(Outcome.ABSENT, 200)
        assert asked(server)[1].startswith("GET /dicom-web/studies?StudyInstanceUID=")
    with ScriptedServer(answering(FakeOrthanc(ID, deleted=answer(404)))) as server:
        outcome = client(server, "orthanc", path="/dicom-web").delete(STUDY).outcome
        assert outcome is Outcome.DELETED, "someone else was quicker"


@pytest.mark.parametrize(
    "find",
    [as_json(["../../studies"]), as_json([5]), as_json({}), answer(200, b"<html>"), answer(200, b"")],
)
def test_what_does_not_answer_as_orthanc_is_not_followed(find: bytes) -> None:
    with ScriptedServer(answering(FakeOrthanc(find=find))) as server, pytest.raises(BadAnswer):
        client(server, "orthanc", path="/dicom-web").delete(STUDY)
    assert asked(server) == ["POST /tools/find"]


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_an_orthanc_whose_rest_is_out_of_reach_is_told(status: int) -> None:
    refusing = FakeOrthanc(find=answer(status))
    with ScriptedServer(answering(refusing)) as server, pytest.raises(Refused) as caught:
        client(server, "orthanc", path="/dicom-web").delete(STUDY)
    assert "beside its DICOMweb root" in caught.value.hint


# --- dcm4chee (section 6: reject with a code; 200, or 202 if some failed)


@pytest.mark.parametrize(("uids", "path"), list(zip(LEVELS, BELOW, strict=True)))
@pytest.mark.parametrize(("status", "outcome"), [(200, Outcome.REJECTED), (202, Outcome.UNFINISHED)])
def test_dcm4chee_rejects(uids: tuple[str, ...], path: str, status: int, outcome: Outcome) -> None:
    with ScriptedServer(answering(to_delete(as_json({"count": 1}, status)))) as server:
        ours = client(server, "dcm4chee", path=DCM4CHEE)
        assert ours.delete(*uids) == Deletion(outcome, status)
        assert ours.delete(*uids, reject_code="113001^DCM").outcome is outcome
    codes = ("113039%5EDCM", "113001%5EDCM")
    assert asked(server) == [f"POST {DCM4CHEE}{path}/reject/{code}" for code in codes]
    assert {one.headers["content-length"] for one in server.seen} == {"0"}


@pytest.mark.parametrize("code", ["", "113001", "113001^DCM/x", "../..^DCM", "a^b^c", "1" * 17 + "^DCM"])
def test_what_is_no_code_is_not_sent(code: str) -> None:
    with ScriptedServer(answering(to_delete(answer(200)))) as server, pytest.raises(UsageProblem):
        client(server, "dcm4chee", path=DCM4CHEE).delete(STUDY, reject_code=code)
    assert server.connections == 0


# --- Google (section 6: an instance at once, study and series by an operation that is polled)

NAME = "projects/p/locations/l/datasets/d/operations/123"


class FakeGoogle:
    """Begins an operation that is done at the so-many-th look."""

    def __init__(self, *looks: object, name: object = NAME) -> None:
        self.looks = iter(looks)
        self.name = name

    def __call__(self, request: Request) -> bytes:
        if request.method == "DELETE":
            return as_json({"name": self.name} if "/instances/" not in request.target else {})
        return as_json(next(self.looks)) if request.target == f"/v1/{NAME}" else EMPTY


def test_google_deletes_an_instance_at_once() -> None:
    with ScriptedServer(answering(FakeGoogle())) as server:
        deleted = client(server, "google", path=GOOGLE).delete(*LEVELS[2])
    assert deleted == Deletion(Outcome.DELETED, 200)


@pytest.mark.parametrize("uids", LEVELS[:2])
def test_google_is_asked_until_its_operation_is_done(uids: tuple[str, ...]) -> None:
    looks = {"name": NAME}, {"name": NAME, "done": False}, {"name": NAME, "done": True, "response": {}}
    with ScriptedServer(answering(FakeGoogle(*looks))) as server:
        deleted = client(server, "google", path=GOOGLE).delete(*uids)
    assert deleted == Deletion(Outcome.DELETED, 200, NAME)
    assert [urlsplit(one.target).path for one in server.seen[1:]] == [f"/v1/{NAME}"] * 3


def test_an_operation_that_takes_longer_is_unfinished() -> None:
    looks = ({"name": NAME} for _ in range(100))
    with ScriptedServer(answering(FakeGoogle(*looks))) as server:
        deleted = client(server, "google", path=GOOGLE).delete(STUDY, wait_seconds=0.3)
    assert deleted == Deletion(Outcome.UNFINISHED, 200, NAME)


def test_an_operation_that_fails_is_told() -> None:
    failed = {"name": NAME, "done": True, "error": {"code": 13, "message": "DOE^JOHN"}}
    with ScriptedServer(answering(FakeGoogle(failed))) as server, pytest.raises(Refused) as caught:
        client(server, "google", path=GOOGLE).delete(STUDY)
    assert "search for what is left" in caught.value.hint
    assert "DOE" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        5,
        "",
        None,
        "http://evil/x",
        "projects/p/../../x",
        "projects/other/locations/l/datasets/d/operations/1",
    ],
)
def test_an_operation_elsewhere_is_not_followed(name: object) -> None:
    with ScriptedServer(answering(FakeGoogle(name=name))) as server, pytest.raises(BadAnswer):
        client(server, "google", path=GOOGLE).delete(STUDY)
    assert len(server.seen) == 1


def test_google_404_is_proved_like_any_other() -> None:
    with ScriptedServer(answering(to_delete(answer(404)))) as server:
        assert client(server, "google", path=GOOGLE).delete(STUDY) == Deletion(Outcome.ABSENT, 404)

"""Archives that are not at hand, from how they are known to answer: recognised, stored to, and read.

dcm4chee, Google Cloud Healthcare and AWS HealthImaging are played here from what their code and
documents say; the Medical Imaging Server is played by the sandbox, and Orthanc plays itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from dicomsync.dicomweb import KINDS, BytesPart, Identified, Kind, check_kind, close_clients
from dicomsync.errors import Refused, UsageProblem

from .clients import (
    DCM4CHEE,
    GOOGLE,
    HEALTH_IMAGING,
    PATHS,
    SERIES,
    SOP,
    STUDY,
    asked,
    client,
    files,
    results,
    routes,
    row,
)
from .scripted_server import Request, ScriptedServer, answer, answering

FILE = bytes(range(256)) * 30
EMPTY = results([])


@pytest.fixture(autouse=True)
def _no_client_is_left_open() -> Iterator[None]:
    yield
    close_clients()


def module(
    status: int, *, referenced: tuple[str, ...] = (), failed: tuple[tuple[str, int], ...] = ()
) -> bytes:
    """A Store Instances Response with these UIDs and reasons."""

    def item(sop: str, reason: int | None = None) -> dict[str, Any]:
        uid = {"00081155": {"vr": "UI", "Value": [sop]}}
        return uid if reason is None else uid | {"00081197": {"vr": "US", "Value": [reason]}}

    found = {
        "00081199": {"vr": "SQ", "Value": [item(sop) for sop in referenced]},
        "00081198": {"vr": "SQ", "Value": [item(*one) for one in failed]},
    }
    return answer(status, json.dumps(found).encode(), Content_Type="application/dicom+json")


# --- what they are


COUNT = answer(200, b'{"count": 0}', Content_Type="application/json")


@pytest.mark.parametrize(
    ("path", "said", "kind", "requests"),
    [
        (DCM4CHEE, {"GET_count": COUNT}, "dcm4chee", 4),
        ("/behind/a/proxy", {"GET_count": COUNT}, "dcm4chee", 4),
        (DCM4CHEE, {"GET_count": answer(200, b"[]")}, "generic", 4),
        (DCM4CHEE, {"GET_count": answer(200, b'{"count": true}')}, "generic", 4),
        (GOOGLE, {}, "google", 1),
        (GOOGLE.removesuffix("/dicomWeb"), {}, "generic", 4),
        (HEALTH_IMAGING, {}, "healthimaging", 1),
        ("/datastore/short", {}, "generic", 4),
    ],
)
def test_an_archive_is_recognised_by_harmless_questions(
    path: str, said: dict[str, bytes], kind: str, requests: int
) -> None:
    with ScriptedServer(answering(routes(GET_studies=EMPTY, **said))) as server:
        ours = client(server, "auto", path=path)
        found = ours.identify()
        assert (found.kind, ours.kind) == (kind, KINDS[kind])
        assert ours.kind.words in found.says
    assert len(server.seen) == requests
    assert {one.method for one in server.seen} == {"GET"}


@pytest.mark.parametrize("path", [GOOGLE, HEALTH_IMAGING, DCM4CHEE])
def test_an_address_alone_proves_nothing(path: str) -> None:
    with ScriptedServer(answering(lambda _: answer(403))) as server, pytest.raises(Refused):
        client(server, "auto", path=path).identify()


def test_every_kind_can_be_configured() -> None:
    assert set(KINDS) == {"dicom-server", "orthanc", "dcm4chee", "google", "healthimaging", "generic"}
    for name, kind in KINDS.items():
        assert (kind.name, check_kind(name)) == (name, None)
        with ScriptedServer(answering(lambda _: EMPTY)) as server:
            ours = client(server, name)
            assert ours.identify() == Identified(name, f"{kind.words}, as configured")
            assert ours.kind is kind


# --- single part, and upsert


def test_one_instance_goes_bare_where_that_is_taken() -> None:
    with ScriptedServer(answering(lambda _: module(200, referenced=(SOP,)))) as server:
        for name in ("dicom-server", "google", "healthimaging", "generic"):
            stored = client(server, name).store_single_part(BytesPart(FILE), STUDY)
            assert stored.complete
            assert stored.response is not None
            assert [one.sop_instance_uid for one in stored.response.referenced] == [SOP]
    for request in server.seen:
        assert (request.method, request.target) == ("POST", f"/v2/studies/{STUDY}")
        assert request.headers["content-type"] == "application/dicom"
        assert request.headers["content-length"] == str(len(FILE))
        assert request.headers["accept"] == "application/dicom+json"
        assert request.body == FILE


def test_one_instance_goes_bare_without_its_study_too() -> None:
    with ScriptedServer(answering(lambda _: module(200))) as server:
        client(server).store_single_part(BytesPart(FILE))
        with pytest.raises(UsageProblem):
            client(server).store_single_part(BytesPart(FILE), "../x")
    assert asked(server) == ["POST /v2/studies"]


def test_an_archive_that_refuses_it_bare_answers_so() -> None:
    with ScriptedServer(answering(lambda _: answer(415))) as server:
        stored = client(server).store_single_part(BytesPart(FILE))
    assert (stored.status, stored.response) == (415, None)


def test_an_upsert_is_a_put_of_the_same_body() -> None:
    with ScriptedServer(answering(lambda _: module(200, referenced=(SOP,)))) as server:
        ours = client(server, "dicom-server")
        assert ours.upsert([BytesPart(FILE)]).status == 200
        assert ours.upsert([BytesPart(FILE)], STUDY).status == 200
        ours.store([BytesPart(FILE)])
    assert asked(server) == ["PUT /v2/studies", f"PUT /v2/studies/{STUDY}", "POST /v2/studies"]
    boundary = re.compile(r'"[0-9a-f]{48}"')
    assert len({boundary.sub("", one.headers["content-type"]) for one in server.seen}) == 1
    assert len({len(one.body) for one in server.seen}) == 1


def offering(fact: str) -> list[str]:
    return [name for name, kind in KINDS.items() if getattr(kind, fact)]


def test_what_a_kind_does_not_offer_is_said_and_not_sent() -> None:
    assert offering("single_part_store") == ["dicom-server", "google", "healthimaging", "generic"]
    assert offering("upsert") == ["dicom-server"]
    with ScriptedServer(answering(lambda _: module(200))) as server:
        for name in KINDS:
            ours = client(server, name)
            if not ours.kind.single_part_store:
                with pytest.raises(UsageProblem, match=r"single-part.*nothing was sent"):
                    ours.store_single_part(BytesPart(FILE))
            if not ours.kind.upsert:
                with pytest.raises(UsageProblem, match=r"replace.*nothing was sent"):
                    ours.upsert([BytesPart(FILE)])
    assert server.connections == 0


# --- dcm4chee: sections 2, 4 and 5


def test_dcm4chee_is_asked_for_multipart_at_once() -> None:
    with (
        ScriptedServer(answering(lambda _: files(FILE))) as server,
        client(server, "dcm4chee", path=DCM4CHEE).instance(STUDY, SERIES, SOP) as chunks,
    ):
        assert b"".join(chunks) == FILE
    assert len(server.seen) == 1


def test_dcm4chee_cuts_a_search_and_says_so() -> None:
    remark = '299 dcm4chee: "The number of results exceeded the maximum supported by the server"'

    def respond(request: Request) -> bytes:
        return answer(204) if "offset=0" not in request.target else results([row(SOP)], Warning=remark)

    with ScriptedServer(answering(respond)) as server:
        search = client(server, "dcm4chee", path=DCM4CHEE).search("instances", study=STUDY)
        assert len(list(search)) == 1
    assert "exceeded" in search.warnings[0]


def test_dcm4chee_breaks_in_the_middle_and_names_nothing() -> None:
    trace = answer(500, b"java.lang.RuntimeException\n\tat org.dcm4chee", Content_Type="text/plain")
    with ScriptedServer(answering(lambda _: trace)) as server:
        stored = client(server, "dcm4chee", path=DCM4CHEE).store([BytesPart(FILE)], STUDY)
    assert (stored.status, stored.response) == (500, None)
    assert asked(server) == [f"POST {DCM4CHEE}/studies/{STUDY}"]


def test_dcm4chee_invents_a_uid_for_what_it_cannot_read() -> None:
    invented = module(202, referenced=(SOP,), failed=(("1.2.40.0.13.1.99", 50329),))
    with ScriptedServer(answering(lambda _: invented)) as server:
        response = client(server, "dcm4chee", path=DCM4CHEE).store([BytesPart(FILE)] * 2).response
    assert response is not None
    assert [one.sop_instance_uid for one in response.referenced] == [SOP]
    assert [one.reason for one in response.failed] == [50329]


# --- Google: sections 1 to 4


GOOGLE_XML = f"""<?xml version="1.0" encoding="UTF-8"?>
<NativeDicomModel>
 <DicomAttribute tag="00081198" vr="SQ"><Item number="1">
   <DicomAttribute tag="00081155" vr="UI"><Value number="1">{SOP}</Value></DicomAttribute>
   <DicomAttribute tag="00081197" vr="US"><Value number="1">272</Value></DicomAttribute>
   <DicomAttribute tag="00090097" vr="LT" privateCreator="GOOGLE">
    <Value number="1">DICOM instance already exists, checksum differs</Value></DicomAttribute>
 </Item></DicomAttribute>
</NativeDicomModel>""".encode()


def test_google_answers_a_conflict_in_xml_and_words() -> None:
    said = answer(409, GOOGLE_XML, Content_Type="application/dicom+xml")
    with ScriptedServer(answering(lambda _: said)) as server:
        stored = client(server, "google", path=GOOGLE).store([BytesPart(FILE)], STUDY)
    assert stored.response is not None
    (failed,) = stored.response.failed
    assert (stored.status, failed.sop_instance_uid, failed.reason) == (409, SOP, 272)
    assert "already exists" in failed.text


def test_google_gives_one_instance_bare() -> None:
    bare = answer(200, FILE, Content_Type="application/dicom")
    with (
        ScriptedServer(answering(lambda _: bare)) as server,
        client(server, "google", path=GOOGLE).instance(STUDY, SERIES, SOP) as chunks,
    ):
        assert b"".join(chunks) == FILE
    assert server.seen[0].headers["accept"] == "application/dicom; transfer-syntax=*"


# --- AWS HealthImaging: sections 4 and 5


def test_healthimaging_is_only_asked_for_what_it_has() -> None:
    def respond(request: Request) -> bytes:
        if "metadata" in request.target or "limit" in request.target:
            return results([row(SOP)])
        return answer(200, FILE, Content_Type="application/dicom; transfer-syntax=1.2.840.10008.1.2.4.201")

    with ScriptedServer(answering(respond)) as server:
        ours = client(server, "healthimaging", path=HEALTH_IMAGING)
        for refused in (
            lambda: ours.search("series"),
            lambda: ours.search("instances"),
            lambda: ours.search("instances", study=STUDY),
            lambda: ours.retrieve(STUDY).__enter__(),
            lambda: ours.retrieve(STUDY, SERIES).__enter__(),
            lambda: ours.metadata(STUDY).__enter__(),
        ):
            with pytest.raises(UsageProblem, match="AWS HealthImaging"):
                refused()
        assert server.connections == 0
        assert len(list(ours.search("studies", limit=1))) == 1
        assert len(list(ours.search("series", study=STUDY, limit=1))) == 1
        assert len(list(ours.search("instances", study=STUDY, series=SERIES, limit=1))) == 1
        with ours.metadata(STUDY, SERIES) as found:
            assert len(list(found.datasets)) == 1
        with ours.retrieve(STUDY, SERIES, SOP) as parts:
            assert [b"".join(part.chunks) for part in parts] == [FILE]
        assert ours.present(STUDY, {SOP: SERIES}) == {SOP}


# --- all


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_presence_is_asked_in_a_way_each_kind_has(kind: Kind) -> None:
    wanted = {f"{SOP}.{n}": SERIES for n in range(25)}
    allowed = re.compile(
        rf"/studies(/{STUDY}/series/{SERIES}/instances(/{SOP}.\d+/metadata)?)?(\?.*)?"
        if not kind.searches_across
        else r"/studies.*"
    )
    there = [row(one) for one in list(wanted)[:20]]

    def respond(request: Request) -> bytes:
        assert allowed.fullmatch(request.target.removeprefix(PATHS.get(kind.name, "/v2"))), request.target
        return results(there if "offset=0" in request.target else [])

    with ScriptedServer(answering(respond)) as server:
        ours = client(server, kind.name, path=PATHS.get(kind.name, "/v2"))
        assert ours.present(STUDY, wanted) == set(list(wanted)[:20])

"""Searches: every resource, any attribute, paged to the end of whatever an archive calls a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from dicomsync.dicomweb import Client, Level, close_clients, uid, value
from dicomsync.errors import BadAnswer, NoAnswer, NotThere, Refused, UsageProblem

from .clients import SERIES, SOP, STUDY, asked, client, results, row
from .scripted_server import Peer, Request, ScriptedServer, answer, answering

EMPTY = results([])
IDENTITY = {"studies": "0020000D", "series": "0020000E", "instances": "00080018"}


@pytest.fixture(autouse=True)
def _no_client_is_left_open() -> Iterator[None]:
    yield
    close_clients()


class Paging:
    """Studies, given in pages with the habits of one archive."""

    def __init__(self, count: int, *, cap: int = 10_000, nothing: bytes = EMPTY) -> None:
        self.rows = [row(study=f"1.2.{n}", series="") for n in range(count)]
        self.cap = cap
        self.nothing = nothing

    def __call__(self, request: Request) -> bytes:
        query = {name: int(values[0]) for name, values in parse_qs(urlsplit(request.target).query).items()}
        page = self.rows[query["offset"] : query["offset"] + min(query["limit"], self.cap)]
        return results(page) if page else self.nothing


def found(ours: Client, **how: Any) -> list[str | None]:
    return [uid(one, "0020000D") for one in ours.search("studies", **how)]


def studies(*numbers: int) -> list[str]:
    return [f"1.2.{n}" for n in numbers]


@pytest.mark.parametrize(
    ("level", "where", "path"),
    [
        ("studies", {}, "/studies"),
        ("series", {}, "/series"),
        ("instances", {}, "/instances"),
        ("series", {"study": STUDY}, f"/studies/{STUDY}/series"),
        ("instances", {"study": STUDY}, f"/studies/{STUDY}/instances"),
        ("instances", {"study": STUDY, "series": SERIES}, f"/studies/{STUDY}/series/{SERIES}/instances"),
    ],
)
def test_all_six_resources_can_be_searched(level: Level, where: dict[str, Any], path: str) -> None:
    with ScriptedServer(answering(lambda _: results([row(SOP)]))) as server:
        assert [uid(one, IDENTITY[level]) for one in client(server).search(level, limit=1, **where)]
    assert asked(server) == [f"GET /v2{path}?limit=1&offset=0"]


def test_what_is_searched_for_goes_into_the_query_unharmed() -> None:
    matching = {
        "PatientName": "Müller^A*?",
        "00100020": "a&b=c#d+e %",
        "StudyDate": "20240101-20240131",
        "RequestAttributesSequence.ScheduledProcedureStepID": "7",
        "0040A730.00080100": "x",
        "dBdt": "1",
        "SOPInstanceUID": "1.2,1.3",
    }
    include = ("PatientSex", "00080060", "RequestAttributesSequence.ScheduledProcedureStepID")
    with ScriptedServer(answering(lambda _: EMPTY)) as server:
        assert list(client(server).search("studies", matching=matching, include=include, fuzzy=True)) == []
    query = parse_qsl(urlsplit(server.seen[0].target).query, keep_blank_values=True)
    assert query == [
        *matching.items(),
        *(("includefield", name) for name in include),
        ("fuzzymatching", "true"),
        ("limit", "200"),
        ("offset", "0"),
    ]
    assert "1.2,1.3" in server.seen[0].target


@pytest.mark.parametrize(
    "name",
    ["", "Patient Name", "limit", "OFFSET", "includefield", "a=b", "x&y", "0010002", "Sequence.", ".A",
     "A..B", "Ä", "(0010,0020)", "a" * 65, "A\n"],
)  # fmt: skip
def test_what_is_no_attributes_name_is_not_asked_for(name: str) -> None:
    with ScriptedServer(answering(lambda _: EMPTY)) as server:
        with pytest.raises(UsageProblem):
            client(server).search("studies", matching={name: "x"})
        with pytest.raises(UsageProblem):
            client(server).search("studies", include=("PatientID", name))
    assert server.connections == 0


@pytest.mark.parametrize(
    ("level", "how"),
    [
        ("patients", {}),
        ("studies", {"study": STUDY}),
        ("series", {"study": STUDY, "series": SERIES}),
        ("instances", {"series": SERIES}),
        ("series", {"study": "../1"}),
        ("studies", {"matching": {"PatientID": ""}}),
        ("studies", {"matching": {"PatientID": "x" * 7000}}),
        ("studies", {"limit": 0}),
        ("studies", {"offset": -1}),
    ],
)
def test_what_is_no_search_is_not_asked(level: Any, how: dict[str, Any]) -> None:
    with ScriptedServer(answering(lambda _: EMPTY)) as server, pytest.raises(UsageProblem):
        client(server).search(level, **how)
    assert server.connections == 0


def test_nothing_is_asked_before_a_result_is_taken() -> None:
    with ScriptedServer(answering(Paging(500))) as server:
        search = client(server).search("studies")
        assert server.connections == 0
        assert uid(next(search), "0020000D") == "1.2.0"
    assert len(server.seen) == 1


@pytest.mark.parametrize("nothing", [EMPTY, answer(204)], ids=["[]", "204"])
@pytest.mark.parametrize(("count", "cap"), [(0, 200), (1, 200), (200, 200), (450, 200), (95, 20), (7, 1)])
def test_every_result_comes_once_whatever_the_archive_calls_a_page(
    count: int, cap: int, nothing: bytes
) -> None:
    with ScriptedServer(answering(Paging(count, cap=cap, nothing=nothing))) as server:
        assert found(client(server)) == studies(*range(count))


@pytest.mark.parametrize(("limit", "requests"), [(1, 1), (200, 1), (201, 2), (450, 3), (1000, 4)])
def test_no_more_is_asked_for_than_is_wanted(limit: int, requests: int) -> None:
    with ScriptedServer(answering(Paging(500))) as server:
        assert found(client(server), limit=limit, offset=3) == studies(*range(3, min(3 + limit, 500)))
    assert len(server.seen) == requests
    assert all(int(parse_qs(urlsplit(one).query)["limit"][0]) <= 200 for one in asked(server))


def test_a_page_that_is_larger_than_asked_for_does_not_give_too_many() -> None:
    with ScriptedServer(answering(lambda _: results(Paging(50).rows))) as server:
        assert found(client(server), limit=3) == studies(0, 1, 2)


def test_pages_may_repeat_what_shifted_while_others_store() -> None:
    pages = iter([studies(*range(200)), studies(*range(190, 390)), studies(*range(380, 400)), []])

    def shifting(_: object) -> bytes:
        return results([row(study=one, series="") for one in next(pages)])

    with ScriptedServer(answering(shifting)) as server:
        assert found(client(server)) == studies(*range(400))


def test_an_archive_that_ignores_the_offset_gives_each_once_or_is_found_out() -> None:
    few, many = results(Paging(30).rows), results(Paging(200).rows)
    with ScriptedServer(answering(lambda _: few)) as server:
        assert found(client(server)) == studies(*range(30))
    with ScriptedServer(answering(lambda _: many)) as server:
        search = client(server).search("studies")
        assert len([next(search) for _ in range(200)]) == 200
        with pytest.raises(BadAnswer, match="no end"):
            next(search)


def test_instances_of_one_uid_in_two_series_are_two() -> None:
    rows = [row(SOP, "1.1"), row(SOP, "1.2"), row(SOP, "1.1"), row(SOP, "1.1", "1.9")]
    with ScriptedServer(answering(lambda _: results(rows))) as server:
        series = [uid(one, "0020000E") for one in client(server).search("instances")]
    assert series == ["1.1", "1.2", "1.1"]


def test_a_result_without_its_uid_is_given_all_the_same() -> None:
    with ScriptedServer(answering(lambda _: results([row(study=""), row(study="")]))) as server:
        assert found(client(server)) == [None, None]


def test_what_the_archive_remarks_is_kept_for_a_person() -> None:
    partial = '299 server "partial\x1b[31m results"'

    def respond(request: Request) -> bytes:
        return results([row()], Warning=partial, Erroneous_Dicom_Attributes="00100030")

    with ScriptedServer(answering(respond)) as server:
        search = client(server).search("studies")
        assert search.warnings == []
        assert len(list(search)) == 1
    assert len(search.warnings) == 2
    assert "partial [31m results" in search.warnings[0]
    assert "00100030" in search.warnings[1]


def test_orthanc_is_known_to_drop_what_it_does_not_know() -> None:
    with ScriptedServer(answering(lambda _: EMPTY)) as server:
        for name, warned in (("PatientID", 0), ("00181030", 0), ("PatientNam", 1), ("A.B", 1)):
            assert len(client(server, "orthanc").search("studies", matching={name: "x"}).warnings) == warned
            assert client(server).search("studies", matching={name: "x"}).warnings == []


def test_orthanc_gets_raw_what_it_would_not_decode() -> None:
    with ScriptedServer(answering(lambda _: EMPTY)) as server:
        for kind in ("orthanc", "generic"):
            search = client(server, kind).search("studies", matching={"PatientName": "Demo^Anna?*"})
            assert list(search) == []
            assert search.warnings == []
        blank = client(server, "orthanc").search("studies", matching={"PatientName": "A B&c"})
        assert list(blank) == []
    assert "put ?" in blank.warnings[0]
    assert [one.partition("=")[2].partition("&")[0] for one in asked(server)] == [
        "Demo^Anna?*",
        "Demo%5EAnna?*",
        "A%20B%26c",
    ]


def test_a_404_is_no_empty_result_before_the_base_url_is_proved() -> None:
    def only_below(request: Request) -> bytes:
        return answer(404) if "/series" in request.target else EMPTY

    with ScriptedServer(answering(only_below)) as server:
        assert list(client(server).search("series", study=STUDY)) == []
    with ScriptedServer(answering(lambda _: answer(404))) as server, pytest.raises(NotThere):
        found(client(server))


@pytest.mark.parametrize(
    ("status", "words"), [(400, "names and values"), (413, "narrow"), (401, "credential")]
)
def test_a_refused_search_is_told_with_what_to_do(status: int, words: str) -> None:
    with ScriptedServer(answering(lambda _: answer(status))) as server, pytest.raises(Refused) as caught:
        found(client(server))
    assert words in caught.value.hint


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[1]", b"[{}"])
def test_what_is_no_dicom_json_is_a_bad_answer(body: bytes) -> None:
    with ScriptedServer(answering(lambda _: answer(200, body))) as server, pytest.raises(BadAnswer):
        found(client(server))


def test_a_search_that_breaks_off_does_not_end() -> None:
    whole = Paging(400)

    def breaking(peer: Peer) -> None:
        for missing in (0, 1):
            request = peer.request()
            assert request is not None
            said = whole(request)
            peer.send(said[: len(said) - missing])

    with ScriptedServer(breaking) as server:
        search = client(server).search("studies")
        assert len([next(search) for _ in range(200)]) == 200
        with pytest.raises(NoAnswer):
            next(search)


def test_values_are_shown_to_a_person_as_one_line() -> None:
    dataset: dict[str, Any] = {
        "00100010": {"vr": "PN", "Value": [{"Ideographic": "山田", "Alphabetic": "Yamada^T\x1b["}, {}]},
        "00280010": {"vr": "US", "Value": [512]},
        "00080060": {"vr": "CS", "Value": ["CT", None, "MR"]},
        "00080061": {"vr": "CS"},
        "00081115": {"vr": "SQ", "Value": [{}]},
    }
    shown = [value(dataset, tag) for tag in [*dataset, "00100020"]]
    assert shown == ["Yamada^T [", "512", "CT\\MR", "", "", ""]

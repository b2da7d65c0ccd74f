"""Asking an archive what it has, for an instance, and what it is; absence is never guessed."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dicomsync.dicomweb import Client, Identified, close_clients
from dicomsync.errors import BadAnswer, NoAnswer, NotThere, Refused, UsageProblem

from .clients import SERIES, STUDY, client, files, results, row
from .scripted_server import Peer, Request, ScriptedServer, answer, answering


@pytest.fixture(autouse=True)
def _no_client_is_left_open() -> Iterator[None]:
    yield
    close_clients()


class FakeArchive:
    """Answers searches as PS3.18 says, with the habits of one kind of server."""

    def __init__(self, rows: list[dict[str, Any]], *, own_limit: int = 200, nothing: bytes = b"") -> None:
        self.rows = rows
        self.own_limit = own_limit
        self.nothing = nothing or results([])

    def __call__(self, request: Request) -> bytes:
        url = urlsplit(request.target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        path = url.path.removeprefix("/v2/").split("/")
        found = self.rows
        if path[-1] == "metadata":
            found = [one for one in found if one["00080018"]["Value"] == [path[-2]]]
            return results(found) if found else answer(404, b"not found")
        if "series" in path:
            found = [one for one in found if one["0020000E"]["Value"] == [path[path.index("series") + 1]]]
        if "SOPInstanceUID" in query:
            wanted = query["SOPInstanceUID"].split(",")
            found = [one for one in found if one["00080018"]["Value"][0] in wanted]
        offset = int(query.get("offset", 0))
        page = found[offset : offset + min(int(query["limit"]), self.own_limit)]
        return results(page) if page else self.nothing


def uids(count: int, start: int = 0) -> dict[str, str]:
    return {f"{SERIES}.{n}": SERIES for n in range(start, start + count)}


@pytest.mark.parametrize("kind", ["orthanc", "dicom-server", "generic"])
@pytest.mark.parametrize("nothing", [results([]), answer(204)], ids=["200", "204"])
@pytest.mark.parametrize("count", [1, 10, 500])
def test_what_is_there_is_told_from_what_is_not(kind: str, nothing: bytes, count: int) -> None:
    there = [row(sop) for sop in uids(count)]
    with ScriptedServer(answering(FakeArchive(there, nothing=nothing))) as server:
        ours = client(server, kind)
        assert ours.present(STUDY, uids(count)) == frozenset(uids(count))
        assert ours.present(STUDY, uids(count, count)) == frozenset()
        assert ours.present(STUDY, uids(count, count // 2)) == frozenset(uids(count - count // 2, count // 2))
        assert ours.present(STUDY, {}) == frozenset()
    assert max(len(request.target) for request in server.seen) < 6100


def test_one_search_is_enough_for_a_batch_where_lists_of_uids_are_understood() -> None:
    with ScriptedServer(answering(FakeArchive([]))) as server:
        client(server, "orthanc").present(STUDY, uids(50))
    assert len(server.seen) == 1


def test_a_server_with_a_smaller_page_of_its_own_is_read_to_the_end() -> None:
    there = [row(sop) for sop in uids(95)]
    with ScriptedServer(answering(FakeArchive(there, own_limit=20))) as server:
        assert client(server).present(STUDY, uids(100)) == frozenset(uids(95))


def test_a_server_that_ignores_the_offset_is_found_out() -> None:
    page = results([row(f"9.{n}") for n in range(200)])
    with ScriptedServer(answering(lambda _: page)) as server, pytest.raises(BadAnswer, match="repeats"):
        client(server).present(STUDY, uids(20))


@pytest.mark.parametrize(
    "wrong",
    [
        row(f"{SERIES}.0", study="1.9"),
        row(f"{SERIES}.0", series="1.9"),
        row("1.9"),
        {},
        {"00080018": {"vr": "UI", "Value": [f"{SERIES}.0", "1.9"]}},
        {**row(f"{SERIES}.0"), "0020000E": {"vr": "UI"}},
    ],
)
@pytest.mark.parametrize("kind", ["orthanc", "generic"])
def test_a_row_about_something_else_is_not_believed(kind: str, wrong: dict[str, Any]) -> None:
    with ScriptedServer(answering(lambda _: results([wrong]))) as server:
        assert client(server, kind).present(STUDY, uids(11)) == frozenset()


def test_a_row_may_leave_out_what_the_path_has_said() -> None:
    with ScriptedServer(answering(lambda _: results([row(f"{SERIES}.0", series="", study="")]))) as server:
        assert client(server).present(STUDY, uids(11)) == {f"{SERIES}.0"}


def test_metadata_of_another_instance_is_a_bad_answer() -> None:
    with ScriptedServer(answering(lambda _: results([row("1.9")]))) as server, pytest.raises(BadAnswer):
        client(server).present(STUDY, uids(1))


@pytest.mark.parametrize("count", [1, 11])
@pytest.mark.parametrize("kind", ["orthanc", "generic"])
def test_a_404_at_a_wrong_address_is_no_absence(kind: str, count: int) -> None:
    with (
        ScriptedServer(answering(lambda _: answer(404, b"nothing here"))) as server,
        pytest.raises(NotThere) as caught,
    ):
        client(server, kind).present(STUDY, uids(count))
    assert "/dicom-web" in caught.value.hint
    assert "studies?limit=1" in server.seen[-1].target


@pytest.mark.parametrize("count", [1, 11])
@pytest.mark.parametrize("status", [301, 400, 401, 403, 405, 429, 500, 503])
def test_a_refusal_is_neither_presence_nor_absence(status: int, count: int) -> None:
    with (
        ScriptedServer(answering(lambda _: answer(status, b"DOE^JOHN", Retry_After="9"))) as server,
        pytest.raises(Refused) as caught,
    ):
        client(server).present(STUDY, uids(count))
    error = caught.value
    assert (error.status, error.retry_after_seconds) == (status, 9.0)
    assert error.hint
    shown = "".join(traceback.format_exception(error))
    assert "DOE" not in shown
    assert not any(sop in f"{error} {error.hint}" for sop in uids(count))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Sign in</html>", b"{}", b"null", b"[1]", b'{"errorMessage": "no"}', b"[" * 100_000, b"[{}"],
)
@pytest.mark.parametrize("count", [1, 11])
def test_what_is_no_dicom_json_is_neither_presence_nor_absence(body: bytes, count: int) -> None:
    with ScriptedServer(answering(lambda _: answer(200, body))) as server, pytest.raises(BadAnswer):
        client(server).present(STUDY, uids(count))


def test_an_oversized_search_answer_is_not_read() -> None:
    with ScriptedServer(answering(lambda _: results([row("1.9")] * 100))) as server, pytest.raises(BadAnswer):
        client(server, response_cap_bytes=1000).present(STUDY, uids(1))


@pytest.mark.parametrize("bad", ["../x", "", "..", "1.2?x=1", "1.2,1.3", "1" * 65, "1.2\n", "1.٢"])
def test_only_uids_go_into_urls(bad: str) -> None:
    with ScriptedServer(answering(lambda _: results([]))) as server:
        ours = client(server)
        for attempt in ((bad, uids(1)), (STUDY, {bad: SERIES}), (STUDY, {"1.2": bad})):
            with pytest.raises(UsageProblem):
                ours.present(*attempt)
        for path in ((bad, "1", "1"), ("1", bad, "1"), ("1", "1", bad)):
            with pytest.raises(UsageProblem), ours.instance(*path):
                pass
    assert server.connections == 0


# --- one instance

FILE = bytes(range(256)) * 3000


def single(request: Request) -> bytes:
    if request.headers["accept"] != "application/dicom; transfer-syntax=*":
        return answer(406)
    return answer(200, FILE, Content_Type="application/dicom")


def multipart(request: Request, payloads: Sequence[bytes] = (FILE,)) -> bytes:
    if request.headers["accept"] != 'multipart/related; type="application/dicom"; transfer-syntax=*':
        return answer(400, b"cannot generate application/dicom")
    return files(*payloads)


def retrieved(ours: Client) -> bytes:
    with ours.instance(STUDY, SERIES, "1.2.3") as chunks:
        return b"".join(chunks)


@pytest.mark.parametrize(("respond", "requests"), [(single, 2), (multipart, 3)])
def test_an_instance_comes_as_it_was_stored_and_what_worked_is_asked_first(
    respond: Callable[[Request], bytes], requests: int
) -> None:
    with ScriptedServer(answering(respond)) as server:
        ours = client(server)
        assert retrieved(ours) == FILE
        assert retrieved(ours) == FILE
    assert len(server.seen) == requests
    assert server.seen[0].target == f"/v2/studies/{STUDY}/series/{SERIES}/instances/1.2.3"
    assert all("transfer-syntax=*" in request.headers["accept"] for request in server.seen)


def test_orthanc_is_asked_for_multipart_at_once() -> None:
    with ScriptedServer(answering(multipart)) as server:
        assert retrieved(client(server, "orthanc")) == FILE
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [404, 410])
def test_an_instance_that_is_not_there_is_told_with_its_status(status: int) -> None:
    with ScriptedServer(answering(lambda _: answer(status))) as server, pytest.raises(NotThere) as caught:
        retrieved(client(server))
    assert caught.value.status == status


@pytest.mark.parametrize("status", [206, 302, 400, 401, 406, 500])
def test_an_instance_that_is_refused_is_not_absent(status: int) -> None:
    with ScriptedServer(answering(lambda _: answer(status))) as server, pytest.raises(Refused) as caught:
        retrieved(client(server))
    assert not isinstance(caught.value, NotThere)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "said",
    [
        answer(200, b"<html>", Content_Type="text/html"),
        answer(200, b"[]", Content_Type="application/dicom+json"),
        answer(200, b"", Content_Type="application/dicom"),
        answer(200, FILE, Content_Type="application/dicom", Content_Encoding="gzip"),
        answer(200, FILE, Content_Type="multipart/related"),
        answer(200, FILE, Content_Type="multipart/related; boundary=x"),
        answer(200, b"--x--", Content_Type="multipart/related; boundary=x"),
        answer(200, b"--x\r\n\r\na\r\n--x\r\n\r\nb\r\n--x--", Content_Type="multipart/related; boundary=x"),
    ],
)
def test_what_is_no_single_file_is_a_bad_answer(said: bytes) -> None:
    with ScriptedServer(answering(lambda _: said)) as server, pytest.raises(BadAnswer):
        retrieved(client(server))


def test_a_file_that_breaks_off_is_no_file() -> None:
    def script(peer: Peer) -> None:
        request = peer.request()
        assert request is not None
        peer.send(single(request)[:-1])

    with ScriptedServer(script) as server, pytest.raises(NoAnswer) as caught:
        retrieved(client(server))
    assert caught.value.why == "broken"


def test_a_file_that_drips_in_is_cut_off_but_a_slow_reader_is_not() -> None:
    def drip(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom\r\nContent-Length: 100000\r\n\r\n")
        peer.drip(b"y" * 100_000, 0.01)

    with ScriptedServer(drip) as server, pytest.raises(NoAnswer) as caught:
        retrieved(client(server, idle_timeout=0.3))
    assert caught.value.why == "timeout"
    with (
        ScriptedServer(answering(single)) as server,
        client(server, idle_timeout=0.3).instance(STUDY, SERIES, "1.2.3") as chunks,
    ):
        first = next(chunks)
        server.wait(0.5)
        assert first + b"".join(chunks) == FILE


def test_an_instance_may_be_left_half_read() -> None:
    with ScriptedServer(answering(single)) as server:
        ours = client(server)
        with ours.instance(STUDY, SERIES, "1.2.3") as chunks:
            next(chunks)
        assert retrieved(ours) == FILE


# --- what it is


def as_kind(**routes: bytes) -> Callable[[Request], bytes]:
    def respond(request: Request) -> bytes:
        path = urlsplit(request.target).path
        return routes.get(path.rpartition("/")[2], answer(404)) if path != "/v2/studies" else answer(204)

    return respond


ENTRY = {"sequence": 1, "studyInstanceUid": "1.2", "action": "create"}


@pytest.mark.parametrize(
    ("routes", "identified"),
    [
        ({"changefeed": results([])}, ("dicom-server", "Medical Imaging Server")),
        ({"changefeed": results([ENTRY])}, ("dicom-server", "Medical Imaging Server")),
        ({"changefeed": results([{"Sequence": 1}])}, ("dicom-server", "Medical Imaging Server")),
        ({"changefeed": results([{"error": 1}])}, ("generic", "DICOMweb")),
        ({"changefeed": answer(200, b"<html>"), "system": answer(200, b"<html>")}, ("generic", "DICOMweb")),
        ({"changefeed": answer(401), "system": answer(500)}, ("generic", "DICOMweb")),
        ({}, ("generic", "DICOMweb")),
        (
            {"system": answer(200, b'{"ApiVersion": 16, "DicomAet": "X", "Version": "1.10.1"}')},
            ("orthanc", "Orthanc 1.10.1"),
        ),
        (
            {"system": answer(200, b'{"ApiVersion": 16, "DicomAet": "X", "Version": "\\u001b["}')},
            ("orthanc", "Orthanc"),
        ),
        ({"system": answer(200, b'{"ApiVersion": 16}')}, ("generic", "DICOMweb")),
    ],
)
def test_an_archive_is_known_by_what_only_its_kind_offers(
    routes: dict[str, bytes], identified: tuple[str, str]
) -> None:
    with ScriptedServer(answering(as_kind(**routes))) as server:
        ours = client(server, "auto")
        found = ours.identify()
    assert found.kind == identified[0] == ours.kind.name
    assert identified[1] in found.says
    assert found.says.isprintable()


def test_orthanc_is_looked_for_beside_its_dicomweb_root() -> None:
    with ScriptedServer(answering(as_kind())) as server:
        client(server, "auto").identify()
    assert "/system" in [request.target for request in server.seen]


def test_a_configured_kind_is_not_asked_for() -> None:
    with ScriptedServer(answering(as_kind())) as server:
        assert client(server, "orthanc").identify() == Identified("orthanc", "Orthanc, as configured")
    assert [request.target for request in server.seen] == ["/v2/studies?limit=1"]


@pytest.mark.parametrize("status", [302, 401, 403, 404, 405, 406, 415, 500])
def test_what_refuses_the_first_search_is_told_with_what_to_do(status: int) -> None:
    with ScriptedServer(answering(lambda _: answer(status))) as server, pytest.raises(Refused) as caught:
        client(server, "auto").identify()
    assert caught.value.status == status
    assert caught.value.hint.endswith((".", "?", ")"))


def test_a_page_that_is_not_dicomweb_is_told() -> None:
    with ScriptedServer(answering(lambda _: answer(200, b"<html>"))) as server, pytest.raises(BadAnswer):
        client(server, "auto").identify()

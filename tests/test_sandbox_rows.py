"""Each row of the fault matrix that an HTTP server can show has a fault of the sandbox that shows it.

S rows are what an archive may mean, N rows what a network may do; the numbers are the matrix's own.
"""

from __future__ import annotations

import gzip
import io
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pydicom
import pytest

from dicomsync import sandbox
from dicomsync.sandbox import Archive
from dicomsync.sandbox.faults import Faults
from dicomsync.sandbox.kinds import KINDS
from tests.test_sandbox_support import (
    AS_STORED,
    CT,
    JSON,
    PLAIN,
    STORE,
    dicom,
    eventually,
    failed,
    get,
    post,
    referenced,
    related,
)

POISON = "poison-uid=1.2.3.5"
ROWS: dict[str, tuple[tuple[str, ...], ...]] = {
    "N1 nobody there": (("down",),),
    "N2 slow link": (("throttle=1000",), ("drip=0.01",)),
    "N3 hang, at any point": (("latency=900",), ("hang-after=0",), ("hang-after=100",), ("stall=900",)),
    "N4 reset after n body bytes": (("reset-after=0",), ("reset-after=1",), ("reset-after=99999999",)),
    "N5 half-close": (("half-close",),),
    "N6 early 200": (("early-200",), ("deaf=200",)),
    "N7 early 401 and 413": (("unauthorized",), ("too-large=1000",), ("deaf=401",), ("deaf=413",)),
    "N8 answer cut short": (("cut-answer",), ("truncated-json",), ("lost-answer",)),
    "N9 drip": (("drip=0.1",),),
    "N10 stale connection": (("stale",),),
    "N13 malformed HTTP": tuple(
        (f"malformed={how}",) for how in ("two-lengths", "bad-chunk", "many-headers", "endless-1xx")
    ),
    "N14 slices": (("drip=0",),),
    "S1 429 and 503 with any Retry-After": tuple(
        (f"status={status};retry-after={after}",)
        for status in (429, 503)
        for after in ("2", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "1e99", "NaN")
    ),
    "S2 token that ends": (("unauthorized@5-",), ("token=new@any:5-",)),
    "S3 403 for ever": (("forbidden",),),
    "S4 400 though all but one were stored": (("mixed-batch", POISON),),
    "S5 202 and 204 without a body": (("blank=202",), ("blank=204",), ("status=204",), ("empty-200",)),
    "S6 redirect": (("redirect=http://127.0.0.1:9/elsewhere",), ("redirect=/v2/studies",)),
    "S7 lying 200": (("liar",),),
    "S8 silence, foreign UIDs, wrong class": (("silent=2",), ("foreign",), ("wrong-class",)),
    "S9 garbage": (
        ("html-200",),
        *(
            (f"garbage={how}",)
            for how in ("xml", "strings", "nan", "twice", "bom", "latin-1", "nesting", "nulls")
        ),
    ),
    "S10 huge and deep": (("huge=1073741824",), ("garbage=bomb",), ("garbage=deep",)),
    "S11 answer lost after the work": (("lost-answer",), ("disown=504",)),
    "S12 duplicate, same bytes": (("hide-duplicates",),),
    "S13 duplicate, other bytes": (("hide-duplicates",),),
    "S14 second store removes both": (("double-kill",),),
    "S15 45071 for a while": (("reason=45071@1-9",),),
    "S16 413": (("too-large=1048576",),),
    "S17 full": (("reason=A700H",), ("status=507",)),
    "S18 reads lag behind": (("lag=20@retrieve", "lag=60@search"),),
    "S19 coerced, zeroed preamble, transcoded": (("coerce",), ("zero-preamble",), ("transcode",)),
    "S20 archive loses instances": (("recycle=100",),),
    "S21 another archive under the same address": (("emptied",),),
    "S22 500 for one instance": (("refuse-batch=500", POISON),),
    "S23 comment with patient data": (("tattle",),),
    "S24 hostile Retrieve URL": (("retrieve-url=http://127.0.0.1:9/evil",),),
}
NOT_HERE = {"N11": "the sandbox has no TLS", "N12": "it is about the client's environment"}
EXTRA = {"not-found", "basic", "refuse-uid"}  # configuration trouble and definite refusals, of no row

PATH = "/studies/1.2.3/series/1.2.3.1/instances/1.2.3.4"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with sandbox.running(tmp_path / "archive") as archive:
        yield archive


def store(archive: Archive, *faults: str) -> httpx.Response:
    archive.set_faults(faults)
    return post(archive.url, dicom("1.2.3.4"), dicom("1.2.3.5"), dicom("1.2.3.6"))


def test_every_row_has_its_faults_and_every_fault_its_row() -> None:
    numbers = {f"N{number}" for number in range(1, 15)} | {f"S{number}" for number in range(1, 25)}
    assert {row.split()[0] for row in ROWS} | set(NOT_HERE) == numbers
    sets = [specs for row in ROWS.values() for specs in row]
    shown = {spec.partition("=")[0].partition("@")[0] for specs in sets for spec in specs}
    assert shown | EXTRA == set(KINDS)
    for specs in sets:
        assert Faults(specs).specs == specs


# N rows


def test_a_throttled_body_is_read_slowly_and_stored(archive: Archive) -> None:
    archive.set_faults([f"throttle={len(related(dicom())) * 4}"])
    began = time.monotonic()
    assert post(archive.url, dicom()).status_code == 200
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("fault", ["hang-after=0", "hang-after=100000", "deaf=413"])
def test_what_hangs_stays_connected_and_reads_no_more(archive: Archive, fault: str) -> None:
    archive.set_faults([f"{fault}@1"])
    with pytest.raises(httpx.TimeoutException), httpx.Client(**{**PLAIN, "timeout": 0.5}) as client:
        client.post(f"{archive.url}/studies", content=bytes(64 << 20), headers=STORE)
    assert archive.requests[0].body_bytes < 64 << 20
    assert post(archive.url, dicom()).status_code == 200


def test_a_deaf_archive_has_answered_before_the_body(archive: Archive) -> None:
    archive.set_faults(["deaf=401"])
    with talk(archive, "POST /v2/studies HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n") as connection:
        got = b""
        while not got.endswith(b"Status 401 on request"):
            got += connection.recv(999)
        assert got.startswith(b"HTTP/1.1 401")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)


def test_a_half_close_ends_one_side_and_reads_the_other(archive: Archive) -> None:
    archive.set_faults(["half-close"])
    with talk(archive, "POST /v2/studies HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n") as connection:
        assert connection.recv(1) == b""
        connection.sendall(b"x" * 99)
        eventually(lambda: archive.requests[-1].body_bytes == 99)
    with pytest.raises(httpx.RemoteProtocolError):
        store(archive, "half-close")
    assert archive.stored() == {}


def talk(archive: Archive, text: str) -> socket.socket:
    host, port = archive.url.removeprefix("http://").removesuffix("/v2").split(":")
    connection = socket.create_connection((host, int(port)), timeout=5)
    connection.sendall(text.encode())
    return connection


def test_a_cut_answer_is_shorter_than_announced(archive: Archive) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
        store(archive, "cut-answer")
    archive.set_faults(["cut-answer@retrieve"])  # of metadata the length is not told
    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
        metadata(archive)
    assert len(archive.stored()) == 3


def metadata(archive: Archive) -> httpx.Response:
    return get(archive.url, "/studies/1.2.3/metadata")


def test_a_dripping_answer_comes_byte_by_byte(archive: Archive) -> None:
    archive.set_faults(["drip=0.001@any"])
    began = time.monotonic()
    answer = post(archive.url, dicom())
    assert (answer.status_code, referenced(answer)) == (200, ["1.2.3.4"])
    assert time.monotonic() - began >= len(answer.content) * 0.001
    assert len(metadata(archive).json()) == 1
    archive.set_faults(["drip=0@retrieve"])
    assert get(archive.url, PATH, AS_STORED["accept"]).content == dicom()


def test_a_stale_connection_is_closed_when_it_is_used_again(archive: Archive) -> None:
    archive.set_faults(["stale"])
    with httpx.Client(**PLAIN, headers={"accept": JSON}) as client:
        assert client.get(f"{archive.url}/studies").status_code == 204
        with pytest.raises(httpx.RemoteProtocolError):
            client.post(f"{archive.url}/studies", content=related(dicom()), headers=STORE)
        assert client.get(f"{archive.url}/studies").status_code == 204
    assert archive.stored() == {}


@pytest.mark.parametrize("how", ["two-lengths", "bad-chunk", "many-headers"])
def test_malformed_http_is_no_answer_to_a_strict_client(archive: Archive, how: str) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        store(archive, f"malformed={how}")
    assert archive.stored() == {}


def test_interim_answers_have_no_end(archive: Archive) -> None:
    archive.set_faults(["malformed=endless-1xx"])
    with talk(archive, "GET /v2/studies HTTP/1.1\r\nHost: x\r\n\r\n"):
        pass  # searches are not concerned
    with talk(archive, "POST /v2/studies HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n") as connection:
        got = 0
        while got < 200_000:
            got += len(connection.recv(65_536))


# S rows


@pytest.mark.parametrize("status", [202, 204])
def test_a_blank_answer_follows_work_that_was_done(archive: Archive, status: int) -> None:
    answer = store(archive, f"blank={status}")
    assert (answer.status_code, answer.content) == (status, b"")
    assert len(archive.stored()) == 3


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none(archive: Archive, status: int) -> None:
    answer = store(archive, f"status={status}")
    assert (answer.status_code, answer.content) == (status, b"")
    assert archive.stored() == {}


def test_a_disowned_store_was_done_all_the_same(archive: Archive) -> None:
    answer = store(archive, "disown=504@1")
    assert (answer.status_code, answer.headers["content-type"]) == (504, "text/plain")
    assert len(archive.stored()) == 3


def test_a_redirect_names_another_address(archive: Archive) -> None:
    answer = store(archive, "redirect=http://a@b.example/x")
    assert (answer.status_code, answer.headers["location"]) == (307, "http://a@b.example/x")
    assert archive.stored() == {}


@pytest.mark.parametrize(("spec", "status"), [("mixed-batch", 400), ("mixed-batch=409", 409)])
def test_a_mixed_batch_is_stored_but_for_one_which_is_not_mentioned(
    archive: Archive, spec: str, status: int
) -> None:
    answer = store(archive, spec, POISON)
    assert (answer.status_code, referenced(answer), failed(answer)) == (status, ["1.2.3.4", "1.2.3.6"], [])
    assert set(archive.stored()) == {"1.2.3.4", "1.2.3.6"}


def test_another_class_is_named(archive: Archive) -> None:
    [item, *_] = store(archive, "wrong-class").json()["00081199"]["Value"]
    assert item["00081150"]["Value"] != [CT]
    assert item["00081155"]["Value"] == ["1.2.3.4"]
    assert len(archive.stored()) == 3


def test_each_kind_of_garbage_is_what_it_says(archive: Archive) -> None:
    def spoilt(how: str) -> bytes:
        archive.set_faults([f"garbage={how}@1"])
        answer = post(archive.url, dicom(f"1.2.4.{len(archive.stored())}", PatientID=""))
        assert answer.status_code == 202
        return answer.content

    def warning(body: bytes) -> object:
        return json.loads(body)["00081199"]["Value"][0]["00081196"]["Value"][0]

    assert spoilt("xml").startswith(b"<?xml")
    assert warning(spoilt("strings")) == "1"
    assert b"NaN" in spoilt("nan")
    assert spoilt("twice").count(b'"00081199"') == 2
    assert spoilt("bom").startswith(b"\xef\xbb\xbf{")
    with pytest.raises(UnicodeDecodeError):
        spoilt("latin-1").decode()
    assert isinstance(json.loads(spoilt("nesting"))["00081199"]["Value"][0], list)
    assert warning(spoilt("nulls")) is None
    assert spoilt("deep") == b"[" * 100_000 + b"]" * 100_000
    assert len(archive.stored()) == 9


def test_a_bomb_is_small_until_it_is_unpacked(archive: Archive) -> None:
    archive.set_faults(["garbage=bomb"])
    with httpx.stream(
        "POST", f"{archive.url}/studies", content=related(dicom()), headers=STORE, **PLAIN
    ) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        packed = b"".join(answer.iter_raw())
    assert len(packed) < 1 << 20
    with gzip.open(io.BytesIO(packed)) as unpacked:
        assert sum(len(piece) for piece in iter(lambda: unpacked.read(1 << 20), b"")) > 200 << 20


def test_a_huge_answer_is_as_long_as_asked(archive: Archive) -> None:
    answer = store(archive, "huge=5000000")
    assert len(answer.content) > 5_000_000
    assert referenced(answer) == ["1.2.3.4", "1.2.3.5", "1.2.3.6"]


def test_a_second_store_of_the_same_loses_both(archive: Archive) -> None:
    assert len(referenced(store(archive, "double-kill"))) == 3
    again = post(archive.url, dicom(), dicom("1.2.3.9"))
    assert (again.status_code, referenced(again)) == (200, ["1.2.3.4", "1.2.3.9"])
    assert set(archive.stored()) == {"1.2.3.5", "1.2.3.6", "1.2.3.9"}


def test_what_was_stored_shows_only_later(archive: Archive) -> None:
    store(archive, "lag=900@search", "lag=900@retrieve")
    assert [get(archive.url, path).status_code for path in ("/studies", "/series", "/instances")] == [204] * 3
    assert get(archive.url, PATH, "*/*").status_code == 404
    assert metadata(archive).status_code == 404
    archive.set_faults(["lag=0.05@search"])
    eventually(lambda: get(archive.url, "/instances").status_code == 200)
    assert len(metadata(archive).json()) == 3
    archive.set_faults([])
    assert len(get(archive.url, "/instances").json()) == 3


def test_an_emptied_archive_shows_nothing_and_comes_back(archive: Archive) -> None:
    store(archive)
    archive.set_faults(["emptied"])
    assert get(archive.url, "/studies").status_code == 204
    assert metadata(archive).status_code == 404
    archive.set_faults([])
    assert get(archive.url, "/studies").status_code == 200


def test_the_oldest_are_recycled(archive: Archive) -> None:
    assert len(referenced(store(archive, "recycle=2"))) == 3
    assert set(archive.stored()) == {"1.2.3.5", "1.2.3.6"}
    assert get(archive.url, PATH, "*/*").status_code == 404


def test_a_zeroed_preamble_is_all_that_changes(archive: Archive) -> None:
    archive.set_faults(["zero-preamble"])
    assert post(archive.url, b"II*\0" + bytes([7]) * 124 + dicom()[128:]).status_code == 200
    assert get(archive.url, PATH, AS_STORED["accept"]).content == bytes(128) + dicom()[128:]


def test_a_coerced_instance_is_kept_changed_and_warned_of(archive: Archive) -> None:
    answer = store(archive, "coerce")
    assert answer.status_code == 202
    assert answer.json()["00081199"]["Value"][0]["00081196"]["Value"] == [45056]
    kept = pydicom.dcmread(archive.stored()["1.2.3.4"].path)
    assert kept.InstitutionName == "Sandbox"
    assert (
        get(archive.url, PATH, AS_STORED["accept"]).content == archive.stored()["1.2.3.4"].path.read_bytes()
    )


def test_a_transcoded_instance_is_kept_in_another_syntax(archive: Archive) -> None:
    assert store(archive, "transcode").status_code == 200
    answer = get(archive.url, PATH, AS_STORED["accept"])
    assert answer.headers["content-type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2"
    kept, sent = (pydicom.dcmread(io.BytesIO(content)) for content in (answer.content, dicom()))
    assert (kept.SOPInstanceUID, kept.PixelData) == (sent.SOPInstanceUID, sent.PixelData)


def test_a_tattling_archive_puts_the_patient_into_its_comment(archive: Archive) -> None:
    answer = store(archive, "tattle")
    assert (answer.status_code, failed(answer)[0]) == (409, ("1.2.3.4", 43264))
    comment = answer.json()["00081198"]["Value"][0]["00741048"]["Value"][0]["00000902"]["Value"][0]
    assert comment.startswith("Doe^Jane\r\n")
    assert "\x1b[" in comment


def test_retrieve_urls_lead_elsewhere(archive: Archive) -> None:
    [item, *_] = store(archive, "retrieve-url=http://evil.example/v2").json()["00081199"]["Value"]
    assert item["00081190"]["Value"] == [f"http://evil.example/v2{PATH}"]


def test_deletes_have_faults_of_their_own(archive: Archive) -> None:
    store(archive)
    archive.set_faults(["status=503@delete:1", "lost-answer@delete:2"])
    assert httpx.delete(archive.url + PATH, **PLAIN).status_code == 503
    assert len(archive.stored()) == 3
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.delete(archive.url + PATH, **PLAIN)
    assert len(archive.stored()) == 2

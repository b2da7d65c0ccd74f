"""The sandbox misbehaves as it is told, for the requests it is told, and no others."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dicomsync import sandbox
from dicomsync.errors import UsageProblem
from dicomsync.sandbox import Archive
from dicomsync.sandbox.faults import Fault, parse
from dicomsync.sandbox.kinds import KINDS
from tests.test_sandbox_support import (
    AS_STORED,
    BOUNDARY,
    JSON,
    PLAIN,
    STORE,
    dicom,
    failed,
    get,
    post,
    referenced,
    related,
)

PATH = "/studies/1.2.3/series/1.2.3.1/instances/1.2.3.4"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with sandbox.running(tmp_path / "archive") as archive:
        yield archive


def store(archive: Archive, *faults: str, **headers: Any) -> httpx.Response:
    archive.set_faults(faults)
    return post(archive.url, dicom("1.2.3.4"), dicom("1.2.3.5"), dicom("1.2.3.6"), **headers)


DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


# The language


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("liar", Fault("liar")),
        ("status=503@1-3", Fault("status", "503", last=3)),
        ("status=429;retry-after=2@2", Fault("status", "429", retry_after="2", first=2, last=2)),
        (
            f"status=503;retry-after={DATE}@1",
            Fault("status", "503", DATE, last=1),
        ),
        ("silent=2@4-", Fault("silent", "2", first=4)),
        ("lost-answer@every:5", Fault("lost-answer", every=5)),
        ("status=500@search", Fault("status", "500", scope="search")),
        ("status=500@retrieve:every:2", Fault("status", "500", scope="retrieve", every=2)),
        ("latency=.5", Fault("latency", ".5", scope="any")),
        ("down@2-4", Fault("down", scope="any", first=2, last=4)),
        ("reason=A700H", Fault("reason", "A700H")),
        ("basic=me:pass@word", Fault("basic", "me:pass@word", scope="any")),
        ("token=a@b@store:1", Fault("token", "a@b", scope="store", last=1)),
        ("refuse-batch", Fault("refuse-batch")),
        ("refuse-batch=500", Fault("refuse-batch", "500")),
    ],
)
def test_a_spec_is_read(spec: str, fault: Fault) -> None:
    assert parse(spec) == fault


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "no fault"),
        ("nonsense", "no fault 'nonsense'"),
        ("status", "needs a status"),
        ("status=99", "needs a status"),
        ("status=503;soon", "unknown"),
        ("status=503;retry-after=", "unknown"),
        ("liar=1", "takes no argument"),
        ("silent=0", "needs a number from 1"),
        ("stall=soon", "needs seconds"),
        ("refuse-uid=abc", "needs a UID"),
        ("basic=nobody", "needs user:password"),
        ("liar@search", "cannot apply to 'search'"),
        ("status=503@yesterday", "does not say which requests"),
        ("status=503@0", "does not say which requests"),
        ("status=503@3-1", "ends before it begins"),
    ],
)
def test_a_spec_that_cannot_be_read_says_what_would_be_right(spec: str, words: str) -> None:
    with pytest.raises(UsageProblem, match=words) as told:
        parse(spec)
    assert told.value.hint


def test_poison_needs_what_refuses_it(tmp_path: Path) -> None:
    for spec in ("poison-uid=1.2", "refuse-batch"):
        with pytest.raises(UsageProblem, match="together"), sandbox.running(tmp_path, [spec]):
            pass
    assert not (tmp_path / "index.sqlite").exists()


def test_the_help_tells_every_fault() -> None:
    text = "\n".join(f"{usage}  {does}" for usage, does in sandbox.HELP)
    assert all(kind.usage in text for kind in KINDS.values())
    for name, kind in KINDS.items():
        assert parse(f"{name}={_EXAMPLES[kind.reads]}" if kind.reads else name).name == name


_EXAMPLES = {
    "status": "503", "seconds": "1.5", "bytes": "10", "count": "2", "code": "272", "uid": "1.2", "text": "x",
    "login": "a:b", "mess": "bad-chunk", "garbage": "nan", "rate": "1000",
}  # fmt: skip


@pytest.mark.parametrize(
    ("when", "hit"),
    [
        ("", [1, 2, 3, 4, 5, 6]), ("@2", [2]), ("@2-3", [2, 3]), ("@5-", [5, 6]), ("@every:3", [3, 6]),
    ],
)  # fmt: skip
def test_a_fault_strikes_the_requests_it_names(archive: Archive, when: str, hit: list[int]) -> None:
    archive.set_faults([f"status=503{when}"])
    answers = [post(archive.url, dicom(f"1.2.{number}")).status_code for number in range(1, 7)]
    assert [number for number, status in enumerate(answers, 1) if status == 503] == hit


def test_a_fault_counts_the_requests_of_its_own_kind_since_it_was_set(archive: Archive) -> None:
    get(archive.url, "/studies")
    post(archive.url, dicom())
    archive.faults = ["status=503@1", "status=418@search:2", "status=451@retrieve"]
    assert archive.faults == ("status=503@1", "status=418@search:2", "status=451@retrieve")
    assert [get(archive.url, "/studies").status_code for _ in range(3)] == [200, 418, 200]
    assert get(archive.url, PATH, "*/*").status_code == 451
    assert get(archive.url, PATH + "/metadata").status_code == 451
    assert [post(archive.url, dicom()).status_code for _ in range(2)] == [503, 409]
    assert get(archive.url, "/changefeed").status_code == 200
    archive.set_faults([])
    assert post(archive.url, dicom()).status_code == 409


def test_the_first_of_two_faults_that_strike_wins(archive: Archive) -> None:
    archive.set_faults(["status=503@1", "status=500@1-2"])
    assert [post(archive.url, dicom(f"1.2.{n}")).status_code for n in range(3)] == [503, 500, 200]


# Statuses


def test_a_status_is_answered_after_the_body_and_nothing_is_stored(archive: Archive) -> None:
    answer = store(archive, "status=429;retry-after=2")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
    assert archive.requests[-1].body_bytes > 1000
    assert archive.stored() == {}


@pytest.mark.parametrize("length", [10, 5 << 20])
@pytest.mark.parametrize(("fault", "status"), [("unauthorized", 401), ("forbidden", 403), ("not-found", 404)])
def test_the_door_is_shut_before_the_body(archive: Archive, fault: str, status: int, length: int) -> None:
    archive.set_faults([fault])
    answer = post(archive.url, body=b"x" * length)
    assert answer.status_code == status
    assert archive.requests[-1].body_bytes == 0
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert get(archive.url, "/studies").status_code == status
    assert get(archive.url.removesuffix("/v2"), "/health/check").status_code == 200


def test_a_token_is_required(archive: Archive) -> None:
    archive.set_faults(["token=s3cret"])
    assert post(archive.url, dicom()).status_code == 401
    assert post(archive.url, dicom(), authorization="Bearer wrong").status_code == 401
    assert post(archive.url, dicom(), authorization="Bearer s3cret").status_code == 200
    assert get(archive.url, "/studies").headers["www-authenticate"].startswith("Bearer")


def test_a_login_is_required(archive: Archive) -> None:
    archive.set_faults(["basic=me:pass:word"])
    assert get(archive.url, "/studies").headers["www-authenticate"].startswith("Basic")
    with httpx.Client(auth=("me", "pass:word"), headers={"accept": JSON}, **PLAIN) as client:
        assert client.get(f"{archive.url}/studies").status_code == 204


def test_too_large_is_told_before_the_body_is_read(archive: Archive) -> None:
    archive.set_faults(["too-large=2000"])
    answer = post(archive.url, body=b"x" * (20 << 20))
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    assert archive.requests[-1].body_bytes == 0
    assert post(archive.url, dicom()).status_code == 200


# Answers that are none


def test_an_empty_200_stores_nothing(archive: Archive) -> None:
    answer = store(archive, "empty-200")
    assert (answer.status_code, answer.content) == (200, b"")
    assert archive.stored() == {}


def test_an_html_200_stores_nothing(archive: Archive) -> None:
    answer = store(archive, "html-200")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert archive.stored() == {}


def test_an_early_200_comes_before_the_body_is_read(archive: Archive) -> None:
    archive.set_faults(["early-200"])
    taken = 0

    def body() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(64):
            taken += 1 << 20
            yield b"x" * (1 << 20)

    answer = post(archive.url, body=body(), content_length=str(64 << 20))
    assert (answer.status_code, answer.content) == (200, b"")
    assert archive.requests[-1].body_bytes == 0
    assert taken < 64 << 20


def test_truncated_json_is_half_an_answer_to_work_that_was_done(archive: Archive) -> None:
    answer = store(archive, "truncated-json")
    assert answer.status_code == 200
    with pytest.raises(ValueError):
        answer.json()
    assert len(archive.stored()) == 3
    archive.set_faults(["truncated-json@any"])
    assert get(archive.url, "/instances").content.endswith(b"}]") is False
    assert get(archive.url, PATH, AS_STORED["accept"]).content == dicom()


def test_a_lost_answer_follows_work_that_was_done(archive: Archive) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        store(archive, "lost-answer@1")
    assert len(archive.stored()) == 3
    assert archive.requests[-1].status == 0
    assert archive.requests[-1].finished is not None
    assert post(archive.url, dicom("1.2.3.9")).status_code == 200


@pytest.mark.parametrize("after", [0, 1, 65_536, 3 << 20])
def test_a_reset_while_sending_leaves_nothing(archive: Archive, after: int) -> None:
    archive.set_faults([f"reset-after={after}"])
    with pytest.raises(httpx.TransportError):
        post(archive.url, body=b"x" * (8 << 20))
    assert after <= archive.requests[-1].body_bytes < 8 << 20
    assert archive.stored() == {}


def test_a_reset_is_a_reset_and_not_an_end(archive: Archive) -> None:
    archive.set_faults(["reset-after=10"])
    host, port = archive.url.removeprefix("http://").removesuffix("/v2").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"POST /v2/studies HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n" + b"x" * 10)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_a_reset_past_the_end_comes_after_the_whole_body(archive: Archive) -> None:
    archive.set_faults(["reset-after=99999999"])
    with pytest.raises(httpx.ReadError):
        post(archive.url, dicom())
    assert archive.requests[-1].body_bytes == len(related(dicom()))
    assert archive.stored() == {}


def test_down_closes_connections_without_reading(archive: Archive) -> None:
    archive.set_faults(["down@2-3"])
    assert post(archive.url, dicom()).status_code == 200
    for _ in range(2):
        with pytest.raises(httpx.TransportError):
            post(archive.url, dicom("1.2.3.5"))
    assert post(archive.url, dicom("1.2.3.6")).status_code == 200
    assert [one.method for one in archive.requests] == ["POST", "(connection)", "(connection)", "POST"]


def test_down_ends_connections_that_were_kept_alive(archive: Archive) -> None:
    with httpx.Client(**PLAIN, headers={"accept": JSON}) as client:
        assert client.get(f"{archive.url}/studies").status_code == 204
        archive.set_faults(["down"])
        with pytest.raises(httpx.TransportError):
            client.get(f"{archive.url}/studies")
        archive.set_faults([])
        assert client.get(f"{archive.url}/studies").status_code == 204


def test_down_is_an_end_and_not_an_answer(archive: Archive) -> None:
    archive.set_faults(["down"])
    host, port = archive.url.removeprefix("http://").removesuffix("/v2").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        assert connection.recv(1) == b""


# Late answers


def test_latency_comes_before_every_request(archive: Archive) -> None:
    archive.set_faults(["latency=0.1@any:1"])
    began = time.monotonic()
    assert get(archive.url, "/studies").status_code == 204
    assert time.monotonic() - began >= 0.1
    assert get(archive.url, "/studies").status_code == 204


def test_a_stalled_answer_comes_after_the_work(archive: Archive) -> None:
    archive.set_faults(["stall=30@1"])
    with pytest.raises(httpx.ReadTimeout), httpx.Client(**{**PLAIN, "timeout": 0.3}) as client:
        client.post(f"{archive.url}/studies", content=related(dicom()), headers=STORE)
    assert list(archive.stored()) == ["1.2.3.4"]
    archive.set_faults(["stall=0.1"])
    began = time.monotonic()
    assert post(archive.url, dicom("1.2.3.5")).status_code == 200
    assert time.monotonic() - began >= 0.1


# Untrue answers and refusals by instance


def test_silence_leaves_every_nth_instance_out_and_keeps_it(archive: Archive) -> None:
    answer = store(archive, "silent=2")
    assert (answer.status_code, referenced(answer)) == (200, ["1.2.3.4", "1.2.3.6"])
    assert failed(answer) == []
    assert len(archive.stored()) == 3
    assert referenced(post(archive.url, dicom("1.2.3.7"))) == []
    assert referenced(post(archive.url, dicom("1.2.3.8"))) == ["1.2.3.8"]


def test_a_liar_names_all_and_keeps_none(archive: Archive) -> None:
    answer = store(archive, "liar@1")
    assert (answer.status_code, referenced(answer)) == (200, ["1.2.3.4", "1.2.3.5", "1.2.3.6"])
    assert archive.stored() == {}
    assert store(archive).status_code == 200


def test_foreign_names_only_what_was_never_sent(archive: Archive) -> None:
    answer = store(archive, "foreign")
    assert answer.status_code == 200
    assert len(referenced(answer)) == 3
    assert not {"1.2.3.4", "1.2.3.5", "1.2.3.6"} & set(referenced(answer))
    assert archive.stored() == {}


def test_one_uid_is_refused_and_the_others_are_stored(archive: Archive) -> None:
    answer = store(archive, "refuse-uid=1.2.3.5", "refuse-uid=1.2.3.6")
    assert (answer.status_code, referenced(answer)) == (202, ["1.2.3.4"])
    assert failed(answer) == [("1.2.3.5", 43264), ("1.2.3.6", 43264)]


@pytest.mark.parametrize(("spec", "status"), [("refuse-batch", 400), ("refuse-batch=500", 500)])
def test_a_poisoned_batch_is_refused_whole(archive: Archive, spec: str, status: int) -> None:
    answer = store(archive, spec, "poison-uid=1.2.3.6")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/plain; charset=utf-8")
    assert archive.stored() == {}
    assert post(archive.url, dicom(), dicom("1.2.3.5")).status_code == 200
    assert post(archive.url, dicom("1.2.3.6")).status_code == status


@pytest.mark.parametrize(("code", "number"), [("272", 272), ("45071", 45071), ("A700H", 42752)])
def test_every_instance_fails_with_the_reason_asked_for(archive: Archive, code: str, number: int) -> None:
    answer = store(archive, f"reason={code}")
    assert answer.status_code == 409
    assert failed(answer) == [(uid, number) for uid in ("1.2.3.4", "1.2.3.5", "1.2.3.6")]
    assert archive.stored() == {}


def test_hidden_duplicates_keep_the_old_and_look_stored(archive: Archive) -> None:
    post(archive.url, dicom())
    before = archive.stored()
    archive.set_faults(["hide-duplicates"])
    answer = post(archive.url, dicom(payload=b"\7\7\7\7"), dicom("1.2.3.5"), dicom("1.2.3.5"))
    assert (answer.status_code, referenced(answer)) == (200, ["1.2.3.4", "1.2.3.5", "1.2.3.5"])
    assert archive.stored()["1.2.3.4"] == before["1.2.3.4"]


def test_faults_can_be_combined(archive: Archive) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        store(archive, "token=t", "lost-answer@1", "hide-duplicates", "silent=3", authorization="Bearer t")
    again = post(archive.url, dicom(), dicom("1.2.3.5"), authorization="Bearer t")
    assert (again.status_code, referenced(again)) == (200, ["1.2.3.4", "1.2.3.5"])


def test_an_error_inside_is_a_500_and_logs_no_uid(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    (archive.directory / "files").write_text("in the way of the files")
    answer = post(archive.url, dicom())
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    assert "1.2.3" not in caplog.text
    (archive.directory / "files").unlink()
    assert post(archive.url, dicom()).status_code == 200


def test_a_file_that_has_gone_breaks_the_answer_instead_of_shortening_it(archive: Archive) -> None:
    post(archive.url, dicom())
    archive.stored()["1.2.3.4"].path.unlink()
    with pytest.raises(httpx.RemoteProtocolError):
        get(archive.url, PATH, AS_STORED["accept"])
    assert BOUNDARY not in str(archive.requests[-1])


def test_a_file_that_was_replaced_meanwhile_is_not_sent_in_part(archive: Archive) -> None:
    post(archive.url, dicom())
    archive.stored()["1.2.3.4"].path.write_bytes(dicom() + bytes(8))
    with pytest.raises(httpx.RemoteProtocolError):
        get(archive.url, PATH, AS_STORED["accept"])

"""Telling whoever is not looking: receivers that take it, refuse it, hang or are not there delay nothing."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicomsync import alerting, receivers
from dicomsync.alerting import Alerting, Settings
from dicomsync.alerts import Policy
from dicomsync.concerns import Limits
from dicomsync.dicomweb import Network, Secret, once
from dicomsync.ledger import Ledger
from dicomsync.model import Moment
from dicomsync.receivers import Receiver
from tests.issuer import Authority
from tests.orthanc import free_port
from tests.scripted_server import Peer, ScriptedServer, answer, answering

Facts = dict[str, Any]

KEY = "zzsecret-T0KEN"  # what makes the URL of a webhook a secret


def url(server: ScriptedServer) -> str:
    return f"{server.url}/{KEY}?sig={KEY}"


def receiver(name: str, where: str, method: str = "POST") -> Receiver:
    return Receiver(name, method, Network(), where)


def facts(*codes: str, level: str = "wrong") -> Facts:
    concerns = [
        {"code": one, "level": level, "words": one, "seconds": 900.0, "todo": "doctor", "about": ""}
        for one in codes
    ]
    return {
        "level": level if codes else "well",
        "headline": "All.",
        "concerns": concerns,
        "folders": [],
        "certificates": {},
        "daemon": {"up_seconds": 9.0},
    }


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    one = Ledger.open(tmp_path / "ledger.db")
    yield one
    one.close()


class Clock:
    """Turns an `Alerting` at moments that the test chooses; only answers are waited for."""

    def __init__(self, ledger: Ledger, webhook: str = "", heartbeat: str = "") -> None:
        settings = Settings(
            "CT",
            receiver("webhook", webhook) if webhook else None,
            "json",
            receiver("heartbeat", heartbeat, "GET") if heartbeat else None,
            60.0,
            Policy(),
            Limits(),
        )
        self.now = Moment(time.time(), 1000.0)
        self.one = Alerting(settings, ledger)

    def turn(self, found: Facts, seconds: float = 5.0) -> None:
        self.now = Moment(self.now.wall + seconds, self.now.mono + seconds)
        began = time.monotonic()
        self.one.turn(found, self.now, keeps=True)
        assert time.monotonic() - began < 2  # whatever a receiver does

    def until(self, found: Facts, what: Callable[[Facts], object], name: str = "webhook") -> Facts:
        """Turn without letting time pass until what came is known."""
        deadline = time.monotonic() + 30
        while not what(told := dict(self.one.lines(self.now.wall)[name])):
            assert time.monotonic() < deadline, told
            time.sleep(0.01)
            self.turn(found, 0)
        return told


def test_an_alert_is_posted_once_and_a_restart_does_not_post_it_again(ledger: Ledger) -> None:
    with ScriptedServer(answering(lambda _: answer(200))) as server:
        clock = Clock(ledger, url(server))
        clock.turn(facts("held"))
        assert clock.until(facts("held"), lambda told: told["taken_seconds"] is not None)["told"] == 1
        for _ in range(5):
            clock.turn(facts("held"), 60)
        again = Clock(ledger, url(server))
        for _ in range(5):
            again.turn(facts("held"), 60)
    (request,) = server.seen
    assert (request.method, request.headers["content-type"]) == ("POST", "application/json")
    told = json.loads(request.body)
    assert [one["code"] for one in told["alerts"]] == ["held"]
    assert told["text"].startswith("dicomsync CT: WRONG")


def refusing(peer: Peer) -> None:
    peer.request()
    peer.answer(500, b"zzbody of the receiver")


def sending_elsewhere(peer: Peer) -> None:
    peer.request()
    peer.answer(302, Location="http://127.0.0.1:1/")


def breaking(peer: Peer) -> None:
    peer.request()
    peer.reset()


def hanging(peer: Peer) -> None:
    peer.request()
    peer.stall()


def dripping(peer: Peer) -> None:
    peer.request()
    peer.drip(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000, 0.05)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (refusing, "its receiver answered 500"),
        (sending_elsewhere, "its receiver answered 302"),
        (breaking, "the connection to its receiver broke"),
        (hanging, "its receiver did not take the request, or did not answer, in time"),
        (dripping, "its receiver did not take the request, or did not answer, in time"),
    ],
)
def test_what_is_not_taken_is_told_delays_nothing_and_is_tried_again_ever_more_rarely(
    script: Callable[[Peer], None],
    words: str,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(once, "_IDLE_SECONDS", 0.3)
    monkeypatch.setattr(once, "_TOTAL_SECONDS", 0.6)
    caplog.set_level(logging.DEBUG)
    with ScriptedServer(script) as server:
        clock = Clock(ledger, url(server))
        clock.turn(facts("held"))
        failed = clock.until(facts("held"), lambda told: told["failing"])
        assert failed["failing"].startswith(words)
        assert server.connections == 1
        clock.turn(facts("held"), alerting.FIRST_SECONDS - 10)
        assert server.connections == 1
        clock.turn(facts("held"), 15)
        clock.until(facts("held"), lambda _: server.connections == 2 and not clock.one._webhook.busy)  # type: ignore[union-attr]  # it is there
        clock.turn(facts("held"), alerting.FIRST_SECONDS + 5)  # now it is left alone for twice as long
        assert server.connections == 2
        assert clock.one.lines(clock.now.wall)["webhook"]["failing_seconds"] > 30
    assert KEY not in caplog.text + str(failed)
    assert "zzbody" not in caplog.text + str(failed)


def test_one_that_is_not_there_is_told_and_what_comes_once_it_is_back_is_of_then(ledger: Ledger) -> None:
    clock = Clock(ledger, f"http://127.0.0.1:{free_port()}/{KEY}")
    clock.turn(facts("held"))
    failed = clock.until(facts("held"), lambda told: told["failing"])
    assert "Connection refused" in failed["failing"]
    with ScriptedServer(answering(lambda _: answer(204))) as server:
        assert clock.one._webhook is not None
        clock.one._webhook._receiver = receiver("webhook", url(server))
        clock.turn(facts("rejected"), 3600)
        clock.until(facts("rejected"), lambda told: not told["failing"])
    (request,) = server.seen
    assert [one["code"] for one in json.loads(request.body)["alerts"]] == ["rejected"]


def test_the_heart_beats_while_it_may_and_is_withheld_while_images_are_not_stored(ledger: Ledger) -> None:
    with ScriptedServer(answering(lambda _: answer(200))) as server:
        clock = Clock(ledger, heartbeat=url(server))
        clock.turn(facts("held", level="person"))
        clock.until(facts(), lambda told: told["taken_seconds"] is not None, "heartbeat")
        clock.turn(facts(), 30)
        assert len(server.seen) == 1
        clock.turn(facts("archive-auth"), 300)
        assert clock.one.lines(clock.now.wall)["heartbeat"]["withheld"]
        assert len(server.seen) == 1
        clock.turn(facts(), 5)
        clock.until(facts(), lambda _: len(server.seen) == 2, "heartbeat")
    assert {one.method for one in server.seen} == {"GET"}
    assert {one.body for one in server.seen} == {b""}


def test_a_heartbeat_that_is_not_taken_is_told_by_the_webhook_and_tried_as_often_as_ever(
    ledger: Ledger,
) -> None:
    with (
        ScriptedServer(answering(lambda _: answer(200))) as taking,
        ScriptedServer(answering(lambda _: answer(404))) as refuses,
    ):
        clock = Clock(ledger, url(taking), url(refuses))
        for number in range(1, 4):
            clock.turn(facts(), 61)
            clock.until(facts(), lambda _, n=number: len(refuses.seen) == n, "heartbeat")  # type: ignore[misc]  # the loop's own value
            clock.until(facts(), lambda told: told["failing"], "heartbeat")
        clock.turn(facts("heartbeat-unsent", level="person"))
        clock.until(facts("heartbeat-unsent", level="person"), lambda told: told["told"])
    assert "heartbeat-unsent" in taking.seen[0].body.decode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("", "is empty"),
        (f"http://hooks.example/{KEY}", "must begin with https://"),
        (f"https://hooks.example/{KEY} x", "percent-encoded"),
        (f"https://{KEY}@hooks.example/", "user name or password"),
        (KEY, "must begin with http:// or https://"),
        (f"https://hooks.example/#{KEY}", "fragment"),
    ],
)
def test_a_url_that_cannot_be_used_is_told_without_it(
    content: str | None, words: str, tmp_path: Path
) -> None:
    place = tmp_path / "webhook"
    if content is not None:
        place.write_text(content)
    one = Receiver("webhook", "POST", Network(), secret=Secret(str(place)))
    failed = receivers.send(one)
    assert words in failed
    assert KEY not in failed
    assert str(tmp_path) not in failed


def test_a_secret_url_over_tls_is_read_when_it_is_needed_and_shown_by_nothing(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    place = tmp_path / "webhook"
    one = Receiver("webhook", "POST", Network(ca_file=authority.file), secret=Secret(str(place)))
    with ScriptedServer(answering(lambda _: answer(200)), tls=authority.server()) as server:
        place.write_text(url(server) + "\n")
        assert receivers.send(one, "text/plain", b"x") == ""
        assert [request.target for request in server.seen] == [f"/v2/{KEY}?sig={KEY}"]
        assert receivers.send(replace(one, network=Network()), "text/plain", b"x").startswith("no connection")
    assert KEY not in repr(one) + repr(receiver("webhook", url(server)))

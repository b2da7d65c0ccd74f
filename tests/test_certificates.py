"""When TLS certificates end: a hand looks now and then, and what cannot be seen now stays as it was."""

from __future__ import annotations

import time
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dicomsync import certificates
from dicomsync.certificates import Certificates
from dicomsync.dicomweb import Archive, Network
from tests.issuer import Authority
from tests.orthanc import free_port
from tests.scripted_server import ScriptedServer, answer, answering
from tests.world import SameThread

DAY = 86_400.0


def test_both_ends_are_seen_whether_or_not_anybody_trusts_them(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    ends = datetime.now(UTC) + timedelta(days=9)
    certificate, key = ours.client("modality")
    network = Network(client_certificate=certificate, client_key=key)
    with ScriptedServer(answering(lambda _: answer(200)), tls=theirs.server(until=ends)) as server:
        found = certificates.look(Archive(server.url, network=network))
    assert found["archive"] == pytest.approx(ends.timestamp(), abs=2)
    assert found["client"] > time.time()


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}/v2", "https://127.0.0.1:{}/v2"])
def test_where_there_is_nothing_to_see_nothing_is_told(url: str, tmp_path: Path) -> None:
    nothing = tmp_path / "empty.pem"
    nothing.write_text("no certificate")
    network = Network(client_certificate=str(nothing))
    assert certificates.look(Archive(url.format(free_port()), network=network)) == {}


def test_looks_are_rare_and_soon_repeated_where_the_archive_did_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[dict[str, float]] = [{"archive": 5.0, "client": 7.0}, {"client": 8.0}, {"archive": 9.0}]
    asked: list[Archive] = []

    def look(archive: Archive) -> dict[str, float]:
        asked.append(archive)
        return answers[len(asked) - 1]

    monkeypatch.setattr(certificates, "look", look)
    one = Certificates(Archive("https://archive.test/v2"), SameThread())
    ends: list[Any] = []
    moments = (0.0, 5.0, DAY, DAY + 5, DAY + 10, DAY + 5 + certificates.AGAIN_SECONDS, 3 * DAY)
    for mono in moments[:-1]:
        one.turn(mono)
        ends.append((len(asked), dict(one.ends)))
    assert ends == [
        (1, {}),
        (1, {"archive": 5.0, "client": 7.0}),
        (2, {"archive": 5.0, "client": 7.0}),
        (2, {"archive": 5.0, "client": 8.0}),
        (2, {"archive": 5.0, "client": 8.0}),
        (3, {"archive": 5.0, "client": 8.0}),
    ]


def test_a_look_that_hangs_holds_nobody_up() -> None:
    class Stuck(SameThread):
        def submit(self, *_: Any, **__: Any) -> Future[Any]:
            return Future()

    one = Certificates(Archive("https://archive.test/v2"), Stuck())
    for mono in (0.0, DAY, 2 * DAY):
        one.turn(mono)
    assert one.ends == {}

"""A daemon that tells whoever is not looking, beside receivers that take it, hang, or are not there."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dicomsync.samples import write_studies
from tests.orthanc import free_port
from tests.scripted_server import Peer, ScriptedServer, answer, answering
from tests.test_daemon import IMPATIENT, Site, locked, looked, opened, until

KEY = "zzsecret-T0KEN"
SWIFT = """
from dicomsync import alerting, alerts, daemon
daemon.STATUS_SECONDS, alerts.OVER_SECONDS, alerting.FIRST_SECONDS = 0.2, 0.5, 0.5
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with opened(tmp_path, SWIFT) as one:
        yield one


@pytest.fixture
def receiver() -> Iterator[ScriptedServer]:
    with ScriptedServer(answering(lambda _: answer(200))) as server:
        yield server


def alerted(site: Site, webhook: str = "", heartbeat: str = "", more: str = "", folder: str = "") -> None:
    """Configure receivers: the webhook's URL is a secret, the heartbeat's is not."""
    lines = ['[alerts]\nname = "CT"\nafter = "0s"\nheartbeat_every = "1s"', more]
    if webhook:
        place = site.home / "webhook"
        place.write_text(f"{webhook}/{KEY}")
        lines.append(f'webhook_from = "{place}"')
    if heartbeat:
        lines.append(f'heartbeat = "{heartbeat}"')
    site.configure("\n".join(lines), folder)


def posted(receiver: ScriptedServer) -> list[tuple[str, str]]:
    """What was told so far: event and code."""
    bodies = [json.loads(one.body) for one in list(receiver.seen) if one.method == "POST" and one.body]
    return [(one["event"], one["code"]) for body in bodies for one in body["alerts"]]


def beats(receiver: ScriptedServer) -> int:
    return sum(one.method == "GET" for one in list(receiver.seen))


def codes(site: Site) -> list[Any]:
    return [one["code"] for one in looked(site)["concerns"]]


def test_trouble_is_told_once_whatever_restarts_and_then_that_it_is_over(
    site: Site, receiver: ScriptedServer
) -> None:
    alerted(site, receiver.url, receiver.url)
    site.start()
    site.ready()
    until(lambda: beats(receiver) >= 2)
    site.archive.set_faults(["status=401"])
    write_studies(site.folder, studies=1, series=1, instances=2, rows=8, columns=8)
    until(lambda: posted(receiver) == [("new", "archive-auth")])
    until(lambda: looked(site)["alerts"]["heartbeat"]["withheld"])
    withheld_at = beats(receiver)
    until(lambda: looked(site)["alerts"]["webhook"]["told"] == 1)
    site.tell(signal.SIGTERM)
    assert site.ends() == 0
    site.start()
    until(lambda: codes(site) == ["archive-auth"])
    assert beats(receiver) <= withheld_at + 1  # one before the archive was first asked
    site.archive.set_faults([])
    until(lambda: site.stored() == 2)
    until(lambda: len(posted(receiver)) == 2)
    assert posted(receiver) == [("new", "archive-auth"), ("over", "archive-auth")]
    until(lambda: beats(receiver) > withheld_at + 1)
    body = json.loads(next(one.body for one in receiver.seen if one.method == "POST"))
    assert body["text"].startswith("dicomsync CT: WRONG, for ")
    said = json.dumps(body)
    for secret in (str(site.home), site.archive.url, "127.0.0.1", KEY, "1.2.826"):
        assert secret not in said


def hanging(peer: Peer) -> None:
    peer.request()
    peer.stall()


def test_a_receiver_that_hangs_or_is_not_there_delays_nothing_and_is_told_as_what_it_is(site: Site) -> None:
    site.prelude += "from dicomsync.dicomweb import once\nonce._IDLE_SECONDS = 2.0\n"
    with ScriptedServer(hanging) as deaf:
        alerted(site, deaf.url, f"http://127.0.0.1:{free_port()}/{KEY}", folder='expect_every = "1s"')
        site.start()
        site.ready()
        until(lambda: deaf.connections)
        for number in range(3):
            write_studies(
                site.folder / str(number), studies=1, series=1, instances=2, rows=8, columns=8, seed=number
            )
            until(lambda n=number: site.stored() == 2 * n + 2)  # type: ignore[misc]  # the loop's own value
        until(lambda: {"alerts-unsent", "heartbeat-unsent"} <= set(codes(site)))
    told = looked(site)["alerts"]
    assert "Connection refused" in told["heartbeat"]["failing"]
    assert told["webhook"]["failing"]
    everything = site.said() + (site.home / "runtime" / "status.json").read_text()
    assert "was not taken" in site.said()
    assert KEY not in everything
    assert "Traceback" not in site.said()


def test_a_folder_into_which_nothing_comes_is_told_and_that_something_comes_again(
    site: Site, receiver: ScriptedServer
) -> None:
    write_studies(site.folder / "a", studies=1, series=1, instances=1, rows=8, columns=8)
    alerted(site, receiver.url, folder='expect_every = "3s"')
    site.start()
    site.ready()
    until(lambda: posted(receiver) == [("new", "folder-silent")])
    until(lambda: looked(site)["alerts"]["webhook"]["told"] == 1)
    assert codes(site) == ["folder-silent"]
    assert looked(site)["level"] == "person"
    alerted(site, receiver.url, folder='expect_every = "1h"')
    site.tell(signal.SIGHUP)
    until(lambda: posted(receiver)[1:] == [("over", "folder-silent")])
    assert codes(site) == []


def test_a_webhook_that_the_config_names_anew_is_told_from_then_on(
    site: Site, receiver: ScriptedServer
) -> None:
    site.archive.set_faults(["status=401"])
    write_studies(site.folder, studies=1, series=1, instances=1, rows=8, columns=8)
    site.start()
    site.ready()
    until(lambda: codes(site) == ["archive-auth"])
    alerted(site, receiver.url)
    site.tell(signal.SIGHUP)
    until(lambda: posted(receiver) == [("new", "archive-auth")])


def test_a_ledger_that_cannot_be_written_is_told_all_the_same(site: Site, receiver: ScriptedServer) -> None:
    site.prelude += IMPATIENT
    alerted(site, receiver.url, receiver.url)
    site.start()
    site.ready()
    until(lambda: beats(receiver))
    with locked(site.ledger):
        write_studies(site.folder, studies=1, series=1, instances=2, rows=8, columns=8)
        until(lambda: posted(receiver) == [("new", "ledger-blocked")])
    until(lambda: posted(receiver)[-1] == ("over", "ledger-blocked"))
    until(lambda: site.stored() == 2)


def test_in_shadow_nobody_is_told(site: Site, receiver: ScriptedServer) -> None:
    site.archive.set_faults(["status=401"])
    alerted(site, receiver.url, receiver.url)
    site.start("-n")
    site.ready()
    until(lambda: (site.home / "runtime" / "status.json").exists())
    site.tell(signal.SIGTERM)
    assert site.ends() == 0
    assert not receiver.seen

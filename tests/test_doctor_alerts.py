"""`doctor --alert-test`: does what is sent arrive, and if not, why? Whoever asks sees no URL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomsync import config, wiring
from dicomsync.alerting import Settings
from dicomsync.alerts import Policy
from dicomsync.concerns import Limits
from dicomsync.dicomweb import Network, Secret
from dicomsync.doctor import alerts as examining
from dicomsync.doctor import text
from dicomsync.doctor.check import Check, State
from dicomsync.errors import UsageProblem
from dicomsync.receivers import Receiver
from tests.conftest import Site
from tests.orthanc import free_port
from tests.scripted_server import ScriptedServer, answer, answering

KEY = "zzsecret-T0KEN"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(answering(lambda _: answer(200))) as one:
        yield one


def told(
    webhook: Receiver | None, heartbeat: Receiver | None = None, *, test: bool = True
) -> dict[str, Check]:
    settings = Settings("CT", webhook, "json", heartbeat, 60.0, Policy(), Limits())
    checks = examining.examine(settings, test=test)
    assert KEY not in text(checks)
    return {one.name: one for one in checks}


def test_both_are_sent_and_what_came_of_it_is_told(server: ScriptedServer) -> None:
    url = f"{server.url}/{KEY}"
    found = told(Receiver("webhook", "POST", Network(), url), Receiver("heartbeat", "GET", Network(), url))
    assert {one.state for one in found.values()} == {State.OK}
    assert "did it reach you?" in found["webhook test"].words
    assert "counts us as well" in found["heartbeat test"].words
    assert [one.method for one in server.seen] == ["POST", "GET"]
    assert json.loads(server.seen[0].body)["level"] == "test"


def test_without_the_test_nothing_is_sent(server: ScriptedServer) -> None:
    found = told(Receiver("webhook", "POST", Network(), server.url), test=False)
    assert (list(found), server.seen) == (["webhook"], [])


def test_what_does_not_arrive_is_a_problem(server: ScriptedServer) -> None:
    gone = told(Receiver("webhook", "POST", Network(), f"http://127.0.0.1:{free_port()}/{KEY}"))
    assert gone["webhook test"].state is State.PROBLEM
    assert "Connection refused" in gone["webhook test"].words


def test_a_place_that_holds_no_url_is_a_problem_and_nothing_is_tried(tmp_path: Path) -> None:
    place = tmp_path / "webhook"
    place.write_text(f"hooks.example/{KEY}")
    found = told(Receiver("webhook", "POST", Network(), secret=Secret(str(place))))
    assert (found["webhook"].state, found["webhook test"].state) == (State.PROBLEM, State.SKIPPED)


@pytest.mark.parametrize(("mode", "state"), [(0o644, State.WARNING), (0o640, State.OK)])
def test_a_secret_that_others_may_read_is_told(mode: int, state: State, tmp_path: Path) -> None:
    place = tmp_path / "webhook"
    place.write_text(f"https://hooks.example/{KEY}")
    place.chmod(mode)
    assert (
        told(Receiver("webhook", "POST", Network(), secret=Secret(str(place))), test=False)["webhook"].state
        is state
    )


def test_http_beyond_this_machine_is_unwise() -> None:
    found = told(Receiver("webhook", "POST", Network(), f"http://hooks.example/{KEY}"), test=False)
    assert found["webhook"].state is State.WARNING


def test_a_test_of_nothing_says_so() -> None:
    assert told(None)["alerts"].state is State.WARNING
    assert told(None, test=False)["alerts"].state is State.OK


def test_the_command_sends_it_and_says_what_came_of_it(site: Site, server: ScriptedServer) -> None:
    url = f"{server.url}/{KEY}"
    site.configure("http://127.0.0.1:1/dicom-web")
    done = site.run("doctor", "-c", site.config_file, "--alert-test", "--set", f"alerts.webhook={url}")
    assert "a test alert was sent" in done.out
    assert KEY not in done.out
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f'webhook = "ftp://h/{KEY}"', "alerts.webhook: expected a URL that begins with"),
        (f'webhook = "http://h/{KEY}#x"', "alerts.webhook: the URL holds"),
        (f'webhook = "http://h/a b{KEY}"', "alerts.webhook: the URL holds"),
        (f'heartbeat = "http://{KEY}@h/"', "alerts.heartbeat: expected a URL without a user name"),
        (f'webhook_from = "https://h/{KEY}"', "alerts.webhook_from: expected where the secret is"),
        (f'webhook = "http://h/{KEY}"\nwebhook_from = "/x"', "two places for one URL"),
        ('name = "a\\nb"', "alerts.name: expected one line"),
        ('heartbeat_every = "0s"', "alerts.heartbeat_every: "),
        ('wehbook = "x"', "did you mean 'webhook'?"),
    ],
)
def test_a_config_that_cannot_be_is_refused_without_repeating_any_url(line: str, words: str) -> None:
    usual = '[archive]\nurl = "http://127.0.0.1:1/v2"\n[ledger]\npath = "/var/lib/x/ledger.db"\n'
    with pytest.raises(UsageProblem) as refused:
        wiring.alerts_of(config.parse(f"{usual}[alerts]\n{line}\n"))
    said = f"{refused.value.message} {refused.value.for_logs}"
    assert words in refused.value.message
    assert words in refused.value.for_logs
    assert KEY not in said

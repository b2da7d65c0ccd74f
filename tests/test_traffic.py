"""What may be on its way beside what."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from dicomsync import dicomweb, jobs
from dicomsync.congestion import MANY
from dicomsync.model import Due
from dicomsync.pacing import Signal, Trouble
from dicomsync.traffic import STUDIES_KEPT, Traffic

DUE = Due(1, "1.2", "1.2.3", "1.2.3.4", 100, b"", None, "", 0, 0, 0, None)
PATHS = frozenset({b"/in/a"})


def traffic(transfers: int = 4, hangs: bool = False) -> Traffic:
    return Traffic(transfers, lambda _: hangs)


def stored(found: Traffic, study: str) -> None:
    request = found.send(study, PATHS, 0.0, live=False)
    found.back(request)
    found.learn(request, [DUE], Signal(), 1.0, 1.0)


def test_a_study_that_the_archive_does_not_have_yet_gets_one_batch_at_a_time() -> None:
    found = traffic()
    assert found.may_take("1.2", shared=True)
    request = found.send("1.2", PATHS, 0.0, live=False)
    assert not found.may_take("1.2", shared=True)
    assert found.may_take("1.3", shared=True)
    found.back(request)
    assert found.may_take("1.2", shared=True)


@pytest.mark.parametrize("shared", [True, False])
def test_a_study_that_is_there_gets_several_where_the_archive_takes_that(shared: bool) -> None:
    found = traffic()
    stored(found, "1.2")
    found.send("1.2", PATHS, 0.0, live=False)
    assert found.may_take("1.2", shared=shared) is shared


def test_a_batch_that_failed_does_not_show_that_the_study_is_there() -> None:
    found = traffic()
    request = found.send("1.2", PATHS, 0.0, live=False)
    found.back(request)
    found.learn(request, [DUE], Signal(Trouble.FAILING, "500"), 1.0, 1.0)
    found.learn(request, [], Signal(), 1.0, 1.0)
    found.send("1.2", PATHS, 0.0, live=False)
    assert not found.may_take("1.2", shared=True)


def test_beside_a_question_or_a_deletion_nothing_about_the_study_goes() -> None:
    found = traffic()
    stored(found, "1.2")
    question = found.ask("1.2", PATHS)
    assert not found.may_take("1.2", shared=True)
    found.back(question)
    found.hold("1.2")
    assert not found.may_take("1.2", shared=True)
    found.release("1.2")
    found.release("1.2")
    assert found.may_take("1.2", shared=True)


def test_a_question_that_waits_lets_no_further_batch_go_before_it() -> None:
    found = traffic()
    stored(found, "1.2")
    request = found.send("1.2", PATHS, 0.0, live=False)
    found.asks({"1.2"})
    assert not found.may_take("1.2", shared=True)
    found.back(request)
    found.asks(())
    assert found.may_take("1.2", shared=True)


def test_what_could_not_be_committed_is_taken_back_and_what_went_before_is_not() -> None:
    found = traffic()
    found.send("1.2", PATHS, 0.0, live=False)
    found.begin_turn()
    found.send("1.3", PATHS, 0.0, live=False)
    found.forget_planned()
    assert (len(found.about("1.2")), len(found.about("1.3")), found.free) == (1, 0, 3)


def test_a_request_stuck_in_a_folder_that_hangs_takes_no_place() -> None:
    found = traffic(hangs=True)
    found.send("1.2", PATHS, 0.0, live=False)
    assert found.any
    assert found.free == 4


def test_a_busy_archive_gets_fewer_at_a_time_and_one_that_wants_a_credential_does_not() -> None:
    found = traffic()
    request = found.send("1.2", PATHS, 0.0, live=False)
    found.learn(request, [DUE], Signal(Trouble.AUTH, "401"), 1.0, 1.0)
    assert (found.at_once, found.share) == (4, 1.0)
    found.learn(request, [DUE], Signal(Trouble.BUSY, "503"), 1.0, 1.0)
    assert (found.at_once, found.share) == (2, 0.5)


def test_of_very_many_studies_the_latest_are_remembered() -> None:
    found = traffic()
    for number in range(STUDIES_KEPT + 1):
        stored(found, f"1.{number}")
    found.send("1.0", PATHS, 0.0, live=False)
    found.send("1.1", PATHS, 0.0, live=False)
    assert not found.may_take("1.0", shared=True)
    assert found.may_take("1.1", shared=True)


def test_answers_that_waited_for_us_most_of_their_time_let_fewer_go() -> None:
    found = traffic()
    many = [DUE] * MANY
    requests = [found.send("1.2", PATHS, 0.0, live=False) for _ in range(4)]
    found.begin_turn()
    found.learn(requests[-1], many, Signal(), 1.0, 0.9)
    assert found.at_once == 4
    found.learn(requests[-1], many, Signal(), 1.0, 0.1)
    assert found.at_once == 3


def test_requests_that_went_in_one_turn_were_all_on_their_way_together() -> None:
    found = traffic()
    before = found.send("1.2", PATHS, 0.0, live=False)
    found.begin_turn()
    together = [found.send("1.3", PATHS, 0.0, live=False) for _ in range(3)]
    found.begin_turn()
    assert [one.abreast for one in (before, *together)] == [1, 4, 4, 4]


def test_a_batch_that_is_only_read_says_how_long_that_took_so_that_it_does_not_pass_for_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(monotonic=iter((10.0, 12.5)).__next__)
    monkeypatch.setattr("dicomsync.jobs.time", clock)
    assert jobs.pretend(dicomweb.Archive("http://127.0.0.1:9"), ()).seconds == 2.5

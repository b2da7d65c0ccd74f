"""The engine whole, on a real folder and ledger, with a made-up archive, clock and hands."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dicomsync import intake
from dicomsync.dicomweb import Failed, Referenced, StoreAnswer, StoreResponse
from dicomsync.errors import LedgerProblem
from dicomsync.model import FileState, InstanceState, Moment

from .world import World, answer, breaks, gives

S = InstanceState


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    one = World(tmp_path, monkeypatch)
    yield one
    one.check()
    one.die()


@pytest.fixture
def hiding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world whose archive answers "stored" and keeps the old one, as Orthanc does."""
    one = World(tmp_path, monkeypatch, kind="orthanc")
    yield one
    one.check()
    one.die()


# finding


def test_everything_whole_is_stored_and_what_is_stored_is_what_is_on_disk(world: World) -> None:
    paths = [world.put(f"a/{n}.dcm", f"1.2.3.4.{n}") for n in range(25)]
    world.put("b/x.dcm", "1.9.1", study="1.9")
    world.until_done()
    assert world.states() == {"stored": 26, "file ready": 26}
    assert world.archive.held["1.2.3.4.7"] == paths[7].read_bytes()
    assert sorted(len(request) for request in world.archive.requests) == [1, 5, 10, 10]


def test_a_second_pass_over_what_is_stored_asks_and_sends_nothing(world: World) -> None:
    for number in range(40):
        world.put(f"{number}.dcm", f"1.2.3.{number}")
    world.until_done()
    requests = len(world.archive.requests)
    world.again()
    world.until_done()
    assert len(world.archive.requests) == requests
    assert not world.archive.asked
    assert world.ledger.connection.total_changes < 20  # the pass itself, and nothing for the files


def test_a_fresh_file_is_looked_at_twice_before_it_is_trusted(world: World) -> None:
    world.put("1.dcm", "1.2.3.1", fresh=True)
    world.turns()
    assert world.states() == {"file settling": 1}
    world.passes(4)
    assert world.archive.requests == []
    world.until_done()
    assert world.state("1.2.3.1") == S.STORED


def test_a_file_that_keeps_growing_is_never_sent_and_goes_once_it_is_whole(world: World) -> None:
    whole = world.put("1.dcm", "1.2.3.1").read_bytes()
    path = world.folder / "1.dcm"
    for size in range(200, len(whole), 64):
        path.write_bytes(whole[:size])
        world.now = Moment(path.stat().st_ctime + 0.5, world.now.mono + 3)
        world.turns()
        assert world.archive.requests == []
    path.write_bytes(whole)
    world.now = Moment(path.stat().st_ctime, world.now.mono + 1)
    world.until_done()
    assert world.archive.held["1.2.3.1"] == whole


def test_what_is_not_whole_is_held_with_a_reason_and_never_sent(world: World) -> None:
    whole = world.put("whole.dcm", "1.2.3.1").read_bytes()
    (world.folder / "cut.dcm").write_bytes(whole[: len(whole) - 10])
    (world.folder / "empty.dcm").write_bytes(b"")
    (world.folder / "zeros.dcm").write_bytes(bytes(5000))
    (world.folder / "text.dcm").write_text("hello")
    world.until_done()
    assert world.file_state(world.folder / "cut.dcm") == (FileState.HELD, "truncated")
    assert world.file_state(world.folder / "empty.dcm") == (FileState.HELD, "empty")
    assert world.file_state(world.folder / "zeros.dcm") == (FileState.HELD, "zeros")
    assert world.file_state(world.folder / "text.dcm")[0] == FileState.IGNORED
    assert list(world.archive.held) == ["1.2.3.1"]


def test_a_held_file_that_is_completed_goes(world: World) -> None:
    whole = world.put("1.dcm", "1.2.3.1").read_bytes()
    (world.folder / "1.dcm").write_bytes(whole[:-10])
    world.until_done()
    assert world.states() == {"file held": 1}
    (world.folder / "1.dcm").write_bytes(whole)
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "file ready": 1}


# one content per UID


def test_a_copy_is_one_more_path_of_the_same_instance(world: World) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    shutil.copy(path, world.folder / "2.dcm")
    os.link(path, world.folder / "3.dcm")
    world.until_done()
    assert world.states() == {"stored": 1, "file ready": 3}
    assert world.archive.requests == [("1.2.3.1",)]


@pytest.mark.parametrize("first", ["a.dcm", "b.dcm"])
def test_of_two_contents_under_one_uid_the_smaller_path_goes_whatever_is_seen_first(
    world: World, first: str
) -> None:
    world.sends = False
    world.again()
    world.put(first, "1.2.3.1", pixel=1 if first == "a.dcm" else 2)
    world.turns()
    world.put("b.dcm" if first == "a.dcm" else "a.dcm", "1.2.3.1", pixel=2 if first == "a.dcm" else 1)
    world.again()
    world.turns()
    world.sends = True
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "conflict": 1, "file ready": 2}
    assert world.archive.held["1.2.3.1"] == (world.folder / "a.dcm").read_bytes()


def test_what_is_stored_stands_against_a_smaller_path_that_comes_later(world: World) -> None:
    kept = world.put("z.dcm", "1.2.3.1", pixel=1).read_bytes()
    world.until_done()
    world.put("a.dcm", "1.2.3.1", pixel=2)
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "conflict": 1, "file ready": 2}
    assert world.archive.held["1.2.3.1"] == kept


def test_a_file_edited_after_it_was_stored_is_a_conflict_and_is_not_sent(world: World) -> None:
    world.put("1.dcm", "1.2.3.1", pixel=1)
    world.until_done()
    world.put("1.dcm", "1.2.3.1", pixel=2)
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "conflict": 1, "file ready": 1}
    assert len(world.archive.requests) == 1


def test_a_file_edited_before_it_was_sent_goes_as_it_is_now(world: World) -> None:
    world.archive.down = True
    world.put("1.dcm", "1.2.3.1", pixel=1)
    world.turns()
    now = world.put("1.dcm", "1.2.3.1", pixel=2).read_bytes()
    world.archive.down = False
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "file ready": 1}
    assert world.archive.held["1.2.3.1"] == now


def test_a_touched_or_renamed_file_is_the_same_instance_and_nothing_is_sent(world: World) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    world.until_done()
    os.utime(path, (1, 1))
    path.rename(world.folder / "renamed.dcm")
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "file ready": 1, "file gone": 1}
    assert len(world.archive.requests) == 1


def test_one_uid_in_two_studies_is_a_conflict(world: World) -> None:
    world.put("a.dcm", "1.2.3.1", study="1.2.3")
    world.put("b.dcm", "1.2.3.1", study="1.2.4")
    world.until_done()
    assert world.states() == {"stored": 1, "conflict": 1, "file ready": 2}


# leaving


def test_a_file_that_leaves_after_it_was_stored_is_gone_and_harms_nothing(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.until_done()
    (world.folder / "1.dcm").unlink()
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "file gone": 1}


def test_a_file_that_leaves_before_it_could_be_sent_is_missed_and_comes_back_as_due(world: World) -> None:
    world.archive.down = True
    path = world.put("1.dcm", "1.2.3.1")
    data = path.read_bytes()
    world.turns()
    path.unlink()
    world.again()
    world.turns()
    assert world.states() == {"missed": 1, "file gone": 1}
    path.write_bytes(data)
    world.archive.down = False
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "file ready": 1}


def test_a_whole_directory_that_leaves_is_noticed(world: World) -> None:
    world.put("a/1.dcm", "1.2.3.1")
    world.put("a/b/2.dcm", "1.2.3.2")
    world.put("c/3.dcm", "1.2.3.3")
    world.until_done()
    shutil.rmtree(world.folder / "a")
    world.again()
    world.until_done()
    assert world.states() == {"stored": 3, "file ready": 1, "file gone": 2}


def test_a_folder_that_cannot_be_read_proves_nothing_gone(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.until_done()
    world.folder.rename(world.folder.with_name("elsewhere"))
    world.again()
    world.turns()
    assert world.states() == {"stored": 1, "file ready": 1}
    assert world.engine.unreadable == 1
    world.folder.with_name("elsewhere").rename(world.folder)


def test_a_file_that_leaves_while_it_settles_is_an_alarm(world: World) -> None:
    path = world.put("1.dcm", "1.2.3.1", fresh=True)
    world.turns()
    path.unlink()
    world.passes(10)
    assert world.states() == {"file missed": 1}


def test_a_file_that_vanishes_between_plan_and_request_is_missed_and_the_rest_goes(world: World) -> None:
    for n in range(3):
        world.put(f"{n}.dcm", f"1.2.3.{n}")
    world.archive.kind = "orthanc"
    world.hands.kept = []
    world.turns()
    (world.folder / "1.dcm").unlink()
    world.hands.release()
    world.until_done()
    assert world.states() == {"stored": 2, "missed": 1, "file ready": 2, "file gone": 1}


def test_a_file_that_changes_while_it_is_sent_is_asked_about_and_goes_as_it_is_now(world: World) -> None:
    world.put("1.dcm", "1.2.3.1", pixel=1)
    path = world.put("2.dcm", "1.2.3.2", pixel=1)

    def rewrite() -> None:
        world.archive.on_part = lambda: None
        path.write_bytes(path.read_bytes()[:-1] + b"\x07")

    world.archive.on_part = rewrite
    world.until_done()
    assert world.states() == {"stored": 2, "file ready": 2}
    assert world.archive.held["1.2.3.2"] == path.read_bytes()


# asking


def test_a_lost_answer_is_asked_about_and_nothing_is_sent_again(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.archive.answers = [world.archive.lose_answer]
    world.turns()
    assert world.state("1.2.3.1") == S.UNCONFIRMED
    world.passes(4)
    assert world.state("1.2.3.1") == S.UNCONFIRMED  # a sixth of confirm_wait
    world.until_done()
    assert (world.state("1.2.3.1"), world.reason("1.2.3.1")) == (S.STORED, "confirmed")
    assert len(world.archive.requests) == 1


def test_a_question_without_an_answer_is_no_absence(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.archive.answers = [world.archive.lose_answer]
    world.archive.searches_fail = 500
    world.passes(600, step=10)
    assert (world.state("1.2.3.1"), len(world.archive.requests)) == (S.UNCONFIRMED, 1)
    world.archive.searches_fail = 0
    world.until_done()
    assert (world.state("1.2.3.1"), len(world.archive.requests)) == (S.STORED, 1)


def test_only_two_absent_looks_allow_a_resend(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.archive.answers = [breaks("broken", 500)]
    world.passes(6)
    assert world.state("1.2.3.1") == S.UNCONFIRMED
    world.passes(28)
    assert len(world.archive.requests) == 1
    world.until_done()
    assert len(world.archive.requests) == 2
    assert world.state("1.2.3.1") == S.STORED


def test_after_a_timeout_the_archive_has_time_to_finish(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.archive.answers = [breaks("timeout", 1000)]
    world.passes(59)
    assert world.state("1.2.3.1") == S.UNCONFIRMED
    world.archive.held["1.2.3.1"] = (world.folder / "1.dcm").read_bytes()
    world.until_done()
    assert world.reason("1.2.3.1") == "confirmed"
    assert len(world.archive.requests) == 1


@pytest.mark.parametrize("response", [None, StoreResponse()], ids=["empty", "names nobody"])
def test_a_success_that_names_nobody_is_not_believed(world: World, response: StoreResponse | None) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.archive.answers = [gives(200, response)]
    world.turns()
    assert world.state("1.2.3.1") == S.UNCONFIRMED
    world.until_done()
    assert world.state("1.2.3.1") == S.STORED


def test_uids_that_were_never_sent_are_not_believed(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.archive.answers = [gives(200, StoreResponse((Referenced("9.9.9"),)))]
    world.turns()
    assert world.state("1.2.3.1") == S.UNCONFIRMED
    world.until_done()


def test_a_duplicate_with_the_same_bytes_is_stored_and_verified(world: World) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    world.archive.held["1.2.3.1"] = path.read_bytes()
    world.until_done()
    assert (world.state("1.2.3.1"), world.reason("1.2.3.1")) == (S.STORED, "already-there")
    (row,) = world.reader.instances_under("1.2.3.1")
    assert row["verified_at"] is not None


def test_a_duplicate_whose_preamble_the_archive_zeroed_is_the_same(world: World) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    data = path.read_bytes()
    path.write_bytes(b"II*\x00" + data[4:])
    world.archive.held["1.2.3.1"] = data
    world.until_done()
    (row,) = world.reader.instances_under("1.2.3.1")
    assert (row["state"], row["reason"]) == ("stored", "already-there")
    world.archive.held["1.2.3.1"] = path.read_bytes()  # for the check at the end


def test_a_duplicate_with_other_bytes_is_a_conflict_and_the_archive_keeps_its_own(world: World) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    theirs = path.read_bytes()[:-1] + b"\x55"
    world.archive.held["1.2.3.1"] = theirs
    world.until_done()
    assert (world.state("1.2.3.1"), world.reason("1.2.3.1")) == (S.CONFLICT, "differs")
    assert world.archive.held["1.2.3.1"] == theirs


def test_where_duplicates_are_hidden_the_archive_is_searched_before_it_is_sent_anything(
    hiding: World,
) -> None:
    same, other = hiding.put("1.dcm", "1.2.3.1"), hiding.put("2.dcm", "1.2.3.2")
    hiding.put("3.dcm", "1.2.3.3")
    hiding.archive.held["1.2.3.1"] = same.read_bytes()
    hiding.archive.held["1.2.3.2"] = other.read_bytes()[:-1] + b"\x55"
    hiding.until_done()
    assert hiding.archive.requests == [("1.2.3.3",)]
    assert [hiding.state(f"1.2.3.{n}") for n in (1, 2, 3)] == [S.STORED, S.CONFLICT, S.STORED]


# refusals


def test_what_is_refused_for_good_is_asked_once_and_waits_for_a_person(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.put("2.dcm", "1.2.3.2")
    world.archive.refuse["1.2.3.1"] = 0xA900
    world.until_done()
    world.passes(3600, step=60)
    assert (world.state("1.2.3.1"), world.reason("1.2.3.1")) == (S.REJECTED, "failure-A900")
    assert world.state("1.2.3.2") == S.STORED
    assert len(world.archive.requests) == 1


def test_an_unclear_failure_is_tried_alone_in_the_end_and_then_given_to_a_person(world: World) -> None:
    for n in range(4):
        world.put(f"{n}.dcm", f"1.2.3.{n}")
    world.archive.refuse["1.2.3.2"] = 0x0110
    world.until_done()
    assert (world.state("1.2.3.2"), world.reason("1.2.3.2")) == (S.REJECTED, "failure-0110")
    tries = [request for request in world.archive.requests if "1.2.3.2" in request]
    assert len(tries) == 5
    assert tries[-1] == ("1.2.3.2",)


def test_a_full_archive_is_tried_for_as_long_as_it_takes(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.archive.refuse["1.2.3.1"] = 0xA700
    world.passes(6 * 3600, step=30)
    assert world.state("1.2.3.1") == S.PENDING
    assert len(world.archive.requests) < 60  # and more and more seldom


def test_a_full_archive_with_much_due_is_tried_seldom_too(world: World) -> None:
    for n in range(40):
        world.put(f"{n}/1.dcm", f"1.2.{n}.1", study=f"1.2.{n}")
        world.archive.refuse[f"1.2.{n}.1"] = 0xA700
    world.passes(3600, step=5)
    assert len(world.archive.requests) < 60
    world.archive.refuse.clear()
    world.until_done()
    assert world.states() == {"stored": 40, "file ready": 40}


def test_a_full_archive_that_is_full_no_more_gets_what_is_due(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.archive.refuse["1.2.3.1"] = 0xA700
    world.passes(600, step=5)
    world.archive.refuse.clear()
    world.until_done()
    assert world.state("1.2.3.1") == S.STORED


def test_a_batch_refused_as_a_whole_is_halved_until_the_one_to_blame_is_alone(world: World) -> None:
    for n in range(8):
        world.put(f"{n}.dcm", f"1.2.3.{n}")
    keep = world.archive.keep

    world.archive.always = lambda bodies: answer(400) if "1.2.3.5" in dict(bodies) else keep(bodies)
    world.until_done()
    assert world.state("1.2.3.5") == S.REJECTED
    assert sum(world.state(f"1.2.3.{n}") == S.STORED for n in range(8)) == 7
    assert [len(r) for r in world.archive.requests if "1.2.3.5" in r] == [8, 4, 2, 1]


def test_too_large_halves_the_request_remembers_it_and_rejects_only_a_lone_one(world: World) -> None:
    for n in range(8):
        world.put(f"{n}.dcm", f"1.2.3.{n}", columns=80)
    size = (world.folder / "0.dcm").stat().st_size
    world.put("big.dcm", "1.2.3.99", columns=8000)
    keep = world.archive.keep

    def small(bodies: Sequence[tuple[str, bytes]]) -> StoreAnswer:
        return answer(413) if sum(len(body) for _, body in bodies) > 3 * size else keep(bodies)

    world.archive.always = small
    world.until_done()
    assert (world.state("1.2.3.99"), world.reason("1.2.3.99")) == (S.REJECTED, "too-large")
    assert sum(world.state(f"1.2.3.{n}") == S.STORED for n in range(8)) == 8
    assert world.ledger.fact("request_limit") is not None


# the archive as a whole


def test_a_dead_archive_is_probed_not_hammered_and_everything_goes_when_it_is_back(world: World) -> None:
    world.archive.down = True
    probes = 0
    reach = world.archive.identify

    def counted() -> object:
        nonlocal probes
        probes += 1
        return reach()

    world.archive.identify = counted  # type: ignore[method-assign, assignment]  # a trap in its place
    world.put("1.dcm", "1.2.3.1")
    world.passes(3600, step=5)
    assert 50 < probes < 200  # a small question a minute at least, one a second at most
    assert world.archive.requests == []
    world.archive.down = False
    world.until_done()
    assert world.state("1.2.3.1") == S.STORED


def test_trouble_with_the_credential_consumes_no_attempt(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.archive.answers = [gives(401, sent_bytes=0)] * 3
    world.until_done()
    (row,) = world.reader.instances_under("1.2.3.1")
    assert (row["state"], row["attempts"]) == ("stored", 0)


def test_retry_after_is_obeyed(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.archive.answers = [gives(429, retry_after_seconds=100.0)]
    world.passes(99)
    assert len(world.archive.requests) == 1
    world.passes(5)
    assert len(world.archive.requests) == 2


# crashes and clocks


def test_what_was_on_its_way_when_it_died_is_asked_about(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.put("b/2.dcm", "1.9.1", study="1.9")
    world.hands.kept = []
    world.turns()
    assert world.states()["sending"] == 2
    for _, run in world.hands.kept[:1]:
        run()  # one of the two requests reached the archive
    world.again()
    assert world.states()["unconfirmed"] == 2
    world.until_done()
    assert world.states() == {"stored": 2, "file ready": 2}
    assert sorted(world.archive.requests) == [("1.2.3.1",), ("1.9.1",)]


def test_one_request_a_study_is_on_its_way_at_a_time(world: World) -> None:
    for n in range(30):
        world.put(f"{n}.dcm", f"1.2.3.{n}")
    world.hands.kept = []
    world.turns()
    assert len(world.hands.kept) == 1


def test_a_study_that_is_there_has_several_requests_on_their_way_and_no_instance_in_two(world: World) -> None:
    for n in range(30):
        world.put(f"{n}.dcm", f"1.2.3.{n}")
    world.hands.kept = []
    world.turns()
    ((future, run),) = world.hands.kept
    future.set_result(run())
    world.turns()
    assert len(world.hands.kept) - 1 == world.transfers == 2
    for future, run in world.hands.kept[1:]:
        future.set_result(run())
    assert len({uid for request in world.archive.requests for uid in request}) == 30
    world.until_done()
    assert world.states() == {"stored": 30, "file ready": 30}
    assert len(world.archive.requests) == 3


def test_an_archive_that_may_mix_up_a_study_gets_one_request_of_it_at_a_time(
    world: World,
) -> None:
    world.archive.kind = "dcm4chee"
    for n in range(30):
        world.put(f"{n}.dcm", f"1.2.3.{n}")
    world.hands.kept = []
    world.turns()
    ((future, run),) = world.hands.kept
    future.set_result(run())
    world.turns()
    assert len(world.hands.kept) - 1 == 1


def test_the_wall_clock_may_jump_without_shortening_or_lengthening_a_wait(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.archive.answers = [breaks("timeout", 1000)]
    world.turns()
    world.now = replace(world.now, wall=world.now.wall + 10 * 365 * 86400)
    world.passes(59)
    assert world.state("1.2.3.1") == S.UNCONFIRMED
    world.now = replace(world.now, wall=world.now.wall - 20 * 365 * 86400)
    world.until_done(400)
    assert world.state("1.2.3.1") == S.STORED


def test_what_a_turn_planned_that_could_not_be_committed_is_not_waited_for(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    db = world.ledger.connection
    db.execute(
        """CREATE TRIGGER fails BEFORE UPDATE ON instances WHEN NEW.state = 'sending'
        BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"""
    )
    with pytest.raises(LedgerProblem):
        world.turns()
    db.execute("DROP TRIGGER fails")
    db.execute(
        "CREATE TABLE late (id INTEGER PRIMARY KEY, owner REFERENCES late DEFERRABLE INITIALLY DEFERRED)"
    )
    db.execute("PRAGMA foreign_keys = ON")  # a deferred one fails at the commit itself
    db.execute(
        """CREATE TRIGGER fails AFTER UPDATE ON instances WHEN NEW.state = 'sending'
        BEGIN INSERT INTO late (owner) VALUES (99); END"""
    )
    with pytest.raises(LedgerProblem):
        world.turns()
    assert not world.engine.delivery.sending, "a daemon would wait for it until it gives itself up"
    assert world.archive.requests == []
    db.execute("DROP TRIGGER fails")
    world.again()
    world.until_done()
    assert world.state("1.2.3.1") == S.STORED


def test_if_the_ledger_cannot_commit_nothing_goes_on_the_wire(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    pages = world.ledger.connection.execute("PRAGMA page_count").fetchone()[0]
    world.ledger.connection.execute(f"PRAGMA max_page_count = {pages}")
    for n in range(400):
        world.put(f"more/{n}.dcm", f"1.2.4.{n}")
    with pytest.raises(LedgerProblem):
        world.turns()
    assert world.archive.requests == []
    world.again()
    world.until_done()
    assert world.states()["stored"] == 401


# a daemon's patience


def test_a_daemon_waits_for_a_study_to_become_quiet_but_not_for_ever(world: World) -> None:
    world.once = False
    world.again()
    world.put("1.dcm", "1.2.3.1")
    world.now = replace(world.now, wall=world.now.wall + 7200)
    world.again()
    world.turns()
    world.passes(9)
    assert world.archive.requests == []
    world.passes(2)
    assert world.archive.requests == [("1.2.3.1",)]


def test_a_dry_run_sends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch)
    world.sends = False
    world.again()
    world.put("1.dcm", "1.2.3.1")
    world.turns()
    assert world.states() == {"pending": 1, "file ready": 1}
    assert world.archive.requests == []
    world.die()


def test_warnings_are_kept(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.archive.held["1.2.3.1"] = (world.folder / "1.dcm").read_bytes()
    response = StoreResponse((Referenced("1.2.3.1", warning=0xB000, warnings=("coerced",)),))
    world.archive.answers = [gives(202, response)]
    world.until_done()
    (row,) = world.reader.instances_under("1.2.3.1")
    assert (row["state"], row["reason"]) == ("stored", "warning")
    assert row["detail"] == "warning B000: data elements were coerced; coerced"


def test_an_instance_named_in_both_sequences_is_asked_about(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    response = StoreResponse((Referenced("1.2.3.1"),), (Failed("1.2.3.1", "", 0x0110),))
    world.archive.answers = [gives(202, response)]
    world.turns()
    assert world.state("1.2.3.1") == S.UNCONFIRMED
    world.until_done()


# live before backlog


def live_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transfers: int) -> World:
    """A daemon with a backlog of ten studies it is not allowed to send yet, and five live ones."""
    world = World(tmp_path, monkeypatch)
    world.once, world.transfers, world.archive.down = False, transfers, True
    for n in range(10):
        world.put(f"old/{n}.dcm", f"1.9.{n}.1", study=f"1.9.{n}")
    world.now = Moment(world.now.wall + 7200, world.now.mono)
    world.again()
    world.passes(20)
    for n in range(5):
        world.put(f"new/{n}.dcm", f"1.2.{n}.1", study=f"1.2.{n}")
    world.now = Moment(world.now.wall + 7200, world.now.mono)
    world.passes(100)
    world.hands.kept = []
    world.archive.down = False
    world.passes(900, step=10)
    return world


@pytest.mark.parametrize(("transfers", "live"), [(4, 3), (2, 1)])
def test_live_studies_get_all_transfers_but_one_while_there_is_a_backlog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transfers: int, live: int
) -> None:
    world = live_world(tmp_path, monkeypatch, transfers)
    assert len(world.hands.kept or []) == transfers
    world.hands.release()
    first = [uid for request in world.archive.requests[:transfers] for uid in request]
    assert sum(uid.startswith("1.2.") for uid in first) == live
    world.until_done()
    assert world.states()["stored"] == 15
    world.check()
    world.die()


def test_with_one_transfer_live_and_backlog_take_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = live_world(tmp_path, monkeypatch, 1)
    world.hands.release()
    world.until_done()
    order = ["live" if request[0].startswith("1.2.") else "backlog" for request in world.archive.requests]
    assert order[:6] in (["live", "backlog"] * 3, ["backlog", "live"] * 3)
    world.die()


def test_without_a_backlog_live_studies_get_every_transfer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch)
    world.once, world.transfers = False, 2
    world.again()
    world.passes(30)
    for n in range(5):
        world.put(f"new/{n}.dcm", f"1.2.{n}.1", study=f"1.2.{n}")
    world.now = Moment(world.now.wall + 7200, world.now.mono)
    world.hands.kept = []
    world.passes(100)
    assert len(world.hands.kept) == 2
    world.hands.release()
    world.die()


def test_a_backfill_that_finds_nothing_to_do_asks_the_archive_nothing(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.until_done()
    world.archive.down = True
    world.again()
    world.until_done(10)
    assert world.engine.finished
    assert world.engine.delivery.circuit.failures == 0


def test_an_archive_that_is_needed_late_is_knocked_at_as_often_as_one_at_the_start(world: World) -> None:
    world.die()
    world.settle_seconds, world.archive.down = 60.0, True
    world.put("1.dcm", "1.2.3.1", fresh=True)
    world.start()
    world.passes(59)
    delivery = world.engine.delivery
    assert delivery.circuit.failures == 0
    while not delivery.circuit.failures:
        world.passes(1)
    assert not delivery.failed_to_reach
    world.passes(60)
    assert delivery.failed_to_reach


@pytest.mark.parametrize(("seconds_a_job", "jobs"), [(1.0, 2), (0.001, 1)], ids=["slow", "quick"])
def test_headers_are_read_two_jobs_at_a_time_only_where_the_disk_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch, seconds_a_job: float, jobs: int
) -> None:
    monkeypatch.setattr(intake, "HEADERS_A_JOB", 2)
    for number in range(10):
        world.put(f"{number}.dcm", f"1.2.3.{number}")
    world.again()
    world.hands.kept, world.hands.keeps = [], ("read_headers",)
    world.turns()
    (first,) = world.hands.kept
    world.now = Moment(world.now.wall + seconds_a_job, world.now.mono + seconds_a_job)
    future, run = first
    world.hands.kept = []
    future.set_result(run())
    world.turns()
    assert len(world.hands.kept) == jobs
    world.hands.release()
    world.until_done()
    assert world.states() == {"stored": 10, "file ready": 10}

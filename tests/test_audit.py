"""The daemon holds its ledger against the archive: it tells what is lost, and sends nothing again."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicomsync import commanded, explain, facts, orders, status
from dicomsync.dicomweb import Failed, Referenced, StoreResponse
from dicomsync.errors import UsageProblem
from dicomsync.model import InstanceState, Seen, Sighting
from dicomsync.work import AfterStore

from .world import STUDY, World, gives

ONE, TWO = f"{STUDY}.1", f"{STUDY}.2"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A daemon that has stored two instances of one study."""
    one = World(tmp_path, monkeypatch)
    one.once = False
    one.again()
    one.put("1.dcm", ONE)
    one.put("2.dcm", TWO)
    yield one
    one.die()


def checks(world: World, after_store: AfterStore) -> None:
    """Start the daemon anew with this config."""
    world.after_store = after_store
    world.again()


def row(world: World, uid: str = ONE) -> dict[str, Any]:
    (found,) = world.reader.instances_under(uid)
    return found


def seen(world: World, *uids: str) -> list[str]:
    return [str(row(world, uid)["found"]) for uid in uids or (ONE, TWO)]


def test_nothing_is_asked_after_a_store_unless_the_config_says_so(world: World) -> None:
    world.passes(500)
    assert world.states() == {"stored": 2, "file ready": 2}
    assert seen(world) == ["", ""]
    assert world.archive.searches == 0


def test_after_a_search_it_is_known_to_be_there_and_not_called_verified(world: World) -> None:
    checks(world, "search")
    world.passes(100)
    assert seen(world) == ["present", "present"]
    assert row(world)["verified_at"] is None
    told = "\n".join(explain.explain(world.reader, ONE, world.now.wall) or [])
    assert "acknowledged, not compared" in told
    assert "it is there; its bytes were not compared" in told


def test_after_a_comparison_of_its_bytes_it_is_verified(world: World) -> None:
    checks(world, "bytes")
    world.passes(100)
    assert seen(world) == ["equal", "equal"]
    assert row(world)["verified_at"] == row(world)["found_at"]
    world.check()


def test_an_archive_that_said_stored_and_kept_nothing_is_found_out_and_nothing_is_sent_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    checks(world, "search")
    world.archive.answers = [gives(200, StoreResponse((Referenced(ONE), Referenced(TWO))))]
    with caplog.at_level(logging.WARNING):
        world.passes(150)
        assert seen(world) == ["absent", "absent"], "one look proves nothing: an index may lag"
        assert not caplog.records
        world.passes(300)
    assert seen(world) == ["missing", "missing"]
    assert world.states() == {"stored": 2, "file ready": 2}
    assert len(world.archive.requests) == 1
    (said,) = caplog.records
    assert "2 instances" in said.getMessage()
    assert STUDY not in said.getMessage()
    found = facts.snapshot(world.reader, world.now.wall)
    assert found["lost"] == {"missing": 2, "differs": 0}
    assert "2  the archive was asked twice and does not have it" in status.text(found)
    assert "2 cases for a person" in status.text(found)


def test_an_archive_whose_index_lags_raises_no_alarm(world: World) -> None:
    checks(world, "search")
    world.archive.answers = [gives(200, StoreResponse((Referenced(ONE), Referenced(TWO))))]
    world.passes(150)
    world.archive.held = {uid: (world.folder / f"{uid[-1]}.dcm").read_bytes() for uid in (ONE, TWO)}
    world.passes(300)
    assert seen(world) == ["present", "present"]
    assert facts.snapshot(world.reader, 0)["lost"]["missing"] == 0


def test_an_archive_that_changed_what_it_got_is_an_alarm_and_not_verified(world: World) -> None:
    checks(world, "bytes")
    world.passes(20)
    world.archive.held[ONE] = world.archive.held[TWO]
    world.passes(100)
    assert seen(world) == ["differs", "equal"]
    assert row(world)["verified_at"] is None
    assert world.state(ONE) is InstanceState.STORED
    told = "\n".join(explain.explain(world.reader, ONE, world.now.wall) or [])
    assert "the archive has other bytes than were stored" in told


def test_an_archive_that_gives_out_no_bytes_is_known_to_have_it_and_no_more(world: World) -> None:
    checks(world, "bytes")
    world.archive.refuses_retrieve = 406
    world.passes(100)
    assert seen(world) == ["present", "present"]
    assert row(world)["verified_at"] is None


def test_an_archive_that_cannot_be_searched_is_asked_seldom_and_stores_go_on(world: World) -> None:
    checks(world, "search")
    world.passes(20)
    world.archive.searches_fail = 500
    world.passes(600)
    assert seen(world) == ["", ""]
    assert 0 < world.archive.searches < 10
    world.put("3.dcm", f"{STUDY}.3")
    world.passes(700)
    assert world.state(f"{STUDY}.3") is InstanceState.STORED
    world.archive.searches_fail = 0
    world.passes(1000)
    assert seen(world, ONE, TWO, f"{STUDY}.3") == ["present"] * 3


def test_stores_go_while_an_instance_is_being_compared(world: World) -> None:
    world.transfers = 1
    checks(world, "bytes")
    world.passes(20)
    world.hands.keeps, world.hands.kept = ("ask",), []
    world.passes(60)
    assert len(world.hands.kept) == 1, "it is asking"
    world.put("3.dcm", f"{STUDY}.3")
    world.passes(700)
    assert world.state(f"{STUDY}.3") is InstanceState.STORED
    assert len(world.hands.kept) == 1, "one question at a time"
    world.hands.release()
    world.passes(100)
    assert None not in [row(world, uid)["verified_at"] for uid in (ONE, TWO, f"{STUDY}.3")]


def test_what_was_to_be_checked_when_the_daemon_died_is_checked_by_the_next(world: World) -> None:
    checks(world, "search")
    world.passes(20)
    world.hands.keeps, world.hands.kept = ("find",), []
    world.passes(60)
    world.again()
    world.passes(1000)
    assert seen(world) == ["present", "present"]


def test_a_wall_clock_set_back_makes_nobody_ask_for_ever(world: World) -> None:
    checks(world, "search")
    world.passes(20)
    world.now = replace(world.now, wall=world.now.wall - 86400)
    world.passes(600)
    assert 0 < world.archive.searches < 10


# the slow round


def test_the_slow_round_finds_what_the_archive_lost_later(world: World) -> None:
    world.passes(30)
    del world.archive.held[ONE]
    world.passes(1000)
    assert seen(world) == ["missing", "present"]
    assert world.states() == {"stored": 2, "file ready": 2}
    assert len(world.archive.requests) == 1


def test_the_slow_round_takes_one_question_in_half_a_minute_and_comes_by_every_study(world: World) -> None:
    for study in range(3, 8):
        world.put(f"{study}.dcm", f"1.2.{study}.1", study=f"1.2.{study}")
    world.passes(120)
    before = world.archive.searches
    world.passes(1200)
    assert world.archive.searches - before <= 1200 / 30
    assert seen(world, ONE, TWO, *(f"1.2.{study}.1" for study in range(3, 8))) == ["present"] * 7


def test_the_slow_round_rests_a_hundred_times_as_long_as_it_looked(world: World) -> None:
    world.passes(590)
    world.hands.keeps, world.hands.kept = ("find",), []
    world.passes(30)
    world.hands.release()
    world.passes(5)
    before = world.archive.searches
    world.passes(900)
    assert world.archive.searches == before


def test_the_slow_round_goes_on_where_it_was_after_a_restart(world: World) -> None:
    for study in range(3, 8):
        world.put(f"{study}.dcm", f"1.2.{study}.1", study=f"1.2.{study}")
    world.passes(700)
    looked = [uid for uid in (f"1.2.{study}.1" for study in range(3, 8)) if seen(world, uid) == ["present"]]
    world.again()
    world.archive.asked.clear()
    world.passes(620)
    assert world.archive.asked
    assert not set(looked) & world.archive.asked[0]


def test_what_was_missing_and_is_back_is_no_alarm_any_more(world: World) -> None:
    world.passes(30)
    kept = world.archive.held.pop(ONE)
    world.passes(1000)
    assert seen(world) == ["missing", "present"]
    world.archive.held[ONE] = kept
    world.passes(200)
    assert seen(world) == ["present", "present"]
    told = "\n".join(explain.explain(world.reader, ONE, world.now.wall) or [])
    assert "found-missing" in told
    assert "found-again" in told


def test_a_missing_instance_is_never_verified_and_is_told_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    checks(world, "bytes")
    world.passes(100)
    assert row(world)["verified_at"] is not None
    del world.archive.held[ONE]
    with caplog.at_level(logging.WARNING):
        world.passes(3000)
    assert seen(world) == ["missing", "present"]
    assert row(world)["verified_at"] is None
    assert row(world, TWO)["verified_at"] is not None
    assert len(caplog.records) == 1


def test_a_backfill_leaves_the_checks_to_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch)
    world.after_store = "search"
    world.again()
    world.put("1.dcm", ONE)
    world.until_done()
    assert (seen(world, ONE), world.archive.searches) == ([""], 0)
    world.once = False
    world.again()
    world.passes(100)
    assert seen(world, ONE) == ["present"]
    world.die()


# healing, and what a person's check records


def order(world: World, wanted: orders.Saw | orders.Heal) -> int:
    act = commanded.saw if isinstance(wanted, orders.Saw) else commanded.heal
    future = world.engine.order(lambda now: act(world.engine, wanted, now))  # type: ignore[arg-type]  # the test's own shorthand
    world.engine.turn(world.now)
    return future.result(0)


def lose(world: World, *uids: str) -> tuple[int, ...]:
    """Let the archive lose these, and the ledger know it."""
    world.passes(30)
    for uid in uids:
        del world.archive.held[uid]
    ids = tuple(int(row(world, uid)["id"]) for uid in uids)
    assert order(world, orders.Saw(world.now.wall, tuple(Seen(i, Sighting.MISSING) for i in ids))) == len(ids)
    return ids


def test_what_is_healed_is_stored_again_and_its_life_told(world: World) -> None:
    ids = lose(world, ONE)
    before = row(world)["stored_at"]
    assert order(world, orders.Heal(ids)) == 1
    world.passes(60)
    assert world.states() == {"stored": 2, "file ready": 2}
    assert ONE in world.archive.held
    assert row(world)["stored_at"] > before
    assert row(world)["found"] == ""
    assert "healed" in "\n".join(explain.explain(world.reader, ONE, world.now.wall) or [])
    world.check()


def test_only_what_is_missing_and_held_by_a_file_can_be_healed(world: World) -> None:
    ids = lose(world, ONE)
    there = int(row(world, TWO)["id"])
    assert order(world, orders.Heal((there, 999))) == 0
    (world.folder / "1.dcm").unlink()
    world.passes(700)
    assert order(world, orders.Heal(ids)) == 0
    assert world.states()["stored"] == 2


def test_what_a_person_deleted_is_neither_missing_nor_healed(world: World) -> None:
    ids = lose(world, ONE)
    world.engine.order(lambda now: commanded.withdraw(world.engine, orders.Withdraw(STUDY), now))
    world.turns()
    assert order(world, orders.Heal(ids)) == 0
    assert facts.snapshot(world.reader, 0)["lost"]["missing"] == 0


def test_a_file_that_changed_meanwhile_is_not_sent_in_its_place(world: World) -> None:
    ids = lose(world, ONE)
    world.put("1.dcm", ONE, pixel=7)
    order(world, orders.Heal(ids))
    world.passes(900)
    assert ONE not in world.archive.held or world.archive.held[ONE] == (world.folder / "1.dcm").read_bytes()


def test_what_was_stored_after_the_archive_was_asked_is_not_called_missing(world: World) -> None:
    world.passes(30)
    late = orders.Saw(float(row(world)["stored_at"]) - 1, (Seen(int(row(world)["id"]), Sighting.MISSING),))
    assert order(world, late) == 0
    assert seen(world, ONE) == [""]


def test_bytes_that_were_compared_with_another_content_verify_nothing(world: World) -> None:
    world.passes(30)
    other = Seen(int(row(world)["id"]), Sighting.EQUAL, b"\x01" * 32)
    order(world, orders.Saw(world.now.wall, (other,)))
    assert row(world)["verified_at"] is None


def test_orders_travel_as_plain_values() -> None:
    for one in (
        orders.Saw(12.5, (Seen(1, Sighting.EQUAL, b"\x01\xff"), Seen(2, Sighting.MISSING))),
        orders.Heal((1, 2)),
    ):
        assert orders.from_message(json.loads(json.dumps(orders.to_message(one)))) == one


@pytest.mark.parametrize(
    "message",
    [
        {"order": "saw", "asked_at": 1, "seen": [[1, "gone", ""]]},
        {"order": "saw", "asked_at": 1, "seen": [[1, "equal", "xyz"]]},
        {"order": "saw", "asked_at": 1, "seen": [[1, "equal"]]},
        {"order": "saw", "asked_at": "1", "seen": []},
        {"order": "heal", "instance_ids": ["1"]},
        {"order": "heal", "instance_ids": 1},
        {"order": "heal", "instance_ids": [2**70]},
        {"order": "saw", "asked_at": 1, "seen": [[2**70, "equal", ""]]},
    ],
)
def test_what_is_no_such_order_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(UsageProblem, match="does not understand"):
        orders.from_message(message)


def test_an_instance_the_archive_refuses_is_not_checked(world: World) -> None:
    checks(world, "search")
    world.archive.answers = [gives(202, StoreResponse((Referenced(ONE),), (Failed(TWO, "", 0xA900),)))]
    world.passes(400)
    assert seen(world, TWO) == [""]

"""What was done, in figures: every instance once, every request, every retry, whatever comes between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomsync.ledger import tallies
from dicomsync.model import Moment

from .world import World, breaks


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    one = World(tmp_path, monkeypatch)
    yield one
    one.check()
    one.die()


def stored(world: World) -> dict[tuple[int, int], int]:
    """How many were stored, by folder and whether they came live."""
    found: dict[tuple[int, int], int] = {}
    for row in world.reader.stored_tally():
        key = (row["folder_id"], row["live"])
        found[key] = found.get(key, 0) + row["n"]
    return found


def test_what_was_stored_is_counted_once_with_its_bytes_and_its_folder(world: World) -> None:
    paths = [world.put(f"{n}.dcm", f"1.2.3.{n}") for n in range(5)]
    world.until_done()
    world.again()
    world.until_done()
    assert stored(world) == {(1, 0): 5}
    assert sum(row["size_bytes"] for row in world.reader.stored_tally()) == sum(
        path.stat().st_size for path in paths
    )


def test_what_came_while_the_daemon_watched_is_counted_apart_from_the_backlog(world: World) -> None:
    world.once = False
    world.put("1.dcm", "1.2.3.1")
    world.again()
    world.passes(60)
    world.put("2.dcm", "1.2.3.2", fresh=True)
    world.passes(300)
    assert stored(world) == {(1, 0): 1, (1, 1): 1}


def test_how_long_it_took_runs_from_being_whole_to_being_stored(world: World) -> None:
    world.archive.down = True
    world.put("1.dcm", "1.2.3.1")
    world.passes(200)
    world.archive.down = False
    world.until_done()
    (row,) = world.reader.stored_tally()
    assert row["bucket"] == tallies.ARCHIVE_SECONDS.index(300)
    assert 200 <= row["seconds"] <= 300


def test_a_clock_set_back_makes_no_time_negative(world: World) -> None:
    world.archive.down = True
    world.put("1.dcm", "1.2.3.1")
    world.passes(5)
    world.archive.down = False
    world.now = Moment(world.now.wall - 5000, world.now.mono)
    world.until_done()
    (row,) = world.reader.stored_tally()
    assert (row["bucket"], row["seconds"]) == (0, 0.0)


def test_a_lost_answer_is_a_retry_with_its_cause_and_is_stored_once(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.archive.answers = [breaks("broken", 1000)]
    world.until_done()
    assert world.reader.retry_tally() == {"broken": 1, "absent": 1}
    assert stored(world) == {(1, 0): 1}
    assert [(row["answer"], row["n"]) for row in world.reader.request_tally()] == [("200", 1), ("none", 1)]


def test_requests_are_counted_by_their_answer_and_their_size(world: World) -> None:
    sizes = [world.put(f"{n}.dcm", f"1.2.{n}.1", study=f"1.2.{n}").stat().st_size for n in range(3)]
    world.until_done()
    (row,) = world.reader.request_tally()
    assert (row["answer"], row["n"], row["size_bytes"], row["size_bucket"]) == ("200", 3, sum(sizes), 0)


def test_what_is_already_there_is_no_request_that_went_unanswered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch, kind="orthanc")
    world.archive.held["1.2.3.1"] = world.put("1.dcm", "1.2.3.1").read_bytes()
    world.until_done()
    assert [row["answer"] for row in world.reader.request_tally()] == ["found"]
    world.die()


def test_a_batch_that_a_restart_cut_off_says_nothing_of_how_long_requests_take(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.hands.kept = []
    world.passes(1)
    world.again()
    world.until_done()
    assert sum(row["n"] for row in world.reader.request_tally() if row["answer"] == "none") == 0
    assert world.reader.retry_tally()["restart"] == 1


def test_old_slots_become_one_and_no_sum_changes(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.until_done()
    world.now = Moment(world.now.wall + 9 * 86400, world.now.mono + 9 * 86400)
    world.put("2.dcm", "1.2.4.1", study="1.2.4")
    world.again()
    world.until_done()
    before = world.reader.stored_tally()
    assert len(world.reader.stored_since(0)) == 1
    with world.ledger.transaction():
        world.ledger.fold_tallies(world.now.wall + 9 * 86400)
    assert world.reader.stored_tally() == before
    assert world.reader.stored_since(0) == []
    assert stored(world) == {(1, 0): 2}


def test_forgetting_batches_takes_nothing_away(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.until_done()
    before = world.reader.request_tally()
    world.ledger.connection.execute("UPDATE instances SET batch_id = NULL")
    assert world.ledger.connection.execute("DELETE FROM batches").rowcount == 1
    assert world.reader.request_tally() == before

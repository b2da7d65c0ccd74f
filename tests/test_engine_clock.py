"""Clocks that jump, sleep or are wrong: no wait is skipped or prolonged, nothing is lost or sent twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dicomsync import commanded, orders
from dicomsync.model import FileState, Moment

from .world import STUDY, World, breaks

DAY, NIGHT = 86_400.0, 8 * 3600.0

JUMPS = {
    "set forward a day": DAY,
    "set back a day": -DAY,
    "asleep for a night": NIGHT,  # the monotonic clock stands still while a machine is suspended
    "set back by 40 years": -40 * 365 * DAY,
}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A daemon over a folder that was empty when it first looked."""
    one = daemon(tmp_path, monkeypatch)
    yield one
    one.check()
    one.die()


def daemon(home: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    one = World(home, monkeypatch)
    one.once = False
    one.now = Moment(home.stat().st_ctime, 1000.0)
    one.again()
    one.passes(10)
    return one


def put(world: World) -> Path:
    """Write a file now; a watcher tells of it."""
    path = world.put("1.dcm", "1.2.3.1", fresh=True)
    world.engine.hint([bytes(world.folder)])
    return path


def jump(world: World, seconds: float) -> None:
    """Let the wall clock jump; the monotonic one knows nothing of it."""
    world.now = replace(world.now, wall=world.now.wall + seconds)


def settling(world: World) -> None:
    world.passes(2)  # looked at once
    assert world.states() == {"file settling": 1}


def waiting_for_quiet(world: World) -> None:
    world.passes(8)
    assert world.states() == {"pending": 1, "file ready": 1}


def backing_off(world: World) -> None:
    world.archive.down = True
    world.passes(40)
    world.archive.down = False
    assert world.states() == {"pending": 1, "file ready": 1}


def to_be_asked(world: World) -> None:
    world.archive.answers = [world.archive.lose_answer]
    world.passes(17)
    assert world.states() == {"unconfirmed": 1, "file ready": 1}


def refused_for_now(world: World) -> None:
    world.archive.answers = [breaks("timeout", 0)] * 5
    world.passes(20)
    assert world.states() == {"pending": 1, "file ready": 1}


MOMENTS = [settling, waiting_for_quiet, backing_off, to_be_asked, refused_for_now]


def took(world: World, upto: Callable[[World], None], seconds: float) -> float:
    """Say how long, by the monotonic clock, a file takes to be stored when the other clock jumps midway."""
    put(world)
    began = world.now.mono
    upto(world)
    jump(world, seconds)
    while world.states().get("stored") != 1:
        assert world.now.mono < began + 3600, f"it waits: {world.states()}"
        world.passes(1)
    return world.now.mono - began


@pytest.mark.parametrize("seconds", JUMPS.values(), ids=JUMPS)
@pytest.mark.parametrize("upto", MOMENTS)
def test_a_jump_changes_no_wait_and_sends_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upto: Callable[[World], None], seconds: float
) -> None:
    times = []
    for name, by in (("even", 0.0), ("jumping", seconds)):
        home = tmp_path / name
        home.mkdir()
        world = daemon(home, monkeypatch)
        times.append(took(world, upto, by))
        times_sent = 6 if upto is refused_for_now else 1
        assert world.archive.requests == [("1.2.3.1",)] * times_sent
        assert list(world.archive.held) == ["1.2.3.1"]
        world.check()
        world.die()
    assert times[0] == times[1]


@pytest.mark.parametrize("ahead", [DAY, -2 * DAY], ids=["tomorrow", "the day before yesterday"])
def test_a_file_from_a_share_with_another_clock_is_read_once_it_is_still(world: World, ahead: float) -> None:
    path = put(world)
    jump(world, -ahead)
    world.passes(3)
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])  # its writer goes on
    world.now = replace(world.now, wall=path.stat().st_ctime - ahead)
    world.passes(3)
    if ahead > 0:
        assert world.file_state(path) == (FileState.SETTLING, "fresh")
    path.write_bytes(whole)
    world.passes(200)
    assert world.states() == {"stored": 1, "file ready": 1}
    assert world.archive.held["1.2.3.1"] == whole


@pytest.mark.parametrize("seconds", JUMPS.values(), ids=JUMPS)
def test_a_file_half_written_when_the_clock_jumps_is_not_taken_for_an_old_one(
    world: World, seconds: float
) -> None:
    path = put(world)
    jump(world, seconds)
    world.passes(3)
    assert world.file_state(path) == (FileState.SETTLING, "fresh")


@pytest.mark.parametrize("seconds", JUMPS.values(), ids=JUMPS)
def test_a_restart_after_a_jump_waits_a_quarter_of_an_hour_at_most(world: World, seconds: float) -> None:
    put(world)
    backing_off(world)
    jump(world, seconds)
    world.again()
    world.passes(1100)
    assert world.states() == {"stored": 1, "file ready": 1}
    assert len(world.archive.requests) == 1


def test_a_clock_that_was_ahead_at_the_first_start_makes_no_new_file_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch)
    world.once, world.new_only = False, True
    world.now = Moment(world.now.wall + DAY, world.now.mono)
    world.again()
    world.passes(100)
    path = world.put("new.dcm", "1.2.3.1", fresh=True)  # and now the clock is right
    world.passes(100)
    assert world.file_state(path)[0] is FileState.READY
    assert world.states()["stored"] == 1
    world.die()


def test_a_deletion_that_was_cut_short_and_undone_after_the_clock_was_set_back_waits_no_longer_for_it(
    world: World,
) -> None:
    world.archive.answers.append(breaks("broken", 500))
    put(world)
    world.passes(30)
    assert world.states() == {"unconfirmed": 1, "file ready": 1}
    world.engine.order(lambda now: commanded.withdraw(world.engine, orders.Withdraw(STUDY), now))
    world.turns()
    assert world.states() == {"deleting": 1, "file ready": 1}
    jump(world, -DAY)
    world.again()
    world.engine.order(
        lambda now: commanded.settle(world.engine, orders.Settle(STUDY, None, None, deleted=False), now)
    )
    world.passes(1200)
    assert world.states() == {"stored": 1, "file ready": 1}

"""A folder that does not answer: told once, waited for, and no longer than it lasts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomsync import facts, pulse, status

from .world import World

LIMIT = int(pulse.HANGS_SECONDS)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    one = World(tmp_path, monkeypatch)
    one.once = False
    one.again()
    yield one
    one.check()
    one.die()


def hang(world: World, *jobs: str) -> None:
    """From now on these jobs do not come back."""
    world.hands.kept, world.hands.keeps = [], jobs


def hanging_seconds(world: World) -> float | None:
    """Say what `status` tells."""
    (folder,) = facts.snapshot(world.reader, world.now.wall)["folders"]
    found: float | None = folder["hanging_seconds"]
    return found


def told(caplog: pytest.LogCaptureFixture) -> int:
    return sum("does not answer" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("job", ["step", "look", "read_headers"])
def test_a_job_that_does_not_come_back_is_a_state_of_the_folder_until_it_does(
    world: World, caplog: pytest.LogCaptureFixture, job: str
) -> None:
    caplog.set_level("INFO", "dicomsync")
    hang(world, job)
    world.put("1.dcm", "1.2.3.1", fresh=True)
    world.passes(7)  # after this the file has settled: whatever job it is, it is out
    world.passes(LIMIT - 8)
    assert told(caplog) == 0
    world.passes(LIMIT)
    assert told(caplog) == 1
    assert world.engine.hanging == 1
    assert LIMIT <= (hanging_seconds(world) or 0) <= 2 * LIMIT
    assert "has not answered for" in status.text(facts.snapshot(world.reader, world.now.wall))
    world.passes(3 * LIMIT)
    assert told(caplog) == 1
    world.hands.release()
    world.passes(100)
    assert world.engine.hanging == 0
    assert hanging_seconds(world) is None
    assert world.states() == {"stored": 1, "file ready": 1}
    events = [row["event"] for row in world.reader.history("folder", 1)]
    assert events == ["hangs", "answers"]


def test_what_is_due_in_it_is_not_handed_out_and_goes_as_soon_as_it_answers(world: World) -> None:
    world.archive.down = True
    for number in range(5):
        world.put(f"{number}.dcm", f"1.2.{number}.1", study=f"1.2.{number}")
    world.passes(20)
    assert world.states()["pending"] == 5
    hang(world, "step", "store")
    world.passes(LIMIT + 100)
    world.archive.down = False
    world.passes(300)
    assert [future for future, _ in world.hands.kept or []] != []
    assert world.archive.requests == []
    assert {world.reason(f"1.2.{number}.1") for number in range(5)} == {"hangs"}
    world.hands.release()
    world.passes(5)
    assert world.states() == {"stored": 5, "file ready": 5}


def test_what_an_earlier_process_took_down_is_forgotten_by_the_next(world: World) -> None:
    hang(world, "step")
    world.passes(LIMIT + 5)
    assert hanging_seconds(world) is not None
    world.again()
    world.passes(5)
    assert hanging_seconds(world) is None


def test_a_file_that_takes_long_to_be_compared_does_not_make_a_folder_hang(world: World) -> None:
    hang(world, "digest")
    world.put("1.dcm", "1.2.3.1", pixel=1)
    world.passes(20)
    world.put("2.dcm", "1.2.3.1", pixel=2)
    world.passes(3 * LIMIT)
    assert world.hands.kept
    assert world.engine.hanging == 0
    world.hands.release()
    world.passes(100)
    assert world.states()["conflict"] == 1

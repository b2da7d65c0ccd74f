"""A ledger that is damaged, empty, gone, swapped or old: noticed, kept, and nothing is sent again."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dicomsync import commanded
from dicomsync.errors import LedgerDamaged, LedgerProblem
from dicomsync.ledger import Ledger, Reader, damage, opening
from dicomsync.ledger.guard import SEAL_SECONDS, Seal, set_aside
from dicomsync.model import InstanceState, Moment
from dicomsync.orders import Settle, Withdraw

from .world import STUDY, World, due

S = InstanceState


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    one = World(tmp_path, monkeypatch)
    one.mends = True
    yield one
    one.check()
    one.die()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def remove(path: Path) -> None:
    path.unlink()


def flip_a_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8192:12288] = b"\xa5" * 4096
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def scribble_on_the_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"not SQLite any more")


def fill_with_text(path: Path) -> None:
    path.write_bytes(b"These are notes, not a ledger.\n" * 100)


DAMAGES = [empty, remove, flip_a_page, cut, scribble_on_the_header, fill_with_text]


def asides(world: World) -> list[Path]:
    """The ledgers that were moved aside, without their logs."""
    names = {path.name for path in world.ledger_path.parent.glob("ledger.db.*-*")}
    return [world.ledger_path.with_name(name) for name in sorted(names) if not name.endswith(("wal", "shm"))]


@pytest.mark.parametrize("kind", ["dicom-server", "orthanc"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_lost_ledger_is_rebuilt_without_sending_anything_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None], kind: str
) -> None:
    world = World(tmp_path, monkeypatch, kind)
    world.mends = True
    for n in range(5):
        world.put(f"{n}.dcm", f"{STUDY}.{n}", pixel=n)
    world.until_done()
    world.put("new.dcm", f"{STUDY}.9", pixel=9)  # this one has not been sent
    sent = len(world.archive.requests)
    world.die()
    damage(world.ledger_path)
    before = world.ledger_path.read_bytes() if damage is not remove else None
    world.start()
    world.until_done()
    assert world.states() == {"stored": 6, "file ready": 6}
    assert world.archive.requests[sent:] == [(f"{STUDY}.9",)]
    assert [path.read_bytes() for path in asides(world)] == ([before] if before is not None else [])
    world.check()
    world.die()


def test_what_the_rebuilt_ledger_calls_stored_was_compared(world: World) -> None:
    path = world.put("1.dcm", f"{STUDY}.1")
    world.put("2.dcm", f"{STUDY}.2")
    world.until_done()
    world.die()
    world.archive.held[f"{STUDY}.1"] = path.read_bytes()[:-1] + b"\x55"
    empty(world.ledger_path)
    world.start()
    world.until_done()
    assert world.state(f"{STUDY}.1") is S.CONFLICT
    assert world.state(f"{STUDY}.2") is S.STORED
    (row,) = world.reader.instances_under(f"{STUDY}.2")
    assert row["verified_at"] is not None
    assert row["reason"] == "already-there"


@pytest.mark.parametrize(("stored", "edited"), [("1.dcm", "2.dcm"), ("2.dcm", "1.dcm")])
def test_of_two_contents_under_a_uid_the_one_that_the_archive_has_is_stored_again_whichever_is_read_first(
    world: World, stored: str, edited: str
) -> None:
    world.put(stored, f"{STUDY}.1", pixel=1)
    world.until_done()
    world.put(edited, f"{STUDY}.1", pixel=2)
    world.again()
    world.until_done()
    world.die()
    empty(world.ledger_path)
    world.start()
    world.until_done()
    assert world.states() == {"stored": 1, "conflict": 1, "file ready": 2}
    (found,) = world.reader.conflicts()
    assert found.ours.source is not None
    assert found.ours.source.path == bytes(world.folder / edited)
    assert len(world.archive.requests) == 1


def test_a_rebuild_that_is_killed_in_the_middle_still_sends_nothing_again(world: World) -> None:
    for n in range(30):
        world.put(f"{n}/1.dcm", f"1.2.{n}.1", study=f"1.2.{n}", pixel=n)
    world.until_done()
    sent = len(world.archive.requests)
    world.die()
    empty(world.ledger_path)
    world.start()
    for _ in range(100):
        world.engine.turn(world.now)
        world.again()
    world.until_done()
    assert len(world.archive.requests) == sent
    assert world.states() == {"stored": 30, "file ready": 30}


class DiskIsFull(Exception):
    """Whatever ends a start between two of its steps."""


@pytest.mark.parametrize("damage", [flip_a_page, empty])
@pytest.mark.parametrize("step", ["migrate", "nothing"])
def test_a_ledger_that_was_half_made_anew_is_doubted_and_knows_what_a_person_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None], step: str
) -> None:
    for n in range(3):
        world.put(f"{n}.dcm", f"{STUDY}.{n}", pixel=n)
    world.until_done()
    assert commanded.withdraw(world.engine, Withdraw(STUDY, None, f"{STUDY}.1"), world.now)
    commanded.settle(world.engine, Settle(STUDY, None, f"{STUDY}.1", deleted=True), world.now)
    del world.archive.held[f"{STUDY}.1"]
    sent = len(world.archive.requests)
    world.die()
    damage(world.ledger_path)
    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "_take_over", _fails)
        if step == "nothing":
            broken.setattr(opening, "migrate", _fails)
        with pytest.raises(DiskIsFull):
            Ledger.open(world.ledger_path, mends=True)
    world.start()
    world.until_done()
    assert world.ledger.doubt is not None
    expected = {"stored": 3} if damage is empty else {"stored": 2, "deleted": 1}
    assert world.states() == {**expected, "file ready": 3}
    assert len(world.archive.requests) == sent + (damage is empty)  # nobody can know of it any more


def _fails(*_arguments: object) -> None:
    raise DiskIsFull


def test_a_folder_that_started_new_still_knows_since_when_after_its_ledger_was_damaged(world: World) -> None:
    world.once, world.new_only = False, True
    old = world.put("old.dcm", f"{STUDY}.1")
    world.now = Moment(old.stat().st_ctime + 0.001, world.now.mono)  # the daemon starts after the old file
    world.again()
    world.passes(100)
    world.archive.down = True
    world.put("new.dcm", f"{STUDY}.2")
    world.now = Moment(world.now.wall + 7200, world.now.mono)
    world.passes(100)
    assert world.states() == {"pending": 1, "file ready": 1, "file ignored": 1}
    world.die()
    flip_a_page(world.ledger_path)
    world.archive.down = False
    world.start()
    world.passes(200)
    assert world.states() == {"stored": 1, "file ready": 1, "file ignored": 1}


def test_an_archive_that_is_away_while_the_ledger_is_rebuilt_is_waited_for(world: World) -> None:
    world.put("1.dcm", f"{STUDY}.1")
    world.until_done()
    world.die()
    world.archive.down = True
    remove(world.ledger_path)
    world.start()
    world.passes(300)
    assert world.states() == {"unconfirmed": 1, "file ready": 1}
    world.archive.down = False
    world.until_done()
    assert world.states() == {"stored": 1, "file ready": 1}
    assert len(world.archive.requests) == 1


def test_a_file_that_could_not_be_seen_at_first_is_asked_about_all_the_same(
    world: World, tmp_path: Path
) -> None:
    world.put("a/1.dcm", f"{STUDY}.1")
    world.until_done()
    world.die()
    (world.folder / "a").rename(tmp_path / "away")  # as a mount that is not there
    remove(world.ledger_path)
    world.start()
    world.until_done()
    (tmp_path / "away").rename(world.folder / "a")
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "file ready": 1}
    assert len(world.archive.requests) == 1


def test_other_content_that_comes_long_after_is_a_conflict_with_what_was_forgotten(world: World) -> None:
    world.put("1.dcm", f"{STUDY}.1", pixel=1)
    world.until_done()
    world.die()
    remove(world.ledger_path)
    (world.folder / "1.dcm").unlink()
    world.start()
    world.until_done()
    later = world.put("2.dcm", f"{STUDY}.1", pixel=2)
    world.now = Moment(later.stat().st_ctime + 86_400, world.now.mono)
    world.ledger.doubt = replace(world.ledger.doubt, at=later.stat().st_ctime - 86_400)  # type: ignore[type-var]  # it is there
    sent = len(world.archive.requests)
    world.again()
    world.until_done()
    assert world.states() == {"conflict": 1, "file ready": 1}
    assert len(world.archive.requests) == sent


def test_what_comes_long_after_is_not_doubted_one_by_one(world: World) -> None:
    world.put("1.dcm", f"{STUDY}.1")
    world.until_done()
    world.die()
    remove(world.ledger_path)
    world.start()
    world.until_done()
    assert world.ledger.doubt is not None
    began, later = world.ledger.doubt.at, world.ledger.doubt.at + 86_400
    assert world.ledger.doubts(began - 1, later, first=False)
    assert world.ledger.doubts(began + 60, later, first=False)  # a share's clock may be wrong
    assert not world.ledger.doubts(began + 2 * 3600, later, first=False)
    assert world.ledger.doubts(began + 2 * 3600, began + 3600, first=False)  # the clock was set back since
    assert world.ledger.doubts(began + 2 * 3600, later, first=True)  # or was behind then: it was there


# Old copies


def copy(world: World) -> Path:
    """Keep a copy of the ledger, as a backup of the machine does."""
    world.die()
    kept = world.ledger_path.with_name("kept")
    shutil.copyfile(world.ledger_path, kept)
    world.start()
    return kept


def test_an_older_copy_is_asked_about_all_that_it_calls_due_and_all_it_does_not_know(world: World) -> None:
    world.archive.down = True
    world.put("1.dcm", f"{STUDY}.1")
    world.turns()
    assert world.states() == {"pending": 1, "file ready": 1}
    kept = copy(world)
    world.archive.down = False
    world.put("2.dcm", f"{STUDY}.2")
    world.again()
    world.until_done()
    sent = len(world.archive.requests)
    world.die()
    shutil.copyfile(kept, world.ledger_path)
    world.start()
    assert world.ledger.doubt is not None
    assert world.ledger.doubt.why == "older"
    world.until_done()
    assert world.states() == {"stored": 2, "file ready": 2}
    assert len(world.archive.requests) == sent
    assert asides(world) == []


def test_an_older_copy_that_another_command_opens_first_is_still_doubted(world: World) -> None:
    world.put("1.dcm", f"{STUDY}.1")
    kept = copy(world)
    world.again()
    world.until_done()
    world.die()
    shutil.copyfile(kept, world.ledger_path)
    Ledger.open(world.ledger_path).close()
    world.start()
    assert not world.ledger.doubt_is_new
    world.until_done()
    assert len(world.archive.requests) == 1


def test_a_copy_without_its_lock_file_is_not_believed_to_be_the_latest(world: World) -> None:
    world.put("1.dcm", f"{STUDY}.1")
    kept = copy(world)
    world.again()
    world.until_done()
    world.die()
    shutil.copyfile(kept, world.ledger_path)
    Path(f"{world.ledger_path}.lock").unlink()
    world.start()
    assert world.ledger.doubt is not None
    assert world.ledger.doubt.why == "unsealed"
    world.until_done()
    assert len(world.archive.requests) == 1


def test_another_ledger_in_its_place_is_told(world: World, tmp_path: Path) -> None:
    Ledger.open(tmp_path / "other" / "ledger.db").close()
    world.put("1.dcm", f"{STUDY}.1")
    world.until_done()
    world.die()
    shutil.copyfile(tmp_path / "other" / "ledger.db", world.ledger_path)
    world.start()
    assert world.ledger.doubt is not None
    assert world.ledger.doubt.why == "swapped"
    world.until_done()
    assert world.states() == {"stored": 1, "file ready": 1}
    assert len(world.archive.requests) == 1


def test_the_very_ledger_of_before_is_not_doubted_however_it_ended(world: World) -> None:
    world.put("1.dcm", f"{STUDY}.1")
    world.until_done()
    for _ in range(3):
        world.again()
        assert world.ledger.doubt is None
    # killed: the seal stays behind, the ledger has gone on
    seal = Path(f"{world.ledger_path}.lock").read_bytes()
    world.put("2.dcm", f"{STUDY}.2")
    world.again()
    world.until_done()
    world.die()
    Path(f"{world.ledger_path}.lock").write_bytes(seal)
    world.start()
    assert world.ledger.doubt is None


def test_a_lock_file_full_of_rubbish_only_makes_the_ledger_ask(world: World) -> None:
    world.put("1.dcm", f"{STUDY}.1")
    world.until_done()
    world.die()
    Path(f"{world.ledger_path}.lock").write_bytes(b"\xff" * 4096)
    world.start()
    assert world.ledger.doubt is not None
    world.until_done()
    assert world.states() == {"stored": 1, "file ready": 1}


def test_the_seal_follows_the_ledger_while_it_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    began = sealed(path)
    with ledger.transaction():
        ledger.set_fact("a", "1")
    assert sealed(path) == began + 1, "the first at once"
    with ledger.transaction():
        ledger.set_fact("a", "2")
    assert sealed(path) == began + 1, "then within seconds"
    monkeypatch.setattr("dicomsync.ledger.guard.SEAL_SECONDS", -SEAL_SECONDS)
    with ledger.transaction():
        ledger.set_fact("a", "3")
    assert sealed(path) == began + 3
    with ledger.transaction():
        pass
    assert sealed(path) == began + 3, "nothing changed"
    ledger.close()


def sealed(path: Path) -> int:
    descriptor = os.open(f"{path}.lock", os.O_RDONLY)
    try:
        seal = Seal.read(descriptor)
    finally:
        os.close(descriptor)
    assert seal is not None
    return seal.sequence


# Under its hands


@pytest.mark.parametrize("act", ["unlink", "replace"])
def test_a_ledger_that_is_removed_while_it_is_open_stops_everything(world: World, act: str) -> None:
    world.put("1.dcm", f"{STUDY}.1")
    path = world.ledger_path
    if act == "replace":
        shutil.copyfile(path, f"{path}.copy")
        os.replace(f"{path}.copy", path)
    else:
        path.unlink()
    with pytest.raises(LedgerDamaged, match="removed or replaced"):
        world.until_done()
    assert world.archive.requests == []
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "file ready": 1}


def test_an_older_copy_written_over_an_open_ledger_is_noticed(world: World) -> None:
    kept = copy(world)
    world.put("1.dcm", f"{STUDY}.1")
    world.until_done()
    world.ledger.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with world.ledger_path.open("r+b") as file:
        file.truncate()
        file.write(kept.read_bytes())
    world.again()
    assert world.ledger.doubt is not None
    world.until_done()
    assert world.states() == {"stored": 1, "file ready": 1}
    assert len(world.archive.requests) == 1


def break_and_look(ledger: Ledger) -> None:
    """Come upon damage, as SQLite does, in a transaction that is then rolled back."""
    with ledger.transaction():
        ledger.connection.execute("PRAGMA writable_schema = 1")
        ledger.connection.execute("UPDATE sqlite_schema SET rootpage = 99999 WHERE name = 'history'")
        ledger.connection.execute("PRAGMA writable_schema = RESET")
        ledger.connection.execute("SELECT * FROM history").fetchall()


def test_damage_that_shows_while_it_is_open_is_looked_for_to_the_end_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    with ledger.transaction():
        ledger.set_fact("a", "1")
    with pytest.raises(LedgerDamaged):
        break_and_look(ledger)
    ledger.close()
    looked = []
    real = damage.look

    def look(connection: sqlite3.Connection, *, to_the_end: bool) -> None:
        looked.append(to_the_end)
        real(connection, to_the_end=to_the_end)

    monkeypatch.setattr("dicomsync.ledger.damage.look", look)
    ledger = Ledger.open(path, mends=True)
    assert looked == [True]
    assert ledger.doubt is None, "it was rolled back: there is no damage in the file"
    ledger.close()
    Ledger.open(path, mends=True).close()
    assert looked == [True, False]


# Who may move it aside


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_command_that_does_not_mend_leaves_it_where_it_is(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "ledger.db"
    Ledger.open(path).close()
    damage(path)
    names = sorted(os.listdir(tmp_path))
    with pytest.raises(LedgerDamaged) as caught:
        Ledger.open(path)
    assert "ledger rebuild" in caught.value.hint
    assert sorted(os.listdir(tmp_path)) == names


def test_somebody_elses_database_is_never_moved(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger.open(path).close()
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE patients (name TEXT)")
    db.close()
    with pytest.raises(LedgerProblem, match="not a ledger of dicomsync"):
        Ledger.open(path, mends=True)
    text = tmp_path / "notes.txt"
    text.write_bytes(b"These are notes.\n" * 100)
    with pytest.raises(LedgerProblem, match="is not an SQLite file"):
        Ledger.open(text, mends=True)
    assert sorted(os.listdir(tmp_path)) == ["ledger.db", "ledger.db.lock", "notes.txt", "notes.txt.lock"]


def test_a_ledger_moved_aside_takes_its_log_along_and_can_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    with ledger.transaction():
        ledger.set_fact("said", "in the log")
    shutil.copyfile(path, tmp_path / "copy.db")
    shutil.copyfile(f"{path}-wal", tmp_path / "copy.db-wal")
    ledger.close()
    aside = set_aside(tmp_path / "copy.db", "damaged", 0.0)
    again = set_aside(path, "damaged", 0.0)
    assert Path(aside).name == "copy.db.damaged-19700101T000000Z"
    assert Path(again).name == "ledger.db.damaged-19700101T000000Z"
    with Reader.open(Path(aside)) as reader:
        assert reader.fact("said") == "in the log"


def test_a_second_ledger_moved_aside_in_the_same_second_takes_nothing_from_the_first(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    asides = []
    for content in (b"one", b"two"):
        path.write_bytes(content)
        asides.append(set_aside(path, "damaged", 0.0))
    assert [Path(one).read_bytes() for one in asides] == [b"one", b"two"]


def test_an_archive_that_lost_what_an_old_ledger_calls_stored_is_sent_nothing(world: World) -> None:
    world.put("1.dcm", f"{STUDY}.1")
    world.until_done()
    kept = copy(world)
    world.put("2.dcm", f"{STUDY}.2")
    world.again()
    world.until_done()
    world.die()
    shutil.copyfile(kept, world.ledger_path)
    del world.archive.held[f"{STUDY}.1"]
    world.start()
    world.until_done()
    assert len(world.archive.requests) == 2
    assert due(world) == 0
    world.archive.held[f"{STUDY}.1"] = (world.folder / "1.dcm").read_bytes()  # for the last check

"""The engine in odd company: files that come, go, change and return while their UID is contested."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomsync.model import FileState, InstanceState

from .world import STUDY, World

S = InstanceState


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    one = World(tmp_path, monkeypatch)
    yield one
    one.check()
    one.die()


def settle(world: World) -> None:
    """The archive is there; look at everything twice, as two backfills would."""
    world.archive.down = False
    for _ in range(2):
        world.again()
        world.until_done()


def test_editing_one_of_two_copies_takes_nothing_from_the_other(world: World) -> None:
    world.archive.down = True
    world.put("a.dcm", "1.2.3.1", pixel=1)
    world.put("b.dcm", "1.2.3.1", pixel=1)
    world.turns()
    world.put("a.dcm", "1.2.3.1", pixel=2)
    world.again()
    world.turns()
    settle(world)
    assert world.states() == {"stored": 1, "conflict": 1, "file ready": 2}
    assert world.archive.held["1.2.3.1"] == (world.folder / "a.dcm").read_bytes()


@pytest.mark.parametrize("columns", [8, 16], ids=["same size", "other size"])
def test_a_directory_that_returns_to_find_its_uid_taken_is_a_conflict(world: World, columns: int) -> None:
    world.archive.down = True
    world.put("a/1.dcm", "1.2.3.1", pixel=1)
    world.turns()
    away = world.folder.with_name("away")
    (world.folder / "a").rename(away)
    world.again()
    world.turns()
    assert world.state("1.2.3.1") == S.MISSED
    world.put("b/1.dcm", "1.2.3.1", pixel=2, columns=columns)
    settle(world)
    away.rename(world.folder / "a")
    settle(world)
    assert world.states() == {"stored": 1, "conflict": 1, "file ready": 2}


def test_touching_copies_of_what_is_due_compares_each_once(world: World) -> None:
    world.archive.down = True
    for n in range(20):
        world.put(f"a/{n}.dcm", f"1.2.3.{n}", pixel=n)
        world.put(f"b/{n}.dcm", f"1.2.3.{n}", pixel=n)
    world.turns()
    for path in world.folder.rglob("*.dcm"):
        os.utime(path)
    settle(world)
    assert world.states() == {"stored": 20, "file ready": 40}


@pytest.mark.parametrize("moment", [-5, 1e10], ids=["before 1970", "after 2262"])
def test_odd_file_times_do_no_harm(world: World, moment: float) -> None:
    os.utime(world.put("1.dcm", "1.2.3.1"), (moment, moment))
    world.until_done()
    assert world.states() == {"stored": 1, "file ready": 1}


def test_a_file_that_gives_fewer_bytes_than_the_system_says_is_held_and_not_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.put("2.dcm", "1.2.4.1", study="1.2.4")
    real = os.read
    short = os.stat(world.folder / "1.dcm").st_ino

    def read(descriptor: int, size: int) -> bytes:
        return b"" if os.fstat(descriptor).st_ino == short else real(descriptor, size)

    monkeypatch.setattr("dicomsync.jobs.os.read", read)
    world.passes(60)
    assert world.file_state(world.folder / "1.dcm") == (FileState.HELD, "unreadable")
    assert list(world.archive.held) == ["1.2.4.1"]
    monkeypatch.undo()
    monkeypatch.setattr("dicomsync.dicomweb.client_for", lambda _archive: world.archive)
    settle(world)
    assert world.states() == {"stored": 2, "file ready": 2}


def test_an_hour_of_a_full_archive_does_not_count_against_an_instance(world: World) -> None:
    world.put("1.dcm", "1.2.3.1")
    world.archive.refuse["1.2.3.1"] = 0xA700
    world.passes(3600, step=5)
    world.archive.refuse["1.2.3.1"] = 0x0110
    sent = len(world.archive.requests)
    while len(world.archive.requests) == sent:
        world.passes(5)
    world.archive.refuse.clear()
    world.until_done()
    assert world.state("1.2.3.1") == S.STORED


@pytest.mark.parametrize("arrived", [True, False], ids=["it arrived", "it did not"])
def test_a_file_touched_while_its_lost_answer_is_asked_about_is_no_conflict(
    world: World, arrived: bool
) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    world.hands.kept = []
    world.turns()
    if arrived:
        world.archive.held["1.2.3.1"] = path.read_bytes()
    os.utime(path)
    settle(world)
    assert world.states() == {"stored": 1, "file ready": 1}


def test_what_the_archive_has_of_another_is_never_called_stored_while_our_file_is_there(world: World) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    world.hands.kept = []
    world.turns()
    world.archive.held["1.2.3.1"] = path.read_bytes()[:-1] + b"\x55"
    os.utime(path)
    settle(world)
    assert world.states() == {"conflict": 1, "file ready": 1}


def test_a_file_touched_between_search_and_question_is_compared_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch, kind="orthanc")
    path = world.put("1.dcm", "1.2.3.1")
    world.archive.held["1.2.3.1"] = path.read_bytes()
    world.hands.kept = []
    world.turns()
    world.hands.release()
    world.hands.kept = []
    world.turns()
    os.utime(path)
    world.hands.release()
    world.until_done()
    assert world.states() == {"stored": 1, "file ready": 1}
    world.die()


def test_a_third_content_is_not_sent_where_the_archive_is_known_to_have_another(world: World) -> None:
    path = world.put("1.dcm", "1.2.3.1", pixel=1)
    world.archive.held["1.2.3.1"] = path.read_bytes()[:-1] + b"\x55"
    world.until_done()
    world.put("2.dcm", "1.2.3.1", pixel=2)
    settle(world)
    assert world.states() == {"conflict": 2, "file ready": 2}
    assert len(world.archive.requests) == 1


def test_a_conflicting_file_that_a_person_corrects_is_found_to_be_what_the_archive_has(world: World) -> None:
    right = world.put("1.dcm", "1.2.3.1", pixel=1).read_bytes()
    world.archive.held["1.2.3.1"] = right
    world.put("1.dcm", "1.2.3.1", pixel=2)
    world.until_done()
    assert world.states() == {"conflict": 1, "file ready": 1}
    sent = len(world.archive.requests)
    (world.folder / "1.dcm").write_bytes(right)
    settle(world)
    assert world.states() == {"stored": 1, "file ready": 1}
    assert len(world.archive.requests) == sent  # it was asked, and sent nothing


def test_a_refused_file_that_a_person_corrects_leaves_no_refusal_behind(world: World) -> None:
    world.put("1.dcm", "1.2.3.1", pixel=1)
    world.archive.refuse["1.2.3.1"] = 0xA900
    world.until_done()
    world.archive.refuse.clear()
    world.put("1.dcm", "1.2.3.1", pixel=2)
    settle(world)
    assert world.states() == {"stored": 1, "file ready": 1}


def test_editing_a_conflicting_file_again_and_again_is_still_one_conflict(world: World) -> None:
    world.put("1.dcm", "1.2.3.1", pixel=1)
    world.until_done()
    for pixel in range(2, 6):
        world.put("2.dcm", "1.2.3.1", pixel=pixel)
        settle(world)
    assert world.states() == {"stored": 1, "conflict": 1, "file ready": 2}


def test_a_new_file_that_cannot_be_read_and_then_leaves_is_an_alarm(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    real = os.open

    def refuse(name: object, *more: object, **most: object) -> int:
        if name == os.fsencode(path):
            raise PermissionError(13, "Permission denied")
        return real(name, *more, **most)  # type: ignore[arg-type]  # the test's own shorthand

    monkeypatch.setattr("dicomsync.header.os.open", refuse)
    world.until_done()
    assert world.file_state(path) == (FileState.HELD, "unreadable")
    path.unlink()
    world.again()
    world.until_done()
    assert world.states() == {"file missed": 1}


def test_a_sub_folder_scanned_by_itself_still_belongs_to_the_outer_one(world: World) -> None:
    world.put("sub/1.dcm", "1.2.3.1")
    world.until_done()
    with world.ledger.transaction():
        inner = world.ledger.begin_scan(os.fsencode(world.folder / "sub"))
        world.ledger.directory(os.fsencode(world.folder / "sub"), inner)
    (world.folder / "sub/1.dcm").unlink()
    (world.folder / "sub").rmdir()
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "file gone": 1}


def test_patience_can_run_out_though_a_file_never_settles(world: World) -> None:
    world.archive.down = True
    world.put("a.dcm", "1.2.3.1", fresh=True)
    world.turns()
    mark = world.engine.moved
    for _ in range(50):
        (world.folder / "a.dcm").write_bytes((world.folder / "a.dcm").read_bytes() + b"x")
        world.now = type(world.now)(os.stat(world.folder / "a.dcm").st_ctime, world.now.mono + 5)
        world.turns()
    assert world.engine.moved == mark
    assert not world.engine.delivery.sending


@pytest.mark.parametrize("order", [("c", "b", "a"), ("b", "c", "a"), ("c", "a", "b")])
def test_a_content_that_prevails_keeps_all_its_files(world: World, order: tuple[str, ...]) -> None:
    world.archive.down = True
    for name in order:
        world.put(f"{name}.dcm", "1.2.3.1", pixel=2 if name == "b" else 1)
        world.again()
        world.turns()
    (world.folder / "a.dcm").unlink()
    settle(world)
    assert world.states()["stored"] == 1
    assert world.states()["file ready"] == 2
    assert "missed" not in world.states()


def test_a_file_that_left_unread_is_not_taken_for_what_it_held_before(world: World) -> None:
    world.put("d/a.dcm", "1.2.3.1", pixel=1)
    world.until_done()
    world.archive.down = True
    path = world.put("d/a.dcm", "1.2.3.2", pixel=2, fresh=True)  # another instance under the same name
    world.again()
    world.turns()
    assert world.file_state(path)[0] == FileState.SETTLING
    away = world.folder.with_name("away")
    path.parent.rename(away)  # so that the file itself comes back with the very same key
    world.passes(10)
    assert world.file_state(path)[0] == FileState.GONE
    away.rename(path.parent)
    settle(world)
    assert world.state("1.2.3.2") == S.STORED
    assert world.archive.held["1.2.3.2"] == path.read_bytes()


@pytest.mark.parametrize(("kind", "named"), [("dicom-server", STUDY), ("orthanc", None), ("generic", None)])
def test_the_study_is_in_the_url_only_where_that_is_a_sound_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, named: str | None
) -> None:
    world = World(tmp_path, monkeypatch, kind)
    world.put("1.dcm", f"{STUDY}.1")
    world.until_done()
    assert world.archive.of_study == named
    world.die()


def test_a_link_that_takes_the_name_of_a_file_that_was_being_looked_at_is_told_as_one(world: World) -> None:
    path = world.put("1.dcm", "1.2.3.1", fresh=True)
    world.turns()
    assert world.file_state(path) == (FileState.SETTLING, "fresh")
    path.unlink()
    path.symlink_to(world.folder / "elsewhere.dcm")
    world.again()
    world.until_done()
    assert world.file_state(path) == (FileState.IGNORED, "special")


def test_a_conflict_taken_out_while_a_file_that_held_it_is_read_stops_nothing(world: World) -> None:
    world.put("a.dcm", "1.2.3.1", pixel=1)
    kept = world.put("b.dcm", "1.2.3.1", pixel=2)
    away = world.put("c.dcm", "1.2.3.1", pixel=2)
    world.until_done()
    away.unlink()
    settle(world)
    assert world.states() == {"stored": 1, "conflict": 1, "file ready": 2, "file gone": 1}
    world.put(away.name, "1.2.4.1", study="1.2.4")  # where one of its files was, and in place of the other
    world.put(kept.name, "1.2.5.1", study="1.2.5")
    settle(world)
    assert world.states() == {"stored": 3, "file ready": 3}


@pytest.mark.parametrize("arrived", [True, False], ids=["it arrived", "it did not"])
def test_a_file_put_into_another_study_while_its_lost_answer_is_asked_about_is_not_sent_over_it(
    world: World, arrived: bool
) -> None:
    path = world.put("1.dcm", "1.2.3.1", pixel=1)
    world.hands.kept = []
    world.turns()
    if arrived:
        world.archive.held["1.2.3.1"] = path.read_bytes()
    asked: list[str] = []
    real = world.archive.present
    world.archive.present = lambda study, uids: asked.append(study) or real(study, uids)  # type: ignore[func-returns-value, method-assign]  # recorded on the way
    world.put("1.dcm", "1.2.3.1", study="1.2.4", pixel=2)
    settle(world)
    assert asked[0] == "1.2.3", "the archive is asked where it would have what was on its way"
    assert world.states() == (
        {"stored": 1, "conflict": 1, "file ready": 1}
        if arrived
        else {"stored": 1, "missed": 1, "file ready": 1}
    )


def test_a_file_renamed_while_a_link_takes_its_name_is_compared_and_not_for_ever(world: World) -> None:
    world.put("a.dcm", "1.2.3.1", pixel=1)
    path = world.put("b.dcm", "1.2.3.1", pixel=2, columns=16)  # never hashed: its size tells
    world.until_done()
    path.rename(world.folder / "c.dcm")
    path.symlink_to(world.folder / "elsewhere.dcm")
    settle(world)
    assert world.states() == {"stored": 1, "conflict": 1, "file ready": 2, "file ignored": 1}


def test_two_files_that_change_places_before_they_were_sent_are_both_stored(world: World) -> None:
    world.archive.down = True
    one, other = world.put("1.dcm", "1.2.3.1"), world.put("2.dcm", "1.2.3.2")
    world.turns()
    one.rename(world.folder / "between")
    other.rename(one)
    (world.folder / "between").rename(other)
    settle(world)
    assert world.states() == {"stored": 2, "file ready": 2}


@pytest.mark.parametrize("seen", ["first", "by a request"])
def test_what_is_due_waits_for_its_folder_to_come_back_and_is_not_missed(world: World, seen: str) -> None:
    world.once = False
    world.again()
    world.put("1.dcm", "1.2.3.1")
    world.put("2.dcm", "1.2.3.2", study="1.2.4")
    world.archive.down = True
    world.passes(30)
    assert world.states() == {"pending": 2, "file ready": 2}
    away = world.folder.rename(world.folder.with_name("away"))
    if seen == "first":  # by a pass
        world.passes(120, step=5)
    world.archive.down = False
    world.passes(3600, step=10)
    if seen == "first":
        assert world.states() == {"pending": 2, "file ready": 2}
        assert world.reason("1.2.3.1") == "hangs"
    assert world.reader.counts().instances[S.PENDING] == 2
    assert not world.archive.requests
    away.rename(world.folder)
    world.put("3.dcm", "1.2.3.3", study="1.2.5")
    world.passes(300, step=10)
    assert world.states() == {"stored": 3, "file ready": 3}


def test_a_batch_that_finds_its_whole_folder_gone_calls_no_file_gone(world: World) -> None:
    """A backfill has read the folder, and does not look at it again by itself."""
    path = world.put("1.dcm", "1.2.3.1")
    world.archive.down = True
    world.turns()
    away = world.folder.rename(world.folder.with_name("away"))
    world.archive.down = False
    world.passes(600, step=5)
    assert world.state("1.2.3.1") == S.PENDING
    assert world.file_state(path) == (FileState.HELD, "unreadable")
    away.rename(world.folder)
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "file ready": 1}


def test_a_batch_that_finds_one_file_gone_has_missed_it(world: World) -> None:
    path = world.put("1.dcm", "1.2.3.1")
    world.put("2.dcm", "1.2.3.2")
    world.archive.down = True
    world.turns()
    path.unlink()
    world.archive.down = False
    world.until_done()
    assert world.states() == {"stored": 1, "missed": 1, "file gone": 1, "file ready": 1}

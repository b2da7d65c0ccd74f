"""What a command may order of a running daemon: a backfill of a place, and that something be tried again."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dicomsync import commanded, orders
from dicomsync.errors import DicomsyncError, LedgerProblem, UsageProblem
from dicomsync.ledger import Scope
from dicomsync.model import FileState, Folder, InstanceState, Moment
from dicomsync.resolution import Resolve
from dicomsync.visits import Visit

from .world import STUDY, World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A daemon told to leave alone what was there before it: two files in a/, one in b/."""
    one = World(tmp_path, monkeypatch)
    one.once, one.new_only = False, True
    one.put("a/1.dcm", f"{STUDY}.1")
    one.put("a/2.dcm", f"{STUDY}.2")
    one.put("b/3.dcm", f"{STUDY}.3")
    one.again()
    one.now = Moment(one.now.wall + 7200, one.now.mono)
    one.again()
    one.passes(30)
    assert one.states() == {"file ignored": 3}
    yield one
    one.check()
    one.die()


def order(world: World, act: Callable[[Moment], Any]) -> Any:
    future = world.engine.order(act)
    world.turns()
    return future.result(0)


def visit(world: World, *places: Path, include: tuple[str, ...] = ("*.dcm",)) -> Visit:
    folders = [Folder(os.fsencode(place), include=include) for place in places]
    found: Visit = order(world, lambda now: world.engine.visit(folders, now))
    return found


def test_a_place_in_a_watched_folder_is_taken_whole_and_the_rest_left_alone(world: World) -> None:
    asked = visit(world, world.folder / "a")
    world.passes(40)
    assert world.states() == {"stored": 2, "file ignored": 1, "file ready": 2}
    assert asked.standing.read
    world.passes(3000)  # full passes take nothing more, and nothing back
    assert world.states() == {"stored": 2, "file ignored": 1, "file ready": 2}


def test_a_single_file_is_taken_and_its_neighbours_are_not(world: World) -> None:
    asked = visit(world, world.folder / "a" / "2.dcm")
    world.passes(40)
    assert world.states() == {"stored": 1, "file ignored": 2, "file ready": 1}
    assert world.state(f"{STUDY}.2") is InstanceState.STORED
    assert asked.standing.read


def test_a_name_full_of_patterns_means_itself_alone(world: World) -> None:
    odd = world.put("c/[a]*?.dcm", f"{STUDY}.9")
    world.put("c/a1x.dcm", f"{STUDY}.8")
    os.utime(odd.parent, (1, 1))
    visit(world, odd)
    world.passes(3)
    assert world.file_state(odd)[0] is not FileState.IGNORED
    world.passes(700)


def test_a_whole_folder_can_be_asked_for(world: World) -> None:
    visit(world, world.folder)
    world.passes(40)
    assert world.states() == {"stored": 3, "file ready": 3}


def test_a_place_outside_gets_its_own_intake_which_goes_again(world: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    world.put("x.dcm", f"{STUDY}.7", study="1.2.9").rename(outside / "x.dcm")
    asked = visit(world, outside)
    world.passes(10)
    assert asked.standing.read
    assert world.state(f"{STUDY}.7") is InstanceState.STORED
    assert len(world.engine.intakes) == 1
    visit(world, outside)  # and it may be asked for again


def test_a_backfill_is_backlog_and_not_live(world: World) -> None:
    world.archive.down = True
    visit(world, world.folder / "a")
    world.passes(20)
    live = world.ledger.connection.execute("SELECT DISTINCT live FROM instances").fetchall()
    assert live == [(0,)]


def test_a_place_around_a_watched_folder_is_refused_before_anything_is_done(
    world: World, tmp_path: Path
) -> None:
    with pytest.raises(UsageProblem, match="holds a folder"):
        visit(world, world.folder / "a", tmp_path)
    world.passes(40)
    assert world.states() == {"file ignored": 3}
    assert len(world.engine.intakes) == 1


def test_the_same_place_twice_at_a_time_is_refused_outside_and_harmless_inside(
    world: World, tmp_path: Path
) -> None:
    (outside := tmp_path / "outside" / "deep").mkdir(parents=True)
    place = Folder(os.fsencode(outside.parent))
    deep = Folder(os.fsencode(outside))

    def both(now: Moment) -> None:
        world.engine.visit([place], now)
        world.engine.visit([deep], now)

    with pytest.raises(UsageProblem, match="going on already"):
        order(world, both)
    visit(world, world.folder / "a")
    visit(world, world.folder / "a")
    world.passes(40)
    assert world.states() == {"stored": 2, "file ignored": 1, "file ready": 2}
    assert len(world.archive.requests) == 1


def test_a_folder_that_is_gone_is_told_and_proves_nothing(world: World) -> None:
    visit(world, world.folder)
    world.passes(40)
    world.folder.rename(world.folder.with_name("away"))
    asked = visit(world, world.folder / "a")
    world.passes(5)
    assert (asked.standing.read, asked.standing.unreadable) == (True, 1)
    assert world.states() == {"stored": 3, "file ready": 3}
    world.folder.with_name("away").rename(world.folder)


def test_a_file_still_being_written_is_found_and_waits_to_settle(world: World) -> None:
    path = world.put("a/new.dcm", f"{STUDY}.6", fresh=True)
    asked = visit(world, world.folder / "a")
    assert asked.standing.read
    assert world.file_state(path)[0] is FileState.SETTLING
    world.passes(60)
    assert world.state(f"{STUDY}.6") is InstanceState.STORED


def test_an_order_is_done_only_when_it_is_committed(world: World) -> None:
    def refuse(action: int, what: str | None, *_more: str | None) -> int:
        return sqlite3.SQLITE_DENY if (action, what) == (22, "COMMIT") else sqlite3.SQLITE_OK

    future = world.engine.order(lambda _now: world.ledger.set_fact("asked", "for"))
    world.ledger.connection.set_authorizer(refuse)  # 22: SQLITE_TRANSACTION
    with pytest.raises(LedgerProblem):
        world.engine.turn(world.now)
    assert not future.done()
    world.ledger.connection.set_authorizer(None)
    world.turns()
    future.result(0)
    assert world.ledger.fact("asked") == "for"


# trying again


def retry(world: World, **wanted: Any) -> orders.Retried:
    found: orders.Retried = order(
        world, lambda now: commanded.retry(world.engine, orders.Retry(**wanted), now)
    )
    return found


def reject(world: World, *names: str) -> None:
    for name in names:
        world.archive.refuse[f"{STUDY}.{name}"] = 43265
    visit(world, world.folder)
    world.passes(60)
    assert world.states()["rejected"] == len(names)


def test_what_was_rejected_is_stored_when_the_archive_has_come_to_reason(world: World) -> None:
    reject(world, "1", "3")
    world.archive.refuse.clear()
    assert retry(world, rejected=True).instances == 2
    world.passes(60)
    assert world.states() == {"stored": 3, "file ready": 3}


def test_only_the_reason_named_is_tried_again(world: World) -> None:
    reject(world, "1")
    assert retry(world, rejected=True, reason="too-large").instances == 0
    (code,) = world.ledger.connection.execute(
        "SELECT reason FROM instances WHERE state = 'rejected'"
    ).fetchone()
    assert retry(world, rejected=True, reason=code).instances == 1
    world.passes(900)
    assert world.states()["rejected"] == 1


def test_one_instance_or_one_study_can_be_named(world: World) -> None:
    reject(world, "1", "2", "3")
    world.archive.refuse.clear()
    assert retry(world, uids=(f"{STUDY}.2",)).instances == 1
    assert retry(world, uids=(STUDY,)).instances == 2


@pytest.mark.parametrize(
    "unknown", ["9.9.9", os.fsdecode(b"\xff"), "a handle"], ids=["uid", "bytes", "words"]
)
def test_an_unknown_uid_changes_nothing_not_even_for_the_others(world: World, unknown: str) -> None:
    reject(world, "1")
    with pytest.raises(UsageProblem, match="knows no study"):
        retry(world, uids=(f"{STUDY}.1", unknown))
    assert world.states()["rejected"] == 1


def test_a_reason_that_is_no_text_is_the_reason_of_nothing(world: World) -> None:
    reject(world, "1")
    assert retry(world, rejected=True, reason=os.fsdecode(b"\xff")).instances == 0


def test_a_rejected_one_without_a_file_stays_and_is_told(world: World) -> None:
    reject(world, "1")
    (world.folder / "a/1.dcm").unlink()
    world.passes(700)
    retried = retry(world, rejected=True)
    assert (retried.instances, dict(retried.left)) == (0, {orders.NO_FILE: 1})


def test_of_two_rejected_contents_under_one_uid_one_is_tried_again(world: World) -> None:
    reject(world, "1")
    world.put("b/other.dcm", f"{STUDY}.1", pixel=7)
    visit(world, world.folder)
    world.passes(60)
    assert len(world.reader.instances_under(f"{STUDY}.1")) == 2
    db = world.ledger.connection
    with world.ledger.transaction():
        db.execute("UPDATE instances SET state = 'rejected' WHERE sop_instance_uid = ?", (f"{STUDY}.1",))
    assert retry(world, rejected=True).instances == 1
    world.passes(60)


def test_what_is_stored_asked_about_or_in_conflict_is_left_and_counted(world: World) -> None:
    visit(world, world.folder)
    world.passes(60)
    retried = retry(world, uids=(STUDY,))
    assert (retried.instances, retried.sooner) == (0, 0)
    assert retried.left == {orders.LEFT[InstanceState.STORED]: 3}


def test_pending_ones_go_now_and_the_archive_is_asked_how_it_is(world: World) -> None:
    world.archive.down = True
    visit(world, world.folder)
    world.passes(600)
    world.archive.down = False
    with world.ledger.transaction():
        world.ledger.connection.execute("UPDATE instances SET due_at = due_at + 5000")
        world.ledger.connection.execute("UPDATE studies SET due_at = due_at + 5000")
    assert retry(world, uids=(STUDY,)).sooner == 3
    world.passes(3)
    assert world.states() == {"stored": 3, "file ready": 3}


def test_what_the_archive_is_asked_about_is_not_hurried(world: World) -> None:
    world.archive.answers = [world.archive.lose_answer]
    visit(world, world.folder)
    world.passes(12)
    assert world.ledger.counted(Scope()) == {"unconfirmed": 3}
    assert retry(world, uids=(STUDY,)).left == {orders.LEFT[InstanceState.UNCONFIRMED]: 3}
    world.passes(60)
    assert len(world.archive.requests) == 1


def test_held_files_are_looked_at_again(world: World) -> None:
    path = world.put("a/new.dcm", f"{STUDY}.6", fresh=True)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    visit(world, path)
    world.passes(100)
    assert world.file_state(path)[0] is FileState.HELD
    status = path.stat()
    with world.ledger.transaction():  # mended, as it happens, without any trace in what stat says
        key = "UPDATE files SET size_bytes = ?, mtime_ns = ?, ctime_ns = ? WHERE name = 'new.dcm'"
        path.write_bytes(whole)
        status = path.stat()
        world.ledger.connection.execute(
            key.replace("'new.dcm'", "CAST('new.dcm' AS BLOB)"),
            (status.st_size, status.st_mtime_ns, status.st_ctime_ns),
        )
    assert retry(world, held=True).files == 1
    world.passes(100)
    assert world.state(f"{STUDY}.6") is InstanceState.STORED


# deleting


def withdraw(world: World, **of: str) -> int:
    wanted = orders.Withdraw(STUDY, of.get("series"), of.get("sop"))
    found: int = order(world, lambda now: commanded.withdraw(world.engine, wanted, now))
    return found


def settle(world: World, *, deleted: bool, **of: str) -> int:
    wanted = orders.Settle(STUDY, of.get("series"), of.get("sop"), deleted)
    found: int = order(world, lambda now: commanded.settle(world.engine, wanted, now))
    return found


@pytest.fixture
def stored(world: World) -> World:
    visit(world, world.folder)
    world.passes(60)
    assert world.states() == {"stored": 3, "file ready": 3}
    return world


def test_what_a_person_deletes_is_marked_before_and_deleted_after(stored: World) -> None:
    assert withdraw(stored) == 3
    assert stored.states()["deleting"] == 3
    stored.archive.held.clear()
    assert settle(stored, deleted=True) == 3
    stored.passes(4000)
    assert stored.states() == {"deleted": 3, "file ready": 3}
    assert len(stored.archive.requests) == 1


def test_what_the_archive_did_not_delete_is_again_what_it_was(stored: World) -> None:
    before = stored.ledger.connection.execute("SELECT id, state, reason FROM instances").fetchall()
    withdraw(stored)
    assert settle(stored, deleted=False) == 3
    assert stored.ledger.connection.execute("SELECT id, state, reason FROM instances").fetchall() == before


def test_only_the_instance_or_series_named_is_marked(stored: World) -> None:
    assert withdraw(stored, sop=f"{STUDY}.2") == 1
    assert withdraw(stored, series="9.9") == 0
    assert stored.states()["stored"] == 2
    settle(stored, deleted=False)


def test_a_study_that_nobody_knows_is_no_case_for_the_ledger(stored: World) -> None:
    wanted = orders.Withdraw("9.9.9")
    assert order(stored, lambda now: commanded.withdraw(stored.engine, wanted, now)) == 0


def test_nothing_is_marked_while_it_is_being_sent(world: World) -> None:
    world.hands.kept = []
    visit(world, world.folder)
    world.passes(30)
    assert "sending" in world.states()
    with pytest.raises(DicomsyncError, match="is being sent") as caught:
        withdraw(world)
    assert caught.value.exit_code == 5
    world.hands.release()
    world.passes(5)
    assert withdraw(world) == 3
    settle(world, deleted=False)


def test_what_waits_or_is_asked_about_is_let_go_of_and_comes_back_as_it_was(world: World) -> None:
    world.archive.answers = [world.archive.lose_answer]
    visit(world, world.folder)
    world.passes(12)
    assert withdraw(world) == 3
    world.passes(600)
    assert world.states()["deleting"] == 3
    settle(world, deleted=False)
    world.passes(600)
    assert world.states() == {"stored": 3, "file ready": 3}


def test_a_copy_or_a_move_of_a_deleted_instance_sends_nothing(stored: World) -> None:
    withdraw(stored)
    stored.archive.held.clear()
    settle(stored, deleted=True)
    copy = stored.folder / "a" / "copy.dcm"
    copy.write_bytes((stored.folder / "a" / "1.dcm").read_bytes())
    (stored.folder / "a" / "2.dcm").rename(stored.folder / "b" / "moved.dcm")
    visit(stored, stored.folder)
    stored.passes(4000)
    assert len(stored.archive.requests) == 1


def test_one_that_was_never_sent_is_not_brought_back_by_a_move_either(world: World) -> None:
    world.archive.down = True
    visit(world, world.folder)
    world.passes(60)
    withdraw(world)
    settle(world, deleted=True)
    world.archive.down = False
    (world.folder / "a" / "2.dcm").rename(world.folder / "b" / "moved.dcm")
    visit(world, world.folder)
    world.passes(4000)
    assert not world.archive.requests


# the wire


@pytest.mark.parametrize(
    "sound",
    [
        orders.Retry(("1.2",), True, "A700", True),
        orders.Retry(),
        orders.Withdraw("1.2"),
        orders.Settle("1.2", "1.3", None, True),
        Resolve("replaced", ((7, "0f" * 32),)),
        Resolve("keep archive", ((7, ""), (8, ""))),
        orders.Backfill("http://a/b", ("/x", os.fsdecode(b"/\xff")), ("*",), ()),
    ],
)
def test_an_order_comes_through_the_socket_as_it_was(sound: orders.Order) -> None:
    import json

    assert orders.from_message(json.loads(json.dumps(orders.to_message(sound)))) == sound


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"order": "delete"},
        {"order": "retry"},
        {"order": "retry", "uids": "1.2", "rejected": True, "reason": None, "held": False},
        {"order": "retry", "uids": [1], "rejected": True, "reason": None, "held": False},
        {"order": "retry", "uids": [], "rejected": 1, "reason": None, "held": False},
        {"order": "backfill", "archive": "x", "paths": ["/a\0b"], "include": [], "exclude": []},
        {"order": "resolve", "step": "burn", "of": []},
        {"order": "resolve", "step": "replaced", "of": [[1, "0f"]]},
        {"order": "resolve", "step": "undo", "of": [[True, ""]]},
        {"order": "resolve", "step": "undo", "of": [[1]]},
        {"order": "resolve", "step": "compared", "of": [[1, "<b>"]]},
        {"order": "backfill", "archive": None, "paths": [], "include": [], "exclude": []},
        {"order": "backfill", "archive": "x", "paths": ["/\ud800"], "include": [], "exclude": []},
        {"order": "retry", "uids": ["\ud800"], "rejected": True, "reason": None, "held": False},
        {"order": "saw", "asked_at": float("nan"), "seen": []},
        {"order": "saw", "asked_at": 10**400, "seen": []},
        {"order": "saw", "asked_at": -1.0, "seen": []},
        {"order": "heal", "instance_ids": [2**63]},
    ],
    ids=str,
)
def test_what_is_no_order_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(UsageProblem, match="does not understand"):
        orders.from_message(broken)

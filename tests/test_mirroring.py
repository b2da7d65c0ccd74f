"""Mirrored deletions on a real folder and ledger, with a made-up archive, clock and hands."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicomsync import removal, roots
from dicomsync.deletion import Rules
from dicomsync.errors import NoAnswer, Refused
from dicomsync.ledger import Removal
from dicomsync.model import InstanceState, Mirror, Moment

from .world import World

S = InstanceState
RULES = Rules(confirm_after_seconds=600.0, grace_seconds=3600.0, max_deletions=3, max_share=0.5)


class Mirrored(World):
    """A world of a daemon whose folder is enrolled and mirrors its deletions."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, kind: str = "dicom-server") -> None:
        super().__init__(home, monkeypatch, kind)
        self.once = False
        self.mirror = "on"
        self.rules = RULES
        self.again()
        self.enrol()
        self.passes(30)  # the first pass: what comes from now on comes live

    def enrol(self) -> None:
        root = roots.place(os.fsencode(self.folder))
        with self.ledger.transaction():
            self.ledger.enrol(os.fsencode(self.folder), root, self.now.wall)
            self.engine.mirroring.evidence.enrolled()

    def store(self, *names: str) -> list[str]:
        """Have files come live, and be stored."""
        uids: list[str] = []
        for name in names:
            uids.append(f"1.2.3.{len(self.archive.held) + len(uids) + 1}")
            self.put(name, uids[-1])
        self.engine.hint([], everywhere=True)
        self.passes(120, step=5)
        assert all(self.state(uid) is S.STORED for uid in uids)
        return uids

    def hours(self, hours: float) -> None:
        """Let time pass, step by step."""
        self.passes(hours * 3600, step=60)

    @property
    def removals(self) -> list[Removal]:
        return self.ledger.removals()

    @property
    def frozen(self) -> str:
        return self.ledger.roots()[0].frozen

    def why(self, uid: str) -> list[str]:
        """The history of an instance: its events, each with its detail."""
        (row,) = self.reader.instances_under(uid)
        return [
            " ".join(filter(None, (one["event"], one["detail"])))
            for one in self.reader.history("instance", row["id"])
        ]


Happens = Callable[[Mirrored], None]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirrored]:
    one = Mirrored(tmp_path, monkeypatch)
    yield one
    one.check()
    one.die()


def test_what_is_removed_soon_after_it_was_stored_is_deleted_after_its_grace_and_not_before(
    world: Mirrored,
) -> None:
    uid, *others = world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").unlink()
    world.hours(0.9)
    assert world.state(uid) is S.LEAVING
    assert not world.archive.deletions
    world.hours(1.0)
    assert world.archive.deletions == [("1.2.3", "1.2.3.1", uid)]
    assert world.state(uid) is S.DELETED
    assert world.reason(uid) == "mirrored"
    assert set(world.archive.held) == set(others)
    assert world.why(uid) == ["file-left", "proved-absent", "grace-begins", "deletion-begun", "mirrored"]
    (kept,) = world.trash.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert world.trash.stat().st_mode & 0o777 == 0o700


# nothing is deleted


@pytest.mark.parametrize("mode", ["report", "off"])
def test_without_on_nothing_is_ever_deleted(world: Mirrored, mode: Mirror) -> None:
    world.mirror = mode
    world.again()
    world.passes(30)
    uid, *_ = world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").unlink()
    world.hours(3)
    assert not world.archive.deletions
    assert world.state(uid) is S.STORED
    assert [one.reason for one in world.removals] == (["report"] if mode == "report" else [])


def test_a_folder_without_marker_is_only_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch)
    world.once, world.mirror, world.rules = False, "on", RULES
    world.again()
    world.passes(30)
    for number in range(4):
        world.put(f"{number}.dcm", f"1.2.3.{number + 1}")
    world.passes(700, step=5)
    (world.folder / "0.dcm").unlink()
    world.passes(3 * 3600, step=20)
    assert not world.archive.deletions
    assert world.state("1.2.3.1") is S.STORED
    (waiting,) = world.ledger.removals()
    assert (waiting.stage, waiting.reason) == ("grace", "not-enrolled")
    world.die()


def gone_late(world: Mirrored) -> None:
    world.hours(25)
    (world.folder / "test.dcm").unlink()


def overwritten_there(world: Mirrored) -> None:
    (world.folder / "test.dcm").unlink()
    world.archive.held["1.2.3.1"] = world.archive.held["1.2.3.1"][:-1] + b"x"


def overwritten_there_in_its_grace(world: Mirrored) -> None:
    (world.folder / "test.dcm").unlink()
    world.hours(0.8)
    assert world.state("1.2.3.1") is S.LEAVING
    world.archive.held["1.2.3.1"] = world.archive.held["1.2.3.1"][:-1] + b"x"


def lost_there(world: Mirrored) -> None:
    (world.folder / "test.dcm").unlink()
    del world.archive.held["1.2.3.1"]


def copied(world: Mirrored) -> None:
    shutil.copy(world.folder / "test.dcm", world.folder / "copy.dcm")
    world.engine.hint([], everywhere=True)
    world.passes(120)
    (world.folder / "test.dcm").unlink()


def linked(world: Mirrored) -> None:
    (world.folder / "deep").mkdir()
    os.link(world.folder / "test.dcm", world.folder / "deep" / "link.dcm")
    (world.folder / "test.dcm").unlink()


def renamed(world: Mirrored) -> None:
    (world.folder / "test.dcm").rename(world.folder / "other.dcm")


def came_back(world: Mirrored) -> None:
    (world.folder / "test.dcm").rename(world.folder.parent / "kept")
    world.hours(1)
    assert world.state("1.2.3.1") is S.LEAVING
    (world.folder.parent / "kept").rename(world.folder / "test.dcm")


def came_back_elsewhere(world: Mirrored) -> None:
    (world.folder / "test.dcm").rename(world.folder.parent / "kept")
    world.hours(1)
    (world.folder.parent / "kept").rename(world.folder / "returned.dcm")


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (gone_late, "stays late"),
        (overwritten_there, "stays differs-there"),
        (overwritten_there_in_its_grace, "stays differs-there"),
        (lost_there, "stays lost-there"),
        (copied, "stays elsewhere"),
        (linked, "stays reappeared"),
        (renamed, "stays reappeared"),
        (came_back, "stays reappeared"),
        (came_back_elsewhere, "stays reappeared"),
    ],
)
def test_it_is_told_why_nothing_came_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, happens: Callable[[Mirrored], None], why: str
) -> None:
    world = Mirrored(tmp_path, monkeypatch)
    world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    happens(world)
    world.hours(3)
    assert not world.archive.deletions
    assert world.why("1.2.3.1")[-1].startswith(why)
    assert not world.removals
    world.die()


def test_what_is_removed_while_something_of_its_study_is_open_waits(world: Mirrored) -> None:
    uid, *_ = world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    world.put("a.dcm", "1.2.3.2", pixel=9)  # edited: in conflict
    (world.folder / "test.dcm").unlink()
    world.hours(3)
    assert not world.archive.deletions
    assert [one.reason for one in world.removals] == ["study-open"]
    assert world.state(uid) is S.LEAVING


def test_an_event_is_no_evidence_and_one_full_pass_is_not_enough(world: Mirrored) -> None:
    world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").unlink()
    world.engine.hint([os.fsencode(world.folder)])
    world.passes(20, step=5)
    assert [one.stage for one in world.removals] == ["left"]
    world.engine.hint([], everywhere=True)
    world.passes(20, step=5)
    assert [one.stage for one in world.removals] == ["absent"]


def test_what_narrower_patterns_leave_out_has_not_left(world: Mirrored) -> None:
    uid, *_ = world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    world.exclude = ("test*",)
    world.again()
    world.hours(3)
    assert not world.archive.deletions
    assert not world.removals
    assert world.state(uid) is S.STORED


def test_what_other_patterns_bring_to_light_was_there_before_and_is_not_mirrored(world: Mirrored) -> None:
    world.exclude = ("old",)
    world.again()
    world.store("a.dcm", "b.dcm", "c.dcm")
    world.put("old/from-last-year.dcm", "1.2.3.9")
    world.exclude = ()
    world.again()
    world.passes(120, step=5)
    assert world.state("1.2.3.9") is S.STORED
    (world.folder / "old" / "from-last-year.dcm").unlink()
    world.hours(3)
    assert not world.archive.deletions
    assert world.why("1.2.3.9")[-1] == "stays backlog"


def test_what_has_its_name_taken_stays_and_keeps_no_other_back(world: Mirrored) -> None:
    taken, uid, *_ = world.store("taken.dcm", "test.dcm", "a.dcm", "b.dcm", "c.dcm")
    for name in ("taken.dcm", "test.dcm"):
        (world.folder / name).unlink()
    world.engine.hint([], everywhere=True)
    world.passes(70, step=5)
    world.put("taken.dcm", "1.2.3.9")
    world.hours(3)
    assert world.archive.deletions == [("1.2.3", "1.2.3.1", uid)]
    assert world.state(taken) is S.STORED
    assert world.why(taken)[-1] == "stays name-taken"


def test_a_file_that_cannot_be_read_might_be_it_and_keeps_all_back(
    world: Mirrored, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    monkeypatch.setattr(type(world.ledger), "contents_unknown", lambda _self: True)
    (world.folder / "test.dcm").unlink()
    world.hours(3)
    assert not world.archive.deletions
    assert [one.stage for one in world.removals] == ["left"]


def shelved(world: Mirrored) -> None:
    world.folder.rename(world.folder.parent / "unmounted")


def emptied(world: Mirrored) -> None:
    shelved(world)
    world.folder.mkdir()


def other_marker(world: Mirrored) -> None:
    emptied(world)
    roots.place(os.fsencode(world.folder))


def copied_marker(world: Mirrored) -> None:
    emptied(world)
    shutil.copytree(world.folder.parent / "unmounted" / ".dicomsync-root", world.folder / ".dicomsync-root")


def marker_gone(world: Mirrored) -> None:
    shutil.rmtree(world.folder / ".dicomsync-root")


def marker_garbled(world: Mirrored) -> None:
    (world.folder / ".dicomsync-root" / "id").write_text("something")


@pytest.mark.parametrize(
    "happens", [shelved, emptied, other_marker, copied_marker, marker_gone, marker_garbled]
)
@pytest.mark.parametrize("when", ["before", "in its grace"])
def test_under_a_folder_that_is_not_the_one_it_was_nothing_is_deleted(
    world: Mirrored, happens: Callable[[Mirrored], None], when: str
) -> None:
    world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    if when == "in its grace":
        (world.folder / "test.dcm").unlink()
        world.hours(0.9)
        assert world.state("1.2.3.1") is S.LEAVING
    happens(world)
    world.hours(3)
    assert not world.archive.deletions
    assert world.ledger.roots()[0].unhealthy


@pytest.mark.parametrize("within", [86_400.0, None], ids=["soon", "a master copy"])
def test_what_lay_in_another_folder_in_its_place_has_not_left_it(
    world: Mirrored, within: float | None
) -> None:
    world.within_seconds = within
    world.again()
    world.passes(30)
    world.store("a.dcm", "b.dcm", "c.dcm")
    aside = world.folder.with_name("aside")
    world.folder.rename(aside)
    shutil.copytree(aside, world.folder)  # another disk: it has the same marker, as it was copied
    (uid,) = world.store("test.dcm")
    shutil.rmtree(world.folder)
    aside.rename(world.folder)
    world.hours(3)
    assert not world.archive.deletions
    assert world.state(uid) is S.STORED
    assert world.why(uid)[-1] == "stays other-disk"
    world.store("here.dcm")
    (world.folder / "here.dcm").unlink()
    world.hours(3)
    assert len(world.archive.deletions) == 1


def test_what_leaves_at_once_freezes_all_until_a_person_types_the_count(world: Mirrored) -> None:
    uids = world.store(*(f"{number}.dcm" for number in range(10)))
    for number in range(4):
        (world.folder / f"{number}.dcm").unlink()
    world.hours(3)
    assert not world.archive.deletions
    assert world.frozen == "many"
    with world.ledger.transaction():
        root = world.ledger.roots()[0]
        assert world.ledger.approve(root.root_id, world.now.wall) == 4
    world.hours(1)
    assert sorted(sop for _, _, sop in world.archive.deletions) == uids[:4]
    assert world.frozen == ""


def test_the_guard_counts_over_a_day_and_not_over_a_pass(world: Mirrored) -> None:
    world.store(*(f"{number}.dcm" for number in range(20)))
    for number in range(4):
        assert not world.frozen
        (world.folder / f"{number}.dcm").unlink()
        world.hours(2.5)
    assert len(world.archive.deletions) == 3
    assert world.frozen == "many"


def test_the_guard_counts_what_was_being_deleted_as_the_clock_jumped(world: Mirrored) -> None:
    world.store(*(f"{number}.dcm" for number in range(20)))
    world.hands.keeps, world.hands.kept = ("delete",), []
    (world.folder / "0.dcm").unlink()
    world.hours(2)
    world.hands.kept[0][1]()  # the archive did it; the answer is lost
    world.now = replace(world.now, wall=world.now.wall + 1000.0)
    world.passes(5)
    world.again()
    for number in range(1, 4):
        assert not world.frozen
        (world.folder / f"{number}.dcm").unlink()
        world.hours(2.5)
    assert len(world.archive.deletions) == 3
    assert world.frozen == "many"


def test_a_top_level_directory_that_has_gone_freezes(world: Mirrored) -> None:
    world.store("study/test.dcm", "a.dcm", "b.dcm", "c.dcm")
    shutil.rmtree(world.folder / "study")
    world.hours(3)
    assert not world.archive.deletions
    assert world.frozen == "directory-gone"


def test_a_folder_that_has_nothing_left_freezes(world: Mirrored) -> None:
    world.store("test.dcm")
    (world.folder / "test.dcm").unlink()
    world.hours(3)
    assert not world.archive.deletions
    assert world.frozen == "emptied"


# clocks, configs, ledgers


def test_a_restart_loses_no_evidence_and_the_time_in_between_is_not_served(world: Mirrored) -> None:
    uid, *_ = world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").unlink()
    world.hours(0.9)
    assert world.state(uid) is S.LEAVING
    world.die()
    world.now = Moment(world.now.wall + 10 * 86400, 5.0)
    world.start()
    world.hours(0.3)
    assert not world.archive.deletions
    world.hours(1)
    assert world.state(uid) is S.DELETED


@pytest.mark.parametrize("seconds", [-86400.0, 10 * 365 * 86400.0])
def test_a_clock_that_jumps_has_the_evidence_begin_again(world: Mirrored, seconds: float) -> None:
    uid, *_ = world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").unlink()
    world.hours(0.9)
    world.now = replace(world.now, wall=world.now.wall + seconds)
    world.passes(5)
    assert world.state(uid) is S.STORED
    world.hours(0.9)
    assert not world.archive.deletions


def test_another_config_has_the_evidence_begin_again(world: Mirrored) -> None:
    uid, *_ = world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").unlink()
    world.hours(0.9)
    world.rules = replace(RULES, max_deletions=5)
    world.again()
    assert world.state(uid) is S.STORED
    assert world.why(uid)[-1] == "deletion-begins-again config"
    world.hours(0.9)
    assert not world.archive.deletions
    world.hours(1)
    assert world.state(uid) is S.DELETED


def test_what_was_stored_before_the_ledger_was_restored_is_never_deleted(world: Mirrored) -> None:
    uid, *_ = world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    world.die()
    old = world.ledger_path.read_bytes()
    world.start()
    world.store("d.dcm")
    world.die()
    world.ledger_path.write_bytes(old)
    world.start()
    (world.folder / "test.dcm").unlink()
    world.hours(3)
    assert not world.archive.deletions
    assert world.why(uid)[-1] == "stays doubted-ledger"


# one last look, and the archive


def reappears(world: Mirrored) -> None:
    world.put("test.dcm", "1.2.3.1")


@pytest.mark.parametrize("happens", [reappears, shelved, marker_gone])
def test_what_changes_between_the_intent_and_the_request_is_seen_and_nothing_is_sent(
    world: Mirrored, monkeypatch: pytest.MonkeyPatch, happens: Callable[[Mirrored], None]
) -> None:
    world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").unlink()
    real = removal.delete

    def late(*arguments: Any) -> removal.Sent:
        happens(world)
        monkeypatch.setattr(removal, "delete", real)
        return real(*arguments)

    monkeypatch.setattr(removal, "delete", late)
    world.hours(2)
    assert removal.delete is real, "it came so far"
    assert not world.archive.deletions
    assert world.state("1.2.3.1") in (S.STORED, S.LEAVING)


@pytest.mark.parametrize("point", ["K13", "K14", "K14, not done"])
def test_after_a_crash_the_archive_is_asked_and_nothing_is_repeated_blindly(
    world: Mirrored, point: str
) -> None:
    uid, *_ = world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").unlink()
    world.hands.keeps, world.hands.kept = ("delete",), []
    world.hours(2)
    assert world.state(uid) is S.DELETING
    assert len(world.hands.kept) == 1
    if point == "K14":
        world.hands.kept[0][1]()  # the archive did it; the answer is lost
    elif point == "K14, not done":
        world.archive.delete_answers = [lambda _uid: None]
        world.hands.kept[0][1]()
    searches = world.archive.searches
    world.again()
    world.hours(1)
    assert world.archive.searches > searches
    assert world.state(uid) is S.DELETED
    again = ["not-deleted interrupted", "deletion-begun"] if point != "K14" else []
    assert world.why(uid)[-2 - len(again) :] == ["deletion-begun", *again, "mirrored"]
    assert len(world.archive.deletions) == {"K13": 1, "K14": 1, "K14, not done": 2}[point]


@pytest.mark.parametrize("mode", ["on", "off"])
def test_what_a_crash_cut_short_is_proved_anew_under_another_config(world: Mirrored, mode: Mirror) -> None:
    uid, *_ = world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").unlink()
    world.hands.keeps, world.hands.kept = ("delete",), []
    world.hours(2)
    assert world.state(uid) is S.DELETING
    world.mirror, world.rules = mode, replace(RULES, max_deletions=2)
    world.again()
    world.hours(1)
    assert not world.archive.deletions
    assert world.state(uid) is (S.LEAVING if mode == "on" else S.STORED)
    world.hours(1)
    assert world.state(uid) is (S.DELETED if mode == "on" else S.STORED)


def refuses(status: int) -> Callable[[str], None]:
    def answer(_uid: str) -> None:
        raise Refused("no", status=status)

    return answer


@pytest.mark.parametrize(
    ("status", "why"), [(403, "refused"), (405, "cannot-delete"), (501, "cannot-delete")]
)
def test_an_archive_that_refuses_is_not_asked_again_until_a_person_has_looked(
    world: Mirrored, status: int, why: str
) -> None:
    uid, *_ = world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").unlink()
    world.archive.delete_answers = [refuses(status)]
    world.hours(6)
    assert len(world.archive.deletions) == 1
    assert world.state(uid) is S.LEAVING
    assert world.frozen == why


def test_an_archive_that_gives_no_answer_is_asked_whether_it_has_it_still(world: Mirrored) -> None:
    uid, *_ = world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").unlink()

    def breaks(_uid: str) -> None:
        del world.archive.held[uid]
        raise NoAnswer("timeout", "gone")

    world.archive.delete_answers = [breaks]
    world.hours(2)
    assert len(world.archive.deletions) == 1
    assert world.state(uid) is S.DELETED


def test_an_archive_that_says_deleted_and_keeps_it_is_told_and_not_asked_again(world: Mirrored) -> None:
    uid, *_ = world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").unlink()
    world.archive.delete_answers = [lambda _uid: None]
    world.hours(6)
    assert len(world.archive.deletions) == 1
    assert (world.state(uid), world.frozen) == (S.LEAVING, "not-gone")


def test_an_archive_that_cannot_delete_turns_it_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = Mirrored(tmp_path, monkeypatch, kind="healthimaging")
    world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").unlink()
    world.hours(3)
    assert not world.archive.deletions
    assert world.frozen == "cannot-delete"
    world.die()


# undo


def test_what_was_deleted_is_stored_again_from_its_copy_byte_for_byte(world: Mirrored) -> None:
    uid, *_ = world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    before = world.archive.held[uid]
    (world.folder / "test.dcm").unlink()
    world.hours(2)
    assert world.state(uid) is S.DELETED
    with world.ledger.transaction():
        assert world.ledger.undo(uid, 0.0, world.now.wall) == ""
    world.passes(120, step=5)
    assert world.archive.held[uid] == before
    assert world.state(uid) is S.STORED
    world.hours(3)
    assert len(world.archive.deletions) == 1, "it is not deleted again"


def test_what_only_conflicts_is_no_live_instance_to_the_guards(world: Mirrored) -> None:
    world.store("a.dcm", "b.dcm", "c.dcm", "d.dcm", "e.dcm")
    world.put("z.dcm", "1.2.3.5", pixel=7)
    world.hours(0.2)
    assert sorted(one["state"] for one in world.reader.instances_under("1.2.3.5")) == ["conflict", "stored"]
    for name in ("a.dcm", "b.dcm"):
        (world.folder / name).unlink()
    world.hours(1)
    assert world.frozen == "share"  # two of three, where half of them may go


@pytest.mark.parametrize("verified", [False, True])
def test_what_cannot_be_fetched_keeps_back_nothing_else(world: Mirrored, *, verified: bool) -> None:
    stuck, other, *_ = world.store("a.dcm", "b.dcm", "c.dcm", "d.dcm", "e.dcm", "f.dcm")
    fetched, real = [], world.archive.instance

    def instance(study: str, series: str, sop: str) -> Any:
        fetched.append(sop)
        if sop == stuck and len(fetched) > verified:
            raise NoAnswer("broken", "gone")
        return real(study, series, sop)

    world.archive.instance = instance  # type: ignore[method-assign]  # a trap in its place
    (world.folder / "a.dcm").unlink()
    world.hours(0.4)
    (world.folder / "b.dcm").unlink()
    world.hours(3)
    assert world.state(other) is S.DELETED
    assert stuck in world.archive.held
    assert [one.due.sop_instance_uid for one in world.removals] == [stuck]
    world.archive.instance = real  # type: ignore[method-assign]  # a trap in its place
    world.hours(2)
    assert world.state(stuck) is S.DELETED


def test_without_room_for_a_copy_nothing_is_deleted(world: Mirrored) -> None:
    world.rules = replace(RULES, undo_max_bytes=100)
    world.again()
    world.passes(30)
    world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").unlink()
    world.hours(3)
    assert not world.archive.deletions
    assert [one.reason for one in world.removals] == ["no-room"]


def test_a_copy_that_an_ended_process_left_behind_is_removed_after_the_same_time(world: Mirrored) -> None:
    world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").unlink()
    world.hours(2)
    (kept,) = world.trash.iterdir()
    left = [world.trash / ("0" * 32), world.trash / f"{'1' * 32}.part"]
    others = [world.trash / ("2" * 32), world.trash / "notes.txt"]
    month = 30 * 86_400.0
    for one, age in zip(
        [kept, *left, *others], [2 * month, 1.1 * month, 1.1 * month, 0.9 * month, 2 * month], strict=True
    ):
        one.touch()
        os.utime(one, (world.now.wall - age,) * 2)
    world.hours(2)
    assert set(world.trash.iterdir()) == {kept, *others}


def test_a_copy_is_removed_after_its_time_and_then_there_is_nothing_to_undo(world: Mirrored) -> None:
    world.rules = replace(RULES, undo_seconds=7200.0)
    world.again()
    world.passes(30)
    uid, *_ = world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").unlink()
    world.hours(2)
    assert list(world.trash.iterdir())
    world.hours(4)
    assert not list(world.trash.iterdir())
    with world.ledger.transaction():
        assert world.ledger.undo(uid, 0.0, world.now.wall) == "copy-gone"


def test_a_file_that_comes_back_after_its_deletion_is_stored_again(world: Mirrored) -> None:
    uid, *_ = world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").rename(world.folder.parent / "kept")
    world.hours(2)
    assert world.state(uid) is S.DELETED
    (world.folder.parent / "kept").rename(world.folder / "test.dcm")
    world.hours(0.5)
    assert world.state(uid) is S.STORED
    assert uid in world.archive.held


def test_a_copy_of_what_is_not_deleted_after_all_is_not_left_lying_about(
    world: Mirrored, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid, *_ = world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").unlink()
    real = removal.prepare

    def late(*arguments: Any) -> removal.Prepared:
        found = real(*arguments)
        assert len(list(world.trash.iterdir())) == 1
        world.put("copy.dcm", uid, fresh=True)  # it comes back in the middle of the last check
        monkeypatch.setattr(removal, "prepare", real)
        world.engine.hint([], everywhere=True)
        return found

    monkeypatch.setattr(removal, "prepare", late)
    world.archive.delete_answers = [refuses(403)]
    world.hours(2)
    assert removal.prepare is real
    assert len(list(world.trash.iterdir())) <= 1
    assert world.state(uid) in (S.STORED, S.LEAVING)

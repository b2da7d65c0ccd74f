"""Two contents under one UID in the engine: told apart, decided by a person, never sent over one another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dicomsync import commanded
from dicomsync.dicomweb.response import parse
from dicomsync.errors import DicomsyncError
from dicomsync.ledger import Conflict
from dicomsync.model import InstanceState, Moment
from dicomsync.resolution import Resolve, Step
from dicomsync.samples import instance

from .world import STUDY, World, answer, gives

UID = f"{STUDY}.1"
REWRITING = ("dcm4chee", "healthimaging", "generic")
S = InstanceState


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    one = World(tmp_path, monkeypatch)
    yield one
    one.check()
    one.die()


def theirs(syntax: str = "1.2.840.10008.1.2.1", pixels: bytes = bytes(128), **extra: object) -> bytes:
    """What an archive gives back of `world.put("…", UID)`, changed like this."""
    return instance(
        study_uid=STUDY,
        series_uid=f"{STUDY}.1",
        sop_uid=UID,
        rows=8,
        columns=8,
        pixels=pixels,
        transfer_syntax=syntax,
        extra=extra,
    )


def conflict(world: World) -> Conflict:
    (one,) = world.reader.conflicts()
    return one


def take(world: World, step: Step, instance_id: int, word: str = "") -> int:
    order = Resolve.one(step, instance_id, word)

    def act(now: Moment) -> int:
        return commanded.resolve(world.engine, order, now)

    future = world.engine.order(act)
    world.turns()
    return future.result(0)


# archives that rewrite what they store (servers.md 9.4a)


def test_an_archive_not_known_to_rewrite_gives_no_excuse_for_a_difference(world: World) -> None:
    world.archive.kind = "generic"
    world.put("1.dcm", UID)
    world.archive.held[UID] = theirs(InstitutionName="somebody else's")
    world.until_done()
    assert (world.state(UID), world.reason(UID)) == (S.CONFLICT, "differs")


def test_after_a_lost_answer_an_agreeing_copy_is_ours_there_too(world: World) -> None:
    world.archive.kind = "generic"
    world.archive.answers = [world.archive.lose_answer]
    world.put("1.dcm", UID)
    world.turns()
    world.archive.held[UID] = theirs(InstitutionName="coerced")
    world.until_done()
    assert (world.state(UID), world.reason(UID)) == (S.STORED, "agrees")


@pytest.mark.parametrize("kind", [kind for kind in REWRITING if kind != "generic"])
def test_what_an_archive_has_rewritten_is_known_by_its_dataset_and_not_called_verified(
    world: World, kind: str
) -> None:
    world.archive.kind = kind
    world.put("1.dcm", UID)
    world.archive.held[UID] = theirs(InstitutionName="coerced")
    world.until_done()
    assert (world.state(UID), world.reason(UID)) == (S.STORED, "agrees")
    (row,) = world.reader.instances_under(UID)
    assert row["verified_at"] is None
    assert not world.archive.requests


@pytest.mark.parametrize("kind", REWRITING)
def test_the_very_bytes_are_verified_there_too(world: World, kind: str) -> None:
    world.archive.kind = kind
    world.archive.held[UID] = world.put("1.dcm", UID).read_bytes()
    world.until_done()
    (row,) = world.reader.instances_under(UID)
    assert (row["reason"], row["verified_at"] is not None) == ("already-there", True)


@pytest.mark.parametrize("kind", REWRITING)
@pytest.mark.parametrize(
    "other",
    [theirs(pixels=b"\1\0" * 64), theirs("1.2.840.10008.1.2"), theirs(PatientID="1", PatientName="A")],
    ids=["pixels", "transfer syntax", "patient"],
)
def test_another_content_is_a_conflict_there_too(world: World, kind: str, other: bytes) -> None:
    world.archive.kind = kind
    world.put("1.dcm", UID, extra={"PatientID": "2", "PatientName": "A"})
    world.archive.held[UID] = other
    world.until_done()
    assert (world.state(UID), world.reason(UID)) == (S.CONFLICT, "differs")
    assert not world.archive.requests


@pytest.mark.parametrize(("lost", "expected"), [(True, "presence-only"), (False, "incomparable")])
def test_what_was_compressed_anew_cannot_be_compared_and_that_is_said(
    world: World, lost: bool, expected: str
) -> None:
    world.archive.kind = "healthimaging"
    htj2k = theirs("1.2.840.10008.1.2.4.201", pixels=b"abcd")
    world.put("1.dcm", UID)
    if lost:
        world.archive.answers = [world.archive.lose_answer]
        world.archive.on_part = lambda: world.archive.held.__setitem__(UID, htj2k)
    else:
        world.archive.held[UID] = htj2k
    world.until_done()
    assert world.reason(UID) == expected
    assert world.state(UID) is (S.STORED if lost else S.CONFLICT)


@pytest.mark.parametrize("kind", ["dicom-server", "orthanc", "google"])
def test_an_archive_that_gives_back_the_very_bytes_is_held_to_them(world: World, kind: str) -> None:
    world.archive.kind = kind
    world.put("1.dcm", UID)
    world.archive.held[UID] = theirs(InstitutionName="coerced")
    world.until_done()
    assert (world.state(UID), world.reason(UID)) == (S.CONFLICT, "differs")


# 409 is four things


def failed(uid: str, reason: int) -> dict[str, object]:
    return {
        "00081150": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
        "00081155": {"vr": "UI", "Value": [uid]},
        "00081197": {"vr": "US", "Value": [reason]},
    }


def test_409_is_four_things_in_one_answer(world: World) -> None:
    """As the Medical Imaging Server words it: 45070 exists, 43264 does not validate, 45071 in progress."""
    same, other = world.put("1.dcm", f"{STUDY}.1"), world.put("2.dcm", f"{STUDY}.2")
    world.put("3.dcm", f"{STUDY}.3")
    world.put("4.dcm", f"{STUDY}.4")
    codes = {1: 45070, 2: 45070, 3: 43264, 4: 45071}
    module = {"00081198": {"vr": "SQ", "Value": [failed(f"{STUDY}.{n}", c) for n, c in codes.items()]}}
    recorded = parse(json.dumps(module).encode(), "application/dicom+json")
    assert recorded is not None
    world.archive.held = {f"{STUDY}.1": same.read_bytes(), f"{STUDY}.2": other.read_bytes()[:-1] + b"\7"}
    world.archive.answers = [gives(409, recorded)]
    world.turns()
    assert world.state(f"{STUDY}.4") is S.PENDING
    world.until_done()
    states = {n: (world.state(f"{STUDY}.{n}"), world.reason(f"{STUDY}.{n}")) for n in codes}
    assert states[1] == (S.STORED, "already-there")
    assert states[2] == (S.CONFLICT, "differs")
    assert states[3] == (S.REJECTED, "failure-A900")
    assert states[4] == (S.STORED, "")
    assert world.archive.requests[1:] == [(f"{STUDY}.4",)], "only what was in progress is sent again"


def test_a_409_without_a_body_is_asked_about_and_proves_nothing(world: World) -> None:
    world.put("1.dcm", UID)
    world.archive.answers = [lambda _bodies: answer(409)]
    world.turns()
    assert world.state(UID) is S.UNCONFIRMED
    world.until_done()
    assert world.state(UID) is S.STORED


# a person's decision


def clashing(world: World) -> Conflict:
    """A file that was stored, and then edited."""
    world.put("1.dcm", UID, pixel=1)
    world.until_done()
    world.put("1.dcm", UID, pixel=2)
    world.again()
    world.until_done()
    return conflict(world)


def test_what_a_person_decided_against_is_sent_by_nobody_and_needs_nobody(world: World) -> None:
    found = clashing(world)
    assert take(world, Step.KEEP_ARCHIVE, found.ours.instance_id) == 1
    path = world.folder / "1.dcm"
    (world.folder / "copy.dcm").write_bytes(path.read_bytes())
    path.rename(world.folder / "moved.dcm")
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "superseded": 1, "file ready": 2, "file gone": 1}
    assert len(world.archive.requests) == 1
    assert take(world, Step.KEEP_ARCHIVE, found.ours.instance_id) == 0, "it is settled"


def test_a_third_content_is_a_new_conflict(world: World) -> None:
    take(world, Step.KEEP_ARCHIVE, clashing(world).ours.instance_id)
    world.put("1.dcm", UID, pixel=3)
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "superseded": 1, "conflict": 1, "file ready": 1}


def test_what_was_begun_outlives_a_restart_and_is_touched_by_nobody(world: World) -> None:
    found = clashing(world)
    digest = "0f" * 32
    take(world, Step.BEGIN, found.ours.instance_id, digest)
    take(world, Step.BEGIN, found.ours.instance_id, digest)  # the same command again
    world.again()
    world.passes(4000)
    assert world.states() == {"deleting": 1, "conflict": 1, "file ready": 1}
    assert len(world.archive.requests) == 1
    assert conflict(world).ours.reason == "resolving"
    before = found.rival
    assert before is not None
    take(world, Step.UNDO, found.ours.instance_id)
    after = conflict(world)
    assert after.rival == before
    assert after.ours.reason == found.ours.reason == "differs"


def test_before_anything_was_sent_the_other_file_can_go_first(world: World) -> None:
    world.archive.down = True
    world.put("1.dcm", UID, pixel=1)
    second = world.put("2.dcm", UID, pixel=2)
    world.turns()
    found = conflict(world)
    assert found.ours.reason == "other-file"
    with pytest.raises(DicomsyncError, match="still to be sent") as caught:
        take(world, Step.KEEP_ARCHIVE, found.ours.instance_id)
    assert caught.value.exit_code == 5
    assert conflict(world) == found
    take(world, Step.FIRST, found.ours.instance_id)
    world.archive.down = False
    world.until_done()
    assert world.archive.held[UID] == second.read_bytes()
    assert world.states() == {"stored": 1, "superseded": 1, "file ready": 2}


@pytest.mark.parametrize("step", [Step.KEEP_ARCHIVE, Step.BEGIN, Step.FIRST])
def test_nothing_is_decided_while_the_other_content_is_on_its_way(world: World, step: Step) -> None:
    world.archive.down = True
    world.put("1.dcm", UID, pixel=1)
    world.put("2.dcm", UID, pixel=2)
    world.turns()
    found = conflict(world)
    world.archive.down = False
    world.hands.kept = []
    world.passes(60)
    assert "sending" in world.states()
    with pytest.raises(DicomsyncError, match="nothing was changed"):
        take(world, step, found.ours.instance_id, "0f" * 32)
    world.hands.release()
    world.until_done()
    assert world.states()["stored"] == 1


def test_how_two_contents_differ_is_kept_until_there_is_another_content(world: World) -> None:
    found = clashing(world)
    take(world, Step.COMPARED, found.ours.instance_id, "pixels")
    assert [(one.n, one.likeness) for one in world.reader.conflict_sums()] == [(1, "pixels")]
    world.put("1.dcm", UID, pixel=3)
    world.again()
    world.until_done()
    assert [(one.n, one.likeness) for one in world.reader.conflict_sums()] == [(1, "")]


# files that change, move and come back


def edit_and_put_back(world: World) -> None:
    world.put("1.dcm", UID, pixel=2)
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "conflict": 1, "file ready": 1}
    world.put("1.dcm", UID, pixel=1)


def leave_and_come_back(world: World) -> None:
    (world.folder / "1.dcm").unlink()
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "file gone": 1}
    world.put("1.dcm", UID, pixel=1)


def come_back_elsewhere(world: World) -> None:
    leave_and_come_back(world)
    (world.folder / "1.dcm").rename(world.folder / "other.dcm")


def move_the_directory(world: World) -> None:
    (world.folder / "deep").mkdir()
    (world.folder / "1.dcm").rename(world.folder / "deep" / "1.dcm")
    (world.folder / "deep").rename(world.folder / "moved")


@pytest.mark.parametrize(
    "happens", [edit_and_put_back, leave_and_come_back, come_back_elsewhere, move_the_directory]
)
def test_a_content_that_was_stored_is_recognised_and_nothing_is_sent(
    world: World, happens: Callable[[World], None]
) -> None:
    world.put("1.dcm", UID, pixel=1)
    world.until_done()
    happens(world)
    world.again()
    world.until_done()
    states = world.states()
    states.pop("file gone", None)
    assert states == {"stored": 1, "file ready": 1}, "the conflict is over with the content that made it"
    assert len(world.archive.requests) == 1

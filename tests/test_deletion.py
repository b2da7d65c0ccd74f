"""When is a deletion mirrored, and above all when is it not? Every refusal in a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dicomsync import deletion
from dicomsync.deletion import FullScan, Left, Root, Rules, Standing
from dicomsync.model import InstanceState

S = InstanceState
DAY = 86_400.0
RULES = Rules()
ROOT = Root("a" * 32, 5, 77, 9, "ext4")
LEFT = Left(S.STORED, "", True, True, True, "", 1000.0, 2000.0)
SCAN = FullScan(8, 1000.0, 0, (5, 77), "", "")
READY = Standing(
    enrolled=True,
    on=True,
    supported=True,
    unhealthy="",
    frozen="",
    ledger_settled=True,
    folders_read=True,
    files_known=True,
    graced_seconds=RULES.grace_seconds,
    study_open=False,
    archive_answers=True,
)


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (ROOT, ""),
        (replace(ROOT, nested=(b"/in/usb",)), ""),
        (replace(ROOT, marker="b" * 32), "marker-other"),
        (replace(ROOT, marker=""), "marker-other"),
        (replace(ROOT, device=6), "root-other"),
        (replace(ROOT, inode=78), "root-other"),
        (replace(ROOT, filesystem_id=10), "root-other"),
        (replace(ROOT, filesystem="tmpfs"), "root-other"),
        (replace(ROOT, problem="marker-missing"), "marker-missing"),
        (Root(problem="root-unreadable"), "root-unreadable"),
        (Root(), "marker-other"),
    ],
)
def test_a_folder_is_healthy_only_as_the_very_one_that_was_enrolled(seen: Root, why: str) -> None:
    assert deletion.unhealthy(ROOT, seen) == why


def test_a_folder_that_was_never_enrolled_is_never_healthy() -> None:
    assert deletion.unhealthy(None, ROOT) == "not-enrolled"
    assert deletion.unhealthy(None, Root()) == "not-enrolled"


@pytest.mark.parametrize(
    ("scan", "why"),
    [
        (SCAN, ""),
        (replace(SCAN, problems=1), "unread"),
        (replace(SCAN, before="unseen"), "unseen"),
        (replace(SCAN, before="marker-missing"), "marker-missing"),
        (replace(SCAN, after="root-other"), "root-other"),
        (replace(SCAN, root=(6, 77)), "root-other"),
        (replace(SCAN, root=(5, 78)), "root-other"),
        (replace(SCAN, root=(0, 0)), "root-other"),
        (replace(SCAN, root=(-1, -1)), "root-other"),
    ],
)
def test_a_pass_proves_something_only_without_an_error_and_of_the_folder_itself(
    scan: FullScan, why: str
) -> None:
    assert deletion.proves_nothing(scan, ROOT) == why


@pytest.mark.parametrize(
    ("first_scan", "first_seen", "is_second"),
    [
        (7, 400.0, True),
        (7, 400.1, False),  # not far enough from the end of the first
        (8, 400.0, False),  # the same pass
        (9, 400.0, False),
    ],
)
def test_the_second_pass_is_another_one_and_long_enough_after_the_first(
    first_scan: int, first_seen: float, is_second: bool
) -> None:
    assert deletion.confirmed(SCAN, first_scan, first_seen, RULES) is is_second


@pytest.mark.parametrize(
    ("left", "why"),
    [
        (LEFT, ""),
        (replace(LEFT, reason="warning"), ""),
        (replace(LEFT, reason="confirmed"), ""),
        (replace(LEFT, reason="resolved"), ""),
        (replace(LEFT, state=S.LEAVING), ""),
        (replace(LEFT, state=S.PENDING), ""),  # it waits until that is settled
        (replace(LEFT, state=S.UNCONFIRMED), ""),
        (replace(LEFT, verified=False), ""),  # compared before its grace
        (replace(LEFT, state=S.CONFLICT), "not-stored"),
        (replace(LEFT, state=S.SUPERSEDED), "not-stored"),
        (replace(LEFT, state=S.REJECTED), "not-stored"),
        (replace(LEFT, state=S.MISSED), "not-stored"),
        (replace(LEFT, state=S.DELETED), "not-stored"),
        (replace(LEFT, reason="already-there"), "not-ours"),
        (replace(LEFT, reason="anything new"), "not-ours"),
        (replace(LEFT, reason="agrees"), "rewritten"),
        (replace(LEFT, reason="presence-only"), "uncompared"),
        (replace(LEFT, hashed=False), "uncompared"),
        (replace(LEFT, stored_at=None), "uncompared"),
        (replace(LEFT, found="missing"), "lost-there"),
        (replace(LEFT, found="differs"), "differs-there"),
        (replace(LEFT, ledger_trusted=False), "doubted-ledger"),
        (replace(LEFT, one_folder=False), "other-folder"),
        (replace(LEFT, one_disk=False), "other-disk"),
        (replace(LEFT, live=False), "backlog"),
        (replace(LEFT, clock_trusted=False), "clock"),
        (replace(LEFT, left_at=1000.0 + DAY), ""),
        (replace(LEFT, left_at=1000.1 + DAY), "late"),
        (replace(LEFT, left_at=-2600.0), ""),  # it left while it was on its way
        (replace(LEFT, left_at=-2600.1), "late"),  # nobody knows
    ],
)
def test_only_what_we_stored_ourselves_live_and_saw_vanish_soon_is_eligible(left: Left, why: str) -> None:
    assert deletion.ineligible(left, DAY) == why


@pytest.mark.parametrize("state", S)
def test_no_state_but_those_of_what_is_stored_or_on_its_way_is_eligible(state: InstanceState) -> None:
    good = {S.STORED, S.LEAVING, S.DELETING, S.PENDING, S.SENDING, S.UNCONFIRMED}
    assert (deletion.ineligible(replace(LEFT, state=state), DAY) == "") is (state in good)


@pytest.mark.parametrize(
    "left",
    [
        replace(LEFT, live=False),
        replace(LEFT, left_at=1000.0 + 400 * DAY),
        replace(LEFT, clock_trusted=False),
    ],
)
def test_a_master_copy_lifts_the_conditions_of_time_and_no_other(left: Left) -> None:
    assert deletion.ineligible(left, None) == ""
    assert deletion.ineligible(replace(left, reason="already-there"), None) == "not-ours"
    assert deletion.ineligible(replace(left, one_folder=False), None) == "other-folder"
    assert deletion.ineligible(replace(left, ledger_trusted=False), None) == "doubted-ledger"


@pytest.mark.parametrize(
    ("eligible", "live", "gone", "why"),
    [
        (0, 0, True, ""),
        (1, 10, False, ""),  # at least one
        (2, 10, False, "share"),
        (2, 99, False, "share"),
        (2, 100, False, ""),
        (20, 1000, False, ""),
        (21, 100_000, False, "many"),
        (1, 0, False, "emptied"),
        (1, 10, True, "directory-gone"),
        (5000, 0, True, "many"),
    ],
)
def test_a_guard_is_tripped_by_more_than_so_many_a_share_an_emptied_folder_a_directory(
    eligible: int, live: int, gone: bool, why: str
) -> None:
    assert deletion.guard(eligible, live, RULES, directory_gone=gone) == why


@pytest.mark.parametrize(
    ("standing", "why"),
    [
        (READY, ""),
        (replace(READY, frozen="many"), "many"),
        (replace(READY, supported=False), "cannot-delete"),
        (replace(READY, unhealthy="marker-missing"), "marker-missing"),
        (replace(READY, enrolled=False), "not-enrolled"),
        (replace(READY, graced_seconds=RULES.grace_seconds - 0.1), "grace"),
        (replace(READY, graced_seconds=float("nan")), "grace"),
        (replace(READY, on=False), "report"),
        (replace(READY, ledger_settled=False), "doubted-ledger"),
        (replace(READY, study_open=True), "study-open"),
        (replace(READY, folders_read=False), "folders-unread"),
        (replace(READY, files_known=False), "files-unknown"),
        (replace(READY, archive_answers=False), "archive-away"),
    ],
)
def test_each_thing_that_is_not_as_it_must_be_keeps_a_deletion_back(standing: Standing, why: str) -> None:
    assert deletion.waits_for(standing, RULES) == why

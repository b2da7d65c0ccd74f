"""Has a file stopped changing? Two equal looks far enough apart, or a change time well in the past."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomsync.model import Moment, StatKey
from dicomsync.settle import Look, wait_seconds

HOUR = 3600.0
WALL = 1_800_000_000.0
KEY = StatKey(size_bytes=4096, mtime_ns=0, ctime_ns=int(WALL * 1e9), inode=7)
FRESH = Moment(WALL + 1, 1000.0)


def wait(
    key: StatKey = KEY,
    now: Moment = FRESH,
    earlier: Look | None = None,
    settle_seconds: float = 5.0,
    old_seconds: float = HOUR,
) -> float:
    return wait_seconds(key, now, earlier, settle_seconds=settle_seconds, old_seconds=old_seconds)


def changed_before(seconds: float) -> StatKey:
    """A file whose change time lies this far before the moment FRESH."""
    return KEY._replace(ctime_ns=int((FRESH.wall - seconds) * 1e9))


def test_a_file_never_looked_at_before_waits_the_whole_settle_time() -> None:
    assert wait() == 5.0


@pytest.mark.parametrize(
    "other",
    [
        KEY._replace(size_bytes=4097),
        KEY._replace(mtime_ns=1),
        KEY._replace(ctime_ns=KEY.ctime_ns + 1),
        KEY._replace(inode=8),
    ],
    ids=["size", "modification time", "change time", "inode"],
)
def test_any_part_of_the_key_that_changed_starts_the_wait_again(other: StatKey) -> None:
    long_ago = FRESH.mono - 500
    assert wait(earlier=Look(KEY, long_ago)) == 0.0
    assert wait(earlier=Look(other, long_ago)) == 5.0


@pytest.mark.parametrize(
    ("apart", "left"), [(0.0, 5.0), (0.1, 4.9), (4.9, 0.1), (5.0, 0.0), (5.1, 0.0), (9e9, 0.0)]
)
def test_two_equal_looks_settle_a_file_only_when_they_are_far_enough_apart(apart: float, left: float) -> None:
    assert wait(earlier=Look(KEY, FRESH.mono - apart)) == pytest.approx(left)


@pytest.mark.parametrize(
    ("age", "settled"),
    [(-9e6, False), (-1, False), (0, False), (HOUR - 1, False), (HOUR + 1, True), (9e6, True)],
)
def test_a_change_time_settles_a_file_only_when_it_is_older_than_what_counts_as_old(
    age: float, settled: bool
) -> None:
    assert (wait(changed_before(age)) == 0.0) is settled


def test_an_old_modification_time_proves_nothing_because_a_copy_keeps_it() -> None:
    assert wait(KEY._replace(mtime_ns=0)) == 5.0


def test_a_new_modification_time_does_not_make_an_old_change_time_fresh() -> None:
    assert wait(changed_before(2 * HOUR)._replace(mtime_ns=KEY.ctime_ns)) == 0.0


def test_a_backfill_trusts_a_change_time_sooner_than_a_daemon() -> None:
    minute_old = changed_before(60)
    assert wait(minute_old, old_seconds=5.0) == 0.0
    assert wait(minute_old, old_seconds=HOUR) == 5.0


@pytest.mark.parametrize("jump", [-40 * 365 * 86400.0, -7200.0, 3000.0])
def test_setting_the_wall_clock_neither_shortens_nor_lengthens_the_wait_between_looks(jump: float) -> None:
    now = Moment(FRESH.wall + jump, FRESH.mono)
    assert wait(now=now, earlier=Look(KEY, now.mono - 2)) == pytest.approx(3.0)


def test_what_rounding_leaves_of_a_wait_is_no_wait() -> None:
    earlier = Look(KEY, 0.1)
    assert wait(now=Moment(FRESH.wall, 0.1 + 0.7 - 1e-9), earlier=earlier, settle_seconds=0.7) == 0.0


def test_no_settle_time_means_no_second_look() -> None:
    assert wait(settle_seconds=0.0) == 0.0


@settings(deadline=None)
@given(
    st.floats(0, 2e9),
    st.floats(0, 1e6),
    st.none() | st.tuples(st.booleans(), st.floats(0, 1e6)),
    st.floats(0, 600),
    st.floats(0, HOUR),
)
def test_the_wait_is_never_negative_and_never_longer_than_the_settle_time(
    wall: float, mono: float, earlier: tuple[bool, float] | None, settle: float, old: float
) -> None:
    look = None
    if earlier is not None:
        look = Look(KEY if earlier[0] else KEY._replace(size_bytes=1), min(earlier[1], mono))
    assert 0.0 <= wait(KEY, Moment(wall, mono), look, settle, old) <= settle

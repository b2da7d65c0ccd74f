"""Which instances go together in one request, and when a study's next request is due."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomsync.batching import Caps, choose, due_at
from dicomsync.model import Due

MIB = 1024 * 1024
NEVER = 1e12


def due(number: int = 1, size_bytes: int = 10, together: int | None = None) -> Due:
    return Due(
        instance_id=number,
        study_instance_uid="1.2",
        series_instance_uid="1.2.3",
        sop_instance_uid=f"1.2.3.{number}",
        size_bytes=size_bytes,
        preamble=b"",
        sha256=None,
        reason="",
        attempts=0,
        unclear=0,
        looks=0,
        together=together,
    )


def ids(chosen: Sequence[Due]) -> list[int]:
    return [one.instance_id for one in chosen]


def dues(*sizes: int) -> list[Due]:
    return [due(number, size) for number, size in enumerate(sizes, 1)]


# when


@pytest.mark.parametrize(
    ("quiet_at", "pending", "pending_bytes", "expected"),
    [
        (110.0, 1, 1, 110.0),  # quiet ten seconds after the first and only
        (159.0, 9, 9, 159.0),  # more came: quiet later
        (160.0, 9, 9, 160.0),
        (161.0, 9, 9, 160.0),  # ... but it has waited long enough
        (NEVER, 9, 9, 160.0),
        (90.0, 9, 9, 100.0),  # quiet already: as soon as the first may go
        (NEVER, 100, 9, 100.0),  # full of instances
        (NEVER, 101, 9, 100.0),
        (NEVER, 99, 9, 160.0),
        (NEVER, 1, 32 * MIB, 100.0),  # full of bytes
        (NEVER, 1, 32 * MIB - 1, 160.0),
    ],
)
def test_a_batch_goes_when_it_is_full_or_quiet_or_has_waited_long_enough(
    quiet_at: float, pending: int, pending_bytes: int, expected: float
) -> None:
    assert due_at(100.0, quiet_at, pending, pending_bytes, Caps()) == expected


@pytest.mark.parametrize("pending", [1, 100, 5000])
def test_no_batch_goes_before_its_first_instance_may_however_full_it_is(pending: int) -> None:
    retry_at = 5000.0
    assert due_at(retry_at, 10.0, pending, pending * MIB, Caps()) == retry_at


# what


def test_one_instance_always_goes_however_large_and_then_it_goes_alone() -> None:
    huge = 4 * 2**40
    assert ids(choose(dues(huge, 1, 1), Caps(), most_bytes=1)) == [1]


def test_what_does_not_fit_is_passed_over_and_a_smaller_one_behind_it_comes_along() -> None:
    assert ids(choose(dues(60, 50, 40, 1), Caps(max_bytes=100))) == [1, 3]


def test_the_oldest_due_goes_first_even_where_others_would_fill_the_request_better() -> None:
    assert ids(choose(dues(1, 100, 99), Caps(max_bytes=100))) == [1, 3]


def test_a_request_filled_to_the_last_byte_and_the_last_instance_is_full_and_no_more() -> None:
    assert ids(choose(dues(50, 50, 1), Caps(max_bytes=100))) == [1, 2]
    assert ids(choose(dues(1, 1, 1), Caps(max_instances=2))) == [1, 2]


@pytest.mark.parametrize(
    ("most_bytes", "expected"), [(None, 3), (1000, 3), (30, 3), (29, 2), (20, 2), (1, 1)]
)
def test_what_the_archive_has_shown_it_accepts_only_ever_lowers_the_size(
    most_bytes: int | None, expected: int
) -> None:
    assert len(choose(dues(10, 10, 10, 10), Caps(max_bytes=35), most_bytes)) == expected


def test_a_suspect_one_that_comes_first_limits_who_comes_along() -> None:
    assert ids(choose([due(1, together=2), due(2), due(3)], Caps())) == [1, 2]
    assert ids(choose([due(1, together=1), due(2), due(3)], Caps())) == [1]


def test_a_suspect_one_behind_too_many_others_waits_and_holds_nobody_up() -> None:
    assert ids(choose([due(1), due(2, together=1), due(3), due(4, together=2), due(5)], Caps())) == [1, 3, 5]


def test_a_suspect_one_that_comes_along_closes_the_door_for_the_rest() -> None:
    assert ids(choose([due(1), due(2, together=2), due(3)], Caps())) == [1, 2]


def test_nothing_due_makes_an_empty_request_and_no_error() -> None:
    assert choose([], Caps()) == ()


candidates = st.lists(
    st.tuples(st.integers(0, 120), st.none() | st.integers(1, 12)), min_size=1, max_size=30
).map(lambda drawn: [due(n, size, together) for n, (size, together) in enumerate(drawn, 1)])


@settings(deadline=None, max_examples=300)
@given(candidates, st.integers(1, 10), st.integers(1, 300), st.none() | st.integers(1, 300))
def test_what_is_chosen_is_within_every_cap_and_never_nothing(
    waiting: list[Due], max_instances: int, max_bytes: int, most_bytes: int | None
) -> None:
    chosen = choose(waiting, Caps(max_instances=max_instances, max_bytes=max_bytes), most_bytes)
    assert chosen[0] is waiting[0], "the longest due always goes"
    assert ids(chosen) == sorted(set(ids(chosen))), "each at most once, in their order"
    assert len(chosen) <= max_instances
    if len(chosen) > 1:
        limit = max_bytes if most_bytes is None else min(max_bytes, most_bytes)
        assert sum(one.size_bytes for one in chosen) <= limit
    assert all(one.together is None or len(chosen) <= one.together for one in chosen)


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 60), st.data())
def test_a_batch_refused_again_and_again_is_halved_until_the_ones_to_blame_stand_alone(
    n: int, data: st.DataObject
) -> None:
    to_blame = data.draw(st.sets(st.integers(1, n), min_size=1, max_size=n))
    waiting = [due(number) for number in range(1, n + 1)]
    stored: set[int] = set()
    alone: list[int] = []
    requests = 0
    while waiting:
        batch = choose(waiting, Caps(max_instances=50))
        requests += 1
        assert requests <= 20 * n, "it goes round in circles"
        waiting = [one for one in waiting if one not in batch]
        if not to_blame & set(ids(batch)):
            stored.update(ids(batch))
        elif len(batch) == 1:
            alone += ids(batch)
        else:  # as rules does: the refused go back to the end, half as many at once
            waiting += [one._replace(together=len(batch) // 2) for one in batch]
    assert sorted(alone) == sorted(to_blame)
    assert stored == set(range(1, n + 1)) - to_blame

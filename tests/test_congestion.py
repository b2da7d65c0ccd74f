"""How much at once an archive takes, found by trying."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomsync.congestion import (
    FEWEST,
    FIRST_REQUESTS,
    LONG_SECONDS,
    MANY,
    OURS,
    REST_ROUNDS,
    ROUND_ANSWERS,
    SMALLEST_SHARE,
    START_ANSWERS,
    Answered,
    Window,
)

BATCH = 26_000_000


def rounds(window: Window, seconds: Callable[[int], float], times: int) -> Window:
    """Answer that many whole rounds; a request takes so long with so many on their way."""
    for _ in range(times):
        each = START_ANSWERS if window.starting else ROUND_ANSWERS
        for _ in range(each * window.requests):
            before = window
            window = window.after(Answered(50, BATCH, seconds(before.requests), before.requests))
            if window.requests != before.requests:
                break
    return window


def all_parallel(_: int) -> float:
    return 0.2


def all_in_turn(requests: int) -> float:
    return 0.2 * requests


def up_to(most: float) -> Callable[[int], float]:
    """Give an archive, or a line, that does so many at a time and lets the others wait."""
    return lambda requests: 0.2 * max(1.0, requests / most)


@pytest.mark.parametrize(
    ("most", "first"), [(1, 1), (2, 2), (4, 4), (8, FIRST_REQUESTS), (64, FIRST_REQUESTS)]
)
def test_it_begins_with_what_suits_most_archives_and_never_above_what_is_allowed(
    most: int, first: int
) -> None:
    assert (Window.first(most).requests, Window.first(most).share) == (first, 1.0)


@pytest.mark.parametrize(
    ("seconds", "most", "found"),
    [
        (all_parallel, 8, 8),
        (all_parallel, 64, 64),
        (all_in_turn, 8, FIRST_REQUESTS),
        (up_to(2), 8, FIRST_REQUESTS),
        (up_to(4.7), 8, 5),
        (up_to(5), 8, 8),
        (up_to(6), 8, 8),
        (up_to(6), 5, 5),
    ],
    ids=["up to 8", "up to 64", "one core", "two cores", "over four", "five", "six", "six, 5 allowed"],
)
def test_more_go_as_long_as_that_makes_it_faster_twice_as_many_at_first_and_then_one(
    seconds: Callable[[int], float], most: int, found: int
) -> None:
    window = rounds(Window.first(most), seconds, 2 * most)
    assert window.proved == found


def test_a_trial_that_made_nothing_faster_is_taken_back_and_not_repeated_soon() -> None:
    tried = rounds(Window.first(8), all_in_turn, 1)
    assert tried.requests == 2 * FIRST_REQUESTS
    back = rounds(tried, all_in_turn, 1)
    assert (back.requests, back.proved) == (FIRST_REQUESTS, FIRST_REQUESTS)
    assert rounds(back, all_in_turn, REST_ROUNDS).requests == FIRST_REQUESTS
    again = rounds(back, all_in_turn, REST_ROUNDS + 1)
    assert again.requests == FIRST_REQUESTS + 1, "one more: it knows by now about how many serve"


def test_an_archive_that_became_slow_gets_half_as_many() -> None:
    proved = rounds(Window.first(8), all_parallel, 8)
    assert proved.requests == 8
    slow = rounds(proved, lambda _: 0.5, 1)
    assert (slow.requests, slow.share) == (4, 1.0)
    assert rounds(slow, all_parallel, 12).requests == 8, "and finds its way back"


def test_an_archive_a_little_slower_than_before_keeps_what_it_has() -> None:
    proved = rounds(Window.first(8), all_parallel, 8)
    assert rounds(proved, lambda _: 0.3, 3).requests == 8


def test_an_archive_in_trouble_gets_half_as_many_of_half_the_size_down_to_one_and_not_to_none() -> None:
    window = Window.first(8).troubled()
    assert (window.requests, window.share) == (2, 0.5)
    for _ in range(10):
        window = window.troubled()
    assert (window.requests, window.share) == (1, SMALLEST_SHARE)
    assert rounds(window, all_parallel, 30).requests == 8
    assert rounds(window, all_parallel, 30).share == 1.0


def test_a_request_that_takes_long_makes_the_next_smaller_and_quick_ones_let_it_grow() -> None:
    window = Window.first(4)
    long = Answered(50, BATCH, LONG_SECONDS + 1, 1)
    assert window.after(long).share == 0.5
    assert window.after(long).after(long).share == 0.25
    between = Answered(50, BATCH, 0.6 * LONG_SECONDS, 1)
    assert window.after(long).after(between).share == 0.5
    quick = Answered(50, BATCH, 0.1, 1)
    assert window.after(long).after(quick).share == 0.625
    assert window.after(quick).share == 1.0


def test_at_the_start_one_answer_of_each_tells_and_after_trouble_one_more_at_a_time_is_tried() -> None:
    window = Window.first(8)
    for _ in range(FIRST_REQUESTS):
        assert window.requests == FIRST_REQUESTS
        window = window.after(Answered(50, BATCH, 0.2, window.requests))
    assert (window.requests, window.proved) == (2 * FIRST_REQUESTS, FIRST_REQUESTS)
    window = window.troubled()
    tried = [FIRST_REQUESTS // 2]
    while window.proved < 8:
        window = window.after(Answered(50, BATCH, 0.1, window.requests))
        if window.requests != tried[-1]:
            tried.append(window.requests)
    assert tried == [2, 3, 4, 5, 6, 7, 8]


def test_answers_that_came_while_fewer_were_on_their_way_say_nothing() -> None:
    window = Window.first(8)
    for _ in range(100):
        window = window.after(Answered(50, BATCH, 0.2, 3))
    assert window == Window.first(8)


def test_answers_of_a_trial_taken_back_that_come_later_say_nothing_of_the_fewer_that_go_now() -> None:
    many = 2 * FIRST_REQUESTS
    tried = rounds(Window.first(8), all_in_turn, 1)
    window = rounds(tried, all_in_turn, 1)
    back = window
    for _ in range(many - 1):  # they began eight abreast, so that they took as long as that takes
        window = window.after(Answered(50, BATCH, 3 * all_in_turn(many), many))
    assert window == back
    window = window.after(Answered(50, BATCH, all_in_turn(FIRST_REQUESTS), FIRST_REQUESTS))
    assert (window.requests, window.answers) == (FIRST_REQUESTS, 1)


@pytest.mark.parametrize("most", [1, FIRST_REQUESTS, 8])
def test_where_as_many_go_as_may_the_start_is_over_and_a_slow_answer_of_each_is_not_enough(most: int) -> None:
    window = Window.first(most)
    for _ in range(FIRST_REQUESTS + 8):  # to eight, and an answer of each of them
        window = window.after(Answered(50, BATCH, 0.2, window.requests))
    assert (window.proved, window.starting) == (most, False)
    window = rounds(window, all_parallel, 1)
    for _ in range(most):
        window = window.after(Answered(50, BATCH, 0.5, most))
    assert window.requests == most


def waiting(window: Window, instances: int, share: float) -> Answered:
    """Give an answer that waited for us for a share of its time."""
    return Answered(instances, BATCH, 0.2, window.requests, 0.2 * share)


def test_while_answers_wait_for_our_processor_fewer_go_down_to_two() -> None:
    window = Window.first(8)
    for left in (3, 2, FEWEST, FEWEST):
        window = window.after(waiting(window, MANY, OURS + 0.01))
        assert (window.requests, window.proved, window.share) == (left, left, 1.0)
    assert rounds(window, all_parallel, REST_ROUNDS - 1).requests == FEWEST
    assert rounds(window, all_parallel, 30).requests == 8, "and as many as before once they do not"


@pytest.mark.parametrize(
    ("instances", "share"), [(MANY, OURS - 0.01), (MANY - 1, 1.0)], ids=["hardly", "for a commit they share"]
)
def test_answers_that_wait_for_us_a_little_or_for_our_disk_change_nothing(
    instances: int, share: float
) -> None:
    window = Window.first(8)
    assert window.after(waiting(window, instances, share)).requests == FIRST_REQUESTS


@given(
    st.integers(1, 64),
    st.lists(st.tuples(st.floats(0, 500), st.integers(0, 70), st.booleans(), st.floats(0, 1)), max_size=300),
)
def test_whatever_comes_the_window_stays_within_its_bounds(
    most: int, answers: list[tuple[float, int, bool, float]]
) -> None:
    window = Window.first(most)
    for seconds, abreast, troubled, waited in answers:
        answered = Answered(MANY, 0, seconds, abreast, seconds * waited)
        window = window.troubled() if troubled else window.after(answered)
        assert 1 <= window.requests <= most
        assert 1 <= window.proved <= window.requests
        assert SMALLEST_SHARE <= window.share <= 1.0

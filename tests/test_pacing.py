"""When to try again, and how much at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomsync.pacing import (
    BACKOFF_FIRST_SECONDS,
    BACKOFF_MOST_SECONDS,
    LIMIT_KEPT_SECONDS,
    SMALLEST_LIMIT_BYTES,
    Circuit,
    Signal,
    SizeLimit,
    Trouble,
    backoff_seconds,
)

GOOD = Signal()
FAILING = Signal(Trouble.FAILING, "status 500")
BUSY = Signal(Trouble.BUSY, "status 503")
AT_ONCE = [Trouble.UNREACHABLE, Trouble.BUSY, Trouble.AUTH, Trouble.SETUP]
CLOSED = Circuit(closed=True)


def after(circuit: Circuit, *signals: Signal, mono: float = 100.0, probe: bool = False) -> Circuit:
    for signal in signals:
        circuit = circuit.after(signal, mono, 1.0, probe=probe)
    return circuit


# backoff


@pytest.mark.parametrize(
    ("failures", "longest"), [(0, 2), (1, 4), (2, 8), (8, 512), (9, 900), (20, 900), (10**9, 900)]
)
def test_the_longest_wait_doubles_with_each_failure_up_to_a_quarter_of_an_hour(
    failures: int, longest: float
) -> None:
    assert backoff_seconds(failures, 1.0) == longest


def test_the_jitter_is_full_so_that_many_clients_do_not_return_together() -> None:
    assert backoff_seconds(5, 0.5) == backoff_seconds(5, 1.0) / 2


@settings(deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_a_backoff_is_never_nothing_and_never_longer_than_its_bound(failures: int, luck: float) -> None:
    wait = backoff_seconds(failures, luck)
    assert BACKOFF_FIRST_SECONDS / 4 <= wait <= BACKOFF_MOST_SECONDS
    assert wait <= BACKOFF_FIRST_SECONDS * 2.0 ** min(failures, 20)


# the circuit


def test_the_first_thing_an_archive_gets_is_a_probe_at_once() -> None:
    assert not Circuit().closed
    assert Circuit().probe_at <= 0.0


def test_one_and_two_failures_do_not_open_the_circuit_and_the_third_does() -> None:
    assert after(CLOSED, FAILING).closed
    assert after(CLOSED, FAILING, FAILING).closed
    opened = after(CLOSED, FAILING, FAILING, FAILING)
    assert not opened.closed
    assert opened.trouble is Trouble.FAILING
    assert opened.words == "status 500"
    assert opened.probe_at > 100.0


def test_a_success_between_failures_makes_them_count_from_the_start() -> None:
    assert after(CLOSED, FAILING, FAILING, GOOD, FAILING, FAILING).closed


@pytest.mark.parametrize("trouble", AT_ONCE)
def test_what_is_no_passing_failure_opens_the_circuit_at_once(trouble: Trouble) -> None:
    opened = after(CLOSED, Signal(trouble, "why"))
    assert (opened.closed, opened.trouble, opened.words) == (False, trouble, "why")


def test_a_probe_that_fails_keeps_the_circuit_open_and_waits_longer_each_time() -> None:
    circuit, waits = Circuit(), []
    for _ in range(12):
        circuit = circuit.after(FAILING, 1000.0, 1.0, probe=True)
        assert not circuit.closed
        waits.append(circuit.probe_at - 1000.0)
    assert waits[:4] == [2.0, 4.0, 8.0, 16.0]
    assert waits == sorted(waits)
    assert waits[-1] == BACKOFF_MOST_SECONDS


def test_a_probe_that_goes_well_closes_the_circuit_but_does_not_forget_the_failures() -> None:
    circuit, waits = CLOSED, []
    for _ in range(4):  # it answers every search and refuses every store
        circuit = circuit.after(BUSY, 1000.0, 1.0)
        waits.append(circuit.probe_at - 1000.0)
        circuit = circuit.after(GOOD, 1000.0, 1.0, probe=True)
        assert circuit.closed
        assert circuit.trouble is Trouble.NONE
        assert circuit.words == ""
    assert waits == [2.0, 4.0, 8.0, 16.0]


def test_after_a_good_probe_the_next_failure_opens_again_without_two_more_tries() -> None:
    opened = after(CLOSED, FAILING, FAILING, FAILING)
    assert not after(after(opened, GOOD, probe=True), FAILING).closed


def test_only_a_stored_batch_forgets_the_failures() -> None:
    assert after(CLOSED, BUSY, BUSY, GOOD) == CLOSED


@pytest.mark.parametrize("signal", [BUSY, FAILING])
@pytest.mark.parametrize("asked", [0.5, 7.0, 3600.0])
def test_retry_after_is_obeyed_shorter_or_longer_than_our_own_backoff(signal: Signal, asked: float) -> None:
    opened = after(CLOSED, *[FAILING] * 5)
    again = opened.after(Signal(signal.trouble, signal.words, asked), 2000.0, 0.3)
    assert again.probe_at == 2000.0 + asked


@pytest.mark.parametrize("signal", [BUSY, FAILING])
def test_retry_after_opens_the_circuit_at_the_first_failure(signal: Signal) -> None:
    opened = CLOSED.after(Signal(signal.trouble, signal.words, 30.0), 2000.0, 1.0)
    assert not opened.closed
    assert opened.probe_at == 2030.0


def test_a_retry_after_of_nothing_does_not_make_us_hammer() -> None:
    circuit, waits = CLOSED, []
    for _ in range(5):
        circuit = circuit.after(Signal(Trouble.BUSY, "status 503", 0.0), 2000.0, 1.0)
        waits.append(circuit.probe_at - 2000.0)
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0]


def test_the_trouble_is_known_since_it_began_and_not_since_the_latest_probe() -> None:
    opened = CLOSED.after(BUSY, 50.0, 1.0)
    later = opened.after(BUSY, 60.0, 1.0, probe=True).after(FAILING, 70.0, 1.0, probe=True)
    assert later.since == 50.0
    recovered = later.after(GOOD, 80.0, 1.0, probe=True)
    assert recovered.after(BUSY, 90.0, 1.0).since == 90.0


def test_the_first_trouble_of_an_archive_that_never_answered_has_a_beginning() -> None:
    assert Circuit().after(BUSY, 33.0, 1.0, probe=True).since == 33.0


# how large a request may be


def test_a_refused_size_is_halved_and_halved_again() -> None:
    limit = SizeLimit().refused(8_000_000, wall=10.0)
    assert limit.at(10.0) == 4_000_000
    assert limit.refused(4_000_000, wall=11.0).at(11.0) == 2_000_000


def test_a_larger_request_refused_later_never_raises_the_limit() -> None:
    limit = SizeLimit().refused(1_000_000, wall=10.0).refused(50_000_000, wall=11.0)
    assert limit.at(11.0) == 500_000


def test_no_refusal_makes_the_limit_so_small_that_nothing_would_travel_together() -> None:
    assert SizeLimit().refused(1, wall=0.0).at(0.0) == SMALLEST_LIMIT_BYTES


def test_a_limit_is_forgotten_after_a_day_and_what_is_learnt_then_counts_alone() -> None:
    limit = SizeLimit().refused(1_000_000, wall=1000.0)
    assert limit.at(1000.0 + LIMIT_KEPT_SECONDS - 1) == 500_000
    assert limit.at(1000.0 + LIMIT_KEPT_SECONDS) is None
    later = limit.refused(40_000_000, wall=1000.0 + LIMIT_KEPT_SECONDS)
    assert later.at(1000.0 + LIMIT_KEPT_SECONDS) == 20_000_000


def test_a_limit_learnt_in_the_future_is_that_of_a_wrong_clock_and_is_not_trusted() -> None:
    limit = SizeLimit().refused(1_000_000, wall=2e9)
    for wall in (2e9 - 1, 2e9 - LIMIT_KEPT_SECONDS, 1e9):
        assert limit.at(wall) is None
    assert limit.at(2e9) == 500_000
    assert limit.refused(40_000_000, wall=1e9).at(1e9) == 20_000_000, "what is learnt now counts alone"


def test_nothing_is_known_before_anything_was_refused() -> None:
    assert SizeLimit().at(1e9) is None
    assert SizeLimit().at(0.0) is None

"""Lives in which everything goes wrong, judged after every step; and the judge judged.

The promises are the docstrings of `tests.simulation.oracle.Oracle`; `python -m benchmarks.soak` runs on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from dicomsync import batching, claims, deletion, header, rules
from dicomsync.claims import Claim
from dicomsync.model import FileState, InstanceState, Transition

from .simulation.coverage import FILE_EDGES, INSTANCE_EDGES
from .simulation.happenings import Program
from .simulation.machine import LifeMachine
from .simulation.programs import made, run

LIVES, HAPPENINGS = 30, 150
ALL_LIVES = 8 * LIVES


@pytest.mark.parametrize("first", range(0, ALL_LIVES, LIVES))
def test_nothing_is_lost_whatever_happens(first: int) -> None:
    for seed in range(first, first + LIVES):
        life = run(seed, made(seed, HAPPENINGS))
        assert not life.broken, f"seed {seed}: {life.broken}"


def test_nothing_is_lost_whatever_hypothesis_thinks_of() -> None:
    profile = settings(
        max_examples=60,
        stateful_step_count=40,
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    run_state_machine_as_test(LifeMachine, settings=profile)


def test_a_program_run_again_is_the_same_life() -> None:
    program = made(3, 200)
    one, other = run(3, program), run(3, program)
    assert (one.steps, one.crashes, one.seen) == (other.steps, other.crashes, other.seen)


def test_no_state_is_left_out_of_what_a_long_run_must_come_by() -> None:
    lived = set(InstanceState) - {InstanceState.SUPERSEDED}  # a person's decision is not simulated
    for edges, states in ((INSTANCE_EDGES, lived), (FILE_EDGES, set(FileState))):
        assert {new for _, new in edges} == states
        assert {old for old, _ in edges} == {"-", *states}


IN_CONFLICT: Program = [("late_look", 2, 3)]
DELETED: Program = [
    ("mirror", 8, 1), ("live", 3, 0), ("enrol", 0, 0), ("enrol", 1, 0), ("fresh", 0, 0), ("fresh", 9, 12),
    ("long", 0, 0), ("mistake", 20, 0), ("long", 2, 0), ("person", 5, 0), ("long", 2, 0),
    ("back_in_doubt", 0, 0),
]  # fmt: skip


@pytest.mark.parametrize(("state", "program"), [("conflict", IN_CONFLICT), ("deleted", DELETED)])
def test_a_ledger_in_doubt_asks_about_what_goes_first_and_what_is_back(state: str, program: Program) -> None:
    life = run(1, program)
    assert not life.broken
    assert life.seen["instance edge", f"{state} > unconfirmed"] == 1


# the judge judged: a daemon with each of these faults is found out within the lives above, mostly a few

_verdict, _look, _asked, _decide = rules.after_no_answer, rules.after_look, rules.after_answer, claims.decide
_waits_for = deletion.waits_for


def _resends_at_once(batch: Any, why: str, sent_bytes: int, wait: float) -> rules.Verdict:
    return _verdict(batch, why, 0, wait)


def _believes_one_look(due: Any, *more: Any) -> Transition:
    return _look(replace(due, looks=1), *more)


def _believes_any_success(batch: Any, answer: rules.Answer, wait: float) -> rules.Verdict:
    if answer.status < 300:
        return rules.Verdict(tuple(Transition(due.instance_id, InstanceState.STORED) for due in batch))
    return _asked(batch, answer, wait)


def _believes_an_early_answer(batch: Any, answer: rules.Answer, wait: float) -> rules.Verdict:
    return _asked(batch, replace(answer, complete=True), wait)


def _takes_any_content_for_the_same(*arguments: Any) -> claims.Decision:
    found = _decide(*arguments)
    return replace(found, claim=Claim.SAME) if found.claim is Claim.CONFLICTS else found


def _graces_nothing(standing: deletion.Standing, knobs: deletion.Rules) -> str:
    return _waits_for(replace(standing, graced_seconds=9e9), knobs)


MUTANTS: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    (rules, "after_no_answer", _resends_at_once),
    (rules, "after_look", _believes_one_look),
    (rules, "after_answer", _believes_any_success),
    (rules, "after_answer", _believes_an_early_answer),
    (claims, "decide", _takes_any_content_for_the_same),
    (header, "_check_pixels", lambda *_arguments: None),
    (batching, "due_at", lambda *_arguments: 9e12),
    (deletion, "confirmed", lambda *_arguments: True),
    (deletion, "guard", lambda *_arguments, **_more: ""),
    (deletion, "waits_for", _graces_nothing),
    (deletion, "waits_for", lambda *_arguments: "grace"),
)


@pytest.mark.parametrize(
    ("room", "name", "wrong"), MUTANTS, ids=lambda one: getattr(one, "__name__", str(one))
)
def test_a_daemon_that_breaks_a_promise_is_found_out(
    room: Any, name: str, wrong: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, name, wrong)
    assert any(run(seed, made(seed, HAPPENINGS)).broken for seed in range(ALL_LIVES))

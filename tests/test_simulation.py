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

from dicomsync import batching, claims, header, rules
from dicomsync.claims import Claim
from dicomsync.model import FileState, InstanceState, Transition

from .simulation.coverage import FILE_EDGES, INSTANCE_EDGES
from .simulation.machine import LifeMachine
from .simulation.programs import made, run

LIVES, HAPPENINGS = 30, 150


@pytest.mark.parametrize("first", range(0, 8 * LIVES, LIVES))
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
    # a person's decision about a conflict is not simulated, nor are mirrored deletions
    lived = set(InstanceState) - {InstanceState.SUPERSEDED, InstanceState.LEAVING}
    for edges, states in ((INSTANCE_EDGES, lived), (FILE_EDGES, set(FileState))):
        assert {new for _, new in edges} == states
        assert {old for old, _ in edges} == {"-", *states} - {InstanceState.DELETED}


# the judge judged: a daemon with each of these faults is found out within a few lives

_verdict, _look, _asked, _decide = rules.after_no_answer, rules.after_look, rules.after_answer, claims.decide


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


MUTANTS: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    (rules, "after_no_answer", _resends_at_once),
    (rules, "after_look", _believes_one_look),
    (rules, "after_answer", _believes_any_success),
    (rules, "after_answer", _believes_an_early_answer),
    (claims, "decide", _takes_any_content_for_the_same),
    (header, "_check_pixels", lambda *_arguments: None),
    (batching, "due_at", lambda *_arguments: 9e12),
)


@pytest.mark.parametrize(
    ("room", "name", "wrong"), MUTANTS, ids=lambda one: getattr(one, "__name__", str(one))
)
def test_a_daemon_that_breaks_a_promise_is_found_out(
    room: Any, name: str, wrong: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, name, wrong)
    assert any(run(seed, made(seed, HAPPENINGS)).broken for seed in range(4 * LIVES))

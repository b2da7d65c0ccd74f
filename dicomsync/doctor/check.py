"""What a check comes to, how it is made without ever raising, and how it is read."""

from __future__ import annotations

import os
import pwd
import textwrap
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from dicomsync.errors import DicomsyncError
from dicomsync.words import count, span

Found = TypeVar("Found")

PATIENCE_SECONDS = 20.0  # more than any single look takes, unless what it looks at hangs
WIDTH = 100


class State(StrEnum):
    """What a check came to."""

    OK = "ok"
    WARNING = "warning"  # it works, or could not be looked at
    PROBLEM = "problem"  # something will not be stored, or a person has to act
    SKIPPED = "skipped"  # there was no sense in it, after another problem


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: how it is, and what to do about it."""

    name: str
    state: State
    words: str
    todo: str = ""


def ok(name: str, words: str) -> Check:
    """Say that something is as it should be."""
    return Check(name, State.OK, words)


def warning(name: str, words: str, todo: str = "") -> Check:
    """Say what is unwise, or could not be looked at."""
    return Check(name, State.WARNING, words, todo)


def problem(name: str, words: str, todo: str = "") -> Check:
    """Say what is in the way."""
    return Check(name, State.PROBLEM, words, todo)


def skipped(name: str, words: str) -> Check:
    """Say why something was not tried."""
    return Check(name, State.SKIPPED, words)


def attempt(name: str, look: Callable[[], Found], seconds: float = PATIENCE_SECONDS) -> Found | Check:
    """Make one look, for a bounded time; whatever is in the way becomes a check that says so."""
    done: Future[Found] = Future()

    def work() -> None:
        try:
            done.set_result(look())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        return done.result(seconds)
    except DicomsyncError as error:
        return problem(name, error.message, error.hint)
    except Exception as error:
        if isinstance(error, TimeoutError) and not done.done():
            todo = "A mount whose server is gone hangs like this: look at `mount` and the kernel's log."
            return problem(name, f"no answer within {span(seconds)}", todo)
        known = isinstance(error, OSError) and error.strerror
        return warning(name, f"could not be looked at ({known or type(error).__name__})")


def looked(name: str, look: Callable[[], list[Check]], seconds: float = PATIENCE_SECONDS) -> list[Check]:
    """Make one look that gives checks, as `attempt` does."""
    found = attempt(name, look, seconds)
    return [found] if isinstance(found, Check) else found


def exit_code(checks: Sequence[Check]) -> int:
    """0: nothing is in the way; 1: something is; 2: the config cannot be used."""
    problems = [check.name for check in checks if check.state is State.PROBLEM]
    return 2 if "config" in problems else int(bool(problems))


def as_json(checks: Sequence[Check]) -> dict[str, Any]:
    """Say it for a program; the keys are stable."""
    told = [{"name": c.name, "state": c.state.value, "words": c.words, "todo": c.todo} for c in checks]
    return {"schema": 1, "checks": told}


def text(checks: Sequence[Check]) -> str:
    """Say it for a person: aligned, in 100 columns, what to do below what is in the way."""
    widest = max((len(check.name) for check in checks), default=0)
    lines: list[str] = []
    for check in checks:
        head = f"{check.state.value:<9}{check.name:<{widest}}  "
        lines += _wrapped(check.words, head, " " * len(head))
        lines += _wrapped(check.todo, " " * len(head) + "-> ", " " * len(head) + "   ")
    told = [
        count(n, word)
        for word in ("problem", "warning")
        if (n := sum(check.state.value == word for check in checks))
    ]
    return "\n".join([*lines, ", ".join(told) + "." if told else "Nothing is in the way."])


def user() -> str:
    """Say who looks: another user may see something else."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _wrapped(words: str, first: str, other: str) -> list[str]:
    lines: list[str] = []
    for line in words.splitlines():
        lines += textwrap.wrap(
            line,
            WIDTH,
            initial_indent=other if lines else first,
            subsequent_indent=other,
            break_on_hyphens=False,
        )
    return lines

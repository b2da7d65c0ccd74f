"""Looking at a site before it is relied on: a line for each thing that could be in the way, and what to do.

Nothing is written, and nothing is stored unless a write test is asked for. Each look is made in a thread
of its own, for a bounded time, so that a mount that hangs is told and holds nothing up. Paths are shown:
this is for the person at the machine. Secrets are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dicomsync import wiring
from dicomsync.config import Config
from dicomsync.doctor import (
    alerts,
    archive,
    certificate,
    credential,
    folders,
    ledger,
    mirrors,
    service,
    writing,
)
from dicomsync.doctor.check import Check, State, as_json, attempt, exit_code, looked, ok, text, user

__all__ = ["Check", "State", "as_json", "examine", "exit_code", "text"]

ANSWER_SECONDS = 60.0
ALERT_SECONDS = 90.0  # two receivers, each as patient as a daemon is


def examine(
    source: str, load: Callable[[], Config], *, write_test: bool = False, alert_test: bool = False
) -> list[Check]:
    """Look at everything that the config from `load` is about; never raises.

    With `write_test` one generated instance is stored in the archive, retrieved, compared and deleted;
    with `alert_test` webhook and heartbeat are each sent something.
    """
    config = attempt("config", load)
    if isinstance(config, Check):
        todo = config.todo.removeprefix("Nothing was done.").strip()
        return [replace(config, state=State.PROBLEM, todo=todo or "Correct it; `dicomsync init` writes one.")]
    checks = [ok("config", f"{source} can be used; all below is as user {user()} sees it")]
    where = attempt("archive", lambda: wiring.archive_of(config.archive))
    if not isinstance(where, Check):
        checks += looked("credential", lambda: credential.examine(where), ANSWER_SECONDS)
    checks += folders.examine(config)
    checks += service.examine(source, config)
    checks += looked("deletions", lambda: mirrors.examine(config))
    url = config.archive.url.rstrip("/")
    checks += looked("ledger", lambda: ledger.examine(Path(config.ledger.path), url, config.alerts.disk_free))
    checks += looked(
        "alerts", lambda: alerts.examine(wiring.alerts_of(config), test=alert_test), ALERT_SECONDS
    )
    if isinstance(where, Check):
        return [*checks, where, *(writing.untried() if write_test else [])]
    answers = looked("archive", lambda: archive.answers(where), ANSWER_SECONDS)
    checks += answers
    checks += looked("certificate", lambda: certificate.examine(where), ANSWER_SECONDS)
    checks += looked("clock", lambda: archive.clock(where), ANSWER_SECONDS)
    if not write_test:
        return checks
    usable = all(one.state is not State.PROBLEM for one in answers)
    return checks + (writing.examine(where) if usable else writing.untried())

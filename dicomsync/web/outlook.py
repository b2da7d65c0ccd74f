"""One look at everything the page shows. Looks are shared by all who ask, and followed by a rest."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomsync import facts
from dicomsync.concerns import How
from dicomsync.errors import LedgerProblem
from dicomsync.facts import Facts
from dicomsync.handles import handle
from dicomsync.ledger import Reader
from dicomsync.words import visible

REST_SECONDS = 1.0
REST_TIMES = 10.0  # a look that costs is followed by a rest ten times as long
LATELY = 12
EXAMPLES = 3  # of each kind of case
DAY_SECONDS = 86400.0

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """What there is to show at one moment (wall seconds); `problem` and `hint` if the ledger is not readable.

    Each of `lately` is a study with its `states`; `examples` are handles by kind of case; `names`, only
    where they were asked for, are what handles stand for.
    """

    at: float
    facts: Facts | None = None
    lately: tuple[Row, ...] = ()
    examples: dict[tuple[str, str, str], list[str]] | None = None
    day: tuple[Row, ...] = ()
    names: dict[str, list[str]] | None = None
    problem: str = ""
    hint: str = ""


class Outlook:
    """Looks at one ledger for whoever asks; any thread may."""

    def __init__(self, ledger: Path, how: How) -> None:
        self.ledger = ledger
        self._how = how
        self._lock = threading.Lock()
        self._views: dict[bool, tuple[float, View]] = {}  # with names or not: till when it is fresh

    def view(self, *, names: bool = False) -> View:
        """Give a view that is a second old at most, or as much older as a look takes long."""
        with self._lock:
            until, view = self._views.get(names, (float("-inf"), None))
            if view is None or time.monotonic() >= until:
                began = time.monotonic()
                view = _look(self.ledger, self._how, names=names)
                ended = time.monotonic()
                self._views[names] = (ended + max(REST_SECONDS, REST_TIMES * (ended - began)), view)
            return view


def _look(ledger: Path, how: How, *, names: bool) -> View:
    wall = time.time()
    try:
        with Reader.open(ledger) as reader:
            found = facts.seen(reader.hold(), ledger, wall, how)
            lately = [row | {"states": reader.states_in(row["id"])} for row in reader.lately(LATELY)]
            day = reader.stored_since(wall - DAY_SECONDS)
            rows = {
                (case["what"], case["state"], case["reason"]): reader.case_rows(
                    case["what"], case["state"], case["reason"], EXAMPLES
                )
                for case in found["cases"]
            }
            known = _names(reader, found, lately, rows) if names else None
    except LedgerProblem as problem:
        return View(wall, problem=problem.message, hint=problem.hint)
    return View(wall, found, tuple(lately), _handles(rows), tuple(day), known)


def _kind(what: str) -> str:
    return "file" if what == "file" else "instance"


def _handles(rows: dict[tuple[str, str, str], list[int]]) -> dict[tuple[str, str, str], list[str]]:
    return {key: [handle(_kind(key[0]), row) for row in found] for key, found in rows.items()}


def _names(
    reader: Reader, found: Facts, lately: list[Row], rows: dict[tuple[str, str, str], list[int]]
) -> dict[str, list[str]]:
    """Say what handles stand for: UIDs of studies, paths of folders and files."""
    names = {handle("study", row["id"]): [row["study_instance_uid"]] for row in lately}
    names |= {one["handle"]: [visible(os.fsencode(one["path"]))] for one in found["folders"]}
    for (what, _, _), ids in rows.items():
        for row in ids:
            if what == "file":
                file = reader.file(row)
                names[handle("file", row)] = [visible(file["path"])] if file else []
            else:
                instance = reader.instance(row)
                paths = [visible(one["path"]) for one in reader.files_of(row, EXAMPLES)]
                names[handle("instance", row)] = [instance["sop_instance_uid"] if instance else "", *paths]
    return names

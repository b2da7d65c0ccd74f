"""A backfill inside a running daemon: which rooms read its places, and how far they are.

A place inside a watched folder is read by that folder's own intake, so that no file has two owners;
any other gets an intake of its own, which goes again when it is idle.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dicomsync.errors import UsageProblem
from dicomsync.intake import Intake
from dicomsync.listings import Passed
from dicomsync.model import Folder
from dicomsync.passes import Asked


@dataclass(frozen=True, slots=True)
class Standing:
    """How a visit stands, as the loop last saw it; `read` when all that was found is in the ledger."""

    read: bool = False
    passed: Passed = Passed()
    unreadable: int = 0
    requests: int = 0
    trouble: str = ""
    hint: str = ""
    says: str = ""
    unreached: bool = False
    refused: bool = False
    sending: bool = False


@dataclass(slots=True)
class _Part:
    """One place of a visit, and the intake that reads it."""

    intake: Intake
    asked: Asked | None  # None: the intake is the visit's own
    unrecorded: frozenset[bytes] | None = None  # what had been found when the pass was over
    read: bool = False

    def look(self) -> None:
        """See whether everything that was found has been recorded by now."""
        over = self.asked.over if self.asked is not None else not self.intake.passes.under_way
        if self.read or not over:
            return
        now = self.intake.under_way
        self.unrecorded = now if self.unrecorded is None else self.unrecorded & now
        self.read = not self.unrecorded

    @property
    def passed(self) -> Passed:
        if self.asked is not None:
            return self.asked.passed
        one = self.intake.passes.latest
        return one.passed if one is not None else Passed()

    @property
    def unreadable(self) -> int:
        if self.asked is not None:
            return self.asked.problems
        one = self.intake.passes.latest
        return one.problems if one is not None else 0


@dataclass(slots=True)
class Visit:
    """One backfill: its parts, and how it stands; others may read `standing`, the loop alone writes it."""

    roots: tuple[bytes, ...]
    parts: list[_Part]
    standing: Standing = field(default_factory=Standing)
    left: bool = False  # nobody follows it any more

    @property
    def own(self) -> list[Intake]:
        """The intakes that are there for this visit alone."""
        return [part.intake for part in self.parts if part.asked is None]

    def look(self) -> tuple[bool, Passed, int]:
        """Say whether all is read, what was passed over, and how many directories were unreadable."""
        total, unreadable = Passed(), 0
        for part in self.parts:
            part.look()
            total, unreadable = total.plus(part.passed), unreadable + part.unreadable
        return all(part.read for part in self.parts), total, unreadable


def begin(
    folders: Sequence[Folder],
    watching: Sequence[Intake],
    visiting: Sequence[Intake],
    make: Callable[[Folder], Intake],
) -> Visit:
    """Begin a visit to `folders`; raises UsageProblem before anything is begun.

    A place around a watched folder, or one that is being visited already, would give files two owners.
    """
    for folder in folders:
        for other in (*watching, *visiting):
            if _inside(other.folder.path, folder.path) and other.folder.path != folder.path:
                raise UsageProblem(
                    "One of these places holds a folder that the daemon is looking into; nothing was done.",
                    hint="Name that folder, and the places beside it.",
                )
        if any(_inside(folder.path, other.folder.path) for other in visiting):
            raise UsageProblem(
                "A backfill of one of these places is going on already; nothing was done.",
                hint="`dicomsync status` shows how it stands.",
            )
    parts = []
    for folder in folders:
        owner = next((one for one in watching if _inside(folder.path, one.folder.path)), None)
        if owner is None:
            parts.append(_Part(make(folder), None))
        else:
            asked = _asked(folder)
            owner.passes.ask(asked)
            parts.append(_Part(owner, asked))
    return Visit(tuple(folder.path for folder in folders), parts)


def _asked(folder: Folder) -> Asked:
    """Give a place as a pass takes it: of a single file, its directory, and only that name."""
    if os.path.isfile(folder.path):
        directory, name = os.path.split(folder.path)
        escaped = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in os.fsdecode(name))
        return Asked(directory, (escaped,), (), deep=False)
    return Asked(folder.path, folder.include, folder.exclude)


def _inside(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")

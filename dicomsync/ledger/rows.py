"""The values that go into the ledger and come out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dicomsync.model import CLAIMING, DUE, FileState, InstanceState, StatKey


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file as the ledger knows it."""

    file_id: int
    name: bytes
    key: StatKey
    state: FileState
    reason: str
    instance_id: int | None
    place: int = 0


@dataclass(frozen=True, slots=True)
class NewFile:
    """What is to be recorded of a file."""

    directory_id: int
    name: bytes
    key: StatKey
    state: FileState
    reason: str = ""
    detail: str = ""
    instance_id: int | None = None
    place: int = 0  # what its folder was when it was seen (`FileVerbs.place`)


@dataclass(frozen=True, slots=True)
class Scan:
    """One pass over one folder; later passes have higher numbers, whatever their folder."""

    folder_id: int
    folder: bytes
    number: int
    since: float = 0.0  # when the folder was first looked into (wall seconds)
    first: bool = True  # the folder was never read to its end before


@dataclass(frozen=True, slots=True)
class DueStudy:
    """A study with a batch due; `first_at` is when its earliest pending instance may go."""

    study_id: int
    study_instance_uid: str
    pending: int
    pending_bytes: int
    first_at: float
    due_at: float
    live: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """How many files and instances are in each state; every state is there, with 0 if empty."""

    files: Mapping[FileState, int]
    instances: Mapping[InstanceState, int]


def ends(file_state: FileState, instance_state: InstanceState | None) -> FileState | InstanceState:
    """Say where a file ends: its own state, or where it is whole that of its instance.

    A file that has left matters only if its instance is still due, or was missed.
    """
    if instance_state is None or file_state in (FileState.SETTLING, FileState.HELD):
        return file_state
    if file_state is FileState.GONE and instance_state not in (*DUE, InstanceState.MISSED):
        return file_state
    return instance_state


def listed(states: tuple[str, ...]) -> str:
    """Give states as SQL lists them."""
    return ", ".join(f"'{state}'" for state in states)


CLAIMED = f"state IN ({listed(CLAIMING)})"
"""The condition of a partial index; a query that wants the index must say it in the same words."""
UNCLAIMED = f"state NOT IN ({listed(CLAIMING)})"
LOST = "state = 'stored' AND found IN ('missing', 'differs')"
"""Stored, the ledger said, and the archive does not have it any more, or has something else."""
WAITING = f"state IN ({listed(DUE)})"

STAGES = ("left", "absent", "confirmed", "grace", "deleting", "deleted", "undone", "over")
"""Of a removal: not proved yet; proved once; twice, to be compared; in its grace; the intent is recorded;
the archive has it no more; a person took that back; nothing comes of it."""
OPEN = f"stage IN ({listed(STAGES[:5])})"

"""The values that go into the ledger and come out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dicomsync.model import DUE, FileState, InstanceState, StatKey, Whole


def asked_for(text: str) -> str:
    """Give a word that a person typed as SQLite can take it: bytes that are no text are nothing there."""
    return text.encode("utf-8", "replace").decode()


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


class NewFile(NamedTuple):
    """What is to be recorded of a file."""

    directory_id: int
    name: bytes
    key: StatKey
    state: FileState
    reason: str = ""
    detail: str = ""
    instance_id: int | None = None
    place: int = 0  # what its folder was when it was seen (`FileVerbs.place`)


class Arrival(NamedTuple):
    """A new instance: where it begins, and the file that it was found in."""

    whole: Whole
    file: NewFile
    state: InstanceState
    reason: str
    live: bool


@dataclass(frozen=True, slots=True)
class Scan:
    """One pass over one folder; later full ones have higher numbers, whatever their folder."""

    folder_id: int
    folder: bytes
    number: int
    since: float = 0.0  # when the folder was first looked into (wall seconds)
    first: bool = True  # the folder was never read to its end before
    mount: bytes = b""  # the mount point it was last found on


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


def ends(file_state: FileState, instance_state: InstanceState | None) -> FileState | InstanceState:
    """Say where a file ends: its own state, or where it is whole that of its instance.

    A file that has left matters only if its instance is still due, or was missed.
    """
    if instance_state is None or file_state in (FileState.SETTLING, FileState.HELD):
        return file_state
    if file_state is FileState.GONE and instance_state not in (*DUE, InstanceState.MISSED):
        return file_state
    return instance_state

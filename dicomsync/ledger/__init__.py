"""The ledger: one SQLite file that says of every file ever seen where it is, why, and what is next.

All SQL is in this room. `Ledger` is the one writer, under a lock; `Reader` opens the same file
read-only and never holds the writer up. Each name below is imported when it is first used: a command that
only reads (`status`) does without all the verbs, which are two thirds of the room and of its time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicomsync.ledger.conflict_reader import Conflict, ConflictSum, Copy
    from dicomsync.ledger.conflicts import RESOLVING
    from dicomsync.ledger.reader import Outcome, Reader
    from dicomsync.ledger.removal_rows import Removal, RootRow
    from dicomsync.ledger.retries import Scope
    from dicomsync.ledger.rows import Arrival, DueStudy, FileRow, NewFile, Scan, ends
    from dicomsync.ledger.standing import Counts, Standing
    from dicomsync.ledger.stored_reader import StoredReader
    from dicomsync.ledger.writer import Ledger


__all__ = [
    "RESOLVING",
    "Arrival",
    "Conflict",
    "ConflictSum",
    "Copy",
    "Counts",
    "DueStudy",
    "FileRow",
    "Ledger",
    "NewFile",
    "Outcome",
    "Reader",
    "Removal",
    "RootRow",
    "Scan",
    "Scope",
    "Standing",
    "StoredReader",
    "ends",
]

_MODULES = {
    "conflict_reader": ("Conflict", "ConflictSum", "Copy"),
    "conflicts": ("RESOLVING",),
    "reader": ("Outcome", "Reader"),
    "removal_rows": ("Removal", "RootRow"),
    "retries": ("Scope",),
    "rows": ("Arrival", "DueStudy", "FileRow", "NewFile", "Scan", "ends"),
    "standing": ("Counts", "Standing"),
    "stored_reader": ("StoredReader",),
    "writer": ("Ledger",),
}


def __getattr__(name: str) -> object:
    """Import what has this name (PEP 562)."""
    for module, names in _MODULES.items():
        if name in names:
            found: object = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(name)

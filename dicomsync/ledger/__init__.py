"""The ledger: one SQLite file that says of every file ever seen where it is, why, and what is next.

All SQL is in this room. `Ledger` is the one writer, under a lock; `Reader` opens the same file
read-only and never holds the writer up.
"""

from dicomsync.ledger.conflicts import RESOLVING, Conflict, ConflictSum, Copy
from dicomsync.ledger.reader import Outcome, Reader
from dicomsync.ledger.removals import Removal, RootRow
from dicomsync.ledger.retries import Scope
from dicomsync.ledger.rows import Counts, DueStudy, FileRow, NewFile, Scan, ends
from dicomsync.ledger.stored_reader import StoredReader
from dicomsync.ledger.writer import Ledger

__all__ = [
    "RESOLVING",
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
    "StoredReader",
    "ends",
]

"""What tells a ledger that is not the one of before: its lock file names it, and how far it had come.

SQLite opens a file of zero bytes as an empty ledger and last week's copy as a whole one. So the lock file
carries a seal: the ledger's name and the number of its latest transaction. A ledger behind its seal is an
older copy, one with another name was put in its place; both are told, and asked about before they are
believed. The seal is written after the commit, so that it is never ahead of a ledger that is the latest.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from dataclasses import dataclass, replace
from pathlib import Path

from dicomsync.errors import LedgerDamaged, LedgerProblem

SEAL_SECONDS = 10.0
_SEAL_BYTES = 80  # written in place and at once, always as long: within one sector

DAMAGED, EMPTY, MISSING = "damaged", "empty", "missing"
OLDER, SWAPPED, UNSEALED, REBUILT = "older", "swapped", "unsealed", "rebuilt"

MADE_ANEW = (DAMAGED, EMPTY, MISSING, REBUILT)
WORDS = {
    DAMAGED: "it was damaged",
    EMPTY: "it was empty, and had not been before",
    MISSING: "it was gone",
    OLDER: "it is an older copy of itself",
    SWAPPED: "it is not the one that was there before",
    UNSEALED: "nothing beside it says that it is the latest (a copy from elsewhere?)",
    REBUILT: "a person had it rebuilt",
}


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why, and since when (wall seconds), a ledger is not the whole memory; `aside` is the one before."""

    why: str
    at: float
    aside: str = ""

    @property
    def words(self) -> str:
        """Say it to a person."""
        return WORDS[self.why]


@dataclass(frozen=True, slots=True)
class Seal:
    """Which ledger a lock file belongs to, how far it had come, and whether it was found damaged."""

    ledger: str
    sequence: int
    damaged: bool = False

    @classmethod
    def read(cls, lock: int) -> Seal | None:
        """Read it from an open lock file; None where there is none."""
        match os.pread(lock, _SEAL_BYTES, 0).decode("ascii", "replace").split():
            case [ledger, sequence, state] if sequence.isdecimal():
                return cls(ledger, int(sequence), state == DAMAGED)
        return None

    def write(self, lock: int) -> None:
        """Write it into the lock file."""
        text = f"{self.ledger} {self.sequence} {DAMAGED if self.damaged else 'whole'}"
        os.pwrite(lock, text.ljust(_SEAL_BYTES - 1).encode("ascii") + b"\n", 0)
        os.fdatasync(lock)

    def doubts(self, ledger: str, sequence: int) -> str:
        """Say what is to be doubted of a ledger with this name that has come so far; "" if nothing is."""
        if ledger != self.ledger:
            return SWAPPED
        return OLDER if sequence < self.sequence else ""


class Guard:
    """Holds the lock of an open ledger, and keeps its seal."""

    def __init__(self, path: Path, lock: int, seal: Seal) -> None:
        self._path = path
        self._lock = lock
        self._seal = seal
        self._inode = os.stat(path).st_ino
        self._written = Seal.read(lock)
        self.keep()
        self._written_at = float("-inf")  # the first transaction is sealed at once: a copy may be from before

    def prove_place(self) -> None:
        """Fail where another file, or none, is in the ledger's place: what is written would be lost."""
        try:
            inode = os.stat(self._path).st_ino
        except OSError:
            inode = 0
        if inode != self._inode:
            raise _replaced()

    def advance(self, db: sqlite3.Connection) -> Seal:
        """Count a transaction that changes something, as a part of it; gives the seal it is to have."""
        seal = self._seal
        moved = db.execute(
            "UPDATE facts SET value = ? WHERE name = 'sequence' AND value = ?",
            (str(seal.sequence + 1), str(seal.sequence)),
        ).rowcount
        if not moved:
            raise _replaced()
        return replace(seal, sequence=seal.sequence + 1)

    def committed(self, seal: Seal) -> None:
        """Take the seal of what is committed; it is on disk within seconds, or when the ledger is closed."""
        self._seal = seal
        if time.monotonic() - self._written_at > SEAL_SECONDS:
            self.keep()

    def distrust(self) -> None:
        """Have the next start look for damage as long as it takes."""
        self._seal = replace(self._seal, damaged=True)
        self.keep()

    def keep(self) -> None:
        """Write the seal, unless it is there already."""
        self._written_at = time.monotonic()
        if self._seal != self._written:
            with contextlib.suppress(OSError):  # a seal that stays behind tells less, and nothing wrong
                self._seal.write(self._lock)
                self._written = self._seal

    def close(self) -> None:
        """Keep the seal and give up the lock."""
        self.keep()
        os.close(self._lock)


def _replaced() -> LedgerDamaged:
    return LedgerDamaged(
        "The ledger's file was removed or replaced while it was open; nothing more is recorded or sent.",
        hint="Start dicomsync again: it asks the archive about everything before it sends anything.",
        why=SWAPPED,
    )


def set_aside(path: Path, why: str, wall: float) -> str:
    """Move a ledger and its write-ahead log out of the way, whole, beside it; gives its new path.

    Where there is nothing to move, gives "". Nothing is ever deleted.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(wall))
    aside, number = f"{path}.{why}-{stamp}", 1
    while any(os.path.lexists(f"{aside}{tail}") for tail in _TAILS):
        number += 1
        aside = f"{path}.{why}-{stamp}-{number}"
    moved = False
    try:
        for tail in _TAILS:  # the log first: a ledger without it is an older one, and known for that
            if os.path.lexists(f"{path}{tail}"):
                os.rename(f"{path}{tail}", f"{aside}{tail}")
                moved = True
        _sync(path.parent)
    except OSError as error:
        raise LedgerProblem(
            f"The ledger cannot be moved aside ({error.strerror}); nothing was sent.",
            hint="Check the owner and mode of its directory.",
        ) from None
    return aside if moved else ""


_TAILS = ("-wal", "-shm", "")


def asides(path: Path) -> list[Path]:
    """Give what was moved aside from `path`, the latest first."""
    pattern = re.compile(re.escape(path.name) + r"\.[a-z]+-(\d{8}T\d{6}Z(?:-\d+)?)")
    found = ((pattern.fullmatch(other.name), other) for other in path.parent.iterdir())
    return [other for match, other in sorted(((m[1], o) for m, o in found if m), reverse=True)]


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

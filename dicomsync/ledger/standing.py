"""How it stands, read-only: all that `status` asks, which is to answer at once."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dicomsync.ledger import opening
from dicomsync.ledger.cases import CaseQueries
from dicomsync.ledger.conditions import LOST, WAITING
from dicomsync.ledger.guard import Doubt
from dicomsync.ledger.removals import MirrorReader
from dicomsync.states import FileState, InstanceState, Sighting

if TYPE_CHECKING:
    from dicomsync.ledger.writer import Ledger


@dataclass(frozen=True, slots=True)
class Counts:
    """How many files and instances are in each state; every state is there, with 0 if empty."""

    files: Mapping[FileState, int]
    instances: Mapping[InstanceState, int]


class Standing(CaseQueries, MirrorReader):
    """A reader of the ledger, to be used in a `with` block: one look, then closed."""

    def __init__(self, connection: sqlite3.Connection, *, own: bool = True) -> None:
        self._connection = connection
        self._own = own
        self._db = connection.cursor()
        self._db.row_factory = sqlite3.Row

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the ledger at `path` read-only; LedgerProblem where that cannot be."""
        return cls(opening.read_only(path))

    @classmethod
    def over(cls, ledger: Ledger) -> Self:
        """Read what the writer has open already, as a dry run must of its scratch ledger."""
        return cls(ledger.connection, own=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.close()
        if isinstance(error, sqlite3.Error):
            raise opening.problem(error, "nothing can be shown") from None

    def close(self) -> None:
        """Close the file, unless it is the writer's."""
        self._db.close()
        if self._own:
            self._connection.close()

    def hold(self) -> Self:
        """See everything from here on as it is at this moment; for a short look: the log grows meanwhile."""
        self._connection.execute("BEGIN")
        return self

    def counts(self) -> Counts:
        """Give how many files and instances are in each state."""
        rows = self._db.execute("SELECT what, state, n FROM counts").fetchall()
        found = {(row["what"], row["state"]): row["n"] for row in rows}
        return Counts(
            {state: found.get(("file", state.value), 0) for state in FileState},
            {state: found.get(("instance", state.value), 0) for state in InstanceState},
        )

    def fact(self, name: str) -> str | None:
        """Give one fact about the ledger."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def doubt(self) -> tuple[Doubt | None, int]:
        """Say why this ledger is not the whole memory, if so, and how much is still to be asked about."""
        doubt = self.fact("doubt")
        if doubt is None:
            return None, 0
        row = self._db.execute(
            "SELECT count(*) FROM instances WHERE state = 'unconfirmed' AND reason = 'doubted'"
        ).fetchone()
        return Doubt(**json.loads(doubt)), row[0]

    def oldest_due(self) -> float | None:
        """Say when the instance that is due the longest was first seen (wall seconds)."""
        rows = self._db.execute(
            f"""SELECT min(seen_at) FROM instances WHERE {WAITING} AND live = 0
            UNION ALL SELECT min(seen_at) FROM instances WHERE {WAITING} AND live = 1"""
        )
        return min((float(row[0]) for row in rows if row[0] is not None), default=None)

    def last_answered(self) -> float | None:
        """Say when the archive last answered a store (wall seconds); one that had no answer is none."""
        row = self._db.execute(
            # Those of the latest ones: several are on their way at a time, and not answered in their order.
            """SELECT max(answered_at) FROM (SELECT answered_at FROM batches
            WHERE status IS NOT NULL OR instr(outcome, 'already-there') ORDER BY id DESC LIMIT 8)"""
        ).fetchone()
        return None if row[0] is None else float(row[0])

    def studies(self) -> tuple[int, int]:
        """Say how many studies are known, and how many have something pending."""
        row = self._db.execute(
            """SELECT (SELECT count(*) FROM studies),
                (SELECT count(*) FROM studies WHERE due_at IS NOT NULL AND pending > 0)"""
        ).fetchone()
        return row[0], row[1]

    def lost(self) -> dict[str, int]:
        """Count what is stored, and the archive does not have any more, or not as it was stored."""
        rows = self._db.execute(f"SELECT found, count(*) FROM instances WHERE {LOST} GROUP BY found")
        found = {row[0]: int(row[1]) for row in rows}
        return {one.value: found.get(one.value, 0) for one in (Sighting.MISSING, Sighting.DIFFERS)}

    def folders(self) -> list[dict[str, Any]]:
        """Give each folder with what its latest scan counted."""
        found = []
        for row in self._db.execute("SELECT * FROM folders ORDER BY id"):
            report = json.loads(row["report"]) if row["report"] else {}
            kept = {name: row[name] for name in ("id", "seen_at", "scanned_at", "filed_at")}
            found.append({**report, **kept, "path": os.fsdecode(row["path"])})
        return found

"""Is the ledger whole, and are its sums true? Read-only, beside a daemon as well."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from dicomsync.errors import LedgerDamaged
from dicomsync.ledger import opening
from dicomsync.ledger.conditions import CLAIMED, claims, waits
from dicomsync.ledger.guard import EMPTY, MISSING, WORDS, Seal

_MOST_FAULTS = 5


def check(path: Path) -> list[str]:
    """Say in words what is wrong with the ledger at `path`; nothing, if nothing is.

    Reads all of it; while it does the write-ahead log grows, and nothing waits. Raises LedgerProblem
    where it cannot be opened and it is not the ledger that is to blame.
    """
    path = Path(os.path.realpath(path))
    seal = opening.sealed(path)
    try:
        connection = opening.read_only(path)
    except LedgerDamaged as problem:
        return [{EMPTY: "the file is empty", MISSING: "the file is gone"}.get(problem.why, problem.message)]
    try:
        connection.execute("BEGIN")  # one moment for all of it
        found = list(_damage(connection))
        return found or [*_sums(connection), *_rows(connection), *_place(connection, seal)]
    except sqlite3.DatabaseError as error:
        return [opening.problem(error, "the rest could not be looked at").message]
    finally:
        connection.close()


def is_copy(path: Path) -> bool:
    """Whether nothing beside the ledger says that it is the latest, as beside a backup."""
    return opening.sealed(path) is None


def _damage(db: sqlite3.Connection) -> Iterator[str]:
    for row in db.execute(f"PRAGMA integrity_check({_MOST_FAULTS})"):
        if row[0] != "ok":
            yield f"SQLite finds damage: {row[0]}"
    foreign = db.execute("PRAGMA foreign_key_check").fetchall()
    if foreign:
        tables = ", ".join(sorted({row[0] for row in foreign}))
        yield f"{len(foreign)} rows point to rows that are not there ({tables})"


def _sums(db: sqlite3.Connection) -> Iterator[str]:
    """Compare the counts, and each study's figures, with the rows they are of."""
    for what in ("file", "instance"):
        counted = dict(db.execute("SELECT state, n FROM counts WHERE what = ?", (what,)))
        real = dict(db.execute(f"SELECT state, count(*) FROM {what}s NOT INDEXED GROUP BY state"))
        for state in sorted(counted | real):
            if counted.get(state, 0) != real.get(state, 0):
                yield f"{what}s {state}: {counted.get(state, 0)} are counted, {real.get(state, 0)} are there"
    wrong = _one(
        db,
        """SELECT count(*) FROM studies s LEFT JOIN (
            SELECT study_id, count(*) AS n, sum(size_bytes) AS size_bytes, sum(live) AS live
            FROM instances WHERE state = 'pending' GROUP BY study_id) i ON i.study_id = s.id
        WHERE (s.pending, s.pending_bytes, s.live)
            IS NOT (coalesce(i.n, 0), coalesce(i.size_bytes, 0), coalesce(i.live, 0))""",
    )
    if wrong:
        yield f"the sums of {wrong} studies are not those of their pending instances"


_FAULTS = {
    f"""SELECT count(*) FROM (SELECT 1 FROM instances NOT INDEXED WHERE {CLAIMED}
        GROUP BY sop_instance_uid HAVING count(*) > 1)""": (
        "{} SOP Instance UIDs are claimed by more than one content"
    ),
    "SELECT count(*) FROM files WHERE state = 'ready' AND instance_id IS NULL": (
        "{} whole files belong to no instance"
    ),
    "SELECT count(*) FROM instances WHERE state = 'stored' AND stored_at IS NULL": (
        "{} stored instances do not say since when"
    ),
    f"""SELECT count(*) FROM instances NOT INDEXED
        WHERE claims IS NOT {claims("state")} OR waits <> {waits("state")}""": (
        "{} instances are not found by what their state is"
    ),
    """SELECT count(*) FROM instances i LEFT JOIN batches b ON b.id = i.batch_id
        WHERE i.state = 'sending' AND (b.id IS NULL OR b.answered_at IS NOT NULL)""": (
        "{} instances are on their way in no request"
    ),
    "SELECT count(*) FROM studies WHERE pending > 0 AND due_at IS NULL": (
        "{} studies have something pending, and no moment when it goes"
    ),
}


def _rows(db: sqlite3.Connection) -> Iterator[str]:
    for query, words in _FAULTS.items():
        if n := _one(db, query):
            yield words.format(n)


def _place(db: sqlite3.Connection, seal: Seal | None) -> Iterator[str]:
    """Compare the ledger with what its lock file says of it."""
    facts = dict(db.execute("SELECT name, value FROM facts WHERE name IN ('ledger', 'sequence')"))
    if seal is None:
        return  # a copy, such as a backup
    why = seal.doubts(facts.get("ledger", ""), int(facts.get("sequence", 0)))
    if why:
        words = WORDS[why]
        yield f"{words}: the next start asks the archive about all that is due, and sends it only if absent"


def _one(db: sqlite3.Connection, query: str) -> int:
    return int(db.execute(query).fetchone()[0])

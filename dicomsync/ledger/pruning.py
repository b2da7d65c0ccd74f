"""What may be forgotten, and how much of it there is."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from dicomsync.ledger.conditions import ODD, OPEN


@dataclass(frozen=True, slots=True)
class Prunable:
    """How much need not be remembered any more: lines of history, batches, files that have left."""

    history: int
    batches: int
    files: int


def prunable(db: sqlite3.Connection, before: float) -> Prunable:
    """Say how much the verb `prune` would forget; read-only."""
    counts = [
        db.execute(f"SELECT count(*) FROM {table} WHERE {condition}", {"before": before}).fetchone()[0]
        for table, condition in PRUNABLE.items()
    ]
    return Prunable(*counts)


_TROUBLED_INSTANCE = f"SELECT id FROM instances WHERE {ODD}"
_TROUBLED_FILE = "SELECT id FROM files WHERE state IN ('held', 'missed')"

PRUNABLE = {
    "history": f"""at < :before
        AND NOT (what = 'instance' AND row IN ({_TROUBLED_INSTANCE}))
        AND NOT (what = 'file' AND row IN ({_TROUBLED_FILE}))""",
    "batches": """answered_at < :before
        AND id NOT IN (SELECT batch_id FROM instances WHERE batch_id IS NOT NULL)
        AND id < (SELECT max(id) FROM batches)""",
    "files": f"""state = 'gone' AND NOT EXISTS (SELECT 1 FROM removals r
            WHERE r.instance_id = files.instance_id AND r.{OPEN})
        AND seen_at < :before AND (instance_id IS NULL OR instance_id IN
        (SELECT id FROM instances WHERE state IN ('stored', 'deleted') AND sha256 IS NOT NULL))""",
}
"""What may be forgotten of each table, as SQL. A stored content that comes back is known by its SHA-256."""

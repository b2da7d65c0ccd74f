"""What was done, in figures: how much was stored and how soon, requests, retries. For plots and metrics.

Triggers keep them, in the transaction of what they count, so that no verb can forget them and neither a
restart nor `ledger prune` takes anything away. The rows are few: of five minutes, of a status, of a cause.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

SLOT_SECONDS: Final = 300
SLOTS_KEPT_SECONDS: Final = 8 * 86400.0  # older ones are one, whose beginning is 0

ARCHIVE_SECONDS: Final = (10, 30, 60, 120, 300, 900, 3600, 4 * 3600, 24 * 3600)
REQUEST_SECONDS: Final = (0.1, 0.3, 1, 3, 10, 30, 100, 300)
REQUEST_BYTES: Final = (100_000, 1_000_000, 4_000_000, 16_000_000, 40_000_000, 200_000_000, 1_000_000_000)
"""The upper bounds of the buckets, each included; one more bucket has no bound."""


def _bucket(value: str, bounds: Sequence[float]) -> str:
    """Give SQL for the number of the bucket that a value falls into."""
    cases = " ".join(f"WHEN {value} <= {bound} THEN {number}" for number, bound in enumerate(bounds))
    return f"CASE {cases} ELSE {len(bounds)} END"


TABLES: Final = (
    """CREATE TABLE stored_tally ( -- what became stored
        slot INTEGER NOT NULL, -- the beginning of five minutes, wall seconds; 0: all that is older
        folder_id INTEGER NOT NULL, -- that it came from; 0: none
        live INTEGER NOT NULL, -- 1: it came after its folder had been read whole; 0: the backlog
        bucket INTEGER NOT NULL, -- how long after it was proved whole, by tallies.ARCHIVE_SECONDS
        n INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        seconds REAL NOT NULL, -- the sum
        PRIMARY KEY (slot, folder_id, live, bucket)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE request_tally ( -- batches that were answered, or given up
        answer TEXT NOT NULL, -- the status of HTTP; none; found: all of it was there, and nothing was sent
        seconds_bucket INTEGER NOT NULL, -- by tallies.REQUEST_SECONDS
        size_bucket INTEGER NOT NULL, -- by tallies.REQUEST_BYTES
        n INTEGER NOT NULL,
        seconds REAL NOT NULL,
        size_bytes INTEGER NOT NULL,
        PRIMARY KEY (answer, seconds_bucket, size_bucket)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE retry_tally ( -- instances that were on their way, and are to be asked about or sent again
        cause TEXT PRIMARY KEY,
        n INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
)

_LATE = "max(0.0, NEW.stored_at - NEW.seen_at)"
_TOOK = "max(0.0, NEW.answered_at - NEW.sent_at)"

TRIGGERS: Final = (
    f"""CREATE TRIGGER instances_stored AFTER UPDATE OF stored_at ON instances
        WHEN OLD.stored_at IS NULL AND NEW.stored_at IS NOT NULL BEGIN
        INSERT INTO stored_tally VALUES (
            CAST(NEW.stored_at / {SLOT_SECONDS} AS INTEGER) * {SLOT_SECONDS},
            coalesce((SELECT min(d.folder_id) FROM files f JOIN directories d ON d.id = f.directory_id
                WHERE f.instance_id = NEW.id), 0),
            NEW.live, {_bucket(_LATE, ARCHIVE_SECONDS)}, 1, NEW.size_bytes, {_LATE})
        ON CONFLICT DO UPDATE SET n = n + 1, size_bytes = size_bytes + excluded.size_bytes,
            seconds = seconds + excluded.seconds; END""",
    f"""CREATE TRIGGER batches_answered AFTER UPDATE OF answered_at ON batches
        WHEN OLD.answered_at IS NULL AND NEW.answered_at IS NOT NULL AND NEW.outcome <> 'restart' BEGIN
        INSERT INTO request_tally VALUES (
            CASE WHEN NEW.status IS NOT NULL THEN CAST(NEW.status AS TEXT)
                WHEN instr(NEW.outcome, 'already-there') THEN 'found' ELSE 'none' END,
            {_bucket(_TOOK, REQUEST_SECONDS)}, {_bucket("NEW.size_bytes", REQUEST_BYTES)},
            1, {_TOOK}, NEW.size_bytes)
        ON CONFLICT DO UPDATE SET n = n + 1, seconds = seconds + excluded.seconds,
            size_bytes = size_bytes + excluded.size_bytes; END""",
)

RETRIED: Final = """INSERT INTO retry_tally SELECT NEW.reason, 1
        WHERE OLD.state = 'sending' AND NEW.state IN ('pending', 'unconfirmed')
            OR OLD.state = 'unconfirmed' AND NEW.state = 'pending'
        ON CONFLICT DO UPDATE SET n = n + 1;"""
"""A part of the trigger on changes of state: one of its own for each row would cost more than it does."""


def fold(db: sqlite3.Connection, before: float) -> None:
    """Make one slot of all that ended before that moment (wall seconds): sums stay what they are."""
    db.execute(
        """INSERT INTO stored_tally
        SELECT 0, folder_id, live, bucket, sum(n), sum(size_bytes), sum(seconds) FROM stored_tally
        WHERE slot > 0 AND slot < ? GROUP BY folder_id, live, bucket
        ON CONFLICT DO UPDATE SET n = n + excluded.n, size_bytes = size_bytes + excluded.size_bytes,
            seconds = seconds + excluded.seconds""",
        (before,),
    )
    db.execute("DELETE FROM stored_tally WHERE slot > 0 AND slot < ?", (before,))


class TallyQueries:
    """What plots and metrics ask of a reader."""

    _db: sqlite3.Cursor

    def stored_tally(self) -> list[dict[str, Any]]:
        """Give all that was ever stored, by folder, whether it came live, and how long it took."""
        return self._rows(
            """SELECT folder_id, live, bucket, sum(n) AS n, sum(size_bytes) AS size_bytes,
                sum(seconds) AS seconds
            FROM stored_tally GROUP BY folder_id, live, bucket"""
        )

    def stored_since(self, wall: float) -> list[dict[str, Any]]:
        """Give what was stored since then, by slot, whether it came live, and how long it took."""
        return self._rows(
            """SELECT slot, live, bucket, sum(n) AS n, sum(size_bytes) AS size_bytes, sum(seconds) AS seconds
            FROM stored_tally WHERE slot > 0 AND slot >= ? GROUP BY slot, live, bucket ORDER BY slot""",
            (wall,),
        )

    def request_tally(self) -> list[dict[str, Any]]:
        """Give all requests that ever came to their end, by answer, duration and size."""
        return self._rows("SELECT * FROM request_tally ORDER BY answer")

    def retry_tally(self) -> dict[str, int]:
        """Count by cause how often an instance had to be asked about, or sent again."""
        return {row["cause"]: row["n"] for row in self._rows("SELECT cause, n FROM retry_tally")}

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[dict[str, Any]]:
        return [dict(row) for row in self._db.execute(query, values)]

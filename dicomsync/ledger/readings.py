"""The intent to read headers: what a process that ended in the middle may have ended of."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable

from dicomsync.model import StatKey


class ReadingVerbs:
    """Verbs about header jobs: one row for each that is out, and none for a file that came through one."""

    _db: sqlite3.Connection

    def open_reading(self, files: Iterable[tuple[bytes, StatKey]]) -> int:
        """Record the intent to read the headers of these files; gives its row."""
        listed = [
            (os.fsdecode(path), key.size_bytes, key.mtime_ns, key.ctime_ns, key.inode) for path, key in files
        ]
        return int(
            self._db.execute("INSERT INTO readings (files) VALUES (?)", (json.dumps(listed),)).lastrowid or 0
        )

    def close_reading(self, reading_id: int) -> None:
        """Record that a header job came back, whatever it found."""
        self._db.execute("DELETE FROM readings WHERE id = ?", (reading_id,))

    def forget_readings(self) -> None:
        """Suspect nothing of what is being read now: this process ends in good order."""
        self._db.execute("DELETE FROM readings")

    def suspects(self) -> dict[bytes, tuple[StatKey, int]]:
        """Count what an earlier process was reading as it ended, and give all that is suspected.

        By path: as what it was read, and how often that was the last thing a process did. After an end in
        good order nothing is suspected any more.
        """
        readings = self._db.execute("SELECT files FROM readings").fetchall()
        if not readings:
            self._db.execute("DELETE FROM suspects")
        for (files,) in readings:
            self._db.executemany(
                """INSERT INTO suspects (path, size_bytes, mtime_ns, ctime_ns, inode) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (path) DO UPDATE SET
                    times = CASE WHEN (size_bytes, mtime_ns, ctime_ns, inode)
                        = (excluded.size_bytes, excluded.mtime_ns, excluded.ctime_ns, excluded.inode)
                        THEN times + 1 ELSE 1 END,
                    size_bytes = excluded.size_bytes, mtime_ns = excluded.mtime_ns,
                    ctime_ns = excluded.ctime_ns, inode = excluded.inode""",
                [(os.fsencode(path), *key) for path, *key in json.loads(files)],
            )
        self.forget_readings()
        rows = self._db.execute("SELECT path, size_bytes, mtime_ns, ctime_ns, inode, times FROM suspects")
        return {bytes(row[0]): (StatKey(*row[1:5]), int(row[5])) for row in rows.fetchall()}

    def clear_suspect(self, path: bytes) -> None:
        """Suspect a file no more."""
        self._db.execute("DELETE FROM suspects WHERE path = ?", (path,))

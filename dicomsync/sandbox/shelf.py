"""The shelf: the files in a directory, and the SQLite index that knows them.

A file is moved into place first and its row committed after: a crash between the two leaves a file
that the index does not know, which the next store of that instance replaces.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dicomsync.sandbox.attributes import ATTRIBUTES, Level, searchable
from dicomsync.sandbox.header import Header


def _columns(level: Level) -> str:
    return ", ".join(f'"{attribute.keyword}" TEXT NOT NULL' for attribute in searchable(level))


# Keys and watermarks only grow, so newest first is the order of a primary key; UIDs are resolved to
# keys by their unique indexes, so a page of a study of any size is a walk along one index.
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS studies (
    key INTEGER PRIMARY KEY AUTOINCREMENT, {_columns(Level.STUDY)}, attributes TEXT NOT NULL,
    UNIQUE ("StudyInstanceUID"));
CREATE TABLE IF NOT EXISTS series (
    key INTEGER PRIMARY KEY AUTOINCREMENT, study INTEGER NOT NULL REFERENCES studies (key),
    {_columns(Level.SERIES)}, attributes TEXT NOT NULL, UNIQUE (study, "SeriesInstanceUID"));
CREATE TABLE IF NOT EXISTS instances (
    watermark INTEGER PRIMARY KEY AUTOINCREMENT, study INTEGER NOT NULL REFERENCES studies (key),
    series INTEGER NOT NULL REFERENCES series (key), {_columns(Level.INSTANCE)},
    transfer_syntax TEXT NOT NULL, size_bytes INTEGER NOT NULL, attributes TEXT NOT NULL,
    UNIQUE (series, "SOPInstanceUID"));
CREATE TABLE IF NOT EXISTS changes (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, study TEXT NOT NULL, series TEXT NOT NULL, sop TEXT NOT NULL,
    action TEXT NOT NULL, happened_at TEXT NOT NULL, state TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS studies_by_patient ON studies ("PatientID");
CREATE INDEX IF NOT EXISTS series_by_uid ON series ("SeriesInstanceUID");
CREATE INDEX IF NOT EXISTS instances_of_study ON instances (study, watermark);
CREATE INDEX IF NOT EXISTS instances_of_series ON instances (series, watermark);
CREATE INDEX IF NOT EXISTS instances_by_uid ON instances ("SOPInstanceUID");
"""

_FIND = """
SELECT watermark, "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", transfer_syntax, size_bytes
FROM instances JOIN series ON series.key = instances.series JOIN studies ON studies.key = instances.study
"""


@dataclass(frozen=True, slots=True)
class Shelved:
    """One stored instance: where its bytes are, and the watermark that changes whenever they do."""

    watermark: int
    study: str
    series: str
    sop: str
    transfer_syntax: str
    size_bytes: int
    path: Path


class Shelf:
    """The directory and its index. Methods may be called from any thread; one at a time gets the index."""

    def __init__(self, directory: Path, *, durable: bool = False) -> None:
        self.directory = directory
        self.incoming = directory / "incoming"
        self._durable = durable
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(directory / "index.sqlite", check_same_thread=False)
        # First, so that changing the journal does not wait for the disk where nothing else does.
        self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the index."""
        with self._lock:
            self._db.close()

    def keep(self, header: Header, source: Path) -> bool:
        """Take a file in under its three UIDs; False, and nothing changed, if they are taken already.

        Bytes are not compared (conformance statement, Failure Reason 45070).
        """
        if self._durable:
            _flush(source)
        size_bytes = source.stat().st_size
        with self._lock, self._db:
            if self._row(header.uids) is not None:
                return False
            target = self._place(*header.uids)
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
            if self._durable:
                _flush(target.parent)
            self._enter(header, size_bytes)
        return True

    def find(self, study: str, series: str | None = None, sop: str | None = None) -> list[Shelved]:
        """Return the instances of a study, a series, or the one instance, oldest first."""
        clause, values = ' WHERE "StudyInstanceUID" = ?', [study]
        if series is not None:
            clause, values = clause + ' AND "SeriesInstanceUID" = ?', [*values, series]
        if sop is not None:
            clause, values = clause + ' AND "SOPInstanceUID" = ?', [*values, sop]
        return [self._shelved(row) for row in self.rows(f"{_FIND}{clause} ORDER BY watermark", values)]

    def all(self) -> list[Shelved]:
        """Return every instance, oldest first."""
        return [self._shelved(row) for row in self.rows(f"{_FIND} ORDER BY watermark", [])]

    def rows(self, sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
        """Return what one SELECT of this package finds."""
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def _row(self, uids: tuple[str, str, str]) -> tuple[Any, ...] | None:
        sql = f'{_FIND} WHERE "StudyInstanceUID" = ? AND "SeriesInstanceUID" = ? AND "SOPInstanceUID" = ?'
        row: tuple[Any, ...] | None = self._db.execute(sql, uids).fetchone()
        return row

    def _shelved(self, row: tuple[Any, ...]) -> Shelved:
        watermark, study, series, sop, syntax, size_bytes = row
        return Shelved(watermark, study, series, sop, syntax, size_bytes, self._place(study, series, sop))

    def _place(self, study: str, series: str, sop: str) -> Path:
        # UIDs end in a digit and hold digits and dots only, so none can lead out of the directory.
        return self.directory / "files" / study / series / f"{sop}.dcm"

    def _enter(self, header: Header, size_bytes: int) -> None:
        study = self._upsert("studies", Level.STUDY, header, {})
        series = self._upsert("series", Level.SERIES, header, {"study": study})
        self._db.execute(
            'INSERT INTO instances (study, series, "SOPInstanceUID", transfer_syntax, size_bytes, attributes)'
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                study,
                series,
                header.uids[2],
                header.transfer_syntax,
                size_bytes,
                _json(header, Level.INSTANCE),
            ),
        )
        self._db.execute(
            "INSERT INTO changes (study, series, sop, action, happened_at, state)"
            " VALUES (?, ?, ?, 'create', ?, 'current')",
            (*header.uids, timestamp(datetime.now(UTC))),
        )

    def _upsert(self, table: str, level: Level, header: Header, parent: dict[str, int]) -> int:
        """Write the row of a study or series; when instances differ about it, the latest wins."""
        texts = {attribute.keyword: header.text(attribute.keyword) for attribute in searchable(level)}
        row = {**parent, **texts, "attributes": _json(header, level)}
        unique = [*parent, searchable(level)[0].keyword]
        names = ", ".join(f'"{name}"' for name in row)
        updates = ", ".join(f'"{name}" = excluded."{name}"' for name in row if name not in unique)
        sql = (  # every name in it is a constant of this package
            f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})"  # noqa: S608 - our own words
            f" ON CONFLICT ({', '.join(unique)}) DO UPDATE SET {updates} RETURNING key"
        )
        [(key,)] = self._db.execute(sql, list(row.values())).fetchall()
        return int(key)


def _json(header: Header, level: Level) -> str:
    tags = (attribute.tag for attribute in ATTRIBUTES if attribute.level is level)
    return json.dumps({tag: header.values[tag] for tag in tags if tag in header.values})


def _flush(path: Path) -> None:
    """Wait until a file, or a directory's entries, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def timestamp(moment: datetime) -> str:
    """Write a time so that text order is time order, as the change feed does."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


_CHANGES = "SELECT sequence, study, series, sop, action, happened_at, state FROM changes"
_CHANGE_NAMES = (
    "sequence", "studyInstanceUid", "seriesInstanceUid", "sopInstanceUid", "action", "timestamp", "state"
)  # fmt: skip


def changes(shelf: Shelf, offset: int, limit: int, since: str, until: str) -> list[dict[str, Any]]:
    """Return change feed entries from `since` to before `until`, oldest first.

    Source: the Medical Imaging Server's change feed document. No patient data: metadata is left out.
    """
    sql = f"{_CHANGES} WHERE happened_at >= ? AND happened_at < ? ORDER BY sequence LIMIT ? OFFSET ?"
    return [_change(row) for row in shelf.rows(sql, [since, until, limit, offset])]


def latest_change(shelf: Shelf) -> dict[str, Any] | None:
    """Return the newest change feed entry, None if nothing has ever changed."""
    rows = shelf.rows(f"{_CHANGES} ORDER BY sequence DESC LIMIT 1", [])
    return _change(rows[0]) if rows else None


def _change(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(_CHANGE_NAMES, row, strict=True))

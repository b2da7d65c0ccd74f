"""The shelf: the files in a directory, and the SQLite index that knows them.

A file is moved into place first and its row committed after; on a delete the row goes first. A crash
between the two leaves a file that the index does not know, which the next store of that instance replaces.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import unicodedata
from contextlib import suppress
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
    transfer_syntax TEXT NOT NULL, size_bytes INTEGER NOT NULL, stored_at TEXT NOT NULL,
    attributes TEXT NOT NULL,
    UNIQUE (series, "SOPInstanceUID"));
CREATE TABLE IF NOT EXISTS changes (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, study TEXT NOT NULL, series TEXT NOT NULL, sop TEXT NOT NULL,
    action TEXT NOT NULL, happened_at TEXT NOT NULL, state TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS studies_by_patient ON studies ("PatientID");
CREATE INDEX IF NOT EXISTS series_by_uid ON series ("SeriesInstanceUID");
CREATE INDEX IF NOT EXISTS instances_of_study ON instances (study, watermark);
CREATE INDEX IF NOT EXISTS instances_of_series ON instances (series, watermark);
CREATE INDEX IF NOT EXISTS instances_by_uid ON instances ("SOPInstanceUID");
CREATE INDEX IF NOT EXISTS changes_by_uid ON changes (sop);
"""

_FIND = """
SELECT watermark, "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", transfer_syntax, size_bytes
FROM instances JOIN series ON series.key = instances.series JOIN studies ON studies.key = instances.study
"""

_DELETE_EMPTY_SERIES = """
DELETE FROM series WHERE study = (SELECT key FROM studies WHERE "StudyInstanceUID" = ?)
AND NOT EXISTS (SELECT 1 FROM instances WHERE instances.series = series.key)
"""
_DELETE_EMPTY_STUDY = """
DELETE FROM studies WHERE "StudyInstanceUID" = ?
AND NOT EXISTS (SELECT 1 FROM series WHERE series.study = studies.key)
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
        for name, meaning in FOLDS.items():
            self._db.create_function(name, 1, meaning, deterministic=True)

    def close(self) -> None:
        """Close the index."""
        with self._lock:
            self._db.close()

    def keep(self, header: Header, source: Path, *, replace: bool = False) -> bool:
        """Take a file in under its three UIDs; False, and nothing changed, if they are taken already.

        Bytes are not compared (conformance statement, Failure Reason 45070). With `replace` the new file
        takes the place of the old one, under a new watermark.
        """
        if self._durable:
            _flush(source)
        size_bytes = source.stat().st_size
        with self._lock, self._db:
            old = self._select(*header.uids)
            if old and not replace:
                return False
            target = self._place(*header.uids)
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
            if self._durable:
                _flush(target.parent)
            self._db.executemany(
                "DELETE FROM instances WHERE watermark = ?", [(one.watermark,) for one in old]
            )
            self._enter(header, size_bytes, "update" if old else "create")
        return True

    def remove(self, study: str, series: str | None = None, sop: str | None = None) -> int:
        """Delete a study, a series or an instance, files and all; return how many instances that were."""
        with self._lock:
            gone = self._select(study, series, sop)
            self._forget(gone)
        return len(gone)

    def recycle(self, most: int) -> None:
        """Forget all but so many of the newest instances."""
        with self._lock:
            rows = self._db.execute(f"{_FIND} ORDER BY watermark DESC LIMIT -1 OFFSET ?", [most]).fetchall()
            self._forget([self._shelved(row) for row in rows])

    def find(
        self, study: str, series: str | None = None, sop: str | None = None, *, newest: int | None = None
    ) -> list[Shelved]:
        """Return the instances of a study, a series, or the one instance, oldest first.

        `newest` leaves out what has a higher watermark.
        """
        with self._lock:
            found = self._select(study, series, sop)
        return [one for one in found if newest is None or one.watermark <= newest]

    def newest_at(self, moment: datetime) -> int:
        """Return the highest watermark there was at a moment, 0 if there was none."""
        [(newest,)] = self.rows(
            "SELECT max(watermark) FROM instances WHERE stored_at <= ?", [timestamp(moment)]
        )
        return newest or 0

    def all(self) -> list[Shelved]:
        """Return every instance, oldest first."""
        return [self._shelved(row) for row in self.rows(f"{_FIND} ORDER BY watermark", [])]

    def rows(self, sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
        """Return what one SELECT of this package finds."""
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def _select(self, study: str, series: str | None, sop: str | None) -> list[Shelved]:
        levels = (("StudyInstanceUID", study), ("SeriesInstanceUID", series), ("SOPInstanceUID", sop))
        given = {keyword: uid for keyword, uid in levels if uid is not None}
        where = " AND ".join(f'"{keyword}" = ?' for keyword in given)
        sql = f"{_FIND} WHERE {where} ORDER BY watermark"
        return [self._shelved(row) for row in self._db.execute(sql, list(given.values()))]

    def _shelved(self, row: tuple[Any, ...]) -> Shelved:
        watermark, study, series, sop, syntax, size_bytes = row
        return Shelved(watermark, study, series, sop, syntax, size_bytes, self._place(study, series, sop))

    def _place(self, study: str, series: str, sop: str) -> Path:
        # UIDs end in a digit and hold digits and dots only, so none can lead out of the directory.
        return self.directory / "files" / study / series / f"{sop}.dcm"

    def _enter(self, header: Header, size_bytes: int, action: str) -> None:
        study = self._upsert("studies", Level.STUDY, header, {})
        series = self._upsert("series", Level.SERIES, header, {"study": study})
        now = timestamp(datetime.now(UTC))
        syntax, attributes = header.transfer_syntax, _json(header, Level.INSTANCE)
        self._db.execute(
            'INSERT INTO instances (study, series, "SOPInstanceUID", transfer_syntax, size_bytes, stored_at,'
            " attributes) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (study, series, header.uids[2], syntax, size_bytes, now, attributes),
        )
        self._note([header.uids], action, now, state="current", before="replaced")

    def _forget(self, gone: list[Shelved]) -> None:
        """Delete instances, and every series and study that nothing is left of; files last."""
        with self._db:
            marks = [(one.watermark,) for one in gone]
            self._db.executemany("DELETE FROM instances WHERE watermark = ?", marks)
            self._db.executemany(_DELETE_EMPTY_SERIES, [(study,) for study in {one.study for one in gone}])
            self._db.executemany(_DELETE_EMPTY_STUDY, [(study,) for study in {one.study for one in gone}])
            uids = [(one.study, one.series, one.sop) for one in gone]
            self._note(uids, "delete", timestamp(datetime.now(UTC)), state="deleted", before="deleted")
        for one in gone:  # under the same lock, before another may be put in its place
            one.path.unlink(missing_ok=True)
            with suppress(OSError):  # other instances are in it
                one.path.parent.rmdir()
                one.path.parent.parent.rmdir()

    def _note(
        self, uids: list[tuple[str, str, str]], action: str, moment: str, *, state: str, before: str
    ) -> None:
        """Write down changes, and what that makes of the earlier ones of the same instances."""
        earlier = "UPDATE changes SET state = ? WHERE study = ? AND series = ? AND sop = ?"
        self._db.executemany(earlier, [(before, *three) for three in uids])
        self._db.executemany(
            "INSERT INTO changes (study, series, sop, action, happened_at, state) VALUES (?, ?, ?, ?, ?, ?)",
            [(*three, action, moment, state) for three in uids],
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


def _caseless(text: str) -> str:
    return text.casefold()


def _accentless(text: str) -> str:
    bare = (one for one in unicodedata.normalize("NFD", text) if not unicodedata.combining(one))
    return "".join(bare).casefold()


FOLDS = {"caseless": _caseless, "accentless": _accentless}
"""What SQL can be told to do to both sides of a comparison (conformance statement, "Additional Notes")."""

"""The writer's verbs about folders, directories and files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from dicomsync.ledger import many
from dicomsync.ledger.rows import FileRow, NewFile, Scan
from dicomsync.model import FileState, Source, StatKey

_PUT_FILES = """INSERT INTO files (directory_id, name, shown, size_bytes, mtime_ns, ctime_ns, inode,
        state, reason, detail, instance_id, place, seen_at)
    {given}
    ON CONFLICT (directory_id, name) DO UPDATE SET size_bytes = excluded.size_bytes,
        mtime_ns = excluded.mtime_ns, ctime_ns = excluded.ctime_ns, inode = excluded.inode,
        state = excluded.state, reason = excluded.reason, detail = excluded.detail,
        instance_id = excluded.instance_id, place = excluded.place"""
_PUT_FILE = _PUT_FILES.replace("{given}", "VALUES {rows}")
_PUT_WHOLE = """WITH given (directory_id, name, shown, size_bytes, mtime_ns, ctime_ns, inode, state, reason,
        detail, uid, place, seen_at) AS (VALUES {rows})
    """ + _PUT_FILES.replace(
    "{given}",
    """SELECT g.directory_id, g.name, g.shown, g.size_bytes, g.mtime_ns, g.ctime_ns, g.inode, g.state,
        g.reason, g.detail, i.id, g.place, g.seen_at
    FROM given g CROSS JOIN instances i ON i.sop_instance_uid = g.uid WHERE true""",
)
_PATH = "CAST(d.path || '/' || f.name AS BLOB)"  # joining makes text of the bytes; the cast takes them back


class FileVerbs:
    """What the engine records and asks of files; each verb is a few statements in its transaction."""

    _db: sqlite3.Connection

    def begin_scan(self, folder: bytes, wall: float = 0.0, patterns: str = "") -> Scan:
        """Begin a full pass over a folder; the first one for other `patterns` finds what was there before."""
        self._db.execute(
            "INSERT INTO folders (path, seen_at) VALUES (?, ?) ON CONFLICT DO NOTHING", (folder, wall)
        )
        row = self._db.execute(
            """UPDATE folders SET scan = (SELECT max(scan) + 1 FROM folders),
                scanned_at = CASE WHEN patterns = ?2 THEN scanned_at END, patterns = ?2 WHERE path = ?1
            RETURNING id, scan, seen_at, scanned_at IS NULL, mount""",
            (folder, patterns),
        ).fetchone()
        return _scan(folder, row)

    def latest_scan(self, folder: bytes) -> Scan | None:
        """Give the latest full pass over a folder: what is read meanwhile is a part of it."""
        row = self._db.execute(
            "SELECT id, scan, seen_at, scanned_at IS NULL, mount FROM folders WHERE path = ?", (folder,)
        ).fetchone()
        return None if row is None else _scan(folder, row)

    def found_on(self, scan: Scan, mount: bytes) -> None:
        """Record which mount point a pass found its folder on."""
        self._db.execute("UPDATE folders SET mount = ? WHERE id = ?", (mount, scan.folder_id))

    def end_scan(self, scan: Scan, wall: float, report: str) -> None:
        """Record that a pass came to its end, and what it counted."""
        self._db.execute(
            # whether the folder hangs is kept: files of it may be waited for after all was listed
            """UPDATE folders SET scanned_at = ?,
                report = json_patch(?, json_object('hangs_since', json_extract(report, '$.hangs_since')))
            WHERE id = ?""",
            (wall, report, scan.folder_id),
        )

    def folder_lost(self, scan: Scan, wall: float, why: str) -> None:
        """Record why the folder itself cannot be read, and since when: what was counted before stays."""
        self._db.execute(
            """UPDATE folders SET report = json_set(coalesce(report, '{}'), '$.problems', 1, '$.lost', ?,
                '$.lost_at', coalesce(json_extract(report, '$.lost_at'), ?)) WHERE id = ?""",
            (why, wall, scan.folder_id),
        )

    def folder_hangs(self, folder: bytes, since: float | None) -> int | None:
        """Record since when (wall seconds) a folder does not answer, or that it does; gives its row."""
        row = self._db.execute(
            """UPDATE folders SET report = CASE WHEN ? IS NULL THEN json_remove(report, '$.hangs_since')
                ELSE json_set(coalesce(report, '{}'), '$.hangs_since', ?) END
            WHERE path = ? RETURNING id""",
            (since, since, folder),
        ).fetchone()
        return None if row is None else int(row[0])

    def directory(self, path: bytes, scan: Scan, mtime_ns: int = 0, *, nested: bool = False) -> int:
        """Record that a pass read this directory, and the time it had then; gives its row.

        `nested`: it was on another file system than its folder; that is kept.
        """
        row = self._db.execute(
            """INSERT INTO directories (folder_id, path, shown, scan, mtime_ns, nested)
            VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT (path) DO UPDATE SET folder_id = excluded.folder_id, scan = excluded.scan,
                mtime_ns = excluded.mtime_ns, nested = max(nested, excluded.nested)
            RETURNING id""",
            (scan.folder_id, path, _shown(path), scan.number, mtime_ns, int(nested)),
        ).fetchone()
        return int(row[0])

    def agreed(self, path: bytes, scan: Scan, *, nested: bool = False) -> tuple[int, bytes] | None:
        """Give the row of a directory, and the digest of the listing that agreed with its files.

        None where there is no such digest, as one of them has changed since, or where more of the directory
        is to be recorded than `read_again` does.
        """
        row = self._db.execute(
            """SELECT id, agreed FROM directories
            WHERE path = ? AND folder_id = ? AND nested >= ? AND agreed IS NOT NULL""",
            (path, scan.folder_id, int(nested)),
        ).fetchone()
        return None if row is None else (int(row[0]), bytes(row[1]))

    def read_again(self, scan: Scan, directories: Sequence[tuple[int, int]]) -> None:
        """Record that a pass read these directories, and nothing was new in them: each with its time."""
        self._db.executemany(
            "UPDATE directories SET scan = ?, mtime_ns = ? WHERE id = ?",
            [(scan.number, mtime_ns, directory_id) for directory_id, mtime_ns in directories],
        )

    def agree(self, directory_id: int, digest: bytes) -> None:
        """Record that a listing agrees with a directory's files: each is as its row says, and none missing.

        It holds until a row of them is written: a trigger sees to that.
        """
        self._db.execute("UPDATE directories SET agreed = ? WHERE id = ?", (digest, directory_id))

    def knows_directory(self, path: bytes) -> bool:
        """Say whether a directory was ever read."""
        return self._db.execute("SELECT 1 FROM directories WHERE path = ?", (path,)).fetchone() is not None

    def directories(self, folder: bytes, after: bytes, most: int) -> list[tuple[bytes, int]]:
        """Give the directories at and below a folder, by path from `after` on, with their times when read."""
        rows = self._db.execute(
            """SELECT path, mtime_ns FROM directories
            WHERE path > ? AND (path = ? OR (path >= ? AND path < ?)) ORDER BY path LIMIT ?""",
            (after, folder, folder.rstrip(b"/") + b"/", folder.rstrip(b"/") + b"0", most),
        )
        return [(bytes(row[0]), row[1]) for row in rows]

    def files_between(self, directory_id: int, after: bytes, upto: bytes | None) -> dict[bytes, FileRow]:
        """Give the files of a directory with after < name <= upto (None: to the end), by name."""
        bound = "" if upto is None else "AND name <= ?"
        rows = self._db.execute(
            f"""SELECT id, name, size_bytes, mtime_ns, ctime_ns, inode, state, reason, instance_id, place
            FROM files WHERE directory_id = ? AND name > ? {bound}""",
            (directory_id, after) if upto is None else (directory_id, after, upto),
        )
        return {row[1]: _file_row(row) for row in rows}

    def unread_files(self, scan: Scan, after: tuple[bytes, bytes], most: int) -> list[tuple[bytes, FileRow]]:
        """Give known files below the folder, in directories that this pass did not come by.

        Each with its directory's path; `after` is the directory's path and the name reached before.
        """
        below = scan.folder.rstrip(b"/")
        rows = self._db.execute(
            """SELECT d.path, f.id, f.name, f.size_bytes, f.mtime_ns, f.ctime_ns, f.inode, f.state,
                f.reason, f.instance_id, f.place
            FROM directories d CROSS JOIN files f ON f.directory_id = d.id
            WHERE d.path >= ? AND d.path < ? AND d.scan < ? AND (d.path > ? OR f.name > ?)
                AND f.state NOT IN ('gone', 'missed')
            ORDER BY d.path, f.name LIMIT ?""",
            # "0" follows "/": these are the paths that begin with the folder and a slash
            (max(after[0], below + b"/"), below + b"0", scan.number, *after, most),
        )
        return [(bytes(row[0]), _file_row(row[1:])) for row in rows]

    def put_file(self, file: NewFile, wall: float) -> int:
        """Record a file as it is now; gives its row."""
        row = many.execute(self._db, f"{_PUT_FILE} RETURNING id", [_put(file, wall, file.instance_id)])[0]
        if file.state is FileState.READY:
            self._filed([file], wall)
        return int(row[0])

    def put_whole(self, files: Sequence[tuple[NewFile, str]], wall: float) -> None:
        """Record whole files as they are now, no name twice, each with a UID that one instance alone has."""
        many.execute(self._db, _PUT_WHOLE, [_put(file, wall, uid) for file, uid in files])
        self._filed((file for file, _ in files), wall)

    def _filed(self, files: Iterable[NewFile], wall: float) -> None:
        """Record of the folders of whole files that something came."""
        many.execute(
            self._db,
            """WITH given (id) AS (VALUES {rows})
            UPDATE folders SET filed_at = ?
            WHERE id IN (SELECT folder_id FROM directories WHERE id IN given)""",
            [(directory_id,) for directory_id in {file.directory_id for file in files}],
            (wall,),
        )

    def file(self, file_id: int) -> tuple[int, bytes, FileRow] | None:
        """Give one file's directory row, its path and its row."""
        row = self._db.execute(
            f"""SELECT f.id, f.name, f.size_bytes, f.mtime_ns, f.ctime_ns, f.inode, f.state, f.reason,
                f.instance_id, f.place, f.directory_id, {_PATH}
            FROM files f JOIN directories d ON d.id = f.directory_id WHERE f.id = ?""",
            (file_id,),
        ).fetchone()
        return None if row is None else (int(row[10]), bytes(row[11]), _file_row(row))

    def move_file(self, file_id: int, state: FileState, reason: str, detail: str = "") -> None:
        """Change where a file is, and nothing else of it."""
        self._db.execute(
            "UPDATE files SET state = ?, reason = ?, detail = ? WHERE id = ?",
            (state, reason, detail, file_id),
        )

    def place(self, device: int, inode: int) -> int:
        """Give the number of a directory that is read as a folder, by what tells it from every other."""
        self._db.execute("INSERT OR IGNORE INTO places (device, inode) VALUES (?, ?)", (device, inode))
        row = self._db.execute(
            "SELECT id FROM places WHERE device = ? AND inode = ?", (device, inode)
        ).fetchone()
        return int(row[0])

    def found_at(self, file_id: int, place: int) -> None:
        """Record what its folder was when a file, unchanged, was seen again."""
        self._db.execute("UPDATE files SET place = ? WHERE id = ?", (place, file_id))

    def unlink_file(self, file_id: int) -> None:
        """Record that it is not known any more which instance a file holds."""
        self._db.execute("UPDATE files SET instance_id = NULL WHERE id = ?", (file_id,))

    def renamed_within(self, directory_id: int, key: StatKey, but: int) -> bool:
        """Tell whether another name of the directory has the same inode, size and time: a rename."""
        row = self._db.execute(
            """SELECT 1 FROM files WHERE directory_id = ? AND inode = ? AND size_bytes = ? AND mtime_ns = ?
            AND id <> ? AND state NOT IN ('gone', 'missed') LIMIT 1""",
            (directory_id, key.inode, key.size_bytes, key.mtime_ns, but),
        ).fetchone()
        return row is not None

    def linked_files(self, instance_id: int) -> int:
        """Count the files that hold an instance, or are being looked at because they did."""
        row = self._db.execute(
            """SELECT count(*) FROM files WHERE instance_id = ?
            AND (state IN ('ready', 'settling') OR reason = 'unreadable')""",
            (instance_id,),
        ).fetchone()
        return int(row[0])

    def source(self, instance_id: int, but_file: int | None = None) -> Source | None:
        """Give the file with the smallest path that holds an instance now, other than one."""
        return source_of(self._db, instance_id, but_file)


def source_of(
    db: sqlite3.Connection | sqlite3.Cursor, instance_id: int, but_file: int | None = None
) -> Source | None:
    """Give the file with the smallest path that holds an instance now, other than one."""
    rows = db.execute(
        f"""SELECT f.id, {_PATH}, f.size_bytes, f.mtime_ns, f.ctime_ns, f.inode
        FROM files f JOIN directories d ON d.id = f.directory_id
        WHERE f.instance_id = ? AND f.state = 'ready' AND f.id IS NOT ? ORDER BY 2 LIMIT 1""",
        (instance_id, but_file),
    ).fetchall()
    return (
        Source(rows[0][0], bytes(rows[0][1]), StatKey(*tuple(rows[0])[2:])) if rows else kept(db, instance_id)
    )


def source_from(row: Sequence[Any]) -> Source | None:
    """Make a source of a file's row, its directory's path, its name, and its key; None where it is NULL."""
    return None if row[0] is None else Source(row[0], row[1] + b"/" + row[2], StatKey(*row[3:]))


def kept(db: sqlite3.Connection | sqlite3.Cursor, instance_id: int) -> Source | None:
    """Give the copy that was kept of an instance, where a person takes its deletion back.

    It is no file of any folder: its number is that of its removal, below zero.
    """
    row = db.execute(
        """SELECT id, kept, kept_key FROM removals
        WHERE instance_id = ? AND stage = 'undone' AND kept IS NOT NULL ORDER BY id DESC LIMIT 1""",
        (instance_id,),
    ).fetchone()
    return None if row is None else Source(-row[0], bytes(row[1]), StatKey(**json.loads(row[2])))


def _shown(name: bytes) -> str | None:
    """Give a name that is no UTF-8 in escapes, as text columns cannot hold it; None where it is."""
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("utf-8", "backslashreplace")
    return None


def _put(file: NewFile, wall: float, instance: int | str | None) -> tuple[Any, ...]:
    key = file.key
    what = (file.directory_id, file.name, _shown(file.name))
    seen = (key.size_bytes, key.mtime_ns, key.ctime_ns, key.inode)
    return (*what, *seen, file.state.value, file.reason, file.detail, instance, file.place, wall)


def _scan(folder: bytes, row: tuple[Any, ...]) -> Scan:
    return Scan(row[0], folder, row[1], row[2], bool(row[3]), row[4])


def _file_row(row: tuple[Any, ...]) -> FileRow:
    return FileRow(row[0], row[1], StatKey(*row[2:6]), FileState(row[6]), row[7], row[8], row[9])

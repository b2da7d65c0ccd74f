"""The ledger's rows as a judge reads them, by SQL of its own."""

from __future__ import annotations

import sqlite3
from typing import Any

_INSTANCES = """SELECT i.id, i.sop_instance_uid, i.state, i.reason, i.sha256, i.verified_at, i.size_bytes,
    s.study_instance_uid FROM instances i JOIN studies s ON s.id = i.study_id"""
_PATH = "CAST(d.path || '/' || f.name AS BLOB)"
_FILES = f"""SELECT f.id, {_PATH}, f.state, f.reason, f.instance_id, f.size_bytes, f.mtime_ns, f.ctime_ns,
    f.inode FROM files f JOIN directories d ON d.id = f.directory_id"""

Row = tuple[Any, ...]
Rows = tuple[dict[int, Row], dict[int, Row]]
UID, STATE, REASON, SHA256 = 1, 2, 3, 4
PATH, INSTANCE, SIZE, CTIME, INODE = 1, 4, 5, 7, 8


def read(db: sqlite3.Connection) -> Rows:
    """Read the ledger as it is committed."""
    instances = {row[0]: row for row in db.execute(_INSTANCES)}
    return instances, {row[0]: row for row in db.execute(_FILES)}

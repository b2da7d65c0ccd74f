"""A ledger of any released version is taken over whole by this one (`tests/frozen`)."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from dicomsync import explain, facts, status
from dicomsync.concerns import How
from dicomsync.ledger import Ledger, Reader
from dicomsync.ledger.checking import check
from dicomsync.ledger.guard import Seal
from dicomsync.ledger.migrations import migrations
from dicomsync.model import FileState, InstanceState
from tests import accounts

RELEASED = sorted((Path(__file__).parent / "frozen").glob("ledger-*.sql"))
KEPT = {
    "files": "SELECT id, directory_id, name, size_bytes, mtime_ns, state, reason, instance_id FROM files",
    "instances": "SELECT id, study_id, series_instance_uid, sop_instance_uid, size_bytes, sha256, state,"
    " reason, attempts, stored_at, verified_at FROM instances",
    "studies": "SELECT id, study_instance_uid, pending, pending_bytes FROM studies",
    "folders": "SELECT id, path, scanned_at FROM folders",
    "history": "SELECT id, at, what, row, event, detail FROM history",
    "batches": "SELECT id, study_id, sent_at, answered_at, instances, status FROM batches",
    "roots": "SELECT id, path, mode, frozen FROM roots",
}


@pytest.fixture(params=RELEASED, ids=lambda path: path.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A ledger as it was left by a released version, and its seal."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(request.param.read_text(encoding="utf-8"))
        facts_ = dict(database.execute("SELECT name, value FROM facts"))
    with path.with_name("ledger.db.lock").open("wb") as lock:
        Seal(facts_["ledger"], int(facts_["sequence"])).write(lock.fileno())
    return path


def schema(database: sqlite3.Connection) -> dict[str, str]:
    """Every table, index, trigger and view that is ours, as it was made."""
    rows = database.execute("SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE '%sqlite_%'")
    return dict(rows.fetchall())


def test_the_first_release_is_among_them() -> None:
    assert "ledger-0.1.0" in {path.stem for path in RELEASED}


def test_a_released_step_is_as_it_was(old: Path) -> None:
    """Where this fails before the release, `python -m tests.frozen` makes it again; after it, add a step."""
    with closing(sqlite3.connect(old)) as database:
        was = schema(database)
        steps = {name for (name,) in database.execute("SELECT name FROM _sqlite_migrations")}
    now = Database(memory=True)
    later = [step.name for step in migrations.pending(now) if step.name not in steps]
    migrations.apply(now, stop_before=later[0] if later else None)
    assert schema(now.conn) == was
    now.close()


def test_it_is_opened_and_every_row_is_there_and_counted(old: Path) -> None:
    before = {name: accounts.rows(old, sql) for name, sql in KEPT.items()}
    Ledger.open(old).close()
    assert {name: accounts.rows(old, sql) for name, sql in KEPT.items()} == before
    assert check(old) == []
    with Reader.open(old) as reader:
        counts = reader.counts()
    assert {state: n for state, n in counts.instances.items() if n} == Counter(
        row[6] for row in before["instances"]
    )
    assert {state: n for state, n in counts.files.items() if n} == Counter(row[5] for row in before["files"])
    assert all(counts.instances[state] for state in InstanceState)
    assert all(counts.files[state] for state in FileState)


def test_it_has_the_schema_of_a_new_one(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new" / "ledger.db"
    for path in (old, new):
        Ledger.open(path).close()
    columns = (
        "SELECT m.name, m.type, c.name, c.type FROM sqlite_schema m LEFT JOIN pragma_table_xinfo(m.name) c"
    )
    assert set(accounts.rows(old, columns)) == set(accounts.rows(new, columns))


def test_what_people_ask_of_it_is_answered(old: Path) -> None:
    Ledger.open(old).close()
    told = facts.look(old, time.time(), How())
    assert {one["code"] for one in told["concerns"]} >= {
        "conflict",
        "rejected",
        "missed",
        "held",
        "deletions-frozen",
    }
    assert "rejected" in status.text(told)
    [(uid,)] = accounts.rows(old, "SELECT sop_instance_uid FROM instances WHERE state = 'pending'")
    with Reader.open(old) as reader:
        lines = explain.explain(reader, uid, time.time())
    assert lines is not None
    assert any("pending" in line for line in lines)

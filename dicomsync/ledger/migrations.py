"""The ledger's schema, step by step. A step is never edited once released; a change is a new step.

Counts and each study's pending figures are kept by triggers: no verb can forget them, and a row
edited by hand keeps the sums true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlite_utils import Migrations

from dicomsync.ledger import tallies
from dicomsync.ledger.conditions import LOST, ODD, OPEN, STAGES, WAITING, claims, one_of, waits
from dicomsync.model import FileState, InstanceState

if TYPE_CHECKING:
    from sqlite_utils import Database

migrations = Migrations("dicomsync")


_TABLES = (
    """CREATE TABLE facts (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE counts (
        what TEXT NOT NULL, -- file or instance
        state TEXT NOT NULL,
        n INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (what, state)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE folders (
        id INTEGER PRIMARY KEY,
        path BLOB NOT NULL UNIQUE,
        scan INTEGER NOT NULL DEFAULT 0, -- number of the latest scan begun
        mount BLOB NOT NULL DEFAULT x'', -- the mount point it was last found on
        patterns TEXT NOT NULL DEFAULT '', -- of the names that are looked for in it
        seen_at REAL NOT NULL, -- when it was first looked into
        scanned_at REAL, -- end of the latest scan that came to its end
        filed_at REAL, -- when a file in it was last proved to be whole DICOM
        report TEXT -- what that scan counted, as JSON
    ) STRICT""",
    """CREATE TABLE directories (
        id INTEGER PRIMARY KEY,
        folder_id INTEGER NOT NULL REFERENCES folders (id),
        path BLOB NOT NULL UNIQUE,
        shown TEXT, -- the path in escapes, where it is not UTF-8
        scan INTEGER NOT NULL DEFAULT 0, -- the latest scan that read it
        mtime_ns INTEGER NOT NULL DEFAULT 0, -- its time when it was last read whole; 0: to be read again
        nested INTEGER NOT NULL DEFAULT 0, -- 1: it was once on another file system than its folder
        agreed BLOB -- digest of the listing that agreed with its files; NULL once one of them changes
    ) STRICT""",
    f"""CREATE TABLE files (
        id INTEGER PRIMARY KEY AUTOINCREMENT, -- history names it: never that of another
        directory_id INTEGER NOT NULL REFERENCES directories (id),
        name BLOB NOT NULL,
        shown TEXT, -- the name in escapes, where it is not UTF-8
        size_bytes INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        state TEXT NOT NULL CHECK ({one_of("state", tuple(FileState))}),
        reason TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT '',
        instance_id INTEGER REFERENCES instances (id),
        seen_at REAL NOT NULL,
        place INTEGER NOT NULL DEFAULT 0, -- of `places`: its folder when it was last seen; 0: unknown
        UNIQUE (directory_id, name)
    ) STRICT""",
    """CREATE TABLE studies (
        id INTEGER PRIMARY KEY,
        study_instance_uid TEXT NOT NULL UNIQUE,
        seen_at REAL NOT NULL,
        pending INTEGER NOT NULL DEFAULT 0,
        pending_bytes INTEGER NOT NULL DEFAULT 0,
        live INTEGER NOT NULL DEFAULT 0, -- how many of the pending ones came while the daemon was there
        first_at REAL, -- when its earliest pending instance may go
        quiet_at REAL NOT NULL DEFAULT 0, -- when it counts as quiet if nothing more arrives
        due_at REAL, -- when its next batch goes; NULL: nothing is pending
        ahead INTEGER NOT NULL DEFAULT 0 -- 1: some of what is pending came live, and goes before the backlog
    ) STRICT""",
    f"""CREATE TABLE instances (
        id INTEGER PRIMARY KEY AUTOINCREMENT, -- likewise; and what is younger has a greater one
        study_id INTEGER NOT NULL REFERENCES studies (id),
        series_instance_uid TEXT NOT NULL,
        sop_instance_uid TEXT NOT NULL,
        sop_class_uid TEXT NOT NULL,
        transfer_syntax_uid TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        preamble BLOB NOT NULL DEFAULT x'', -- first 128 bytes where not all zero
        sha256 BLOB, -- of the whole file, once its bytes were read
        state TEXT NOT NULL CHECK ({one_of("state", tuple(InstanceState))}),
        claims INTEGER, -- kept by triggers; 1: of those under its UID this is the one that the archive has or
            -- gets; NULL: it is not
        waits INTEGER NOT NULL DEFAULT 0, -- likewise; 1: something is to be done without a person
        reason TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT '',
        likeness TEXT NOT NULL DEFAULT '', -- of a conflict, once compared: how like the other content it is
        seen_at REAL NOT NULL,
        live INTEGER NOT NULL DEFAULT 0, -- 1: it came after its folder had been read whole; 0: the backlog
        due_at REAL NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        unclear INTEGER NOT NULL DEFAULT 0, -- attempts that failed without a clear reason
        looks INTEGER NOT NULL DEFAULT 0, -- how often the archive was asked and did not have it
        together INTEGER, -- the most instances its next request may hold
        batch_id INTEGER REFERENCES batches (id), -- the latest
        stored_at REAL,
        verified_at REAL, -- when the archive's copy was compared and found equal
        found TEXT NOT NULL DEFAULT '', -- of a stored one, when last asked: present, equal, absent (once),
            -- missing (twice), differs
        found_at REAL, -- when that was
        check_at REAL -- when the archive is to be asked about it in the background; NULL: not by itself
    ) STRICT""",
    """CREATE TABLE batches (
        id INTEGER PRIMARY KEY,
        study_id INTEGER NOT NULL REFERENCES studies (id),
        sent_at REAL NOT NULL,
        answered_at REAL,
        instances INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        status INTEGER, -- of HTTP; NULL without an answer
        outcome TEXT NOT NULL DEFAULT ''
    ) STRICT""",
    """CREATE TABLE history (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        what TEXT NOT NULL, -- file, instance, study, batch or archive
        row INTEGER NOT NULL, -- its id
        event TEXT NOT NULL,
        detail TEXT NOT NULL DEFAULT ''
    ) STRICT""",
    """CREATE TABLE places ( -- directories that were ever read as a folder
        id INTEGER PRIMARY KEY,
        device INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        UNIQUE (device, inode)
    ) STRICT""",
    f"""CREATE TABLE roots ( -- folders whose deletions are mirrored, or were
        id INTEGER PRIMARY KEY,
        path BLOB NOT NULL UNIQUE,
        mode TEXT NOT NULL CHECK ({one_of("mode", ("off", "report", "on"))}),
        conditions TEXT NOT NULL, -- of the config; where they change, evidence begins again
        identity TEXT, -- what tells it from another folder in its place, as JSON; NULL: not enrolled
        enrolled_at REAL,
        seconds REAL NOT NULL DEFAULT 0, -- how long it was seen to be healthy: its own clock
        unhealthy TEXT NOT NULL DEFAULT '', -- why it is not, when last looked at
        frozen TEXT NOT NULL DEFAULT '', -- the guard that was tripped
        frozen_at REAL
    ) STRICT""",
    f"""CREATE TABLE removals ( -- instances whose last file has left a folder that mirrors
        id INTEGER PRIMARY KEY,
        root_id INTEGER NOT NULL REFERENCES roots (id),
        instance_id INTEGER NOT NULL,
        stage TEXT NOT NULL CHECK ({one_of("stage", STAGES)}),
        reason TEXT NOT NULL DEFAULT '', -- why it is over, or what it was last kept back by
        was TEXT NOT NULL DEFAULT '', -- the instance's reason while it was stored
        left_at REAL NOT NULL, -- wall seconds; what follows is in the folder's own seconds
        first_scan INTEGER, -- the pass that first proved it absent
        first_seconds REAL, -- when that was over
        graced_seconds REAL, -- when the second one was over
        directory_gone INTEGER NOT NULL DEFAULT 0, -- its top-level directory has gone as well
        approved INTEGER NOT NULL DEFAULT 0,
        ended_seconds REAL,
        kept BLOB, -- the path of its copy in the trash
        kept_key TEXT, -- its size, times and inode, as JSON
        kept_seconds REAL
    ) STRICT""",
    """CREATE TABLE readings (
        id INTEGER PRIMARY KEY, -- a header job that is out, or that its process did not survive
        files TEXT NOT NULL -- path, size, times and inode of each file it was handed, as JSON
    ) STRICT""",
    """CREATE TABLE suspects (
        path BLOB PRIMARY KEY, -- of a file that was being read as a process ended
        size_bytes INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        times INTEGER NOT NULL DEFAULT 1
    ) STRICT, WITHOUT ROWID""",
)

_INDEXES = (
    "CREATE UNIQUE INDEX instances_claim ON instances (sop_instance_uid, claims)",  # no NULL equals another
    "CREATE INDEX instances_of_study ON instances (study_id)",
    "CREATE INDEX instances_pending ON instances (study_id, due_at) WHERE state = 'pending'",
    "CREATE INDEX instances_asked ON instances (due_at) WHERE state = 'unconfirmed'",
    f"CREATE INDEX instances_waiting ON instances (live, seen_at) WHERE {WAITING}",
    "CREATE INDEX files_of_instance ON files (instance_id) WHERE instance_id IS NOT NULL",
    "CREATE INDEX files_odd ON files (state, reason, seen_at) WHERE state IN ('held', 'missed')",
    f"CREATE INDEX instances_odd ON instances (state, reason, seen_at) WHERE {ODD}",
    "CREATE INDEX instances_to_check ON instances (check_at) WHERE check_at IS NOT NULL",
    f"CREATE INDEX instances_lost ON instances (found) WHERE {LOST}",
    "CREATE INDEX files_unsettled ON files (directory_id) WHERE state = 'settling'",
    "CREATE INDEX studies_due ON studies (ahead, due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX batches_open ON batches (study_id) WHERE answered_at IS NULL",
    "CREATE INDEX history_of ON history (what, row)",
    f"CREATE UNIQUE INDEX removals_open ON removals (instance_id) WHERE {OPEN}",
    "CREATE INDEX removals_of ON removals (instance_id)",
    "CREATE INDEX files_earlier ON files (size_bytes) WHERE reason = 'earlier'",
    "CREATE INDEX directories_nested ON directories (path) WHERE nested = 1",
    "CREATE INDEX removals_kept ON removals (kept_seconds) WHERE kept IS NOT NULL",
)


def _count(what: str, sign: str, row: str) -> str:
    return f"UPDATE counts SET n = n {sign} 1 WHERE what = '{what}' AND state = {row}.state;"


def _study(row: str, sign: str) -> str:
    return f"""UPDATE studies SET pending = pending {sign} 1,
            pending_bytes = pending_bytes {sign} {row}.size_bytes, live = live {sign} {row}.live
        WHERE id = {row}.study_id AND {row}.state = 'pending';"""


def _standing() -> str:
    """Keep `claims` and `waits` what the state says.

    An index whose condition names the state is written anew with each change of it, whether or not it has
    the row before and after: for that of the UIDs, which lie anywhere in it, that was an eighth of the
    ledger's CPU.
    """
    return f"""UPDATE instances SET claims = {claims("NEW.state")}
            WHERE id = NEW.id AND NEW.claims IS NOT {claims("NEW.state")};
        UPDATE instances SET waits = {waits("NEW.state")}
            WHERE id = NEW.id AND NEW.waits <> {waits("NEW.state")};"""


def _disagree(row: str) -> str:
    return f"UPDATE directories SET agreed = NULL WHERE id = {row}.directory_id AND agreed IS NOT NULL;"


_TRIGGERS = (
    f"""CREATE TRIGGER files_added AFTER INSERT ON files BEGIN
        {_count("file", "+", "NEW")} {_disagree("NEW")} END""",
    f"""CREATE TRIGGER files_moved AFTER UPDATE OF state ON files WHEN OLD.state <> NEW.state BEGIN
        {_count("file", "-", "OLD")} {_count("file", "+", "NEW")} END""",
    f"CREATE TRIGGER files_changed AFTER UPDATE ON files BEGIN {_disagree('NEW')} END",
    f"""CREATE TRIGGER files_dropped AFTER DELETE ON files BEGIN
        {_count("file", "-", "OLD")} {_disagree("OLD")} END""",
    f"""CREATE TRIGGER instances_added AFTER INSERT ON instances BEGIN
        {_count("instance", "+", "NEW")} {_study("NEW", "+")} {_standing()} END""",
    f"""CREATE TRIGGER instances_moved AFTER UPDATE OF state, size_bytes, study_id ON instances
        WHEN OLD.state <> NEW.state OR OLD.size_bytes <> NEW.size_bytes OR OLD.study_id <> NEW.study_id BEGIN
        {_count("instance", "-", "OLD")} {_count("instance", "+", "NEW")}
        {_study("OLD", "-")} {_study("NEW", "+")} {_standing()} {tallies.RETRIED} END""",
    f"""CREATE TRIGGER instances_dropped AFTER DELETE ON instances BEGIN
        {_count("instance", "-", "OLD")} {_study("OLD", "-")} END""",
)

_TIME = "strftime('%Y-%m-%d %H:%M:%S', {}, 'unixepoch')"

_VIEWS = (
    f"""CREATE VIEW file_list AS
        SELECT f.id AS file, coalesce(d.shown, CAST(d.path AS TEXT)) || '/'
                || coalesce(f.shown, CAST(f.name AS TEXT)) AS path, f.size_bytes,
            f.state AS file_state, f.reason AS file_reason, i.state AS instance_state,
            i.reason AS instance_reason, s.study_instance_uid, i.series_instance_uid, i.sop_instance_uid,
            {_TIME.format("f.seen_at")} AS seen_utc, {_TIME.format("i.stored_at")} AS stored_utc,
            {_TIME.format("i.verified_at")} AS verified_utc
        FROM files f JOIN directories d ON d.id = f.directory_id
        LEFT JOIN instances i ON i.id = f.instance_id LEFT JOIN studies s ON s.id = i.study_id""",
    f"""CREATE VIEW instance_list AS
        SELECT i.id AS instance, s.study_instance_uid, i.series_instance_uid, i.sop_instance_uid,
            i.size_bytes, lower(hex(i.sha256)) AS sha256, i.state, i.reason, i.detail, i.attempts,
            i.found, {_TIME.format("i.found_at")} AS found_utc,
            {_TIME.format("i.seen_at")} AS seen_utc, {_TIME.format("i.stored_at")} AS stored_utc,
            {_TIME.format("i.verified_at")} AS verified_utc
        FROM instances i JOIN studies s ON s.id = i.study_id""",
    """CREATE VIEW study_list AS
        SELECT s.id AS study, s.study_instance_uid, count(*) AS instances, sum(i.size_bytes) AS size_bytes,
            sum(i.state = 'stored') AS stored, s.pending, sum(i.state = 'conflict') AS conflict,
            sum(i.state = 'rejected') AS rejected, sum(i.state = 'missed') AS missed
        FROM studies s JOIN instances i ON i.study_id = s.id GROUP BY s.id""",
    """CREATE VIEW problem_list AS
        SELECT path, file_state, coalesce(nullif(file_reason, ''), instance_reason) AS reason, instance_state,
            study_instance_uid, sop_instance_uid
        FROM file_list WHERE file_state IN ('held', 'missed')
            OR instance_state IN ('conflict', 'rejected', 'missed')""",
    f"""CREATE VIEW lost_list AS
        SELECT i.id AS instance, s.study_instance_uid, i.series_instance_uid, i.sop_instance_uid, i.found,
            {_TIME.format("i.found_at")} AS found_utc, {_TIME.format("i.stored_at")} AS stored_utc
        FROM instances i JOIN studies s ON s.id = i.study_id WHERE {LOST}""",
)


@migrations()
def m001_files_and_instances(db: Database) -> None:
    """Two axes: where a file is, where an instance is."""
    for statement in (*_TABLES, *tallies.TABLES, *_INDEXES, *_TRIGGERS, *tallies.TRIGGERS, *_VIEWS):
        db.conn.execute(statement)
    rows = [("file", state.value) for state in FileState]
    rows += [("instance", state.value) for state in InstanceState]
    db.conn.executemany("INSERT INTO counts (what, state) VALUES (?, ?)", rows)

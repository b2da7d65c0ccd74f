"""Freeze a ledger as this version makes it: `python -m tests.frozen`, once for each release, just before it.

It writes ledger-VERSION.sql beside this file; until that version is released, it may be made again.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from dicomsync import __version__
from dicomsync.ledger.opening import APPLICATION_ID
from dicomsync.model import FileState, InstanceState
from tests import accounts
from tests.lookout import Post, posted

HOME = "/var/lib/dicomsync/main"
INSTANCES = {
    InstanceState.PENDING: "waiting",
    InstanceState.UNCONFIRMED: "timeout",
    InstanceState.STORED: "",
    InstanceState.CONFLICT: "differs",
    InstanceState.SUPERSEDED: "kept-archive",
    InstanceState.REJECTED: "too-large",
    InstanceState.MISSED: "left",
    InstanceState.LEAVING: "removed",
    InstanceState.DELETING: "operator",
    InstanceState.DELETED: "mirrored",
}
FILES = {
    FileState.SETTLING: "fresh",
    FileState.HELD: "truncated",
    FileState.IGNORED: "not-dicom",
    FileState.GONE: "",
    FileState.MISSED: "left-early",
}


def fill(post: Post) -> None:
    """Put something of every kind into a ledger."""
    post.put(InstanceState.PENDING, "waiting", n=2)
    send(post)
    for number, (state, reason) in enumerate(INSTANCES.items(), 1):
        post.put(state, reason, n=number, study=1 + number % 3)
    for number, (file_state, reason) in enumerate(FILES.items(), 1):
        post.find(file_state, reason, n=number)
    schedule(post)
    post.batch(200, 1.0)
    post.batch(None, 60.0)
    post.freeze("many")


def schedule(post: Post) -> None:
    """Let every study with something pending go now."""
    with post.ledger.transaction():
        for (study,) in accounts.rows(post.path, "SELECT id FROM studies WHERE pending > 0"):
            post.ledger.schedule(study, 0.0, 0.0)


def send(post: Post) -> None:
    """Let everything pending be on its way."""
    schedule(post)
    with post.ledger.transaction():
        for study in post.ledger.due_studies(time.time()):
            due = post.ledger.pending_of(study, time.time() + 3600, 100)
            post.ledger.open_batch(study.study_id, due, time.time())
        post.ledger.touched_studies()


def frozen(home: Path) -> str:
    """Make a ledger in `home`, and give it as SQL that makes it again."""
    with posted(home) as post:
        fill(post)
    with closing(sqlite3.connect(home / "ledger.db")) as database:
        lines = [f"PRAGMA application_id = {APPLICATION_ID};", *database.iterdump()]
    return "\n".join(lines).replace(str(home), HOME) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        text = frozen(Path(directory))
    written = Path(__file__).with_name(f"ledger-{__version__}.sql")
    written.write_text(text, encoding="utf-8")
    print(f"Written: {written}")

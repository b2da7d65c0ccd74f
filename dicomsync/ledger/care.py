"""Verbs of the ledger's care: what is doubted, and what may be forgotten."""

from __future__ import annotations

import json
import random
import sqlite3
from dataclasses import asdict

from dicomsync.ledger import tallies
from dicomsync.ledger.deletions import BY_PERSON, DeletionVerbs
from dicomsync.ledger.guard import Doubt
from dicomsync.ledger.mirrors import LEDGER_FROM, MirrorVerbs
from dicomsync.ledger.opening import problem
from dicomsync.ledger.pruning import PRUNABLE, Prunable
from dicomsync.ledger.salvage import Left
from dicomsync.model import Due, InstanceState

DOUBTED = "doubted"
"""The reason of an instance that is asked about because the ledger cannot know what became of it."""

_NEWER_SECONDS = 3600.0  # a share's clock may be that wrong, and a file no older than it seems


class CareVerbs(DeletionVerbs, MirrorVerbs):
    """Verbs of a ledger that is not the whole memory, and of one that is larger than it need be."""

    doubt: Doubt | None = None
    doubt_is_new = False  # it was come upon when this process opened the ledger

    def doubts(self, changed_at: float, wall: float, *, first: bool) -> bool:
        """Say whether a file unknown until now, last changed then (wall seconds), may be in the archive.

        It may if it was there when the ledger lost its memory: the archive is asked before it is sent. What
        the first pass since finds was there, whatever its times say, as the clock may have been set; and a
        file from the future says nothing of its age.
        """
        if self.doubt is None:
            return False
        return first or not self.doubt.at + _NEWER_SECONDS <= changed_at <= wall

    def begin_doubt(self, doubt: Doubt) -> None:
        """Ask the archive about everything that is due: it may have been stored since this was written."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES ('doubt', ?)", (json.dumps(asdict(doubt)),))
        rows = self._db.execute(
            f"""UPDATE instances SET state = 'unconfirmed', reason = '{DOUBTED}', looks = 0, due_at = ?
            WHERE state = 'pending' RETURNING study_id""",
            (doubt.at,),
        ).fetchall()
        self._touched.update(int(row[0]) for row in rows)
        self._db.execute("UPDATE instances SET looks = 0 WHERE state = 'unconfirmed'")
        self._db.execute("UPDATE folders SET scanned_at = NULL")  # the next pass is the first since
        self.distrust(LEDGER_FROM)
        self.begin_again("ledger", doubt.at)
        self.doubt, self.doubt_is_new = doubt, True

    def recall_doubt(self) -> None:
        """Take up the doubt of an earlier process."""
        row = self._db.execute("SELECT value FROM facts WHERE name = 'doubt'").fetchone()
        self.doubt = None if row is None else Doubt(**json.loads(row[0]))

    def take_over_from(self, left: Left, wall: float) -> None:
        """Take over what a person had deleted, so that its files do not bring it back.

        And since when a folder is watched: with `start = "new"`, what came after that is to be sent.
        """
        self._db.executemany(
            "INSERT INTO folders (path, seen_at) VALUES (?, ?) ON CONFLICT DO NOTHING", left.folders
        )
        for whole, sha256 in left.deletions:
            row = self.add_instance(whole, InstanceState.DELETED, BY_PERSON, wall, wall, sha256)
            self.remember("instance", row, "deleted", "known from the ledger before", wall)

    def sample(self, most: int, luck: random.Random) -> list[Due]:
        """Give some instances that are stored: the latest, and as many again three times from anywhere."""
        latest = self._db.execute(
            "SELECT id FROM instances WHERE state = 'stored' ORDER BY id DESC LIMIT ?", (most,)
        ).fetchall()
        ids = {row[0] for row in latest[: most if len(latest) < most else most // 4]}
        first, last = self._db.execute("SELECT min(id), max(id) FROM instances").fetchone()
        for _ in range(most - len(ids) if len(latest) == most else 0):
            row = self._db.execute(
                "SELECT id FROM instances WHERE id >= ? AND state = 'stored' ORDER BY id LIMIT 1",
                (luck.randint(first, last),),
            ).fetchone()
            ids.add(row[0] if row else max(ids))
        marks = ", ".join("?" * len(ids))
        return self._due(f"i.id IN ({marks})", (*ids, most))

    def fold_tallies(self, wall: float) -> None:
        """Keep by five minutes what was stored in the last days, and of all before that the sums."""
        tallies.fold(self._db, wall - tallies.SLOTS_KEPT_SECONDS)

    def prune(self, before: float) -> Prunable:
        """Forget what was settled before that moment (wall seconds) and decides nothing any more.

        Instances stay, all of them, and so do files that supply one, need a person or could not be
        recognised by their content if they came back.
        """
        counts = [
            self._db.execute(f"DELETE FROM {table} WHERE {condition}", {"before": before}).rowcount
            for table, condition in PRUNABLE.items()
        ]
        return Prunable(*counts)

    def vacuum(self) -> None:
        """Give the room of what was forgotten back to the disk; outside any transaction."""
        try:
            self._db.execute("VACUUM")
        except sqlite3.Error as error:
            raise problem(error, "the room was not given back; all else is done") from None

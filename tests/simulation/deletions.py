"""The judge of mirrored deletions: their protocol said again, over the life's own history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .history import (
    DAY_SECONDS,
    EPSILON,
    FLASH_SECONDS,
    HIDDEN,
    SLACK_SECONDS,
    FullPass,
    Grounds,
    History,
    Mark,
    mirrored,
)
from .verdict import promise

if TYPE_CHECKING:
    from .rows import Row, Rows


class Deletions(History):
    """What every DELETE is held to."""

    # the protocol

    def _grounds_of(self, row: Row) -> Grounds:
        """Give the folder that it is said to have left: one in which it was."""
        paths = self._site.oracle.ask(
            """SELECT t.path FROM removals r JOIN roots t ON t.id = r.root_id
            WHERE r.instance_id = ? AND r.stage = 'deleting'""",
            row[0],
        )
        promise(len(paths) == 1, "I4: a deletion of what is not on record as having left")
        path = bytes(paths[0][0])
        promise(path in self._held_by.get(row[1], ()), "I4.ii: it was never in that folder")
        return self.grounds[path]

    def may_be_deleted(self, row: Row, rows: Rows) -> None:
        """I4, as an intent is committed: all that must have been proved by then."""
        uid, digest = row[1], row[4]
        data = self._site.oracle.contents.get(digest, b"")
        one = self._grounds_of(row)
        self.is_on(one)
        self.is_ours(uid, data)
        away = self.is_absent(one, uid, data)
        self.left_in_time(one, uid, data, away)
        first, second = self.proved_twice(one, uid, data)
        self.every_folder_was_read(one, first)
        self.grace_is_served(one, second)
        self.guards_hold(one, uid, away, second, rows)
        self.nothing_is_open(row, rows)

    def is_on(self, one: Grounds) -> None:
        """I4.x: only where mirroring is on, the folder is enrolled, and nothing is frozen."""
        promise(one.mode == "on", f"I4.x: a deletion where mirroring is {one.mode}")
        promise(one.marker, "I4.x: a deletion from a folder that is not enrolled")
        frozen = [
            row[0] for row in self._site.oracle.ask("SELECT frozen FROM roots WHERE path = ?", one.path)
        ]
        promise(frozen == [""], "I4.iv: a deletion from a folder that is frozen")

    def is_ours(self, uid: str, data: bytes) -> None:
        """I4.i, I4.vii: this ledger stored it, and the archive has given the very same back since."""
        stored = self._stored.get(uid)
        promise(stored is not None, "I4.i: nothing of ours is there")
        assert stored is not None
        promise(stored[1] == self._ledgers, "I4.x: it was stored before the ledger was lost")
        given = self._given.get(uid)
        promise(
            given is not None and data and given[128:] == data[128:], "I4.vii: the copy there is not ours"
        )

    def is_absent(self, one: Grounds, uid: str, data: bytes) -> Mark:
        """I4.ii, I4.iii: nothing has it now, in sight or hidden with what it lay on. Gives since when."""
        del one
        since = [self._stored[uid][0]] if uid in self._stored else []  # at the earliest
        for key in (uid, data):
            spans = self._there.get(key, [])
            seen = [span for span in spans if span.until is None]
            promise(not seen or not self._known(key, seen[0].since), "I4.ii: a file with it is there")
            since += [span.until or span.since for span in spans[-1:]]
        cancelled = self._cancelled.get(uid)
        left = max(since, key=lambda mark: mark.step)
        promise(cancelled is None or cancelled.step < left.step, "I4.vi: a person had cancelled it")
        return left

    def _known(self, key: str | bytes, since: Mark) -> bool:
        """Say whether a full pass has seen the file since it is there; hidden, it should have been spared."""
        for path, (data, at) in self._places.items():
            blob = self._instance(data)
            if key not in (data, blob.sop if blob else b""):
                continue
            if path.startswith(HIDDEN):
                return True
            passes = self.grounds[self._folder(path)].passes
            if any(one.whole and one.began.step > max(at.step, since.step) for one in passes):
                return True
        return False

    def left_in_time(self, one: Grounds, uid: str, data: bytes, left: Mark) -> None:
        """I4.xi: it came live, and left within `delete_within` of being stored; or that is lifted."""
        if one.within is None:
            return
        promise(data not in one.backlog, "I4.xi: it was in the backlog")
        stored = self._stored[uid][0]
        late = left.true - stored.true > one.within + SLACK_SECONDS
        promise(not late, "I4.xi: it left too late")
        promise(stored.true >= self._back, "I4.xi: the clock was set back since it was stored")

    def proved_twice(self, one: Grounds, uid: str, data: bytes) -> tuple[FullPass, FullPass]:
        """I4.iii, I4.v: two whole full passes, far enough apart, of which neither came by it."""
        promises = [each for each in one.passes if each.epoch == one.epoch and self._missed(each, uid, data)]
        for first in promises:
            assert first.ended is not None
            for second in promises:
                apart = second.began.mono - first.ended.mono
                if second is first or apart < self._rules.confirm_after_seconds - EPSILON:
                    continue
                if not self._came_back(one, first, uid, data):
                    return first, second
        promise(False, "I4.iii: it was not proved absent by two full passes")
        raise AssertionError

    def _missed(self, one: FullPass, uid: str, data: bytes) -> bool:
        """Say whether a pass proves that it was not there."""
        if not one.proves or one.ended is None:
            return False
        return not any(
            span.since.step < one.ended.step and (span.until is None or span.until.step > one.ended.step)
            for key in (uid, data)
            for span in self._there.get(key, [])
        )

    def _came_back(self, one: Grounds, first: FullPass, uid: str, data: bytes) -> bool:
        """Say whether it was there again while a whole pass went by."""
        assert first.ended is not None
        later = [each for each in one.passes if each.whole and each.began.step > first.ended.step]
        return any(
            span.since.step < each.began.step
            and each.ended is not None
            and (span.until is None or span.until.step > each.ended.step)
            for each in later
            for key in (uid, data)
            for span in self._there.get(key, [])
        )

    def every_folder_was_read(self, mine: Grounds, first: FullPass) -> None:
        """I4.ii: no other folder has it: each was read whole since."""
        for one in self.grounds.values():
            read = [each for each in one.passes if each.whole and each.began.step >= first.began.step]
            promise(one is mine or read, "I4.ii: another folder was not read since")

    def grace_is_served(self, one: Grounds, second: FullPass) -> None:
        """I4.v: the grace was served, in monotonic time in which a daemon was up and the folder healthy."""
        served = one.served - second.served + one.unseen * (one.unseen <= FLASH_SECONDS)
        promise(
            served >= self._rules.grace_seconds - EPSILON,
            f"I4.v: {served:.0f} s of grace were served, of {self._rules.grace_seconds:.0f}",
        )

    def guards_hold(self, one: Grounds, uid: str, left: Mark, second: FullPass, rows: Rows) -> None:
        """I4.iv: not too many in 24 hours, no directory right below the folder gone, something left in it."""
        now = self._site.true
        waiting = set()
        for row in rows[0].values():
            lately = self._left(row[1])
            if (
                (row[2] == "leaving" or mirrored(row))
                and one.path in self._held_by.get(row[1], ())
                and lately is not None
                and lately.true > now - DAY_SECONDS
                and not self._is_approved(row[1])
            ):
                waiting.add(row[1])
        if not waiting:
            return  # a person has looked at all that may still go
        gone = {other for at, path, other in self._deleted if path == one.path and at > now - DAY_SECONDS}
        counted = waiting | {other for other in gone if not self._is_approved(other)}
        live = max(second.live, one.passes[-1].live, self._live(one))
        most = max(1, int(self._rules.max_share * live))
        promise(len(counted) <= self._rules.max_deletions, "I4.iv: more than `max_deletions`")
        promise(len(counted) <= most, f"I4.iv: {len(counted)} of {live}, which is more than the share")
        if uid in counted:
            promise(live, "I4.iv: a deletion from a folder that is empty")
        del left

    def nothing_is_open(self, row: Row, rows: Rows) -> None:
        """I4.xii: nothing of its study is on its way, in conflict, or unknown; and one goes at a time."""
        for other in rows[0].values():
            same = other[7] == row[7] and other[0] != row[0]
            promise(
                not same or other[2] not in ("pending", "sending", "unconfirmed", "conflict", "deleting"),
                f"I4.xii: another of its study is {other[2]}",
            )
            promise(other[0] == row[0] or not mirrored(other), "I4.ix: two at a time")

    # on the wire

    def deletes(self, uids: tuple[str, str, str], alone: bool) -> None:
        """I4, at the DELETE itself: the intent is on disk, and the last look found all as it must be."""
        self._site.oracle.check()
        study, series, uid = uids
        row = self._intents.pop(uid, None)
        promise(row is not None, "I4: a DELETE without an intent, or a second one for it")
        assert row is not None
        data = self._site.oracle.contents[row[4]]
        blob = self._instance(data)
        promise(alone and all(uids), "I4.ix: a DELETE of more than one instance")
        promise(
            blob is None or (study, series, uid) == (blob.study, blob.series, blob.sop), "I4.ix: of others"
        )
        one = self._grounds_of(row)
        promise(self.healthy(one), "I4.iii: a DELETE while the folder is not the one that was enrolled")
        self.is_absent(one, uid, data)
        self.is_ours(uid, data)
        self.copy_is_kept(data)
        deleting = [each[1] for each in self._site.oracle.rows[0].values() if mirrored(each)]
        promise(deleting == [uid], "I4.ix: more than one at a time")
        busy = {row[7] for row in self._site.oracle.rows[0].values() if row[2] == "sending"}
        promise(study not in busy, "I4.xii: something of its study is being sent")
        self._folder_of[uid] = one.path
        self._site.oracle.count("fault", "a DELETE, and nothing wrong with it")

    def copy_is_kept(self, data: bytes) -> None:
        """I4.viii: a private copy is there, the same in every byte."""
        if self._rules.undo_seconds is None:
            return
        trash = Path(self._site.mirrors.trash.decode())
        kept = [one for one in trash.glob("*") if one.read_bytes() == data] if trash.exists() else []
        promise(kept, "I4.viii: no copy is kept")
        promise(trash.stat().st_mode & 0o777 == 0o700, "I4.viii: the trash is not private")
        promise(all(one.stat().st_mode & 0o777 == 0o600 for one in kept), "I4.viii: a copy is not private")

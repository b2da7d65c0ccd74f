"""Single files that are looked at again: what settles, what was not listed any more, what has changed.

A listing says what is in a directory; here is what must be asked of one name. Everything runs in the engine's
loop; the looks themselves are handed out as `Work`.
"""

from __future__ import annotations

import heapq
import os
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from dicomsync import scan, settle
from dicomsync.enrolment import Candidate, Enrolment
from dicomsync.ledger import FileRow, Ledger
from dicomsync.model import FileState, Folder, Moment, StatKey, Unfit
from dicomsync.work import Pace, Work

LOOKS_A_JOB = 500


class Looks:
    """The files of one folder that wait for a look; a file that has settled is given to `take`.

    `under_way` says of a path whether it is being taken in already; `ground` is what must be there before
    anything is proved gone.
    """

    def __init__(
        self,
        ledger: Ledger,
        folder: Folder,
        pace: Pace,
        enrolment: Enrolment,
        *,
        ground: Callable[[], scan.Ground],
        under_way: Callable[[bytes], bool],
        take: Callable[[Candidate], None],
    ) -> None:
        self._ledger = ledger
        self._folder = folder
        self._pace = pace
        self._enrolment = enrolment
        self._ground = ground
        self._under_way = under_way
        self._take = take
        self._looks: dict[int, tuple[settle.Look, Candidate]] = {}  # by file
        self._agenda: list[tuple[float, int]] = []  # (monotonic moment, file): when to look again
        self._absent: deque[tuple[bytes, list[FileRow]]] = deque()  # known, but not listed any more
        self._lost: set[int] = set()  # files among them that a job did not find
        self._out = 0  # jobs handed out and not back

    def __contains__(self, file_id: int) -> bool:
        """Whether a file waits for its next look."""
        return file_id in self._looks

    @property
    def idle(self) -> bool:
        """Whether no file waits for a look."""
        return not (self._looks or self._absent or self._out)

    def next_at(self) -> float | None:
        """Say at which monotonic moment the next look is due."""
        return self._agenda[0][0] if self._agenda else None

    def plan(self, now: Moment) -> list[Work]:
        """Say what is to be looked at next."""
        works = [*self._plan_absent(), *self._plan_due(now)]
        self._out += len(works)
        return works

    # leaving

    def miss(self, directory: bytes, rows: Sequence[FileRow]) -> None:
        """Take known files that a listing does not give any more: they are looked for."""
        self._absent.append((directory, list(rows)))

    def _plan_absent(self) -> list[Work]:
        if not self._absent:
            return []
        directory, rows = self._absent.popleft()
        if len(rows) > LOOKS_A_JOB:
            self._absent.appendleft((directory, rows[LOOKS_A_JOB:]))
        paths = tuple(os.path.join(directory, row.name) for row in rows[:LOOKS_A_JOB])
        look = (paths, self._ground())
        return [Work(scan.look, look, partial(self._looked_for, rows[:LOOKS_A_JOB]))]

    def _looked_for(self, rows: Sequence[FileRow], found: Sequence[scan.Sight], now: Moment) -> None:
        self._out -= 1
        self.gone(rows, found, now)

    def gone(self, rows: Sequence[FileRow], found: Sequence[scan.Sight], now: Moment) -> None:
        """Record which of these files are proved gone; what is there is the next pass's to find.

        But a name that no listing will give again, as it is a link or left out now, is looked at while an
        answer about it is owed.
        """
        for row, sight in zip(rows, found, strict=True):
            owed = row.file_id in self._lost
            self._lost.discard(row.file_id)
            if sight is None:
                self._looks.pop(row.file_id, None)
                self._enrolment.leave(row.file_id, now)
            elif owed or (row.state is FileState.SETTLING and row.file_id not in self._looks):
                self.lost(row.file_id, sight, now)

    # settling

    def seen(self, candidate: Candidate, now: Moment) -> None:
        """Take a new or changed file: to be read now, or looked at again; once, while it is under way."""
        if self._under_way(candidate.path):
            return
        earlier = self._looks.pop(candidate.file_id, None) if candidate.file_id is not None else None
        wait = settle.wait_seconds(
            candidate.key,
            self._pace.earliest(now),
            earlier[0] if earlier else None,
            settle_seconds=candidate.settle_seconds,
            old_seconds=self._pace.old_seconds(candidate.settle_seconds),
        )
        if wait <= 0:
            self._take(candidate)
        else:
            self.look_again(candidate, now, wait, "fresh", earlier[0] if earlier else None)

    def look_again(
        self, candidate: Candidate, now: Moment, wait: float, reason: str, earlier: settle.Look | None = None
    ) -> None:
        """Record that a file is not to be trusted yet, and look at it again after `wait` seconds."""
        candidate = self._enrolment.standing(candidate)
        file_id = self._enrolment.put(candidate, FileState.SETTLING, reason, now, instance_id=candidate.own)
        same = earlier is not None and earlier.key == candidate.key
        look = earlier if earlier and same else settle.Look(candidate.key, now.mono)
        self._looks[file_id] = (look, candidate._replace(file_id=file_id))
        heapq.heappush(self._agenda, (now.mono + wait, file_id))

    def _plan_due(self, now: Moment) -> list[Work]:
        due: list[Candidate] = []
        while self._agenda and self._agenda[0][0] <= now.mono and len(due) < LOOKS_A_JOB:
            _, file_id = heapq.heappop(self._agenda)
            if file_id in self._looks:
                due.append(self._looks[file_id][1])
        if not due:
            return []
        paths = tuple(candidate.path for candidate in due)
        return [Work(scan.look, (paths, self._ground()), partial(self._looked, due))]

    def _looked(self, candidates: Sequence[Candidate], found: Sequence[scan.Sight], now: Moment) -> None:
        self._out -= 1
        for candidate, sight in zip(candidates, found, strict=True):
            if candidate.file_id in self._looks:
                if sight is None:
                    self._looks.pop(candidate.file_id)
                    self._enrolment.vanished(candidate, now)
                else:
                    self.sighted(candidate, sight, now)

    def sighted(self, candidate: Candidate, sight: scan.Sight, now: Moment) -> None:
        """Take what was seen of a single file: its key, that it is not there, or what was in the way."""
        if isinstance(sight, StatKey):
            self.seen(candidate._replace(key=sight), now)
        elif sight is None:
            self._not_there(candidate, now)
        else:
            if candidate.file_id is not None:
                self._looks.pop(candidate.file_id, None)
            self._enrolment.unfit(candidate, Unfit(None, FileState.HELD, "unreadable", sight), now)

    def _not_there(self, candidate: Candidate, now: Moment) -> None:
        """Have it looked for: that a file is gone only a look proves, which makes sure of the folder too."""
        found = self._ledger.file(candidate.file_id) if candidate.file_id is not None else None
        if found is None:
            self.look_again(candidate, now, 0.0, "fresh")
        elif found[2].state not in (FileState.GONE, FileState.MISSED):
            self._absent.append((os.path.dirname(candidate.path), [found[2]]))
            self._lost.add(found[2].file_id)

    def lost(self, file_id: int, sight: scan.Sight, now: Moment) -> None:
        """Take what was seen of a file that could not supply its instance when it was to be sent."""
        found = self._known(file_id)
        if found is None:
            return
        candidate, state = found
        if state is FileState.READY and sight is not None:  # until it is read again it supplies nothing
            self._enrolment.put(candidate, FileState.SETTLING, "fresh", now, instance_id=candidate.own)
        self.sighted(candidate, sight, now)

    def look_at(self, file_id: int | None, now: Moment) -> None:
        """Look at a file that is not what it was; no listing may come by it any more."""
        found = self._known(file_id) if file_id is not None else None
        if found is not None and found[1] is FileState.READY:
            self.look_again(found[0], now, 0.0, "fresh")

    def _known(self, file_id: int) -> tuple[Candidate, FileState] | None:
        found = self._ledger.file(file_id)
        if found is None:
            return None
        directory_id, path, row = found
        settle_seconds = self._folder.settle_seconds
        candidate = Candidate(directory_id, path, row.key, settle_seconds, file_id, row.instance_id)
        return candidate._replace(place=row.place), row.state

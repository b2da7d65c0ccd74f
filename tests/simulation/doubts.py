"""What comes to a ledger in doubt that has an instance as deleted, or as one of two in conflict."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from . import blobs
from .blobs import Blob
from .hands import Job
from .ledgers import LOSSES
from .rows import REASON, SHA256, STATE, UID
from .site import FOLDERS, PATHS, Site

NEWER_SECONDS = 3700.0  # what comes so long after a loss was not there before it
DAY_SECONDS = 86_400.0
SETTLED_SECONDS = 40.0  # a file settles in it, and no folder counts as hanging


def back_in_doubt(site: Site, a: int, b: int) -> None:
    """An instance that was deleted for having left is there again, and so is an older copy of the ledger."""
    gone = [row for row in site.oracle.rows[0].values() if row[STATE] == "deleted"]
    known = [blobs.by_digest().get(row[SHA256]) for row in gone if row[REASON] == "mirrored"]
    back = [blob for blob in known if blob is not None]
    free = _free(site)
    if site.engine is None or not back or not free:
        return
    site.copy_ledger()
    _write(site, free[b % len(free)], back[a % len(back)])
    _live(site, (1.0, 40.0, 120.0)[b % 3])  # it is seen, recorded, or stored again
    site.lose_ledger("older", b)
    site.start()
    _live(site, (40.0, 120.0)[a % 2])


def late_look(site: Site, a: int, b: int) -> None:
    """A look that found nothing is brought back late: its file is there, and holds what was in conflict.

    The ledger is in doubt, and the clock set back to before that. So in one turn what was in conflict goes
    first, is missed as the look says that its file is gone, and is asked about as another file has it.
    """
    ones, others = ([path for path in _free(site) if path.startswith(root)] for root in FOLDERS)
    if len(ones) < 2 or not others:
        return
    site.archive.down = True  # what is due stays so
    _lose(site, LOSSES[a % len(LOSSES)], b)
    pair = _unknown(site, a)
    if pair is not None:
        second, other = ones[1 + b % (len(ones) - 1)], others[a % len(others)]
        late = _looked_for_in_conflict(site, pair, ones[0], second)
        site.wall -= DAY_SECONDS
        _are_there(site, pair[1], ones[0], other, late)
    site.archive.down = False


def _are_there(site: Site, blob: Blob, first: bytes, other: bytes, late: Sequence[Job]) -> None:
    """Let two files with the same content be read, and the late look be brought back between them."""
    site.hands.keeps = lambda job: job in late or job.name == "digest"
    for path in (first, other):
        _write(site, path, blob)
    _live(site, SETTLED_SECONDS)
    _bring(site, _digests(site, first), late, _digests(site, other))


def _lose(site: Site, how: str, at: int) -> None:
    """Have another ledger in its place, and so much time pass that what comes next came after that."""
    site.lose_ledger(how, at)
    site.start()
    _live(site, SETTLED_SECONDS)
    site.advance(NEWER_SECONDS)


def _looked_for_in_conflict(site: Site, pair: tuple[Blob, Blob], first: bytes, second: bytes) -> list[Job]:
    """Let two contents stand in conflict and then both leave; gives the look that finds the first gone."""
    for path, blob in zip((first, second), pair, strict=True):
        _write(site, path, blob)
        _live(site, SETTLED_SECONDS)
    _remove(site, second)
    _live(site, 1.0)
    site.hands.keeps = lambda job: job.name == "look" and first in job.arguments[0]
    _remove(site, first)
    _live(site, 1.0)
    return [job for job in site.hands.out if site.hands.keeps(job) and site.hands.do(job)]


def _digests(site: Site, path: bytes) -> list[Job]:
    """Give the job that reads this file, to compare it with what has its UID."""
    return [job for job in site.hands.out if job.name == "digest" and job.arguments[0][0][0] == path]


def _bring(site: Site, before: Sequence[Job], late: Sequence[Job], after: Sequence[Job]) -> None:
    """Bring these back in this order, in one turn; where one that reads is missing, the late look alone."""
    whole = bool(before and after) and all(site.hands.do(job) for job in (*before, *after))
    for job in (*before, *late, *after) if whole else late:
        if job in site.hands.out:
            site.hands.bring(job)
    site.hands.keeps = lambda _job: False
    site.turn()


def _unknown(site: Site, which: int) -> tuple[Blob, Blob] | None:
    """Give two contents, of one size, of an instance that no file has and the ledger does not know."""
    seen = {row[UID] for row in site.oracle.rows[0].values()} | site.oracle.deletions.anywhere
    new = [blob for blob in blobs.universe() if blob.sop not in seen]
    pairs = [two for two in pairwise(new) if _contend(*two)]
    return pairs[which % len(pairs)] if pairs else None


def _contend(one: Blob, other: Blob) -> bool:
    return one.sop == other.sop and len(one.data) == len(other.data)


def _free(site: Site) -> list[bytes]:
    return [path for path in PATHS if site.disk.find(path) is None]


def _write(site: Site, path: bytes, blob: Blob) -> None:
    site.disk.write(path, blob.data)
    site.changed(path)


def _remove(site: Site, path: bytes) -> None:
    site.disk.remove(path)
    site.changed(path)


def _live(site: Site, seconds: float) -> None:
    """Let the daemon live on, told at once by its watcher what there is to see."""
    if site.engine is not None:
        site.engine.hint(site.hints)
    site.hints.clear()
    site.passes(seconds)

"""What seldom comes about by itself: several things at one moment, and the moments that matter."""

from __future__ import annotations

from dicomsync import orders

from . import blobs
from .happenings import JUNK, blob_of, command, existing, live, put
from .ledgers import LOSSES
from .rows import PATH, STATE, UID
from .site import NAMES, Site


def comes_back(site: Site, a: int, b: int) -> None:
    """What was missed is there again: a name with something else, an instance in one or in two contents."""
    instances, files = site.oracle.rows
    missed = [row[UID] for row in instances.values() if row[STATE] == "missed"]
    names = [row[PATH] for row in files.values() if row[STATE] == "missed"]
    if names and a % 4 == 0:
        site.disk.write(names[b % len(names)], JUNK[a % len(JUNK)])
        site.changed(names[b % len(names)])
    elif missed:
        others = [one for one in blobs.universe() if one.sop == missed[a % len(missed)]]
        put(site, blobs.universe().index(others[b % len(others)]), b)
        if a % 4 == 1:
            put(site, blobs.universe().index(others[(b + 1) % len(others)]), b + 1)


def while_read(site: Site, a: int, b: int) -> None:
    """A file whose header is about to be read goes, gets another name, or is another one."""
    jobs = [job for job in site.hands.out if job.name == "read_headers" and not job.done]
    paths = [path for job in jobs for path, _ in job.arguments[0]]
    linked = [path for path in paths if (node := site.disk.find(path)) is not None and node.links > 1]
    if not paths:
        return
    path = (linked or paths)[-1 - b % len(linked or paths)]
    match a % 3:
        case 0:
            site.disk.remove(path)
        case 1:
            site.disk.rename(path, path.rpartition(b"/")[0] + b"/" + NAMES[b // 3 % len(NAMES)])
        case 2:
            site.disk.replace(path, blob_of(b).data)
    site.changed(path)


def with_results(site: Site, a: int, b: int) -> None:
    """All that is out comes back, and the daemon ends in the turn that takes it up."""
    for _ in range(len(site.hands.out)):
        site.work(0)
        site.bring(0)
    site.crash(("before commit", "after commit", "hand-out")[a % 3])
    site.turn()


def in_vain(site: Site, a: int, b: int) -> None:
    """A person has what was rejected tried again while the archive cannot be reached."""
    if site.engine is not None and any(row[STATE] == "rejected" for row in site.oracle.rows[0].values()):
        site.archive.down = True
        live(site, 1 + a % 3, b)
        site.retry(orders.Retry(rejected=True))
        site.turn()
        site.archive.down = b % 4 == 0


def all_at_once(site: Site, a: int, b: int) -> None:
    """All that is out comes back, and a person asks for something, or for what it is about, in one turn."""
    for _ in range(len(site.hands.out)):
        site.work(0)
        site.bring(0)
    path = existing(site, b)
    blob = blobs.by_data().get(site.disk.find(path).data) if path else None  # type: ignore[union-attr]  # it is there
    if blob and a % 2:
        site.withdraw(blobs.universe().index(blob))
    else:
        command(site, a, b)


def set_back_in_doubt(site: Site, a: int, b: int) -> None:
    """The ledger is lost, and what was found since becomes another while the clock is set back."""
    site.lose_ledger(LOSSES[a % len(LOSSES)], b)
    site.archive.down = True
    site.start()
    put(site, a, b)
    live(site, 1 + a % 3, b)
    site.wall -= 86_400.0
    put(site, a // 3, b)
    live(site, 1 + b % 3, b)
    site.archive.down = False

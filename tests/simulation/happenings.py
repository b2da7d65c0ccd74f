"""Everything that can happen in a life: small functions of the site and two numbers."""

from __future__ import annotations

import stat
from collections.abc import Callable

from dicomsync import orders

from . import blobs
from .archive import ASKED_WAYS, WAYS
from .ledgers import CRASH_POINTS, FAULTS, LOSSES
from .oracle import STATE, UID
from .site import DIRECTORIES, FOLDERS, NAMES, PATHS, Site

Happening = tuple[str, int, int]
Program = list[Happening]

ERRNOS = (13, 5, 116, -1)  # EACCES, EIO, ESTALE; -1 hangs

Act = Callable[[Site, int, int], None]


def _path(n: int) -> bytes:
    return PATHS[n % len(PATHS)]


def _blob(n: int) -> blobs.Blob:
    return blobs.universe()[n % len(blobs.universe())]


def _existing(site: Site, n: int) -> bytes | None:
    paths = [path for root in FOLDERS for path, _ in site.disk.files(root)]
    return paths[n % len(paths)] if paths else None


# files


def put(site: Site, a: int, b: int) -> None:
    """A whole file is written, perhaps over another."""
    site.disk.write(_path(b), _blob(a).data)
    site.changed(_path(b))


def replace(site: Site, a: int, b: int) -> None:
    """A file is written beside and renamed into place, with the old one's modification time."""
    site.disk.replace(_path(b), _blob(a).data)
    site.changed(_path(b))


def edit(site: Site, a: int, b: int) -> None:
    """A file gets another whole content of the same instance."""
    path = _existing(site, b)
    blob = blobs.by_data().get(site.disk.find(path).data) if path else None  # type: ignore[union-attr]
    if path and blob:
        others = [one for one in blobs.universe() if one.sop == blob.sop]
        site.disk.write(path, others[a % len(others)].data)
        site.changed(path)


def begin(site: Site, a: int, b: int) -> None:
    """A modality begins to write a file."""
    data = _blob(a).data
    part = data[: 1 + a * 37 % (len(data) - 1)]
    site.growing[_path(b)] = (data, len(part))
    site.oracle.wrote(part)
    site.disk.write(_path(b), part)
    site.changed(_path(b))


def grow(site: Site, a: int, b: int) -> None:
    """It goes on, or comes to the end."""
    if not site.growing:
        return
    path = list(site.growing)[b % len(site.growing)]
    data, done = site.growing[path]
    done = len(data) if a % 3 == 0 else min(len(data), done + 200)
    site.growing[path] = (data, done)
    node = site.disk.find(path)
    if node is None or done == len(data):
        del site.growing[path]
    if node is not None and node.kind == stat.S_IFREG:
        now = data[:done] + bytes(max(0, len(node.data) - done))
        site.oracle.wrote(
            now, plausible=len(now) >= len(data) and now.startswith(data[: blobs.by_data()[data].pixels_at])
        )
        site.disk.write(path, now)
        site.changed(path)


def preallocate(site: Site, a: int, b: int) -> None:
    """A modality reserves the space of a file before it writes it."""
    blob = _blob(a)
    done = blob.pixels_at if a % 2 else 300
    now = blob.data[:done] + bytes(len(blob.data) - done + (512 if a % 5 == 0 else 0))
    site.growing[_path(b)] = (blob.data, done)
    site.oracle.wrote(now, plausible=done == blob.pixels_at)
    site.disk.write(_path(b), now)
    site.changed(_path(b))


def junk(site: Site, a: int, b: int) -> None:
    """Something that is not DICOM is written."""
    data = (b"", b"hello", bytes(600), b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + bytes(300))[a % 5]
    site.oracle.wrote(data)
    site.disk.write(_path(b), data)
    site.changed(_path(b))


def special(site: Site, a: int, b: int) -> None:
    """A link or a pipe takes a name."""
    site.disk.special(_path(b), stat.S_IFLNK if a % 2 else stat.S_IFIFO)


def rename(site: Site, a: int, b: int) -> None:
    """A file is moved, perhaps over another."""
    path = _existing(site, a)
    if path and site.disk.rename(path, _path(b)):
        site.changed(path)
        site.changed(_path(b))


def beside(site: Site, a: int, b: int) -> None:
    """A file gets another name in its directory, or one more."""
    path = _existing(site, a)
    if path:
        other = path.rpartition(b"/")[0] + b"/" + NAMES[b % len(NAMES)]
        if b // len(NAMES) % 2:
            site.disk.link(path, other)
        elif other != path and site.disk.rename(path, other):
            site.changed(path)
        site.changed(other)


def copy(site: Site, a: int, b: int) -> None:
    """A file is copied."""
    path = _existing(site, a)
    if path and (node := site.disk.find(path)) is not None:
        site.disk.write(_path(b), node.data)
        site.changed(_path(b))


def link(site: Site, a: int, b: int) -> None:
    """A file gets one more name."""
    path = _existing(site, a)
    if path:
        site.disk.link(path, _path(b))
        site.changed(_path(b))


def touch(site: Site, a: int, b: int) -> None:
    """A file's times are set."""
    path = _existing(site, a)
    if path:
        site.disk.utime(path, site.wall - b % 10_000)
        site.changed(path)


def remove(site: Site, a: int, b: int) -> None:
    """A file is deleted."""
    path = _existing(site, a)
    if path:
        site.disk.remove(path)
        site.changed(path)


def remove_tree(site: Site, a: int, b: int) -> None:
    """A directory is deleted, and perhaps made again, empty."""
    path = FOLDERS[a % 2] + (b"/a", b"/b")[b % 2]
    site.disk.remove(path)
    if b % 4 < 2:
        site.disk.mkdir(path)
    site.changed(path)


def move_tree(site: Site, a: int, b: int) -> None:
    """A directory is moved away, out of sight, or comes back."""
    path = FOLDERS[a % 2] + (b"/a", b"/b")[b % 2]
    if site.disk.find(b"/elsewhere") is None:
        site.disk.rename(path, b"/elsewhere")
    elif site.disk.find(path) is None:
        site.disk.rename(b"/elsewhere", path)
    site.changed(path)


def comes_back(site: Site, a: int, b: int) -> None:
    """A file of an instance that was missed is there again, with what it held or with something else."""
    missed = [row[UID] for row in site.oracle.rows[0].values() if row[STATE] == "missed"]
    if missed:
        others = [one for one in blobs.universe() if one.sop == missed[a % len(missed)]]
        site.disk.write(_path(b), others[b % len(others)].data)
        site.changed(_path(b))


def while_read(site: Site, a: int, b: int) -> None:
    """A file whose header is about to be read goes, gets another name, or is another one."""
    jobs = [job for job in site.hands.out if job.name == "read_headers" and not job.done]
    paths = [path for job in jobs for path, _ in job.arguments[0]]
    if not paths:
        return
    path = paths[b % len(paths)]
    match a % 3:
        case 0:
            site.disk.remove(path)
        case 1:
            site.disk.rename(path, path.rpartition(b"/")[0] + b"/" + NAMES[b // 3 % len(NAMES)])
        case 2:
            site.disk.replace(path, _blob(b).data)
    site.changed(path)


def while_sent(site: Site, a: int, b: int) -> None:
    """The next request meets a file that changes in the middle of it."""
    act = (edit, remove, grow, touch, replace, put)[a % 6]
    site.during.append(lambda: act(site, a // 6, b))


# folders


def away(site: Site, a: int, b: int) -> None:
    """A folder is not there, or another, empty one is; or it comes back."""
    root = FOLDERS[a % 2]
    if root in site.away:
        site.disk.remove(root)
        site.disk.enter(root, site.away.pop(root))
    elif (node := site.disk.find(root)) is not None:
        site.away[root] = node
        site.disk.leave(root)
        if b % 2:
            site.disk.mkdir(root)


def unreadable(site: Site, a: int, b: int) -> None:
    """A directory or a file cannot be read, does not answer, or does so again."""
    where = DIRECTORIES[a % len(DIRECTORIES)] if a % 3 else _existing(site, a)
    node = site.disk.find(where) if where else None
    if node is not None:
        node.fault = 0 if node.fault else ERRNOS[b % len(ERRNOS)]


# watcher


def hints(site: Site, a: int, b: int) -> None:
    """The watcher tells what it saw, some of it, in another order, or something else; or is dead."""
    told, site.hints = site.hints, []
    if a % 4 == 0 or site.engine is None:
        return
    if a % 4 == 2:
        told = told[:: -1 - b % 2]
    noise = [b"/one/never", b"/nowhere"] if a % 4 == 3 else []
    site.engine.hint([*told, *noise], everywhere=b % 7 == 0)


# archive


def answers(site: Site, a: int, b: int) -> None:
    """The archive answers the next requests in its own way."""
    site.archive.way, site.archive.argument, site.archive.times = WAYS[a % len(WAYS)], b, 1 + b % 3


def asked_oddly(site: Site, a: int, b: int) -> None:
    """The archive answers the next questions in its own way."""
    archive = site.archive
    archive.asked_way, archive.asked_argument, archive.asked_times = (
        ASKED_WAYS[a % len(ASKED_WAYS)],
        b,
        1 + b % 3,
    )


def condition(site: Site, a: int, b: int) -> None:
    """Something is wrong with the archive as a whole, or is well again."""
    archive = site.archive
    match a % 5:
        case 0:
            archive.down = not archive.down
        case 1:
            archive.locked_out = not archive.locked_out
        case 2:
            archive.full = not archive.full
        case 3:
            archive.most_bytes = 4_000 if archive.most_bytes > 4_000 else 1 << 40
        case 4:
            archive.lag = 0.0 if archive.lag else 20.0 * (b % 100) / 100


def foreign(site: Site, a: int, b: int) -> None:
    """Somebody else stores or deletes an instance, or puts an old backup in the archive's place."""
    archive, blob = site.archive, _blob(a)
    match b % 8:
        case 0 | 1 | 2:
            archive.put(blob.sop, blob.study, blob.data)
        case 3 | 4:
            archive.delete(blob.sop)
        case 5 | 6:
            site.backup = (dict(archive.held), dict(archive.studies))
        case 7:
            archive.restore(site.backup)


# daemon


def turn(site: Site, a: int, b: int) -> None:
    """The loop turns once."""
    site.turn()


def work(site: Site, a: int, b: int) -> None:
    """A hand does a job."""
    site.work(a)


def bring(site: Site, a: int, b: int) -> None:
    """A hand brings back what came of a job."""
    site.bring(a)


def live(site: Site, a: int, b: int) -> None:
    """The daemon is left alone for a while."""
    site.passes((1.0, 6.0, 31.0, 65.0, 120.0, 700.0)[a % 6])


def crash(site: Site, a: int, b: int) -> None:
    """The daemon ends at a point of its next turn, or now."""
    points = ("now", *CRASH_POINTS)
    site.crash(points[a % len(points)], b % (60 if points[a % len(points)] == "statement" else 6))


def power_cut(site: Site, a: int, b: int) -> None:
    """The machine ends."""
    site.power_cut()


def start(site: Site, a: int, b: int) -> None:
    """The daemon starts again, or a backfill in its stead."""
    if site.engine is None:
        site.once = a % 4 == 0
        site.start()


def again(site: Site, a: int, b: int) -> None:
    """The config is read anew, or a second daemon tries to start."""
    if a % 3:
        site.reload()
    else:
        site.second()


def command(site: Site, a: int, b: int) -> None:
    """A person asks for something."""
    blob = _blob(b)
    match a % 7:
        case 0:
            site.retry(orders.Retry(rejected=True))
        case 1:
            site.retry(orders.Retry(held=True))
        case 2:
            site.retry(orders.Retry(uids=(blob.sop if b % 2 else blob.study,)))
        case 3 | 4:
            site.visit((*DIRECTORIES, *PATHS)[b % (len(DIRECTORIES) + len(PATHS))])
        case 5 | 6:
            site.withdraw(b)


def all_at_once(site: Site, a: int, b: int) -> None:
    """All that is out comes back, and a person asks for something, or for what it is about, in one turn."""
    for _ in range(len(site.hands.out)):
        site.work(0)
        site.bring(0)
    path = _existing(site, b)
    blob = blobs.by_data().get(site.disk.find(path).data) if path else None  # type: ignore[union-attr]
    if blob and a % 2:
        site.withdraw(blobs.universe().index(blob))
    else:
        command(site, a, b)


def ledger(site: Site, a: int, b: int) -> None:
    """The ledger cannot be written, or can again."""
    site.faults.fault = "" if site.faults.fault else FAULTS[a % len(FAULTS)]


def ledger_lost(site: Site, a: int, b: int) -> None:
    """A copy is taken of the ledger; or an older copy, an empty file, damage or nothing is in its place."""
    if a % 2:
        site.copy_ledger()
    else:
        site.lose_ledger(LOSSES[a // 2 % len(LOSSES)], b)


def clock(site: Site, a: int, b: int) -> None:
    """Time passes, the wall clock is set, or the machine sleeps."""
    match a % 6:
        case 0 | 1 | 2:
            site.advance((0.5, 3.0, 5.0, 30.0, 130.0, 1000.0)[b % 6])
        case 3:
            site.wall += (3.0, 3600.0, 86_400.0 * 365)[b % 3]
        case 4:
            site.wall -= (3.0, 3600.0, 86_400.0)[b % 3]
        case 5:
            site.sleep((60.0, 8 * 3600.0, 3 * 86_400.0)[b % 3])


ACTS: dict[Act, int] = {
    put: 12, replace: 3, edit: 5, begin: 4, grow: 6, preallocate: 2, junk: 4, special: 1, rename: 4,
    beside: 3, copy: 4, link: 2, touch: 3, remove: 4, remove_tree: 1, move_tree: 3, while_sent: 4,
    away: 1, unreadable: 2, hints: 10, answers: 10, asked_oddly: 4, condition: 2, foreign: 2, turn: 30,
    work: 30, bring: 30, live: 12, crash: 5, power_cut: 1, start: 5, again: 1, command: 4, ledger: 2,
    all_at_once: 3, while_read: 4, comes_back: 3, ledger_lost: 2, clock: 12,
}  # fmt: skip
BY_NAME = {act.__name__: act for act in ACTS}
FAULTY = frozenset({"answers", "asked_oddly", "condition", "foreign", "crash", "power_cut", "away",
                    "unreadable", "ledger", "ledger_lost", "while_sent", "while_read",
                    "remove_tree", "move_tree"})  # fmt: skip
WITH_FILES = frozenset(
    {"put", "replace", "edit", "begin", "grow", "preallocate", "junk", "special", "rename"}
)
WITH_FILES |= {"beside", "copy", "link", "touch", "remove", "remove_tree", "move_tree", "while_sent"}
WITH_FILES |= {"while_read", "comes_back"}

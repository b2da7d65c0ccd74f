"""Everything that can happen in a life: small functions of the site and two numbers."""

from __future__ import annotations

import stat
from collections.abc import Callable

from dicomsync import orders
from dicomsync.model import MARKER

from . import blobs
from .archive import ASKED_WAYS, WAYS
from .ledgers import CRASH_POINTS, FAULTS, LOSSES
from .mirrors import OTHER_DISK
from .site import DIRECTORIES, FOLDERS, NAMES, PATHS, Site

Happening = tuple[str, int, int]
Program = list[Happening]

ERRNOS = (13, 5, 116, -1)  # EACCES, EIO, ESTALE; -1 hangs

JUNK = (b"", b"hello", bytes(600), b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + bytes(300))

Act = Callable[[Site, int, int], object]


def path_of(n: int) -> bytes:
    """Choose a path."""
    return PATHS[n % len(PATHS)]


def blob_of(n: int) -> blobs.Blob:
    """Choose a whole content."""
    return blobs.universe()[n % len(blobs.universe())]


def existing(site: Site, n: int) -> bytes | None:
    """Choose a file that is there."""
    paths = [path for root in FOLDERS for path, _ in site.disk.files(root) if MARKER not in path]
    return paths[n % len(paths)] if paths else None


# files


def put(site: Site, a: int, b: int) -> None:
    """A whole file is written, perhaps over another."""
    site.disk.write(path_of(b), blob_of(a).data)
    site.changed(path_of(b))


def replace(site: Site, a: int, b: int) -> None:
    """A file is written beside and renamed into place, with the old one's modification time."""
    site.disk.replace(path_of(b), blob_of(a).data)
    site.changed(path_of(b))


def edit(site: Site, a: int, b: int) -> None:
    """A file gets another whole content of the same instance."""
    path = existing(site, b)
    blob = blobs.by_data().get(site.disk.find(path).data) if path else None  # type: ignore[union-attr]  # it is there
    if path and blob:
        others = [one for one in blobs.universe() if one.sop == blob.sop]
        site.disk.write(path, others[a % len(others)].data)
        site.changed(path)


def begin(site: Site, a: int, b: int) -> None:
    """A modality begins to write a file."""
    data = blob_of(a).data
    part = data[: 1 + a * 37 % (len(data) - 1)]
    site.growing[path_of(b)] = (data, len(part))
    site.oracle.wrote(part)
    site.disk.write(path_of(b), part)
    site.changed(path_of(b))


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
    blob = blob_of(a)
    done = blob.pixels_at if a % 2 else 300
    now = blob.data[:done] + bytes(len(blob.data) - done + (512 if a % 5 == 0 else 0))
    site.growing[path_of(b)] = (blob.data, done)
    site.oracle.wrote(now, plausible=done == blob.pixels_at)
    site.disk.write(path_of(b), now)
    site.changed(path_of(b))


def overwrite(site: Site, a: int, b: int) -> None:
    """A file becomes another: junk, or the whole file of any instance."""
    path = existing(site, b)
    if path:
        data = JUNK[a // 2 % len(JUNK)] if a % 2 else blob_of(a // 2).data
        site.oracle.wrote(data)
        site.disk.write(path, data)
        site.changed(path)


def junk(site: Site, a: int, b: int) -> None:
    """Something that is not DICOM is written."""
    data = JUNK[a % len(JUNK)]
    site.oracle.wrote(data)
    site.disk.write(path_of(b), data)
    site.changed(path_of(b))


def special(site: Site, a: int, b: int) -> None:
    """A link or a pipe takes a name."""
    site.disk.special(path_of(b), stat.S_IFLNK if a % 2 else stat.S_IFIFO)


def rename(site: Site, a: int, b: int) -> None:
    """A file is moved, perhaps over another."""
    path = existing(site, a)
    if path and site.disk.rename(path, path_of(b)):
        site.changed(path)
        site.changed(path_of(b))


def beside(site: Site, a: int, b: int) -> None:
    """A file gets another name in its directory, or one more."""
    path = existing(site, a)
    if path:
        other = path.rpartition(b"/")[0] + b"/" + NAMES[b % len(NAMES)]
        if b // len(NAMES) % 2:
            site.disk.link(path, other)
        elif other != path and site.disk.rename(path, other):
            site.changed(path)
        site.changed(other)


def copy(site: Site, a: int, b: int) -> None:
    """A file is copied."""
    path = existing(site, a)
    if path and (node := site.disk.find(path)) is not None:
        site.disk.write(path_of(b), node.data)
        site.changed(path_of(b))


def link(site: Site, a: int, b: int) -> None:
    """A file gets one more name."""
    path = existing(site, a)
    if path:
        site.disk.link(path, path_of(b))
        site.changed(path_of(b))


def touch(site: Site, a: int, b: int) -> None:
    """A file's times are set."""
    path = existing(site, a)
    if path:
        site.disk.utime(path, site.wall - b % 10_000)
        site.changed(path)


def remove(site: Site, a: int, b: int) -> None:
    """A file is deleted."""
    path = existing(site, a)
    if path:
        site.disk.remove(path)
        site.changed(path)


def remove_tree(site: Site, a: int, b: int) -> None:
    """A directory is deleted, and perhaps made again, empty."""
    path = FOLDERS[a % 2] + (b"/a", b"/b")[b % 2]
    if path in site.mirrors.mounted:
        return  # a mount is in use
    site.disk.remove(path)
    if b % 4 < 2:
        site.disk.mkdir(path)
    site.changed(path)


def move_tree(site: Site, a: int, b: int) -> None:
    """A directory is moved away, out of sight, or comes back."""
    path = FOLDERS[a % 2] + (b"/a", b"/b")[b % 2]
    if path in site.mirrors.mounted:
        return
    if site.disk.find(b"/elsewhere") is None:
        site.disk.rename(path, b"/elsewhere")
    elif site.disk.find(path) is None:
        site.disk.rename(b"/elsewhere", path)
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
        if b % 3 == 1:
            site.disk.mkdir(root)
        elif b % 3 == 2:
            site.disk.enter(root, node)
            site.disk.mount(root, OTHER_DISK)
            site.visited_by_another_disk.add(root)


def unreadable(site: Site, a: int, b: int) -> None:
    """A directory or a file cannot be read, does not answer, or does so again."""
    where = DIRECTORIES[a % len(DIRECTORIES)] if a % 3 else existing(site, a)
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
    archive, blob = site.archive, blob_of(a)
    match b % 8:
        case 0 | 1 | 2:
            archive.put(blob.sop, blob.study, blob.data)
        case 3 | 4:
            archive.remove(blob.sop)
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
    blob = blob_of(b)
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

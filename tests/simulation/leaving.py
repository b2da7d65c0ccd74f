"""What can happen besides in a life of folders whose deletions are mirrored."""

from __future__ import annotations

import stat

from dicomsync.model import MARKER

from . import blobs, happenings
from .erasing import DELETE_WAYS
from .mirrors import EXCLUDED, MODES, RULES, WITHIN, Config
from .site import FOLDERS, PATHS, Site

# files


def link_elsewhere(site: Site, a: int, b: int) -> None:
    """A file goes, and stays under another name: a hard link, a copy or by being moved."""
    path = happenings.existing(site, a)
    if path and path != happenings.path_of(b):
        (happenings.link, happenings.copy, happenings.rename)[a % 3](site, a, b)
        site.disk.remove(path)
        site.changed(path)


def fresh(site: Site, a: int, b: int) -> bytes | None:
    """A modality writes an instance that nobody has seen before, under a name that is free."""
    known = {row[1] for row in site.oracle.rows[0].values()} | site.oracle.deletions.anywhere
    new = [one for one in blobs.universe() if one.sop not in known]
    free = [path for path in PATHS if site.disk.find(path) is None]
    if not new or not free:
        return None
    path = free[b % len(free)]
    site.disk.write(path, new[a % len(new)].data)
    site.changed(path)
    return path


def mistake(site: Site, a: int, b: int) -> None:
    """A test image is made, stored, and removed soon after."""
    path = fresh(site, a, b)
    if path is not None:
        site.passes((100.0, 200.0, 300.0)[a % 3])
        remove_one(site, path)


def remove_one(site: Site, path: bytes) -> None:
    """This file is deleted, if it is one."""
    node = site.disk.find(path)
    if node is not None and node.kind == stat.S_IFREG:
        site.disk.remove(path)
        site.changed(path)


def purge(site: Site, a: int, b: int) -> None:
    """A modality clears its disk: many files go at once."""
    for path, _ in list(site.disk.files(FOLDERS[a % 2])):
        if MARKER not in path and (b % 3 or path[-5:] != b"1.dcm"):
            remove_one(site, path)


# deletions


def mirror(site: Site, a: int, b: int) -> None:
    """The config says something else of deletions, or of names that are left out."""
    config = Config(
        MODES[a % len(MODES)],
        WITHIN[b % len(WITHIN)],
        RULES[a // 8 % len(RULES)],
        EXCLUDED[b // 8 % len(EXCLUDED)],
    )
    site.mirrors.configure(config)


def enrol(site: Site, a: int, b: int) -> None:
    """A person enrols a folder."""
    site.mirrors.enrol(FOLDERS[a % 2])


def marker(site: Site, a: int, b: int) -> None:
    """Something becomes of a folder's marker."""
    site.mirrors.spoil_marker(FOLDERS[a % 2], b)


def mount(site: Site, a: int, b: int) -> None:
    """A disk is mounted below a folder, or lost, or there again."""
    site.mirrors.mount(FOLDERS[a % 2] + (b"/a", b"/b")[b % 2])


def deletes_oddly(site: Site, a: int, b: int) -> None:
    """The archive takes the next DELETE in its own way."""
    site.archive.delete_way, site.archive.delete_argument = DELETE_WAYS[a % len(DELETE_WAYS)], b


def person(site: Site, a: int, b: int) -> None:
    """A person approves, cancels or undoes deletions."""
    gone = sorted(row[1] for row in site.oracle.rows[0].values() if row[2:4] == ("deleted", "mirrored"))
    match a % 12:
        case 0:
            site.mirrors.cancel(b)
        case 1 | 2 | 3 if gone:
            site.mirrors.undo(gone[b % len(gone)])
        case _:
            site.mirrors.approve(FOLDERS[b % 2])


def no_room(site: Site, a: int, b: int) -> None:
    """The disk with the trash is full, or is not any more."""
    site.mirrors.hybrid.full = not site.mirrors.hybrid.full


def replaced_there(site: Site, a: int, b: int) -> None:
    """Somebody puts another content in the place of what the archive has."""
    blob = happenings.blob_of(a)
    if blob.sop in site.archive.held:
        site.archive.remove(blob.sop)
        site.archive.put(blob.sop, blob.study, blob.data)


def long(site: Site, a: int, b: int) -> None:
    """The daemon is left alone for longer."""
    site.passes((700.0, 1300.0, 2500.0)[a % 3])

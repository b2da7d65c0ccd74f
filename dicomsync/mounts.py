"""What kind of file system a path is on, from the kernel's own table. Linux only; unknown is local."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

NETWORK = frozenset(
    (
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "beegfs",
        "davfs",
        "virtiofs",
        "vboxsf",
        "orangefs",
        "gfs2",
        "ocfs2",
    )
)
_TABLE = Path("/proc/self/mountinfo")
_OCTAL = re.compile(rb"\\([0-7]{3})")


def kind(path: bytes, table: bytes | None = None) -> str:
    """Say "local", "network" or "fuse" of the file system that holds `path` (it need not exist).

    `table` is the text of /proc/self/mountinfo (proc(5)), read anew when not given.
    """
    return _named(filesystem(path, table))


def filesystem(path: bytes, table: bytes | None = None) -> str:
    """Name the type of the file system that holds `path`, "" where that is not known."""
    where = os.path.realpath(path)
    found = ""
    for point, name in _mounted(table):
        if where == point or where.startswith(point.rstrip(b"/") + b"/"):
            found = name  # the table is in the order of mounting: what came last hides what was there
    return found


def below(path: bytes, table: bytes | None = None) -> tuple[bytes, ...]:
    """Give the places below `path`, as one comes by them from there, where something is mounted."""
    where = os.path.realpath(path)
    inside = where.rstrip(b"/") + b"/"
    points = {point for point, _ in _mounted(table) if point.startswith(inside)}
    return tuple(sorted(os.path.join(path, point[len(inside) :]) for point in points))


def _mounted(table: bytes | None) -> Iterator[tuple[bytes, str]]:
    """Read where which type of file system is mounted, in the order of mounting."""
    if table is None:
        try:
            table = _TABLE.read_bytes()
        except OSError:
            return
    for line in table.splitlines():
        before, _, after = line.partition(b" - ")
        fields = before.split()
        if len(fields) >= 5 and after:
            point = _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), fields[4])
            yield point, after.split()[0].decode("ascii", "replace")


def _named(filesystem: str) -> str:
    if filesystem in NETWORK:
        return "network"
    return "fuse" if filesystem.startswith("fuse") and filesystem != "fuseblk" else "local"

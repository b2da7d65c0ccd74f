"""What kind of file system a path is on, from the kernel's own table. Linux only; unknown is local."""

from __future__ import annotations

import os
import re
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
    if table is None:
        try:
            table = _TABLE.read_bytes()
        except OSError:
            return "local"
    where = os.path.realpath(path)
    found = "local"
    for line in table.splitlines():
        before, _, after = line.partition(b" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        point = _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), fields[4])
        inside = where == point or where.startswith(point.rstrip(b"/") + b"/")
        if inside:  # the table is in the order of mounting: what came last hides what was there
            found = _named(after.split()[0].decode("ascii", "replace"))
    return found


def _named(filesystem: str) -> str:
    if filesystem in NETWORK:
        return "network"
    return "fuse" if filesystem.startswith("fuse") and filesystem != "fuseblk" else "local"

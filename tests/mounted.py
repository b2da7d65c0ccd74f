"""File systems that a test mounts: small ones that can be filled, and shares that can go and come back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .conftest import need


def _mount(*arguments: str | Path) -> None:
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    need(f"mounting is not permitted here: {done.stderr.strip()}" if done.returncode else None)


def _unmount(where: Path) -> None:
    # Lazily, as the kernel does when a device is pulled out: what has it open keeps it.
    subprocess.run(["umount", "--lazy", str(where)], capture_output=True, check=False)


@contextmanager
def disk(where: Path, size: str) -> Iterator[Path]:
    """Mount an empty file system of this size (as tmpfs takes it: "1m")."""
    where.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size},mode=0700", "none", where)
    try:
        yield where
    finally:
        _unmount(where)


@contextmanager
def read_only(where: Path) -> Iterator[None]:
    """Let nothing on a mounted file system be written, for as long as the block lasts."""
    _mount("-o", "remount,ro", where)
    try:
        yield
    finally:
        _mount("-o", "remount,rw", where)


def fill(disk: Path) -> Path:
    """Leave no room on a disk; gives the file whose removal makes room again."""
    ballast = disk / "ballast"
    with ballast.open("ab", 0) as file:
        for size in (65_536, 4_096, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
    assert os.statvfs(disk).f_bavail == 0
    return ballast


class Share:
    """A share mounted at `where`; what is on it stays there, in `content`, while it is not mounted."""

    def __init__(self, where: Path, content: Path) -> None:
        self.where, self.content = where, content

    def goes(self) -> None:
        """Take it away: what is left is the empty directory it was mounted on."""
        _unmount(self.where)
        assert not os.listdir(self.where)

    def comes(self) -> None:
        """Mount it where it was."""
        _mount("--bind", self.content, self.where)


@contextmanager
def share(where: Path) -> Iterator[Share]:
    """Mount a share that can go and come back."""
    where.mkdir()
    with disk(where.with_name(f"{where.name}-server"), "64m") as content:
        one = Share(where, content)
        one.comes()
        try:
            yield one
        finally:
            _unmount(where)

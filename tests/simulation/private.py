"""The disk in memory for rooms that keep copies of their own too: real files in a real directory."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from .disk import Disk, DiskOs


class BothOs(DiskOs):
    """The same for rooms that also keep copies of their own, on a real disk, in a directory of theirs."""

    def __init__(self, disk: Disk, private: bytes) -> None:
        super().__init__(disk)
        self._private = private
        self.full = False  # the real disk
        self.O_WRONLY, self.O_CREAT, self.O_EXCL = os.O_WRONLY, os.O_CREAT, os.O_EXCL
        self.makedirs, self.fsync = os.makedirs, os.fsync

    def _is_private(self, path: bytes | str) -> bool:
        return os.fsencode(path).startswith(self._private)

    def open(self, path: bytes | str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """Open; to write only what is private."""
        if self._is_private(path):
            return os.open(path, flags, mode)
        return super().open(path, flags, dir_fd=dir_fd)

    def close(self, descriptor: int) -> None:
        """Close."""
        if descriptor in self.disk.open_files:
            super().close(descriptor)
        else:
            os.close(descriptor)

    def read(self, descriptor: int, size: int) -> bytes:
        """Read on."""
        if descriptor in self.disk.open_files:
            return super().read(descriptor, size)
        return os.read(descriptor, size)

    def fdopen(self, descriptor: int, mode: str, *, closefd: bool = True) -> Any:
        """Give an open file as Python's."""
        if descriptor in self.disk.open_files:
            return super().fdopen(descriptor, mode, closefd=closefd)
        return os.fdopen(descriptor, mode, closefd=closefd)

    def fstat(self, descriptor: int) -> Any:
        """Look at an open file."""
        return super().fstat(descriptor) if descriptor in self.disk.open_files else os.fstat(descriptor)

    def stat(self, path: bytes | str, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> Any:
        """Look at a path."""
        if self._is_private(path):
            return os.stat(path)
        return super().stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    def lstat(self, path: bytes | str) -> Any:
        """Look at a path."""
        return os.lstat(path) if self._is_private(path) else super().lstat(path)

    def scandir(self, where: int | bytes) -> Any:
        """List a directory."""
        if isinstance(where, bytes) and self._is_private(where):
            return os.scandir(where)
        return super().scandir(where)

    def statvfs(self, path: bytes) -> Any:
        """Say how much room there is."""
        assert self._is_private(path)
        return SimpleNamespace(f_bavail=0 if self.full else 1 << 30, f_frsize=4096)

    def rename(self, path: bytes, to: bytes) -> None:
        """Rename a copy."""
        assert self._is_private(path)
        assert self._is_private(to)
        os.rename(path, to)

    def unlink(self, path: bytes) -> None:
        """Remove a copy."""
        assert self._is_private(path), "I5: a file in a folder is removed"
        os.unlink(path)

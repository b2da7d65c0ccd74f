"""Noticing that a person has put another secret in its place: what waits for it need not wait any longer."""

from __future__ import annotations

import os

from dicomsync import dicomweb


class Renewals:
    """Looks at the files that an archive's secrets are in. Looks only; nothing is read."""

    def __init__(self, archive: dicomweb.Archive) -> None:
        self._paths = [path for one in dicomweb.secrets_of(archive) if (path := one.path) is not None]
        self._seen = self._look()

    def changed(self) -> bool:
        """Say whether one of them is another than at the last look."""
        before, self._seen = self._seen, self._look()
        return before != self._seen

    def _look(self) -> list[tuple[int, ...] | None]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

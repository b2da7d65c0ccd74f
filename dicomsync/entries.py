"""What a directory holds that is wanted, as compact as a scan of a million files needs it."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from dicomsync.model import StatKey, folded


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file whose name is wanted."""

    name: bytes
    key: StatKey


class Entries(Sequence[Entry]):
    """The wanted files of a directory, sorted by name; what each is, is made only where it is asked for.

    Of an unchanged directory nobody asks: its digest is that of before.
    """

    __slots__ = ("_keys", "_names")

    def __init__(self) -> None:
        self._names: list[bytes] = []
        self._keys = array("q")

    def add(self, name: bytes, status: os.stat_result) -> None:
        """Add the next file, as stat gave it."""
        self._names.append(name)
        self._keys.extend(folded(status))

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Entry, ...]: ...
    def __getitem__(self, index: int | slice) -> Entry | tuple[Entry, ...]:
        if isinstance(index, slice):
            return tuple(self[at] for at in range(*index.indices(len(self))))
        at = range(len(self))[index]
        return Entry(self._names[at], StatKey(*self._keys[4 * at : 4 * at + 4]))

    def digest(self) -> bytes:
        """Give what only the same names with the same keys have."""
        found = hashlib.blake2b(b"/".join(self._names), digest_size=16)
        found.update(self._keys.tobytes())
        return found.digest()

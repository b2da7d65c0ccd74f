"""What a directory holds that is wanted, as compact as a scan of a million files needs it."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import NamedTuple, overload

from dicomsync.model import StatKey, folded


class Entry(NamedTuple):
    """A regular file whose name is wanted."""

    name: bytes
    key: StatKey


class Entries(Sequence[Entry]):
    """The wanted files of a directory, sorted by name; what each is, is made only where it is asked for.

    Of an unchanged directory nobody asks: its digest is that of before.
    """

    __slots__ = ("_keys", "_names")

    def __init__(self, names: list[bytes], numbers: Sequence[int]) -> None:
        """Take the names and, four for each, the numbers of a `StatKey` as stat gave them."""
        self._names = names
        try:
            self._keys = _packed(numbers)
        except struct.error:  # one of them is beyond 64 bits, or 63 and a sign
            self._keys = _packed([*map(folded, numbers)])

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
        return Entry(self._names[at], StatKey(*map(folded, _KEY.unpack_from(self._keys, at * _KEY.size))))

    def digest(self) -> bytes:
        """Give what only the same names with the same keys have."""
        found = hashlib.blake2b(b"/".join(self._names), digest_size=16)
        found.update(self._keys)
        return found.digest()


_KEY = struct.Struct("=4q")


def _packed(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"={len(numbers)}q", *numbers)  # in a third of the time that an array takes

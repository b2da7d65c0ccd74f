"""Is a file whole? A second opinion, written from PS3.5 and PS3.10 alone: strict, slow, and of no other use.

It shares no code with the walk that it judges, and takes nothing on trust that the standard does not say.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

_SHORT = "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US"
_LONG = "OB OD OF OL OV OW SQ SV UC UN UR UT UV"
LONG = frozenset(_LONG.split())
VRS = LONG | frozenset(_SHORT.split())
ITEM, ITEM_END, SEQUENCE_END, OPEN = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD), 0xFFFFFFFF
Tag = tuple[int, int]


class NotWholeError(Exception):
    """The bytes are not what the standard says."""


@dataclass
class Cursor:
    """Bytes, and how far they were read, up to `end`."""

    data: bytes
    at: int
    end: int

    def take(self, count: int) -> bytes:
        if count > self.end - self.at:
            raise NotWholeError(f"{count} bytes wanted at {self.at}, {self.end - self.at} there")
        self.at += count
        return self.data[self.at - count : self.at]


@dataclass
class Parsed:
    """The values of the top level; None where an element has items or fragments."""

    values: dict[Tag, bytes | None] = field(default_factory=dict)


def whole(data: bytes) -> bool:
    """Say whether this is a whole file in the DICOM File Format, to the letter."""
    try:
        parsed(data)
    except (NotWholeError, zlib.error, UnicodeDecodeError):
        return False
    return True


def parsed(data: bytes) -> Parsed:
    """Read the dataset of a file; raises NotWholeError, or zlib.error."""
    if data[128:132] != b"DICM":
        raise NotWholeError("no DICM")
    cursor = Cursor(data, 132, len(data))
    meta = Parsed()
    while data[cursor.at : cursor.at + 2] == b"\2\0":
        tag, value = _element(cursor, explicit=True, order="<", depth=0)
        if value is None:
            raise NotWholeError("a sequence in the meta information")
        meta.values[tag] = value
    syntax = (meta.values.get((2, 0x10)) or b"").rstrip(b"\0").decode("ascii")
    if not syntax:
        raise NotWholeError("no transfer syntax")
    if syntax == "1.2.840.10008.1.2.1.99":
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inner = inflater.decompress(data[cursor.at :])
        if not inflater.eof or inflater.unused_data.strip(b"\0") or len(inflater.unused_data) > 1:
            raise NotWholeError("the deflated stream has no end, or more than one")
        cursor = Cursor(inner, 0, len(inner))
    explicit, order = syntax != "1.2.840.10008.1.2", ">" if syntax == "1.2.840.10008.1.2.2" else "<"
    found = Parsed()
    last: Tag = (0, 0)
    while cursor.at < cursor.end:
        tag, value = _element(cursor, explicit, order, depth=0)
        if tag <= last or tag[0] in (0, 2, 0xFFFE):
            raise NotWholeError(f"{tag} after {last}")
        found.values[tag] = value
        last = tag
    return found


def _element(cursor: Cursor, explicit: bool, order: str, depth: int) -> tuple[Tag, bytes | None]:
    tag = struct.unpack(f"{order}HH", cursor.take(4))
    vr = ""
    if explicit and tag[0] != 0xFFFE:
        vr = cursor.take(2).decode("latin-1")
        if vr not in VRS:
            raise NotWholeError(f"VR {vr!r}")
        if vr in LONG and cursor.take(2) != b"\0\0":
            raise NotWholeError("reserved bytes")
    form = f"{order}I" if not explicit or vr in LONG else f"{order}H"
    (length,) = struct.unpack(form, cursor.take(struct.calcsize(form)))
    if length == OPEN and form.endswith("I"):
        _undefined(cursor, tag, vr, explicit, order, depth)
        return tag, None
    if length % 2:
        raise NotWholeError("an odd length")
    value = cursor.take(length)
    if vr == "SQ":
        inner = Cursor(cursor.data, cursor.at - length, cursor.at)
        while inner.at < inner.end:
            _item(inner, explicit, order, depth)
        return tag, None
    return tag, value


def _undefined(cursor: Cursor, tag: Tag, vr: str, explicit: bool, order: str, depth: int) -> None:
    if tag == (0x7FE0, 0x10) or vr in ("OB", "OW"):
        while True:
            mark, length = _mark(cursor, order)
            if mark == SEQUENCE_END and not length:
                return
            if mark != ITEM or length == OPEN or length % 2:
                raise NotWholeError("no fragment")
            cursor.take(length)
    if vr not in ("", "SQ", "UN"):
        raise NotWholeError(f"undefined length of {vr}")
    if vr == "UN":
        explicit, order = False, "<"
    while _item(cursor, explicit, order, depth):
        pass


def _item(cursor: Cursor, explicit: bool, order: str, depth: int) -> bool:
    """Read an item; False where it was the end of the sequence."""
    if depth > 60:
        raise NotWholeError("too deep for this judge")
    mark, length = _mark(cursor, order)
    if mark == SEQUENCE_END and not length:
        return False
    if mark != ITEM:
        raise NotWholeError("no item")
    if length != OPEN:
        inner = Cursor(cursor.data, cursor.at, cursor.at + length)
        cursor.take(length)
        while inner.at < inner.end:
            if _element(inner, explicit, order, depth + 1)[0][0] == 0xFFFE:
                raise NotWholeError("a delimiter that nothing has opened")
        return True
    while True:
        before = cursor.at
        if _mark(cursor, order) == (ITEM_END, 0):
            return True
        cursor.at = before
        if _element(cursor, explicit, order, depth + 1)[0][0] == 0xFFFE:
            raise NotWholeError("a delimiter that nothing has opened")


def _mark(cursor: Cursor, order: str) -> tuple[Tag, int]:
    group, number, length = struct.unpack(f"{order}HHI", cursor.take(8))
    return (group, number), length

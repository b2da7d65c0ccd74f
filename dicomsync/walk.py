"""The walk over the elements of a dataset (PS3.5 section 7) that proves that nothing of it is missing.

Pure and iterative: it takes bytes by offset and gives offsets, reads no value, and its work is capped
whatever the bytes say. Top-level elements of a stated length are stepped over; only what has no
stated length (sequences, items, compressed pixel data) is looked into, to find where it ends.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

FIRST_BYTES = 8 * 1024  # holds every element before the pixels of most files; 16 KiB take a tenth longer
JUMP_BYTES = 4 * 1024  # past a long value only a few elements, or the next fragment, are wanted
MAX_ELEMENTS = 200_000  # at the top level: the dictionary has some 5,000
MAX_NESTED = 4_000_000  # items and elements below it: whole slides have several for each of 300,000 tiles
MAX_DEPTH = 64
MAX_PADDING_BYTES = 4096  # zeros after the pixels are padding up to a disk or CD block, not reserved space

ByteOrder = Literal["little", "big"]

UNDEFINED = 0xFFFF_FFFF  # PS3.5 7.1.1: a length left open, closed by a delimiter
TERMINATED = -1  # our length for pixel data in fragments, delimiter seen

PIXEL_DATA = 0x7FE0_0010
PIXELS = frozenset({PIXEL_DATA, 0x7FE0_0008, 0x7FE0_0009})  # of integers, of floats, of doubles
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFE_E000, 0xFFFE_E00D, 0xFFFE_E0DD
_STRAY = (0, _ITEM, _ITEM_END, _SEQUENCE_END)  # never elements of a dataset

# PS3.5 7.1.2: these VRs have a 16-bit length, the others two reserved bytes and a 32-bit one.
_NONE: frozenset[int] = frozenset()
_SHORT = "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US"
_LONG = "OB OD OF OL OV OW SQ SV UC UN UR UT UV"


class HeldError(Exception):
    """The bytes are not a whole, storable instance: `reason` is a code of `reasons.FILE_REASONS`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def _swapped(tag: int) -> int:
    return (tag & 0xFFFF) << 16 | tag >> 16


class Form:
    """One of the three encodings of a dataset, as the numbers that one `unpack_from` finds in it."""

    def __init__(self, *, explicit: bool, byte_order: ByteOrder = "little") -> None:
        self.explicit = explicit
        self.byte_order: ByteOrder = byte_order
        self.little = byte_order == "little"
        order = "<" if self.little else ">"
        self.head = struct.Struct(f"{order}IHH")  # tag, VR, 16-bit length
        self.long = struct.Struct(f"{order}I")
        self.item, self.item_end, self.sequence_end = map(self.tag, (_ITEM, _ITEM_END, _SEQUENCE_END))
        # Implicit elements have no VR, so none is short.
        self.short = frozenset(map(self._vr, _SHORT.split() if explicit else ()))
        self.known = frozenset(map(self._vr, _LONG.split())) | self.short
        self.sq, self.un = self._vr("SQ"), self._vr("UN")
        self.stray = frozenset(map(self.tag, _STRAY))

    def tag(self, number: int) -> int:
        """Turn a tag as people write it into the number read from the bytes, and back."""
        return _swapped(number) if self.little else number

    def _vr(self, letters: str) -> int:
        return int.from_bytes(letters.encode("ascii"), self.byte_order)


EXPLICIT = Form(explicit=True)
IMPLICIT = Form(explicit=False)
BIG_ENDIAN = Form(explicit=True, byte_order="big")

Read = Callable[[int, int], bytes]
"""Some bytes: how many, from which offset. Fewer only at the end."""


class Source:
    """Bytes by offset, read a window at a time."""

    __slots__ = ("_read", "base", "head", "size", "window")

    def __init__(self, size: int, read: Read) -> None:
        self.size = size
        self._read = read
        self.base = 0
        self.head = self.window = read(FIRST_BYTES, 0)

    def at(self, offset: int) -> int:
        """Say where `offset` is in the window, made to reach 12 bytes past it unless the end comes first."""
        index = offset - self.base
        if index < 0 or index > len(self.window) - 12:
            near = 0 <= index <= len(self.window)
            self.window = self.read(offset, FIRST_BYTES if near else JUMP_BYTES)
            self.base = offset
            return 0
        return index

    def read(self, offset: int, length: int) -> bytes:
        """Give the bytes there, fewer only at the end."""
        if offset + length <= len(self.head):
            return self.head[offset : offset + length]
        wanted = max(0, min(length, self.size - offset))
        data = self._read(wanted, offset) if wanted else b""
        while len(data) < wanted:  # A network file system may give less than asked.
            more = self._read(wanted - len(data), offset + len(data))
            if not more:  # It shrank since its size was taken: the caller's second look will say so.
                raise HeldError("truncated", f"no bytes at offset {offset + len(data)}")
            data += more
        return data


@dataclass(frozen=True, slots=True)
class Wanted:
    """The tags whose places a walk reports, keyed as one form reads them."""

    form: Form
    tags: dict[int, int]

    @classmethod
    def of(cls, form: Form, tags: frozenset[int]) -> Wanted:
        """Prepare `tags` for one form."""
        return cls(form, {form.tag(tag): tag for tag in tags})


Hit = tuple[int, int, int]
"""A wanted element: its tag, the offset of its value, its length (`TERMINATED` for fragments)."""


def form_at(window: bytes, index: int, presumed: Form) -> Form:
    """Say how the element there is encoded; writers do nest implicit in explicit, and the reverse."""
    if not presumed.little or len(window) < index + 6:
        return presumed
    vr = window[index + 4] | window[index + 5] << 8
    if vr in EXPLICIT.known:
        return EXPLICIT
    letters = window[index + 4 : index + 6]
    odd = letters == b"??" or (letters.isalpha() and letters.isupper())  # some writers' VR for unknown
    return EXPLICIT if presumed.explicit and odd else IMPLICIT


def file_meta(source: Source, tags: frozenset[int]) -> tuple[list[Hit], int]:
    """Walk the File Meta Information (PS3.10 section 7.1), group 0002 in explicit VR little endian.

    Its group length is not trusted: some writers leave it out or get it wrong.
    """
    unpack, short = EXPLICIT.head.unpack_from, EXPLICIT.short
    hits: list[Hit] = []
    window, base, index, edge = source.window, 0, 132, len(source.window) - 12
    tag = 0
    for _ in range(MAX_ELEMENTS):
        if index > edge:
            offset = base + index
            if offset > source.size:
                raise HeldError("truncated", _overrun(tag, offset, source))
            index = source.at(offset)
            window, base = source.window, source.base
            edge = len(window) - 12
            if edge < index:
                raise HeldError("truncated", f"the file ends with, or in, its meta information at {offset}")
        raw, vr, length = unpack(window, index)
        if raw & 0xFFFF != 2:  # little endian: the group is the lower half
            return hits, base + index
        tag = _swapped(raw)
        if vr in short:
            index += 8
        else:
            header, length = _long(EXPLICIT, source, index, vr, length)
            index += header
        if tag in tags:
            hits.append((tag, base + index, length))
        index += length
    raise HeldError("resource", f"more than {MAX_ELEMENTS} elements")


def elements(source: Source, offset: int, wanted: Wanted, before: int = 0) -> list[Hit]:
    """Walk the dataset from `offset`, give the places of the wanted elements, prove that it ends at the end.

    `before` are those that lie before `offset`: the cap is on all of them.
    The loop runs some hundred times a file: plain numbers in local names, nothing made but the hits.
    """
    form, tags, size = wanted.form, wanted.tags, source.size
    unpack, short, stray, explicit = form.head.unpack_from, form.short, form.stray, form.explicit
    hits: list[Hit] = []
    raw = index = 0
    base, edge = offset, -1
    window = b""
    try:
        for _ in range(MAX_ELEMENTS - before):
            if index > edge:
                offset = base + index
                if offset >= size:
                    break
                index = source.at(offset)
                window, base = source.window, source.base
                edge = len(window) - 12
            raw, vr, length = unpack(window, index)
            if vr in short:
                if raw in tags:
                    hits.append((tags[raw], base + index + 8, length))
                index += 8 + length
                continue
            if raw in stray:
                return _leftover(source, base + index, hits)
            if explicit:
                header, length = _long(form, source, index, vr, length)
                index += header
            else:
                length = length << 16 | vr
                index += 8
            if length == UNDEFINED:
                index = _open_ended(source, base + index, wanted, raw, vr, hits) - base
                edge = -1  # The window has moved on.
                continue
            if raw in tags:
                hits.append((tags[raw], base + index, length))
            index += length
        else:
            raise HeldError("resource", f"more than {MAX_ELEMENTS} elements")
    except struct.error:
        return _leftover(source, base + index, hits)
    if offset > size:
        _too_far(form.tag(raw), offset, source, hits)
    return hits


def _long(form: Form, source: Source, index: int, vr: int, short_length: int) -> tuple[int, int]:
    """Tell the bytes before the value, and its length, where the VR is not one of the short ones."""
    if vr not in form.known and short_length:
        return 8, short_length  # An odd VR, and no reserved zeros: its writer used the short shape.
    length: int = form.long.unpack_from(source.window, index + 8)[0]
    return 12, length


def _open_ended(source: Source, offset: int, wanted: Wanted, raw: int, vr: int, hits: list[Hit]) -> int:
    """Find the end of a top-level element of undefined length; pixel data in fragments becomes a hit."""
    form, tag = wanted.form, wanted.form.tag(raw)
    if tag == PIXEL_DATA or _holds_fragments(form, vr):
        end, filled = fragments(source, offset, form)
        if tag in PIXELS:
            hits.append((tag, offset, TERMINATED if filled else 0))
        return end
    if raw in wanted.tags:
        hits.append((tag, offset, 0))  # that it is there may be all that is asked
    return items(source, offset, _inside(form, vr))


def _holds_fragments(form: Form, vr: int) -> bool:
    return form.explicit and vr not in (form.sq, form.un)


def _inside(form: Form, vr: int) -> Form:
    """How the items of a sequence are encoded; PS3.5 6.2.2: within UN always implicit little endian."""
    return IMPLICIT if form.explicit and vr == form.un else form


def fragments(source: Source, offset: int, form: Form) -> tuple[int, int]:
    """Find the end of encapsulated pixel data (PS3.5 A.4), and how many fragments have bytes.

    The first item is the offset table, which may be empty; it is not counted.
    """
    filled = -1
    for _ in range(MAX_NESTED):
        if offset + 8 > source.size:
            raise HeldError("unterminated", f"no delimiter up to offset {source.size}")
        index = source.at(offset)
        (raw,) = form.long.unpack_from(source.window, index)
        (length,) = form.long.unpack_from(source.window, index + 4)
        if raw == form.sequence_end:
            return offset + 8, max(0, filled)
        if raw != form.item or length == UNDEFINED:
            raise HeldError("malformed", f"neither a fragment nor a delimiter at offset {offset}")
        filled += 1 if length or filled < 0 else 0
        offset += 8 + length
    raise HeldError("resource", f"more than {MAX_NESTED} fragments")


def items(source: Source, offset: int, form: Form) -> int:
    """Find the end of a sequence of undefined length (PS3.5 7.5) whose first item is at `offset`.

    `levels` is what is open: sequences and items in turn, each with the form presumed in it.
    """
    levels: list[tuple[bool, Form]] = [(False, form)]
    in_item, short, size = False, _NONE, source.size
    window, base, edge = b"", offset, -1
    index = 0
    for _ in range(MAX_NESTED):
        if index > edge:
            if base + index + 8 > size:
                raise HeldError("truncated", "the file ends within a sequence of undefined length")
            index = source.at(base + index)
            window, base = source.window, source.base
            edge = len(window) - 12
        _, vr, length = form.head.unpack_from(window, index)
        if vr in short:  # an element of an item, the usual case; delimiters have no VR
            index += 8 + length
            continue
        step = _in_item if in_item else _among_items
        offset = step(source, index, base + index, levels)
        if not levels:
            return offset
        if len(levels) > 2 * MAX_DEPTH:
            raise HeldError("resource", f"sequences more than {MAX_DEPTH} deep")
        in_item, form = levels[-1]
        short = form.short if in_item else _NONE
        index, edge = offset - base, -1  # The window may have moved on.
    raise HeldError("resource", f"more than {MAX_NESTED} nested elements")


def _among_items(source: Source, index: int, offset: int, levels: list[tuple[bool, Form]]) -> int:
    """Step over an item of a stated length, into one of undefined length, or out of the sequence."""
    form = levels[-1][1]
    (raw,) = form.long.unpack_from(source.window, index)
    (length,) = form.long.unpack_from(source.window, index + 4)
    offset += 8
    if raw == form.sequence_end:
        levels.pop()
    elif raw != form.item:
        raise HeldError("malformed", f"neither an item nor a delimiter at offset {offset - 8}")
    elif length != UNDEFINED:
        offset += length
    else:
        index = source.at(offset)
        levels.append((True, form_at(source.window, index, form)))
    return offset


def _in_item(source: Source, index: int, offset: int, levels: list[tuple[bool, Form]]) -> int:
    """Step over an element without a short VR, into one of undefined length, or out of the item."""
    form = levels[-1][1]
    raw, vr, length = form.head.unpack_from(source.window, index)
    offset += 8
    if raw == form.item_end:
        levels.pop()
        return offset
    if raw in form.stray:
        raise HeldError("malformed", f"not an element at offset {offset - 8}")
    if not form.explicit:
        length = length << 16 | vr
    elif len(source.window) - index < 12:
        raise HeldError("truncated", f"half an element at offset {offset - 8}")
    else:
        header, length = _long(form, source, index, vr, length)
        offset += header - 8
    if length != UNDEFINED:
        return offset + int(length)
    if _holds_fragments(form, vr):
        return fragments(source, offset, form)[0]
    levels.append((False, _inside(form, vr)))
    return offset


def _leftover(source: Source, offset: int, hits: list[Hit]) -> list[Hit]:
    """Accept a few zero bytes after the pixels; hold whatever else is left where an element should be.

    Before the pixels, or in an object without any, zeros may be space reserved and not yet written.
    """
    left = source.size - offset
    tail = source.read(offset, MAX_PADDING_BYTES + 1)
    zeros = not tail.strip(b"\0")
    after_pixels = _seen_pixels(hits)
    if zeros and after_pixels and left <= MAX_PADDING_BYTES:
        return hits
    if zeros:
        raise HeldError("trailing", f"zero bytes from offset {offset} on: not yet written?")
    if left < 12 and not after_pixels:
        raise HeldError("truncated", f"half an element at offset {offset}")
    raise HeldError("trailing" if after_pixels else "malformed", f"not an element at offset {offset}")


def _too_far(tag: int, end: int, source: Source, hits: list[Hit]) -> None:
    """Tell a cut element from noise after the pixels, where tags can only rise (PS3.5 7.1)."""
    noise = tag >> 16 < PIXEL_DATA >> 16 and _seen_pixels(hits)
    raise HeldError("trailing" if noise else "truncated", _overrun(tag, end, source))


def _seen_pixels(hits: list[Hit]) -> bool:
    return any(tag in PIXELS for tag, _, _ in hits)


def _overrun(tag: int, end: int, source: Source) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X}) ends at offset {end}, the file at {source.size}"

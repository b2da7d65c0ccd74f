"""One element's value as a file has it: whether two say the same, and how one is shown."""

from __future__ import annotations

import hashlib
import struct
import warnings
from dataclasses import dataclass

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import keyword_for_tag

from dicomsync.compare.likeness import Difference

HELD_BYTES = 64 << 10  # a value up to here is held and shown; a larger one is hashed
SHOWN_LETTERS = 64


@dataclass(frozen=True, slots=True)
class Leaf:
    """One element's value as its file has it, or its SHA-256 where it is large."""

    vr: str
    value: bytes
    charset: tuple[str, ...]
    little: bool
    size_bytes: int

    @property
    def hashed(self) -> bool:
        """Whether `value` is the SHA-256."""
        return self.size_bytes > HELD_BYTES


Place = tuple[int, ...]  # tag, and below a sequence: item number (from 1), tag, …


_WORDS_OF = {"US": 2, "SS": 2, "OW": 2, "US or SS": 2, "AT": 2, "UL": 4, "SL": 4, "FL": 4, "OF": 4, "OL": 4}
_WORDS_OF |= {"FD": 8, "OD": 8, "SV": 8, "UV": 8, "OV": 8}
_TEXTS = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)
_DELIMITERS = {ord(letter) for letter in "\\^="}  # where a character set with escapes begins anew
_SINGLE = frozenset({"LT", "ST", "UT", "UR"})  # a backslash in them is a backslash


def alike(a: Leaf, b: Leaf) -> bool:
    """Say whether two values say the same: padding, byte order and character set apart."""
    if a.hashed or b.hashed:
        return (a.value, a.size_bytes) == (b.value, b.size_bytes)
    if a.value == b.value and a.little is b.little:
        return True
    vr = a.vr if a.vr != "UN" else b.vr
    if vr in _TEXTS:
        return _parts(a, vr) == _parts(b, vr)
    return _little(a, vr) == _little(b, vr)


def _parts(leaf: Leaf, vr: str) -> list[str]:
    text = text_of(leaf)
    parts = [text] if vr in _SINGLE else text.split("\\")
    return [part.rstrip(" \0") if vr in _SINGLE else part.strip(" \0") for part in parts]


def text_of(leaf: Leaf) -> str:
    """Decode a value, in the character set that its dataset names."""
    if leaf.value.isascii() and b"\x1b" not in leaf.value:
        return leaf.value.decode("ascii")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return decode_bytes(leaf.value, convert_encodings(list(leaf.charset)), _DELIMITERS)
        except (LookupError, ValueError):
            return leaf.value.decode("latin-1")


def _little(leaf: Leaf, vr: str) -> bytes:
    return leaf.value if leaf.little else swapped(leaf.value, _WORDS_OF.get(vr, 1))


def swapped(value: bytes, size: int) -> bytes:
    """Turn the bytes of each word round; a value of no whole words stays as it is."""
    if size == 1 or len(value) % size:
        return value
    swapped = bytearray(len(value))
    for at in range(size):
        swapped[at::size] = value[size - 1 - at :: size]
    return bytes(swapped)


def difference(place: Place, ours: Leaf | None, theirs: Leaf | None) -> Difference:
    """Give an element that is not the same, as it is shown."""
    tags = ".".join(f"{one:08X}" for one in place[::2])
    return Difference(tags, _where(place), _shown(ours), _shown(theirs))


def _where(place: Place) -> str:
    words = []
    for at, tag in enumerate(place[::2]):
        name = keyword_for_tag(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
        item = place[2 * at + 1 : 2 * at + 2]
        words.append(f"{name}[{item[0]}]" if item else name)
    return ".".join(words)


_FORMS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d", "SV": "q", "UV": "Q"}


def _shown(leaf: Leaf | None) -> str | None:
    """Show a value to the person at the machine, shortened; of bytes length and SHA-256."""
    if leaf is None:
        return None
    if leaf.vr == "SQ":
        return f"{leaf.value.decode()} items"
    if leaf.hashed:
        return f"{leaf.size_bytes} bytes, SHA-256 {leaf.value.hex()[:16]}…"
    if leaf.vr in _TEXTS:
        return _short("\\".join(_parts(leaf, leaf.vr)))
    form = "H" if leaf.vr in ("US or SS", "AT") else _FORMS.get(leaf.vr)
    value = _little(leaf, leaf.vr)
    if form and value and len(value) % struct.calcsize(f"<{form}") == 0:
        numbers = struct.iter_unpack(f"<{form}", value[:512])
        return _short("\\".join(f"{one:g}" if form in "fd" else str(one) for (one,) in numbers))
    text = value.rstrip(b" \0")
    if text.isascii() and text.decode("ascii").isprintable():
        return _short(text.decode("ascii"))
    return f"{len(value)} bytes, SHA-256 {hashlib.sha256(value).hexdigest()[:16]}…"


def _short(text: str) -> str:
    shown = "".join(one if one.isprintable() else " " for one in text)
    return shown if len(shown) <= SHOWN_LETTERS else f"{shown[: SHOWN_LETTERS - 1]}…"

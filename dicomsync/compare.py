"""Two DICOM files under one SOP Instance UID: in what do they differ? Streams in, values out.

Bytes first; then the datasets element by element, whatever their encoding. Pixel data, and all that is
large, is compared by its SHA-256 and never held whole. This is a door for pydicom.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import tempfile
import unicodedata
import warnings
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import BinaryIO

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import data_element_generator, read_sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

CHUNK_BYTES = 1 << 20
HELD_BYTES = 64 << 10  # a value up to here is held and shown; a larger one is hashed
INFLATED_BYTES = 4 << 30
MOST_DIFFERENCES = 100
SHOWN_LETTERS = 64


class Likeness(StrEnum):
    """How like two files are: each of these is further apart than the one before."""

    EQUAL = "equal"
    PREAMBLE = "preamble"
    REWRITTEN = "rewritten"
    HEADER = "header"
    RECODED = "recoded"
    PIXELS = "pixels"
    PATIENT = "patient"


WORDS = {
    Likeness.EQUAL: "the same bytes",
    Likeness.PREAMBLE: "the same but for the preamble",
    Likeness.REWRITTEN: "the same dataset, written in another way",
    Likeness.HEADER: "header differs, same pixels",
    Likeness.RECODED: "compressed in another way; whether the pixels are the same is not known",
    Likeness.PIXELS: "pixels differ",
    Likeness.PATIENT: "DIFFERENT PATIENT",
}


class Unreadable(Exception):
    """One of the files cannot be read to its end as DICOM; its text holds nothing of the file."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One element that is not the same: what each side has, shortened; None where it has no such element.

    `where` is the keyword, or the tag of a private element, with the sequence items on the way to it.
    """

    tag: str
    where: str
    folder: str | None
    archive: str | None


@dataclass(frozen=True, slots=True)
class Pixels:
    """The pixel data of one file: SHA-256 and length, of its fragments where it is compressed."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """How like two files are; `differences` are the first of them, `more` counts the rest.

    `agrees`: study, series, SOP Instance and SOP Class UID, transfer syntax and pixel data are the same,
    the patient too; without pixel data only what archives change of themselves may differ.
    """

    likeness: Likeness
    agrees: bool
    pixels: tuple[Pixels | None, Pixels | None] = (None, None)
    differences: tuple[Difference, ...] = ()
    more: int = 0


def compare(folder: BinaryIO, archive: BinaryIO) -> Comparison:
    """Compare a folder's file with another, each a seekable stream of a whole DICOM file (PS3.10).

    Raises Unreadable; what the streams raise goes through.
    """
    if _same_from(folder, archive, 128):
        same = _same_from(folder, archive, 0)
        return Comparison(Likeness.EQUAL if same else Likeness.PREAMBLE, agrees=True)
    ours, theirs = _read(folder), _read(archive)
    places = [*ours.leaves, *(place for place in theirs.leaves if place not in ours.leaves)]
    pairs = ((place, ours.leaves.get(place), theirs.leaves.get(place)) for place in places)
    differing = [(place, a, b) for place, a, b in pairs if a is None or b is None or not _alike(a, b)]
    found = sorted(
        (_difference(place, a, b) for place, a, b in differing), key=lambda one: (len(one.tag), one.tag)
    )
    likeness = _likeness(ours, theirs, differing)
    return Comparison(
        likeness,
        likeness is not Likeness.PATIENT and _agrees(ours, theirs, differing),
        (ours.pixels, theirs.pixels),
        tuple(found[:MOST_DIFFERENCES]),
        max(0, len(found) - MOST_DIFFERENCES),
    )


def _same_from(one: BinaryIO, other: BinaryIO, start: int) -> bool:
    one.seek(start)
    other.seek(start)
    while True:
        a, b = one.read(CHUNK_BYTES), other.read(CHUNK_BYTES)
        if a != b:
            return False
        if not a:
            return True


# reading


@dataclass(frozen=True, slots=True)
class _Leaf:
    """One element's value as its file has it, or its SHA-256 where it is large."""

    vr: str
    value: bytes
    charset: tuple[str, ...]
    little: bool
    size_bytes: int

    @property
    def hashed(self) -> bool:
        return self.size_bytes > HELD_BYTES


_Place = tuple[int, ...]  # tag, and below a sequence: item number (from 1), tag, …


@dataclass(slots=True)
class _Read:
    syntax: str = ""
    leaves: dict[_Place, _Leaf] = field(default_factory=dict)
    pixels: Pixels | None = None


_CHARSET = 0x00080005
_SYNTAX = 0x00020010
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_UNTOLD = (0xFFFCFFFC,)  # Data Set Trailing Padding
_UNDEFINED = 0xFFFFFFFF
_IMPLICIT = frozenset({ImplicitVRLittleEndian, "1.2.840.113619.5.2", "1.2.840.10008.1.20"})
_NATIVE = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
)
_DEFLATED = frozenset(  # also the two JPIP syntaxes whose dataset is deflated
    {DeflatedExplicitVRLittleEndian, "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
)


def _read(stream: BinaryIO) -> _Read:
    try:
        return _read_all(stream)
    except (OSError, Unreadable):
        raise
    except Exception:  # whatever pydicom makes of bytes that are none of ours
        raise Unreadable("it cannot be read to its end as DICOM") from None


def _read_all(stream: BinaryIO) -> _Read:
    found = _Read()
    stream.seek(128)
    if stream.read(4) != b"DICM":
        raise Unreadable("it has no DICM prefix")
    for element in data_element_generator(stream, False, True, lambda tag, _vr, _length: tag >> 16 != 2):
        if element.tag == _SYNTAX:
            found.syntax = bytes(element.value or b"").rstrip(b"\0 ").decode("ascii", "replace")
    syntax = found.syntax
    if not syntax:
        raise Unreadable("it names no transfer syntax")
    found.leaves[(_SYNTAX,)] = _Leaf("UI", syntax.encode(), (), True, len(syntax))
    if syntax in _DEFLATED:
        with tempfile.TemporaryFile() as inflated:
            _inflate(stream, inflated)
            _read_dataset(inflated, found)
    else:
        _read_dataset(stream, found)
    return found


def _inflate(stream: BinaryIO, into: BinaryIO) -> None:
    """Inflate a deflated dataset (PS3.5 A.5) into a file, under a cap."""
    inflater, size_bytes = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while chunk := stream.read(CHUNK_BYTES):
        while chunk:
            size_bytes += into.write(inflater.decompress(chunk, CHUNK_BYTES))
            chunk = inflater.unconsumed_tail
            if size_bytes > INFLATED_BYTES:
                raise Unreadable("its deflated dataset is too large")
    into.write(inflater.flush())
    into.seek(0)


def _read_dataset(stream: BinaryIO, found: _Read) -> None:
    implicit, little = found.syntax in _IMPLICIT, found.syntax != ExplicitVRBigEndian
    charset: tuple[str, ...] = ()
    for element in data_element_generator(stream, implicit, little, defer_size=HELD_BYTES):
        after = stream.tell()
        if element.tag in _PIXELS and isinstance(element, RawDataElement):
            found.pixels = _pixels(stream, element)
            stream.seek(after)
            continue
        if isinstance(element, RawDataElement) and element.tag == _CHARSET:
            charset = _names(element.value)
        for place, leaf in _leaves(stream, element, (), charset):
            found.leaves[place] = leaf
        stream.seek(after)


def _names(value: bytes | None) -> tuple[str, ...]:
    return tuple(part.strip(" \0") for part in (value or b"").decode("ascii", "replace").split("\\"))


def _leaves(
    stream: BinaryIO, element: DataElement | RawDataElement, above: _Place, charset: tuple[str, ...]
) -> Iterator[tuple[_Place, _Leaf]]:
    """Give an element, or below a sequence all that is in it; group lengths and padding say nothing."""
    tag = int(element.tag)
    if tag & 0xFFFF == 0 or tag in _UNTOLD:
        return
    place = (*above, tag)
    items: Iterable[Dataset]
    if not isinstance(element, RawDataElement):
        items = element.value
    elif _vr(element) == "SQ":
        items = _items(stream, element)
    else:
        yield place, _leaf(stream, element, charset)
        return
    number = 0
    for number, item in enumerate(items, 1):
        own = item.get_item(_CHARSET) if _CHARSET in item else None
        inner = _names(own.value) if isinstance(own, RawDataElement) else charset
        for one in item.values():
            yield from _leaves(stream, one, (*place, number), inner)
    yield place, _Leaf("SQ", str(number).encode(), (), True, 0)


def _vr(element: RawDataElement) -> str:
    """Give the VR, of implicit and of unknown ones (PS3.5 6.2.2) the dictionary's."""
    if element.VR not in (None, "UN"):
        return str(element.VR)
    try:
        return dictionary_VR(element.tag)
    except KeyError:
        return "UN"


def _items(stream: BinaryIO, element: RawDataElement) -> Iterable[Dataset]:
    """Read a sequence of defined length; one that was written as UN is implicit (PS3.5 6.2.2)."""
    value = element.value
    if value is None and element.length:
        stream.seek(element.value_tell)
        value = stream.read(element.length)
    implicit, little = (True, True) if element.VR == "UN" else element[5:7]
    value = value or b""
    return read_sequence(io.BytesIO(value), implicit, little, len(value), "iso8859") if value else ()


def _leaf(stream: BinaryIO, element: RawDataElement, charset: tuple[str, ...]) -> _Leaf:
    little = bool(element.is_little_endian)
    value = element.value
    if value is None and element.length == 0:
        value = b""
    if value is not None and len(value) <= HELD_BYTES:
        return _Leaf(_vr(element), bytes(value), charset, little, len(value))
    if value is not None:  # inside a sequence, which is read whole
        return _Leaf(_vr(element), hashlib.sha256(value).digest(), charset, little, len(value))
    running, size_bytes = hashlib.sha256(), 0
    for chunk in _chunks(stream, element):
        running.update(chunk)
        size_bytes += len(chunk)
    return _Leaf(_vr(element), running.digest(), charset, little, size_bytes)


def _pixels(stream: BinaryIO, element: RawDataElement) -> Pixels:
    """Hash the pixel data as little endian, and of compressed ones the fragments without the offset table."""
    swaps = not element.is_little_endian and element.VR == "OW"
    running, size_bytes = hashlib.sha256(), 0
    for chunk in _chunks(stream, element):
        running.update(_swapped(chunk, 2) if swaps else chunk)
        size_bytes += len(chunk)
    return Pixels(running.hexdigest(), size_bytes)


def _chunks(stream: BinaryIO, element: RawDataElement) -> Iterator[bytes]:
    """Give a value in pieces of even length; of one in fragments (PS3.5 A.4), all but the first item."""
    stream.seek(element.value_tell)
    if element.length != _UNDEFINED:
        yield from _taken(stream, element.length)
        return
    header = struct.Struct("<HHL" if element.is_little_endian else ">HHL")
    number = 0
    while True:
        group, number_in_group, length = header.unpack(stream.read(8))
        if (group, number_in_group) != (0xFFFE, 0xE000) or length == _UNDEFINED:
            return
        if number:
            yield from _taken(stream, length)
        else:
            stream.seek(length, io.SEEK_CUR)
        number += 1


def _taken(stream: BinaryIO, left: int) -> Iterator[bytes]:
    while left:
        chunk = stream.read(min(left, CHUNK_BYTES))
        if not chunk:
            raise Unreadable("it ends in the middle of an element")
        left -= len(chunk)
        yield chunk


# judging


_WORDS_OF = {"US": 2, "SS": 2, "OW": 2, "US or SS": 2, "AT": 2, "UL": 4, "SL": 4, "FL": 4, "OF": 4, "OL": 4}
_WORDS_OF |= {"FD": 8, "OD": 8, "SV": 8, "UV": 8, "OV": 8}
_TEXTS = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)
_DELIMITERS = {ord(letter) for letter in "\\^="}  # where a character set with escapes begins anew
_SINGLE = frozenset({"LT", "ST", "UT", "UR"})  # a backslash in them is a backslash


def _alike(a: _Leaf, b: _Leaf) -> bool:
    """Say whether two values say the same: padding, byte order and character set apart."""
    if a.hashed or b.hashed:
        return (a.value, a.size_bytes) == (b.value, b.size_bytes)
    if a.value == b.value and a.little is b.little:
        return True
    vr = a.vr if a.vr != "UN" else b.vr
    if vr in _TEXTS:
        return _parts(a, vr) == _parts(b, vr)
    return _little(a, vr) == _little(b, vr)


def _parts(leaf: _Leaf, vr: str) -> list[str]:
    text = _text(leaf)
    parts = [text] if vr in _SINGLE else text.split("\\")
    return [part.rstrip(" \0") if vr in _SINGLE else part.strip(" \0") for part in parts]


def _text(leaf: _Leaf) -> str:
    if leaf.value.isascii() and b"\x1b" not in leaf.value:
        return leaf.value.decode("ascii")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return decode_bytes(leaf.value, convert_encodings(list(leaf.charset)), _DELIMITERS)
        except (LookupError, ValueError):
            return leaf.value.decode("latin-1")


def _little(leaf: _Leaf, vr: str) -> bytes:
    return leaf.value if leaf.little else _swapped(leaf.value, _WORDS_OF.get(vr, 1))


def _swapped(value: bytes, size: int) -> bytes:
    if size == 1 or len(value) % size:
        return value
    swapped = bytearray(len(value))
    for at in range(size):
        swapped[at::size] = value[size - 1 - at :: size]
    return bytes(swapped)


_Differing = list[tuple[_Place, _Leaf | None, _Leaf | None]]


def _likeness(ours: _Read, theirs: _Read, differing: _Differing) -> Likeness:
    if _other_patient(ours, theirs):
        return Likeness.PATIENT
    if ours.pixels != theirs.pixels:
        native = ours.syntax in _NATIVE and theirs.syntax in _NATIVE
        known = ours.syntax == theirs.syntax or native or ours.pixels is None or theirs.pixels is None
        return Likeness.PIXELS if known else Likeness.RECODED
    told = [place for place, _, _ in differing if place not in ((_SYNTAX,), (_CHARSET,))]
    return Likeness.HEADER if told else Likeness.REWRITTEN


_UIDS = ((0x0020000D,), (0x0020000E,), (0x00080018,), (0x00080016,), (_SYNTAX,))
_COERCED_GROUPS = (0x0008, 0x0010)


def _agrees(ours: _Read, theirs: _Read, differing: _Differing) -> bool:
    """Say whether one may be the other as an archive has rewritten it."""
    places = [place for place, _, _ in differing]
    if ours.pixels != theirs.pixels or any(place in _UIDS for place in places):
        return False
    return ours.pixels is not None or all(place[0] >> 16 in _COERCED_GROUPS for place in places)


_NAME, _ID, _BIRTH = (0x00100010,), (0x00100020,), (0x00100030,)


def _other_patient(ours: _Read, theirs: _Read) -> bool:
    """Say whether both name a patient, and not the same one."""
    for place, tokens in ((_NAME, _name), (_ID, _id), (_BIRTH, _date)):
        a, b = ours.leaves.get(place), theirs.leaves.get(place)
        if a is None or b is None:
            continue
        one, other = tokens(_text(a)), tokens(_text(b))
        if one and other and one != other:
            return True
    return False


def _name(text: str) -> tuple[str, ...]:
    """Give the parts of a name: letters' case and width, separators and empty components apart."""
    plain = unicodedata.normalize("NFKC", text.replace("\0", "")).casefold()
    groups = [tuple(part for part in re.split(r"[\^,\s]+", one) if part) for one in plain.split("=")]
    return next((one for one in groups if one), ())


def _id(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip(" \0").casefold()


def _date(text: str) -> str:
    return re.sub(r"\D", "", text)


# showing


def _difference(place: _Place, ours: _Leaf | None, theirs: _Leaf | None) -> Difference:
    tags = ".".join(f"{one:08X}" for one in place[::2])
    return Difference(tags, _where(place), _shown(ours), _shown(theirs))


def _where(place: _Place) -> str:
    words = []
    for at, tag in enumerate(place[::2]):
        name = keyword_for_tag(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
        item = place[2 * at + 1 : 2 * at + 2]
        words.append(f"{name}[{item[0]}]" if item else name)
    return ".".join(words)


_FORMS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d", "SV": "q", "UV": "Q"}


def _shown(leaf: _Leaf | None) -> str | None:
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

"""A DICOM file read element by element with pydicom, nothing large of it held."""

from __future__ import annotations

import hashlib
import io
import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import data_element_generator, read_sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicomsync.compare.likeness import Pixels, Unreadable
from dicomsync.compare.values import HELD_BYTES, Leaf, Place, swapped

CHUNK_BYTES = 1 << 20
INFLATED_BYTES = 4 << 30


@dataclass(slots=True)
class Read:
    """What a file holds: `leaves` by their place, the pixel data apart."""

    syntax: str = ""
    leaves: dict[Place, Leaf] = field(default_factory=dict)
    pixels: Pixels | None = None


CHARSET = 0x00080005
SYNTAX = 0x00020010
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_UNTOLD = (0xFFFCFFFC,)  # Data Set Trailing Padding
_UNDEFINED = 0xFFFFFFFF
_IMPLICIT = frozenset({ImplicitVRLittleEndian, "1.2.840.113619.5.2", "1.2.840.10008.1.20"})
NATIVE = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
)
_DEFLATED = frozenset(  # also the two JPIP syntaxes whose dataset is deflated
    {DeflatedExplicitVRLittleEndian, "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
)


def read(stream: BinaryIO) -> Read:
    """Read a whole file; raises Unreadable, and what the stream raises."""
    try:
        return _read_all(stream)
    except (OSError, Unreadable):
        raise
    except Exception:  # whatever pydicom makes of bytes that are none of ours
        raise Unreadable("it cannot be read to its end as DICOM") from None


def _read_all(stream: BinaryIO) -> Read:
    found = Read()
    stream.seek(128)
    if stream.read(4) != b"DICM":
        raise Unreadable("it has no DICM prefix")
    for element in data_element_generator(stream, False, True, lambda tag, _vr, _length: tag >> 16 != 2):
        if element.tag == SYNTAX:
            found.syntax = bytes(element.value or b"").rstrip(b"\0 ").decode("ascii", "replace")
    syntax = found.syntax
    if not syntax:
        raise Unreadable("it names no transfer syntax")
    found.leaves[(SYNTAX,)] = Leaf("UI", syntax.encode(), (), True, len(syntax))
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


def _read_dataset(stream: BinaryIO, found: Read) -> None:
    implicit, little = found.syntax in _IMPLICIT, found.syntax != ExplicitVRBigEndian
    charset: tuple[str, ...] = ()
    for element in data_element_generator(stream, implicit, little, defer_size=HELD_BYTES):
        after = stream.tell()
        if element.tag in _PIXELS and isinstance(element, RawDataElement):
            found.pixels = _pixels(stream, element)
            stream.seek(after)
            continue
        if isinstance(element, RawDataElement) and element.tag == CHARSET:
            charset = _names(element.value)
        for place, leaf in _leaves(stream, element, (), charset):
            found.leaves[place] = leaf
        stream.seek(after)


def _names(value: bytes | None) -> tuple[str, ...]:
    return tuple(part.strip(" \0") for part in (value or b"").decode("ascii", "replace").split("\\"))


def _leaves(
    stream: BinaryIO, element: DataElement | RawDataElement, above: Place, charset: tuple[str, ...]
) -> Iterator[tuple[Place, Leaf]]:
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
        own = item.get_item(CHARSET) if CHARSET in item else None
        inner = _names(own.value) if isinstance(own, RawDataElement) else charset
        for one in item.values():
            yield from _leaves(stream, one, (*place, number), inner)
    yield place, Leaf("SQ", str(number).encode(), (), True, 0)


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


def _leaf(stream: BinaryIO, element: RawDataElement, charset: tuple[str, ...]) -> Leaf:
    little = bool(element.is_little_endian)
    value = element.value
    if value is None and element.length == 0:
        value = b""
    if value is not None and len(value) <= HELD_BYTES:
        return Leaf(_vr(element), bytes(value), charset, little, len(value))
    if value is not None:  # inside a sequence, which is read whole
        return Leaf(_vr(element), hashlib.sha256(value).digest(), charset, little, len(value))
    running, size_bytes = hashlib.sha256(), 0
    for chunk in _chunks(stream, element):
        running.update(chunk)
        size_bytes += len(chunk)
    return Leaf(_vr(element), running.digest(), charset, little, size_bytes)


def _pixels(stream: BinaryIO, element: RawDataElement) -> Pixels:
    """Hash the pixel data as little endian, and of compressed ones the fragments without the offset table."""
    swaps = not element.is_little_endian and element.VR == "OW"
    running, size_bytes = hashlib.sha256(), 0
    for chunk in _chunks(stream, element):
        running.update(swapped(chunk, 2) if swaps else chunk)
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

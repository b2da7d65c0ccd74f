"""Where the frames of a kept file lie, so that they can be sent from the disk (PS3.5 A.4, PS3.3 C.7.6.3)."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import parse_basic_offsets, parse_fragments

from dicomsync.sandbox.header import element, opened
from dicomsync.sandbox.media import Refusal
from dicomsync.sandbox.values import Invalid, decoded

DEFLATED = "1.2.840.10008.1.2.1.99"
NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"})
_SAMPLES, _COLOURS, _FRAMES, _ROWS, _COLUMNS, _BITS = (
    "00280002", "00280004", "00280008", "00280010", "00280011", "00280100",
)  # fmt: skip
_OFFSETS, _PIXELS = "7FE00001", "7FE00010"
_WANTED = [int(tag, 16) for tag in (_SAMPLES, _COLOURS, _FRAMES, _ROWS, _COLUMNS, _BITS, _OFFSETS, _PIXELS)]
_MOST_READ = 1 << 20  # an Extended Offset Table is read, pixels are not


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a file."""

    start: int
    length: int


Frame = tuple[Span, ...]  # the fragments of one frame, or the one stretch of native pixels


def locate(path: Path, transfer_syntax: str, numbers: Sequence[int]) -> list[Frame]:
    """Return where each of these frames lies, counted from 1.

    404 for frames that are not there or without pixel data, 406 where frames cannot be told apart.
    """
    if transfer_syntax == DEFLATED:
        raise Refusal(406, "Frames within deflated data are not sent.")
    dataset = opened(path, specific_tags=_WANTED, defer_size=_MOST_READ)
    pixels = element(dataset, _PIXELS) if dataset is not None else None
    if not isinstance(pixels, RawDataElement):
        raise Refusal(404, "The instance has no pixel data that can be read.")
    count = _number(dataset, _FRAMES, "IS", 1)
    if max(numbers) > count:
        raise Refusal(404, "There are not so many frames.")
    if transfer_syntax in NATIVE:
        return _native(dataset, pixels.value_tell, pixels.length, numbers)
    with path.open("rb") as file:
        file.seek(pixels.value_tell)
        frames = _encapsulated(file, count, dataset)
    return [frames[number - 1] for number in numbers]


def _value(dataset: Dataset, tag: str, vr: str) -> Any:
    found = element(dataset, tag)
    try:
        values = decoded(vr, found, ["iso8859"]).get("Value") if found is not None else None
    except Invalid:
        raise Refusal(406, "The frames cannot be told apart.") from None
    return values[0] if values else None


def _number(dataset: Dataset, tag: str, vr: str = "US", otherwise: int = 0) -> int:
    return int(_value(dataset, tag, vr) or otherwise)


def _native(dataset: Dataset, start: int, length: int, numbers: Sequence[int]) -> list[Frame]:
    samples = _number(dataset, _SAMPLES, otherwise=1)
    if _value(dataset, _COLOURS, "CS") == "YBR_FULL_422":
        samples = 2  # two pixels share their colour
    pixels = _number(dataset, _ROWS) * _number(dataset, _COLUMNS)
    size_bits = pixels * samples * _number(dataset, _BITS)
    if size_bits == 0 or size_bits % 8:
        raise Refusal(406, "The frames cannot be told apart.")
    size = size_bits // 8
    if max(numbers) * size > length:
        raise Refusal(404, "The pixel data ends before that frame.")
    return [(Span(start + (number - 1) * size, size),) for number in numbers]


def _encapsulated(file: IO[bytes], count: int, dataset: Dataset) -> list[Frame]:
    """Group fragments into frames: by an offset table, one for each, or all for the only one."""
    try:
        offsets = parse_basic_offsets(file)
        first = file.tell()
        _, starts = parse_fragments(file)
        fragments = [_fragment(file, start) for start in starts]
    except (ValueError, struct.error):
        raise Refusal(404, "The instance has no pixel data that can be read.") from None
    table = element(dataset, _OFFSETS)
    if table is not None and isinstance(table.value, bytes):
        offsets = [offset for (offset,) in struct.iter_unpack("<Q", table.value[: len(table.value) // 8 * 8])]
    if count == 1:
        return [tuple(fragments)]
    if len(offsets) == count:
        return _grouped(fragments, starts, [first + offset for offset in offsets])
    if len(fragments) == count:
        return [(fragment,) for fragment in fragments]
    raise Refusal(406, "The frames cannot be told apart.")


def _grouped(fragments: Sequence[Span], starts: Sequence[int], begins: Sequence[int]) -> list[Frame]:
    """Give each frame the fragments from where it begins to where the next one does."""
    if sorted(begins) != list(begins) or not set(begins) <= set(starts):
        raise Refusal(406, "The offset table does not fit the fragments.")
    frames: list[list[Span]] = [[] for _ in begins]
    for fragment, start in zip(fragments, starts, strict=True):
        if place := bisect_right(begins, start):
            frames[place - 1].append(fragment)
    return [tuple(frame) for frame in frames]


def _fragment(file: IO[bytes], start: int) -> Span:
    file.seek(start + 4)
    [length] = struct.unpack("<L", file.read(4))
    return Span(start + 8, length)

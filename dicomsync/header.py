"""The door to a file's header: proves that the file is a whole, storable instance and gives its UIDs.

A truncated copy that reaches an archive blocks the good one for ever, so a file that cannot be
proved whole is held and never sent. Nothing is decoded: the walk finds where the elements are.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import zlib
from functools import lru_cache, partial

from . import quiet
from .layouts import Example, Layouts
from .model import Changed, FileState, Header, StatKey, Unfit, Whole
from .walk import (
    BIG_ENDIAN,
    EXPLICIT,
    IMPLICIT,
    MAX_PADDING_BYTES,
    PIXEL_DATA,
    PIXELS,
    TERMINATED,
    ByteOrder,
    HeldError,
    Hit,
    Source,
    Wanted,
    elements,
    file_meta,
    form_at,
)

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_INFLATED_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_DOT = ord(".")
_BLANK = bytes(128)  # the usual preamble
_VALUE_BYTES = 256  # no UID or number is longer; what is, is wrong whatever follows

_META_CLASS, _META_INSTANCE, _META_SYNTAX = 0x0002_0002, 0x0002_0003, 0x0002_0010
_META = frozenset({_META_CLASS, _META_INSTANCE, _META_SYNTAX})

_CLASS, _INSTANCE, _STUDY, _SERIES = 0x0008_0016, 0x0008_0018, 0x0020_000D, 0x0020_000E
_UIDS = {
    _STUDY: "Study Instance UID",
    _SERIES: "Series Instance UID",
    _INSTANCE: "SOP Instance UID",
    _CLASS: "SOP Class UID",
    _META_SYNTAX: "Transfer Syntax UID",
}
_SAMPLES, _PHOTOMETRIC, _FRAMES = 0x0028_0002, 0x0028_0004, 0x0028_0008
_ROWS, _COLUMNS, _BITS = 0x0028_0010, 0x0028_0011, 0x0028_0100
_PROVIDER = 0x0028_7FE0  # Pixel Data Provider URL: the pixels are elsewhere (JPIP)
_SPECTRA = 0x5600_0020  # Spectroscopy Data: rows and columns of spectra, not pixels
_DVH = 0x3004_0050  # DVH Sequence: an RT Dose may be a histogram alone
_DATASET = frozenset({_CLASS, _INSTANCE, _STUDY, _SERIES, *PIXELS, _SAMPLES, _PHOTOMETRIC, _FRAMES})
_DATASET |= {_ROWS, _COLUMNS, _BITS, _PROVIDER, _SPECTRA, _DVH}
_LAYOUTS = Layouts(_META, _DATASET, _META_SYNTAX)
_WANTED = {form: Wanted.of(form, _DATASET) for form in (EXPLICIT, IMPLICIT, BIG_ENDIAN)}

_BIG = "1.2.840.10008.1.2.2"
_DEFLATED = frozenset(  # PS3.5 A.5, and the two JPIP syntaxes whose dataset is deflated
    {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
)
_IMPLICITS = frozenset(  # also a private one that differs in its pixels alone, and a retired one
    {"1.2.840.10008.1.2", "1.2.840.113619.5.2", "1.2.840.10008.1.20"}
)
_NATIVE = _IMPLICITS | {_BIG, "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"}
"""The syntaxes whose pixel data has the length that the image attributes say (PS3.5 8.1, 8.2)."""

_DOUBLES = 0x7FE0_0009
_SHARED_CHROMA = {b"YBR_FULL_422": 4, b"YBR_PARTIAL_422": 4, b"YBR_PARTIAL_420": 3}  # half samples a pixel

_DICOMDIR = "1.2.840.10008.1.3.10"

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_IMAGE_SUFFIXES = """
    1 1.1 1.1.1 1.2 1.2.1 1.3 1.3.1 2 2.1 2.2 3 3.1 4 4.1 4.3 4.4 5 6 6.1 6.2 6.3 7 7.1 7.2 7.3 7.4
    12.1 12.1.1 12.2 12.2.1 12.3 13.1.1 13.1.2 13.1.3 13.1.4 13.1.5 14.1 14.2 20 30 66.4 66.7
    77.1 77.2 77.1.1 77.1.1.1 77.1.2 77.1.2.1 77.1.3 77.1.4 77.1.4.1 77.1.5.1 77.1.5.2 77.1.5.4 77.1.5.5
    77.1.5.6 77.1.5.7 77.1.6 77.1.7 77.1.8 77.1.9 128 128.1 130 481.1 481.2 481.23 481.24
    501.1 501.2.1 501.2.2 601.1 601.2
"""  # PS3.6 A: the storage classes named Image, then volumes, maps and segmentations made of pixels
_IMAGES = frozenset(
    {"1.2.840.10008.5.1.1.29", "1.2.840.10008.5.1.1.30"}  # retired hardcopy images
    | {_STORAGE + suffix for suffix in _IMAGE_SUFFIXES.split()}
)
_RAW_DATA = _STORAGE + "66"  # may describe rows and columns of an image it does not hold


def read(path: bytes, key: StatKey | None = None) -> Header:
    """Prove that the file is whole and give its UIDs, or say why not; `key` is what it was seen as.

    Takes and gives plain values, so that any executor may run it; raises nothing, whatever is there.
    """
    try:
        fd = quiet.opened(path, _FLAGS)
    except OSError as problem:
        return _not_opened(problem)
    seen: StatKey | None = None
    try:
        before = os.fstat(fd)
        seen = key if key is not None and key.fits(before) else StatKey.of(before)
        if not stat.S_ISREG(before.st_mode):
            return Unfit(seen, FileState.IGNORED, "special")
        if key is not None and seen is not key:
            return Changed(seen)
        header = _judge(fd, seen)
        after = os.fstat(fd)
        return header if seen.fits(after) else Changed(StatKey.of(after))
    except OSError as problem:
        return _unreadable(seen, problem)
    except (MemoryError, RecursionError):
        return Unfit(seen, FileState.HELD, "resource")
    except Exception as bug:  # one file that the walk stumbles over must stop no other
        return Unfit(seen, FileState.HELD, "poison", type(bug).__name__)
    finally:
        os.close(fd)


def _not_opened(problem: OSError) -> Header:
    if problem.errno in (errno.ENOENT, errno.ENOTDIR):
        return Changed(None)
    if problem.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV):  # a symbolic link, a socket, a device
        return Unfit(None, FileState.IGNORED, "special")
    return _unreadable(None, problem)


def _unreadable(key: StatKey | None, problem: OSError) -> Unfit:
    return Unfit(key, FileState.HELD, "unreadable", os.strerror(problem.errno or 0))


def _judge(fd: int, key: StatKey) -> Header:
    if key.size_bytes == 0:
        return Unfit(key, FileState.HELD, "empty")
    try:
        source = Source(key.size_bytes, partial(os.pread, fd))
        if source.head[128:132] != b"DICM":
            return _without_magic(source, key)
        return _part_10(source, key)
    except HeldError as doubt:
        return Unfit(key, FileState.HELD, doubt.reason, doubt.detail)


def _without_magic(source: Source, key: StatKey) -> Unfit:
    """Tell what will become DICOM, or is nearly, from what is something else (PS3.10 section 7.1)."""
    head = source.head
    if not head.strip(b"\0"):
        return Unfit(key, FileState.HELD, "zeros")
    if b"DICM".startswith(head[128:]) and not head[:128].strip(b"\0"):
        return Unfit(key, FileState.HELD, "truncated", "the file ends within its first 132 bytes")
    if head.startswith(b"DICM") or _starts_a_dataset(head, key.size_bytes):
        return Unfit(key, FileState.HELD, "no-preamble")
    return Unfit(key, FileState.IGNORED, "not-dicom")


def _starts_a_dataset(head: bytes, size_bytes: int) -> bool:
    """Find a low element of group 0002 or 0008, with a VR or with a length that a first element may have."""
    if len(head) < 8:
        return False
    for form in (EXPLICIT, BIG_ENDIAN):
        raw, vr, _ = form.head.unpack_from(head)
        tag = form.tag(raw)
        if tag >> 16 in (2, 8) and tag & 0xFFFF < 0x100:
            if vr in form.known:
                return True
            (length,) = form.long.unpack_from(head, 4)
            if form.little and length <= 1024 and 8 + length <= size_bytes:
                return True
    return False


def _part_10(source: Source, key: StatKey) -> Header:
    """Judge a file in the DICOM File Format (PS3.10 section 7)."""
    layout, found, offset = _LAYOUTS.fit(source.head) or _begun(source)
    if _word(found.get(_META_CLASS)) == _DICOMDIR:
        return Unfit(key, FileState.IGNORED, "dicomdir")
    syntax = _word(found.get(_META_SYNTAX))
    if not syntax:
        raise HeldError("syntax-missing")
    if syntax not in _NATIVE:
        _uid(found, _META_SYNTAX)
    body, start = source, offset
    if syntax in _DEFLATED:
        body, offset = _inflated(source, offset), 0
    if layout:
        form = layout.form
    elif syntax == _BIG:
        form = BIG_ENDIAN
    else:
        index = body.at(offset)
        form = form_at(body.window, index, IMPLICIT if syntax in _IMPLICITS else EXPLICIT)
    hits = elements(body, offset, _WANTED[form], layout.count if layout else 0)
    _values(body, hits, found)
    study, series = _uid(found, _STUDY), _uid(found, _SERIES)
    instance, sop_class = _uid(found, _INSTANCE), _uid(found, _CLASS)
    named = _text(found.get(_META_INSTANCE))
    if named and named != instance:
        raise HeldError("uid-mismatch")
    _check_pixels(hits, found, sop_class, form.byte_order if syntax in _NATIVE else None)
    if not layout and body is source and form.little:
        _LAYOUTS.learn(Example(source.head, start, form))
    preamble = b"" if source.head.startswith(_BLANK) else source.head[:128]
    return Whole(key, study, series, instance, sop_class, syntax, preamble)


def _inflated(source: Source, offset: int) -> Source:
    """Inflate the dataset of a deflated syntax (PS3.5 A.5) under a cap, and prove that the stream ends."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = bytearray()
    try:
        while not inflater.eof and offset < source.size:
            chunk = source.read(offset, _CHUNK_BYTES)
            offset += len(chunk)
            data += inflater.decompress(chunk, MAX_INFLATED_BYTES + 1 - len(data))
            if len(data) > MAX_INFLATED_BYTES:
                raise HeldError("resource", f"more than {MAX_INFLATED_BYTES} bytes inflated")
    except zlib.error:
        raise HeldError("malformed", "the deflated dataset cannot be inflated") from None
    if not inflater.eof:
        raise HeldError("truncated", "the deflated dataset has no end")
    end = offset - len(inflater.unused_data)
    tail, whole = source.read(end, MAX_PADDING_BYTES + 1), bytes(data)
    # Padding, or the trailer of gzip (RFC 1952 2.3.1), which some writers keep.
    trailer = struct.pack("<II", zlib.crc32(whole), len(whole))
    if len(tail) > MAX_PADDING_BYTES or tail.removeprefix(trailer).strip(b"\0"):
        raise HeldError("trailing", f"bytes after the deflated dataset, from offset {end} on")
    return Source(len(whole), lambda count, start: whole[start : start + count])


def _begun(source: Source) -> tuple[None, dict[int, bytes], int]:
    """Walk the File Meta Information of a file that fits no layout; nothing of its dataset is known then."""
    hits, offset = file_meta(source, _META)
    return None, _values(source, hits, {}), offset


def _values(source: Source, hits: list[Hit], values: dict[int, bytes]) -> dict[int, bytes]:
    """Add the wanted values but pixels. Archives differ in which of two they take: a UID has one."""
    head, reach = source.head, len(source.head)
    for tag, offset, length in hits:
        if tag in PIXELS:
            continue
        if length > _VALUE_BYTES:
            length = _VALUE_BYTES
        value = head[offset : offset + length] if offset + length <= reach else source.read(offset, length)
        if values.setdefault(tag, value) != value and tag in _UIDS:
            raise HeldError("uid-several", f"two elements give a {_UIDS[tag]}")
    return values


def _text(value: bytes | None) -> str:
    """Give a value as text, without the padding that an even length needs (and that some write more of)."""
    return value.rstrip(b"\0 ").decode("latin-1") if value else ""


_word = lru_cache(maxsize=64)(_text)
"""The same of what many files have in common: 2 % of the time."""


def _uid(values: dict[int, bytes], tag: int) -> str:
    """Give a UID; raises HeldError where it is none that archives take."""
    uid, wrong = _as_uid(values.get(tag, b""))
    if wrong:
        raise HeldError(wrong, _UIDS[tag])
    return uid


@lru_cache(maxsize=256)  # three of a file's four are those of the file before it: 3 % of the time
def _as_uid(value: bytes) -> tuple[str, str]:
    """Read a UID as archives take it: digits, dots, at most 64, no empty component (PS3.5 9.1), or why not.

    A component that starts with a zero is let through: it is in old files, and archives have them.
    """
    text = value.rstrip(b"\0 ")
    if not text:
        return "", "uid-missing"
    if b"\\" in text:
        return "", "uid-several"
    digits = len(text) <= 64 and not text.translate(None, b".0123456789")
    if not digits or b".." in text or text[0] == _DOT or text[-1] == _DOT:
        return "", "uid-malformed"
    return text.decode("ascii"), ""


def _check_pixels(hits: list[Hit], found: dict[int, bytes], sop_class: str, native: ByteOrder | None) -> None:
    """Hold an image without pixels, or with fewer than its attributes say (PS3.3 C.7.6.3).

    `native` is the byte order of native pixel data, None where the syntax is a compressed one.
    """
    described = _ROWS in found and _COLUMNS in found and sop_class != _RAW_DATA
    image = described or (sop_class in _IMAGES and _DVH not in found)
    seen = False
    for tag, _, length in hits:
        if tag not in PIXELS:
            continue
        seen = True
        if length == 0 and image:
            raise HeldError("no-pixels", "the pixel data is empty")
        if native and length != TERMINATED:
            expected = _expected_bytes(found, tag, native)
            if length < expected:
                raise HeldError("short-pixels", f"{length} of {expected} bytes")
    if image and not (seen or _PROVIDER in found or _SPECTRA in found):
        raise HeldError("no-pixels")


def _expected_bytes(found: dict[int, bytes], tag: int, order: ByteOrder) -> int:
    """Work out the length of native pixel data; 0 where an attribute that says it is missing."""
    return _product(tag, order, *map(found.get, (_BITS, _PHOTOMETRIC, _SAMPLES, _ROWS, _COLUMNS, _FRAMES)))


@lru_cache(maxsize=64)  # they are those of the file before it: 4 % of the time
def _product(
    tag: int,
    order: ByteOrder,
    allocated: bytes | None,
    photometric: bytes | None,
    samples: bytes | None,
    rows: bytes | None,
    columns: bytes | None,
    frames: bytes | None,
) -> int:
    bits = _number(allocated, order)
    if tag != PIXEL_DATA:
        bits = 64 if tag == _DOUBLES else 32
    half_samples = _SHARED_CHROMA.get((photometric or b"").rstrip(b"\0 "))
    if half_samples is None:
        half_samples = 2 * (_number(samples, order) or 1)
    pixels = _number(rows, order) * _number(columns, order)
    if frames is not None:
        pixels *= _frames(frames)
    # Single bits are packed without a gap between frames (PS3.5 8.1.1).
    return (pixels * bits * half_samples // 2 + 7) // 8


def _frames(value: bytes) -> int:
    try:
        return max(1, int(value.strip(b"\0 ")))
    except ValueError:
        return 1


def _number(value: bytes | None, order: ByteOrder) -> int:
    """Read one unsigned short; 0 where it is missing or is not one."""
    return int.from_bytes(value, order) if value and len(value) == 2 else 0

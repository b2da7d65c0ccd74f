"""DICOM files made after the grammar of PS3.5 and PS3.10, and what becomes of them in hostile hands."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from hypothesis import strategies as st

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED, JPEG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50"
SYNTAXES = (IMPLICIT, EXPLICIT, BIG, DEFLATED, JPEG)
CT, REPORT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11"
CLASS, SOP, STUDY, SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
ITEM, ITEM_END, SEQUENCE_END, OPEN = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0xFFFFFFFF
_LONG = "OB OD OF OL OV OW SQ SV UC UN UR UT UV"
LONG_VRS = frozenset(_LONG.split())


@dataclass(frozen=True)
class Made:
    """A file that is whole by construction, and what it says."""

    data: bytes
    uids: tuple[str, str, str, str]  # study, series, instance, class
    syntax: str


@dataclass(frozen=True)
class Form:
    """How elements are written (PS3.5 section 7.1)."""

    explicit: bool = True
    order: str = "<"

    def tag(self, tag: int) -> bytes:
        return struct.pack(f"{self.order}HH", tag >> 16, tag & 0xFFFF)

    def element(self, tag: int, vr: str, value: bytes, *, left_open: bool = False) -> bytes:
        value += b"\0" * (len(value) % 2)
        length = OPEN if left_open else len(value)
        if not self.explicit:
            return self.tag(tag) + struct.pack(f"{self.order}I", length) + value
        if vr in LONG_VRS:
            return self.tag(tag) + vr.encode() + struct.pack(f"{self.order}HI", 0, length) + value
        return self.tag(tag) + vr.encode() + struct.pack(f"{self.order}H", length) + value

    def mark(self, tag: int, length: int = 0) -> bytes:
        return self.tag(tag) + struct.pack(f"{self.order}I", length)


FORMS = {IMPLICIT: Form(explicit=False), BIG: Form(order=">")}

uid_texts = st.lists(st.integers(0, 10**6), min_size=2, max_size=6).map(
    lambda parts: ".".join(map(str, parts))
)
_VALUES: dict[str, st.SearchStrategy[bytes]] = {
    "LO": st.text("ABC^ \\=x1", max_size=12).map(str.encode),
    "DS": st.sampled_from([b"1", b"1.5\\2", b"-3E2", b""]),
    "UI": uid_texts.map(str.encode),
    "US": st.binary(min_size=2, max_size=2),
    "OB": st.binary(max_size=30),
    "UN": st.binary(max_size=30),
    "UT": st.text(max_size=20).map(str.encode),
}
_TAGS: tuple[int, ...] = (
    0x00080064,
    0x00080060,
    0x00081030,
    0x00090010,
    0x00091001,
    0x00100010,
    0x00185100,
    0x00204000,
)
_TAGS += (0x00321060, 0x00400244, 0x00431010, 0x300A0002)
_SEQUENCES = (0x00081115, 0x00081140, 0x00091002, 0x00400275, 0x00409096, 0x52009229)


@st.composite
def values(draw: st.DrawFn, form: Form, tags: tuple[int, ...] = _TAGS) -> tuple[int, bytes]:
    """One element without items: its tag, and how it is written."""
    tag = draw(st.sampled_from(tags))
    vr = draw(st.sampled_from(sorted(_VALUES)))
    return tag, form.element(tag, vr, draw(_VALUES[vr]))


@st.composite
def sequences(draw: st.DrawFn, form: Form, depth: int) -> tuple[int, bytes]:
    """One sequence, its items and itself of stated or of undefined length (PS3.5 section 7.5)."""
    tag = draw(st.sampled_from(_SEQUENCES))
    unknown = form.explicit and form.order == "<" and draw(st.integers(0, 5)) == 0
    inner = Form(explicit=False) if unknown else form  # PS3.5 6.2.2: implicit within UN
    content = b""
    for _ in range(draw(st.integers(0, 2))):
        body = draw(datasets(inner, depth - 1))
        if draw(st.booleans()):
            content += inner.mark(ITEM, OPEN) + body + inner.mark(ITEM_END)
        else:
            content += inner.mark(ITEM, len(body)) + body
    if unknown or draw(st.booleans()):
        content += inner.mark(SEQUENCE_END)
        return tag, form.element(tag, "UN" if unknown else "SQ", content, left_open=True)
    return tag, form.element(tag, "SQ", content)


@st.composite
def datasets(draw: st.DrawFn, form: Form, depth: int, fixed: dict[int, bytes] | None = None) -> bytes:
    """Elements in the order of their tags, each once."""
    parts = dict(draw(st.lists(values(form), max_size=3)))
    if depth:
        parts |= dict(draw(st.lists(sequences(form, depth), max_size=2)))
    parts |= fixed or {}
    return b"".join(parts[tag] for tag in sorted(parts))


def meta(syntax: str, sop_class: str, sop: str) -> bytes:
    """The preamble and the File Meta Information (PS3.10 section 7.1)."""
    form = Form()
    content = form.element(0x00020001, "OB", b"\0\1") + form.element(0x00020002, "UI", sop_class.encode())
    content += form.element(0x00020003, "UI", sop.encode()) + form.element(0x00020010, "UI", syntax.encode())
    return bytes(128) + b"DICM" + form.element(0x00020000, "UL", struct.pack("<I", len(content))) + content


@st.composite
def whole_files(draw: st.DrawFn) -> Made:
    """A whole file in any of the encodings, an image or a report."""
    syntax = draw(st.sampled_from(SYNTAXES))
    form = FORMS.get(syntax, Form())
    image = draw(st.booleans())
    study, series, sop = (draw(uid_texts) for _ in range(3))
    sop_class = CT if image else REPORT
    named = zip((STUDY, SERIES, SOP, CLASS), (study, series, sop, sop_class), strict=True)
    fixed = {tag: form.element(tag, "UI", uid.encode()) for tag, uid in named}
    if image:
        fixed |= _pixels(draw, form, syntax)
    dataset = draw(datasets(form, 3, fixed))
    if syntax == DEFLATED:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        dataset = deflater.compress(dataset) + deflater.flush()
    return Made(meta(syntax, sop_class, sop) + dataset, (study, series, sop, sop_class), syntax)


def _pixels(draw: st.DrawFn, form: Form, syntax: str) -> dict[int, bytes]:
    """Rows, columns, bits and the pixel data that they call for."""
    rows, columns, bits = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.sampled_from([1, 8, 16]))
    numbers = {0x00280002: 1, 0x00280010: rows, 0x00280011: columns, 0x00280100: bits}
    found = {tag: form.element(tag, "US", struct.pack(f"{form.order}H", n)) for tag, n in numbers.items()}
    if syntax == JPEG:
        fragments = [b"", *draw(st.lists(st.binary(min_size=2, max_size=9), min_size=1, max_size=3))]
        padded = [one + b"\0" * (len(one) % 2) for one in fragments]
        content = b"".join(form.mark(ITEM, len(one)) + one for one in padded) + form.mark(SEQUENCE_END)
        return found | {0x7FE00010: form.element(0x7FE00010, "OB", content, left_open=True)}
    found[0x7FE00010] = form.element(0x7FE00010, "OW", bytes((rows * columns * bits + 7) // 8))
    if draw(st.booleans()):
        found[0xFFFCFFFC] = form.element(0xFFFCFFFC, "OB", bytes(draw(st.integers(0, 20))))
    return found


HOSTILE_WORDS = (
    b"\xff\xff\xff\xff",  # a length left open, or of 4 GiB
    b"\xfe\xff\xff\x7f",
    b"\xfe\xff\x00\xe0\xff\xff\xff\xff",  # an item, left open
    b"\xfe\xff\x0d\xe0\0\0\0\0",
    b"\xfe\xff\xdd\xe0\0\0\0\0",
    b"\xff\xfe\xe0\xdd\0\0\0\0",
    b"SQ\0\0\xff\xff\xff\xff",
    b"UN\0\0\xff\xff\xff\xff",
    b"../../etc/passwd",
    b"1.2%2e3",
    b"1.2\r\nX: y",
    b"1.\0.2",
    "\uff11.\u00b2".encode(),
    b"1." * 32 + b"1",
    b"\\1.2",
    b"\0" * 16,
    b"\x1b[31m",
)


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A whole file with some of its bytes changed, taken out, doubled, exchanged, cut off."""
    data = bytearray(draw(whole_files()).data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(128, max(129, len(data))))
        length = draw(st.integers(1, 24))
        match draw(st.sampled_from(["set", "flip", "word", "over", "cut", "double", "move", "end", "grow"])):
            case "set":
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "word":
                data[at:at] = draw(st.sampled_from(HOSTILE_WORDS))
            case "over":
                word = draw(st.sampled_from(HOSTILE_WORDS))
                data[at : at + len(word)] = word
            case "cut":
                del data[at : at + length]
            case "double":
                data[at:at] = data[at : at + length]
            case "move":
                taken = bytes(data[at : at + length])
                del data[at : at + length]
                to = draw(st.integers(128, max(129, len(data))))
                data[to:to] = taken
            case "end":
                del data[at:]
            case _:
                data += draw(st.binary(max_size=20))
    return bytes(data)


@st.composite
def deep_files(draw: st.DrawFn) -> bytes:
    """Sequences within sequences, up to 50,000 of them, closed or not, in any encoding."""
    syntax = draw(st.sampled_from((IMPLICIT, EXPLICIT, BIG)))
    form = FORMS.get(syntax, Form())
    levels = draw(st.sampled_from([2, 30, 63, 64, 65, 66, 1000, 50_000]))
    opening = form.element(0x00081140, draw(st.sampled_from(["SQ", "UN"])), b"", left_open=True)
    opening += form.mark(ITEM, OPEN)
    closing = form.mark(ITEM_END) + form.mark(SEQUENCE_END)
    return meta(syntax, CT, "1.2.3") + opening * levels + closing * draw(st.sampled_from([0, levels]))


@st.composite
def bombs(draw: st.DrawFn) -> tuple[bytes, int]:
    """A deflated dataset, and to how many bytes it inflates."""
    inner = draw(whole_files()).data[200:] + bytes(draw(st.sampled_from([0, 100, 5_000, 2_000_000])))
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    tail = draw(st.binary(max_size=3))
    return meta(DEFLATED, CT, "1.2.3") + deflater.compress(inner) + deflater.flush() + tail, len(inner)

"""DICOM JSON and the Native DICOM Model as plain values, read with suspicion (PS3.18 Annex F, PS3.19 A.1).

Whatever an archive, or a proxy before it, sends: a value of the wrong kind is no value, a name given
twice with two meanings is no value. Nothing here raises but `stream_rows`, which has to stop somewhere.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from xml.parsers import expat

from ..errors import BadAnswer

Dataset = dict[str, object]
"""Tag (eight hexadecimal digits, upper case) to attribute, as DICOM JSON has it: `vr` and `Value`."""

_UID: Final = re.compile(r"[0-9.]*[0-9][0-9.]*", re.ASCII)
_UID_LENGTH: Final = 64
_TABLES: Final = re.compile(r"(iso-?8859-|windows-|cp|koi8-)[0-9a-z]{1,5}|latin-?1", re.ASCII | re.IGNORECASE)
_CHARSET: Final = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9_.:-]{1,40})", re.ASCII)
_PADDING: Final = " \t\r\n\0"
_NOT_BLANK: Final = re.compile(r"[^ \t\r\n]")
_MOST_BLANK_CHUNKS: Final = 1000
_MOST_VALUES: Final = 2_000_000  # as values they take up to a hundred times the room of their text
_MOST_NODES: Final = 500_000  # elements and attributes of XML, in which stores alone are answered
_DEPTH: Final = 100  # deeper than any dataset; shallower than Python's own limit


class _Ambiguous:
    """Stands where one name had two different values: neither is believed."""


_AMBIGUOUS: Final = _Ambiguous()


def datasets(body: bytes, content_type: str = "") -> list[Dataset] | None:
    """Say which datasets a body holds; None if it is neither DICOM JSON nor a Native DICOM Model."""
    readable = _readable(body, content_type)
    if readable.startswith("<"):
        model = _native_model(readable)
        return None if model is None else [model]
    return _json_datasets(readable)


def rows(body: bytes, content_type: str = "") -> list[Dataset] | None:
    """Say the results of a Search or the datasets of a metadata answer: a JSON array, else None."""
    readable = _readable(body, content_type)
    return _json_datasets(readable) if readable.startswith("[") else None


def stream_rows(chunks: Iterable[bytes], cap_bytes: int) -> Iterator[Dataset]:
    """Read a JSON array of datasets as it comes in, one dataset after another; at most one is held.

    Raises BadAnswer at the first byte that is none of it, at a dataset of more than `cap_bytes`, and
    at an array that breaks off: an iteration that comes to its end has had all of it.
    """
    reader = _RowReader(chunks, cap_bytes)
    first = reader.after_blanks()
    if first != "[":
        raise BadAnswer("the archive answered 200, and not with a DICOM JSON array", status=200)
    reader.skip()
    if reader.after_blanks() == "]":
        return
    while True:
        yield reader.dataset()
        separator = reader.after_blanks()
        if separator == "]":
            return
        if separator != ",":
            raise BadAnswer("the archive's DICOM JSON is malformed, or breaks off", status=200)
        reader.skip()


class _RowReader:
    """The text of an array as far as it has come and was not yet read."""

    def __init__(self, chunks: Iterable[bytes], cap_bytes: int) -> None:
        self._chunks = iter(chunks)
        self._text = ""
        self._at = 0
        self._cap = cap_bytes
        self._decode_bytes = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._decode_json = _JSON.raw_decode

    def skip(self) -> None:
        """Go past one character."""
        self._at += 1

    def after_blanks(self) -> str:
        """Say the next character that is no blank; "" at the end of the answer, or where only blanks come."""
        for _ in range(_MOST_BLANK_CHUNKS):
            if found := _NOT_BLANK.search(self._text, self._at):
                self._at = found.start()
                return found.group()
            self._at = len(self._text)
            if not self._fill(1):
                break
        return ""

    def dataset(self) -> Dataset:
        """Read one dataset. What is cut is read again only once there is twice as much of it."""
        wanted = 0
        while self.after_blanks() == "{":
            try:
                found, self._at = self._decode_json(self._text, self._at)
                return _tags_upper(found)
            except (ValueError, RecursionError):  # cut, or no JSON: the end of the answer tells which
                wanted = 2 * (len(self._text) - self._at)
                if len(self._text) - self._at > self._cap:
                    raise BadAnswer(
                        "a dataset is larger than any dataset without its bulk data", status=200
                    ) from None
            if not self._fill(wanted):
                break
        raise BadAnswer("the archive's DICOM JSON is malformed, or breaks off", status=200)

    def _fill(self, wanted: int) -> bool:
        """Have `wanted` characters ready, or all there will be; False if there is nothing more."""
        pieces = [self._text[self._at :]]
        held = len(pieces[0])
        for chunk in self._chunks:
            pieces.append(self._decode_bytes(chunk))
            held += len(pieces[-1])
            if held >= wanted:
                break
        more = held > len(pieces[0])
        self._text, self._at = "".join(pieces), 0
        return more


def uid(dataset: Dataset, tag: str) -> str | None:
    """Say the one UID of an attribute without its padding; None if there is none, or more than one."""
    values = _values(dataset, tag)
    return clean_uid(values[0]) if len(values) == 1 and isinstance(values[0], str) else None


def clean_uid(text: str) -> str | None:
    """Strip the blanks and NULs that pad a UID (PS3.5 9.1); None if what is left is not one.

    UIDs are taken as strings of digits and dots: some in use break the finer rules (leading zeros).
    """
    text = text.strip(_PADDING)
    return text if len(text) <= _UID_LENGTH and _UID.fullmatch(text) else None


def code(dataset: Dataset, tag: str) -> int | None:
    """Say the first 16-bit number of an attribute, given as a number or as its digits."""
    for value in _values(dataset, tag):
        if isinstance(value, str) and len(value) < 20:
            value = value.strip(_PADDING)
            value = int(value) if value.isascii() and value.isdigit() else None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0xFFFF:
            return value
    return None


def text(dataset: Dataset, tag: str, limit: int = 1000) -> str:
    """Say an attribute's strings as one line fit to keep and to print: at most `limit` characters."""
    values = _values(dataset, tag)
    return clean_text("; ".join([v for v in values if isinstance(v, str)]), limit) if values else ""


def value(dataset: Dataset, tag: str, limit: int = 1000) -> str:
    """Say an attribute's values for a person, as one printable line: numbers and names too; "" for none."""
    shown = (_shown(one) for one in _values(dataset, tag))
    return clean_text("\\".join(one for one in shown if one), limit)


def _shown(one: object) -> str:
    if isinstance(one, dict):  # a person's name (PS3.18 F.2.2): the first way of writing it that there is
        spellings = (one.get(way) for way in ("Alphabetic", "Ideographic", "Phonetic"))
        return next((name for name in spellings if isinstance(name, str) and name), "")
    return str(one) if isinstance(one, str | int | float) and not isinstance(one, bool) else ""


def clean_text(raw: str, limit: int = 1000) -> str:
    """Make somebody else's text harmless: control characters and lone surrogates out, cut at `limit`."""
    shown = raw[: 4 * limit]
    if not shown.isprintable():  # looked at letter by letter, URLs were a tenth of our time with small files
        shown = "".join(c if c.isprintable() else " " for c in shown)
    return " ".join(shown.split())[:limit]


def items(dataset: Dataset, tag: str) -> list[Dataset]:
    """Say the items of a sequence; an absent, empty or malformed one has none."""
    return [_tags_upper(value) for value in _values(dataset, tag) if isinstance(value, dict)]


def ambiguous(dataset: Dataset, tag: str) -> bool:
    """Say whether the dataset gives this attribute twice, differently."""
    return isinstance(dataset.get(tag), _Ambiguous)


def _values(dataset: Dataset, tag: str) -> list[object]:
    attribute = dataset.get(tag)
    if not isinstance(attribute, dict):
        return []
    value = attribute.get("Value")
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, str | int | float) else []


def _readable(body: bytes, content_type: str) -> str:
    return _decoded(body, content_type).lstrip("\ufeff" + _PADDING)


def _decoded(body: bytes, content_type: str) -> str:
    """UTF-8 with or without its mark, UTF-16 and -32 by their zeros, else what the header says or Latin-1.

    Of what a header may say only the tables of 256 letters are taken: some of Python's codecs need a
    time that grows with the square of the body.
    """
    named = _CHARSET.search(content_type)
    charset = named.group(1).lower() if named and _TABLES.fullmatch(named.group(1)) else "latin-1"
    for encoding in (json.detect_encoding(body), charset):
        try:
            return body.decode(encoding)
        except (LookupError, ValueError):
            continue
    return body.decode("latin-1")


def _json_datasets(text: str) -> list[Dataset] | None:
    if sum(map(text.count, "[{,")) > _MOST_VALUES:
        return None
    try:
        found: object = _JSON.decode(text)
    except (ValueError, RecursionError):  # not JSON; an integer of thousands of digits; a depth bomb
        return None
    entries = found if isinstance(found, list) else [found]
    found_datasets = [_tags_upper(entry) for entry in entries if isinstance(entry, dict)]
    return found_datasets if len(found_datasets) == len(entries) else None


def _once(pairs: list[tuple[str, object]]) -> Dataset:
    """A JSON object in which a name given twice with two values is marked, where Python takes the last."""
    kept: Dataset = dict(pairs)
    if len(kept) == len(pairs):  # nothing is given twice: looked at one by one, it took three times as long
        return kept
    kept = {}
    for name, value in pairs:
        kept[name] = value if kept.get(name, value) == value else _AMBIGUOUS
    return kept


_JSON: Final = json.JSONDecoder(object_pairs_hook=_once, parse_constant=lambda _: None)


def _tags_upper(found: dict[str, object]) -> Dataset:
    names = "".join(found)
    if names == names.upper():  # as good as always
        return found
    return _once([(name.upper() if len(name) == 8 else name, value) for name, value in found.items()])


class _Node:
    """One XML element: its local name, its attributes, its children and its text."""

    __slots__ = ("attributes", "children", "name", "text")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name.rpartition("|")[2]
        self.attributes = attributes
        self.children: list[_Node] = []
        self.text: list[str] = []


class _NotOurs(Exception):
    """The XML has a DTD, or is nested beyond reason."""


def _native_model(text: str) -> Dataset | None:
    """The Native DICOM Model as the same values as DICOM JSON; None if the text is not one."""
    if sum(map(text.count, "<=")) > _MOST_NODES:
        return None
    top = _Node("", {})
    path = [top]

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(path) > _DEPTH:
            raise _NotOurs
        node = _Node(name, attributes)
        path[-1].children.append(node)
        path.append(node)

    def end(_name: str) -> None:
        path.pop()

    def refuse(*_declaration: object) -> None:
        raise _NotOurs

    parser = expat.ParserCreate("utf-8", "|")  # the text is decoded already, whatever its head says
    parser.buffer_text = True  # else a piece for each line
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda data: path[-1].text.append(data)
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text.encode("utf-8", "replace"), True)
    except (expat.ExpatError, _NotOurs):
        return None
    root = top.children[0]
    return _model(root) if root.name == "NativeDicomModel" else None


def _model(node: _Node) -> Dataset:
    """`DicomAttribute@tag` with its `Value`s or `Item`s, as a dataset."""
    pairs: list[tuple[str, object]] = []
    for attribute in node.children:
        if attribute.name != "DicomAttribute":
            continue
        values: list[object] = [
            _model(child) if child.name == "Item" else "".join(child.text)
            for child in attribute.children
            if child.name in ("Item", "Value")
        ]
        tag = attribute.attributes.get("tag", "").upper()
        pairs.append((tag, {"vr": attribute.attributes.get("vr", ""), "Value": values}))
    return _once(pairs)

"""How like two files are, and whether they can be of one patient."""

from __future__ import annotations

import re
import unicodedata
from typing import BinaryIO

from dicomsync.compare.likeness import Comparison, Likeness
from dicomsync.compare.reading import CHARSET, CHUNK_BYTES, NATIVE, SYNTAX, Read, read
from dicomsync.compare.values import Leaf, Place, alike, difference, text_of

MOST_DIFFERENCES = 100


def compare(folder: BinaryIO, archive: BinaryIO) -> Comparison:
    """Compare a folder's file with another, each a seekable stream of a whole DICOM file (PS3.10).

    Raises Unreadable; what the streams raise goes through.
    """
    if _same_from(folder, archive, 128):
        same = _same_from(folder, archive, 0)
        return Comparison(Likeness.EQUAL if same else Likeness.PREAMBLE, agrees=True)
    ours, theirs = read(folder), read(archive)
    places = [*ours.leaves, *(place for place in theirs.leaves if place not in ours.leaves)]
    pairs = ((place, ours.leaves.get(place), theirs.leaves.get(place)) for place in places)
    differing = [(place, a, b) for place, a, b in pairs if a is None or b is None or not alike(a, b)]
    found = sorted(
        (difference(place, a, b) for place, a, b in differing), key=lambda one: (len(one.tag), one.tag)
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


_Differing = list[tuple[Place, Leaf | None, Leaf | None]]


def _likeness(ours: Read, theirs: Read, differing: _Differing) -> Likeness:
    if _other_patient(ours, theirs):
        return Likeness.PATIENT
    if ours.pixels != theirs.pixels:
        native = ours.syntax in NATIVE and theirs.syntax in NATIVE
        known = ours.syntax == theirs.syntax or native or ours.pixels is None or theirs.pixels is None
        return Likeness.PIXELS if known else Likeness.RECODED
    told = [place for place, _, _ in differing if place not in ((SYNTAX,), (CHARSET,))]
    return Likeness.HEADER if told else Likeness.REWRITTEN


_UIDS = ((0x0020000D,), (0x0020000E,), (0x00080018,), (0x00080016,), (SYNTAX,))
_COERCED_GROUPS = (0x0008, 0x0010)


def _agrees(ours: Read, theirs: Read, differing: _Differing) -> bool:
    """Say whether one may be the other as an archive has rewritten it."""
    places = [place for place, _, _ in differing]
    if ours.pixels != theirs.pixels or any(place in _UIDS for place in places):
        return False
    return ours.pixels is not None or all(place[0] >> 16 in _COERCED_GROUPS for place in places)


_NAME, _ID, _BIRTH = (0x00100010,), (0x00100020,), (0x00100030,)


def _other_patient(ours: Read, theirs: Read) -> bool:
    """Say whether both name a patient, and not the same one."""
    for place, tokens in ((_NAME, _name), (_ID, _id), (_BIRTH, _date)):
        a, b = ours.leaves.get(place), theirs.leaves.get(place)
        if a is None or b is None:
            continue
        one, other = tokens(text_of(a)), tokens(text_of(b))
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

"""What a comparison says: values alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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

"""What the Failure Reasons of archives mean, and what they ask for. A table of facts.

From PS3.7 Annex C and PS3.18 Annex I, and from the documents and the code of the archives.
"""

from __future__ import annotations

from enum import StrEnum

from dicomsync import reasons


class Act(StrEnum):
    """What a Failure Reason asks for."""

    ASK = "ask"  # it is there already: find out whether it is the same
    CONFLICT = "conflict"
    LATER = "later"  # not this instance's fault: as often as it takes
    TRY = "try"  # unclear: some tries, then alone, then a person
    REJECT = "reject"


FAILURES: tuple[tuple[int, int, Act, str], ...] = (
    # first code, last code, act, words; the first row that matches counts
    (0x0000, 0x0000, Act.LATER, "an unspecified failure inside the archive"),
    (0x0110, 0x0110, Act.TRY, "processing failure"),
    (0x0111, 0x0111, Act.ASK, "duplicate SOP instance"),
    (0x0120, 0x0120, Act.REJECT, "a required attribute is missing"),
    (0x0121, 0x0121, Act.REJECT, "a required attribute has no value"),
    (0x0122, 0x0122, Act.REJECT, "the archive does not store this SOP class"),
    (0x0124, 0x0124, Act.LATER, "this account may not store"),
    (0xA770, 0xA770, Act.REJECT, "rejection note refused"),
    (0xA771, 0xA771, Act.REJECT, "the instance was rejected in the archive before and may not come back"),
    (0xA772, 0xA776, Act.REJECT, "rejection note refused"),
    (0xA777, 0xA777, Act.REJECT, "the Patient ID is missing"),
    (0xA778, 0xA778, Act.REJECT, "the Patient ID conflicts with the archive's"),
    (0xA779, 0xA779, Act.REJECT, "the patient's attributes conflict with the archive's"),
    (0xA77A, 0xA77A, Act.LATER, "the study is being deleted in the archive"),
    (0xA77B, 0xA77B, Act.CONFLICT, "the SOP Instance UID is known in another series or study"),
    (0xA700, 0xA7FF, Act.LATER, "the archive is out of resources"),
    (0xA900, 0xA900, Act.REJECT, "validation failed"),
    (0xA901, 0xA901, Act.REJECT, "another study than the one in the URL"),
    (0xA902, 0xA9FF, Act.REJECT, "the dataset does not match its SOP class"),
    (0xB00E, 0xB00E, Act.ASK, "already stored"),
    (0xB00F, 0xB00F, Act.LATER, "another writer is storing it now"),
    (0xC122, 0xC122, Act.REJECT, "the archive does not store this transfer syntax"),
    (0xC409, 0xC409, Act.REJECT, "another study than the one in the URL"),
    (0xC000, 0xCFFF, Act.REJECT, "the archive cannot understand the file"),
)


WARNINGS: dict[int, str] = {
    0x0001: "some attributes have values that are not valid",  # Medical Imaging Server v2
    0xB000: "data elements were coerced",
    0xB006: "elements were discarded",
    0xB007: "the dataset does not match its SOP class",
}
"""Warning Reasons (PS3.18 I.2.1; the archives' own): stored all the same."""


def warning(code: int) -> str:
    """Say a Warning Reason with its code and, where it is known, in words."""
    words = WARNINGS.get(code, "")
    return f"warning {code:04X}" + (f": {words}" if words else "")


def failure(code: int | None) -> tuple[Act, str]:
    """Say what a Failure Reason asks for, and what it means; an unknown code is tried a few times."""
    for first, last, act, words in FAILURES:
        if code is not None and first <= code <= last:
            return act, words
    return Act.TRY, "a failure the archive gave no known reason for"


def in_words(code: str) -> str:
    """Say any reason code of an instance or a file in words."""
    kind, _, number = code.partition("-")
    if kind == "failure" and number:
        _, words = failure(None if number == "none" else int(number, 16))
        return f"{words} (Failure Reason {number})"
    if kind == "status" and number:
        return reasons.STATUS_WORDS.format(number)
    return reasons.words(code)

"""What a search found, in columns for a person."""

from __future__ import annotations

from dicomsync import dicomweb

_COLUMNS: dict[str, tuple[tuple[str, str, int], ...]] = {
    # heading, tag, width; the last column takes what it needs
    "studies": (
        ("date", "00080020", 8),
        ("patient ID", "00100020", 16),
        ("patient name", "00100010", 24),
        ("modality", "00080061", 8),
        ("description", "00081030", 24),
        ("instances", "00201208", 9),
        ("Study Instance UID", "0020000D", 0),
    ),
    "series": (
        ("number", "00200011", 6),
        ("modality", "00080060", 8),
        ("description", "0008103E", 32),
        ("instances", "00201209", 9),
        ("Series Instance UID", "0020000E", 0),
    ),
    "instances": (
        ("number", "00200013", 6),
        ("SOP class", "00080016", 29),
        ("rows", "00280010", 5),
        ("columns", "00280011", 7),
        ("SOP Instance UID", "00080018", 0),
    ),
}


def attributes(level: str) -> tuple[str, ...]:
    """Give the attributes to ask for, as archives leave out of an answer what they like."""
    return tuple(tag for _, tag, _ in _COLUMNS[level])


def heading(level: str) -> str:
    """Give the line above the columns."""
    return _line([(words, width) for words, _, width in _COLUMNS[level]])


def row(level: str, dataset: dicomweb.Dataset) -> str:
    """Give one result as a line; what is longer than its column is cut, a UID never."""
    return _line([(dicomweb.value(dataset, tag), width) for _, tag, width in _COLUMNS[level]])


def _line(cells: list[tuple[str, int]]) -> str:
    return "  ".join(_fitted(text or "-", width) for text, width in cells).rstrip()


def _fitted(text: str, width: int) -> str:
    if not width or len(text) <= width:
        return text.ljust(width)
    return text[: width - 1] + "…"

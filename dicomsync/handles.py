"""Handles: how logs and pages name a study, an instance, a file without saying who it is.

A handle is the ledger's row number, scrambled so that it reads as one word and is not mistaken for a
count. It is reversible without an index and holds nothing of a patient.
"""

_ODD = {
    "study": 0x9E3779B1,
    "instance": 0x85EBCA6B,
    "file": 0xC2B2AE35,
    "batch": 0x27D4EB2F,
    "directory": 0x165667B1,
    "folder": 0xD3A2646D,
}


def handle(kind: str, number: int) -> str:
    """Name row `number` of `kind` (study, instance, file, batch), such as "study 7f3a9c"."""
    bits = _bits(number)
    return f"{kind} {number * _ODD[kind] % (1 << bits):0{bits // 4}x}"


def number(kind: str, word: str) -> int | None:
    """Say which row of `kind` the second word of a handle names; None if it cannot be one."""
    bits = len(word) * 4
    try:
        scrambled = int(word, 16)
    except ValueError:
        return None
    if bits < 24 or bits > 64 or bits % 8:
        return None
    row = scrambled * pow(_ODD[kind], -1, 1 << bits) % (1 << bits)
    if row > _MOST_ROWS:
        return None
    return row if handle(kind, row) == f"{kind} {word.lower()}" else None  # int() also takes "0x12" and "-1"


KINDS = tuple(_ODD)
_MOST_ROWS = 2**63 - 1  # no ledger counts further, and none can be asked for more


def _bits(number: int) -> int:
    """Six digits until they run out, then two more at a time."""
    return max(24, (number.bit_length() + 7) // 8 * 8)

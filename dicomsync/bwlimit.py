"""Limits of bandwidth as rclone writes them: one rate, or a timetable of the day. Pure."""

from __future__ import annotations

import re

Timetable = tuple[tuple[int, int], ...]
"""From which minute of the day on how many bytes a second, 0 for no limit; in order, () for none at all."""

_RATE = re.compile(r"(\d+(?:\.\d+)?)([bkmgt]?)")
_UNITS = {"b": 1, "": 2**10, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_LEAST = 2**10  # below it a file takes days, and archives lose patience
_EXPECTED = 'expected a rate such as "10M" (MiB a second), or a timetable such as "08:00,512k 19:00,off"'


def timetable(value: object) -> Timetable:
    """Read "10M", "off" or "08:00,512k 19:00,off"; a bare number is KiB a second, as for rclone."""
    entries = str(value).strip().lower().split()
    if len(entries) == 1 and "," not in entries[0]:
        rate = _rate(entries[0])
        return ((0, rate),) if rate else ()
    found: dict[int, int] = {}
    for entry in entries:
        at, _, rate_text = entry.partition(",")
        time = _TIME.fullmatch(at)
        if time is None:
            raise ValueError(_EXPECTED)
        minute = 60 * int(time[1]) + int(time[2])
        if minute in found:
            raise ValueError(f"two rates begin at {at}")
        found[minute] = _rate(rate_text)
    if not found:
        raise ValueError(_EXPECTED)
    return tuple(sorted(found.items())) if any(found.values()) else ()


def _rate(text: str) -> int:
    match = _RATE.fullmatch(text)
    if text == "off" or (match is not None and float(match[1]) == 0):
        return 0
    if match is None:
        raise ValueError(_EXPECTED)
    rate = float(match[1]) * _UNITS[match[2]]
    if not _LEAST <= rate <= 2**50:
        raise ValueError('expected at least 1 KiB a second, or "off"')
    return int(rate)

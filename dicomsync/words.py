"""Numbers, sizes, spans and moments as people read them. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence


def count(number: int, noun: str, plural: str = "") -> str:
    """Say "1 instance", "1,204 instances"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(size_bytes: float) -> str:
    """Say a size: "512 B", "1.5 MB"."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size_bytes < 1000 or unit == "TB":
            return (
                f"{size_bytes:,.0f} {unit}"
                if unit == "B" or size_bytes >= 100
                else f"{size_bytes:.1f} {unit}"
            )
        size_bytes /= 1000
    raise AssertionError("unreachable")


def span(seconds: float) -> str:
    """Say a span of time in at most two units: "0.8 s", "12 s", "3 min 20 s", "5 h 10 min", "2 d 4 h"."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for large, small, unit, below in ((60, 1, "min", "s"), (3600, 60, "h", "min"), (86400, 3600, "d", "h")):
        if whole < large * (60 if large < 3600 else 24) or large == 86400:
            rest = whole % large // small
            return f"{whole // large} {unit}" + (f" {rest} {below}" if rest else "")
    raise AssertionError("unreachable")


def moment(wall: float | None) -> str:
    """Say a moment in local time, or a dash."""
    return "-" if wall is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall))


def table(rows: Sequence[Sequence[str]], *, indent: str = "  ") -> str:
    """Lay out rows: first column to the left, second (figures) to the right, the rest as it comes."""
    if not rows:
        return ""
    widths = [max(len(row[i]) if i < len(row) else 0 for row in rows) for i in range(2)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(widths[1]) for cell in row[1:2]), *row[2:]]
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def visible(path: bytes) -> str:
    """Show a path to the person at the machine: any byte that is not plain text is escaped."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )

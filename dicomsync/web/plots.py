"""The last day as two drawings, made of figures alone: how much was stored, and how soon. Pure.

The drawings are stretched to the page's width; what is to be read stands beside them as text.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dicomsync import words
from dicomsync.ledger.tallies import ARCHIVE_SECONDS, SLOT_SECONDS

HOURS = 24
BAR_SECONDS = 1800  # six slots
BARS = HOURS * 3600 // BAR_SECONDS
HEIGHT = 100.0
ROW = 10.0
SHADES = (0.07, 0.18, 0.35, 0.6)  # of what was stored in a half hour: above each the next darker shade

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing (SVG; "" of nothing), its labels from top to bottom, and what it says in words."""

    svg: str
    labels: tuple[str, ...]
    says: str


def hours(wall: float) -> list[str]:
    """Give the labels below both, five of them, the last is now."""
    moments = [wall - HOURS * 3600 * part / 4 for part in (4, 3, 2, 1)]
    return [*(time.strftime("%H:%M", time.localtime(moment)) for moment in moments), "now"]


def throughput(rows: Iterable[Row], wall: float) -> Plot:
    """Draw a bar for each half hour: instances that came live, and those of the backlog on top."""
    first = _first(wall)
    bars = [[0, 0, 0] for _ in range(BARS)]  # live, backlog, bytes
    for row in rows:
        number = _bar(row["slot"], first)
        if number is not None:
            bars[number][0 if row["live"] else 1] += row["n"]
            bars[number][2] += row["size_bytes"]
    most = max(live + backlog for live, backlog, _ in bars)
    total, size_bytes = sum(one[0] + one[1] for one in bars), sum(one[2] for one in bars)
    shapes = []
    for number, (live, backlog, size) in enumerate(bars):
        if live + backlog:
            high, more = HEIGHT * live / most, HEIGHT * backlog / most
            title = f"{_from(number, first)}: {words.count(live + backlog, 'instance')}, {words.size(size)}"
            shapes.append(
                f"<g><title>{title}</title>{_rect(number, HEIGHT - high, high, 'live')}"
                f"{_rect(number, HEIGHT - high - more, more, 'backlog')}</g>"
            )
    says = f"{words.count(total, 'instance')}, {words.size(size_bytes)}" if total else "nothing"
    return Plot(_svg(shapes, HEIGHT, says) if total else "", (f"{most:,}", "0"), says)


def lateness(rows: Iterable[Row], wall: float) -> Plot:
    """Draw, for each half hour, how soon what came live was stored: the darker, the more of it."""
    first = _first(wall)
    cells: dict[tuple[int, int], int] = defaultdict(int)
    sums: dict[int, int] = defaultdict(int)
    for row in rows:
        number = _bar(row["slot"], first)
        if number is not None and row["live"]:
            cells[number, row["bucket"]] += row["n"]
            sums[row["bucket"]] += row["n"]
    columns: dict[int, int] = defaultdict(int)
    for (number, _), n in cells.items():
        columns[number] += n
    last = len(ARCHIVE_SECONDS)
    shapes = []
    for (number, bucket), n in sorted(cells.items()):
        shade = 1 + sum(n / columns[number] > share for share in SHADES)
        title = f"{_from(number, first)}: {words.count(n, 'instance')} {_within(bucket)}"
        cell = _rect(number, ROW * (last - bucket), ROW, f"shade{shade}")
        shapes.append(f"<g><title>{title}</title>{cell}</g>")
    says = "nothing came while the daemon watched"
    if sums:
        half, most = (quantile(sums, share) for share in (0.5, 0.95))
        says = f"half within {_about(half)}, 95 in 100 within {_about(most)}"
    labels = ("", "1 d", "4 h", "1 h", "15 min", "5 min", "2 min", "1 min", "30 s", "10 s")
    return Plot(_svg(shapes, ROW * (last + 1), says) if sums else "", labels, says)


def quantile(counts: dict[int, int], share: float) -> float | None:
    """Estimate below how many seconds that share of the instances was stored; None: beyond all bounds.

    Within a bucket they are taken to lie evenly, as Prometheus does.
    """
    wanted, below = share * sum(counts.values()), 0
    for bucket, bound in enumerate(ARCHIVE_SECONDS):
        n = counts.get(bucket, 0)
        if n and below + n >= wanted:
            start = ARCHIVE_SECONDS[bucket - 1] if bucket else 0
            return start + (bound - start) * (wanted - below) / n
        below += n
    return None


def _about(seconds: float | None) -> str:
    return f"more than {words.span(ARCHIVE_SECONDS[-1])}" if seconds is None else words.span(seconds)


def _within(bucket: int) -> str:
    if bucket == len(ARCHIVE_SECONDS):
        return f"after more than {words.span(ARCHIVE_SECONDS[-1])}"
    return f"within {words.span(ARCHIVE_SECONDS[bucket])}"


def _first(wall: float) -> int:
    """Give the beginning of the first bar, so that the last one holds this moment."""
    slot = int(wall // SLOT_SECONDS) * SLOT_SECONDS
    return slot + SLOT_SECONDS - BARS * BAR_SECONDS


def _bar(slot: int, first: int) -> int | None:
    number = (slot - first) // BAR_SECONDS
    return int(number) if 0 <= number < BARS else None


def _from(number: int, first: int) -> str:
    return time.strftime("%H:%M", time.localtime(first + number * BAR_SECONDS))


def _rect(number: int, y: float, height: float, kind: str) -> str:
    x = number * 10
    return f'<rect class="{kind}" x="{x}" y="{y:.1f}" width="9" height="{height:.1f}"/>' if height else ""


def _svg(shapes: Sequence[str], height: float, says: str) -> str:
    return (
        f'<svg viewBox="0 0 {BARS * 10} {height:.0f}" preserveAspectRatio="none" role="img" '
        f'aria-label="{says}">{"".join(shapes)}</svg>'
    )

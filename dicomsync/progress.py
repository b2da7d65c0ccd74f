"""How a long run looks while it runs: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from dicomsync import words
from dicomsync.engine import Progress

LINE_EVERY_SECONDS = 10.0
RATE_OVER_SECONDS = 30.0


class Rate:
    """Bytes a second over the last half minute: what an honest estimate is made of."""

    def __init__(self) -> None:
        self._marks: list[tuple[float, int]] = []

    def update(self, mono: float, size_bytes: int) -> float | None:
        """Take where the run stands now; gives the rate, None while it cannot be told."""
        self._marks.append((mono, size_bytes))
        while len(self._marks) > 2 and mono - self._marks[1][0] > RATE_OVER_SECONDS:
            self._marks.pop(0)
        first_mono, first_bytes = self._marks[0]
        if mono - first_mono < 1.0 or size_bytes <= first_bytes:
            return None
        return (size_bytes - first_bytes) / (mono - first_mono)


def told(progress: Progress, rate: float | None) -> str:
    """Say how far a run is in one line; while folders are still being read no total is final."""
    more = "+" if progress.scanning else ""
    parts = [
        f"studies {progress.studies:,}/{progress.studies_total:,}{more}",
        f"instances {progress.instances:,}/{progress.instances_total:,}{more}",
        f"{words.size(progress.size_bytes)} of {words.size(progress.size_bytes_total)}{more}",
        f"{words.size(rate)}/s" if rate else "",
        left(progress, rate),
        f"the archive: {progress.circuit}" if progress.circuit else "",
    ]
    return ", ".join(part for part in parts if part)


def left(progress: Progress, rate: float | None) -> str:
    """Say how long it will take, where that can be known."""
    remaining = progress.size_bytes_total - progress.size_bytes
    if remaining <= 0:
        return ""
    if progress.circuit:
        return "waiting"
    if progress.asked and progress.asked >= progress.instances_total - progress.instances:
        return f"asking the archive about {words.count(progress.asked, 'instance')}"
    if rate is None:
        return "time left unknown yet"
    estimate = words.span(remaining / rate)
    return f"more than {estimate} left, folders still being read" if progress.scanning else f"{estimate} left"


@contextmanager
def shown(mode: str) -> Iterator[Callable[[Progress], None]]:
    """Show progress as "bar", "lines" or "none"; gives what is to be called as a run goes on."""
    if mode == "none":
        yield lambda _progress: None
    elif mode == "lines":
        yield _Lines().show
    else:
        with _bars() as show:
            yield show


def mode_for(stream_is_terminal: bool, wanted: bool | None, quiet: bool) -> str:
    """Say how progress is shown: bars on a terminal, else lines; `wanted` is the person's own word."""
    if quiet or wanted is False:
        return "none"
    return "bar" if stream_is_terminal else "lines"


@contextmanager
def counted(mode: str, noun: str, total: int | None) -> Iterator[Callable[[int, int, int | None], None]]:
    """Show how many of something are done, and their bytes; gives what is to be called as that goes on.

    It takes how many are done, their bytes, and how many there will be where that is learnt late.
    """
    if mode != "bar":
        yield lambda _done, _size_bytes, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    rate = Rate()
    columns = (TextColumn(noun), BarColumn(bar_width=None), TextColumn("{task.fields[figures]}"))
    bars = Bars(*columns, console=Console(stderr=True), transient=True, expand=True)
    task = bars.add_task(noun, total=total, figures="")
    with bars:

        def show(done: int, size_bytes: int, late_total: int | None) -> None:
            of = late_total if late_total is not None else total
            speed = rate.update(time.monotonic(), size_bytes)
            figures = f"{done:,}{f'/{of:,}' if of else ''}  {words.size(size_bytes)}"
            figures += f"  {words.size(speed)}/s" if speed else ""
            bars.update(task, completed=done, total=of, figures=figures)

        yield show


class _Lines:
    """A line every ten seconds, on standard error."""

    def __init__(self) -> None:
        self._rate = Rate()
        self._last = time.monotonic()

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        rate = self._rate.update(now, progress.size_bytes)
        if now - self._last >= LINE_EVERY_SECONDS:
            self._last = now
            sys.stderr.write(told(progress, rate) + "\n")


@contextmanager
def _bars() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    rate = Rate()
    bars = Bars(
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[figures]}", justify="right"),
        console=Console(stderr=True),
        transient=True,
        expand=True,
    )
    # All lines are there before the first frame: a display that grows while lines are logged leaves rags.
    tasks = [bars.add_task(name, total=None, figures="") for name in ("studies", "instances", "bytes")]
    note = bars.add_task("", total=1, completed=0, figures="reading folders")
    with bars:

        def show(progress: Progress) -> None:
            for task, (done, total, figures) in zip(tasks, _figures(progress), strict=True):
                bars.update(task, completed=done, total=total or None, figures=figures)
            speed = rate.update(time.monotonic(), progress.size_bytes)
            told_left = left(progress, speed) or ("reading folders" if progress.scanning else "")
            pace = f"{words.size(speed)}/s  " if speed else ""
            trouble = f"the archive: {progress.circuit}  " if progress.circuit else ""
            share = progress.size_bytes / max(1, progress.size_bytes_total)
            bars.update(note, completed=share, figures=trouble + pace + told_left)

        yield show


def _figures(progress: Progress) -> list[tuple[int, int, str]]:
    """Give what the three bars show: how much is done, of how much, and both in words."""
    more = "+" if progress.scanning else ""  # while folders are being read no total is final
    done, total = progress.size_bytes, progress.size_bytes_total
    counted = ((progress.studies, progress.studies_total), (progress.instances, progress.instances_total))
    figures = [(n, of, f"{n:,}/{of:,}{more}") for n, of in counted]
    return [*figures, (done, total, f"{words.size(done)}/{words.size(total)}{more}")]


_COLOURS = {
    "wrong": "bold white on red",
    "person": "bold black on yellow",
    "note": "bold green",
    "well": "bold green",
}


def live(look: Callable[[], tuple[str, str, str]], every_seconds: float) -> NoReturn:
    """Show a headline and what follows on the whole terminal, looked at anew every so often, until Ctrl-C.

    `look` gives a level of `concerns`, the headline, and the rest.
    """
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    def screen() -> Group:
        level, headline, rest = look()
        return Group(Text(headline, style=_COLOURS[level]), Text(rest, no_wrap=True, overflow="ellipsis"))

    with Live(screen(), console=Console(), screen=True, auto_refresh=False) as shown:
        while True:
            time.sleep(every_seconds)
            shown.update(screen(), refresh=True)

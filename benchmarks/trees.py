"""What a folder costs as it grows: a first scan, an unchanged one, a start with everything pending.

    python -m benchmarks.trees --files 10000 1000000

Each is a process of its own that sends nothing. The cost of a file is processor time, less what the same
takes with an empty folder: if it grows with the tree, something is read or kept that need not be.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.goals import GOALS, Finding
from benchmarks.measuring import Sample, compile_all, run, table
from dicomsync import jobs
from dicomsync.batching import Caps
from dicomsync.dicomweb import Archive
from dicomsync.engine import Engine
from dicomsync.hands import Threads
from dicomsync.ledger import Ledger
from dicomsync.model import Folder
from dicomsync.samples import instance, retold, uid
from dicomsync.service import moment, tame_malloc
from dicomsync.work import Pace

FILES_A_DIRECTORY = 100
URL = "http://127.0.0.1:1"
FIRST, SECOND, UNCHANGED, RESTART = "first scan", "second scan", "unchanged scan", "start, all pending"


@dataclass(frozen=True, slots=True)
class Measured:
    """What one tree took."""

    files: int
    samples: dict[str, Sample]


def grow(folder: Path, files: int) -> None:
    """Write whole instances of a few hundred bytes, a study a directory."""
    old = (uid("t"), uid("t", 0), uid("t", 0, 0))
    template = instance(
        study_uid=old[0], series_uid=old[1], sop_uid=old[2], rows=1, columns=1, pixels=b"\0\0"
    )
    for number in range(files):
        study, place = divmod(number, FILES_A_DIRECTORY)
        directory = folder / f"{study // 100:04}" / f"{study:06}"
        if not place:
            directory.mkdir(parents=True)
        new = (uid("tree", study), uid("tree", study, 0), uid("tree", study, 0, place))
        (directory / f"{place:03}.dcm").write_bytes(retold(template, dict(zip(old, new, strict=True))))
    for directory in (folder, *folder.glob("*/"), *folder.glob("*/*/")):
        os.utime(directory, (1e9, 1e9))


def measure(files: int, place: Path) -> Measured:
    """Grow a tree and take it through all its lives."""
    with tempfile.TemporaryDirectory(dir=place) as home:
        tree, ledger = Path(home) / "tree", Path(home) / "ledger.db"
        tree.mkdir()
        grow(tree, files)
        each = [sys.executable, "-m", "benchmarks.trees", "--tree", str(tree), "--ledger", str(ledger)]
        samples = {name: run(each) for name in (FIRST, SECOND)}
        samples[UNCHANGED] = min((run(each) for _ in range(3)), key=lambda one: one.cpu_seconds)
        if files:
            samples[RESTART] = run([*each, "--restart"])
    return Measured(files, samples)


def findings(sizes: Sequence[int], place: Path) -> Iterator[Finding]:
    """Say what a file costs in the largest tree against a smaller one, and the memory of the largest.

    A first scan is held against that of the smallest; an unchanged one, which takes a fiftieth, against that
    of the largest but one: of a small tree it is lost in the start.
    """
    empty, *grown = [measure(files, place) for files in (0, *sizes)]
    large = grown[-1]
    for name, less in ((FIRST, grown[0]), (UNCHANGED, grown[-2])):
        each = [cost_us(one, empty, name) for one in (less, large)]
        rss = large.samples[name].rss_bytes / 2**20
        detail = f"{less.files:,} and {large.files:,} files: {each[0]:.1f} and {each[1]:.1f} µs, {rss:.0f} MB"
        what = "cost of a file as the tree grows"
        yield Finding(what, name, each[1] / each[0], "x", GOALS[what, name], detail=detail)
        more = (large.samples[name].rss_bytes - less.samples[name].rss_bytes) / 2**20
        yield Finding("more memory as the tree grows", name, more, "MB")
    restart = large.samples[RESTART]
    detail = f"{restart.rss_bytes / 2**20:.0f} MB"
    yield Finding(f"{large.files:,} pending, to the first request", "", restart.seconds, "s", detail=detail)


def cost_us(one: Measured, empty: Measured, name: str) -> float:
    """Give the processor time of a file."""
    less = empty.samples.get(name, empty.samples[UNCHANGED])  # nothing pending is no start with anything
    return 1e6 * (one.samples[name].cpu_seconds - less.cpu_seconds) / one.files


def scanned(tree: Path, ledger: Ledger) -> None:
    """Look into a folder as a backfill does, and send nothing."""
    engine = _engine(tree, ledger, Threads(Engine.workers_for(1, 1)), sends=False)
    while not engine.finished:
        if not engine.turn(moment()):
            engine.wait(moment())


class _UntilItStores(Executor):
    """Answers a probe, leaves everything else undone, and notes the first request that would have gone."""

    def __init__(self) -> None:
        self.stores = False

    def submit(self, fn: Callable[..., Any], /, *_args: Any, **_more: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if fn is jobs.probe:
            future.set_result(jobs.Probed("dicom-server"))
        self.stores = self.stores or fn is jobs.store
        return future


def restarted(tree: Path, ledger: Ledger) -> None:
    """Begin with everything pending, up to the moment in which the first request would go."""
    hands = _UntilItStores()
    engine = _engine(tree, ledger, hands, sends=True)
    while not hands.stores:
        engine.turn(moment())


def _engine(tree: Path, ledger: Ledger, hands: Executor, *, sends: bool) -> Engine:
    pace = Pace(moment(), Caps(), once=True, sends=sends)
    engine = Engine(ledger, [Folder(os.fsencode(tree), settle_seconds=0.0)], Archive(URL), pace, hands)
    engine.begin(moment())
    return engine


def main() -> None:
    """Print a table; or do one scan, as a child."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--work", type=Path, help="where trees and ledgers live meanwhile (a temporary one)")
    parser.add_argument("--tree", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ledger", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--restart", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tree is not None:
        tame_malloc()
        ledger = Ledger.open(options.ledger)
        (restarted if options.restart else scanned)(options.tree, ledger)
        ledger.close()
        return
    compile_all()
    with tempfile.TemporaryDirectory(dir=options.work) as place:
        empty = measure(0, Path(place))
        rows = []
        for files in options.files:
            one = measure(files, Path(place))
            for name, sample in one.samples.items():
                each = f"{cost_us(one, empty, name):.1f}"
                rss = f"{sample.rss_bytes / 2**20:.0f}"
                rows.append((f"{files:,} files", name, f"{sample.seconds:.1f}", each, rss))
    print(table(("tree", "what", "seconds", "µs of CPU a file", "MB"), rows))


if __name__ == "__main__":
    main()

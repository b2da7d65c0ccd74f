"""Commands that send nothing: how fast they start, and what a look at an unchanged tree costs."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.corpora import Corpus
from benchmarks.goals import GOALS, Finding
from benchmarks.measuring import Runs, in_turn, median, ratios, run, seconds_of
from benchmarks.senders import DICOMSYNC
from benchmarks.servers import Starts
from benchmarks.uploads import memory
from dicomsync.ledger import Ledger

CLICK = "python -c 'import click'"
FIND = "find -printf"
ENTRY = [sys.executable, "-c", "from dicomsync.cli import main; main()"]  # what the installed script is


def startup(rounds: int, place: Path) -> Iterator[Finding]:
    """`--help` and `status` of an empty ledger, against Python with click."""
    with tempfile.TemporaryDirectory(dir=place) as home:
        ledger = Path(home) / "ledger.db"
        Ledger.open(ledger).close()
        config = Path(home) / "config.toml"
        config.write_text(f'[ledger]\npath = "{ledger}"\n[archive]\nurl = "http://127.0.0.1:1"\n')
        runs = in_turn(
            {
                CLICK: partial(run, [sys.executable, "-c", "import click"]),
                "--help": partial(run, [*ENTRY, "--help"]),
                "status": partial(run, [*ENTRY, "status", "-c", str(config)]),
            },
            rounds,
        )
    for name in ("--help", "status"):
        yield _against(name, CLICK, runs, f"{1000 * median(seconds_of(runs[name])):.0f} ms")


def rescan(tree: Corpus, start: Starts, rounds: int, place: Path) -> Iterator[Finding]:
    """Run a backfill with nothing left to do, against `find -printf`; then without its start and end."""
    with (
        tempfile.TemporaryDirectory(dir=place) as home,
        tempfile.TemporaryDirectory(dir=place) as nothing,
        start() as server,
    ):
        backfill = DICOMSYNC.command(tree.path, server, Path(home))
        run(backfill)
        first_ledger = Path(home) / "empty"
        first_ledger.mkdir()
        runs = in_turn(
            {
                "unchanged rescan": partial(run, backfill),
                FIND: partial(run, ["find", str(tree.path), "-printf", "%p %s %T@\\n"]),
                "nothing": partial(run, DICOMSYNC.command(Path(nothing), server, first_ledger)),
            },
            rounds,
        )
    yield _against(
        "unchanged rescan", FIND, runs, f"{tree.files} files", f"{median(seconds_of(runs[FIND])):.2f} s"
    )
    ours, empty = seconds_of(runs["unchanged rescan"]), seconds_of(runs["nothing"])
    net = [one - other for one, other in zip(ours, empty, strict=True)]
    found = ratios(net, seconds_of(runs[FIND]))
    yield Finding("unchanged rescan, start-up taken off", FIND, median(found), rounds=tuple(found))
    yield memory("unchanged rescan, memory", runs["unchanged rescan"])


def _against(name: str, other: str, runs: Runs, *detail: str) -> Finding:
    found = ratios(seconds_of(runs[name]), seconds_of(runs[other]))
    return Finding(name, other, median(found), "x", GOALS.get((name, other)), tuple(found), ", ".join(detail))

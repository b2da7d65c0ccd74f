"""The defaults beside fixed numbers of requests at a time, on archives and links that want different ones.

And a study as large as ten, beside the ten: it has as many requests on their way as they.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.corpora import Corpus
from benchmarks.goals import GOALS, Finding
from benchmarks.measuring import in_turn, median, ratios, seconds_of
from benchmarks.senders import DICOMSYNC, Command, Sender, dicomsync
from benchmarks.servers import Server, Starts
from benchmarks.uploads import send
from tests.faultproxy import FaultProxy, Line

FIXED = (1, 2, 4, 8, 16)
LATENCY_SECONDS = 0.05  # there and back
BYTES_PER_SECOND = 100e6

_FAR = Line(latency_seconds=LATENCY_SECONDS / 2)
LINES: Mapping[str, tuple[Line, Line]] = {
    "50 ms away": (_FAR, _FAR),
    "at 100 MB/s": (Line(bytes_per_second=BYTES_PER_SECOND), Line()),
}
"""Ways to an archive: of the requests, and of the answers."""


def over(line: tuple[Line, Line], start: Starts) -> Starts:
    """Give what starts a server at the other end of a line."""

    @contextmanager
    def started() -> Iterator[Server]:
        with start() as server, FaultProxy(server.url) as network:
            network.requests, network.answers = line
            yield replace(server, url=network.url)

    return started


def against_fixed(title: str, corpus: Corpus, start: Starts, rounds: int, place: Path) -> Finding:
    """Say how much longer the defaults take than the best fixed number of requests."""
    senders = {"default": DICOMSYNC, **{str(n): Sender(str(n), _fixed(n)) for n in FIXED}}
    runs = in_turn({name: partial(send, one, corpus, start, place) for name, one in senders.items()}, rounds)
    seconds = {name: median(seconds_of(samples)) for name, samples in runs.items()}
    best = min((str(n) for n in FIXED), key=seconds.__getitem__)
    found = ratios(seconds_of(runs["default"]), seconds_of(runs[best]))
    detail = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())
    against = "the best fixed number"
    return Finding(
        title, against, median(found), "x", GOALS.get((title, against)), tuple(found), f"{best}: {detail}"
    )


def one_study(title: str, one: Corpus, ten: Corpus, start: Starts, rounds: int, place: Path) -> Finding:
    """Say how much longer one study takes than ten that hold as much together."""
    runs = in_turn(
        {corpus.name: partial(send, DICOMSYNC, corpus, start, place) for corpus in (one, ten)}, rounds
    )
    found = ratios(seconds_of(runs[one.name]), seconds_of(runs[ten.name]))
    detail = f"{median(seconds_of(runs[one.name])):.2f} against {median(seconds_of(runs[ten.name])):.2f} s"
    against = "ten as large together"
    return Finding(title, against, median(found), "x", GOALS.get((title, against)), tuple(found), detail)


def _fixed(requests: int) -> Command:
    def command(folder: Path, server: Server, place: Path) -> Sequence[str]:
        words = dicomsync(folder, server, place)[3:]
        return [sys.executable, "-m", "benchmarks.fixed", str(requests), *words]

    return command

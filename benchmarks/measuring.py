"""What all measurements share: whole processes timed, rounds in which everyone runs in turn, medians, tables.

Only ratios within one round are claims: absolute speeds swing with the machine, and what swings it does so
to all who run next to one another.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RUN_SECONDS = 1800.0
_LAUNCHER = Path(__file__).with_name("launch.py")
_ROOT = Path(__file__).resolve().parent.parent
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
_ENVIRONMENT["PYTHONPATH"] = str(_ROOT)


class FailedRun(Exception):
    """A command did not do its work: what it said last."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run took; of a process with all its children but `rss_bytes`, which is that of the largest."""

    seconds: float
    cpu_seconds: float = 0.0
    rss_bytes: int = 0


def run(command: Sequence[str], environment: Mapping[str, str] | None = None, ok: int = 0) -> Sample:
    """Run one command to its end, timed from its start; raises FailedRun if it ends otherwise than `ok`."""
    with tempfile.TemporaryDirectory() as place, (Path(place) / "said").open("w+b") as said:
        report = Path(place) / "report"
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_LAUNCHER), str(report), *command],
            stdout=subprocess.DEVNULL,
            stderr=said,
            env={**_ENVIRONMENT, **(environment or {})},
            start_new_session=True,
        )
        try:
            process.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            raise FailedRun(f"{command[0]} was not done after {RUN_SECONDS:.0f} s") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        seconds, cpu_seconds, rss_bytes, code = report.read_text().split() if report.exists() else "0001"
        if int(code) != ok:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
            raise FailedRun(f"{command[0]} ended with {code}, and said: {last[0]}")
    return Sample(float(seconds), float(cpu_seconds), int(rss_bytes))


def compile_all() -> None:
    """Compile our modules, as they are where they are installed: else every run of ours would do it."""
    run([sys.executable, "-m", "compileall", "-q", str(_ROOT / "dicomsync"), str(_ROOT / "benchmarks")])


Runs = dict[str, list[Sample]]
"""The samples of everyone who ran, a round each, in the same order for all."""


def in_turn(
    runners: Mapping[str, Callable[[], Sample]],
    rounds: int,
    failed: Callable[[str, FailedRun], None] | None = None,
) -> Runs:
    """Run everyone once a round; who went first in one round goes last in the next.

    Who fails is told to `failed` and runs no more; without it, or where that raises, everything ends.
    """
    found: Runs = {name: [] for name in runners}
    order = list(runners)
    for _ in range(rounds):
        for name in tuple(order):
            try:
                found[name].append(runners[name]())
            except FailedRun as problem:
                if failed is None:
                    raise
                failed(name, problem)
                order.remove(name)
                del found[name]
        order.append(order.pop(0))
    return found


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Divide two columns round by round."""
    return [one / other for one, other in zip(above, below, strict=True)]


def seconds_of(samples: Sequence[Sample]) -> list[float]:
    """Give the wall times."""
    return [one.seconds for one in samples]


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value below which `share` of them are, nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


median = statistics.median


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Set rows in columns; all but the first two are flushed right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()

    return "\n".join([line(heads), line(["-" * width for width in widths]), *map(line, rows)])

"""Readers never hold the daemon up, whatever they do while it stores at full speed."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from dicomsync import facts
from dicomsync.errors import LedgerProblem
from dicomsync.ledger import Reader
from dicomsync.samples import write_ct_files

from .test_daemon import Site, opened, until

COUNT, STUDIES = 3000, 30
WRITTEN_BACK_BYTES = 4_000 * (4_096 + 24)  # so long the log becomes before it is written back
TIMED = """
import atexit, time
from dicomsync.engine import Engine
turn, longest = Engine.turn, [0.0]
def timed(self, now):
    began = time.monotonic()
    try:
        return turn(self, now)
    finally:
        longest[0] = max(longest[0], time.monotonic() - began)
Engine.turn = timed
atexit.register(lambda: print(f"longest turn {longest[0]:.3f} s"))
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with opened(tmp_path, TIMED) as one:
        yield one


class Crowd:
    """Looks at a ledger from all sides until told to stop."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self._stop = threading.Event()
        self.looks = self.commands = 0
        self.problems: list[str] = []

    @contextmanager
    def looking(self) -> Iterator[Crowd]:
        threads = [threading.Thread(target=one) for one in (self._look, self._look, self._ask)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _look(self) -> None:
        """Read as `status` and `explain` do, again and again."""
        while not self._stop.is_set():
            try:
                with Reader.open(self._ledger) as reader:
                    facts.snapshot(reader, 0.0)
                    reader.outcomes()
                    reader.problems(10)
                self.looks += 1
            except LedgerProblem as problem:
                self.problems.append(problem.message)

    def _ask(self) -> None:
        """Ask by command."""
        while not self._stop.is_set():
            command = [sys.executable, "-m", "dicomsync", "status", "--ledger", str(self._ledger)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            self.commands += 1
            if done.returncode:
                self.problems.append(done.stderr)


@contextmanager
def long_look(ledger: Path) -> Iterator[None]:
    """Begin to read, and do not end: as a person does who leaves a shell open within a transaction."""
    with closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True, isolation_level=None)) as database:
        database.execute("BEGIN")
        database.execute("SELECT count(*) FROM instances").fetchone()
        yield
        with suppress(sqlite3.Error):
            database.execute("ROLLBACK")


def log_bytes(site: Site) -> int:
    """Say how long the write-ahead log is."""
    return Path(f"{site.ledger}-wal").stat().st_size


def longest_turn_seconds(site: Site) -> float:
    """End the daemon and say how long its longest turn took."""
    site.tell(signal.SIGTERM)
    assert site.ends() == 0
    assert "The ledger" not in site.said(), "no trouble was told"
    return float(site.said().rsplit("longest turn ")[1].split()[0])


def test_a_crowd_that_looks_all_the_time_holds_nothing_up(site: Site) -> None:
    site.start()
    site.ready()
    crowd = Crowd(site.ledger)
    with crowd.looking():
        write_ct_files(site.folder, count=2 * COUNT, studies=STUDIES, size=8)
        until(lambda: site.stored() == 2 * COUNT, 100)
        grown = log_bytes(site)
    assert crowd.problems == []
    assert crowd.looks > 10
    assert crowd.commands > 0
    assert grown < 2 * WRITTEN_BACK_BYTES + 4_000_000, "between the readers there is room to write it back"
    assert longest_turn_seconds(site) < 5


def test_a_look_that_never_ends_holds_nothing_up_and_what_it_costs_is_given_back(site: Site) -> None:
    site.start()
    site.ready()
    with long_look(site.ledger):
        write_ct_files(site.folder, count=COUNT, studies=STUDIES, size=8)
        until(lambda: site.stored() == COUNT, 100)
        grown = log_bytes(site)
        assert grown < 30_000 * COUNT, "the log holds what was written since, and no more"
    write_ct_files(site.folder / "more", count=COUNT, studies=STUDIES, size=8, seed=1)
    until(lambda: site.stored() == 2 * COUNT, 100)
    assert log_bytes(site) < max(grown, WRITTEN_BACK_BYTES) + 4_000_000, "it is used again"
    assert longest_turn_seconds(site) < 5
    assert not Path(f"{site.ledger}-wal").exists()

"""A ledger that is looked at for damage while it is used already: nothing counts before the answer."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dicomsync import sandbox, scan
from dicomsync.engine import Engine
from dicomsync.errors import LedgerDamaged
from dicomsync.ledger import Ledger, Reader, damage
from dicomsync.ledger.guard import Seal
from dicomsync.model import Moment
from dicomsync.samples import write_studies
from dicomsync.service import End

from .conftest import Site


class SlowLook:
    """Looks as ever, but not before it is let; or finds what is not there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.let = threading.Event()
        self.finds = False
        self.began = 0
        self._really = damage.look
        monkeypatch.setattr(damage, "look", self._look)

    def _look(self, connection: sqlite3.Connection, **how: object) -> None:
        self.began += 1
        given_up = how.get("given_up")
        while callable(given_up) and not (self.let.wait(0.01) or given_up()):
            pass
        if self.finds:
            self.finds = False
            raise sqlite3.DatabaseError("malformed")
        self._really(connection, **how)  # type: ignore[arg-type]  # as it was called


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> SlowLook:
    return SlowLook(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger that is sound, as it was closed."""
    path = tmp_path / "ledger.db"
    with closing(Ledger.open(path)) as ledger, ledger.transaction():
        ledger.set_fact("a", "1")
    return path


@pytest.fixture
def site(site: Site, sandboxed: sandbox.Archive) -> Site:
    """Twelve images, all stored."""
    write_studies(site.folder, studies=2, series=2, instances=3, rows=8, columns=8)
    for one in site.folder.rglob("*"):
        os.utime(one, (1, 1))
    assert site.backfill(sandboxed.url).stored == 12
    assert site.backfill(sandboxed.url).stored == 0  # every directory agrees with the ledger
    return site


def on_disk(path: Path) -> str | None:
    """What others can read of a fact meanwhile."""
    with Reader.open(path) as reader:
        row = reader._db.execute("SELECT value FROM facts WHERE name = 'a'").fetchone()
    return None if row is None else str(row[0])


def test_a_change_is_committed_after_the_look_has_answered_and_not_before(path: Path, look: SlowLook) -> None:
    def allow() -> None:
        seen.append(on_disk(path))
        look.let.set()

    seen: list[str | None] = []
    with closing(Ledger.open(path, mends=True, beside=True)) as ledger:
        with ledger.transaction():
            assert ledger.fact("a") == "1"  # what changes nothing does not wait
        assert not ledger.believable
        waiting = threading.Timer(0.2, allow)
        waiting.start()
        with ledger.transaction():
            ledger.set_fact("a", "2")
        waiting.join()
        assert ledger.believed
    assert seen == ["1"]
    assert on_disk(path) == "2"


def test_of_a_ledger_that_is_damaged_nothing_is_changed_and_the_next_start_mends_it(
    path: Path, look: SlowLook
) -> None:
    before = path.read_bytes()
    look.let.set()
    look.finds = True
    with (
        closing(Ledger.open(path, mends=True, beside=True)) as ledger,
        pytest.raises(LedgerDamaged, match="damaged; nothing was recorded"),
        ledger.transaction(),
    ):
        ledger.set_fact("a", "2")
    assert path.read_bytes() == before
    with open(f"{path}.lock", "rb") as lock:
        seal = Seal.read(lock.fileno())
    assert seal is not None
    assert seal.damaged, "the next start looks first, and to the end"


def test_one_that_is_suspected_or_new_is_looked_at_first(tmp_path: Path, look: SlowLook) -> None:
    look.let.set()
    path = tmp_path / "ledger.db"
    with closing(Ledger.open(path, mends=True, beside=True)) as ledger:
        assert ledger.believed
        with pytest.raises(LedgerDamaged), ledger.transaction():
            raise_damage(ledger)
    with closing(Ledger.open(path, mends=True, beside=True)) as ledger:
        assert ledger.believed
    assert look.began == 2


def raise_damage(ledger: Ledger) -> None:
    """Come upon damage, as SQLite does."""
    ledger.connection.execute("PRAGMA writable_schema = 1")
    ledger.connection.execute("UPDATE sqlite_schema SET rootpage = 99999 WHERE name = 'history'")
    ledger.connection.execute("PRAGMA writable_schema = RESET")
    ledger.connection.execute("SELECT * FROM history").fetchall()


def test_a_ledger_that_is_closed_waits_for_no_answer(path: Path, look: SlowLook) -> None:
    ledger = Ledger.open(path, mends=True, beside=True)
    ledger.close()
    assert not look.let.is_set()
    Ledger.open(path).close()  # and its lock is free


def test_opening_a_sound_ledger_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    Ledger.open(path, mends=True).close()
    Ledger.open(path, mends=True, beside=True).close()
    assert path.read_bytes() == before


def test_a_state_that_no_row_can_have_is_damage_to_a_look_beside_too(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA ignore_check_constraints = 1")
        db.execute("INSERT INTO directories (id, folder_id, path) VALUES (1, 1, x'2f')")
        db.execute(
            """INSERT INTO files (directory_id, name, size_bytes, mtime_ns, ctime_ns, inode, state, seen_at)
            VALUES (1, x'61', 1, 1, 1, 1, 'reddy', 0)"""
        )
    with (
        closing(Ledger.open(path, mends=True, beside=True)) as ledger,
        pytest.raises(LedgerDamaged),
        ledger.transaction(),
    ):
        ledger.set_fact("a", "2")


# a backfill


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def flip(number: int) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[4096 * number : 4096 * number + 4096] = b"\xa5" * 4096
        path.write_bytes(content)

    return act


@pytest.mark.parametrize("spoil", [cut, flip(3), flip(9)], ids=["cut", "page 3", "page 9"])
def test_a_backfill_over_a_damaged_ledger_asks_about_everything_and_sends_nothing(
    site: Site, sandboxed: sandbox.Archive, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(site.ledger)
    before = site.ledger.read_bytes()
    stores = sum(request.method == "POST" for request in sandboxed.requests)
    report = site.backfill(sandboxed.url)
    assert (report.end, report.exit_code) == (End.FINISHED, 0)
    assert sum(request.method == "POST" for request in sandboxed.requests) == stores
    (aside,) = (one for one in site.ledger.parent.glob("ledger.db.damaged-*"))
    assert aside.read_bytes() == before
    assert "moved aside, whole" in caplog.text


@pytest.fixture
def ahead(look: SlowLook, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What is done when all is listed and the look still has no answer; then it gets one."""
    then: list[Callable[[], None]] = []
    really = Engine.look_ahead

    def look_ahead(engine: Engine, now: Moment) -> bool:
        more = really(engine, now)
        if not more:
            for act in then:
                act()
            look.let.set()
        return more

    monkeypatch.setattr(Engine, "look_ahead", look_ahead)
    return then


def test_before_the_answer_folders_are_listed_and_nothing_is_written_or_sent(
    site: Site, sandboxed: sandbox.Archive, ahead: list[Callable[[], None]]
) -> None:
    def told() -> tuple[int, int]:
        with closing(sqlite3.connect(site.ledger)) as other:
            (passes,) = other.execute("SELECT max(scan) FROM folders").fetchone()
        return len(sandboxed.requests), passes

    write_studies(site.folder / "new", studies=1, series=1, instances=2, rows=8, columns=8, seed=9)
    before, seen = told(), list[tuple[int, int]]()
    ahead.append(lambda: seen.append(told()))
    assert site.backfill(sandboxed.url).stored == 2
    assert seen == [before]


def test_what_was_listed_before_damage_was_found_is_forgotten_and_listed_anew(
    site: Site, sandboxed: sandbox.Archive, look: SlowLook, ahead: list[Callable[[], None]]
) -> None:
    write_studies(site.folder / "new", studies=1, series=1, instances=2, rows=8, columns=8, seed=9)
    look.finds = True
    listed: list[bool] = []
    ahead.append(lambda: listed.append(True))
    report = site.backfill(sandboxed.url)
    assert listed == [True, True], "with the ledger that was damaged, and with the new one"
    assert look.began == 2, "once more, to the end, and then nothing was found"
    assert (report.stored, report.exit_code) == (2, 0)
    with Reader.open(site.ledger) as reader:
        assert sum(one.n for one in reader.outcomes()) == 14


@pytest.fixture
def turned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many directories had been listed at each full turn of the loop; each step lists one."""
    found: list[int] = []
    turn, step = Engine.turn, scan.step
    monkeypatch.setattr(scan, "step", lambda folder, at, mount, most: step(folder, at, mount, 1))

    def turning(engine: Engine, now: Moment) -> bool:
        found.append(engine.intakes[0].passes.listed)
        return turn(engine, now)

    monkeypatch.setattr(Engine, "turn", turning)
    return found


def sequence(ledger: Path) -> int:
    with closing(sqlite3.connect(ledger)) as other:
        return int(other.execute("SELECT value FROM facts WHERE name = 'sequence'").fetchone()[0])


def test_all_that_is_unchanged_is_listed_before_the_first_full_turn_and_with_few_commits(
    site: Site, sandboxed: sandbox.Archive, turned: list[int]
) -> None:
    before = sequence(site.ledger)
    assert site.backfill(sandboxed.url).exit_code == 0
    assert turned[0] == 7
    assert sequence(site.ledger) <= before + 2


def test_full_turns_begin_as_soon_as_something_is_new(
    site: Site, sandboxed: sandbox.Archive, turned: list[int]
) -> None:
    write_studies(site.folder, studies=1, series=1, instances=1, rows=8, columns=8, seed=9)
    report = site.backfill(sandboxed.url, dry_run=True)  # on a ledger that waits for no look
    assert turned[0] < 7
    assert report.due == 1


def test_full_turns_begin_at_once_where_something_waits_to_be_stored(
    site: Site, sandboxed: sandbox.Archive, turned: list[int]
) -> None:
    with closing(sqlite3.connect(site.ledger)) as other, other:
        other.execute("UPDATE instances SET state = 'pending' WHERE id = 1")
    assert site.backfill(sandboxed.url, dry_run=True).due == 1
    assert turned[0] == 0

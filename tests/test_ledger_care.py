"""`ledger info|backup|check|rebuild|rebind|prune`, as people run them, and what each must never do."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dicomsync import samples, sandbox
from dicomsync.ledger import Ledger, Reader
from dicomsync.ledger.checking import check
from dicomsync.ledger.copying import backup
from tests.conftest import AnyArchive, Site, by_uid, eventually, same_from_128, small, uid_of
from tests.recording_proxy import RecordingProxy

from .world import STUDY, World

CONFIG = "-c"


def filled(site: Site, url: str, studies: int = 2, instances: int = 6) -> list[Path]:
    """Store some studies, and leave the config and the ledger behind."""
    files = samples.write_studies(
        site.folder, studies=studies, series=1, instances=instances, rows=16, columns=16, seed=7
    )
    site.configure(url)
    assert site.run_backfill().code == 0
    return files


def tamper(site: Site, *statements: str) -> None:
    with closing(sqlite3.connect(site.ledger)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


# info


def test_info_says_what_it_is_and_who_has_it(site: Site, sandboxed: sandbox.Archive) -> None:
    filled(site, sandboxed.url)
    done = site.run("ledger", "info", "--ledger", site.ledger)
    assert done.code == 0, done
    for word in (str(site.ledger), "12 instances of 2 studies", sandboxed.url, "by nobody", "m001"):
        assert word in done.out
    owner = Ledger.open(site.ledger)
    found = site.run("ledger", "info", CONFIG, site.config_file, "--json").json
    owner.close()
    assert found["holder"] == os.getpid()
    assert found["counts"]["instances"]["stored"] == 12
    assert found["doubt"] is None


# backup


def test_a_backup_is_the_ledger_whole_for_its_owner_alone_and_replaces_nothing(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    filled(site, sandboxed.url)
    target = site.home / "backup.db"
    assert site.run("ledger", "backup", target, "--ledger", site.ledger).code == 0
    assert target.stat().st_mode & 0o777 == 0o600
    with Reader.open(target) as reader, Reader.open(site.ledger) as own:
        assert reader.counts() == own.counts()
    before = target.read_bytes()
    again = site.run("ledger", "backup", target, "--ledger", site.ledger)
    assert again.code == 2
    assert "--force" in again.err
    assert target.read_bytes() == before
    assert site.run("ledger", "backup", target, "--ledger", site.ledger, "--force").code == 0
    assert site.run("ledger", "backup", site.ledger, "--ledger", site.ledger, "--force").code == 2
    assert {path.name for path in site.home.glob("*.db*")} == {"backup.db"}


def test_a_backup_that_cannot_be_made_leaves_nothing(site: Site, sandboxed: sandbox.Archive) -> None:
    filled(site, sandboxed.url)
    assert site.run("ledger", "backup", site.home / "none" / "b.db", "--ledger", site.ledger).code == 1
    none = site.run("ledger", "backup", site.home / "b.db", "--ledger", site.home / "no.db")
    assert none.code == 1
    assert "There is no ledger" in none.err
    with site.ledger.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * 4096)
    damaged = site.run("ledger", "backup", site.home / "b.db", "--ledger", site.ledger)
    assert damaged.code == 1
    assert "damaged" in damaged.err
    assert not list(site.home.glob("*b.db*"))


def test_a_backup_keeps_no_writer_waiting_and_is_of_one_moment(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    with ledger.transaction():
        for n in range(20_000):
            ledger.remember("archive", n, "x" * 500, "", 0.0)
    copies: list[int] = []
    backs = threading.Thread(target=lambda: copies.append(backup(path, tmp_path / "copy.db")))
    backs.start()
    slowest, n = 0.0, 20_000
    while backs.is_alive():
        began = time.monotonic()
        with ledger.transaction():  # two rows each time: a copy of half a transaction would be odd
            ledger.remember("archive", n, "a", "", 0.0)
            ledger.remember("archive", n, "b", "", 0.0)
        slowest, n = max(slowest, time.monotonic() - began), n + 1
    backs.join()
    ledger.close()
    assert copies[0] > 10_000_000
    assert slowest < 2.0
    with closing(sqlite3.connect(tmp_path / "copy.db")) as db:
        rows = db.execute("SELECT count(*) FROM history").fetchone()[0]
    assert rows >= 20_000
    assert rows % 2 == 0


def test_going_back_to_a_backup_sends_nothing_that_was_stored_since(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    filled(site, sandboxed.url)
    site.run("ledger", "backup", site.home / "b.db", "--ledger", site.ledger)
    more = small("later")
    site.write("later.dcm", more)
    assert site.run_backfill().code == 0
    shutil.copyfile(site.home / "b.db", site.ledger)
    with RecordingProxy(sandboxed.url) as proxy:
        tamper_url(site, proxy.url)
        done = site.run_backfill()
        assert proxy.stores == []
    assert done.code == 0, done
    assert "it is an older copy of itself" in done.err
    assert site.instances() == {"stored": 13}
    status = site.run("status", "--ledger", site.ledger)
    assert "in doubt since it was opened" in status.out


def tamper_url(site: Site, url: str) -> None:
    """Let ledger and config speak of a proxy before the archive."""
    tamper(site, f"UPDATE facts SET value = '{url}' WHERE name = 'archive'")
    site.configure(url)


# check


def test_a_ledger_that_is_as_it_should_be_passes_also_while_it_is_written(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    filled(site, sandboxed.url)
    done = site.run("ledger", "check", "--ledger", site.ledger)
    assert (done.code, "whole" in done.out) == (0, True), done
    ledger = Ledger.open(site.ledger)
    with ledger.transaction():
        ledger.set_fact("a", "b")
    assert check(site.ledger) == []
    ledger.close()
    assert "a copy" not in done.out
    assert site.run("ledger", "backup", site.home / "copy.db", "--ledger", site.ledger).code == 0
    copy = site.run("ledger", "check", "--ledger", site.home / "copy.db")
    assert (copy.code, "it is a copy" in copy.out) == (0, True), "a whole backup is no fault"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE counts SET n = n + 1 WHERE state = 'stored'", "instances stored: 13 are counted, 12 are"),
        ("UPDATE studies SET pending = 5 WHERE id = 1", "the sums of 1 studies"),
        ("UPDATE files SET instance_id = NULL WHERE id = 1", "1 whole files belong to no instance"),
        ("UPDATE files SET instance_id = 999 WHERE id = 1", "point to rows that are not there (files)"),
        ("UPDATE instances SET stored_at = NULL WHERE id < 3", "2 stored instances do not say since when"),
        ("UPDATE instances SET waits = 1 WHERE id = 1", "1 instances are not found by what their state is"),
        ("UPDATE instances SET claims = NULL WHERE id = 1", "1 instances are not found by what their state"),
        ("UPDATE instances SET state = 'sending' WHERE id = 1", "1 instances are on their way in no request"),
        ("UPDATE facts SET value = '1' WHERE name = 'sequence'", "it is an older copy of itself"),
        ("UPDATE facts SET value = 'x' WHERE name = 'ledger'", "it is not the one that was there before"),
    ],
)
def test_what_does_not_add_up_is_said_in_words(
    site: Site, sandboxed: sandbox.Archive, statement: str, words: str
) -> None:
    filled(site, sandboxed.url)
    tamper(site, statement)
    done = site.run("ledger", "check", "--ledger", site.ledger)
    assert done.code == 1, done
    assert words in done.out
    assert site.run("ledger", "check", "--ledger", site.ledger, "--json").json["faults"]


def test_two_claims_to_one_uid_are_found_without_the_index_that_forbids_them(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    filled(site, sandboxed.url)
    tamper(
        site,
        "DROP INDEX instances_claim",
        "UPDATE instances SET sop_instance_uid = (SELECT sop_instance_uid FROM instances WHERE id = 1)"
        " WHERE id = 2",
    )
    assert any("1 SOP Instance UIDs are claimed by more" in one for one in check(site.ledger))


@pytest.mark.parametrize("damage", ["empty", "gone", "page", "header"])
def test_damage_is_told_and_nothing_is_touched(site: Site, sandboxed: sandbox.Archive, damage: str) -> None:
    filled(site, sandboxed.url)
    match damage:
        case "empty":
            site.ledger.write_bytes(b"")
        case "gone":
            site.ledger.unlink()
        case "page":
            content = bytearray(site.ledger.read_bytes())
            content[8192:12288] = b"\xa5" * 4096
            site.ledger.write_bytes(content)
        case "header":
            site.ledger.write_bytes(b"x" * 5000)
    names = sorted(os.listdir(site.ledger.parent))
    done = site.run("ledger", "check", "--ledger", site.ledger)
    assert done.code == 1, done
    assert "Traceback" not in done.err
    if damage != "page":  # which nothing but a check need come upon
        looked = site.run("status", "--ledger", site.ledger)
        assert looked.code == 1
        assert "the next `run` or `backfill`" in looked.err, "a person who looks is told what to do"
    assert sorted(os.listdir(site.ledger.parent)) == names


# a start with a damaged ledger


def test_a_backfill_with_a_damaged_ledger_sends_nothing_again_on_any_archive(
    site: Site, archive: AnyArchive
) -> None:
    files = filled(site, archive.url)
    stored = archive.stored()
    with site.ledger.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * 4096)
    site.write("new.dcm", small("new"))
    with RecordingProxy(archive.url) as proxy:
        site.configure(proxy.url)  # the new ledger knows of no archive
        done = site.run_backfill()
        assert sum(proxy.given_whole().values()) == 1
    assert done.code == 0, done
    assert "it was damaged" in done.err
    assert str(site.home) not in done.err
    assert site.instances() == {"stored": 13}
    assert same_from_128(archive.stored(), by_uid([*files, site.folder / "new.dcm"]))
    assert stored.items() <= archive.stored().items()
    assert "made anew" in site.run("status", "--ledger", site.ledger).out


def test_a_daemon_with_an_emptied_ledger_asks_and_goes_on(site: Site, sandboxed: sandbox.Archive) -> None:
    filled(site, sandboxed.url)
    site.ledger.write_bytes(b"")
    with RecordingProxy(sandboxed.url) as proxy:
        site.configure(proxy.url)
        daemon = site.start("run", CONFIG, site.config_file)
        eventually(lambda: stored(site) == 12, within=60)
        assert proxy.stores == []
        daemon.terminate()
        assert daemon.wait(20) == 0
    assert "it was empty, and had not been before" in (daemon.stderr.read() if daemon.stderr else "")


def stored(site: Site) -> int:
    try:
        return site.instances().get("stored", 0)
    except Exception:  # it is being made just now
        return 0


def test_a_daemon_whose_ledger_is_removed_ends_and_the_next_start_mends_it(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    filled(site, sandboxed.url)
    daemon = site.start("run", CONFIG, site.config_file)
    eventually(lambda: os.path.exists(site.ledger.with_name("control.sock")))
    for path in site.ledger.parent.glob("ledger.db*"):
        if not path.name.endswith(".lock"):
            path.unlink()
    assert daemon.wait(30) == 1
    assert "removed or replaced" in (daemon.stderr.read() if daemon.stderr else "")
    requests = len(sandboxed.stored())
    assert site.run_backfill().code == 0
    assert site.instances() == {"stored": 12}
    assert len(sandboxed.stored()) == requests


# rebuild


def test_a_rebuilt_ledger_knows_what_the_archive_has_and_sends_nothing(
    site: Site, archive: AnyArchive
) -> None:
    filled(site, archive.url)
    site.write("new.dcm", small("new"))
    before = site.ledger.read_bytes()
    count = archive.count()
    done = site.run("ledger", "rebuild", CONFIG, site.config_file, "--yes")
    assert done.code == 5, done
    assert site.instances() == {"stored": 12, "pending": 1}
    assert site.query("SELECT count(*) FROM instances WHERE verified_at IS NULL") == [(1,)]
    assert archive.count() == count
    (aside,) = (one for one in site.ledger.parent.glob("ledger.db.rebuilt-*") if one.suffix != ".lock")
    assert str(aside) in done.out
    assert aside.read_bytes()[100:] == before[100:]
    assert check(site.ledger) == []
    assert site.run_backfill().code == 0
    assert archive.count() == count + 1


def test_a_ledger_in_use_is_not_rebuilt_and_a_person_is_asked_first(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    filled(site, sandboxed.url)
    names = sorted(os.listdir(site.ledger.parent))
    assert site.run("ledger", "rebuild", CONFIG, site.config_file).code == 130  # nobody to say yes
    owner = Ledger.open(site.ledger)
    assert site.run("ledger", "rebuild", CONFIG, site.config_file, "--yes").code == 73
    assert site.run("ledger", "prune", "--ledger", site.ledger).code == 73
    owner.close()
    assert sorted(os.listdir(site.ledger.parent)) == names


def test_what_a_person_had_deleted_does_not_come_back_by_a_rebuild(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    files = filled(site, sandboxed.url)
    content = files[0].read_bytes()
    (study, series) = site.query(
        """SELECT study_instance_uid, series_instance_uid FROM instances JOIN studies s ON s.id = study_id
        WHERE sop_instance_uid = ?""",
        uid_of(content),
    )[0]
    gone = site.run(
        "archive", "delete", study, series, uid_of(content), CONFIG, site.config_file, "--yes", within=60
    )
    assert gone.code == 0, gone
    done = site.run("ledger", "rebuild", CONFIG, site.config_file, "--yes")
    assert done.code == 0, done
    assert site.run_backfill().code == 0
    assert site.instances() == {"stored": 11, "deleted": 1}
    assert uid_of(content) not in sandboxed.stored()


# rebind


def test_a_ledger_is_bound_to_a_new_address_only_if_all_is_there(
    site: Site, sandboxed: sandbox.Archive, tmp_path: Path
) -> None:
    filled(site, sandboxed.url)
    bind = ("ledger", "rebind", "--ledger", site.ledger, "--yes")
    with sandbox.running(tmp_path / "other") as other:
        refused = site.run(*bind, other.url)
        assert refused.code == 1, refused
        assert "12 of 12 instances that are stored are not there" in refused.err
    away = site.run(*bind, "http://127.0.0.1:9/v2")
    assert away.code == 5, away
    assert site.query("SELECT value FROM facts WHERE name = 'archive'") == [(sandboxed.url,)]
    with RecordingProxy(sandboxed.url) as proxy:
        asked = site.run("ledger", "rebind", "--ledger", site.ledger, proxy.url)
        assert asked.code == 130
        done = site.run(*bind, proxy.url)
        assert done.code == 0, done
        assert "12 were looked for" in done.err
        assert "5 were compared" in done.err
        assert site.run(*bind, proxy.url).code == 2
        site.configure(proxy.url)
        assert site.run_backfill().code == 0
        assert proxy.stores == []


def test_an_archive_with_other_content_is_not_taken_for_the_same(
    site: Site, sandboxed: sandbox.Archive, tmp_path: Path
) -> None:
    files = filled(site, sandboxed.url, studies=1, instances=3)
    with sandbox.running(tmp_path / "other") as other:
        for path in files:
            path.write_bytes(path.read_bytes()[:-1] + b"\x55")
        copied = Site(tmp_path)
        (tmp_path / "incoming").symlink_to(site.folder)
        copied.configure(other.url)
        assert copied.run_backfill("--archive", other.url).code == 0, "the other archive has them too"
        done = site.run("ledger", "rebind", "--ledger", site.ledger, "--yes", other.url)
    assert done.code == 1, done
    assert "are not the same" in done.err


# prune


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    one = World(tmp_path, monkeypatch)
    yield one
    one.check()
    one.die()


def test_only_what_decides_nothing_is_forgotten(world: World) -> None:
    paths = [world.put(f"{n}.dcm", f"{STUDY}.{n}", pixel=n) for n in range(4)]
    world.archive.refuse[f"{STUDY}.3"] = 0xA900
    world.until_done()
    for path in paths:
        path.unlink()
    world.again()
    world.until_done()
    with world.ledger.transaction():
        world.ledger.remember("archive", 0, "old", "", 1.0)
        assert world.reader.prunable(0.0).files == 0
        will = world.reader.prunable(world.now.wall + 1e6)
        done = world.ledger.prune(world.now.wall + 1e6)
    assert done == will
    assert (done.files, done.history >= 1) == (3, True), "the file of what was refused stays"
    assert world.states() == {"stored": 3, "rejected": 1, "file gone": 1}
    world.ledger.vacuum()
    sent = len(world.archive.requests)
    for n, path in enumerate(paths):
        world.put(path.name, f"{STUDY}.{n}", pixel=n)
    world.again()
    world.until_done()
    assert len(world.archive.requests) == sent, "what comes back is known by its content"
    assert world.states() == {"stored": 3, "rejected": 1, "file ready": 4}


def test_a_file_that_comes_back_with_other_content_is_a_conflict_after_pruning_too(world: World) -> None:
    path = world.put("1.dcm", f"{STUDY}.1", pixel=1)
    world.until_done()
    path.unlink()
    world.again()
    world.until_done()
    with world.ledger.transaction():
        world.ledger.prune(world.now.wall + 1e6)
    world.put("1.dcm", f"{STUDY}.1", pixel=2)
    world.again()
    world.until_done()
    assert world.states() == {"stored": 1, "conflict": 1, "file ready": 1}


def test_prune_says_what_it_would_forget_and_changes_nothing(site: Site, sandboxed: sandbox.Archive) -> None:
    filled(site, sandboxed.url)
    tamper(site, "INSERT INTO history (at, what, row, event) VALUES (1, 'archive', 0, 'old')")
    said = site.run("ledger", "prune", "--ledger", site.ledger, "-n")
    assert said.out == "Would forget 1 line of history, 0 finished requests, 0 files that left.\n"
    assert site.query("SELECT count(*) FROM history") == [(1,)]
    done = site.run("ledger", "prune", "--ledger", site.ledger, "--vacuum")
    assert done.out == "Forgot 1 line of history, 0 finished requests, 0 files that left.\n"
    assert site.query("SELECT count(*) FROM history") == [(0,)]
    assert check(site.ledger) == []
    assert site.run("ledger", "prune", "--ledger", site.home / "none.db").code == 1
    assert not (site.home / "none.db").exists()

"""What is known beside the ledger: is a daemon at work, what does it say, and can it be believed?"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dicomsync import facts, status
from dicomsync.concerns import How, Limits
from dicomsync.ledger import Ledger, NewFile, Reader, holding, opening
from dicomsync.model import FileState, Moment, StatKey
from dicomsync.pacing import Circuit, Trouble
from dicomsync.statusfile import Around, StatusFile
from tests.lookout import posted

FOLDER = b"/data/Doe^Jane"
OUTAGE = Circuit(False, Trouble.UNREACHABLE, "connection refused", 3, since=900.0, probe_at=1042.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger that a daemon has once served, with one folder."""
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    with ledger.transaction():
        ledger.begin_scan(FOLDER, time.time())
        ledger.bind("http://archive.test/v2")
        ledger.set_fact(facts.STATUS_FILE, str(tmp_path / "status.json"))
    ledger.close()
    return path


def told(
    path: Path, seconds_ago: float = 0.0, circuit: Circuit = OUTAGE, blocked: tuple[str, float] | None = None
) -> Path:
    """Write status.json as a daemon did that long ago."""
    file = StatusFile(path, "")
    with Reader.open(path) as reader:
        now = Moment(time.time() - seconds_ago, 1000.0)
        file.write(reader, circuit, {FOLDER: "events"}, now, blocked)
    return file.path


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the ledger's lock, as its writer does."""
    lock = opening.take_lock(path)
    try:
        yield
    finally:
        os.close(lock)


def looked(path: Path, later: float = 0.0) -> dict[str, Any]:
    return facts.look(path, time.time() + later, How())


def state(path: Path, later: float = 0.0) -> str:
    return str(looked(path, later)["daemon"]["state"])


def test_a_daemon_that_writes_and_has_the_ledger_is_running(path: Path) -> None:
    told(path)
    with held(path):
        found = looked(path)
    assert found["daemon"]["state"] == "running"
    assert found["daemon"]["pid"] == os.getpid()
    assert found["archive"]["trouble"] == "connection refused"
    assert found["archive"]["trouble_seconds"] == pytest.approx(100, abs=5)
    assert found["archive"]["retry_seconds"] == pytest.approx(42, abs=5)
    assert [one["watch"] for one in found["folders"]] == ["events"]


def test_one_that_was_killed_is_known_by_its_lock_at_once(path: Path) -> None:
    told(path)
    assert state(path) == "stopped"
    assert looked(path)["level"] == "wrong"


def test_one_that_has_the_ledger_and_writes_no_more_is_silent(path: Path) -> None:
    told(path)
    with held(path):
        assert state(path, later=facts.SILENT_SECONDS - 10) == "running"
        assert state(path, later=facts.SILENT_SECONDS + 10) == "silent"


def test_a_backfill_that_has_the_ledger_is_not_taken_for_a_daemon_that_ended(path: Path) -> None:
    file = told(path, 3600)
    known = json.loads(file.read_text())
    known["daemon"]["pid"] = 1
    file.write_text(json.dumps(known))
    with held(path):
        found = looked(path)["daemon"]
    assert (found["state"], found["other_pid"]) == ("stopped", os.getpid())
    assert found["sign_seconds"] == pytest.approx(3600, abs=5)


def test_one_whose_clock_was_ahead_is_not_believed_for_ever(path: Path) -> None:
    told(path, -7200)
    with held(path):
        assert state(path) == "silent"


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"written_at": "soon"}', '{"written_at": 1, "daemon": 5}']
)
def test_a_status_file_that_makes_no_sense_is_as_good_as_none(path: Path, content: str) -> None:
    told(path).write_text(content)
    with held(path):
        assert state(path) == "stopped"


def test_where_no_daemon_ever_was_none_is_missed(tmp_path: Path) -> None:
    Ledger.open(tmp_path / "l.db").close()
    found = looked(tmp_path / "l.db")
    assert (found["daemon"]["state"], found["level"]) == ("never", "well")
    assert "none has ever run" in status.text(found)


def test_where_the_kernels_locks_are_hidden_the_daemons_word_counts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "LOCKS", path / "nothing")
    told(path)
    with held(path):
        assert state(path) == "running"
        assert state(path, later=facts.SILENT_SECONDS + 10) == "stopped"


def test_what_keeps_the_ledger_from_being_written_is_told_by_the_daemon(path: Path) -> None:
    told(path, circuit=Circuit(), blocked=("The ledger cannot grow: its disk is full", time.time() - 60))
    with held(path):
        found = looked(path)
    assert [one["code"] for one in found["concerns"]] == ["ledger-blocked"]
    assert found["headline"].startswith("The ledger cannot grow: its disk is full")
    assert found["concerns"][0]["seconds"] == pytest.approx(60, abs=30)


def test_nothing_in_the_daemons_file_names_a_person_a_place_or_a_host(path: Path) -> None:
    text = told(path).read_text()
    for word in ("Doe", "/data", "archive.test", str(path.parent)):
        assert word not in text
    assert told(path).stat().st_mode & 0o777 == 0o600


def test_the_daemons_file_is_what_status_tells_but_for_names(path: Path) -> None:
    file = told(path)
    with held(path):
        found = facts.for_operators(looked(path))
    kept = json.loads(file.read_text())
    del kept["written_at"]
    assert kept.keys() == found.keys()
    moving = {"at", "daemon", "archive", "ledger", "concerns", "folders", "headline"}
    assert {key: kept[key] for key in kept.keys() - moving} == {
        key: found[key] for key in found.keys() - moving
    }


def test_a_folder_that_cannot_be_read_keeps_what_was_counted_and_since_when(path: Path) -> None:
    ledger = Ledger.open(path)
    with ledger.transaction():
        ledger.end_scan(ledger.begin_scan(FOLDER), 100.0, json.dumps({"files": 7, "seconds": 3.0}))
        ledger.folder_lost(ledger.begin_scan(FOLDER), 200.0, "No such file or directory")
        ledger.folder_lost(ledger.begin_scan(FOLDER), 300.0, "Input/output error")
    with Reader.over(ledger) as reader:
        (folder,) = facts.snapshot(reader, 500.0)["folders"]
        assert (folder["files"], folder["last_scan_seconds"], folder["scan_seconds"]) == (7, 400.0, 3.0)
        assert (folder["lost"], folder["lost_seconds"]) == ("Input/output error", 300.0)
    with ledger.transaction():
        ledger.end_scan(ledger.begin_scan(FOLDER), 600.0, json.dumps({"files": 8}))
    with Reader.over(ledger) as reader:
        (folder,) = facts.snapshot(reader, 700.0)["folders"]
        assert (folder["lost"], folder["lost_seconds"], folder["files"]) == (None, None, 8)
    ledger.close()


def test_what_the_config_and_the_daemons_own_looks_add_is_read_as_it_was_written(path: Path) -> None:
    now = Moment(time.time(), 1000.0)
    receiver = {
        "failing": "its receiver answered 500",
        "failing_seconds": 9.0,
        "taken_seconds": None,
        "told": 0,
    }
    limits = Limits(late_seconds=60.0, free_bytes=1.0, certificate_seconds=5.0)
    around = Around(limits, {FOLDER: 3600.0}, {"archive": now.wall + 86_400.0}, {"webhook": receiver})
    with Reader.open(path) as reader:
        written = StatusFile(path, "").write(reader, OUTAGE, {FOLDER: "events"}, now, None, around)
    with held(path):
        found = looked(path)
    assert found["limits"] == written["limits"] == limits._asdict()
    assert found["folders"][0]["expected_seconds"] == 3600.0
    assert found["certificates"] == {"archive": pytest.approx(86_400.0, abs=5)}
    assert found["alerts"] == {"webhook": receiver}


def test_a_folder_is_silent_since_its_last_whole_file_and_before_that_since_it_is_known(path: Path) -> None:
    wall = time.time()
    assert looked(path, 500.0)["folders"][0]["silent_seconds"] == pytest.approx(500, abs=5)
    ledger = Ledger.open(path)
    with ledger.transaction():
        directory = ledger.directory(FOLDER, ledger.begin_scan(FOLDER, wall))
        for number, state in enumerate((FileState.READY, FileState.IGNORED, FileState.SETTLING)):
            key = StatKey(1, 1, 1, number)
            ledger.put_file(NewFile(directory, b"%d" % number, key, state), wall + 100 * (number + 1))
    ledger.close()
    assert looked(path, 500.0)["folders"][0]["silent_seconds"] == pytest.approx(400, abs=5)


def test_the_last_answer_is_one_that_the_archive_gave(tmp_path: Path) -> None:
    now = time.time()
    with posted(tmp_path / "post") as post:
        with post.ledger.transaction():
            study = post.ledger.study("1.2.826.0.1.3680043.1", now)
            for answered_at, http in ((now - 90, 200), (now - 40, 409), (now - 60, 200), (now - 1, None)):
                batch = post.ledger.open_batch(study, [], now - 100)
                post.ledger.close_batch(batch, answered_at, http, "")
            post.ledger.open_batch(study, [], now)  # on its way
            post.ledger.touched_studies()
        with Reader.over(post.ledger) as reader:
            assert reader.last_answered() == now - 40

"""The account of every file: one outcome each, a study's receipt, and what may be cleared away."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomsync import report, sandbox
from dicomsync.samples import write_studies
from dicomsync.scan import look
from tests.test_cli import backfill, run
from tests.world import STUDY, URL, World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    one = World(tmp_path, monkeypatch)
    yield one
    one.check()
    one.die()


def removable(world: World) -> list[str]:
    return [os.path.basename(os.fsdecode(path)) for path in report.removable(world.reader, look)]


def verified(world: World, name: str, uid: str) -> Path:
    """Put a file that the archive has, compared."""
    path = world.put(name, uid)
    world.archive.held[uid] = path.read_bytes()
    world.until_done()
    world.again()
    return path


def test_every_file_has_one_outcome_whatever_became_of_it(world: World) -> None:
    world.put("stored.dcm", "1.2.3.1")
    world.put("copy.dcm", "1.2.3.1")
    world.put("refused.dcm", "1.2.3.2")
    world.archive.refuse["1.2.3.2"] = 0xA900
    world.put("other.dcm", "1.2.3.1", pixel=9)
    (world.folder / "cut.dcm").write_bytes(world.put("left.dcm", "1.2.3.3").read_bytes()[:-1])
    (world.folder / "text.dcm").write_bytes(b"hello")
    world.until_done()
    (world.folder / "left.dcm").unlink()
    world.again()
    world.until_done()
    told = {os.path.basename(one["path"]): one["outcome"] for one in report.files(world.reader)}
    assert told == {
        "stored.dcm": "stored",
        "copy.dcm": "stored",
        "other.dcm": "conflict",
        "refused.dcm": "rejected",
        "cut.dcm": "held",
        "text.dcm": "ignored",
        "left.dcm": "gone",
    }


def test_what_was_seen_before_the_span_is_left_out(world: World) -> None:
    world.put("old.dcm", "1.2.3.1")
    world.until_done()
    world.passes(100)
    since = world.now.wall
    world.put("new.dcm", "1.2.3.2")
    world.again()
    world.until_done()
    assert [os.path.basename(one["path"]) for one in report.files(world.reader, since)] == ["new.dcm"]


def test_only_what_was_compared_may_go(world: World) -> None:
    world.put("believed.dcm", "1.2.3.1")
    verified(world, "compared.dcm", "1.2.3.2")
    world.until_done()
    assert world.states() == {"stored": 2, "file ready": 2}
    assert removable(world) == ["compared.dcm"]


def test_a_file_that_changed_since_may_not_go_even_before_the_daemon_sees_it(world: World) -> None:
    path = verified(world, "1.dcm", "1.2.3.1")
    assert removable(world) == ["1.dcm"]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")  # the same size
    assert removable(world) == []
    path.write_bytes(content)  # the same bytes, and who can tell without reading them?
    assert removable(world) == []
    path.unlink()
    assert removable(world) == []


def test_another_content_under_a_verified_uid_may_not_go(world: World) -> None:
    verified(world, "1.dcm", "1.2.3.1")
    world.put("2.dcm", "1.2.3.1", pixel=5)
    world.put("3.dcm", "1.2.3.1")
    world.until_done()
    assert removable(world) == ["1.dcm", "3.dcm"]


def test_the_paths_of_one_study_alone(world: World) -> None:
    verified(world, "1.dcm", "1.2.3.1")
    other = world.put("2.dcm", "1.9.1", study="1.9")
    world.archive.held["1.9.1"] = other.read_bytes()
    world.until_done()
    study = report.study_named(world.reader, "1.9")
    assert list(report.removable(world.reader, look, study)) == [os.fsencode(other)]


def test_a_receipt_says_what_when_how_and_where(world: World) -> None:
    with world.ledger.transaction():
        world.ledger.bind(URL)
    path = verified(world, "1.dcm", "1.2.3.1")
    world.put("2.dcm", "1.2.3.2")
    world.archive.refuse["1.2.3.2"] = 0xA900
    world.until_done()
    one, two = report.receipt(world.reader, report.study_named(world.reader, STUDY))
    assert one["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert one["url"] == f"{URL}/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1"
    assert (one["proof"], one["status"], one["files"]) == ("compared", 409, [str(path)])
    assert one["stored_at"]
    assert one["verified_at"]
    assert (two["state"], two["reason"], two["url"], two["proof"]) == ("rejected", "failure-A900", None, None)
    assert "validation failed" in two["why"]


def test_pages_leave_nothing_out_and_give_nothing_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicomsync.ledger.account.PAGE_ROWS", 3)
    for n in range(20):
        world.put(f"{n}.dcm", f"1.2.3.{n}")
    world.until_done()
    assert len({one["path"] for one in report.files(world.reader)}) == 20
    assert len(list(report.receipt(world.reader, 1))) == 20


# the command


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, Path, sandbox.Archive]]:
    """A folder of six images with a cut one, a place for a ledger, and an archive."""
    folder = tmp_path / "in"
    write_studies(folder, studies=1, series=2, instances=3, rows=8, columns=8)
    (folder / "cut.dcm").write_bytes(next(folder.rglob("*.dcm")).read_bytes()[:-5])
    with sandbox.running(tmp_path / "archive") as archive:
        yield folder, tmp_path / "state" / "ledger.db", archive


def test_the_three_forms_tell_the_same(site: tuple[Path, Path, sandbox.Archive]) -> None:
    folder, ledger, archive = site
    backfill(folder, ledger, archive.url)
    lines = run("report", "--ledger", ledger, "--format", "jsonl").stdout.splitlines()
    told = [json.loads(line) for line in lines]
    assert Counter(one["outcome"] for one in told) == {"stored": 6, "held": 1}
    rows = list(csv.DictReader(run("report", "--ledger", ledger, "--format", "csv").stdout.splitlines()))
    assert [row["path"] for row in rows] == [one["path"] for one in told]
    assert rows[0].keys() == told[0].keys()
    table = run("report", "--ledger", ledger).stdout.splitlines()
    assert len(table) == 8
    assert table[-1] == "7 files: 6 stored, 1 held"
    assert run("report", "--ledger", ledger, "--since", "2030-01-01").stdout == "0 files\n"


def test_a_name_that_would_move_the_terminal_is_in_escapes_in_csv_too(world: World) -> None:
    world.put("\x1b[2J\n.dcm", "1.2.3.1")
    world.until_done()
    _, line = report.as_csv(report.files(world.reader))
    assert line.isprintable()
    assert "\\x1b[2J\\n.dcm" in line


def test_a_receipt_by_uid_and_by_handle(site: tuple[Path, Path, sandbox.Archive]) -> None:
    folder, ledger, archive = site
    backfill(folder, ledger, archive.url)
    line = run("report", "--ledger", ledger, "--format", "jsonl").stdout.splitlines()[-1]
    uid = json.loads(line)["study_instance_uid"]
    by_uid = run("report", "--ledger", ledger, "--study", uid).stdout
    assert "6 instances" in by_uid
    assert "6 stored, of these 0 compared" in by_uid
    assert f"{archive.url}/studies/{uid}/series/" in by_uid
    handle = by_uid.partition("study ")[2][:6]
    assert (
        run("report", "--ledger", ledger, "--study", handle).stdout.splitlines()[1:]
        == (by_uid.splitlines()[1:])
    )
    unknown = run("report", "--ledger", ledger, "--study", "1.2.3")
    assert (unknown.returncode, unknown.stdout) == (2, "")


def test_paths_as_bytes_and_none_that_a_line_cannot_hold(site: tuple[Path, Path, sandbox.Archive]) -> None:
    folder, ledger, archive = site
    paths = sorted(folder.rglob("IM*"))[:2] or sorted(folder.rglob("*.dcm"))[1:3]
    odd = [os.fsencode(folder) + b"/a\nb.dcm", os.fsencode(folder) + b"/\xff.dcm"]
    for path, name in zip(paths, odd, strict=True):
        os.rename(path, name)
    backfill(folder, ledger, archive.url)
    ledger.unlink()  # all is sent a second time, and compared with what is there
    backfill(folder, ledger, archive.url)

    def printed(*more: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "dicomsync", "report", "--ledger", str(ledger), "--removable", *more]
        return subprocess.run(command, capture_output=True, timeout=60, check=False)

    nul = printed("-0")
    assert nul.returncode == 0
    assert len(nul.stdout.split(b"\0")) == 7
    assert all(name in nul.stdout.split(b"\0") for name in odd)
    lines = printed()
    assert lines.returncode == 2
    assert b"line break" in lines.stderr
    assert len(lines.stdout.splitlines()) == 5
    assert odd[1] in lines.stdout.splitlines()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-0"], "needs that"),
        (["--removable", "--format", "csv"], "takes no --format"),
        (["--since", "lately"], "expected a span"),
    ],
)
def test_what_cannot_be_reported_is_told(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = run("report", "--ledger", tmp_path / "l.db", *arguments)
    assert done.returncode == 2
    assert words in done.stderr

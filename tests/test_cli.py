"""The command line as a person or a script meets it: words, exit codes, and no traceback ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from dicomsync import sandbox
from dicomsync.config import parse
from dicomsync.samples import write_studies

ROOT = Path(__file__).parent.parent


def run(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `dicomsync` as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "dicomsync", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=more.pop("cwd", None),
        env={**os.environ, **more},
        check=False,
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, Path, sandbox.Archive]]:
    """A folder of twelve images, a place for a ledger, and an archive."""
    folder = tmp_path / "in"
    write_studies(folder, studies=2, series=2, instances=3, rows=8, columns=8)
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    with sandbox.running(tmp_path / "archive") as archive:
        yield folder, tmp_path / "state" / "ledger.db", archive


QUICK = ("--set", "folders.settle=0s")


def backfill(
    folder: Path, ledger: Path, url: str, *more: str | Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    config = ledger.parent.with_suffix(".toml")
    config.write_text(
        f'[archive]\nurl = "{url}"\nconfirm_wait = "0.2s"\n[ledger]\npath = "{ledger}"\n'
        f'[[folders]]\npath = "{folder}"\nsettle = "0s"\n'
    )
    return run("backfill", "-c", config, *more, **environment)


def test_backfill_stores_everything_and_a_second_one_sends_nothing(
    site: tuple[Path, Path, sandbox.Archive],
) -> None:
    folder, ledger, archive = site
    first = backfill(folder, ledger, archive.url)
    assert (first.returncode, first.stderr) == (0, "")
    assert "12 instances stored now" in first.stdout
    assert len(archive.stored()) == 12
    stores = sum(request.method == "POST" for request in archive.requests)
    second = backfill(folder, ledger, archive.url)
    assert second.returncode == 0
    assert "nothing new was stored" in second.stdout
    assert sum(request.method == "POST" for request in archive.requests) == stores


def test_without_a_config_an_archive_and_a_ledger_are_enough(
    site: tuple[Path, Path, sandbox.Archive],
) -> None:
    folder, ledger, archive = site
    done = run("backfill", folder, "--archive", archive.url, "--ledger", ledger, "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert (told["end"], told["stored_now"], told["due"]) == ("finished", 12, 0)
    assert ledger.stat().st_mode & 0o777 == 0o600


def test_a_single_file_may_be_named(site: tuple[Path, Path, sandbox.Archive]) -> None:
    folder, ledger, archive = site
    file = next(folder.rglob("*.dcm")).rename(folder / "no-ending")
    done = run("backfill", file, "--archive", archive.url, "--ledger", ledger)
    assert done.returncode == 0
    assert len(archive.stored()) == 1


def test_a_dry_run_sends_and_writes_nothing(site: tuple[Path, Path, sandbox.Archive]) -> None:
    folder, ledger, archive = site
    done = backfill(folder, ledger, archive.url, "-n")
    assert done.returncode == 0
    assert "12 files would be sent" in done.stdout
    assert not archive.requests
    assert not ledger.parent.exists()


def test_a_dry_run_knows_what_an_earlier_run_has_done(site: tuple[Path, Path, sandbox.Archive]) -> None:
    folder, ledger, archive = site
    backfill(folder, ledger, archive.url)
    before = ledger.read_bytes()
    write_studies(folder / "more", studies=1, series=1, instances=2, rows=8, columns=8, seed=9)
    done = backfill(folder, ledger, archive.url, "-n")
    assert "2 files would be sent" in done.stdout
    assert ledger.read_bytes() == before


def test_what_needs_a_person_is_told_and_gives_20(site: tuple[Path, Path, sandbox.Archive]) -> None:
    folder, ledger, archive = site
    (folder / "cut.dcm").write_bytes(next(folder.rglob("*.dcm")).read_bytes()[:-5])
    done = backfill(folder, ledger, archive.url)
    assert done.returncode == 20
    assert "1 truncated" in done.stdout
    listed = run("explain", "--ledger", ledger)
    assert listed.returncode == 0
    assert str(folder / "cut.dcm") in listed.stdout
    handle = listed.stdout.split("  ")[0]
    assert "cut short" in run("explain", "--ledger", ledger, *handle.split()).stdout


def test_explain_tells_the_life_of_a_file_a_uid_and_a_handle(
    site: tuple[Path, Path, sandbox.Archive],
) -> None:
    folder, ledger, archive = site
    backfill(folder, ledger, archive.url)
    file = next(folder.rglob("*.dcm"))
    by_path = run("explain", "--ledger", ledger, file).stdout
    assert "stored: in the archive" in by_path
    assert "SHA-256" in by_path
    uid = next(line.split()[1] for line in by_path.splitlines() if line.strip().startswith("Instance "))
    assert uid in archive.stored()
    assert "stored: in the archive" in run("explain", "--ledger", ledger, uid).stdout
    study = next(word for word in by_path.split("of ") if word.startswith("study "))[:12]
    assert "6  " in run("explain", "--ledger", ledger, *study.split()).stdout
    unknown = run("explain", "--ledger", ledger, "/nowhere/x.dcm")
    assert (unknown.returncode, unknown.stdout) == (2, "")


def test_status_for_programs_has_every_state_and_the_age_of_the_oldest(
    site: tuple[Path, Path, sandbox.Archive],
) -> None:
    folder, ledger, archive = site
    backfill(folder, ledger, archive.url)
    told = json.loads(run("status", "--ledger", ledger, "--json").stdout)
    assert told["schema"] == 1
    assert told["counts"]["stored"] == 12
    assert set(told["counts"]) == {
        *("pending", "sending", "unconfirmed", "stored", "conflict", "rejected", "missed"),
        *("superseded", "leaving", "deleting", "deleted"),
    }
    assert set(told["files"]) == {"settling", "held", "ignored", "ready", "gone", "missed"}
    assert told["oldest_pending_seconds"] is None
    assert told["files"]["ready"] == 12
    assert "stored  12  in the archive" in run("status", "--ledger", ledger).stdout


def test_status_tells_the_age_of_what_is_due(site: tuple[Path, Path, sandbox.Archive]) -> None:
    folder, ledger, archive = site
    archive.set_faults(["status=503"])
    backfill(folder, ledger, archive.url, "--patience", "1s")
    told = json.loads(run("status", "--ledger", ledger, "--json").stdout)
    assert told["oldest_pending_seconds"] >= 0
    assert sum(told["counts"][state] for state in ("pending", "sending", "unconfirmed")) == 12


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["backfill"], 2, "There is no config"),
        (["backfill", "/nowhere"], 2, "does not exist"),
        (["backfill", "-c", "/nowhere.toml"], 2, "cannot be read"),
        (["backfill", ".", "--archive", "ftp://x", "--ledger", "/tmp/x/l.db"], 2, "http"),
        (["backfill", ".", "--archive", "http://a:secret@x/v2", "--ledger", "/tmp/x/l.db"], 2, "user name"),
        (["backfill", ".", "--archive", "http://x/v2", "--ledger", "ledger.db"], 2, "inside the folder"),
        (["backfill", ".", "--archive", "http://x", "--ledger", "/l", "--patience", "soon"], 2, "duration"),
        (["status"], 2, "Which ledger"),
        (["status", "--ledger", "/nowhere/l.db"], 1, "no ledger at"),
        (["sandbox", "--store", "x", "--fault", "nonsense"], 2, "nonsense"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_bad_input_is_told_in_a_sentence(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    done = run(*arguments, cwd=str(tmp_path))
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_a_ledger_that_a_link_leads_into_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "state").symlink_to("in")
    ledger = str(tmp_path / "state" / "ledger.db")
    done = run("backfill", str(tmp_path / "in"), "--archive", "http://127.0.0.1:9/v2", "--ledger", ledger)
    assert done.returncode == 2
    assert "inside the folder" in done.stderr
    assert list((tmp_path / "in").iterdir()) == []


def test_something_wrong_inside_ends_in_a_sentence_without_a_traceback(tmp_path: Path) -> None:
    script = (
        "import dicomsync.cli as c, dicomsync.service as s\n"
        "def boom(*a, **k): raise KeyError('Doe^Jane')\n"
        "s.backfill = boom\n"
        "import sys; sys.argv = ['dicomsync', 'backfill', '.', '--archive', 'http://x', '--ledger', '/x/l']\n"
        "c.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    assert done.returncode == 1
    assert "something went wrong inside dicomsync (KeyError at" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Doe" not in done.stderr


def test_the_sandbox_says_where_it_listens_once_it_serves(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "dicomsync", "sandbox", "--store", str(tmp_path / "s")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("listening: http://127.0.0.1:")
        folder = tmp_path / "in"
        write_studies(folder, studies=1, series=1, instances=1, rows=8, columns=8)
        url = line.removeprefix("listening: ").strip()
        done = run("backfill", folder, "--archive", url, "--ledger", tmp_path / "state/l.db")
        assert done.returncode == 0
    finally:
        process.terminate()
        assert process.wait(10) == 0
        assert "not for patients" in process.stderr.read()
        process.stdout.close()
        process.stderr.close()


def test_the_demonstration_ends_by_itself_and_well(tmp_path: Path) -> None:
    done = run("demo", "--keep", tmp_path / "demo")
    assert done.returncode == 0
    assert "72 instances stored now" in done.stdout
    assert "Backfill again: 0 store requests" in done.stdout
    assert run("status", "--ledger", tmp_path / "demo/ledger.db").returncode == 0


def test_the_example_config_is_complete_and_is_all_defaults() -> None:
    text = (ROOT / "config.example.toml").read_text()
    config = parse(text)
    for section in ("archive", "ledger", "batch", "upload"):
        values = getattr(config, section)
        for key in fields(values):
            assert f"{key.name} = " in text, f"{section}.{key.name} is not in the example"
            if key.default is not MISSING and not isinstance(key.default, str):
                assert getattr(values, key.name) == key.default, f"{section}.{key.name} is not the default"
    (folder,) = config.folders
    for key in fields(folder):
        assert f"{key.name} = " in text, f"folders.{key.name} is not in the example"
        if key.default is not MISSING:
            assert getattr(folder, key.name) == key.default


def test_help_and_the_version_do_not_load_what_they_do_not_need() -> None:
    script = (
        "import sys\n"
        "sys.argv = ['dicomsync', '--help']\n"
        "from dicomsync.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'httpx', 'pydicom', 'sqlite_utils', 'rich', 'starlette', 'watchdog'}\n"
        "print('loaded', sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert "loaded []" in done.stderr


def test_readme_and_ci_run_the_same_tests() -> None:
    readme = (ROOT / "README.md").read_text()
    commands = [line for line in readme.splitlines() if line.startswith("    python3 -m venv .venv")]
    assert len(commands) == 2
    assert "-m pytest" in commands[1]
    assert "README.md" in (ROOT / ".ci/run").read_text()


def test_a_single_bad_file_is_told(site: tuple[Path, Path, sandbox.Archive]) -> None:
    folder, ledger, archive = site
    path = next(folder.rglob("*.dcm"))
    path.write_bytes(path.read_bytes()[:-20])
    done = backfill(folder, ledger, archive.url, path)
    assert done.returncode == 20
    assert "truncated" in done.stdout


def test_cases_are_told_with_the_very_command_that_lists_them(
    site: tuple[Path, Path, sandbox.Archive],
) -> None:
    folder, ledger, archive = site
    path = next(folder.rglob("*.dcm"))
    path.write_bytes(path.read_bytes()[:-20])
    beforehand = backfill(folder, ledger, archive.url, "-n").stdout
    assert "once the backfill has run" in beforehand, "there is no ledger to explain from"
    done = backfill(folder, ledger, archive.url).stdout
    assert "once the backfill has run" not in done
    command = done.splitlines()[-1].split()
    assert command[0] == "dicomsync"
    assert str(path) in run(*command[1:]).stdout


def test_a_conflict_that_a_person_removed_is_no_case_any_more(
    site: tuple[Path, Path, sandbox.Archive],
) -> None:
    folder, ledger, archive = site
    good = next(folder.rglob("*.dcm"))
    backfill(folder, ledger, archive.url)
    other = folder / "other.dcm"
    other.write_bytes(good.read_bytes()[:-1] + b"\x7f")
    assert backfill(folder, ledger, archive.url).returncode == 20
    other.unlink()
    assert backfill(folder, ledger, archive.url).returncode == 0


def test_patience_ends_a_run_that_a_growing_file_would_keep_alive(
    site: tuple[Path, Path, sandbox.Archive],
) -> None:
    folder, ledger, archive = site
    backfill(folder, ledger, archive.url)
    growing = folder / "growing.dcm"
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys,time\nwith open(sys.argv[1],'ab',0) as f:\n"
            "  for _ in range(600): f.write(b'x'); time.sleep(0.05)",
            str(growing),
        ]
    )
    try:
        done = backfill(folder, ledger, archive.url, "--set", "folders.settle=1s", "--patience", "2s")
        assert done.returncode == 5
        assert "1 file still due" in done.stdout
    finally:
        process.kill()
        process.wait()

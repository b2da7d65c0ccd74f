"""How little a command imports before it answers: told by the modules, never by the clock."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from sqlite_utils import Database

from dicomsync import cli
from dicomsync.commands import COMMANDS
from dicomsync.ledger import Ledger, opening
from dicomsync.ledger.migrations import migrations

ROOT = Path(cli.__file__).parent.parent

_REPORT = """
import sys
sys.argv = ["dicomsync", *sys.argv[1:]]
from dicomsync.cli import main
try:
    main()
finally:
    print("imported", *sorted(sys.modules), file=sys.stderr)
"""
HEAVY = {"httpx", "numpy", "pydicom", "rich", "sqlite_utils", "ssl", "starlette", "tenacity"}
HEAVY |= {
    "asyncio",
    "concurrent",
    "email",
    "http",
    "multiprocessing",
    "unittest",
    "uvicorn",
    "watchdog",
    "xml",
}


def imported(*arguments: object) -> tuple[frozenset[str], frozenset[str]]:
    """What a command that ends well imports: of ours, and the outermost of all others."""
    done = subprocess.run(
        [sys.executable, "-c", _REPORT, *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    modules = done.stderr.rpartition("imported ")[2].split()
    ours = frozenset(name for name in modules if name.startswith("dicomsync"))
    return ours, frozenset(name.split(".")[0] for name in modules) - {"dicomsync"}


def outside(modules: frozenset[str]) -> frozenset[str]:
    """The packages that are not Python's own; what a site brings into every process is not looked at."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True, timeout=60
    )
    return modules - sys.stdlib_module_names - {name.split(".")[0] for name in done.stdout.split()}


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    Ledger.open(path).close()
    return path


def test_help_imports_no_command_and_nothing_heavy() -> None:
    ours, others = imported("--help")
    assert ours == {
        "dicomsync",
        "dicomsync.cli",
        "dicomsync.commands",
        "dicomsync.errors",
        "dicomsync.secrecy",
    }
    assert not others & (HEAVY | {"json", "logging", "sqlite3", "tomllib"})


def test_status_imports_how_it_stands_and_nothing_heavy(ledger: Path) -> None:
    ours, others = imported("status", "--ledger", ledger)
    assert ours == {
        "dicomsync",
        "dicomsync.cli",
        "dicomsync.commands",
        "dicomsync.commands.look",
        "dicomsync.commands.options",
        "dicomsync.concerns",
        "dicomsync.errors",
        "dicomsync.facts",
        "dicomsync.failures",
        "dicomsync.handles",
        "dicomsync.ledger",
        "dicomsync.ledger.cases",
        "dicomsync.ledger.conditions",
        "dicomsync.ledger.guard",
        "dicomsync.ledger.holding",
        "dicomsync.ledger.opening",
        "dicomsync.ledger.removals",
        "dicomsync.ledger.standing",
        "dicomsync.mirror_report",
        "dicomsync.mounts",
        "dicomsync.reasons",
        "dicomsync.secrecy",
        "dicomsync.states",
        "dicomsync.status",
        "dicomsync.words",
    }
    assert not others & (HEAVY | {"logging"})
    assert outside(others) == {"click"}


def test_status_takes_the_ledger_from_a_config_as_lightly(ledger: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[archive]\nurl = "http://127.0.0.1:1"\n[ledger]\npath = "{ledger}"\n')
    ours, others = imported("status", "-c", config)
    assert "dicomsync.config" not in ours
    assert not others & HEAVY


FOR_SENDING = {"azure", "certifi", "httpcore", "httpx", "pydicom", "ssl", "tenacity"}
FOR_SHOWING = {"rich", "starlette", "watchdog"}


def backfill(ledger: Path, folder: Path) -> tuple[frozenset[str], frozenset[str]]:
    """What a look at a folder in which nothing is left to do imports."""
    folder.mkdir(exist_ok=True)
    return imported("backfill", "-q", "--archive", "http://127.0.0.1:1", "--ledger", ledger, folder)


def test_a_backfill_that_sends_nothing_imports_nothing_for_sending_nor_for_making_a_ledger(
    ledger: Path, tmp_path: Path
) -> None:
    ours, others = backfill(ledger, tmp_path / "in")
    assert outside(others) == {"click"}
    assert not others & (FOR_SENDING | FOR_SHOWING | {"sqlite_utils", "numpy", "pandas"})
    assert "tempfile" not in others
    of_commands = {"dicomsync.mirror_orders", "dicomsync.orders", "dicomsync.resolution", "dicomsync.visits"}
    assert not ours & (of_commands | {"dicomsync.alerting", "dicomsync.alerts", "dicomsync.receivers"})


def test_a_new_ledger_is_made_without_what_sqlite_utils_would_import_along(tmp_path: Path) -> None:
    _, others = backfill(tmp_path / "new.db", tmp_path / "in")
    assert "sqlite_utils" in others
    assert not others & (FOR_SENDING | FOR_SHOWING | {"numpy", "pandas"})


def test_the_door_to_httpx_leaves_its_command_line_and_what_that_takes_along_outside() -> None:
    code = "import sys, dicomsync.dicomweb.http; print(*sys.modules); import httpx._main"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.split())
    assert "httpx" in modules
    assert not modules & {"httpx._main", "rich", "pygments"}


def test_what_was_kept_out_while_a_ledger_was_made_can_be_imported_afterwards(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("whole = True\n")
    code = (
        "from pathlib import Path; from dicomsync.ledger import Ledger; "
        f"Ledger.open(Path({str(tmp_path / 'ledger.db')!r})).close(); import numpy; assert numpy.whole"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_the_steps_that_a_start_looks_for_are_those_that_there_are() -> None:
    assert {step.name for step in migrations.pending(Database(memory=True))} == opening.STEPS


def test_status_of_a_config_without_a_ledger_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[archive]\nurl = "http://127.0.0.1:1"\n[ledger]\npth = "x"\n')
    done = subprocess.run(
        [sys.executable, "-m", "dicomsync", "status", "-c", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "ledger.path: is missing" in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_list_is_there_and_says_itself_in_a_line(name: str) -> None:
    command = cli.cli.get_command(click.Context(cli.cli), name)
    assert command is not None
    assert command.name == name
    assert command.help
    assert COMMANDS[name][1].endswith(".")


def test_a_misspelt_command_is_met_with_the_one_that_was_meant() -> None:
    with pytest.raises(click.UsageError) as told:
        cli.cli.main(["statu"], standalone_mode=False)
    assert "Did you mean 'status'?" in told.value.format_message()


@pytest.mark.parametrize("name", ["dicomsync.dicomweb", "dicomsync.ledger"])
def test_the_names_of_a_room_are_where_it_says(name: str) -> None:
    room = importlib.import_module(name)
    for one in room.__all__:
        assert getattr(room, one) is not None
    with pytest.raises(AttributeError):
        _ = room.no_such_name

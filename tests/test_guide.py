"""`dicomsync help` knows every word that a message may have, and every link to it leads somewhere."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from dicomsync import cli, concerns, errors, guide, reasons
from dicomsync.states import FileState, InstanceState

REASONS = reasons.FILE_REASONS | reasons.INSTANCE_REASONS | reasons.DELETION_REASONS


@pytest.mark.parametrize("code", [*FileState, *InstanceState, *filter(None, REASONS), *concerns.CODES])
def test_every_state_reason_and_code_has_something_to_be_said(code: str) -> None:
    told = guide.about(code)
    assert told
    assert any(line.startswith("  ") and len(line) > 12 for line in told)


def test_every_exit_code_has_its_section() -> None:
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and hasattr(one, "exit_code")]
    for number in {one.exit_code for one in kinds} | cli.LINKED | {0, 20, 130}:
        assert guide.about(str(number))[0] == f"Exit code {number}"


def test_a_reason_is_told_with_the_state_it_belongs_to_and_what_to_do() -> None:
    assert guide.about("truncated") == [
        "held: truncated",
        "  means: the copy or the export was cut short",
        "  do: copy or export it again; a cut file in an archive would block the good one",
    ]


def test_of_an_archives_own_failure_it_tells_wherever_that_may_be() -> None:
    heads = [line for line in guide.about("failure-A900") if line and not line.startswith(" ")]
    assert heads == ["pending: failure-A900", "conflict: failure-A900", "rejected: failure-A900"]


def test_nothing_of_markdown_reaches_the_terminal() -> None:
    text = "\n".join(line for code in guide.known() for line in guide.about(code))
    assert "](" not in text
    assert "|---" not in text


def test_it_says_how_a_command_is_used_as_well_as_a_reason_of_the_same_name() -> None:
    told = CliRunner().invoke(cli.cli, ["help", "report"]).output
    assert "report" in guide.known()
    assert told.startswith("leaving, deleting, deleted: report\n")
    assert "Usage: " in told


def test_what_it_does_not_know_it_says() -> None:
    done = CliRunner().invoke(cli.cli, ["help", "nonsense"])
    assert isinstance(done.exception, errors.UsageProblem)


def test_an_error_says_where_there_is_more() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dicomsync", "status", "--ledger", "/nowhere/ledger.db"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "More: dicomsync help 1")

"""The page for bad days knows every state, every reason and every exit code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dicomsync import cli, errors, reasons
from dicomsync.model import FileState, InstanceState

REASONS = reasons.FILE_REASONS | reasons.INSTANCE_REASONS | reasons.DELETION_REASONS
PAGE = (Path(__file__).parent.parent / "docs" / "when-something-is-wrong.md").read_text()
HEADINGS = [line.removeprefix("### ") for line in PAGE.splitlines() if line.startswith("### ")]


@pytest.mark.parametrize("state", [*FileState, *InstanceState])
def test_every_state_has_its_section(state: str) -> None:
    assert state in {name for heading in HEADINGS for name in heading.split(", ")}


@pytest.mark.parametrize("code", [code for code in REASONS if code])
def test_every_reason_stands_in_a_table(code: str) -> None:
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    assert any(f"`{code}`" in row for row in rows)


def test_no_reason_stands_there_that_there_is_not() -> None:
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    told = {code for row in rows for code in re.findall(r"`([^`]+)`", row)}
    assert told - {"failure-…", "status-…"} <= REASONS.keys()


def test_every_exit_code_has_its_section() -> None:
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and hasattr(one, "exit_code")]
    codes = {one.exit_code for one in kinds} | {0, 20, 130}
    codes |= {int(number) for number in re.findall(r"^  (\d+) ", cli.EXIT_CODES, re.MULTILINE)}
    assert {heading for heading in HEADINGS if heading.startswith("Exit")} == {
        f"Exit code {code}" for code in codes
    }


@pytest.mark.parametrize("page", ["security.md", "promises.md"])
def test_every_test_that_a_page_names_is_there(page: str) -> None:
    tests = Path(__file__).parent
    named = set(re.findall(r"`(?:tests/)?(test_\w+)(?:\.py)?`", (tests.parent / "docs" / page).read_text()))
    assert named
    assert {name for name in named if not (tests / f"{name}.py").exists()} == set()

"""docs/operate.md is complete: every code, every key, every metric, and none that there is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dicomsync import concerns, facts
from dicomsync.model import InstanceState
from dicomsync.web import metrics

from .lookout import posted

PAGE = (Path(__file__).parent.parent / "docs" / "operate.md").read_text()


def table(head: str) -> list[list[str]]:
    """Give the rows of the table below this head, cell by cell."""
    rows = PAGE.split(f"| {head} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def coded(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_code_is_explained_and_no_other() -> None:
    assert [code for row in table("code") for code in coded(row[0])] == list(concerns.CODES)


@pytest.fixture
def told(tmp_path: Path) -> facts.Facts:
    with posted(tmp_path) as post:
        post.put(InstanceState.CONFLICT, "differs")
        post.put(InstanceState.PENDING)
        post.freeze("many")
        post.tell()
        return facts.look(post.path, 1_900_000_000.0, concerns.How())


def test_every_key_of_the_json_is_explained_and_no_other(told: facts.Facts) -> None:
    rows = {name: row[1] for row in table("key") for name in coded(row[0])}
    assert rows.keys() == told.keys()
    for key in ("daemon", "archive", "ledger", "oldest_live", "studies", "lost"):
        assert set(told[key]) <= set(coded(rows[key])), key
    for key in ("concerns", "cases", "folders", "deletions"):
        assert set(told[key][0]) <= set(coded(rows[key])), key


def test_every_metric_is_explained_and_no_other(tmp_path: Path) -> None:
    with posted(tmp_path) as post:
        text = metrics.exposition(post.path)[0].decode()
    known = re.findall(r"^# HELP (\S+)", text, re.MULTILINE)
    assert sorted(known) == sorted(name for row in table("metric") for name in coded(row[0]))


def test_the_labels_are_those_that_there_are(tmp_path: Path) -> None:
    with posted(tmp_path) as post:
        post.put(InstanceState.STORED)
        post.put(InstanceState.CONFLICT, "differs")
        post.put(InstanceState.PENDING, "no-answer")
        post.batch(200, 1.0)
        post.freeze("many")
        post.tell()
        text = metrics.exposition(post.path)[0].decode()
    known = {name: set(coded(row[1])) for row in table("metric") for name in coded(row[0])}
    for name, labels in re.findall(r"^(dicomsync_\w+){([^}]*)}", text, re.MULTILINE):
        family = name if name in known else re.sub(r"_(bucket|count|sum)$", "", name)
        assert set(re.findall(r'(\w+)="', labels)) - {"le"} == known[family], name

"""What the pages take from the program is all of it, and what they show can be done."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import pytest

from dicomsync import config, setup
from dicomsync.dicomweb.kinds import KINDS
from dicomsync.ledger import Ledger
from docs.make import check, configure, ledger
from tests import frozen

DOCS = Path(__file__).parent.parent / "docs"
KEYS = list(configure.every_key())
QUERIES = ledger.queries()


# Configure


def test_every_key_of_the_config_has_its_place_on_the_page() -> None:
    page = configure.markdown()
    anchors = [f"{{#{section}.{name}}}" for section, name, _ in KEYS]
    assert [page.count(anchor) for anchor in anchors] == [1] * len(KEYS)
    assert {section for section, _, _ in KEYS} == {one.name for one in fields(config.Config)}


@pytest.mark.parametrize(("section", "name"), [key[:2] for key in KEYS], ids=".".join)
def test_every_key_is_explained_right_above_it_in_the_example(section: str, name: str) -> None:
    key = configure.example()[section][name]
    assert len(key.words) > 15


def test_the_example_has_no_key_that_there_is_not() -> None:
    shown = {(section, name) for section, keys in configure.example().items() for name in keys}
    assert shown == {key[:2] for key in KEYS}


@pytest.mark.parametrize("key", KEYS, ids=lambda key: f"{key[0]}.{key[1]}")
def test_what_stands_as_the_default_is_the_default(key: tuple[str, str, Field[Any]]) -> None:
    section, name, field = key
    shown = configure.example()[section][name]
    if field.default is MISSING or not shown.used:
        return
    least = {"archive": {"url": "http://a"}, "ledger": {"path": "/l"}, "folders": [{"path": "/f"}]}
    given = config.parse(setup.example())
    built = config.build(least)
    values = [getattr(one, section) for one in (given, built)]
    first, second = (one[0] if isinstance(one, tuple) else one for one in values)
    assert getattr(first, name) == getattr(second, name)


@pytest.mark.parametrize(
    ("key", "takes"),
    [
        ("folders.settle", 'a duration such as `"10s"`, `"500ms"` or `"10min"`, or `"auto"`'),
        ("batch.quiet", 'a duration such as `"10s"`, `"500ms"` or `"10min"`'),
        ("batch.max_bytes", 'a size such as `"32MiB"` or `"500MB"`'),
        ("batch.max_instances", "a whole number from 1 to 10,000"),
        ("verify.after_store", '`"none"`, `"search"` or `"bytes"`'),
        ("folders.exclude", 'a list such as [`"*.tmp"`]'),
        ("alerts.use_proxy", "true or false"),
        ("archive.ca_file", "the path of a file, from / on"),
    ],
)
def test_what_a_key_takes_is_said_by_the_model(key: str, takes: str) -> None:
    [field] = [field for section, name, field in KEYS if f"{section}.{name}" == key]
    assert configure.takes(field) == takes


# The ledger


@pytest.fixture(scope="module")
def some_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with something of every kind in it."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript((Path(frozen.__file__).parent / "ledger-0.1.0.sql").read_text())
    Ledger.open(path).close()
    return path


@pytest.mark.parametrize("title", QUERIES)
def test_every_query_of_the_page_can_be_asked(title: str, some_ledger: Path) -> None:
    given = dict.fromkeys(re.findall(r":(\w+)", QUERIES[title]), "1")
    with closing(sqlite3.connect(f"{some_ledger.as_uri()}?mode=ro", uri=True)) as database:
        cursor = database.execute(QUERIES[title], given)
        assert cursor.description
        cursor.fetchall()


@pytest.mark.parametrize(
    "title", ["What needs a person", "Studies that are not stored whole", "What the archive answered lately"]
)
def test_it_answers_where_there_is_something(title: str, some_ledger: Path) -> None:
    with closing(sqlite3.connect(some_ledger)) as database:
        assert database.execute(QUERIES[title]).fetchall()


def test_datasette_is_given_all_of_them() -> None:
    [databases] = json.loads(ledger.datasette())["databases"].values()
    assert [one["title"] for one in databases["queries"].values()] == list(QUERIES)
    assert len(QUERIES) > 10


# The rest


def test_what_a_page_would_fetch_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        '<script src="https://cdn.test/a.js"></script><img src="here.svg"><a href="https://fine.test/">link</a>'
    )
    (tmp_path / "page.css").write_text("a { b: url('//cdn.test/b.png') } c { d: url(e.png) }")
    found = list(check.elsewhere(tmp_path))
    assert found == ["page.css: //cdn.test/b.png", "page.html: https://cdn.test/a.js"]


def test_every_kind_of_archive_has_its_section() -> None:
    text = (DOCS / "archives.md").read_text()
    assert set(re.findall(r"^## .*{#([\w-]+)}$", text, re.MULTILINE)) == set(KINDS)


def test_every_page_is_in_the_navigation_and_every_picture_is_there() -> None:
    navigation = re.findall(r": ([\w-]+\.md)$", (DOCS.parent / "mkdocs.yml").read_text(), re.MULTILINE)
    made = {"configure.md", "commands.md", "changes.md"}
    assert set(navigation) - made == {page.name for page in DOCS.glob("*.md")}
    for page in DOCS.glob("*.md"):
        for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", page.read_text()):
            assert (DOCS / picture).exists(), picture
            assert "@font-face" not in (DOCS / picture).read_text()

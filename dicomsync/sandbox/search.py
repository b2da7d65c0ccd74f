"""The Search transaction (PS3.18 10.6) on the index: which rows match, in which order, what is returned."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydicom.datadict import tag_for_keyword

from dicomsync.sandbox.attributes import ATTRIBUTES, BY_NAME, COUNTS, Attribute, Level, searchable
from dicomsync.sandbox.media import Refusal
from dicomsync.sandbox.shelf import Shelf

_FROM = {
    Level.STUDY: "studies",
    Level.SERIES: "series JOIN studies ON studies.key = series.study",
    Level.INSTANCE: (
        "instances JOIN series ON series.key = instances.series JOIN studies ON studies.key = instances.study"
    ),
}
_TABLES = {Level.STUDY: "studies", Level.SERIES: "series", Level.INSTANCE: "instances"}
_ORDER = {Level.STUDY: "studies.key", Level.SERIES: "series.key", Level.INSTANCE: "instances.watermark"}
_UIDS = [searchable(level)[0] for level in Level]
_COUNTED = {  # only asked for at its own level, for at most a page of rows
    "NumberOfStudyRelatedInstances": "(SELECT count(*) FROM instances WHERE study = studies.key)",
    "NumberOfSeriesRelatedInstances": "(SELECT count(*) FROM instances WHERE series = series.key)",
}
_DATE_RANGE = re.compile(r"(\d{8})?-(\d{8})?")

Json = dict[str, Any]


@dataclass(slots=True)
class Query:
    """One search: what it returns, which rows of it, and which attributes beside the usual ones."""

    level: Level
    limit: int = 100
    offset: int = 0
    wheres: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    named: set[str] = field(default_factory=set)  # tags and count keywords asked for
    included: list[str] = field(default_factory=list)

    @property
    def everything(self) -> bool:
        """Whether all attributes of its level are returned."""
        return "all" in self.included

    def match(self, attribute: Attribute, value: str) -> None:
        """Ask for rows with this value; dates may be ranges, ends included (PS3.18 8.3.4.1)."""
        column = f'{_TABLES[attribute.level]}."{attribute.keyword}"'
        self.named.add(attribute.tag)
        span = _DATE_RANGE.fullmatch(value) if attribute.vr == "DA" else None
        if span is None:
            self.wheres.append(f"{column} = ?")
            self.values.append(value)
            return
        if not any(span.groups()):
            raise Refusal(400, "A range needs at least one end.")
        for sign, end in zip((">=", "<="), span.groups(), strict=True):
            if end:
                self.wheres.append(f"{column} {sign} ?")
                self.values.append(end)


def parse(level: Level, uids: dict[str, str], parameters: Iterable[tuple[str, str]]) -> Query:
    """Read a search from the UIDs in its path and its query; 400 for what is not known or not possible.

    The limits are the conformance statement's: limit 1 to 200, 100 by default; an attribute that may
    not be searched for at this level, or has no value, is refused.
    """
    query = Query(level)
    for keyword, uid in uids.items():
        query.match(BY_NAME[keyword], uid)
    seen: set[str] = set()
    for name, value in parameters:
        if name in seen and name != "includefield":
            raise Refusal(400, f"{name} is given twice.")
        seen.add(name)
        if not value or "<" in value:
            raise Refusal(400, "A query parameter has no value, or one that is not allowed.")
        _apply(query, name, value, uids)
    return query


def _apply(query: Query, name: str, value: str, uids: dict[str, str]) -> None:
    if name == "limit":
        query.limit = _number(name, value, 1, 200)
    elif name == "offset":
        query.offset = _number(name, value, 0, 2**31 - 1)
    elif name == "fuzzymatching":
        if value.lower() != "false":
            raise Refusal(400, "The sandbox has no fuzzy matching.")
    elif name == "includefield":
        _include(query, value)
    else:
        attribute = BY_NAME.get(name) or BY_NAME.get(name.upper())
        if (
            attribute is None
            or not attribute.searchable
            or not _searchable_here(query.level, attribute, uids)
        ):
            raise Refusal(400, "The query names an attribute that cannot be searched for here.")
        query.match(attribute, value)


def _searchable_here(level: Level, attribute: Attribute, uids: dict[str, str]) -> bool:
    """Say whether the table "Searchable Attributes" has a cross here: not above what the path fixes."""
    floor = len(uids)  # no UID in the path: study attributes; a study: series ones; a series: instance ones
    return floor <= attribute.level <= level


def _number(name: str, value: str, least: int, most: int) -> int:
    if not re.fullmatch(r"\d{1,10}", value) or not least <= int(value) <= most:
        raise Refusal(400, f"{name} must be a number from {least} to {most}.")
    return int(value)


def _include(query: Query, value: str) -> None:
    query.included += value.split(",")
    if query.everything and len(query.included) > 1:
        raise Refusal(400, "includefield=all stands alone.")
    for name in query.included:
        if attribute := BY_NAME.get(name) or BY_NAME.get(name.upper()):
            query.named.add(attribute.tag)
        elif count := _COUNT_TAGS.get(name, name if name in COUNTS else ""):
            query.named.add(count)
        elif not (name == "all" or re.fullmatch(r"[0-9A-Fa-f]{8}", name) or tag_for_keyword(name)):
            raise Refusal(400, "includefield names an unknown attribute.")


_COUNT_TAGS = {tag: keyword for keyword, (tag, _) in COUNTS.items()}


def run(shelf: Shelf, query: Query, base_url: str) -> list[Json]:
    """Return the matching datasets as DICOM JSON, newest first; UIDs and Retrieve URL are always there."""
    levels = [level for level in Level if level <= query.level]
    columns = [f'{_TABLES[level]}."{_UIDS[level].keyword}"' for level in levels]
    columns += [f"{_TABLES[level]}.attributes" for level in levels]
    counts = [name for name, (_, level) in COUNTS.items() if level == query.level and name in query.named]
    columns += [_COUNTED[name] for name in counts]
    where = f" WHERE {' AND '.join(query.wheres)}" if query.wheres else ""
    # Every name in this text is a constant of this package; what a client sent is bound.
    sql = (
        f"SELECT {', '.join(columns)} FROM {_FROM[query.level]}{where}"  # noqa: S608 - our own words
        f" ORDER BY {_ORDER[query.level]} DESC LIMIT {query.limit} OFFSET {query.offset}"
    )
    return [_dataset(row, query, levels, counts, base_url) for row in shelf.rows(sql, query.values)]


def _dataset(
    row: tuple[Any, ...], query: Query, levels: list[Level], counts: list[str], base_url: str
) -> Json:
    depth = len(levels)
    uids, attributes, numbers = row[:depth], row[depth : 2 * depth], row[2 * depth :]
    known = {tag: value for text in attributes for tag, value in json.loads(text).items()}
    tags = {a.tag for a in ATTRIBUTES if a.level <= query.level and _returned(a, query)}
    dataset: Json = {tag: value for tag, value in known.items() if tag in tags}
    for level, uid in zip(levels, uids, strict=True):
        dataset[_UIDS[level].tag] = {"vr": "UI", "Value": [uid]}
    for name, number in zip(counts, numbers, strict=True):
        dataset[COUNTS[name][0]] = {"vr": "IS", "Value": [number]}
    url = "".join(f"/{_TABLES[level]}/{uid}" for level, uid in zip(levels, uids, strict=True))
    dataset["00081190"] = {"vr": "UR", "Value": [base_url + url]}
    return dict(sorted(dataset.items()))


def _returned(attribute: Attribute, query: Query) -> bool:
    return attribute.default or query.everything or attribute.tag in query.named

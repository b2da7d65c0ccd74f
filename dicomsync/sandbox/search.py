"""The Search transaction (PS3.18 10.6) on the index: which rows match, in which order, what is returned."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydicom.datadict import tag_for_keyword

from dicomsync.sandbox.attributes import ATTRIBUTES, BY_NAME, COMPUTED, Attribute, Level, searchable
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
_COMPUTING = {  # only asked for at its own level, for at most a page of rows
    "ModalitiesInStudy": '(SELECT group_concat(DISTINCT "Modality") FROM series WHERE study = studies.key)',
    "NumberOfStudyRelatedInstances": "(SELECT count(*) FROM instances WHERE study = studies.key)",
    "NumberOfSeriesRelatedInstances": "(SELECT count(*) FROM instances WHERE series = series.key)",
}
_UP_TO = {  # what there was when a watermark was the newest
    Level.STUDY: "EXISTS (SELECT 1 FROM instances WHERE study = studies.key AND watermark <= ?)",
    Level.SERIES: "EXISTS (SELECT 1 FROM instances WHERE instances.series = series.key AND watermark <= ?)",
    Level.INSTANCE: "instances.watermark <= ?",
}
_HAS_MODALITY = """EXISTS (SELECT 1 FROM series AS any_series
    WHERE any_series.study = studies.key AND caseless(any_series."Modality") = caseless(?))"""
_DATE_RANGE = re.compile(r"(\d{8})?-(\d{8})?")

Json = dict[str, Any]


@dataclass(slots=True)
class Query:
    """One search: what it returns, which rows of it, and which attributes beside the usual ones."""

    level: Level
    limit: int = 100
    offset: int = 0
    wheres: list[str] = field(default_factory=list)
    values: list[str | int] = field(default_factory=list)
    named: set[str] = field(default_factory=set)  # tags asked for
    included: list[str] = field(default_factory=list)
    fuzzy: bool = False

    @property
    def everything(self) -> bool:
        """Whether all attributes of its level are returned."""
        return "all" in self.included

    def match(self, attribute: Attribute, value: str) -> None:
        """Ask for rows with this value, as the conformance statement matches ("Search Matching")."""
        column = f'{_TABLES[attribute.level]}."{attribute.keyword}"'
        self.named.add(attribute.tag)
        if attribute.vr == "DA" and _DATE_RANGE.fullmatch(value):
            self._match_dates(column, value)
        elif attribute.vr == "PN" and self.fuzzy:
            words = f"accentless(' ' || replace({column}, '^', ' '))"
            for word in re.split(r"[\s^]+", value.strip(" ^")):
                self._ask(f"{words} LIKE accentless(?) ESCAPE '!'", _beginning(word))
        elif attribute.vr == "UI":
            self._ask(f"{column} = ?", value.rstrip("\0 "))
        else:
            fold = "accentless" if attribute.vr == "PN" else "caseless"
            self._ask(f"{fold}({column}) = {fold}(?)", value.strip("\0 "))

    def match_modality(self, value: str) -> None:
        """Ask for what belongs to a study with a series of this modality."""
        self.named.add(COMPUTED["ModalitiesInStudy"][0])
        self._ask(_HAS_MODALITY, value)

    def up_to(self, watermark: int) -> None:
        """Ask for what there was when this watermark was the newest."""
        self._ask(_UP_TO[self.level], watermark)

    def _match_dates(self, column: str, value: str) -> None:
        """Ask for dates in a range, ends included (PS3.18 8.3.4.1)."""
        first, last = value.split("-")
        if not (first or last):
            raise Refusal(400, "A range needs at least one end.")
        for sign, end in ((">=", first), ("<=", last)):
            if end:
                self._ask(f"{column} {sign} ?", end)

    def _ask(self, condition: str, value: str | int) -> None:
        self.wheres.append(condition)
        self.values.append(value)


def _beginning(word: str) -> str:
    """Return the LIKE pattern of a text with blanks in which some word begins like this."""
    plain = re.sub("[!%_]", r"!\g<0>", word)
    return f"% {plain}%"


def parse(level: Level, uids: dict[str, str], parameters: Iterable[tuple[str, str]]) -> Query:
    """Read a search from the UIDs in its path and its query; 400 for what is not known or not possible.

    The limits are the conformance statement's: limit 1 to 200, 100 by default; an attribute that may
    not be searched for at this level, or has no value, is refused.
    """
    query = Query(level)
    for keyword, uid in uids.items():
        query.match(BY_NAME[keyword], uid)
    seen: set[str] = set()
    parameters = sorted(parameters, key=lambda one: one[0] != "fuzzymatching")  # it changes what others mean
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
        if value.lower() not in ("true", "false"):
            raise Refusal(400, "fuzzymatching is true or false.")
        query.fuzzy = value.lower() == "true"
    elif name == "includefield":
        _include(query, value)
    elif name.upper() == COMPUTED["ModalitiesInStudy"][0] or name == "ModalitiesInStudy":
        if uids:
            raise Refusal(400, "Within a study ModalitiesInStudy cannot be searched for.")
        query.match_modality(value)
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
        elif name in COMPUTED:
            query.named.add(COMPUTED[name][0])
        elif re.fullmatch(r"[0-9A-Fa-f]{8}", name):
            query.named.add(name.upper())
        elif name != "all" and tag_for_keyword(name) is None:
            raise Refusal(400, "includefield names an unknown attribute.")


def run(shelf: Shelf, query: Query, base_url: str) -> list[Json]:
    """Return the matching datasets as DICOM JSON, newest first; UIDs and Retrieve URL are always there."""
    levels = [level for level in Level if level <= query.level]
    columns = [f'{_TABLES[level]}."{_UIDS[level].keyword}"' for level in levels]
    columns += [f"{_TABLES[level]}.attributes" for level in levels]
    computed = [
        name for name, (tag, _, level) in COMPUTED.items() if level == query.level and tag in query.named
    ]
    columns += [_COMPUTING[name] for name in computed]
    where = f" WHERE {' AND '.join(query.wheres)}" if query.wheres else ""
    # Every name in this text is a constant of this package; what a client sent is bound.
    sql = (
        f"SELECT {', '.join(columns)} FROM {_FROM[query.level]}{where}"  # noqa: S608 - our own words
        f" ORDER BY {_ORDER[query.level]} DESC LIMIT {query.limit} OFFSET {query.offset}"
    )
    return [_dataset(row, query, levels, computed, base_url) for row in shelf.rows(sql, query.values)]


def _dataset(
    row: tuple[Any, ...], query: Query, levels: list[Level], computed: list[str], base_url: str
) -> Json:
    depth = len(levels)
    uids, attributes, worked_out = row[:depth], row[depth : 2 * depth], row[2 * depth :]
    known = {tag: value for text in attributes for tag, value in json.loads(text).items()}
    tags = {a.tag for a in ATTRIBUTES if a.level <= query.level and _returned(a, query)}
    dataset: Json = {tag: value for tag, value in known.items() if tag in tags}
    for level, uid in zip(levels, uids, strict=True):
        dataset[_UIDS[level].tag] = {"vr": "UI", "Value": [uid]}
    for name, value in zip(computed, worked_out, strict=True):
        tag, vr, _ = COMPUTED[name]
        found = sorted(filter(None, value.split(","))) if vr == "CS" else [value]
        dataset[tag] = {"vr": vr, **({"Value": found} if found else {})}
    url = "".join(f"/{_TABLES[level]}/{uid}" for level, uid in zip(levels, uids, strict=True))
    dataset["00081190"] = {"vr": "UR", "Value": [base_url + url]}
    return dict(sorted(dataset.items()))


def _returned(attribute: Attribute, query: Query) -> bool:
    return attribute.default or query.everything or attribute.tag in query.named

"""The Search transaction (PS3.18 10.6): any attribute, all six resources, paged to the end.

Archives cap their pages, some below what was asked for; some ignore the offset; pages repeat rows
while others store. So a page's length proves nothing: the end is a page that brings nothing new.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote

from ..errors import BadAnswer, UsageProblem
from .dicomjson import Dataset, clean_text, uid
from .http import httpx
from .kinds import Kind
from .session import Session

Level = Literal["studies", "series", "instances"]

STUDY_INSTANCE_UID: Final = "0020000D"
SERIES_INSTANCE_UID: Final = "0020000E"
SOP_INSTANCE_UID: Final = "00080018"
_IDENTITY: Final[dict[str, tuple[str, ...]]] = {
    "studies": (STUDY_INSTANCE_UID,),
    "series": (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID),
    "instances": (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID),
}

_MOST_PAGES: Final = 5000
_MOST_WARNINGS: Final = 20
_URL_BYTES: Final = 6000  # what every server and proxy takes in one line
_SAFE: Final = "*?,-.:"  # may stand as they are in a value (RFC 3986 3.4): wildcards, lists, ranges, times
_RAW: Final = _SAFE + "^|{}[]`~!$'()/;=@\\"  # all that can be sent at all, to an archive that decodes nothing
_WORD: Final = r"(?:[A-Za-z][A-Za-z0-9]{0,63}|[0-9A-Fa-f]{8})"
_NAME: Final = re.compile(rf"{_WORD}(?:\.{_WORD}){{0,7}}", re.ASCII)
_NOT_ATTRIBUTES: Final = frozenset({"limit", "offset", "includefield", "fuzzymatching", "emptyvaluematching"})
_ADVICE: Final = {
    400: "the archive does not take this search: check the attributes' names and values, and the base URL.",
    413: "there are more results than the archive gives: narrow the search.",
}

_MATCHED_EVERYWHERE: Final = frozenset(
    {
        *("StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy"),
        *("PatientName", "PatientID", "ReferringPhysicianName", "SeriesInstanceUID", "SeriesNumber"),
        *("Modality", "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
        *("SOPClassUID", "SOPInstanceUID", "InstanceNumber"),
    }
)
"""What every archive has to match by (PS3.18 Table 10.6.1-5): a name it knows for sure."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for: the parameters of one Search but its paging, checked in form.

    Attributes are named by keyword or tag, in sequences with dots (PS3.18 8.3.4). Whether a keyword
    exists is the archive's to say.
    """

    level: Level
    study: str | None = None
    series: str | None = None
    matching: tuple[tuple[str, str], ...] = ()
    include: tuple[str, ...] = ()
    fuzzy: bool = False

    def __post_init__(self) -> None:
        if self.level not in _IDENTITY:
            raise UsageProblem("a search is for studies, series or instances; nothing was sent")
        if self.series is not None and (self.study is None or self.level != "instances"):
            raise UsageProblem("within a series, in its study, there are only instances; nothing was sent")
        if self.study is not None and self.level == "studies":
            raise UsageProblem("within a study there are series and instances; nothing was sent")
        for name in (*(name for name, _ in self.matching), *self.include):
            if not _NAME.fullmatch(name) or name.lower() in _NOT_ATTRIBUTES:
                raise UsageProblem(
                    "what should name an attribute does not; nothing was sent",
                    hint="it is a keyword (PatientID) or a tag (00100020), in a sequence with dots.",
                )
        if any(not value for _, value in self.matching):
            raise UsageProblem("an attribute without a value finds everything; nothing was sent")

    def url(self, session: Session, safe: str) -> str:
        """Say it as a URL that ends in ? or &, all but `safe` encoded; raises UsageProblem if too long."""
        base = session.url(self.level) if self.study is None else session.resource(self.study, self.series)
        if self.study is not None:
            base = f"{base}/{self.level}"
        pairs = [*self.matching, *(("includefield", name) for name in self.include)]
        if self.fuzzy:
            pairs.append(("fuzzymatching", "true"))
        url = f"{base}?{''.join(f'{name}={quote(value, safe=safe)}&' for name, value in pairs)}"
        if len(url) > _URL_BYTES:
            raise UsageProblem("the search is too long for one line; nothing was sent", hint="ask for less.")
        return url


@dataclass(frozen=True, slots=True)
class Page:
    """One page: the rows no page before it had, and the answer's headers."""

    rows: list[Dataset]
    headers: httpx.Headers


def pages(
    session: Session,
    url: str,
    level: Level,
    page_limit: Callable[[], int],
    offset: int = 0,
) -> Iterator[Page]:
    """Page through a Search (a URL that ends in ? or &) until a page brings nothing new.

    `page_limit` says how many rows to ask for next; 0 ends it. A 404 is no end before the base URL
    has been proved. Raises BadAnswer for an archive whose pages have no end.
    """
    seen: set[tuple[str | None, ...]] = set()
    for _ in range(_MOST_PAGES):
        limit = page_limit()
        if limit <= 0:
            return
        answer = session.get(f"{url}limit={limit}&offset={offset}")
        if answer.status in (404, 410):
            session.prove()
            return
        page = answer.rows(_ADVICE)
        fresh = []
        news = False
        for row in page:
            identity = tuple(uid(row, tag) for tag in _IDENTITY[level])
            if identity not in seen or identity[-1] is None:
                fresh.append(row)
            if identity not in seen:
                news = True
                seen.add(identity)
        if not news:
            if len(page) < limit:
                return
            break
        yield Page(fresh, answer.headers)
        offset += len(page)
    raise BadAnswer("the archive's search gives no end: it repeats its pages, or has too many", status=200)


class SearchResults(Iterator[Dataset]):
    """What a Search finds, each once, as the requests for it are made; remembers the UIDs it has given.

    `warnings` has what the archive remarked so far (that results are partial, say): its own words,
    fit to print, for a person alone. An archive that changes meanwhile may leave out what it shifted.
    """

    def __init__(self, session: Session, kind: Kind, query: Query, limit: int | None, offset: int) -> None:
        if offset < 0 or (limit is not None and limit < 1):
            raise UsageProblem("a limit is at least 1, an offset at least 0; nothing was sent")
        if not kind.searches_across and not _is_narrow(query):
            raise UsageProblem(
                f"{kind.words} searches for studies, a study's series and a series' instances alone;"
                " nothing was sent"
            )
        self.warnings: list[str] = []
        if kind.ignores_unknown_names and not _names(query.matching) <= _MATCHED_EVERYWHERE:
            self.warnings.append(
                f"{kind.words} drops what it does not know from a search: look at the results"
            )
        url = query.url(session, _SAFE if kind.decodes_queries else _RAW)
        if "%" in url and not kind.decodes_queries:
            self.warnings.append(f"{kind.words} may not find blanks and other characters: put ? for each")
        self._left = limit
        self._page_limit = kind.page_limit
        self._rows = self._walk(session, url, query.level, offset)

    def __next__(self) -> Dataset:
        """Give the next one; may raise NoAnswer, BadAnswer, Refused and SecretProblem."""
        return next(self._rows)

    def _ask_for(self) -> int:
        return self._page_limit if self._left is None else min(self._page_limit, self._left)

    def _walk(self, session: Session, url: str, level: Level, offset: int) -> Iterator[Dataset]:
        for page in pages(session, url, level, self._ask_for, offset):
            self._note(page.headers)
            rows = page.rows if self._left is None else page.rows[: self._left]
            if self._left is not None:
                self._left -= len(rows)
            yield from rows

    def _note(self, headers: httpx.Headers) -> None:
        remarks = headers.get_list("warning")
        if tags := headers.get("erroneous-dicom-attributes"):  # the Medical Imaging Server's
            remarks.append(f"the stored values of these attributes are invalid: {tags}")
        for remark in remarks:
            shown = clean_text(remark, 500)
            if shown not in self.warnings and len(self.warnings) < _MOST_WARNINGS:
                self.warnings.append(shown)


def _names(matching: Sequence[tuple[str, str]]) -> set[str]:
    """The keywords among the names; a tag is known to all."""
    return {name for name, _ in matching if "." in name or not re.fullmatch(r"[0-9A-Fa-f]{8}", name)}


def _is_narrow(query: Query) -> bool:
    above = {"studies": (False, False), "series": (True, False), "instances": (True, True)}
    return above[query.level] == (query.study is not None, query.series is not None)

"""Which instances an archive has (PS3.18 10.6): each row is checked, and a wrong URL never means absence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ..errors import BadAnswer
from .dicomjson import Dataset, uid
from .kinds import Kind
from .search import SERIES_INSTANCE_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, pages
from .session import Session, checked_uid

_URL_BYTES: Final = 6000  # what every server and proxy takes in one line
_FEW: Final = 10  # so many are asked for one by one


def present(session: Session, kind: Kind, study: str, uids: Mapping[str, str]) -> frozenset[str]:
    """Say which of these SOP Instance UIDs (each with its series) the archive has in this study."""
    for one in {study, *uids, *uids.values()}:
        checked_uid(one)
    if not uids:
        return frozenset()
    if kind.uid_list_matching:
        return _by_list(session, kind, study, uids)
    if len(uids) <= _FEW:
        return _one_by_one(session, study, uids)
    return _by_series(session, kind, study, uids)


def inventory(session: Session, kind: Kind, study: str) -> Iterator[tuple[str, str]]:
    """Give the SOP and the Series Instance UID of every instance the archive has in this study.

    The series is "" where a row does not name it.
    """
    where = session.resource(study)
    if kind.searches_across:
        yield from _listed(session, kind, f"{where}/instances?", "")
        return
    for page in pages(session, f"{where}/series?", "series", lambda: kind.page_limit):
        for row in page.rows:
            if (series := uid(row, SERIES_INSTANCE_UID)) is not None:
                yield from _listed(session, kind, f"{where}/series/{checked_uid(series)}/instances?", series)


def _listed(session: Session, kind: Kind, url: str, series: str) -> Iterator[tuple[str, str]]:
    for page in pages(session, url, "instances", lambda: kind.page_limit):
        for row in page.rows:
            if (one := uid(row, SOP_INSTANCE_UID)) is not None:
                yield one, uid(row, SERIES_INSTANCE_UID) or series


def _by_list(session: Session, kind: Kind, study: str, uids: Mapping[str, str]) -> frozenset[str]:
    url = session.url("studies", study, "instances")
    found: set[str] = set()
    for group in _groups(uids, max(_URL_BYTES - len(url) - 60, 1)):
        query = f"{url}?SOPInstanceUID={','.join(group)}&"
        found |= _search(session, kind, query, study, {one: uids[one] for one in group})
    return frozenset(found)


def _one_by_one(session: Session, study: str, uids: Mapping[str, str]) -> frozenset[str]:
    found: set[str] = set()
    for one, series in uids.items():
        answer = session.get(f"{session.resource(study, series, one)}/metadata")
        if answer.status in (404, 410):
            continue
        if one not in {_believed(row, study, uids) for row in answer.rows()}:
            raise BadAnswer(
                "the archive answered with the metadata of another instance", status=answer.status
            )
        found.add(one)
    if len(found) < len(uids):
        session.prove()  # a wrong base URL gives 404 as well
    return frozenset(found)


def _by_series(session: Session, kind: Kind, study: str, uids: Mapping[str, str]) -> frozenset[str]:
    found: set[str] = set()
    for series in dict.fromkeys(uids.values()):
        wanted = {one: its_series for one, its_series in uids.items() if its_series == series}
        query = f"{session.resource(study, series)}/instances?"
        found |= _search(session, kind, query, study, wanted)
    return frozenset(found)


def _search(session: Session, kind: Kind, url: str, study: str, wanted: Mapping[str, str]) -> set[str]:
    """Page through a Search until all that is wanted was seen, or a page brings nothing new."""
    found: set[str] = set()
    for page in pages(session, url, "instances", lambda: kind.page_limit):
        found |= {one for row in page.rows if (one := _believed(row, study, wanted)) is not None}
        if found == wanted.keys():
            break
    return found


def _believed(row: Dataset, study: str, wanted: Mapping[str, str]) -> str | None:
    """Say the wanted instance a row is about; None if it is about another, in any of the three UIDs.

    A search below a study or series need not repeat their UIDs (PS3.18 10.6.3): the path has named
    them. One that is given must be right: the same SOP Instance UID may be in another series.
    """
    one = uid(row, SOP_INSTANCE_UID)
    if one is None or one not in wanted:
        return None
    fits_study = STUDY_INSTANCE_UID not in row or uid(row, STUDY_INSTANCE_UID) == study
    fits_series = SERIES_INSTANCE_UID not in row or uid(row, SERIES_INSTANCE_UID) == wanted[one]
    return one if fits_study and fits_series else None


def _groups(uids: Mapping[str, str], most_bytes: int) -> Iterator[list[str]]:
    """Cut a list of UIDs so that each piece, joined by commas, is at most so many bytes."""
    group: list[str] = []
    size = 0
    for one in uids:
        if group and size + len(one) + 1 > most_bytes:
            yield group
            group, size = [], 0
        group.append(one)
        size += len(one) + 1
    if group:
        yield group

"""Deleting by hand: what would go, the ledger's word first, the archive's answer, the ledger's word after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dicomsync import dicomweb
from dicomsync.byhand.retrieve import Place
from dicomsync.dicomweb import Outcome
from dicomsync.errors import DicomsyncError, Refused, UsageProblem
from dicomsync.words import count


@dataclass(frozen=True, slots=True)
class Contents:
    """What a search says is at a place; `rows` describe its study, for the person who is asked."""

    series: int
    instances: int
    study: dicomweb.Dataset | None


def contents(client: dicomweb.Client, place: Place) -> Contents | None:
    """Say what would go, None where this archive cannot be searched for it. Nothing there is zeros."""
    try:
        study = next(client.search("studies", matching={"StudyInstanceUID": place.study}, limit=1), None)
        if study is None:
            return Contents(0, 0, None)
        if place.sop is not None and place.series is not None:
            there = client.present(place.study, {place.sop: place.series})
            return Contents(len(there), len(there), study)
        if client.kind.searches_across or place.series is not None:
            found = [*client.search("instances", study=place.study, series=place.series)]
            series = {dicomweb.uid(row, "0020000E") or place.series for row in found}
            return Contents(len(series), len(found), study)
        counts = []
        for row in client.search("series", study=place.study):
            one = dicomweb.uid(row, "0020000E")
            counts.append(sum(1 for _ in client.search("instances", study=place.study, series=one)))
        return Contents(len(counts), sum(counts), study)
    except Refused as error:
        if error.status in (400, 403, 404, 405, 501):
            return None
        raise


def described(place: Place, found: Contents | None) -> str:
    """Say to the person who is asked what would go."""
    level = ("study", "series", "instance")[len(place.uids) - 1]
    if found is None:
        return f"The {level} {place.uids[-1]}; this archive cannot be searched for what is in it."
    if found.study is None or not found.instances:
        return f"A search finds no {level} {place.uids[-1]} there."
    shown = [dicomweb.value(found.study, tag) for tag in ("00100010", "00100020", "00080020", "00081030")]
    of = ", ".join(text for text in shown if text)
    lines = [f"The {level} {place.uids[-1]}: {count(found.series, 'series', 'series')}, "]
    lines[0] += f"{count(found.instances, 'instance')}."
    return "\n".join([*lines, *([f"Its study: {of}."] if of else [])])


def settled(delete: Callable[[], Outcome], settle: Callable[[bool], None]) -> str:
    """Have it deleted, and the ledger told; gives what is to be said.

    Only an archive that refused is taken for one that did nothing: after any other failure nobody knows,
    and the marks stay until it is asked again.
    """
    try:
        outcome = delete()
    except (Refused, UsageProblem):
        settle(False)
        raise
    except DicomsyncError as error:
        error.hint = "It may be deleted, or not: give the same command again."
        raise
    if outcome is not Outcome.UNFINISHED:
        settle(True)
    return words(outcome)


def words(outcome: Outcome) -> str:
    """Say what the archive did."""
    return {
        Outcome.DELETED: "Deleted.",
        Outcome.ABSENT: "It was not there.",
        Outcome.REJECTED: "Hidden by a rejection note; the archive may keep its bytes.",
        Outcome.UNFINISHED: "The archive has begun, and is not done: give the same command again later.",
    }[outcome]

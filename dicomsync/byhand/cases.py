"""Which conflicts a person means, by UID or by the handle that logs and lists print."""

from __future__ import annotations

from pathlib import Path

from dicomsync import handles
from dicomsync.errors import UsageProblem
from dicomsync.ledger import Conflict, Reader

_LISTED = "`dicomsync conflicts list` shows all of them."


def named(ledger: Path, subject: str) -> list[Conflict]:
    """Give the conflicts of one instance. Raises UsageProblem where there is none, and says what it is."""
    with Reader.open(ledger) as reader:
        row = _row("instance", subject)
        found = reader.conflicts(instance=row) if row is not None else reader.conflicts(uid=subject)
        if found:
            return found
        if _study_row(reader, subject) is not None:
            raise UsageProblem("This is a study.", hint="Give it as --study UID.")
        one = reader.instance(row) if row is not None else None
        known = [one] if one is not None else reader.instances_under(subject)
    if known:
        states = " and ".join(dict.fromkeys(str(one["state"]) for one in known))
        raise UsageProblem(f"This instance is in no conflict: it is {states}.", hint=_LISTED)
    raise UsageProblem("The ledger knows no conflict of this name.", hint=_LISTED)


def of_study(reader: Reader, study: str | None) -> list[Conflict]:
    """Give the conflicts of a study, or all without one. Raises UsageProblem where a study has none."""
    if study is None:
        return reader.conflicts()
    row = _study_row(reader, study)
    found = reader.conflicts(study=row) if row is not None else []
    if not found:
        raise UsageProblem("The ledger knows no conflict of this study.", hint=_LISTED)
    return found


def _study_row(reader: Reader, subject: str) -> int | None:
    row = _row("study", subject)
    if row is not None:
        return row
    found = reader.study_under(subject)
    return None if found is None else int(found["id"])


def _row(kind: str, subject: str) -> int | None:
    return handles.number(kind, subject.strip().lower().removeprefix(kind).strip(" :-"))

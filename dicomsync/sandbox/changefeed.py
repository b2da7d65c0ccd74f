"""The change feed: what was stored, replaced and deleted, in order.

Source: the Medical Imaging Server's change feed document, v2. No patient data: metadata is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dicomsync.sandbox.media import Refusal
from dicomsync.sandbox.shelf import Shelf, timestamp


def window(query: Mapping[str, str]) -> tuple[int, int, str, str]:
    """Read offset, limit (1 to 200, 100 by default), startTime and endTime of the change feed's v2."""
    offset, limit = query.get("offset", "0"), query.get("limit", "100")
    if not (_NUMBER.fullmatch(offset) and _NUMBER.fullmatch(limit) and 1 <= int(limit) <= 200):
        raise Refusal(400, "offset or limit is out of range.")
    since, until = (_instant(query.get(name, other)) for name, other in _WINDOW)
    return int(offset), int(limit), since, until


_NUMBER = re.compile("[0-9]{1,18}")
_WINDOW = (("startTime", "0001-01-01T00:00:00Z"), ("endTime", "9999-12-31T23:59:59Z"))


def _instant(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
        return timestamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):  # the latter in the first and last hours that can be written
        raise Refusal(400, "startTime or endTime is not a time.") from None


_CHANGES = "SELECT sequence, study, series, sop, action, happened_at, state FROM changes"
_CHANGE_NAMES = (
    "sequence", "studyInstanceUid", "seriesInstanceUid", "sopInstanceUid", "action", "timestamp", "state"
)  # fmt: skip


def page(shelf: Shelf, offset: int, limit: int, since: str, until: str) -> list[dict[str, Any]]:
    """Return entries from `since` to before `until`, oldest first."""
    sql = f"{_CHANGES} WHERE happened_at >= ? AND happened_at < ? ORDER BY sequence LIMIT ? OFFSET ?"
    return [_change(row) for row in shelf.rows(sql, [since, until, limit, offset])]


def latest(shelf: Shelf) -> dict[str, Any] | None:
    """Return the newest change feed entry, None if nothing has ever changed."""
    rows = shelf.rows(f"{_CHANGES} ORDER BY sequence DESC LIMIT 1", [])
    return _change(rows[0]) if rows else None


def _change(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(_CHANGE_NAMES, row, strict=True))

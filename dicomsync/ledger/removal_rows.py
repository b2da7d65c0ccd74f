"""The rows of mirrored deletions: folders that mirror, and what has left them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dicomsync.deletion import Root
from dicomsync.model import Due


@dataclass(frozen=True, slots=True)
class RootRow:
    """A folder that mirrors its deletions; `seconds` is its own clock, `identity` None until enrolled."""

    root_id: int
    path: bytes
    mode: str
    identity: Root | None
    seconds: float
    unhealthy: str
    frozen: str
    frozen_at: float | None


@dataclass(frozen=True, slots=True)
class Removal:
    """One instance whose last file has left; `first_seconds` and the like are in its folder's seconds."""

    removal_id: int
    root_id: int
    stage: str
    reason: str
    left_at: float
    first_scan: int | None
    first_seconds: float | None
    graced_seconds: float | None
    directory_gone: bool
    approved: bool
    due: Due
    study_id: int
    verified: bool


def root(
    root_id: int,
    path: bytes,
    mode: str,
    identity: str | None,
    seconds: float,
    unhealthy: str,
    frozen: str,
    frozen_at: float | None,
) -> RootRow:
    """Read a row of `roots`."""
    kept = None
    if identity is not None:
        values = json.loads(identity)
        kept = Root(**(values | {"nested": tuple(bytes.fromhex(one) for one in values["nested"])}))
    return RootRow(root_id, bytes(path), mode, kept, seconds, unhealthy, frozen, frozen_at)


def removal(row: Sequence[Any]) -> Removal:
    """Read a row of `removals` with its instance."""
    return Removal(
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        row[6],
        row[7],
        bool(row[8]),
        bool(row[9]),
        Due(*tuple(row)[10:22]),
        row[22],
        bool(row[23]),
    )

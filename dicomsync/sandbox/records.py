"""What a running archive tells about itself: the requests it got, the instances it holds."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

NOT_FOR_PATIENTS = "This is the dicomsync sandbox, an archive to practise with. It is not for patients."
"""What the root page and whoever starts the archive tell people."""


@dataclass(slots=True)
class Recorded:
    """What one request was and got. Times are monotonic; status 0 means that no answer was sent.

    A connection closed at once, before anything was read, has the method "(connection)". `finished` is
    set, as `status` is, before the client can know of either.
    """

    method: str
    path: str
    query: str = ""
    status: int = 0
    started: float = field(default_factory=time.monotonic)
    finished: float | None = None
    body_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """One stored instance as the directory really holds it now."""

    path: Path
    sha256: str

"""Programs that once broke a promise, shortened; a plain test tells each in words where it was mended."""

from __future__ import annotations

import pytest

from .simulation.happenings import Program
from .simulation.programs import run

FOUND: dict[str, tuple[int, Program]] = {
    # the archive had the UID in another study: it was sent and asked about for ever
    "a duplicate that is not shown": (12, [("foreign", 3110, 4034), ("put", 3254, 350)]),
    # its name was taken by a link while an answer about it was owed: no listing gave it again
    "a link in a file's place": (
        172,
        [("put", 2256, 2643), ("put", 2506, 1340), ("put", 2714, 3351), ("preallocate", 2008, 525),
         ("live", 3068, 206), ("copy", 1332, 2389), ("begin", 2908, 3636), ("rename", 744, 791),
         ("clock", 13, 1414), ("turn", 1487, 1580), ("special", 2768, 1659), ("again", 250, 1639)],
    ),
    # the turn that planned a request could not be committed: the daemon waited for that request
    "a request that was planned and never went": (
        1000387,
        [("put", 643, 2055), ("answers", 327, 2660), ("live", 2308, 3767), ("ledger", 3223, 4061),
         ("clock", 1256, 3064), ("turn", 3935, 695)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_once_is_found_no_more(name: str) -> None:
    seed, program = FOUND[name]
    assert not run(seed, program).broken

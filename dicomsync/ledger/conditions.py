"""States as SQL conditions."""

from __future__ import annotations

from dicomsync.states import CLAIMING, DUE


def listed(states: tuple[str, ...]) -> str:
    """Give states as SQL lists them."""
    return ", ".join(f"'{state}'" for state in states)


CLAIMED = f"state IN ({listed(CLAIMING)})"
"""The condition of a partial index; a query that wants the index must say it in the same words."""
UNCLAIMED = f"state NOT IN ({listed(CLAIMING)})"
LOST = "state = 'stored' AND found IN ('missing', 'differs')"
"""Stored, the ledger said, and the archive does not have it any more, or has something else."""
WAITING = f"state IN ({listed(DUE)})"

STAGES = ("left", "absent", "confirmed", "grace", "deleting", "deleted", "undone", "over")
"""Of a removal: not proved yet; proved once; twice, to be compared; in its grace; the intent is recorded;
the archive has it no more; a person took that back; nothing comes of it."""
OPEN = f"stage IN ({listed(STAGES[:5])})"

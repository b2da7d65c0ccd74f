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

"""States as SQL conditions."""

from __future__ import annotations

from dicomsync.states import CLAIMING, DUE


def listed(states: tuple[str, ...]) -> str:
    """Give states as SQL lists them."""
    return ", ".join(f"'{state}'" for state in states)


def one_of(column: str, states: tuple[str, ...]) -> str:
    """Give SQL for a column that holds one of these, as a table demands it of each row.

    IN would make a table of its list for every row that is written or looked at for damage: that was two
    thirds of the look, and two of the ten microseconds that a new instance takes.
    """
    return " OR ".join(f"{column} = '{state}'" for state in states)


def claims(state: str) -> str:
    """Give SQL for what an instance's `claims` is to be: 1 in a state that claims its UID, NULL in others."""
    return f"CASE {state} {_each(CLAIMING)} END"


def waits(state: str) -> str:
    """Give SQL for what an instance's `waits` is to be: 1 in a state that is due, 0 in others."""
    return f"CASE {state} {_each(DUE)} ELSE 0 END"


def _each(states: tuple[str, ...]) -> str:
    # not IN: see `one_of`
    return " ".join(f"WHEN '{state}' THEN 1" for state in states)


CLAIMED = f"state IN ({listed(CLAIMING)})"
WAITING = "waits = 1"
"""The condition of a partial index; a query that wants the index must say it in the same words."""
ODD = one_of("state", ("conflict", "rejected", "missed"))
"""Likewise, of what needs a person."""
LOST = "state = 'stored' AND found IN ('missing', 'differs')"
"""Stored, the ledger said, and the archive does not have it any more, or has something else."""

STAGES = ("left", "absent", "confirmed", "grace", "deleting", "deleted", "undone", "over")
"""Of a removal: not proved yet; proved once; twice, to be compared; in its grace; the intent is recorded;
the archive has it no more; a person took that back; nothing comes of it."""
OPEN = f"stage IN ({listed(STAGES[:5])})"

"""How often each thing happens in a life."""

from __future__ import annotations

from . import doubts, happenings, leaving, seldom
from .happenings import Act

WEIGHTS = {
    "put": 12, "replace": 3, "edit": 5, "begin": 4, "grow": 6, "preallocate": 2, "junk": 4, "special": 1,
    "rename": 4, "beside": 5, "overwrite": 5, "copy": 4, "link": 2, "touch": 3, "remove": 4, "remove_tree": 1,
    "move_tree": 3, "comes_back": 7, "while_read": 5, "while_sent": 4, "away": 1, "unreadable": 2,
    "hints": 10, "answers": 10, "asked_oddly": 4, "condition": 2, "foreign": 2, "turn": 30, "work": 30,
    "bring": 30, "live": 12, "crash": 5, "with_results": 4, "power_cut": 1, "start": 5, "again": 1,
    "command": 4, "all_at_once": 3, "in_vain": 3, "ledger": 2, "ledger_lost": 2, "clock": 12,
    "set_back_in_doubt": 3, "late_look": 2,
}  # fmt: skip
MIRRORED = {
    "fresh": 30, "mistake": 20, "long": 20, "link_elsewhere": 3, "purge": 1, "mirror": 1, "enrol": 3,
    "marker": 1, "mount": 1, "deletes_oddly": 4, "person": 10, "no_room": 1, "replaced_there": 1,
    "put": 3, "replace": 1, "edit": 1, "begin": 1, "grow": 2, "preallocate": 1, "junk": 1, "special": 1,
    "rename": 2, "copy": 1, "link": 1, "touch": 2, "remove": 6, "remove_tree": 1, "move_tree": 1,
    "while_sent": 1, "away": 3, "unreadable": 2, "hints": 8, "answers": 1, "asked_oddly": 2,
    "condition": 1, "foreign": 1, "turn": 8, "work": 8, "bring": 8, "live": 10, "crash": 3,
    "power_cut": 1, "start": 14, "again": 2, "command": 1, "ledger": 1, "ledger_lost": 1, "clock": 5,
    "back_in_doubt": 3,
}  # fmt: skip
"""How often each happens where deletions are mirrored."""
ROOMS = (happenings, seldom, leaving, doubts)
BY_NAME: dict[str, Act] = {
    name: next(found for room in ROOMS if (found := getattr(room, name, None))) for name in WEIGHTS | MIRRORED
}
FAULTY = frozenset({
    "answers", "asked_oddly", "condition", "foreign", "crash", "power_cut", "away", "unreadable", "ledger",
    "ledger_lost", "while_sent", "while_read", "with_results", "in_vain", "remove_tree", "move_tree",
    "set_back_in_doubt", "purge", "link_elsewhere", "marker", "mount", "deletes_oddly", "no_room",
    "replaced_there", "late_look", "back_in_doubt",
})  # fmt: skip
WITH_FILES = frozenset({
    "put", "replace", "edit", "begin", "grow", "preallocate", "junk", "special", "rename", "beside", "copy",
    "overwrite", "link", "touch", "remove", "remove_tree", "move_tree", "while_sent", "while_read",
    "comes_back",
})  # fmt: skip

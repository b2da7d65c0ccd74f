"""What a long run must have come by: every edge of both state graphs, every point to crash at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Edge = tuple[str, str]


def _edges(text: str) -> set[Edge]:
    """Read lines such as "pending > sending missed"."""
    found = set()
    for line in text.strip().splitlines():
        old, _, new = line.partition(">")
        found |= {(old.strip(), one) for one in new.split()}
    return found


# As seen from one committed turn to the next: a turn may take more than one step of the design's graph,
# such as from being sent, refused as too large, to being sent again.
INSTANCE_EDGES = _edges("""
    - > pending sending unconfirmed conflict
    pending > sending unconfirmed conflict missed deleting
    sending > pending unconfirmed stored conflict rejected missed
    unconfirmed > pending sending stored conflict rejected missed deleting
    conflict > pending unconfirmed
    rejected > pending sending
    missed > pending sending unconfirmed conflict
    stored > deleting leaving
    leaving > deleting stored
    deleting > pending sending unconfirmed stored leaving deleted missed
    deleted > pending sending unconfirmed
""")
# Two steps in one turn, of which each is an edge above: known, and not asked for. A person deletes what
# has just been found, has just come back, has just been sent or is tried again; what was in conflict goes
# at once.
TWO_AT_ONCE = _edges("""
    - > deleting
    sending > deleting
    rejected > deleting
    missed > deleting
    conflict > sending
""")
# What is not there when it is to be read is recorded as settling, and looked for: no file begins as gone.
FILE_EDGES = _edges("""
    - > settling ready held ignored
    settling > ready held ignored gone missed
    ready > settling held ignored gone
    held > settling ready ignored gone missed
    ignored > settling ready held gone
    gone > settling ready held ignored
    missed > settling ready held ignored
""")

K_POINTS = {
    "K1": "a listing was read and not recorded",
    "K2": "a file was recorded as settling",
    "K3": "a file was recorded as whole",
    "K4": "before an intent was committed",
    "K5": "an intent was committed and nothing handed out",
    "K6": "handed out, or connected, and no byte of the body sent",
    "K7": "a part of the body sent",
    "K8": "all of the body sent, no answer read",
    "K9": "an answer was read and not committed",
    "K10": "outcomes were committed",
    "K11": "the archive was asked, and what it said was not committed",
    "K12": "stored was committed, and nothing after it",
    "K13": "the intent to delete was committed, and no DELETE sent",
    "K14": "a DELETE was sent, and what came of it not committed",
}


def crash_points(point: str, before: Any, after: Any, jobs: Iterable[tuple[str, bool]]) -> set[str]:
    """Name the points, of the table and of the turn, that a crash is at."""
    found = {point}
    changed = {(before[0].get(number, (0, 0, "-"))[2], row[2]) for number, row in after[0].items()}
    changed = {edge for edge in changed if edge[0] != edge[1]}
    files = {row[2] for number, row in after[1].items() if before[1].get(number) != row}
    if point == "before commit":
        found |= {"K4"} if any(new == "sending" for _, new in changed) else set()
        found |= {"K9"} if any(old == "sending" for old, _ in changed) else set()
        found |= {"K11"} if any(old == "unconfirmed" for old, _ in changed) else set()
        found |= {"K1"} if files else set()
        found |= {"K14"} if any(old == "deleting" for old, _ in changed) else set()
    elif point in ("after commit", "hand-out"):
        found |= {"K2"} if "settling" in files else set()
        found |= {"K3"} if "ready" in files else set()
        found |= {"K5"} if any(new == "sending" for _, new in changed) else set()
        found |= {"K10"} if any(old == "sending" for old, _ in changed) else set()
        found |= {"K12"} if any(new == "stored" for _, new in changed) else set()
        found |= {"K13"} if ("leaving", "deleting") in changed else set()
    names = {
        "sent: nothing of the body": "K6",
        "sent: a part of the body": "K7",
        "sent: no answer read": "K8",
        "delete: not sent": "K13",
        "delete: no answer read": "K14",
    }
    found |= {names[point]} if point in names else set()
    for name, done in jobs:
        found |= {"K1"} if done and name in ("step", "changed", "look") else set()
        found |= {"K6"} if name == "store" and not done and point == "between turns" else set()
        found |= {"K9"} if name == "store" and done else set()
        found |= {"K14" if done else "K13"} if name == "delete" else set()
        found |= {"K11"} if name == "ask" and done else set()
    return found

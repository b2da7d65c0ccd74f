"""The goals, and whether a figure meets one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    """Which side of its bound a figure is to be on."""

    AT_LEAST = "≥"
    AT_MOST = "≤"


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for one figure."""

    direction: Direction
    bound: float

    def met(self, figure: float) -> bool:
        """Say whether a figure is on the right side; on the bound is met."""
        return figure >= self.bound if self.direction is Direction.AT_LEAST else figure <= self.bound

    def verdict(self, figure: float) -> str:
        """Say it in words, with the distance in percent of the bound."""
        word = "met" if self.met(figure) else "not met"
        return f"{word} ({(figure - self.bound) / self.bound:+.0%})" if self.bound else word


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure of ours, alone or against somebody else's; `missing` says why there is none.

    `rounds` are the figures that `figure` is the median of. `detail` says what it was made of.
    """

    what: str
    against: str
    figure: float | None = None
    unit: str = "x"
    goal: Goal | None = None
    rounds: tuple[float, ...] = ()
    detail: str = ""
    missing: str = ""

    @property
    def met(self) -> bool | None:
        """Whether its goal is met; None where it has none, or was not measured."""
        return None if self.goal is None or self.figure is None else self.goal.met(self.figure)

    @property
    def row(self) -> tuple[str, ...]:
        """Its line in the table."""
        goal = f"{self.goal.direction} {self.goal.bound:g} {self.unit}" if self.goal else ""
        if self.figure is None:
            return (self.what, self.against, "missing", goal, "not measured", "")
        verdict = self.goal.verdict(self.figure) if self.goal else ""
        spread = f"{min(self.rounds):.3g}-{max(self.rounds):.3g}" if len(self.rounds) > 1 else ""
        return (self.what, self.against, f"{self.figure:.3g} {self.unit}", goal, verdict, spread)


HEADS = ("what", "against", "figure", "goal", "verdict", "rounds")


def at_least(bound: float) -> Goal:
    """A figure that is to be this high."""
    return Goal(Direction.AT_LEAST, bound)


def at_most(bound: float) -> Goal:
    """A figure that is to be this low."""
    return Goal(Direction.AT_MOST, bound)


GOALS = {
    ("ct to orthanc", "dcmsend"): at_least(2.0),
    ("mr to orthanc", "dcmsend"): at_least(1.4),
    ("mr to orthanc", "dicomweb-client"): at_least(3.0),
    ("ct to the sink", "the limit (sendfile)"): at_least(0.25),
    ("mr to the sink", "the limit (sendfile)"): at_least(0.18),
    ("ct to the sink", "dicomweb-client"): at_least(7.0),
    ("mr to the sink", "dicomweb-client"): at_least(10.0),
    ("header of a CT", "pydicom"): at_least(20.0),
    ("unchanged rescan", "find -printf"): at_most(2.2),
    ("unchanged rescan, memory", ""): at_most(40.0),
    ("cost of a file as the tree grows", "first scan"): at_most(1.3),
    ("cost of a file as the tree grows", "unchanged scan"): at_most(1.3),
    ("backfill of ct, memory", ""): at_most(64.0),
    ("2 GB study above ct's memory", ""): at_most(15.0),
    ("to visible, p95, idle", "sink"): at_most(25.0),
    ("to visible, p95, idle", "orthanc"): at_most(40.0),
    ("lost of a burst, created", ""): at_most(0.0),
    ("lost of a burst, renamed", ""): at_most(0.0),
    ("--help", "python -c 'import click'"): at_most(1.5),
    ("status", "python -c 'import click'"): at_most(1.5),
    ("--bwlimit, off its rate", ""): at_most(5.0),
    ("orthanc, adapting", "the best fixed number"): at_most(1.1),
    ("the sink 50 ms away, adapting", "the best fixed number"): at_most(1.1),
    ("the sink at 100 MB/s, adapting", "the best fixed number"): at_most(1.1),
    ("one study to the sink", "ten as large together"): at_most(1.1),
    ("one study to orthanc", "ten as large together"): at_most(1.1),
    ("ledger's share of a backfill", "ct"): at_most(10.0),
    ("ledger's share of a backfill", "mr"): at_most(10.0),
}
"""From what was measured with a prototype that proved, hashed and recorded nothing."""

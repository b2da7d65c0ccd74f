"""The same life for Hypothesis: rules by group, so that it finds and shortens programs of its own."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from . import happenings
from .happenings import Act
from .programs import happens, quiet
from .site import Site

NUMBERS = st.integers(0, 4095)
FILES = [name for name in happenings.BY_NAME if name in happenings.WITH_FILES]


def one_of(*acts: Act) -> st.SearchStrategy[str]:
    """Choose a happening by name."""
    return st.sampled_from([act.__name__ for act in acts])


class LifeMachine(RuleBasedStateMachine):
    """One life; every step is judged, and the quiet after it."""

    site: Site

    @initialize(seed=st.integers(0, 59))
    def begins(self, seed: int) -> None:
        self.site = Site(seed)

    @rule(name=st.sampled_from(FILES), a=NUMBERS, b=NUMBERS)
    def files(self, name: str, a: int, b: int) -> None:
        happens(self.site, (name, a, b))

    @rule(name=one_of(happenings.away, happenings.unreadable), a=NUMBERS, b=NUMBERS)
    def folders(self, name: str, a: int, b: int) -> None:
        happens(self.site, (name, a, b))

    @rule(a=NUMBERS, b=NUMBERS)
    def watcher(self, a: int, b: int) -> None:
        happens(self.site, ("hints", a, b))

    @rule(
        name=one_of(
            happenings.answers,
            happenings.answers,
            happenings.asked_oddly,
            happenings.condition,
            happenings.foreign,
        ),
        a=NUMBERS,
        b=NUMBERS,
    )
    def archive(self, name: str, a: int, b: int) -> None:
        happens(self.site, (name, a, b))

    @rule(name=one_of(happenings.turn, happenings.work, happenings.bring), a=NUMBERS, b=NUMBERS)
    def loop(self, name: str, a: int, b: int) -> None:
        happens(self.site, (name, a, b))

    @rule(a=NUMBERS)
    def time_passes(self, a: int) -> None:
        happens(self.site, ("live", a, 0))

    @rule(
        name=one_of(happenings.crash, happenings.power_cut, happenings.start, happenings.again),
        a=NUMBERS,
        b=NUMBERS,
    )
    def daemon(self, name: str, a: int, b: int) -> None:
        happens(self.site, (name, a, b))

    @rule(
        name=one_of(happenings.command, happenings.all_at_once, happenings.ledger, happenings.clock),
        a=NUMBERS,
        b=NUMBERS,
    )
    def around(self, name: str, a: int, b: int) -> None:
        happens(self.site, (name, a, b))

    @invariant()
    def is_judged(self) -> None:
        if hasattr(self, "site"):
            self.site.oracle.check()

    def teardown(self) -> None:
        if not hasattr(self, "site"):
            return
        try:
            quiet(self.site)
        finally:
            self.site.close()

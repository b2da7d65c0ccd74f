"""What is on its way to the archive, and what may go beside it: so many at once, and how many of a study."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from dicomsync.congestion import Answered, Window
from dicomsync.model import Due
from dicomsync.pacing import Signal, Trouble

log = logging.getLogger("dicomsync.delivery")

STUDIES_KEPT = 1_000


@dataclass(slots=True, eq=False)
class Request:
    """One request on its way; `live` if it takes the share of what came live.

    `alone`: nothing else about its study may be on its way. `paths` are of the files it may have to read,
    `abreast` is how many were on their way as it `began` (monotonic seconds), it and what began in the same
    turn too: it is known once that turn has gone.
    """

    study: str
    live: bool
    paths: frozenset[bytes] = frozenset()
    alone: bool = True
    began: float = 0.0
    abreast: int = 1


class Traffic:
    """The requests on their way, never two about one instance.

    A study has one at a time; or as many batches as go, where the archive takes that and the study is known
    to be there, as the first batch makes it. A question about a study waits until they are back.
    """

    def __init__(self, transfers: int, hangs: Callable[[bytes], bool]) -> None:
        self._hangs = hangs
        self._out: set[Request] = set()
        self._planned: list[Request] = []
        self._held: dict[str, Request] = {}  # by study
        self._there: dict[str, None] = {}  # the latest studies of which the archive has stored something
        self._asks: set[str] = set()  # studies with a question that waits for what is on its way
        self._window = Window.first(transfers)

    @property
    def any(self) -> bool:
        """Whether anything is on its way."""
        return bool(self._out)

    @property
    def at_once(self) -> int:
        """How many requests may be on their way."""
        return self._window.requests

    @property
    def share(self) -> float:
        """Which share of the largest batch may go in one request."""
        return self._window.share

    @property
    def free(self) -> int:
        """How many more requests may go now; one that waits for a folder that hangs is in no one's way."""
        return self.at_once - len(self.moving)

    @property
    def moving(self) -> list[Request]:
        """The requests that are not stuck in a folder that hangs."""
        return [one for one in self._out if not any(map(self._hangs, one.paths))]

    def begin_turn(self) -> None:
        """Begin to plan: what was planned before has gone, all of it together."""
        if self._planned:
            abreast = len(self.moving)
            for one in self._planned:
                one.abreast = abreast
            self._planned.clear()

    def forget_planned(self) -> None:
        """Take back what was planned in a turn that could not be committed: nothing of it goes."""
        self._out.difference_update(self._planned)

    # of a study

    def about(self, study: str) -> list[Request]:
        """Give the requests about a study."""
        return [one for one in self._out if one.study == study]

    def may_take(self, study: str, *, shared: bool) -> bool:
        """Whether a batch of a study may go; `shared` if the archive takes several of one study at a time."""
        about = self.about(study)
        if not about:
            return True
        beside = shared and study in self._there and study not in self._asks
        return beside and not any(one.alone for one in about)

    def hold(self, study: str) -> None:
        """Let no request about a study go while something of it is being deleted."""
        self._held[study] = self._take(Request(study, live=True))

    def release(self, study: str) -> None:
        """Let requests about a study go again."""
        if (held := self._held.pop(study, None)) is not None:
            self._out.discard(held)

    def asks(self, studies: Iterable[str]) -> None:
        """Let no further batch of these studies go: a question waits for those that are on their way."""
        self._asks = set(studies)

    # going and coming back

    def ask(self, study: str, paths: frozenset[bytes]) -> Request:
        """Take down a question; it is about what was found already, and takes no share of the backlog's."""
        return self._take(Request(study, live=True, paths=paths))

    def send(self, study: str, paths: frozenset[bytes], mono: float, *, live: bool) -> Request:
        """Take down a batch."""
        return self._take(Request(study, live, paths, alone=False, began=mono))

    def _take(self, request: Request) -> Request:
        self._out.add(request)
        self._planned.append(request)
        return request

    def back(self, request: Request) -> None:
        """Take down that a request is not on its way any more."""
        self._out.discard(request)

    def learn(
        self, request: Request, sent: Sequence[Due], signal: Signal, mono: float, took_seconds: float
    ) -> None:
        """Learn from how a batch went, and how long that took, how much at once serves.

        The rest of the time since it was planned, it has waited for us.
        """
        before = self._window
        if signal.trouble in (Trouble.BUSY, Trouble.FAILING):
            self._window = before.troubled()
        elif signal.trouble is Trouble.NONE and sent:
            self._remember_there(request.study)
            size_bytes = sum(due.size_bytes for due in sent)
            seconds = mono - request.began
            waited = max(0.0, seconds - took_seconds)
            self._window = before.after(Answered(len(sent), size_bytes, seconds, request.abreast, waited))
        if (self.at_once, self.share) != (before.requests, before.share):
            log.debug("%d requests at a time, %.3g of a batch", self.at_once, self.share)

    def _remember_there(self, study: str) -> None:
        self._there[study] = None
        if len(self._there) > STUDIES_KEPT:
            del self._there[next(iter(self._there))]

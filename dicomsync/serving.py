"""What a running daemon answers to commands: orders go into its loop, progress comes out of the ledger.

Each command is answered in a thread of its own, which waits for the loop and reads the ledger as any
reader does; the loop never waits for a command.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from dicomsync import commanded, orders, resolution
from dicomsync.config import Config
from dicomsync.engine import Engine
from dicomsync.errors import DicomsyncError, UsageProblem
from dicomsync.ledger import Reader
from dicomsync.mirror_orders import Approve, Cancel, Enrol, Undo
from dicomsync.model import Moment
from dicomsync.wiring import archive_of, folders_of, keep_out

Message = dict[str, Any]
T = TypeVar("T")

ORDER_SECONDS = 60.0
LOOK_SECONDS = 0.5
REST_TIMES = 10.0  # a look that costs is followed by a rest ten times as long


class Desk:
    """Answers commands for a daemon, whose engine and config of the moment it asks for."""

    def __init__(self, engine: Callable[[], Engine | None], config: Callable[[], Config]) -> None:
        self._engine = engine
        self._config = config

    def answer(self, message: Message) -> Iterator[Message]:
        """Do what a message asks, and give the messages to answer with; raises DicomsyncError."""
        order = orders.from_message(message)
        engine = self._engine()
        if engine is None:
            raise DicomsyncError(
                "The daemon is not at work at the moment: it waits for its ledger, or takes a new config. "
                "Nothing was done.",
                hint="`dicomsync status` and the daemon's log say more.",
            )
        match order:
            case orders.Retry():
                retried = _carried_out(engine, commanded.retry, order)
                yield {"retried": asdict(replace(retried, directories=())), "last": True}
            case orders.Withdraw():
                yield {"instances": _carried_out(engine, commanded.withdraw, order), "last": True}
            case orders.Settle():
                yield {"instances": _carried_out(engine, commanded.settle, order), "last": True}
            case resolution.Resolve():
                yield {"instances": _carried_out(engine, commanded.resolve, order), "last": True}
            case orders.Saw():
                yield {"alarms": _carried_out(engine, commanded.saw, order), "last": True}
            case orders.Heal():
                yield {"healed": _carried_out(engine, commanded.heal, order), "last": True}
            case Enrol() | Approve() | Cancel() | Undo():
                yield {"instances": _carried_out(engine, commanded.mirrored, order), "last": True}
            case orders.Backfill():
                yield from self._backfill(engine, order)

    def _backfill(self, engine: Engine, order: orders.Backfill) -> Iterator[Message]:
        config = self._config()
        if archive_of(config.archive).url != order.archive.rstrip("/"):
            raise UsageProblem(
                "The daemon that has this ledger stores into another archive; nothing was done.",
                hint="One ledger accounts for one archive: give the daemon's own, or another ledger.",
            )
        folders = [
            replace(one, include=order.include or one.include, exclude=order.exclude or one.exclude)
            for one in folders_of(config, [Path(path) for path in order.paths])
        ]
        keep_out(Path(config.ledger.path), folders)
        visit = _done(engine.order(partial(engine.visit, folders)))
        try:
            while engine is self._engine():
                began = time.monotonic()
                standing = visit.standing  # read before the ledger: what it says is read is in there
                with Reader.open(Path(config.ledger.path)) as reader:
                    outcomes = [list(asdict(one).values()) for one in reader.outcomes(visit.roots)]
                    studies = reader.studies_below(visit.roots)
                yield {"standing": asdict(standing), "outcomes": outcomes, "studies": studies}
                time.sleep(max(LOOK_SECONDS, REST_TIMES * (time.monotonic() - began)))
        finally:
            engine.leave(visit)


def _carried_out(engine: Engine, act: Callable[[Engine, Any, Moment], T], order: object) -> T:
    return _done(engine.order(partial(act, engine, order)))


def _done(future: Future[T]) -> T:
    try:
        return future.result(ORDER_SECONDS)
    except TimeoutError:
        raise DicomsyncError(
            "The daemon did not come to it within a minute; it may still do it.",
            hint="Is its ledger's disk slow or full? Its log says more.",
        ) from None

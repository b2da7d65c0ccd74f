"""What commands have a running loop do: each of these belongs into an `Engine.order`.

The rooms for it are imported with this one, and by no backfill: they would be a twelfth of its imports.
"""

from __future__ import annotations

from dicomsync import mirror_orders, orders, resolution
from dicomsync.engine import Engine
from dicomsync.model import Moment


def retry(engine: Engine, wanted: orders.Retry, now: Moment) -> orders.Retried:
    """Let what is wanted be tried again at once."""
    retried = orders.retry(engine.ledger, wanted, engine.pace.at(now), now.wall)
    engine.hint(retried.directories)
    engine.delivery.hurry(now)
    return retried


def withdraw(engine: Engine, order: orders.Withdraw, now: Moment) -> int:
    """Let go of what a person is having deleted; `settle` comes after it."""
    del now
    if engine.delivery.traffic.about(order.study):
        raise orders.being_sent()
    return orders.withdraw(engine.ledger, order)


def settle(engine: Engine, order: orders.Settle, now: Moment) -> int:
    """Record what came of a person's deletion."""
    return orders.settle(engine.ledger, order, now.wall)


def resolve(engine: Engine, order: resolution.Resolve, now: Moment) -> int:
    """Record what a person decides about conflicts."""
    begins = order.step in (resolution.Step.BEGIN, resolution.Step.FIRST)
    if begins and any(map(engine.delivery.traffic.about, resolution.studies(engine.ledger, order))):
        raise resolution.moving()
    return resolution.resolve(engine.ledger, order, engine.pace.at(now), now.wall)


def saw(engine: Engine, order: orders.Saw, now: Moment) -> int:
    """Record what a person's `verify` saw in the archive."""
    del now
    return orders.saw(engine.ledger, order)


def heal(engine: Engine, order: orders.Heal, now: Moment) -> int:
    """Let what the archive has lost be stored again."""
    return orders.heal(engine.ledger, order, engine.pace.at(now), now.wall)


def mirrored(engine: Engine, order: mirror_orders.MirrorOrder, now: Moment) -> int:
    """Do what a person orders about mirrored deletions."""
    done = mirror_orders.carry_out(engine.ledger, order, engine.pace.at(now), now.wall)
    if isinstance(order, mirror_orders.Enrol):
        engine.mirroring.evidence.enrolled()
    return done

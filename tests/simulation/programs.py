"""Programs: lives as lists of small values, made from a seed, run again, shortened by hand or machine.

Every happening is a name and two numbers, taken modulo whatever there is to choose from, so that any
part of a program is a program.
"""

from __future__ import annotations

import operator
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dicomsync import orders

from . import trial
from .happenings import Happening, Program
from .site import Site
from .verdict import Violation, promise
from .weights import BY_NAME, FAULTY, MIRRORED, WEIGHTS

QUIET_SECONDS = 2 * 3600.0


@dataclass
class Life:
    """What came of a program; `broken` says which promise was not kept."""

    seed: int
    program: Program
    steps: int = 0
    crashes: int = 0
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    broken: str = ""


def happens(site: Site, happening: Happening) -> None:
    """Let one thing happen, and have it judged."""
    name, a, b = happening
    BY_NAME[name](site, a, b)
    if name in FAULTY:
        site.oracle.count("fault", name)
    site.oracle.check()


def made(seed: int, length: int) -> Program:
    """Make a program from a seed; each leaves out half of the faults, so that the others get further.

    In one of seven a folder, or two, mirror deletions: those live longer.
    """
    luck = random.Random(seed)
    acts = MIRRORED if luck.random() < 1 / 7 else WEIGHTS
    left_out = {name for name in sorted(FAULTY) if luck.random() < 0.5}
    names = luck.choices(list(acts), [0 if name in left_out else acts[name] for name in acts], k=length)
    if acts is MIRRORED:
        names = ["mirror", "live", "enrol", "enrol", "live", *names][:length]
    return [(name, luck.randrange(1 << 12), luck.randrange(1 << 12)) for name in names]


def run(seed: int, program: Sequence[Happening], home: Path | None = None) -> Life:
    """Live a program to its end, and through the quiet after it."""
    life = Life(seed, list(program))
    site = Site(seed, home)
    try:
        for happening in program:
            happens(site, happening)
            life.steps += 1
        quiet(site)
    except Violation as violation:
        life.broken = str(violation)
    except Exception as error:
        life.broken = f"{type(error).__name__}: {error}"
    finally:
        life.steps += site.turns
        life.crashes = site.crashes
        life.seen = site.oracle.seen
        for fault, n in site.archive.faults.items():
            life.seen["fault", f"archive: {fault}"] += n
        site.close()
    return life


def quiet(site: Site) -> None:
    """End every fault, let time pass, and look whether everything is where it belongs (liveness)."""
    site.heal()
    site.advance(300.0)  # what a process that ended had out, and what the archive was at, comes to its end
    site.mirrors.configure(replace(site.mirrors.config, excluded=()))
    if site.once or site.engine is None:
        site.crash("now")
        site.once = False
        site.start()
    until_finished(site)
    if site.engine is not None:
        site.engine.order(site.undo_deletions)
        site.retry(orders.Retry(rejected=True, held=True))
    until_finished(site)
    if site.mirrors.config.mirrors:
        trial.settles(site)
        until_finished(site)
    site.oracle.at_rest()
    requests, rows = len(site.archive.requests), site.oracle.rows
    site.crash("now")
    site.start()
    until_finished(site)
    site.oracle.at_rest()
    promise(len(site.archive.requests) == requests, "I13: a second pass sends something")
    promise(site.oracle.rows == rows, "I13: a second pass changes something")
    if site.mirrors.config.mirrors:
        trial.trial(site, returns=site.settings % 3 == 0)
        until_finished(site)
        site.oracle.at_rest()


def until_finished(site: Site) -> None:
    """Let time pass until each folder was read whole once more and nothing is left to do, or half done."""
    site.rest()
    engine, begun = site.engine, site.full_passes
    end = site.true + QUIET_SECONDS
    while site.true < end:
        site.passes(65.0)
        if site.engine is None or site.engine is not engine:  # a new one begins with full passes
            engine, begun = site.engine, []
        read = all(map(operator.gt, site.full_passes, begun))
        if engine is not None and engine.finished and read and not site.oracle.deletions.under_way:
            return


def shortened(seed: int, program: Program, broken: str, most: int = 400) -> Program:
    """Take out of a program whatever the same promise is broken without."""
    code, tries = _code(broken), 0
    size = max(1, len(program) // 2)
    while size >= 1:
        at = 0
        while at < len(program) and tries < most:
            shorter = program[:at] + program[at + size :]
            tries += 1
            if _code(run(seed, shorter).broken) == code:
                program = shorter
            else:
                at += size
        if size == 1:
            break
        size = max(1, size // 2)
    return program


def _code(broken: str) -> str:
    return broken.partition(":")[0]

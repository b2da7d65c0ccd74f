"""Try hostile input of every kind, again and again, until the time is over.

    python -m benchmarks.fuzz --minutes 30 --seed 1

Prints each input that breaks a promise, as small as it can be made; the last line is the sum. Ends
with 1 if there was one. The promises are the functions of `tests/fuzzing`.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # also as a plain script

from tests.fuzzing import Property, promises

AT_A_TIME, COSTLY_AT_A_TIME = 1_000, 20


def main() -> int:
    """Run, print, and give the exit code."""
    options = _options()
    logging.getLogger("dicomsync").addHandler(logging.NullHandler())  # it has much to say here
    end = time.monotonic() + 60 * options.minutes
    wanted = {name: one for name, one in promises().items() if options.only in name}
    tried: Counter[str] = Counter()
    broken: set[str] = set()
    turn = 0
    while not turn or time.monotonic() < end:
        for name, promise in wanted.items():
            if name not in broken and not _holds(name, promise, (options.seed, turn), tried):
                broken.add(name)
            if turn and time.monotonic() >= end:
                break
        turn += 1
    for name, n in sorted(tried.items()):
        print(f"{n:>9}  {name}")
    print(f"fuzz: {tried.total()} inputs, {len(broken)} findings")
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="how long; fractions are fine")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other inputs")
    parser.add_argument("--only", default="", help="only promises with this in their name")
    return parser.parse_args()


def _holds(name: str, promise: Property, luck: tuple[int, int], tried: Counter[str]) -> bool:
    """Try some inputs; tells the smallest that breaks the promise."""
    latest: list[Any] = [None]

    def check(drawn: Any) -> None:
        tried[name] += 1
        latest[0] = drawn
        promise.check(drawn)

    profile = settings(
        max_examples=COSTLY_AT_A_TIME if promise.costly else AT_A_TIME,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    try:
        profile(seed(hash(luck))(given(promise.inputs)(check)))()
    except Exception:
        print(f"\n{name}, seed {luck[0]}, turn {luck[1]}", flush=True)
        traceback.print_exc(limit=-3)
        print(f"    {latest[0]!r}", flush=True)  # the last one tried is the smallest
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())

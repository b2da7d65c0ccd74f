"""Live the daemon's life again and again, with everything that can go wrong, until the time is over.

    python -m benchmarks.soak --minutes 10 --seed 1

Prints what went wrong and what was come by; the last line is the sum. Ends with 1 if a promise was not
kept (the program that shows it is printed, shortened), or if a run of a million steps came by too little.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # also as a plain script

from tests.simulation import coverage
from tests.simulation.happenings import ACTS, FAULTY
from tests.simulation.programs import Life, made, run, shortened

HAPPENINGS = 200
LONG_STEPS = 1_000_000
LIVES_A_SEED = 1_000_000


def main() -> int:
    """Run, print, and give the exit code."""
    options = _options()
    end = time.monotonic() + 60 * options.minutes
    began = told = time.monotonic()
    steps = crashes = lives = 0
    seen: Counter[tuple[str, str]] = Counter()
    broken: list[Life] = []
    for life in _lives(options, end):
        lives, steps, crashes = lives + 1, steps + life.steps, crashes + life.crashes
        seen.update(life.seen)
        if life.broken:
            broken.append(life)
            _tell(life)
            if len(broken) >= options.violations:
                break
        if time.monotonic() - told > 60:
            told = time.monotonic()
            print(f"{steps} steps, {lives} lives, {steps / (told - began):.0f} steps a second", flush=True)
    missing = _report(seen)
    seconds = time.monotonic() - began
    print(f"\n{lives} lives in {seconds:.0f} s, {steps / seconds:.0f} steps a second")
    faults = sum(n for (kind, _), n in seen.items() if kind == "fault")
    print(f"soak: {steps} steps, {crashes} crashes, {faults} faults, {len(broken)} violations")
    return 1 if broken or (missing and steps >= LONG_STEPS) else 0


def _lives(options: argparse.Namespace, end: float) -> Iterator[Life]:
    """Give life after life, one at least, made in as many processes as are asked for."""
    seeds = itertools.count(options.seed * LIVES_A_SEED)
    with ProcessPoolExecutor(options.processes) as pool:
        under_way = deque(pool.submit(_live, next(seeds)) for _ in range(2 * options.processes))
        while under_way:
            yield under_way.popleft().result()
            if time.monotonic() < end:
                under_way.append(pool.submit(_live, next(seeds)))


def _live(seed: int) -> Life:
    return run(seed, made(seed, HAPPENINGS))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="how long; fractions are fine")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other lives")
    parser.add_argument("--processes", type=int, default=1, help="how many lives at a time")
    parser.add_argument("--violations", type=int, default=5, help="stop after so many")
    return parser.parse_args()


def _tell(life: Life) -> None:
    print(f"\nseed {life.seed}: {life.broken}", flush=True)
    print(f"    run({life.seed}, {shortened(life.seed, life.program, life.broken)!r})", flush=True)


def _report(seen: Counter[tuple[str, str]]) -> list[str]:
    """Print what was come by, and give what was not."""
    wanted = {
        "fault": sorted({act.__name__ for act in ACTS} & FAULTY),
        "crash": sorted(coverage.K_POINTS, key=lambda name: int(name[1:])),
        "instance edge": sorted(f"{old} > {new}" for old, new in coverage.INSTANCE_EDGES),
        "file edge": sorted(f"{old} > {new}" for old, new in coverage.FILE_EDGES),
    }
    missing = []
    for kind, names in wanted.items():
        print(f"\n{kind}s")
        others = sorted({what for one, what in seen if one == kind} - set(names))
        for name in [*names, *others]:
            words = coverage.K_POINTS.get(name, "") if kind == "crash" else ""
            print(f"{seen[kind, name]:>9}  {name}  {words}".rstrip())
            if not seen[kind, name]:
                missing.append(f"{kind} {name}")
    for name in missing:
        print(f"never reached: {name}")
    return missing


if __name__ == "__main__":
    sys.exit(main())

"""Tests that test the tests: small mistakes put into a copy of dicomsync, each of which a named test must see.

    python -m tests.mutants                # all of them, with a table; ends with 1 if one survives
    python -m tests.mutants M4 I7          # only these

A mutant is one substitution; it is refused where what it replaces is not there just once, so that none
outlives the line that it is about. M numbers are those of the mistakes that this project set out to
survive; the I numbers are the promises of `docs/promises.md` that no such mistake is about. What is
about mirrored deletions comes with deletions.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("dicomsync", "tests", "pyproject.toml", "docs", "systemd", "README.md", "config.example.toml")
SECONDS = 110  # for one mutant's tests


@dataclass(frozen=True)
class Mutant:
    """One mistake: in `file` of the package, `old` becomes `new`; at least one of `killers` must fail."""

    name: str
    words: str
    file: str
    old: str
    new: str
    killers: tuple[str, ...]


WITH_DELETIONS = {
    "M1": "skip marker check",
    "M3": "events drive deletions",
    "M16": "no second confirming scan",
    "M17": "guard > for >=, or counted per scan and not per day",
    "M18": "hold from the wall clock",
    "M19": "study-level DELETE",
    "M20": "filter change taken for absence",
    "M21": "fresh ledger may delete",
}

MUTANTS = (
)


class Stale(Exception):
    """What a mutant replaces is not in its file just once: the mutant speaks of code that is gone."""


def mutated(text: str, mutant: Mutant) -> str:
    """Give a file's text with the mistake in it."""
    if text.count(mutant.old) != 1:
        raise Stale(f"{mutant.name}: {text.count(mutant.old)} places in {mutant.file} are as it says")
    return text.replace(mutant.old, mutant.new)


def survives(mutant: Mutant) -> str:
    """Run the killers on a copy with the mistake in it; gives "" if they see it, else what they printed.

    Only tests that ran and failed count: a copy that cannot even be imported proves nothing.
    """
    with tempfile.TemporaryDirectory(prefix="mutant-") as home:
        copy = Path(home)
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name)
            else:
                shutil.copy2(ROOT / name, copy / name)
        file = copy / "dicomsync" / mutant.file
        file.write_text(mutated(file.read_text(), mutant))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
        done = subprocess.run(
            [*command, *mutant.killers],
            cwd=copy,
            env={name: one for name, one in os.environ.items() if not name.startswith("PYTEST")} | {"PYTHONPATH": home},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return "" if done.returncode == 1 else f"pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}"


def main() -> int:
    """Try the mutants, print a line for each, and give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only these")
    names = parser.parse_args().names
    wanted = [one for one in MUTANTS if not names or one.name in names or one.name.rstrip("abc") in names]
    left = []
    for one in wanted:
        began = time.monotonic()
        printed = survives(one)
        fate = "SURVIVES" if printed else "killed"
        print(f"{one.name:<5}{fate:<10}{time.monotonic() - began:5.1f} s  {one.words}", flush=True)
        print(f"{'':<23}{', '.join(one.killers)}")
        if printed:
            left.append(one.name)
            print(printed)
    for name, words in WITH_DELETIONS.items():
        print(f"{name:<5}{'-':<10}{'':<7}  {words}: comes with deletions")
    print(f"mutants: {len(wanted)} tried, {len(left)} survive")
    return 1 if left or not wanted else 0


if __name__ == "__main__":
    sys.exit(main())

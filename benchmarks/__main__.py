"""Measure dicomsync beside its peers, and say which goals are met.

    python -m benchmarks --quick            # some minutes
    python -m benchmarks --full --json      # an hour, on a quiet machine

Everything runs on loopback; files are made up once and kept in --cache. Ends with 1 if a goal that was
measured is not met.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.corpora import Shelf
from benchmarks.goals import HEADS, Finding
from benchmarks.measuring import compile_all, table
from benchmarks.profiles import FULL, QUICK, SECTIONS, Bench, machine, measured


def main() -> int:
    """Measure, print, and give the exit code."""
    options = _options()
    on = machine()
    options.cache.mkdir(parents=True, exist_ok=True)
    compile_all()
    findings: list[Finding] = []
    with tempfile.TemporaryDirectory(dir=options.work) as place:
        profile = FULL if options.full else QUICK
        bench = Bench(profile, Shelf(options.cache, options.seed), Path(place), options.seed)
        for name in options.only or SECTIONS:
            began = time.monotonic()
            for finding in measured(name, bench):
                findings.append(finding)
                print("  ".join(filter(None, (*finding.row, finding.detail))), file=sys.stderr, flush=True)
            print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(_as_json(on, profile.name, findings) if options.json else _as_text(on, profile.name, findings))
    return 1 if any(one.met is False for one in findings) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="some minutes and 1 GB of files (the default)")
    size.add_argument("--full", action="store_true", help="an hour and 8 GB of files: what goals are held to")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), help="these sections alone")
    parser.add_argument(
        "--cache", type=Path, default=_cache(), help="where made-up files are kept (%(default)s)"
    )
    parser.add_argument(
        "--work", type=Path, help="where ledgers and archives live meanwhile (a temporary one)"
    )
    parser.add_argument("--seed", type=int, default=0, help="other files, as many")
    parser.add_argument("--json", action="store_true", help="print it for a program")
    return parser.parse_args()


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "dicomsync-benchmarks"


def _as_text(on: dict[str, str], profile: str, findings: Sequence[Finding]) -> str:
    goals = [one for one in findings if one.goal]
    met = sum(one.met is True for one in goals)
    missed = [f"{one.what}, {one.against}".removesuffix(", ") for one in goals if one.met is False]
    absent = [f"{one.what}, {one.against}: {one.missing}" for one in findings if one.missing]
    lines = [
        ", ".join(f"{name} {value}" for name, value in on.items()),
        "",
        table(HEADS, [one.row for one in findings]),
        "",
        f"{profile} profile: {met} of {len(goals)} goals met",
    ]
    lines += [f"not met: {one}" for one in missed] + [f"not measured: {one}" for one in absent]
    return "\n".join(lines)


def _as_json(on: dict[str, str], profile: str, findings: Sequence[Finding]) -> str:
    rows = [asdict(one) | {"met": one.met} for one in findings]
    return json.dumps({"machine": on, "profile": profile, "findings": rows}, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())

"""The ledger's place: can it be made or written, does someone hold it, whose is it, is there room?"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from dicomsync import mounts
from dicomsync.concerns import TOO_LITTLE
from dicomsync.doctor.check import Check, looked, ok, problem, user, warning
from dicomsync.ledger import Reader, holding
from dicomsync.words import size


def examine(path: Path, url: str, least_bytes: float) -> list[Check]:
    """Can it be made or written, does someone hold it, whose is it, is there room?"""
    path = Path(os.path.realpath(path))
    kind = mounts.kind(os.fsencode(path.parent))
    ground = next(one for one in path.parents if os.path.exists(one))
    checks = [_ledger_file(path, ground, kind), _holder(path)]
    if os.path.exists(path):
        checks += looked("ledger archive", lambda: [_bound(path, url)])
    return [*checks, _room(ground, least_bytes)]


def _ledger_file(path: Path, ground: Path, kind: str) -> Check:
    name = "ledger"
    if kind != "local":
        words = f"{path} is on a {kind} file system, where SQLite cannot be trusted"
        return problem(name, words, "Put it on a local disk: the folders may stay where they are.")
    if path.is_dir() or not ground.is_dir():
        return problem(name, f"{path} cannot be a file there", "Correct ledger.path.")
    if not os.access(ground, os.W_OK | os.X_OK):
        return problem(name, f"{ground} cannot be written to", f"Let user {user()} write there.")
    if not os.path.exists(path):
        first = "the first `backfill` or `run` makes it, and `backfill -n` says what it would send"
        return ok(name, f"{path} is not there yet, and can be made: {first}")
    if not os.access(path, os.R_OK | os.W_OK):
        return problem(name, f"{path} cannot be written to", f"Let user {user()} own it.")
    return ok(name, f"{path} can be written to")


def _holder(path: Path) -> Check:
    """Say who holds the lock, from the kernel's table: to try it would be in the way of a daemon's start."""
    name = "ledger lock"
    try:
        held = holding.holder(path)
    except OSError:
        return warning(name, "could not be looked at: there is no /proc/locks")
    return ok(name, f"held by process {held}: a daemon or a backfill is at work" if held else "free")


def _bound(path: Path, url: str) -> Check:
    with Reader.open(path) as reader:
        bound = reader.fact("archive")
    if bound is None or bound == url:
        return ok("ledger archive", "it speaks of this archive" if bound else "it speaks of no archive yet")
    words = f"it speaks of {bound}, not of {url}"
    return problem("ledger archive", words, "Use one ledger for each archive: correct one of the two.")


def _room(ground: Path, least_bytes: float) -> Check:
    """Say how much room there is; from where on that is little is what alerts and `status` go by."""
    free = shutil.disk_usage(ground).free
    words = f"{size(free)} free where the ledger is"
    if free < least_bytes:
        say = problem if free < least_bytes * TOO_LITTLE else warning
        return say("ledger disk", words, "Free some: with a full disk nothing is recorded, so nothing sent.")
    return ok("ledger disk", words)

"""Folders whose deletions are mirrored: are they enrolled, and still the ones that were?"""

from __future__ import annotations

import os
from pathlib import Path

from dicomsync import config as configs
from dicomsync import deletion, reasons, roots
from dicomsync.config import Config
from dicomsync.doctor.check import Check, ok, problem, warning
from dicomsync.errors import LedgerProblem
from dicomsync.ledger import Reader, RootRow


def examine(config: Config) -> list[Check]:
    """Look at the marker of each folder that mirrors; nothing where none does."""
    mirrors = [(number, one) for number, one in enumerate(config.folders, 1) if one.mirror_deletions != "off"]
    if not mirrors:
        return []
    known = _known(Path(config.ledger.path))
    checks = [warning("deletions", told) for told in configs.warnings(config)]
    for number, one in mirrors:
        path = os.fsencode(os.path.abspath(one.path))
        checks.append(_check(f"folder {number} deletions", path, one.mirror_deletions, known.get(path)))
    return checks


def _known(ledger: Path) -> dict[bytes, RootRow]:
    try:
        with Reader.open(ledger) as reader:
            return {one.path: one for one in reader.roots()}
    except LedgerProblem:  # there is none yet, or it is told elsewhere what is wrong with it
        return {}


def _check(name: str, path: bytes, mode: str, row: RootRow | None) -> Check:
    if row is None or row.identity is None:
        words = f'mirror_deletions = "{mode}", and it is not enrolled: what would be deleted is only told'
        return warning(name, words, f"dicomsync deletions enrol {os.fsdecode(path)} -c FILE")
    if why := deletion.unhealthy(row.identity, roots.look(path)):
        todo = "Mount the right disk. If this is the right one: `dicomsync deletions enrol FOLDER -c FILE`."
        return problem(name, f"nothing of it is deleted: {reasons.words(why)}", todo)
    if row.frozen:
        words = f"nothing of it is deleted, it is frozen: {reasons.words(row.frozen)}"
        return problem(name, words, "dicomsync deletions list -c FILE")
    return ok(name, f'mirror_deletions = "{mode}"; it is the folder that was enrolled')

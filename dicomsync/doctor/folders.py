"""The configured folders: are they there, what do they hold, what is left out, can they be watched?"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dicomsync import mounts, scan, wiring
from dicomsync.config import Config, FolderConfig
from dicomsync.doctor.check import PATIENCE_SECONDS, Check, attempt, looked, ok, problem, user, warning
from dicomsync.errors import DicomsyncError
from dicomsync.listings import Passed
from dicomsync.model import Folder
from dicomsync.watch import raising
from dicomsync.words import count, size, span, visible

COUNT_SECONDS = 5.0  # how long the files of one folder are counted
WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")
KINDS = {
    "local": "a local disk",
    "network": "a network share",
    "fuse": "a FUSE file system",
}


@dataclass(frozen=True, slots=True)
class Tally:
    """What one look through a folder counted; `whole` if it came to the end in time."""

    files: int = 0
    size_bytes: int = 0
    directories: int = 0
    unread: int = 0
    why: str = ""
    passed: Passed = Passed()
    whole: bool = True


def tally(folder: Folder, seconds: float = COUNT_SECONDS) -> Tally:
    """Count what is in a folder, for about so many seconds."""
    until = time.monotonic() + seconds
    found, position = Tally(), scan.start(folder)
    while position.todo:
        if time.monotonic() > until:
            return replace(found, whole=False)
        step = scan.step(folder, position)
        position = step.position
        for one in step.listings:
            found = Tally(
                found.files + len(one.entries),
                found.size_bytes + sum(entry.key.size_bytes for entry in one.entries),
                found.directories + (not one.after),
                found.unread + bool(one.problem),
                found.why or one.problem,
                found.passed.plus(one.passed),
            )
    return found


def examine(config: Config) -> list[Check]:
    """Look through every folder, and whether all their directories can be watched."""
    checks: list[Check] = []
    watched: list[Tally] = []
    for number, one in enumerate(config.folders, 1):
        name = f"folder {number}"
        narrowed = replace(config, folders=(one,))
        seen = attempt(name, partial(_survey, narrowed), COUNT_SECONDS + PATIENCE_SECONDS)
        if isinstance(seen, Check):
            checks.append(replace(seen, words=f"{visible(one.path.encode())}: {seen.words}"))
            continue
        kind, folder, counted = seen
        checks += folder_checks(name, one, kind, folder, counted)
        if folder.watched and counted.directories > counted.unread:
            watched.append(counted)
    if not config.folders:
        checks.append(
            warning("folders", "none is configured", "Add [[folders]], or name a PATH to backfill.")
        )
    return checks + looked("inotify", lambda: [inotify(watched, _limit())])


def _survey(config: Config) -> tuple[str, Folder, Tally]:
    """Look through the one folder of this config."""
    (folder,) = wiring.folders_of(config)
    try:
        status = os.stat(folder.path)
    except OSError as error:
        why = f"{error.strerror}; `run` waits for it, and stores nothing from it until then"
        raise DicomsyncError(why, hint="Mount it or make it, or correct folders.path.") from None
    if not stat.S_ISDIR(status.st_mode):
        return "file", folder, Tally()
    return mounts.kind(folder.path), folder, tally(folder, COUNT_SECONDS)


def folder_checks(name: str, config: FolderConfig, kind: str, folder: Folder, seen: Tally) -> list[Check]:
    """Say of one folder: there and readable, what it holds, what is left out."""
    where = visible(folder.path)
    if kind == "file":
        return [problem(name, f"{where} is not a folder", "Name the folder it is in, and use include.")]
    if seen.unread and seen.directories == seen.unread == 1:
        return [problem(name, f"{where} cannot be read: {seen.why}", f"Let user {user()} read it.")]
    checks = [_followed(name, kind, folder)]
    if seen.unread:
        words = f"{count(seen.unread, 'directory', 'directories')} in it cannot be read: {seen.why}"
        checks = [problem(name, f"{where}: {words}", f"Let user {user()} read all of it.")]
    least = "" if seen.whole else "at least "
    amount = f"{least}{count(seen.files, 'file')} to take, {least}{size(seen.size_bytes)}"
    new = config.start == "new"
    then = "a daemon leaves alone what is there at its first start" if new else "what is not stored yet goes"
    checks.append(ok(f"{name} files", f"{amount}: {then}"))
    return [*checks, _excluded(f"{name} excluded", seen.passed, least)]


def _followed(name: str, kind: str, folder: Folder) -> Check:
    """Say what follows from the file system: how new files are noticed, and when they are read."""
    words = f"{visible(folder.path)} is on {KINDS[kind]}: "
    still = f"files are read once still for {span(folder.settle_seconds)}"
    if kind == "local":
        return ok(name, f"{words}{'watched' if folder.watched else 'scanned'}, {still}")
    if folder.watched:
        words += "what other machines do there gives no event, and is seen by scans alone"
        return warning(name, words, 'Leave watch at "auto".')
    return ok(name, f"{words}scanned, as what other machines do there gives no event; {still}")


def _excluded(name: str, passed: Passed, least: str) -> Check:
    words = f"{least}{count(passed.excluded, 'file')} left out by name"
    if not passed.sampled_dicom:
        return ok(name, words + (f"; of {passed.sampled} looked at none is DICOM" if passed.sampled else ""))
    words += f", and {passed.sampled_dicom} of the {passed.sampled} looked at are DICOM"
    return warning(name, words, 'Name them in include, or include = ["*"] to look into every file.')


def _limit() -> int:
    return int(WATCHES.read_text())


def inotify(folders: Sequence[Tally], limit: int) -> Check:
    """Do the directories fit the kernel's limit on watches? Where not, scanning finds it all, later."""
    needed = sum(one.directories for one in folders)
    cut = not all(one.whole for one in folders)
    words = f"{'at least ' if cut else ''}{count(needed, 'directory', 'directories')} to watch"
    if needed > limit:
        told = f"{words}, {limit:,} may be watched: the others wait for scans"
        return warning("inotify", told, raising("max_user_watches", limit, needed))
    if cut:
        words += f", not all could be counted in time; {limit:,} may be watched"
        return warning("inotify", words, "Count them: find DIR -type d | wc -l")
    return ok("inotify", f"{words}, {limit:,} may be watched")

"""Many files at once into a running daemon's folder: is every one of them stored, and how soon?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.goals import GOALS, Finding
from benchmarks.latency import archive, daemon, drop, stored, until_stored
from dicomsync.samples import instance, retold, uid

STUDIES = 50
GIVE_UP_SECONDS = 300.0


def create(path: Path, data: bytes) -> None:
    """Write a file under its name."""
    path.write_bytes(data)


def rename(path: Path, data: bytes) -> None:
    """Write a file under another name, then give it its own."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(data)
    part.rename(path)


WAYS: dict[str, Callable[[Path, bytes], None]] = {"created": create, "renamed": rename}


def findings(files: int, place: Path, seed: int) -> Iterator[Finding]:
    """Say for each way of writing how many were not stored in the end."""
    for name, write in WAYS.items():
        title = f"lost of a burst, {name}"
        began, wrote, ended, lost = _burst(files, write, place, f"{seed}{name}")
        detail = f"{files} files, written in {wrote - began:.1f} s, all done {ended - wrote:.1f} s later"
        yield Finding(title, "", lost, "files", GOALS[title, ""], detail=detail)


def _burst(
    files: int, write: Callable[[Path, bytes], None], place: Path, seed: str
) -> tuple[float, float, float, int]:
    with tempfile.TemporaryDirectory(dir=place) as kept:
        home = Path(kept)
        (home / "in").mkdir()
        with archive("sink", home / "archive") as where, daemon(home, where):
            until_stored(home, set(drop(home / "in", 1, 0.1, "first")))  # and then there is a watch
            began = time.monotonic()
            _write(home / "in", files, write, seed)
            wrote = time.monotonic()
            while (left := files + 1 - len(stored(home))) and time.monotonic() < wrote + GIVE_UP_SECONDS:
                time.sleep(0.5)
            return began, wrote, time.monotonic(), left


def _write(folder: Path, files: int, write: Callable[[Path, bytes], None], seed: str) -> None:
    old = (uid("t"), uid("t", 0), uid("t", 0, 0))
    template = instance(study_uid=old[0], series_uid=old[1], sop_uid=old[2], rows=8, columns=8)
    for number in range(files):
        study = number % STUDIES
        new = (uid(seed, study), uid(seed, study, 0), uid(seed, study, 0, number))
        write(folder / f"{seed}-{number:06}.dcm", retold(template, dict(zip(old, new, strict=True))))

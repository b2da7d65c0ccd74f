"""The whole way in a minute: a sandbox archive, sample studies, a backfill, and what came of it."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dicomsync import config, explain, facts, samples, service, status, summary, words
from dicomsync.concerns import How
from dicomsync.ledger import Reader
from dicomsync.progress import mode_for, shown


def run(keep: Path | None, say: Callable[[str], None]) -> int:
    """Run the demonstration, told step by step through `say`; 0 when everything is where it belongs."""
    from dicomsync import sandbox

    home = keep or Path(tempfile.mkdtemp(prefix="dicomsync-demo-"))
    home = home.absolute()
    folder, ledger = home / "incoming", home / "ledger.db"
    if folder.exists():
        say(f"{folder} is there already: name a directory without an incoming/ in it.")
        return 2
    files = samples.write_studies(folder, studies=3, series=2, instances=12, rows=128, columns=128)
    _spoil(folder, files)
    _step(say, 1, f"A folder as a scanner leaves it: {folder}")
    images = words.count(len(files), "image")
    say(f"   {images} in 3 studies, one of them copied, one cut short, and a text file.")
    with sandbox.running(home / "archive") as archive:
        _step(say, 2, f"An archive to store them in: {archive.url}")
        say("   A sandbox on this machine, not for patients; it ends with this demonstration.")
        settings = config.build(
            {
                "archive": {"url": archive.url},
                "ledger": {"path": str(ledger)},
                "folders": [{"path": str(folder), "settle": 0.5}],
            }
        )
        _step(say, 3, "Backfill: find, prove whole, store, account")
        with shown(mode_for(sys.stderr.isatty(), None, quiet=not sys.stderr.isatty())) as watch:
            report = service.backfill(settings, watch=watch)
        say(_indented(summary.text(report, How.by(None, str(ledger)))))
        held = len(archive.stored())
        _step(say, 4, f"The archive was asked: it holds {words.count(held, 'instance')}")
        again = service.backfill(settings)
        _step(say, 5, f"Backfill again: {words.count(again.requests, 'store request')}, as nothing is new")
    _look(say, home, ledger, files[0])
    return 0 if held == len(files) == report.stored and again.requests == 0 else 1


def _spoil(folder: Path, files: list[Path]) -> None:
    """Add what folders hold besides good files."""
    (folder / "copy-of-an-image.dcm").write_bytes(files[0].read_bytes())
    whole = files[-1].read_bytes()
    (folder / "cut-short.dcm").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.dcm").write_text("no image, whatever its name says\n" * 8)


def _look(say: Callable[[str], None], home: Path, ledger: Path, file: Path) -> None:
    with Reader.open(ledger) as reader:
        _step(say, 6, "How it stands: `dicomsync status`")
        here = How.by(None, str(ledger))
        say(_indented(status.text(facts.snapshot(reader, time.time(), how=here))))
        _step(say, 7, "Where is this image? `dicomsync explain FILE`")
        lines = explain.explain(reader, os.fspath(file), time.time()) or []
        say(_indented("\n".join(lines)))
    say(f"\nEverything is in {home}: look around, then remove it. Try:")
    say(f"   dicomsync explain --ledger {ledger}")
    say(f"   dicomsync status --ledger {ledger}")
    say(f"   dicomsync sandbox --store {home / 'archive'}     (serves the archive again)")


def _step(say: Callable[[str], None], number: int, words_: str) -> None:
    say(f"\n{number}. {words_}")


def _indented(text: str) -> str:
    return "\n".join(f"   {line}" if line else "" for line in text.splitlines())

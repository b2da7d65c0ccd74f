"""`verify`: the ledger against the archive."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dicomsync import logs
from dicomsync.commands.options import agree, configured, given, load
from dicomsync.errors import DicomsyncError, UsageProblem

if TYPE_CHECKING:
    from dicomsync import orders
    from dicomsync.config import Config
    from dicomsync.dicomweb import Archive
    from dicomsync.verify import Line, Verification


def _since(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Read "7d", or a local date or time such as 2026-03-01 or 2026-03-01T12:00; gives wall seconds."""
    if value is None:
        return None
    from dicomsync import config

    try:
        if re.match(r"\d{4}-", value):
            return datetime.fromisoformat(value).timestamp()
        return time.time() - config.seconds(value)
    except ValueError:
        raise click.BadParameter('expected a span such as "7d", or a date such as 2026-03-01') from None


SIGNS = """\b
A line for each difference (with -v, for each instance), with its handle and its UID:
  =  the archive has it; with --bytes, with the very bytes that were stored
  +  in the archive, in a study of the ledger, and not known to the ledger
  -  stored, the ledger says; the archive was asked twice and does not have it
  *  the archive has other bytes than were stored (--bytes)
  !  could not be checked"""


@click.command(epilog=SIGNS)
@configured
@click.option(
    "--archive", "url", metavar="URL", help="The DICOMweb base URL; with --ledger no config is needed."
)
@click.option("--ledger", type=click.Path(dir_okay=False, path_type=Path), help="The ledger file.")
@click.option("--study", metavar="UID", help="Only this study.")
@click.option(
    "--since", callback=_since, metavar="SPAN|DATE", help="Only what was stored since: 7d, 2026-03-01."
)
@click.option("--bytes", "by_bytes", is_flag=True, help="Retrieve everything, and compare its bytes.")
@click.option("--one-way", is_flag=True, help="Do not look for instances that the ledger does not know.")
@click.option("--heal", is_flag=True, help="Send again what the archive has lost and the folder still has.")
@click.option(
    "--max", "most", default=100, show_default=True, help="--heal sends nothing again if it is more."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask before that.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line, the summary last.")
def verify(
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    url: str | None,
    ledger: Path | None,
    study: str | None,
    since: float | None,
    by_bytes: bool,
    one_way: bool,
    heal: bool,
    most: int,
    yes: bool,
    as_json: bool,
) -> int:
    """Ask the archive, by a search for each study, whether it has all that the ledger says is stored.

    What was seen is recorded: `explain` and `status` tell it. Nothing is sent because of it, as someone
    may have deleted it on purpose. With --heal, and once a person has agreed to the count, what the
    archive has lost and a file still holds is due to be stored again.

    Ends with 21 if there are differences, with 5 if the archive could not be asked about everything.
    """
    logs.configure(-1 if quiet else verbosity)
    sections = given(archive_url=url, ledger_path=str(ledger) if ledger else None)
    settings = load(config_file, overrides, sections)
    from dicomsync import verify as checking

    notes = _Notes(settings)
    with _reached(settings) as archive:
        check = checking.Verification(
            checking.Wanted(study, since, by_bytes, one_way),
            archive,
            settings.archive.confirm_wait,
            notes.read,
            notes.record,
        )
        for line in check.lines():
            if line.sign is not checking.Sign.SAME or verbosity:
                click.echo(_as_json(line) if as_json else _shown(line))
    if study is not None and not check.studies:
        raise UsageProblem(
            "The ledger says of no instance of this study that it is stored; the archive was not asked.",
            hint="`dicomsync explain UID` tells what it knows of it.",
        )
    healed, by_daemon = (0, False)
    if not (as_json or quiet):
        click.echo("\n".join(_summary(check, by_bytes, notes)))
    if heal and check.healable:
        healed, by_daemon = _heal(settings, check.healable, most, yes)
    if as_json:
        click.echo(json.dumps(_figures(check, by_bytes, healed, notes.unrecorded)))
    elif heal and check.healable and not quiet:
        when = "The daemon has begun." if by_daemon else "The next backfill sends it, or the daemon."
        click.echo(f"{healed:,} put back to be stored again. {when}")
    return _exit_code(check, healed)


def _exit_code(check: Verification, healed: int) -> int:
    from dicomsync.verify import Sign

    different = check.counts.total() - check.counts[Sign.SAME]
    if healed and healed == different:
        return 5  # nothing is left but what is due
    return check.exit_code


@contextmanager
def _reached(settings: Config) -> Iterator[Archive]:
    """Reach the archive that the ledger speaks of, and find out of which kind it is."""
    from dicomsync import dicomweb, wiring
    from dicomsync.ledger import StoredReader

    archive = wiring.archive_of(settings.archive)
    with StoredReader.open(Path(settings.ledger.path)) as reader:
        bound = reader.fact("archive")
    if bound is not None and bound != archive.url:
        raise UsageProblem(
            f"This ledger speaks of the archive {bound}, not of {archive.url}; nothing was asked.",
            hint="Give the config, or the URL, of the archive it was stored into.",
        )
    try:
        yield replace(archive, kind=dicomweb.client_for(archive).identify().kind)
    finally:
        dicomweb.close_clients()


class _Notes:
    """The ledger of a check: read without a lock, and told what was seen by whoever may write to it."""

    def __init__(self, settings: Config) -> None:
        from dicomsync import handover
        from dicomsync.ledger import StoredReader

        self._settings = settings
        self._tell = handover.saw
        self.read = partial(StoredReader.open, Path(settings.ledger.path))
        self.unrecorded = 0
        self.trouble = ""

    def record(self, seen: orders.Saw) -> None:
        """Have it recorded; where that cannot be, what was seen is true all the same."""
        try:
            self._tell(self._settings, seen)
        except DicomsyncError as problem:
            self.unrecorded += len(seen.seen)
            self.trouble = problem.message


def _shown(line: Line) -> str:
    why = f"  ({line.why})" if line.why else ""
    return f"{line.sign} {line.handle:<16}  {line.uid}{why}"


def _as_json(line: Line) -> str:
    return json.dumps({**asdict(line), "sign": line.sign.value})


def _summary(check: Verification, by_bytes: bool, notes: _Notes) -> list[str]:
    from dicomsync import words
    from dicomsync.verify import Sign

    what = "in the archive, with the bytes that were stored" if by_bytes else "in the archive"
    meanings = {
        Sign.SAME: what + ("" if by_bytes else "; their bytes were not compared (--bytes)"),
        Sign.MISSING: f"missing in the archive; {len(check.healable):,} of them could be sent again (--heal)",
        Sign.DIFFERS: "with other bytes than were stored",
        Sign.UNCHECKED: "that could not be checked",
        Sign.EXTRA: "in the archive, and not known to the ledger",
    }
    counts = check.counts
    rows = [[sign.value, f"{counts[sign]:,}", meanings[sign]] for sign in meanings if counts[sign]]
    lines = [f"{words.count(check.studies, 'study', 'studies')} looked at.", *words.table(rows).splitlines()]
    if check.trouble:
        of = words.count(check.unasked, "study", "studies")
        lines.append(f"The archive could not be asked about all of {of}: {check.trouble}. Run it again.")
    if notes.unrecorded:
        n = words.count(notes.unrecorded, "instance")
        lines.append(f"What was seen of {n} could not be recorded. {notes.trouble}")
    return lines


def _figures(check: Verification, by_bytes: bool, healed: int, unrecorded: int) -> dict[str, object]:
    from dicomsync.verify import Sign

    return {
        "schema": 1,
        "summary": {sign.name.lower(): check.counts[sign] for sign in Sign},
        "studies": check.studies,
        "studies_not_asked": check.unasked,
        "trouble": check.trouble or None,
        "by_bytes": by_bytes,
        "healable": len(check.healable),
        "healed": healed,
        "unrecorded": unrecorded,
        "exit_code": _exit_code(check, healed),
    }


def _heal(settings: Config, healable: Sequence[int], most: int, yes: bool) -> tuple[int, bool]:
    """Put back what is missing, if it is no more than was agreed to; a person is asked."""
    from dicomsync import handover, words

    instances = words.count(len(healable), "instance")
    if len(healable) > most:
        problem = DicomsyncError(
            f"{instances} would be sent again, more than --max {most}; nothing was put back.",
            hint="Were they deleted on purpose? If not, look into it, and say --max with that number.",
        )
        problem.exit_code = 21
        raise problem
    if not yes:
        agree(f"Send {instances} to the archive again?")
    return handover.heal(settings, healable)

"""`backfill`: once, over what a folder holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from dicomsync import logs
from dicomsync.commands.options import configured, duration, given, load
from dicomsync.errors import LedgerInUse


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@configured
@click.option(
    "--archive", "url", metavar="URL", help="The DICOMweb base URL; with --ledger no config is needed."
)
@click.option("--ledger", type=click.Path(dir_okay=False, path_type=Path), help="The ledger file.")
@click.option(
    "--include", multiple=True, metavar="PATTERN", help="Take files with such names; '*' looks into all."
)
@click.option(
    "--exclude", multiple=True, metavar="PATTERN", help="Leave out files and directories with such names."
)
@click.option("--transfers", type=click.IntRange(1, 64), help="The most requests at a time (8).")
@click.option(
    "--bwlimit",
    metavar="RATE",
    help="Upload no faster: 10M is 10 MiB/s; or a timetable, '08:00,512k 19:00,off'.",
)
@click.option(
    "--patience",
    default="10min",
    show_default=True,
    callback=duration,
    metavar="DURATION",
    help="How long to wait out an outage, once the archive has answered.",
)
@click.option(
    "--max-duration", callback=duration, metavar="DURATION", help="Stop in good order after this time."
)
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be stored; send and write nothing.")
@click.option("-P/ ", "--progress/--no-progress", default=None, help="Show progress (on by default).")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def backfill(
    paths: tuple[Path, ...],
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    url: str | None,
    ledger: Path | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    transfers: int | None,
    bwlimit: str | None,
    patience: float,
    max_duration: float | None,
    dry_run: bool,
    progress: bool | None,
    as_json: bool,
) -> int:
    """Store every instance below PATHS (default: the configured folders) that is not stored yet.

    May be stopped and run again at any time: the ledger knows what is done. A run that has nothing
    left to do sends nothing. While a daemon has the ledger, the daemon does it, with its own config and
    transfers, and this command follows it: stopping the command does not stop the daemon.
    """
    logs.configure(-1 if quiet else verbosity)
    sections = given(
        archive_url=url,
        ledger_path=str(ledger) if ledger else None,
        upload_transfers=transfers,
        upload_bwlimit=bwlimit,
    )
    settings = load(config_file, overrides, sections)
    from dicomsync import progress as showing
    from dicomsync import service, summary
    from dicomsync.concerns import How

    mode = showing.mode_for(sys.stderr.isatty(), progress, quiet)
    with showing.shown(mode) as watch:
        how: dict[str, Any] = {
            "names": (include, exclude),
            "patience_seconds": patience,
            "max_seconds": max_duration,
            "watch": watch,
        }
        try:
            report = service.backfill(settings, paths, dry_run=dry_run, **how)
        except LedgerInUse:
            from dicomsync import handover

            report = handover.backfill(settings, paths, **how)
    if as_json:
        click.echo(json.dumps(summary.as_json(report)))
    elif not quiet:
        config = str(config_file.absolute()) if config_file and not ledger else None
        click.echo(summary.text(report, How.by(config, settings.ledger.path)))
    return report.exit_code

"""`ledger`: the care of the one file that knows everything."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dicomsync import logs, words
from dicomsync.commands.options import agree, archive_of, configured, duration, ledger_path, load

if TYPE_CHECKING:
    from dicomsync.ledger.overview import Overview
    from dicomsync.ledger.pruning import Prunable

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group()
def ledger() -> None:
    """Look after the ledger, the one file that knows what became of every file.

    `info`, `backup` and `check` only read, beside a running daemon as well; the others need the ledger
    for themselves, and end with 73 while something else has it.
    """


def _on_a_ledger(command: Command) -> Command:
    option = click.option(
        "--ledger", "file", type=click.Path(dir_okay=False, path_type=Path), help="The ledger file."
    )
    return configured(option(command))


@ledger.command(short_help="Say what it is: size, age, counts, who has it.")
@_on_a_ledger
@click.option("--json", "as_json", is_flag=True, help="Print it for a program; the keys are stable.")
def info(
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    file: Path | None,
    as_json: bool,
) -> None:
    """Say what the ledger is: where, how large, how old, of which archive, and who has it."""
    logs.configure(-1 if quiet else verbosity)
    from dicomsync.ledger.overview import overview

    found = overview(ledger_path(file, config_file, overrides))
    if as_json:
        counts = {"instances": dict(found.counts.instances), "files": dict(found.counts.files)}
        click.echo(json.dumps({"schema": 1, **asdict(found), "counts": counts}))
    else:
        click.echo("\n".join(_told(found)))


def _told(found: Overview) -> list[str]:
    instances, files = (sum(one.values()) for one in (found.counts.instances, found.counts.files))
    rows = found.rows
    lines = [
        f"Ledger     {found.path}",
        f"Size       {words.size(found.size_bytes)}, its write-ahead log {words.size(found.wal_bytes)}",
        f"Schema     {found.schema}",
        f"Name       {found.name or '-'}",
        f"Archive    {found.archive or 'none yet'}" + (f" ({found.kind})" if found.kind else ""),
        f"Knows      {words.count(instances, 'instance')} of"
        f" {words.count(rows['studies'], 'study', 'studies')}, {words.count(files, 'file')},"
        f" {words.count(rows['batches'], 'request')},"
        f" {words.count(rows['history'], 'line')} of history",
        f"First file {words.moment(found.first_at)}",
        f"Last file  {words.moment(found.last_at)}",
        f"In use     {f'by process {found.holder}' if found.holder else 'by nobody'}",
    ]
    if found.doubt:
        left = words.count(found.unsettled, "instance")
        lines += [
            f"Doubt      since {words.moment(found.doubted_at)}: {found.doubt};"
            " what may have been stored before is asked about before it is sent",
            f"           {left} still to be asked about",
        ]
    if found.aside:
        lines.append(f"           the one before is {found.aside}")
    return lines


@ledger.command(short_help="Copy it to a file, also while a daemon writes it.")
@click.argument("target", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@_on_a_ledger
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
def backup(
    target: Path,
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    file: Path | None,
    force: bool,
) -> None:
    """Copy one moment of the ledger to FILE, prove the copy whole, and keep no writer waiting.

    To go back to it, stop the service and copy FILE over the ledger: at the next start that is noticed,
    and the archive is asked about whatever may have been stored since.
    """
    logs.configure(-1 if quiet else verbosity)
    from dicomsync.ledger.copying import backup as copy

    size_bytes = copy(ledger_path(file, config_file, overrides), target, replace=force)
    if not quiet:
        click.echo(f"{target}: {words.size(size_bytes)}, checked")


@ledger.command(short_help="Is it whole, are its sums true? Exit code 1 if not.")
@_on_a_ledger
@click.option("--json", "as_json", is_flag=True, help="Print what is wrong as JSON.")
def check(
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    file: Path | None,
    as_json: bool,
) -> int:
    """Read the whole ledger: is it whole, do its sums add up, is every UID claimed once?

    Ends with 1 when something is wrong, and says what. It reads all of the file: seconds a gigabyte.
    """
    logs.configure(-1 if quiet else verbosity)
    from dicomsync.ledger.checking import check as faults_of
    from dicomsync.ledger.checking import is_copy

    path = ledger_path(file, config_file, overrides)
    faults = faults_of(path)
    if as_json:
        click.echo(json.dumps({"schema": 1, "faults": faults}))
    elif faults:
        click.echo("\n".join(f"! {fault}" for fault in faults))
        click.echo("Nothing was changed. `dicomsync ledger rebuild` makes a new one; the old one is kept.")
    elif not quiet:
        click.echo("The ledger is whole, and its sums are true.")
        if is_copy(path):
            click.echo(
                "No lock file is beside it: it is a copy. Started with it, dicomsync asks before it sends."
            )
    return 1 if faults else 0


@ledger.command(short_help="Make a new one from the folders and the archive; nothing is sent.")
@configured
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def rebuild(
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Make a new ledger: read all folders of the config, and ask the archive what it has of that.

    What it has is retrieved and compared: stored, or a conflict. What it does not have is due, and is
    sent by the next `backfill` or the daemon, not by this. The old ledger is moved aside, whole; what a
    person had deleted by `archive delete` is taken over from it, other history is not.
    """
    logs.configure(-1 if quiet else verbosity)
    settings = load(config_file, overrides, {})
    from dicomsync import progress as showing
    from dicomsync import summary, upkeep
    from dicomsync.concerns import How

    if not yes:
        agree("Move the ledger aside and make a new one?")
    with showing.shown(showing.mode_for(sys.stderr.isatty(), None, quiet)) as watch:
        aside, report = upkeep.rebuild(settings, watch)
    if as_json:
        click.echo(json.dumps({**summary.as_json(report), "aside": aside or None}))
    elif not quiet:
        click.echo(summary.text(report, How.by(str(config_file.absolute()) if config_file else None)))
        click.echo(f"The ledger before is {aside}" if aside else "There was no ledger before.")
    return 5 if report.due else report.exit_code


@ledger.command(short_help="Let it speak of another URL of the same archive.")
@click.argument("url", metavar="URL")
@_on_a_ledger
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rebind(
    url: str,
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    file: Path | None,
    yes: bool,
) -> None:
    """Let the ledger speak of URL, another address of the same archive.

    Some of what it calls stored must be there, and a few of those are compared byte for byte; if one is
    missing or differs, nothing is changed. Credentials are those of the config.
    """
    logs.configure(-1 if quiet else verbosity)
    from dicomsync import upkeep

    archive, _ = archive_of(config_file, overrides, url)
    with upkeep.rebinding(ledger_path(file, config_file, overrides), archive) as (sampled, bind):
        if sampled.stored:
            click.echo(
                f"Of {words.count(sampled.stored, 'stored instance')} {sampled.found:,} were looked for, and"
                f" all are there; {sampled.compared:,} were compared, and are the same.",
                err=True,
            )
        else:
            click.echo("Nothing is stored yet: there is nothing to be found there.", err=True)
        if not yes:
            agree(f"Let the ledger speak of {archive.url}?")
        bind()
    if not quiet:
        click.echo(f"The ledger speaks of {archive.url}. Give archive.url in the config the same value.")


@ledger.command(short_help="Forget what needs no memory.")
@_on_a_ledger
@click.option(
    "--older",
    default="90d",
    show_default=True,
    callback=duration,
    metavar="DURATION",
    help="Only what is older than this.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be forgotten; change nothing.")
@click.option("--vacuum", is_flag=True, help="Give the room back to the disk: writes the file anew.")
def prune(
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    file: Path | None,
    older: float,
    dry_run: bool,
    vacuum: bool,
) -> None:
    """Forget history, finished requests, and files that have left and whose instance is stored.

    Every instance stays, so that nothing is sent again and no conflict is missed. Files that are
    forgotten are in no later report; one that comes back is known by its content.
    """
    logs.configure(-1 if quiet else verbosity)
    from dicomsync.ledger import Ledger, Reader

    path, before = ledger_path(file, config_file, overrides), time.time() - older
    if dry_run:
        with Reader.open(path) as reader:
            click.echo(f"Would forget {_forgotten(reader.prunable(before))}.")
        return
    if not path.exists():
        Reader.open(path)  # says so, and makes none
    owned = Ledger.open(path)
    try:
        with owned.transaction():
            forgotten = owned.prune(before)
        if vacuum:
            owned.vacuum()
    finally:
        owned.close()
    if not quiet:
        click.echo(f"Forgot {_forgotten(forgotten)}.")


def _forgotten(what: Prunable) -> str:
    return (
        f"{words.count(what.history, 'line')} of history, {words.count(what.batches, 'finished request')},"
        f" {words.count(what.files, 'file')} that left"
    )

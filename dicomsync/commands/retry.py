"""`retry`: a way back for what was refused or held."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dicomsync import logs
from dicomsync.commands.options import configured, load
from dicomsync.errors import UsageProblem

if TYPE_CHECKING:
    from dicomsync.orders import Retried


@click.command()
@click.argument("uids", nargs=-1, metavar="[UID]...")
@configured
@click.option("--study", multiple=True, metavar="UID", help="Everything of this study; may be repeated.")
@click.option("--rejected", is_flag=True, help="Everything that the archive refused.")
@click.option("--reason", metavar="CODE", help="Of the rejected, only those with this reason (`explain`).")
@click.option("--held", is_flag=True, help="Look at every held file again, changed or not.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def retry(
    uids: tuple[str, ...],
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    study: tuple[str, ...],
    rejected: bool,
    reason: str | None,
    held: bool,
    as_json: bool,
) -> None:
    """Try again what is named: instances or studies by UID, all that was rejected, all that is held.

    Rejected instances become due again; pending ones that were to wait go now. Nothing is ever sent over
    another content, and what the archive is being asked about is not hurried. With a running daemon it
    happens at once; else with the next `backfill` or when the daemon starts.
    """
    logs.configure(-1 if quiet else verbosity)
    if not (uids or study or rejected or held):
        raise UsageProblem(
            "What is to be tried again?", hint="Name UIDs, or give --study UID, --rejected or --held."
        )
    if reason and not rejected:
        raise UsageProblem("--reason says which of the --rejected are meant; it needs that.")
    from dicomsync import handover, orders

    wanted = orders.Retry((*uids, *study), rejected, reason, held)
    retried, by_daemon = handover.retry(load(config_file, overrides, {}), wanted)
    if as_json:
        figures = {"instances": retried.instances, "sooner": retried.sooner, "files": retried.files}
        click.echo(json.dumps({"schema": 1, **figures, "left": dict(retried.left), "by_daemon": by_daemon}))
    elif not quiet:
        click.echo("\n".join(_told(retried, by_daemon, reason)))


def _told(retried: Retried, by_daemon: bool, reason: str | None) -> list[str]:
    from dicomsync import words

    lines = []
    if retried.instances:
        lines.append(f"{words.count(retried.instances, 'rejected instance')} will be stored again.")
    if retried.sooner:
        lines.append(f"{words.count(retried.sooner, 'pending instance')} will go at once, without waiting.")
    if retried.files:
        lines.append(f"{words.count(retried.files, 'held file')} will be looked at again.")
    if lines:
        lines.append(
            "The daemon has begun."
            if by_daemon
            else "It happens with the next backfill, or when the daemon starts."
        )
    elif reason:
        lines.append(
            f"Nothing is rejected for the reason {reason}; `dicomsync report --format csv` has every reason."
        )
    else:
        lines.append("Nothing was there to be tried again.")
    return lines + [f"Left as they are: {n}, {why}." for why, n in retried.left.items()]

"""`run`: the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dicomsync import logs
from dicomsync.commands.options import configured, load
from dicomsync.errors import UsageProblem

if TYPE_CHECKING:
    from dicomsync.config import Config


@click.command()
@configured
@click.option("-n", "--dry-run", is_flag=True, help="Send nothing: say in the end what it would have stored.")
def run(
    config_file: Path | None, overrides: tuple[str, ...], verbosity: int, quiet: bool, dry_run: bool
) -> int:
    """Watch the configured folders and store what comes, as it comes, until it is told to stop.

    Made for systemd: it says when it is ready and how it stands, gives signs of life, takes a new config
    on SIGHUP (a bad one is told, and the old one kept), and on SIGTERM ends in good order.
    """
    logs.configure(-1 if quiet else max(1, verbosity))
    if config_file is None:
        raise UsageProblem("There is no config.", hint="Give -c FILE; `dicomsync init` writes one.")
    from dicomsync.daemon import Daemon
    from dicomsync.notify import Notify

    def fresh() -> Config:
        return load(config_file, overrides, {})

    return Daemon(fresh(), fresh, Notify.from_environment(), sends=not dry_run, say=click.echo).run()

"""`status` and `explain`: what the ledger knows, for whoever asks."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dicomsync.commands.options import configured, duration, ledger_at_once, ledger_path, load
from dicomsync.errors import DeletionsFrozen, LedgerProblem, UsageProblem

if TYPE_CHECKING:
    from dicomsync.model import Folder


@click.command()
@configured
@click.option("--ledger", type=click.Path(dir_okay=False, path_type=Path), help="The ledger file.")
@click.option("--json", "as_json", is_flag=True, help="Print it for a program; the keys are stable.")
@click.option("--watch", is_flag=True, help="Go on showing it as it changes, until Ctrl-C.")
@click.option("--every", callback=duration, metavar="SPAN", help="How often, with --watch.  [default: 2s]")
def status(
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    ledger: Path | None,
    as_json: bool,
    watch: bool,
    every: float | None,
) -> int:
    """Say how it stands: what is wrong and what helps, ages, counts, folders.

    With --watch and --json together it prints a line of JSON each time. Ends with 22 where the mirrored
    deletions of a folder are frozen.
    """
    _log(verbosity, quiet=quiet)
    from dicomsync import facts
    from dicomsync import status as statuses
    from dicomsync.concerns import How

    pause = max(0.1, 2.0 if every is None else every)
    path = ledger_at_once(ledger, config_file, overrides)
    how = How.by(str(config_file.absolute()) if config_file else None, str(path.absolute()))

    def look() -> facts.Facts:
        return facts.look(path, time.time(), how)

    def shown(found: facts.Facts) -> str:
        if not as_json:
            return statuses.text(found)
        import json

        return json.dumps(found)

    found = look()
    click.echo(shown(found))
    if watch and sys.stdout.isatty() and not as_json:
        from dicomsync import progress

        progress.live(lambda: statuses.parts_of(look), pause)
    while watch:
        time.sleep(pause)
        try:
            click.echo("\n" * (not as_json) + shown(look()))
        except LedgerProblem as problem:
            click.echo(f"{problem.message} {problem.hint}", err=True)
    return DeletionsFrozen.exit_code if any(one["frozen"] for one in found["deletions"]) else 0


@click.command()
@click.argument("subject", nargs=-1, metavar="[FILE|UID|HANDLE]")
@configured
@click.option("--ledger", type=click.Path(dir_okay=False, path_type=Path), help="The ledger file.")
def explain(
    subject: tuple[str, ...],
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    ledger: Path | None,
) -> int:
    """Tell the whole life of one file, study or instance; without a name, list what needs a person.

    Of a file that the ledger has never seen it says what would be done with it, and why; the folders
    for that come from the config (-c). A HANDLE is what logs print, such as "study 7f3a9c". This prints
    paths and UIDs: it is meant for the person at the machine.
    """
    _log(verbosity, quiet=quiet)
    from dicomsync import explain as explaining
    from dicomsync import forecast as forecasting
    from dicomsync.ledger.reader import Reader

    with Reader.open(ledger_path(ledger, config_file, overrides)) as reader:
        if not subject:
            lines = explaining.problems(reader) or ["Nothing needs a person."]
        else:
            named = " ".join(subject)
            found = explaining.explain(reader, named, time.time())
            if found is None and os.path.lexists(named):
                folders = _folders(config_file, overrides)
                path = os.fsencode(os.path.abspath(named))
                found = forecasting.forecast(reader, path, folders, time.time())
            if found is None:
                raise UsageProblem(
                    "The ledger knows no such file, UID or handle.",
                    hint="A file must be named as it is on this machine; has its folder been read yet?",
                )
            lines = found
    click.echo("\n".join(lines))
    return 0


def _log(verbosity: int, *, quiet: bool) -> None:
    """Log what is asked for. What only looks warns of nothing by itself, and logging takes 4 ms to import."""
    if verbosity and not quiet:
        from dicomsync import logs

        logs.configure(verbosity)


def _folders(config_file: Path | None, overrides: tuple[str, ...]) -> list[Folder] | None:
    """Give the folders of the config, None without one."""
    if config_file is None:
        return None
    from dicomsync import wiring

    config = load(config_file, overrides, {})
    return wiring.folders_of(config) if config.folders else []

"""`init` and `doctor`: before the first file goes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from dicomsync import logs
from dicomsync.commands.options import configured, load


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default="dicomsync.toml")
@click.option("--archive", "url", metavar="URL", help="The DICOMweb base URL.")
@click.option("--folder", "folders", multiple=True, metavar="DIR", help="A folder to watch; may be repeated.")
@click.option("--ledger", metavar="FILE", help="The ledger file, on a local disk, outside the folders.")
@click.option("-y", "--yes", is_flag=True, help="Ask nothing: what is not given takes its usual value.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
def init(
    file: Path, url: str | None, folders: tuple[str, ...], ledger: str | None, yes: bool, force: bool
) -> None:
    """Write a config with every key explained to FILE (./dicomsync.toml).

    On a terminal it asks for what is not given.
    """
    from dicomsync import setup

    def ask(words: str, default: str) -> str:
        return str(click.prompt(words, default, show_default=bool(default)))

    setup.refuse_existing(file, force)
    answers = setup.complete(
        url,
        folders,
        ledger,
        ask=ask if sys.stdin.isatty() and not yes else None,
        tell=click.echo,
        defaults=yes,
        name=file.stem,  # /etc/dicomsync/NAME.toml is of dicomsync@NAME.service
    )
    setup.write(file, setup.render(answers), force=force)
    click.echo("\n".join(setup.told(file, answers)))


@click.command()
@configured
@click.option(
    "--write-test",
    is_flag=True,
    help="Also store one generated instance in the archive, retrieve, compare and delete it.",
)
@click.option(
    "--alert-test",
    is_flag=True,
    help="Also send a test alert to the webhook and one heartbeat, and say what came of it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it for a program; the keys are stable.")
def doctor(
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    write_test: bool,
    alert_test: bool,
    as_json: bool,
) -> int:
    """Look at everything that could be in the way, and say what to do about it.

    Changes nothing, unless a write test is asked for: its instance is a study of its own, of the patient
    DICOMSYNC^WRITE TEST, and you are told if it may be left in the archive. The ledger is not touched.
    With --alert-test the receiver of the heartbeat believes that all is well until the next one is due.

    Ends with 0 if nothing is a problem, 1 if something is, 2 if the config cannot be used.
    """
    logs.configure(-1 if quiet else verbosity)
    from dicomsync import doctor as looking

    checks = looking.examine(
        str(config_file),
        lambda: load(config_file, overrides, {}),
        write_test=write_test,
        alert_test=alert_test,
    )
    if as_json:
        click.echo(json.dumps(looking.as_json(checks)))
    elif not quiet or looking.exit_code(checks):
        click.echo(looking.text([one for one in checks if not quiet or one.state is looking.State.PROBLEM]))
    return looking.exit_code(checks)

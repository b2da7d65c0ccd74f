"""The command line: parse, call, print, exit code. Heavy imports wait for the command that needs them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dicomsync import __version__, logs
from dicomsync.errors import DicomsyncError, UsageProblem

if TYPE_CHECKING:
    from dicomsync.config import Config

Command = TypeVar("Command", bound=Callable[..., Any])


def main() -> None:
    """Run the command line; every error ends as a sentence and an exit code, none as a traceback."""
    try:
        code = cli.main(prog_name="dicomsync", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except DicomsyncError as error:
        click.echo(f"Error: {error.message}", err=True)
        if error.hint:
            click.echo(error.hint, err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        click.echo(f"Error: something went wrong inside dicomsync ({_where(error)}).", err=True)
        click.echo(
            "Nothing is lost: what was not recorded as stored is still due. Please report this.", err=True
        )
        sys.exit(1)


def _where(error: BaseException) -> str:
    """Say where an error of our own came from; its text may hold what must not be shown."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame else "unknown"
    return f"{type(error).__name__} at {place}"


EXIT_CODES = """\b
Exit codes:
  0   all stored
  1   an error
  2   the command line or the config cannot be used
  5   some instances are still due: try again
  20  finished, but some are held, rejected, missed or in conflict
  73  the ledger is in use"""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=EXIT_CODES
)
@click.version_option(__version__, "-V", "--version", message="dicomsync %(version)s")
def cli() -> None:
    """Get every DICOM file from a folder into a DICOMweb archive: complete, once, soon, with proof."""


def _configured(command: Command) -> Command:
    """Add what every command with a config takes."""
    for option in (
        click.option(
            "-c",
            "--config",
            "config_file",
            type=click.Path(dir_okay=False, path_type=Path),
            envvar="DICOMSYNC_CONFIG",
            help="The config file (see config.example.toml).",
        ),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="Lay one config key over the file, such as archive.confirm_wait=1s.",
        ),
        click.option("-v", "verbosity", count=True, help="Say more on standard error (-vv: everything)."),
        click.option("-q", "--quiet", is_flag=True, help="Say only errors."),
    ):
        command = option(command)
    return command


def _load(config_file: Path | None, overrides: tuple[str, ...], given: dict[str, dict[str, Any]]) -> Config:
    """Load the config, with what the command line gives laid over it."""
    from dicomsync import config

    text = ""
    if config_file is not None:
        try:
            text = config_file.read_text(encoding="utf-8")
        except OSError as error:
            raise UsageProblem(f"The config {config_file} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise UsageProblem(f"The config {config_file} is not UTF-8 text.") from None
    elif not all(given.get(section) for section in ("archive", "ledger")):
        raise UsageProblem("There is no config.", hint="Give -c FILE, or --archive URL and --ledger FILE.")
    return config.parse(text, overrides, given=given, source=str(config_file or "the command line"))


def _duration(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    from dicomsync import config

    if value is None:
        return None
    try:
        return config.seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _given(**values: Any) -> dict[str, dict[str, Any]]:
    """Sort what was given on the command line into sections, leaving out what was not."""
    sections: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        if value is not None:
            section, _, name = key.partition("_")
            sections.setdefault(section, {})[name] = value
    return sections


@cli.command(short_help="Store what is not stored yet, once, and say how it went.")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@_configured
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
@click.option("--transfers", type=click.IntRange(1, 64), help="Requests at the same time (4).")
@click.option(
    "--patience",
    default="10min",
    show_default=True,
    callback=_duration,
    metavar="DURATION",
    help="How long to wait out an outage, once the archive has answered.",
)
@click.option(
    "--max-duration", callback=_duration, metavar="DURATION", help="Stop in good order after this time."
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
    patience: float,
    max_duration: float | None,
    dry_run: bool,
    progress: bool | None,
    as_json: bool,
) -> int:
    """Store every instance below PATHS (default: the configured folders) that is not stored yet.

    May be stopped and run again at any time: the ledger knows what is done. A run that has nothing
    left to do sends nothing.
    """
    logs.configure(-1 if quiet else verbosity)
    given = _given(
        archive_url=url,
        ledger_path=str(ledger) if ledger else None,
        upload_transfers=transfers,
    )
    settings = _load(config_file, overrides, given)
    from dicomsync import progress as showing
    from dicomsync import service, summary

    mode = showing.mode_for(sys.stderr.isatty(), progress, quiet)
    with showing.shown(mode) as watch:
        report = service.backfill(
            settings,
            paths,
            names=(include, exclude),
            patience_seconds=patience,
            max_seconds=max_duration,
            dry_run=dry_run,
            watch=watch,
        )
    if as_json:
        click.echo(json.dumps(summary.as_json(report)))
    elif not quiet:
        click.echo(summary.text(report))
    return report.exit_code


@cli.command(short_help="Run for ever: store what comes, as it comes.")
@_configured
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

    def load() -> Config:
        return _load(config_file, overrides, {})

    return Daemon(load(), load, Notify.from_environment(), sends=not dry_run, say=click.echo).run()


def _ledger_path(ledger: Path | None, config_file: Path | None, overrides: tuple[str, ...]) -> Path:
    """Find the ledger from a flag, or from the config."""
    if ledger is not None:
        return ledger
    if config_file is None:
        raise UsageProblem("Which ledger?", hint="Give --ledger FILE, or -c CONFIG.")
    return Path(_load(config_file, overrides, {}).ledger.path)


@cli.command(short_help="Say how it stands.")
@_configured
@click.option("--ledger", type=click.Path(dir_okay=False, path_type=Path), help="The ledger file.")
@click.option("--json", "as_json", is_flag=True, help="Print it for a program; the keys are stable.")
def status(
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    ledger: Path | None,
    as_json: bool,
) -> None:
    """Say how it stands: ages, counts, folders, and what needs a person."""
    logs.configure(-1 if quiet else verbosity)
    from dicomsync import status as statuses
    from dicomsync.ledger.reader import Reader

    with Reader.open(_ledger_path(ledger, config_file, overrides)) as reader:
        found = statuses.snapshot(reader, time.time())
    click.echo(json.dumps(found) if as_json else statuses.text(found))


@cli.command(short_help="Tell the life of one file, study or instance.")
@click.argument("subject", nargs=-1, metavar="[FILE|UID|HANDLE]")
@_configured
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

    A HANDLE is what logs print, such as "study 7f3a9c". This prints paths and UIDs: it is meant for
    the person at the machine.
    """
    logs.configure(-1 if quiet else verbosity)
    from dicomsync import explain as explaining
    from dicomsync.ledger.reader import Reader

    with Reader.open(_ledger_path(ledger, config_file, overrides)) as reader:
        if not subject:
            lines = explaining.problems(reader) or ["Nothing needs a person."]
        else:
            found = explaining.explain(reader, " ".join(subject), time.time())
            if found is None:
                raise UsageProblem(
                    "The ledger knows no such file, UID or handle.",
                    hint="A file must be named as it is on this machine; has its folder been read yet?",
                )
            lines = found
    click.echo("\n".join(lines))
    return 0


@cli.command(short_help="Write a config.")
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
    )
    setup.write(file, setup.render(answers), force=force)
    click.echo("\n".join(setup.told(file, answers)))


@cli.command(short_help="Check config, folders, ledger and archive.")
@_configured
@click.option("--json", "as_json", is_flag=True, help="Print it for a program; the keys are stable.")
def doctor(
    config_file: Path | None, overrides: tuple[str, ...], verbosity: int, quiet: bool, as_json: bool
) -> int:
    """Look at everything that could be in the way, and say what to do about it. Changes nothing.

    Ends with 0 if nothing is a problem, 1 if something is, 2 if the config cannot be used.
    """
    logs.configure(-1 if quiet else verbosity)
    from dicomsync import doctor as looking

    checks = looking.examine(str(config_file), lambda: _load(config_file, overrides, {}))
    if as_json:
        click.echo(json.dumps(looking.as_json(checks)))
    elif not quiet or looking.exit_code(checks):
        click.echo(looking.text([one for one in checks if not quiet or one.state is looking.State.PROBLEM]))
    return looking.exit_code(checks)


@cli.command(short_help="Serve a DICOMweb archive to try things out.")
@click.option("--port", default=0, show_default="any free one", type=click.IntRange(0, 65535))
@click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Where it keeps its files; made if missing.",
)
@click.option("--fault", "faults", multiple=True, metavar="SPEC", help="Misbehave; see --faults.")
@click.option(
    "--faults",
    "list_faults",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _parameter, value: _list_faults(context) if value else None,
    help="List the ways in which it can misbehave.",
)
@click.option("-v", "verbosity", count=True, help="Say more on standard error.")
def sandbox(port: int, store: Path, faults: tuple[str, ...], verbosity: int) -> None:
    """Serve a small DICOMweb archive on this machine, to try things out. Not for patients.

    It keeps files in a directory and answers as the Medical Imaging Server for DICOM documents.
    """
    logs.configure(verbosity)
    from dicomsync.sandbox import NOT_FOR_PATIENTS, serve

    click.echo(NOT_FOR_PATIENTS, err=True)
    serve(store, port, faults, lambda url: click.echo(f"listening: {url}"))


def _list_faults(context: click.Context) -> None:
    from dicomsync.sandbox import HELP

    click.echo("--fault NAME[=ARG][@[SCOPE:]WHEN], such as status=503@1-3 or stall=2@search:every:5")
    click.echo()
    formatter = context.make_formatter()
    formatter.write_dl(list(HELP))
    click.echo(formatter.getvalue(), nl=False)
    context.exit()


@cli.command(short_help="Show the whole way in a minute.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where to leave everything for you to look at (default: a new directory in /tmp).",
)
def demo(keep: Path | None) -> int:
    """Show the whole way in a minute: sandbox, sample studies, backfill, what happened, where to look."""
    logs.configure(0)
    from dicomsync import demo as showing

    return showing.run(keep, click.echo)

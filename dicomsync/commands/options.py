"""What commands have in common: the config and its overlays, durations, the ledger's place."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dicomsync.errors import UsageProblem

if TYPE_CHECKING:
    from dicomsync.config import Config
    from dicomsync.dicomweb import Archive

Command = TypeVar("Command", bound=Callable[..., Any])


def configured(command: Command) -> Command:
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


def archive_of(
    config_file: Path | None, overrides: tuple[str, ...], url: str | None
) -> tuple[Archive, Config | None]:
    """Give the archive that is meant, by config or by URL alone, and the config if there is one."""
    from dicomsync import config, wiring

    if config_file is not None:
        settings = load(config_file, overrides, {"archive": {"url": url}} if url else {})
        return wiring.archive_of(settings.archive), settings
    if url is None:
        raise UsageProblem("Which archive?", hint="Give -c CONFIG, or --archive URL.")
    return wiring.archive_of(config.archive_alone(url, overrides)), None


def load(config_file: Path | None, overrides: tuple[str, ...], given: dict[str, dict[str, Any]]) -> Config:
    """Load the config, with what the command line gives laid over it."""
    from dicomsync import config

    text = ""
    if config_file is not None:
        text = _text_of(config_file)
    elif not all(given.get(section) for section in ("archive", "ledger")):
        raise UsageProblem("There is no config.", hint="Give -c FILE, or --archive URL and --ledger FILE.")
    return config.parse(text, overrides, given=given, source=str(config_file or "the command line"))


def _text_of(config_file: Path) -> str:
    try:
        return config_file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageProblem(
            f"The config {config_file} cannot be read: {error.strerror}.",
            for_logs=f"it cannot be read: {error.strerror}",
        ) from None
    except UnicodeDecodeError:
        raise UsageProblem(
            f"The config {config_file} is not UTF-8 text.", for_logs="it is not UTF-8 text"
        ) from None


def duration(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Read a duration such as 10min, as an option's callback; gives seconds."""
    if value is None:
        return None
    from dicomsync import config

    try:
        return config.seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def since(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Read a span back from now, or a date in local time, as an option's callback; gives wall seconds."""
    from dicomsync import config

    if value is None:
        return None
    try:
        return time.time() - config.seconds(value)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter("expected a span back such as 7d, or a date such as 2026-01-31") from None


def given(**values: Any) -> dict[str, dict[str, Any]]:
    """Sort what was given on the command line into sections, leaving out what was not."""
    sections: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        if value is not None:
            section, _, name = key.partition("_")
            sections.setdefault(section, {})[name] = value
    return sections


def agree(question: str) -> None:
    """Ask a person; a no, or nobody to answer, ends the command with 130, and is told to change nothing."""
    try:
        if click.confirm(question, err=True):
            return
    except click.Abort:
        click.echo(err=True)  # the question ended no line
    click.echo("Nothing was changed.", err=True)
    raise click.Abort


def ledger_path(ledger: Path | None, config_file: Path | None, overrides: tuple[str, ...]) -> Path:
    """Find the ledger from a flag, or from the config."""
    if ledger is not None:
        return ledger
    if config_file is None:
        raise UsageProblem("Which ledger?", hint="Give --ledger FILE, or -c CONFIG.")
    return Path(load(config_file, overrides, {}).ledger.path)


def ledger_at_once(ledger: Path | None, config_file: Path | None, overrides: tuple[str, ...]) -> Path:
    """Find the ledger as `ledger_path` does, without a check of the rest of the config.

    Checking would make `status` take a sixth longer; what changes nothing needs none.
    """
    if ledger is None and config_file is not None and not overrides:
        import tomllib

        with suppress(ValueError, KeyError, TypeError, RecursionError):  # the check says what is wrong
            ledger = Path(tomllib.loads(_text_of(config_file))["ledger"]["path"])
    return ledger_path(ledger, config_file, overrides)

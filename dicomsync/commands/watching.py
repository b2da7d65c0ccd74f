"""`metrics` and `web`: how it stands, for programs and for a browser."""

from __future__ import annotations

from pathlib import Path

import click

from dicomsync import logs
from dicomsync.commands.options import configured, ledger_path
from dicomsync.errors import UsageProblem


@click.command(short_help="Print metrics for Prometheus.")
@configured
@click.option("--ledger", type=click.Path(dir_okay=False, path_type=Path), help="The ledger file.")
@click.option(
    "--textfile",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.prom",
    help="Write them there, at once and whole: for node_exporter's textfile collector.",
)
def metrics(
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    ledger: Path | None,
    textfile: Path | None,
) -> int:
    """Print, once, the metrics that `dicomsync web` serves at /metrics.

    Where the ledger cannot be read they say just that, and the exit code is 1.
    """
    logs.configure(-1 if quiet else verbosity)
    path = ledger_path(ledger, config_file, overrides)
    try:
        from dicomsync.web import metrics as measuring
    except ImportError as missing:
        raise _not_installed(missing) from None
    if textfile is None:
        text, readable = measuring.exposition(path)
        click.echo(text, nl=False)
        return 0 if readable else 1
    try:
        return 0 if measuring.write(path, textfile) else 1
    except OSError as error:
        raise UsageProblem(
            f"{textfile} cannot be written ({error.strerror}); it is as it was.",
            hint="Its directory must be there, and this user must be able to write in it.",
        ) from None


def _not_installed(missing: ImportError) -> UsageProblem:
    told = f"This needs {missing.name}, which is not installed."
    return UsageProblem(told, hint="pip install 'dicomsync[web]'")

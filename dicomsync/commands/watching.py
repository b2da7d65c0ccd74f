"""`metrics` and `web`: how it stands, for programs and for a browser."""

from __future__ import annotations

from pathlib import Path

import click

from dicomsync import logs
from dicomsync.commands.options import configured, ledger_path, load
from dicomsync.errors import UsageProblem


@click.command()
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
    if textfile.suffix != ".prom":
        raise UsageProblem(
            f"{textfile} was not written: node_exporter reads no file that is not named *.prom.",
            hint="Give it a name such as dicomsync.prom.",
        )
    try:
        return 0 if measuring.write(path, textfile) else 1
    except OSError as error:
        raise UsageProblem(
            f"{textfile} cannot be written ({error.strerror}); it is as it was.",
            hint="Its directory must be there, and this user must be able to write in it.",
        ) from None


@click.command()
@configured
@click.option("--listen", metavar="ADDRESS:PORT", help="Another address than [web] of the config says.")
def web(
    config_file: Path | None, overrides: tuple[str, ...], verbosity: int, quiet: bool, listen: str | None
) -> None:
    """Serve a page for a browser, /metrics, /healthz and /readyz, until it is told to stop.

    A process of its own beside the daemon, that only reads. By default this machine alone can reach it
    (http://127.0.0.1:9646/); `[web]` of the config says where else, and who may.
    """
    logs.configure(-1 if quiet else verbosity)
    if config_file is None:
        raise UsageProblem("There is no config.", hint="Give -c FILE; `dicomsync init` writes one.")
    settings = load(config_file, overrides, {"web": {"listen": listen}} if listen else {})
    try:
        from dicomsync.web import serve
    except ImportError as missing:
        raise _not_installed(missing) from None
    from dicomsync.concerns import How

    how = How.by(str(config_file.absolute()))
    serve.serve(settings.web, Path(settings.ledger.path), how, lambda url: click.echo(f"listening: {url}"))


def _not_installed(missing: ImportError) -> UsageProblem:
    told = f"This needs {missing.name}, which is not installed."
    return UsageProblem(told, hint="pip install 'dicomsync[web]'")

"""`sandbox` and `demo`: to try things out."""

from __future__ import annotations

from pathlib import Path

import click

from dicomsync import logs


@click.command()
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


@click.command()
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

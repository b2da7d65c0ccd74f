"""`report`: the account of every file, a study's receipt, what may be cleared away."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dicomsync import logs
from dicomsync.commands.options import configured, ledger_path, since
from dicomsync.errors import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomsync.ledger import Reader


@click.command()
@configured
@click.option("--ledger", type=click.Path(dir_okay=False, path_type=Path), help="The ledger file.")
@click.option(
    "--since",
    "since_wall",
    callback=since,
    metavar="WHEN",
    help="Only what was first seen since then: a span back (7d, 12h) or a date (2026-01-31, local time).",
)
@click.option("--study", metavar="UID|HANDLE", help="The receipt of one study, instance by instance.")
@click.option("--removable", is_flag=True, help="Only the paths that are verified, and unchanged on disk.")
@click.option("-0", "nul", is_flag=True, help="End each path of --removable with a NUL byte (xargs -0).")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "jsonl"]),
    help="For people (the default), for spreadsheets, or one JSON object a line.",
)
def report(
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    ledger: Path | None,
    since_wall: float | None,
    study: str | None,
    removable: bool,
    nul: bool,
    form: str | None,
) -> None:
    """Account for every file ever seen: each with exactly one outcome, in the order they were seen.

    With --study it is the receipt of that study. With --removable it prints nothing but paths whose
    bytes were compared with the archive's, and which are on disk now just as they were then. What is
    done with them is the site's to decide; dicomsync removes nothing. This prints paths and UIDs.
    """
    logs.configure(-1 if quiet else verbosity)
    if nul and not removable:
        raise UsageProblem("-0 is about the paths of --removable; it needs that.")
    if removable and form:
        raise UsageProblem("--removable prints paths alone; it takes no --format.")
    from dicomsync import report as reports
    from dicomsync.ledger import Reader

    with Reader.open(ledger_path(ledger, config_file, overrides)) as reader:
        study_id = None if study is None else reports.study_named(reader, study)
        if removable:
            _paths(reader, study_id, since_wall or 0.0, nul)
            return
        for text in _texts(reader, study_id, since_wall or 0.0, form or "table"):
            click.echo(text)


def _texts(reader: Reader, study_id: int | None, since_wall: float, form: str) -> Iterator[str]:
    from dicomsync import report as reports

    records = (
        reports.files(reader, since_wall)
        if study_id is None
        else reports.receipt(reader, study_id, since_wall)
    )
    if form == "jsonl":
        yield from reports.as_jsonl(records)
    elif form == "csv":
        yield from reports.as_csv(records)
    elif study_id is None:
        yield from reports.as_table(records)
    else:
        yield from reports.head(reader, study_id, time.time())
        yield from map(reports.instance_lines, records)


def _paths(reader: Reader, study_id: int | None, since_wall: float, nul: bool) -> None:
    """Print paths as the bytes they are; one that a line cannot hold is left out, and told."""
    from dicomsync import report as reports
    from dicomsync.scan import look

    end, left_out = (b"\0", 0) if nul else (b"\n", 0)
    for path in reports.removable(reader, look, study_id, since_wall):
        if not nul and b"\n" in path:
            left_out += 1
        else:
            click.echo(path + end, nl=False)
    if left_out:
        raise UsageProblem(
            f"{left_out} paths with a line break in them were left out; all others were printed.",
            hint="Give -0, and read the paths as `xargs -0` does.",
        )

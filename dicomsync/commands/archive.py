"""`archive`: DICOMweb by hand, one command for each transaction."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dicomsync import logs
from dicomsync.commands.options import Command, agree, archive_of, configured
from dicomsync.errors import DicomsyncError, UsageProblem

if TYPE_CHECKING:
    from dicomsync.byhand.retrieve import Place, Retrieved
    from dicomsync.byhand.store import Told
    from dicomsync.config import Config
    from dicomsync.dicomweb import Archive, Client, Outcome


@click.group()
def archive() -> None:
    """Store, retrieve, search and delete by hand, in the archive of a config or at a URL.

    UIDs are asked for from the top: a study, one of its series, one of its instances.
    """


def _reaching(command: Command) -> Command:
    """Add what every command with an archive takes."""
    option = click.option(
        "--archive", "url", metavar="URL", help="The DICOMweb base URL; no config is needed."
    )
    return configured(option(command))


@contextmanager
def _reached(
    config_file: Path | None, overrides: tuple[str, ...], url: str | None
) -> Iterator[tuple[Archive, Client, Config | None]]:
    """Reach the archive, and find out of which kind it is."""
    from dataclasses import replace

    from dicomsync import dicomweb

    where, config = archive_of(config_file, overrides, url)
    try:
        kind = dicomweb.client_for(where).identify().kind
        where = replace(where, kind=kind)
        yield where, dicomweb.client_for(where), config
    finally:
        dicomweb.close_clients()


# store


@archive.command(short_help="Store files.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@_reaching
@click.option("--study", metavar="UID", help="Store only what is of this study.")
@click.option("--single", is_flag=True, help="Each file as a single part (where the archive takes that).")
@click.option("--replace", is_flag=True, help="Over what the archive has (where it can); asks first.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print each file's fate as JSON.")
def store(
    files: tuple[Path, ...],
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    url: str | None,
    study: str | None,
    single: bool,
    replace: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Store FILES, each proved whole first, and say what became of each of them.

    What the archive has already is compared: the same bytes are no error, other bytes a conflict, and
    nothing is stored over them. For whole folders there is `backfill`, which also keeps account.
    """
    logs.configure(-1 if quiet else verbosity)
    if single and replace:
        raise UsageProblem("--single and --replace do not go together.")
    from dicomsync import progress
    from dicomsync.byhand import store as byhand
    from dicomsync.byhand.retrieve import Place
    from dicomsync.jobs import Way

    if any(path.is_dir() for path in files):
        raise UsageProblem("A directory is not a file.", hint="`dicomsync backfill DIR` stores directories.")
    of_study = None if study is None else Place(study).study
    if replace and not yes:
        files_in_words = f"{len(files)} files" if len(files) != 1 else "1 file"
        agree(f"Replace what the archive has of {files_in_words}?")
    way = Way.SINGLE_PART if single else Way.REPLACE if replace else Way.MULTIPART
    mode = progress.mode_for(sys.stderr.isatty(), None, quiet)
    with (
        _reached(config_file, overrides, url) as (where, _, _),
        progress.counted(mode, "files", len(files)) as tell,
    ):
        told = list(byhand.store(where, files, way, of_study, lambda done, size: tell(done, size, None)))
    if as_json:
        click.echo(json.dumps([_as_json(one) for one in told]))
    elif not quiet:
        click.echo("\n".join(_fates(told)))
    return _code(told)


def _as_json(one: Told) -> dict[str, str]:
    uid = one.sop_instance_uid
    return {"file": str(one.path), "fate": one.fate.value, "why": one.words, "sop_instance_uid": uid}


def _fates(told: list[Told]) -> list[str]:
    """Say what became of the files: sums, and a line for each that was not stored without more ado."""
    from dicomsync import words
    from dicomsync.byhand.store import Fate

    sums = Counter(one.fate for one in told)
    lines = [words.table([(fate.value, f"{sums[fate]:,}") for fate in Fate if sums[fate]])]
    odd = [one for one in told if one.fate is not Fate.STORED or one.words]
    lines += [
        f"  {words.visible(bytes(one.path))}: {', '.join(filter(None, (one.fate, one.words)))}" for one in odd
    ]
    return lines


def _code(told: list[Told]) -> int:
    from dicomsync.byhand.store import Fate

    fates = {one.fate for one in told}
    if fates & {Fate.UNCLEAR, Fate.NOT_STORED}:
        return 5
    return 20 if fates & {Fate.REFUSED, Fate.CONFLICT, Fate.UNFIT} else 0


# retrieve


@archive.command(short_help="Retrieve a study, series or instance.")
@click.argument("study")
@click.argument("series", required=False)
@click.argument("instance", required=False)
@_reaching
@click.option(
    "-o",
    "--output",
    "into",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where files go: DIR/STUDY/SERIES/INSTANCE.dcm.",
)
@click.option("--metadata", is_flag=True, help="Only the metadata, as DICOM JSON (without -o: printed).")
@click.option("--frames", metavar="1,2", help="Only these frames of the instance, as they are stored.")
def retrieve(
    study: str,
    series: str | None,
    instance: str | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    url: str | None,
    into: Path | None,
    metadata: bool,
    frames: str | None,
) -> int:
    """Retrieve a STUDY, one SERIES of it or one INSTANCE, as it was stored, never converted.

    Files that are there already, whole and under their names, are not fetched again; run it again after
    an interruption and it goes on. No file is ever written over another.
    """
    logs.configure(-1 if quiet else verbosity)
    from dicomsync.byhand import retrieve as byhand

    place = byhand.Place(study, series, instance)
    if into is None and not metadata:
        raise UsageProblem("Where to?", hint="Give -o DIR.")
    if metadata and frames:
        raise UsageProblem("--metadata and --frames do not go together.")
    numbers = _numbers(frames) if frames else []
    with _reached(config_file, overrides, url) as (_, client, _):
        if metadata:
            _metadata(client, place, into, quiet)
            return 0
        assert into is not None  # noqa: S101 - checked above
        if numbers:
            kept = byhand.frames(client, place, numbers, into)
            click.echo("\n".join(str(path) for path in kept), nl=not quiet)
            return 0
        return _files(client, place, into, quiet)


def _metadata(client: Client, place: Place, into: Path | None, quiet: bool) -> None:
    from dicomsync.byhand import retrieve as byhand

    if into is None:
        with client.metadata(*place.uids) as found:
            for piece in byhand.json_array(found.datasets):
                click.echo(piece, nl=False)
        return
    path, count = byhand.metadata(client, place, into)
    if not quiet:
        said = "nothing new, by the archive's ETag" if count is None else f"{count} instances"
        click.echo(f"{path}: {said}")


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise UsageProblem(f"--frames {text!r} are no frame numbers.", hint="Such as --frames 1,2,5.")
    return numbers


def _files(client: Client, place: Place, into: Path, quiet: bool) -> int:
    from dicomsync import progress, words
    from dicomsync.byhand import retrieve as byhand

    mode = progress.mode_for(sys.stderr.isatty(), None, quiet)
    with progress.counted(mode, "files", None) as tell:

        def show(report: Retrieved) -> None:
            tell(report.new + report.there, report.size_bytes, report.wanted)

        report = byhand.files(client, place, into, show)
    if not quiet:
        new = f"{words.count(report.new, 'file')} retrieved ({words.size(report.size_bytes)})"
        click.echo(f"{new}, {report.there:,} there already, in {into}")
        click.echo("".join(f"  {line}\n" for line in report.amiss), nl=False)
    if report.trouble is not None:
        problem = DicomsyncError(
            f"{report.trouble.message.rstrip('.')}. What had come whole by then is kept.",
            hint=report.trouble.hint or "Run it again: it goes on where it was.",
        )
        problem.exit_code = report.trouble.exit_code
        raise problem
    if report.missing:
        click.echo(f"{words.count(report.missing, 'instance')} did not come. Run it again.", err=True)
        return 5
    return 20 if report.amiss else 0


# search


@archive.command(short_help="Search for studies, series or instances.")
@click.argument("level", type=click.Choice(["studies", "series", "instances"]))
@_reaching
@click.option(
    "-f",
    "--filter",
    "filters",
    multiple=True,
    metavar="NAME=VALUE",
    help="By keyword or tag; repeatable.",
)
@click.option("--study", metavar="UID", help="Only within this study.")
@click.option("--series", metavar="UID", help="Only within this series (with --study).")
@click.option("--include", multiple=True, metavar="NAME", help="An attribute to have in the answer, or all.")
@click.option("--fuzzy", is_flag=True, help="Match names as they sound, where the archive can.")
@click.option("--limit", type=click.IntRange(1), help="At most so many (default: all).")
@click.option("--offset", type=click.IntRange(0), default=0, help="Leave out the first so many.")
@click.option("--json", "as_json", is_flag=True, help="Print the DICOM JSON model, untouched.")
def search(
    level: str,
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    url: str | None,
    filters: tuple[str, ...],
    study: str | None,
    series: str | None,
    include: tuple[str, ...],
    fuzzy: bool,
    limit: int | None,
    offset: int,
    as_json: bool,
) -> None:
    """Search for studies, series or instances; results come as they are found, to the last page.

    Such as: search studies -f PatientID=1234 -f StudyDate=20260101-20261231. Whether * and ? stand for
    other letters is the archive's to say; the Medical Imaging Server has --fuzzy instead.
    """
    logs.configure(-1 if quiet else verbosity)
    from typing import cast

    from dicomsync.byhand import search as byhand
    from dicomsync.byhand.retrieve import json_array
    from dicomsync.dicomweb import Level

    matching = _pairs(filters)
    with _reached(config_file, overrides, url) as (_, client, _):
        results = client.search(
            cast(Level, level),
            study=study,
            series=series,
            matching=matching,
            include=include or (() if as_json else byhand.attributes(level)),
            fuzzy=fuzzy,
            limit=limit,
            offset=offset,
        )
        if as_json:
            for piece in json_array(results):
                click.echo(piece, nl=False)
        else:
            count = 0
            for count, found in enumerate(results, 1):
                if count == 1:
                    click.echo(byhand.heading(level))
                click.echo(byhand.row(level, found))
            if not quiet:
                click.echo(f"{count:,} found" if count else "nothing found", err=True)
        for warning in results.warnings:
            click.echo(f"The archive remarks: {warning}", err=True)


def _pairs(filters: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for one in filters:
        name, equals, value = one.partition("=")
        if not (equals and name and value):
            raise UsageProblem(f"-f {one!r} is not NAME=VALUE.", hint="Such as -f PatientID=1234.")
        if name in pairs:
            raise UsageProblem(f"-f {name} is given twice.", hint="Several values of one: PatientID=1,2.")
        pairs[name] = value
    return pairs


# delete


@archive.command(short_help="Delete a study, series or instance.")
@click.argument("study")
@click.argument("series", required=False)
@click.argument("instance", required=False)
@_reaching
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--reject-code",
    default="113039^DCM",
    show_default=True,
    help="dcm4chee: CODE^SCHEME to reject it with.",
)
def delete(
    study: str,
    series: str | None,
    instance: str | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    url: str | None,
    yes: bool,
    reject_code: str,
) -> None:
    """Delete a STUDY, one SERIES of it or one INSTANCE from the archive; says what would go, and asks.

    With a config, its ledger marks what it knows of it as deleted by a person: nothing of it is sent
    again, though its files are there. Files are never touched.
    """
    logs.configure(-1 if quiet else verbosity)
    from dicomsync import handover, orders
    from dicomsync.byhand import delete as byhand
    from dicomsync.byhand.retrieve import Place

    place = Place(study, series, instance)
    with _reached(config_file, overrides, url) as (_, client, config):
        found = byhand.contents(client, place)
        if not quiet or not yes:
            click.echo(byhand.described(place, found), err=True)
        if not yes:
            agree("Delete this from the archive?")

        def gone() -> Outcome:
            return client.delete(*place.uids, reject_code=reject_code).outcome

        if config is None:
            told = byhand.words(gone())
        else:
            with handover.withdrawn(config, orders.Withdraw(study, series, instance)) as (marked, settle):
                told = byhand.settled(gone, settle)
                of_it = f"marks {marked:,} instances of it" if marked else "knows nothing of it"
                told += f" The ledger {of_it}."
    if not quiet:
        click.echo(told)

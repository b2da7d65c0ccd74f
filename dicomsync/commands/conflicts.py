"""`conflicts`: what stands against what under one UID, in what it differs, and a person's decision."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dicomsync import logs
from dicomsync.commands.options import configured, ledger_path, load
from dicomsync.errors import ArchiveProblem, LedgerInUse, UsageProblem

if TYPE_CHECKING:
    from dicomsync.byhand.conflicts import Diff, Take
    from dicomsync.config import Config
    from dicomsync.dicomweb import Archive, Client
    from dicomsync.ledger import Conflict, Reader


@click.group()
def conflicts() -> None:
    """Understand and resolve conflicts: two contents under one SOP Instance UID, of which one is stored.

    A UID is of a study or an instance; a HANDLE is what logs and `list` print, such as "instance 7f3a9c".
    """


@conflicts.command("list", short_help="List them by study, or one study's by instance.")
@configured
@click.option("--ledger", type=click.Path(dir_okay=False, path_type=Path), help="The ledger file.")
@click.option("--study", metavar="UID|HANDLE", help="Each instance of this study.")
@click.option(
    "--compare", is_flag=True, help="Compare first what was not compared yet (reads both contents)."
)
@click.option("--json", "as_json", is_flag=True, help="Print it for a program; the keys are stable.")
def listing(
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    ledger: Path | None,
    study: str | None,
    compare: bool,
    as_json: bool,
) -> None:
    """List conflicts by study, with how the contents differ once they were compared."""
    logs.configure(-1 if quiet else verbosity)
    from dicomsync.ledger.reader import Reader

    path = ledger_path(ledger, config_file, overrides)
    if compare:
        with Reader.open(path) as reader:
            cases = [one for one in _of_study(reader, study) if not one.ours.likeness]
        with _reached(load(config_file, overrides, {})) as (_, client):
            _compare_all(load(config_file, overrides, {}), client, cases)
    with Reader.open(path) as reader:
        if study is None:
            told = [_sum_as_json(one) for one in reader.conflict_sums()]
            lines = [_sum_in_words(one) for one in told] or ["There are no conflicts."]
        else:
            told = [_case_as_json(one) for one in _of_study(reader, study)]
            lines = [line for one in told for line in _case_in_words(one)]
    click.echo(json.dumps({"schema": 1, "conflicts": told}) if as_json else "\n".join(lines))


def _compare_all(settings: Config, client: Client, cases: list[Conflict]) -> None:
    from dicomsync import handover
    from dicomsync.byhand import conflicts as byhand
    from dicomsync.resolution import Resolve, Step

    with handover.resolving(settings) as take:
        for case in cases:
            try:
                likeness = byhand.diff(client, case).comparison.likeness
            except byhand.Left as left:
                click.echo(f"{_name(case)}: {left.words}.", err=True)
                continue
            take(Resolve.one(Step.COMPARED, case.ours.instance_id, likeness.value))


def _sum_as_json(one: Any) -> dict[str, Any]:
    from dicomsync.handles import handle

    return {
        "study": handle("study", one.study_id),
        "study_instance_uid": one.study_instance_uid,
        "reason": one.reason,
        "likeness": one.likeness or None,
        "n": one.n,
    }


def _sum_in_words(one: dict[str, Any]) -> str:
    from dicomsync import words

    return f"{words.count(one['n'], 'instance')} of {one['study']}: {_how(one)}"


def _how(one: dict[str, Any]) -> str:
    from dicomsync.compare import WORDS, Likeness
    from dicomsync.failures import in_words

    how = WORDS[Likeness(one["likeness"])] if one["likeness"] else "not compared yet"
    return f"{how} ({in_words(one['reason'])})"


def _case_as_json(case: Conflict) -> dict[str, Any]:
    from dicomsync import words

    ours = case.ours
    return {
        "instance": _name(case),
        "sop_instance_uid": ours.sop_instance_uid,
        "reason": ours.reason,
        "likeness": ours.likeness or None,
        "file": None if ours.source is None else words.visible(ours.source.path),
    }


def _case_in_words(one: dict[str, Any]) -> list[str]:
    return [
        f"{one['instance']}: {_how(one)}",
        f"    {one['sop_instance_uid']}",
        f"    {one['file'] or 'no file holds it any more'}",
    ]


@conflicts.command(short_help="Show in what two contents differ, tag by tag.")
@click.argument("subject", nargs=-1, required=True, metavar="UID|HANDLE")
@configured
@click.option("--json", "as_json", is_flag=True, help="Print it for a program; the keys are stable.")
def diff(
    subject: tuple[str, ...],
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Compare a content in conflict with the one that has its UID: in the archive, or in another file.

    Shows each element that differs, with both values, and pixel data by its SHA-256. It prints
    identities: it is meant for the person at the machine. How they differ is kept for `list`.
    """
    logs.configure(-1 if quiet else verbosity)
    from dicomsync import handover
    from dicomsync.byhand import conflicts as byhand
    from dicomsync.resolution import Resolve, Step

    settings = load(config_file, overrides, {})
    told, lines = [], []
    cases = _named(settings, " ".join(subject))
    with ExitStack() as reached:
        alone = all(map(byhand.between_files, cases))  # then the archive is not needed
        client = None if alone else reached.enter_context(_reached(settings))[1]
        for case in cases:
            try:
                found = byhand.diff(client, case)
            except byhand.Left as left:
                raise UsageProblem(f"{_name(case)}: {left.words}.") from None
            told.append(_diff_as_json(case, found))
            lines += _diff_in_words(case, found)
            step = Resolve.one(Step.COMPARED, case.ours.instance_id, found.comparison.likeness.value)
            try:
                with handover.resolving(settings) as take:
                    take(step)
            except LedgerInUse:
                lines.append("The ledger is in use just now: that they were compared is not kept in it.")
    click.echo(json.dumps({"schema": 1, "conflicts": told}) if as_json else "\n".join(lines))


def _diff_as_json(case: Conflict, found: Diff) -> dict[str, Any]:
    ours, theirs = found.comparison.pixels
    pixels = [one and {"sha256": one.sha256, "size_bytes": one.size_bytes} for one in (ours, theirs)]
    return {
        **_case_as_json(case),
        "likeness": found.comparison.likeness.value,
        "other": found.other,
        "pixels": {"folder": pixels[0], "other": pixels[1]},
        "differences": [
            {"tag": one.tag, "where": one.where, "folder": one.folder, "other": one.archive}
            for one in found.comparison.differences
        ],
        "more": found.comparison.more,
    }


def _diff_in_words(case: Conflict, found: Diff) -> list[str]:
    from dicomsync import words
    from dicomsync.compare import WORDS, Likeness

    one = found.comparison
    other = "archive" if found.other == "archive" else "other file"
    lines = [f"{_name(case)}: {WORDS[one.likeness]}", f"    {case.ours.sop_instance_uid}"]
    if one.likeness is Likeness.PATIENT:
        lines += ["", f"  !!! The folder's file and the {other} are of DIFFERENT PATIENTS. !!!", ""]
    for difference in one.differences:
        lines.append(f"  {difference.where} ({difference.tag})")
        lines.append(f"      folder      {_value(difference.folder)}")
        lines.append(f"      {other:<10}  {_value(difference.archive)}")
    if one.more:
        lines.append(f"  … and {words.count(one.more, 'difference')} more")
    for name, pixels in (("folder", one.pixels[0]), (other, one.pixels[1])):
        if pixels is not None:
            size = words.size(pixels.size_bytes)
            lines.append(f"  pixel data, {name}: {size}, SHA-256 {pixels.sha256}")
    return lines


def _value(shown: str | None) -> str:
    return "-" if shown is None else shown or '""'


@conflicts.command(short_help="Keep the archive's content, or have the folder's stored.")
@click.argument("subject", nargs=-1, metavar="[UID|HANDLE]")
@configured
@click.option("--study", metavar="UID|HANDLE", help="All conflicts of this study.")
@click.option(
    "--keep",
    required=True,
    type=click.Choice(["archive", "folder"]),
    help="Whose content is to be in the archive.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def resolve(
    subject: tuple[str, ...],
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    study: str | None,
    keep: str,
    yes: bool,
    as_json: bool,
) -> int:
    """Settle conflicts: keep what the archive has, or have the folder's file stored in its place.

    "folder" replaces by PUT where the archive can; elsewhere it deletes and stores, and only what this
    ledger has stored itself, proved by comparing it first. What it may not replace it explains. Interrupted,
    the same command goes on. With a running daemon it goes through it. No file is ever touched.
    """
    logs.configure(-1 if quiet else verbosity)
    from dicomsync import words

    if bool(subject) == bool(study):
        raise UsageProblem("Which conflicts?", hint="Name one UID or handle, or give --study UID.")
    settings = load(config_file, overrides, {})
    cases = _named(settings, " ".join(subject)) if subject else _studied(settings, study)
    if keep == "folder":
        _only_one_each(cases)
    if not yes:
        what = "replaced in the archive by the folder's" if keep == "folder" else "kept as the archive has it"
        click.confirm(f"{words.count(len(cases), 'instance')} will be {what}. Go on?", abort=True, err=True)
    told = _settle_all(settings, cases, keep)
    if as_json:
        click.echo(json.dumps({"schema": 1, "conflicts": told}))
    elif not quiet:
        sums = Counter((one["done"], one["words"]) for one in told)
        for (done, said), n in sums.items():
            click.echo(f"{words.count(n, 'instance')} {'resolved' if done else 'left'}: {said}.")
    return 0 if all(one["done"] for one in told) else 20


def _settle_all(settings: Config, cases: list[Conflict], keep: str) -> list[dict[str, Any]]:
    from dicomsync import handover
    from dicomsync.byhand import conflicts as byhand

    told: list[dict[str, Any]] = []
    with _reached(settings) as (archive, client), handover.resolving(settings) as take:
        for case in cases:
            try:
                said, done = _settle(archive, client, case, keep, take), True
            except byhand.Left as left:
                said, done = left.words, False
            except ArchiveProblem as problem:
                before = f"{len(told)} of {len(cases)} were settled. " if told else ""
                problem.message = f"{before}{_name(case)}: {problem.message}"
                raise
            told.append({**_case_as_json(case), "done": done, "words": said})
    return told


def _settle(archive: Archive, client: Client, case: Conflict, keep: str, take: Take) -> str:
    from dicomsync.byhand import conflicts as byhand

    if keep == "archive":
        return byhand.keep_archive(client, case, take)
    return byhand.keep_folder(archive, client, case, take)


def _only_one_each(cases: list[Conflict]) -> None:
    """Refuse to choose between several files of one UID."""
    several = [uid for uid, n in Counter(one.ours.sop_instance_uid for one in cases).items() if n > 1]
    if several:
        named = [_name(one) for one in cases if one.ours.sop_instance_uid == several[0]]
        raise UsageProblem(
            f"Several files with other contents claim one UID ({', '.join(named)}); nothing was changed.",
            hint="Name the one to be stored by its handle, and settle the others with --keep archive after.",
        )


# what is named


def _named(settings: Config, subject: str) -> list[Conflict]:
    from dicomsync.ledger.reader import Reader

    with Reader.open(Path(settings.ledger.path)) as reader:
        row = _row("instance", subject)
        found = reader.conflicts(instance=row) if row is not None else reader.conflicts(uid=subject)
        if not found and _study_row(reader, subject) is not None:
            raise UsageProblem("This is a study.", hint="Give it as --study UID.")
    if not found:
        raise UsageProblem(
            "The ledger knows no conflict of this name.", hint="`dicomsync conflicts list` shows all of them."
        )
    return found


def _studied(settings: Config, study: str | None) -> list[Conflict]:
    from dicomsync.ledger.reader import Reader

    with Reader.open(Path(settings.ledger.path)) as reader:
        return _of_study(reader, study)


def _of_study(reader: Reader, study: str | None) -> list[Conflict]:
    row = None if study is None else _study_row(reader, study)
    found = reader.conflicts(study=row) if row is not None or study is None else []
    if study is not None and not found:
        raise UsageProblem(
            "The ledger knows no conflict of this study.",
            hint="`dicomsync conflicts list` shows all of them.",
        )
    return found


def _study_row(reader: Reader, subject: str) -> int | None:
    row = _row("study", subject)
    if row is not None:
        return row
    found = reader.study_under(subject)
    return None if found is None else int(found["id"])


def _row(kind: str, subject: str) -> int | None:
    from dicomsync import handles

    return handles.number(kind, subject.strip().lower().removeprefix(kind).strip(" :-"))


def _name(case: Conflict) -> str:
    from dicomsync.handles import handle

    return handle("instance", case.ours.instance_id)


@contextmanager
def _reached(settings: Config) -> Iterator[tuple[Archive, Client]]:
    """Reach the archive, and find out of which kind it is."""
    from dataclasses import replace

    from dicomsync import dicomweb, wiring

    where = wiring.archive_of(settings.archive)
    try:
        kind = dicomweb.client_for(where).identify().kind
        where = replace(where, kind=kind)
        yield where, dicomweb.client_for(where)
    finally:
        dicomweb.close_clients()

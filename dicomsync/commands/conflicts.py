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
from dicomsync.commands.options import agree, configured, ledger_path, load
from dicomsync.errors import ArchiveProblem, LedgerInUse, UsageProblem

if TYPE_CHECKING:
    from dicomsync.byhand.conflicts import Diff, Left, Take
    from dicomsync.compare import Likeness
    from dicomsync.config import Config
    from dicomsync.dicomweb import Archive, Client
    from dicomsync.ledger import Conflict


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
    from dicomsync.byhand import conflicts as byhand
    from dicomsync.byhand.cases import of_study
    from dicomsync.ledger.reader import Reader

    path = ledger_path(ledger, config_file, overrides)
    if compare:
        settings = load(config_file, overrides, {})
        with Reader.open(path) as reader:
            cases = of_study(reader, study)
        with _reached(settings) as (_, client):
            for case, likeness in _compared(settings, client, cases):
                if isinstance(likeness, byhand.Left):
                    click.echo(f"{_name(case)}: {likeness.words}.", err=True)
    with Reader.open(path) as reader:
        if study is None:
            told = sorted(map(_sum_as_json, reader.conflict_sums()), key=_shouted_first)
            lines = [_sum_in_words(one) for one in told] or ["There are no conflicts."]
        else:
            told = sorted(map(_case_as_json, of_study(reader, study)), key=_shouted_first)
            lines = [line for one in told for line in _case_in_words(one)]
    click.echo(json.dumps({"schema": 1, "conflicts": told}) if as_json else "\n".join(lines))
    if told and not as_json and not quiet:
        click.echo(_AHEAD_OF_ONE if study else _AHEAD, err=True)


_AHEAD = "`conflicts list --study STUDY` names each instance; `--compare` compares what was not compared yet."
_AHEAD_OF_ONE = "`conflicts diff INSTANCE` shows both; `conflicts resolve INSTANCE --keep …` decides."


def _shouted_first(one: dict[str, Any]) -> bool:
    from dicomsync.compare import Likeness

    return bool(one["likeness"] != Likeness.PATIENT)


def _compared(
    settings: Config, client: Client, cases: list[Conflict]
) -> Iterator[tuple[Conflict, Likeness | Left]]:
    """Give how like the contents of each conflict are, compared and recorded now where that is not known."""
    from dicomsync import handover
    from dicomsync.byhand import conflicts as byhand
    from dicomsync.compare import Likeness

    with handover.resolving(settings) as take:
        for case in cases:
            known = case.ours.likeness
            yield case, Likeness(known) if known else byhand.compared(client, case, take)


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
    from dicomsync.byhand.cases import named
    from dicomsync.resolution import Resolve, Step

    settings = load(config_file, overrides, {})
    told, lines = [], []
    cases = named(Path(settings.ledger.path), " ".join(subject))
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
@click.option("--different-patient", is_flag=True, help="Also where the two are of different patients.")
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
    different_patient: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Settle conflicts: keep what the archive has, or have the folder's file stored in its place.

    What was not compared yet is compared first: where the two are of different patients, nothing is
    decided without --different-patient.

    "folder" replaces by PUT where the archive can; elsewhere it deletes and stores, and only what this
    ledger has stored itself, proved by comparing it first. What it may not replace it explains. Interrupted,
    the same command goes on. With a running daemon it goes through it. No file is ever touched.
    """
    logs.configure(-1 if quiet else verbosity)
    from dicomsync import words
    from dicomsync.byhand.cases import named, of_study
    from dicomsync.compare import Likeness
    from dicomsync.ledger.reader import Reader

    if bool(subject) == bool(study):
        raise UsageProblem("Which conflicts?", hint="Name one UID or handle, or give --study UID.")
    settings = load(config_file, overrides, {})
    path = Path(settings.ledger.path)
    if subject:
        cases = named(path, " ".join(subject))
    else:
        with Reader.open(path) as reader:
            cases = of_study(reader, study)
    if keep == "folder":
        _only_one_each(cases)
    with _reached(settings) as (archive, client):
        found = list(_compared(settings, client, cases))
        others = [case for case, alike in found if alike is Likeness.PATIENT and not different_patient]
        cases = [case for case in cases if case not in others]
        told = [{**_case_as_json(case), "done": False, "words": _DIFFERENT_PATIENT} for case in others]
        if cases and not yes:
            _ask(found, keep, len(cases))
        told += _settle_all(settings, archive, client, cases, keep)
    if as_json:
        click.echo(json.dumps({"schema": 1, "conflicts": told}))
    elif not quiet:
        sums = Counter((one["done"], one["words"]) for one in told)
        for (done, said), n in sums.items():
            click.echo(f"{words.count(n, 'instance')} {'resolved' if done else 'left'}: {said}.")
    return 0 if all(one["done"] for one in told) else 20


_DIFFERENT_PATIENT = (
    "DIFFERENT PATIENT. See `dicomsync conflicts diff`; if it is what you mean, add --different-patient"
)


def _ask(found: list[tuple[Conflict, Likeness | Left]], keep: str, n: int) -> None:
    """Ask a person, who is told what it is about."""
    from dicomsync import words
    from dicomsync.compare import WORDS, Likeness

    for alike, m in Counter(alike for _, alike in found if isinstance(alike, Likeness)).items():
        click.echo(f"{words.count(m, 'instance')}: {WORDS[alike]}", err=True)
    what = "replaced in the archive by the folder's" if keep == "folder" else "kept as the archive has it"
    agree(f"{words.count(n, 'instance')} will be {what}. Go on?")


def _settle_all(
    settings: Config, archive: Archive, client: Client, cases: list[Conflict], keep: str
) -> list[dict[str, Any]]:
    from dicomsync import handover
    from dicomsync.byhand import conflicts as byhand

    told: list[dict[str, Any]] = []
    with handover.resolving(settings) as take:
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
        try:
            kind = dicomweb.client_for(where).identify().kind
        except ArchiveProblem as problem:
            problem.message = f"The archive cannot be asked, and nothing was changed: {problem.message}"
            problem.hint = problem.hint or "`dicomsync doctor` says what is in the way."
            raise
        where = replace(where, kind=kind)
        yield where, dicomweb.client_for(where)
    finally:
        dicomweb.close_clients()

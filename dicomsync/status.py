"""How it stands, for a person: what is wrong and what to do, ages, then counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dicomsync import failures, mirror_report, words
from dicomsync.concerns import Level
from dicomsync.errors import LedgerProblem
from dicomsync.ledger.guard import MADE_ANEW, WORDS
from dicomsync.states import DUE, FileState, InstanceState

if TYPE_CHECKING:
    from dicomsync.ledger import Outcome

MEANINGS = {
    FileState.SETTLING: "still changing, or too fresh to trust",
    FileState.HELD: "not whole, or not readable: needs a person",
    FileState.IGNORED: "left alone on purpose: not DICOM, a DICOMDIR, or from before the daemon",
    FileState.READY: "whole: its instance says the rest",
    FileState.GONE: "has left its folder",
    FileState.MISSED: "left before it was known what it holds: needs a person",
    InstanceState.PENDING: "due to be stored",
    InstanceState.SENDING: "on its way",
    InstanceState.UNCONFIRMED: "the archive is being asked whether it has it",
    InstanceState.STORED: "in the archive",
    InstanceState.CONFLICT: "other content under a UID that is taken: needs a person",
    InstanceState.REJECTED: "refused by the archive: needs a person",
    InstanceState.SUPERSEDED: "a person kept another content under its UID: done with",
    InstanceState.MISSED: "left its folder before it could be stored: needs a person",
    InstanceState.LEAVING: "its file was removed: to be deleted after its grace",
    InstanceState.DELETING: "being deleted",
    InstanceState.DELETED: "deleted from the archive",
}

LOST = {
    "missing": "the archive was asked twice and does not have it any more: needs a person (`verify`)",
    "differs": "the archive has other bytes than were stored: needs a person (`verify --bytes`)",
}


def text(status: dict[str, Any]) -> str:
    """Say a status to a person: how it is, what helps, ages, and then the counts."""
    return f"{status['headline']}\n{_rest(status)}"


def parts_of(look: Callable[[], dict[str, Any]]) -> tuple[str, str, str]:
    """Look, and give it in three parts: the level, the headline, and the rest; trouble with it too."""
    try:
        status = look()
    except LedgerProblem as problem:
        return Level.WRONG.value, problem.message, problem.hint
    return status["level"], status["headline"], _rest(status)


def _rest(status: dict[str, Any]) -> str:
    archive, oldest = status["archive"], status["oldest_pending_seconds"]
    lines = [
        *_concerns(status),
        "",
        f"Daemon        {daemon(status['daemon'])}",
        "Archive       " + (archive.get("url") or "-") + (f" ({archive['kind']})" if archive["kind"] else ""),
        "Oldest due    " + (_nothing(status["ledger"]) if oldest is None else f"{words.span(oldest)} old"),
        f"Last answer   {ago(status['last_answer_seconds'])}",
        *_again(archive),
        *_receivers(status["alerts"]),
        *_doubt(status["doubt"]),
        "",
        "Instances",
        _states([(state, status["counts"][state.value]) for state in InstanceState]),
        "",
        "Files",
        _states([(state, status["files"][state.value]) for state in FileState]),
    ]
    lost = [[name, f"{n:,}", LOST[name]] for name, n in status["lost"].items() if n]
    if lost:
        lines += ["", "Of what is stored", words.table(lost)]
    if status["folders"]:
        lines += ["", "Folders"]
    for folder in status["folders"]:
        lines.append(_folder(folder))
        if not folder["lost"]:
            lines += [f"    {hint}" for hint in passed_over(folder)]
        if folder["hanging_seconds"] is not None:
            hangs = words.span(folder["hanging_seconds"])
            lines.append(f"    has not answered for {hangs}: is the server of this mount there?")
        if folder["lost"]:
            lines.append(f"    cannot be read for {words.span(folder['lost_seconds'])}: {folder['lost']}")
    if status["deletions"]:
        lines += ["", "Mirrored deletions", *mirror_report.lines(status["deletions"])]
    troubled = sum(case["n"] for case in status["cases"])
    if troubled:
        lines += ["", f"{words.count(troubled, 'case')} for a person: the commands above list them."]
    return "\n".join(lines)


_SIGNS = {Level.WRONG: "!!", Level.PERSON: "!", Level.NOTE: "-"}


def _nothing(ledger: dict[str, Any]) -> str:
    """Say that nothing is due, as far as the ledger can know."""
    return (
        "nothing that was taken in; what comes now waits in its folder"
        if ledger["blocked"]
        else "nothing is due"
    )


def _concerns(status: dict[str, Any]) -> list[str]:
    lines = [""] if status["concerns"] else []
    for one in status["concerns"]:
        since = "" if one["seconds"] is None else f" ({words.span(one['seconds'])})"
        said = f"{_SIGNS[Level(one['level'])]:<3}{one['words']}{since}"
        lines += [f"{said}  [{one['code']}]", f"      {one['todo']}"]
    return [*lines, "", "In brackets: `dicomsync help CODE` says more."] if lines else []


def daemon(told: dict[str, Any]) -> str:
    """Say in a few words whether a daemon is at work."""
    sign = told["sign_seconds"]
    match told["state"]:
        case "running":
            return f"running for {words.span(told['up_seconds'])}; last sign of life {ago(sign)}"
        case "silent":
            return f"SILENT: process {told['pid']} gave its last sign of life {ago(sign)}"
        case "stopped":
            return f"NOT RUNNING; last sign of life {ago(sign)}"
    return "none has ever run on this ledger"


def _again(archive: dict[str, Any]) -> list[str]:
    """Say when an archive that cannot be used is tried again."""
    again = archive["retry_seconds"]
    return [] if again is None else [f"Next try      {'now' if not again else f'in {words.span(again)}'}"]


def _receivers(told: dict[str, Any]) -> list[str]:
    """Say how those are told who do not look."""
    return [f"{name.capitalize():<13} {receiver(one)}" for name, one in told.items()]


def receiver(one: dict[str, Any]) -> str:
    """Say how it goes with a webhook or a heartbeat."""
    taken = "" if one["taken_seconds"] is None else f"last taken {ago(one['taken_seconds'])}"
    if one["failing"]:
        told = f"NOT TAKEN for {words.span(one['failing_seconds'])}: {one['failing']}"
    elif one.get("withheld"):
        told = "withheld, as images are not being stored"
    elif "told" in one:
        told = f"{words.count(one['told'], 'alert')} told and not over" if one["told"] else "nothing to tell"
    else:
        told = "" if taken else "not sent yet"
    return "; ".join(filter(None, (told, taken)))


def _doubt(doubt: dict[str, Any] | None) -> list[str]:
    if doubt is None:
        return []
    left = f"{words.count(doubt['unsettled'], 'instance')} still to be asked about"
    if not doubt["unsettled"]:
        left = "what was found since was asked about before anything was sent"
    what = "made anew" if doubt["why"] in MADE_ANEW else "in doubt since it was opened"
    return [f"Ledger        {what} {ago(doubt['seconds'])}: {WORDS[doubt['why']]}; {left}"]


def ago(seconds: float | None) -> str:
    """Say how long ago something was."""
    return "none yet" if seconds is None else f"{words.span(seconds)} ago"


def _states(counts: list[tuple[FileState | InstanceState, int]]) -> str:
    rows = [[str(state), f"{n:,}", MEANINGS[state]] for state, n in counts if n]
    return words.table(rows) or "  none yet"


def _folder(folder: dict[str, Any]) -> str:
    path = words.visible(folder["path"].encode("utf-8", "surrogateescape"))
    number = f"{folder['number']}  "
    if folder["last_scan_seconds"] is None:
        return f"  {number}{path}: never read to its end"
    how = f"; {folder['watch']}" if folder["watch"] in ("events", "scan") else ""
    how += f"; nothing new for {words.span(folder['silent_seconds'])}"
    return (
        f"  {number}{path}: {words.count(folder['files'], 'file')} when last read whole, "
        f"{ago(folder['last_scan_seconds'])}{how}"
    )


def passed_over(counted: dict[str, Any]) -> list[str]:
    """Say what a scan passed over, and what to do about it."""
    hints = []
    if counted["problems"]:
        noun = words.count(counted["problems"], "directory", "directories")
        hints.append(f"{noun} could not be read: what is in there is not stored")
    if counted["excluded"]:
        hint = f"{words.count(counted['excluded'], 'file')} with names that are not included"
        if counted["sampled_dicom"]:
            hint += (
                f"; {counted['sampled_dicom']} of {counted['sampled']} looked into are DICOM: "
                "include them with '*'"
            )
        hints.append(hint)
    if counted["links"]:
        hints.append(f"{words.count(counted['links'], 'symbolic link')} not followed")
    if counted["special"]:
        hints.append(f"{words.count(counted['special'], 'entry', 'entries')} not regular files")
    return hints


def by_outcome(outcomes: list[Outcome] | tuple[Outcome, ...]) -> list[list[str]]:
    """Give a table of files by where they end: state, count, and the reasons with their counts."""
    totals: dict[str, int] = {}
    whys: dict[str, dict[str, int]] = {}
    for one in outcomes:
        state, why = str(one.state), one.reason
        totals[state] = totals.get(state, 0) + one.n
        if why and one.state is not FileState.GONE:
            reason = whys.setdefault(state, {})
            reason[why] = reason.get(why, 0) + one.n
    order = [str(s) for s in (InstanceState.STORED, *DUE)]
    rows = []
    for state in sorted(totals, key=lambda s: (order.index(s) if s in order else 99, s)):
        reason = whys.get(state, {})
        rows.append([state, f"{totals[state]:,}", ", ".join(f"{n:,} {why}" for why, n in reason.items())])
    return rows


def meaning_of(outcomes: list[Outcome] | tuple[Outcome, ...]) -> dict[str, str]:
    """Give the words for every reason that occurs, to be shown below a table."""
    codes = {one.reason for one in outcomes if one.state is not FileState.GONE}
    return {code: failures.in_words(code) for code in sorted(codes) if code}

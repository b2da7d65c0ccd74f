"""How it stands: the ledger's counts and ages, for a person and for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dicomsync import failures, mirror_report, words
from dicomsync.ledger.guard import MADE_ANEW, WORDS
from dicomsync.states import DUE, FileState, InstanceState

if TYPE_CHECKING:
    from dicomsync.ledger import Outcome, Standing

SCHEMA = 1

MEANINGS = {
    FileState.SETTLING: "still changing, or too fresh to trust",
    FileState.HELD: "not whole, or not readable: needs a person",
    FileState.IGNORED: "left alone on purpose: not DICOM, a DICOMDIR, or from before the daemon",
    FileState.READY: "whole: the instances below say the rest",
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


def snapshot(reader: Standing, wall: float) -> dict[str, Any]:
    """Give the status as plain values; `schema` changes only when a key changes its meaning.

    Ages are in seconds. Every state is there, also with 0.
    """
    counts = reader.counts()
    oldest, answered = reader.oldest_due(), reader.last_answered()
    known, pending = reader.studies()
    doubt, doubted = reader.doubt()
    return {
        "schema": SCHEMA,
        "archive": {"url": reader.fact("archive"), "kind": reader.fact("archive_kind")},
        "doubt": None
        if doubt is None
        else {"why": doubt.why, "seconds": max(0.0, round(wall - doubt.at, 3)), "unsettled": doubted},
        "oldest_pending_seconds": None if oldest is None else max(0.0, round(wall - oldest, 3)),
        "last_answer_seconds": None if answered is None else max(0.0, round(wall - answered, 3)),
        "studies": {"known": known, "pending": pending},
        "lost": reader.lost(),
        "deletions": mirror_report.snapshot(reader),
        "counts": {state.value: n for state, n in counts.instances.items()},
        "files": {state.value: n for state, n in counts.files.items()},
        "folders": [
            {
                "path": folder["path"],
                "last_scan_seconds": None
                if folder["scanned_at"] is None
                else max(0.0, round(wall - folder["scanned_at"], 3)),
                "hanging_seconds": None
                if folder.get("hangs_since") is None
                else max(0.0, round(wall - folder["hangs_since"], 3)),
                **{key: folder.get(key, 0) for key in _COUNTED},
            }
            for folder in reader.folders()
        ],
    }


def for_operators(status: dict[str, Any], trouble: str) -> dict[str, Any]:
    """Give a status without anything that names a place: folders by number, the archive by its kind."""
    folders = [
        {"number": number, **{key: value for key, value in folder.items() if key != "path"}}
        for number, folder in enumerate(status["folders"], 1)
    ]
    archive = {"kind": status["archive"]["kind"], "trouble": trouble or None}
    deletions = mirror_report.for_operators(status["deletions"])
    return {**status, "archive": archive, "folders": folders, "deletions": deletions}


_COUNTED = ("files", "problems", "excluded", "links", "special", "sampled", "sampled_dicom")


def text(status: dict[str, Any]) -> str:
    """Say a status to a person: ages first, then what needs someone, then the counts."""
    archive = status["archive"]
    oldest = status["oldest_pending_seconds"]
    lines = [
        f"Archive       {archive['url'] or '-'}" + (f" ({archive['kind']})" if archive["kind"] else ""),
        "Oldest due    " + ("nothing is due" if oldest is None else f"{words.span(oldest)} old"),
        f"Last answer   {_ago(status['last_answer_seconds'])}",
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
        hangs = folder["hanging_seconds"]
        lines += [_folder(folder), *(f"    {hint}" for hint in passed_over(folder))]
        if hangs is not None:
            lines.append(f"    has not answered for {words.span(hangs)}: is the server of this mount there?")
    if status["deletions"]:
        lines += ["", "Mirrored deletions", *mirror_report.lines(status["deletions"])]
    troubled = sum(status["counts"][s] for s in ("conflict", "rejected", "missed"))
    troubled += sum(status["files"][s] for s in ("held", "missed"))
    troubled += sum(status["lost"].values())
    if troubled:
        lines += ["", f"{words.count(troubled, 'case')} for a person: `dicomsync explain` lists them."]
    return "\n".join(lines)


def _doubt(doubt: dict[str, Any] | None) -> list[str]:
    if doubt is None:
        return []
    left = f"{words.count(doubt['unsettled'], 'instance')} still to be asked about"
    if not doubt["unsettled"]:
        left = "what was found since was asked about before anything was sent"
    what = "made anew" if doubt["why"] in MADE_ANEW else "in doubt since it was opened"
    return [f"Ledger        {what} {_ago(doubt['seconds'])}: {WORDS[doubt['why']]}; {left}"]


def _ago(seconds: float | None) -> str:
    return "none yet" if seconds is None else f"{words.span(seconds)} ago"


def _states(counts: list[tuple[FileState | InstanceState, int]]) -> str:
    rows = [[str(state), f"{n:,}", MEANINGS[state]] for state, n in counts if n]
    return words.table(rows) or "  none yet"


def _folder(folder: dict[str, Any]) -> str:
    path = words.visible(folder["path"].encode("utf-8", "surrogateescape"))
    when = (
        _ago(folder["last_scan_seconds"]) if folder["last_scan_seconds"] is not None else "never to its end"
    )
    return f"  {path}: {words.count(folder['files'], 'file')} when last read whole, {when}"


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

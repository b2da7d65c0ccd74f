"""What a person reads when a backfill has come to its end."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dicomsync import status, words
from dicomsync.concerns import How
from dicomsync.service import End, Report

_ENDS = {
    End.FINISHED: "finished after {}",
    End.UNREACHED: "stopped after {}, the archive could not be reached",
    End.REFUSED: "stopped after {}, as the archive cannot be used like this",
    End.PATIENCE: "stopped after {}, nothing having moved for as long as it was to wait (--patience)",
    End.TIME: "stopped after {}, its time being up (--max-duration)",
    End.STOPPED: "stopped by a signal after {}",
}


def text(report: Report, how: How) -> str:
    """Say how a backfill went: one sentence, the table of outcomes, what is left, what to do."""
    if report.dry_run:
        return _dry(report, how)
    who = "Backfill, by the running daemon," if report.by_daemon else "Backfill"
    lines = [f"{who} {_ENDS[report.end].format(words.span(report.seconds))}: {_stored_now(report)}."]
    lines += _table(report)
    lines += _left(report)
    lines += _person(report, how)
    return "\n".join(lines)


def _stored_now(report: Report) -> str:
    if not report.stored:
        return "nothing new was stored"
    if report.by_daemon:  # its requests may have been for others as well
        return f"{words.count(report.stored, 'instance')} stored now, {words.size(report.stored_bytes)}"
    if not report.requests:
        return f"{words.count(report.stored, 'instance')} found in the archive; nothing was sent"
    instances, requests = words.count(report.stored, "instance"), words.count(report.requests, "request")
    return f"{instances} stored now, {words.size(report.stored_bytes)} in {requests}"


def _dry(report: Report, how: How) -> str:
    lines = [
        f"Dry run: nothing was sent and nothing written. {words.count(report.due, 'file')} would be sent."
    ]
    lines += _table(report)
    lines += _person(report, how)
    return "\n".join(lines)


def _table(report: Report) -> list[str]:
    rows = status.by_outcome(report.outcomes)
    files = sum(one.n for one in report.outcomes)
    lines = ["", f"{words.count(files, 'file')}, by where they are now:", words.table(rows)] if rows else []
    lines = lines or ["", "  no files"]
    meanings = status.meaning_of(report.outcomes)
    if meanings:
        lines += ["", *(f"  {code}: {meaning}" for code, meaning in meanings.items())]
    counted = asdict(report.passed) | {"problems": report.unreadable}
    passed = status.passed_over(counted)
    if passed:
        lines += ["", *(f"  {line}" for line in passed)]
    return lines


def _left(report: Report) -> list[str]:
    """Say what stands in the way, and what is left; nothing where all is done."""
    lines = []
    if report.trouble:
        lines.append(f"The archive: {report.trouble}.")
        if report.hint:
            lines.append(report.hint[0].upper() + report.hint[1:])
    if not report.read_all:
        lines.append("The folders were not read to their end: there may be more than the table shows.")
    if report.due:
        due = words.count(report.due, "file")
        ahead = "The daemon goes on with them." if report.by_daemon else "Run the same command again."
        lines.append(f"{due} still due; nothing is lost, the ledger keeps them. {ahead}")
    return ["", *lines] if lines else []


def _person(report: Report, how: How) -> list[str]:
    """Say how to see the cases; a dry run has written nothing down, so that only a later look finds them."""
    if not report.for_a_person:
        return []
    cases = words.count(report.for_a_person, "case")
    after = "once the backfill has run, " if report.dry_run else ""
    return [
        "",
        f"{cases} for a person: {after}this lists them, and with a HANDLE after it tells all of one:",
        f"  {how.run('explain')}",
    ]


def as_json(report: Report) -> dict[str, Any]:
    """Give the summary as plain values; `schema` changes only when a key changes its meaning."""
    return {
        "schema": 1,
        "end": report.end.value,
        "exit_code": report.exit_code,
        "dry_run": report.dry_run,
        "by_daemon": report.by_daemon,
        "seconds": round(report.seconds, 3),
        "stored_now": report.stored,
        "stored_now_bytes": report.stored_bytes,
        "requests": report.requests,
        "due": report.due,
        "for_a_person": report.for_a_person,
        "files": [
            {
                "file_state": one.file_state.value,
                "file_reason": one.file_reason,
                "instance_state": one.instance_state.value if one.instance_state else None,
                "instance_reason": one.instance_reason,
                "n": one.n,
            }
            for one in report.outcomes
        ],
        "passed_over": asdict(report.passed),
        "unreadable_directories": report.unreadable,
        "archive_trouble": report.trouble or None,
    }

"""The page as text: what a view holds, in the words of `status`, laid into the templates."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dicomsync import __version__, facts, failures, mirror_report, status, words
from dicomsync.concerns import Level
from dicomsync.handles import handle
from dicomsync.model import DUE, FileState, InstanceState
from dicomsync.web import plots
from dicomsync.web.outlook import Row, View

_LEVELS = {
    Level.WELL: "well",
    Level.NOTE: "well",
    Level.PERSON: "waits for a person",
    Level.WRONG: "wrong",
}


def whole(view: View, *, reveals: bool) -> str:
    """Give the page."""
    return _templates().get_template("page.html").render(**_values(view), reveals=reveals)


def live(view: View) -> str:
    """Give the part of the page that is asked for again and again."""
    return _templates().get_template("live.html").render(**_values(view))


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("dicomsync.web", "files"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"ago": status.ago, "span": words.span, "receiver": status.receiver, "size": words.size}
    made.globals |= {"count": words.count}
    return made


def _values(view: View) -> dict[str, Any]:
    """Say what the templates show."""
    values: dict[str, Any] = {
        "at": time.strftime("%H:%M:%S", time.localtime(view.at)),
        "version": __version__,
        "names": view.names or {},
        "named": view.names is not None,
    }
    found = view.facts
    if found is None:
        trouble = {"level": Level.WRONG.value, "state": _LEVELS[Level.WRONG], "headline": view.problem}
        return values | trouble | {"facts": None, "hint": view.hint}
    level = Level(found["level"])
    if view.names is None:
        found = facts.for_operators(found)
    return values | {
        "facts": found,
        "level": level.value,
        "state": _LEVELS[level],
        "headline": found["headline"],
        "tiles": _tiles(found),
        "plots": _plots(view),
        "hours": plots.hours(view.at),
        "studies": [_study(row, view.at) for row in view.lately],
        "cases": _cases(view, found),
        "folders": [_folder(one, found) for one in found["folders"]],
        "instances": [(one, found["counts"][one], status.MEANINGS[one]) for one in InstanceState],
        "files": [(one, found["files"][one], status.MEANINGS[one]) for one in FileState],
        "daemon": status.daemon(found["daemon"]),
        "deletions": [_deletions(one) for one in found["deletions"]],
    }


def _tiles(found: facts.Facts) -> list[tuple[str, str, str]]:
    """Give the figures that are read first: name, figure, what goes with it."""
    oldest, cases = found["oldest_pending_seconds"], sum(case["n"] for case in found["cases"])
    due, studies = words.count(facts.due(found), "instance"), found["studies"]["known"]
    return [
        ("Oldest due", "none" if oldest is None else words.span(oldest), f"{due} due"),
        ("Archive", *_archive(found)),
        ("Stored", f"{found['counts']['stored']:,}", f"of {words.count(studies, 'study', 'studies')}"),
        ("For a person", f"{cases:,}", "case" if cases == 1 else "cases" if cases else "nothing waits"),
    ]


def _archive(found: facts.Facts) -> tuple[str, str]:
    """Say how it is with the archive; only a daemon knows."""
    answered = found["last_answer_seconds"]
    last = "no answer to a store yet" if answered is None else f"last answer {status.ago(answered)}"
    if found["daemon"]["state"] != "running":
        return "unknown", last
    if not found["archive"]["trouble"]:
        return "no trouble", last
    again = found["archive"]["retry_seconds"]
    return "left alone", f"next try in {words.span(again)}" if again else "next try now"


def _plots(view: View) -> list[dict[str, Any]]:
    made = (
        ("throughput", "Stored in the last day", plots.throughput(view.day, view.at)),
        ("lateness", "Time to archive in the last day", plots.lateness(view.day, view.at)),
    )
    # The drawings are made of figures and of our own words alone.
    return [
        {"kind": kind, "title": title, "svg": Markup(plot.svg), "labels": plot.labels, "says": plot.says}  # noqa: S704 - made by us, of numbers
        for kind, title, plot in made
    ]


_ASKED = (InstanceState.SENDING, InstanceState.UNCONFIRMED, InstanceState.PENDING)
_TROUBLED = (InstanceState.CONFLICT, InstanceState.REJECTED, InstanceState.MISSED)


def _study(row: Row, wall: float) -> dict[str, Any]:
    """Say in a word where a study is, and the counts behind it."""
    counts: dict[str, int] = {}
    for one in row["states"]:
        counts[one["state"]] = counts.get(one["state"], 0) + one["n"]
    verified = sum(one["verified"] for one in row["states"] if one["state"] == InstanceState.STORED)
    if any(state in counts for state in _TROUBLED):
        word, kind = "needs a person", "person"
    elif any(state in counts for state in DUE):
        word, kind = (
            {"sending": "on its way", "unconfirmed": "being asked about", "pending": "due"}[
                next(state for state in _ASKED if state in counts)
            ],
            "busy",
        )
    else:
        word, kind = "stored" if counts.get("stored") else next(iter(counts), "empty"), "well"
    parts = [f"{n:,} {state}" for state, n in counts.items()]
    if verified:
        parts.append(f"{verified:,} compared")
    return {
        "handle": handle("study", row["id"]),
        "word": word,
        "kind": kind,
        "counts": ", ".join(parts) or "none",
        "size": words.size(sum(one["size_bytes"] for one in row["states"])),
        "ago": status.ago(max(0.0, wall - row["at"])),
    }


def _cases(view: View, found: facts.Facts) -> dict[str, list[dict[str, Any]]]:
    """Give the reasons of what waits for a person, by the code of the concern that tells of it."""
    examples = view.examples or {}
    groups: dict[str, list[dict[str, Any]]] = {}
    for case in found["cases"]:
        groups.setdefault(case["state"], []).append(
            {
                "n": case["n"],
                "words": failures.in_words(case["reason"]),
                "seconds": case["seconds"],
                "handles": examples.get((case["what"], case["state"], case["reason"]), []),
            }
        )
    return groups


def _folder(one: facts.Facts, found: facts.Facts) -> dict[str, Any]:
    """Say how it goes with a folder."""
    kind, word, number = "well", "read", str(one["number"])
    running = found["daemon"]["state"] == "running"
    if one["hanging_seconds"] is not None:
        kind, word = "wrong", f"does not answer for {words.span(one['hanging_seconds'])}"
    elif one["lost"]:
        kind, word = "wrong", f"cannot be read for {words.span(one['lost_seconds'])}: {one['lost']}"
    elif running and one["watch"] is None:
        kind, word = "off", "not in the config now"
    elif one["last_scan_seconds"] is None:
        kind, word = "busy", "being read for the first time"
    elif any((each["code"], each["about"]) == ("folder-silent", number) for each in found["concerns"]):
        kind, word = "person", "silent"
    took = f", took {words.span(one['scan_seconds'])}" if one["scan_seconds"] is not None else ""
    last = one["last_scan_seconds"]
    watch = {"events": "watched", None: "-"}.get(one["watch"], "scanned only")
    return {
        "handle": one["handle"],
        "number": one["number"],
        "kind": kind,
        "word": word,
        "scan": "never to its end" if last is None else f"{status.ago(last)}{took}",
        "files": f"{one['files']:,}",
        "watch": watch,
        "silent": f"nothing new for {words.span(one['silent_seconds'])}",
        "hints": status.passed_over(one) if not one["lost"] else [],
    }


def _deletions(one: facts.Facts) -> dict[str, str]:
    """Say how the mirrored deletions of a folder stand."""
    how = mirror_report.mode(one)
    if one["frozen"]:
        how = f"FROZEN: {failures.in_words(one['frozen'])}"
    elif one["unhealthy"]:
        how = f"nothing is deleted now: {failures.in_words(one['unhealthy'])}"
    return {"name": f"folder {one['number']}", "how": how, "n": mirror_report.counts(one)}

"""What is wrong, since when, and the command that helps: a judgement over the facts. Pure.

The codes are stable: metrics, alert rules and docs name them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

from dicomsync import failures, words

Facts = dict[str, Any]

SLOW = 1 / 3  # of what is late: a single try may be put off for a quarter of an hour
PATIENT_SECONDS = 15 * 60.0  # an archive that is busy for longer is a trouble
TOO_LITTLE = 1 / 10  # of the room that should be left
UNSENT_SECONDS = 5 * 60.0  # a receiver of alerts that is restarted is none


class Level(StrEnum):
    """How bad it is, the worst first."""

    WRONG = "wrong"  # images are not being stored, or were lost
    PERSON = "person"  # it goes on, and some cases wait for a decision
    NOTE = "note"  # worth knowing; nothing waits for it
    WELL = "well"


class Limits(NamedTuple):
    """From where on something is a concern; `[alerts]` of the daemon's config says."""

    late_seconds: float = 3600.0
    free_bytes: float = 1e9
    certificate_seconds: float = 14 * 86400.0


class Concern(NamedTuple):
    """One thing that is not as it should be; `seconds` is how long that has been, `todo` a command.

    `about` tells it from others with its code: the number of a folder, whose certificate, which receiver.
    """

    code: str
    level: Level
    words: str
    seconds: float | None
    todo: str
    about: str = ""


CODES = {
    "daemon-stopped": "no daemon is running",
    "daemon-silent": "the daemon gives no sign of life",
    "daemon-never": "a backfill left something due, and no daemon goes on with it",
    "ledger-blocked": "the ledger cannot be written",
    "ledger-disk": "the ledger's disk is nearly full",
    "ledger-doubted": "the ledger is not the whole memory: the archive is asked before anything is sent",
    "archive-unreachable": "no connection to the archive",
    "archive-failing": "the archive fails, or its answers break off",
    "archive-busy": "the archive asks to be left alone",
    "archive-auth": "the archive does not accept the credential, or it cannot be had",
    "archive-setup": "the archive's address or its settings are wrong",
    "certificate": "a TLS certificate, the archive's or ours, ends soon",
    "late": "something that came live has been due for over 20 minutes",
    "stalled": "something is due, and nothing has moved for over an hour",
    "folder-gone": "a folder cannot be read",
    "folder-hangs": "a folder does not answer",
    "folder-silent": "nothing has come into a folder for longer than its `expect_every`",
    "folder-unreadable": "directories cannot be read",
    "folder-unwatched": "a folder is only scanned, although it should be watched",
    "folder-left-out": "files that are DICOM have names that are not included",
    "deletions-frozen": "a guard has frozen the mirrored deletions of a folder",
    "deletions-waiting": "nothing of a folder is deleted now, for a reason",
    "deletions-no-room": "mirrored deletions wait for room for the copies that undo them",
    "missing": "the archive has lost what it had stored",
    "differs": "the archive has other bytes than were stored",
    "missed": "files left before they were stored",
    "conflict": "two contents under one SOP Instance UID",
    "rejected": "the archive refused instances",
    "held": "files are not whole, or not readable",
    "alerts-unsent": "the webhook does not take alerts: nobody is told",
    "heartbeat-unsent": "the heartbeat cannot be sent",
}
"""Every code, and what it stands for."""


class How(NamedTuple):
    """How commands are to be given here: what follows their name, and the service, if it is one."""

    given: str = "-c FILE"
    service: str = ""

    @classmethod
    def by(cls, config: str | None, ledger: str | None = None) -> How:
        """Take the config or the ledger that this very command was given."""
        if config is None:
            return cls(f"--ledger {shlex.quote(ledger)}") if ledger else cls()
        directory, _, name = config.rpartition("/")
        service = name.removesuffix(".toml") if directory == "/etc/dicomsync" else ""
        return cls(f"-c {shlex.quote(config)}", f"dicomsync@{service}" if service else "")

    def run(self, command: str, rest: str = "") -> str:
        """Give a dicomsync command as it is to be typed."""
        given = self.given
        if given.startswith("--ledger") and command not in ("explain", "ledger info"):
            given = "-c FILE"  # the others need a config
        return f"dicomsync {command} {given}{f' {rest}' if rest else ''}"


def judged(facts: Facts, how: How) -> Facts:
    """Give the facts with what is to be thought of them: `level`, `headline`, `concerns`."""
    found = sorted(concerns(facts, how), key=lambda one: list(Level).index(one.level))
    level = found[0].level if found else Level.WELL
    verdict = {
        "level": level.value,
        "headline": headline(facts, found),
        "concerns": [one._asdict() | {"level": one.level.value} for one in found],
    }
    return {"schema": facts["schema"], "at": facts["at"], **verdict, **facts}


def headline(facts: Facts, found: list[Concern]) -> str:
    """Say in one sentence how it stands."""
    grave = [one for one in found if one.level in (Level.WRONG, Level.PERSON)]
    if grave:
        worst, others = grave[0], len(grave) - 1
        more = f" And {words.count(others, 'other thing')}." if others else ""
        since = f" (for {words.span(worst.seconds)})" if worst.seconds and worst.level is Level.WRONG else ""
        end = "" if worst.words.endswith("?") and not since else "."
        return f"{worst.words[0].upper()}{worst.words[1:]}{since}{end}{more}"
    counts, due = facts["counts"], _due(facts)
    if due:
        oldest = facts["oldest_pending_seconds"] or 0.0
        how = "Slow" if any(one.code == "late" for one in found) else "All is well"
        return f"{how}: {words.count(due, 'instance')} on the way, the oldest for {words.span(oldest)}."
    if not counts["stored"] and not facts["files"]["ready"]:
        return "All is well: nothing has been found yet."
    return "All is well: everything that was found is stored."


def line(facts: Facts) -> str:
    """Say judged facts in one line, for a log and the service manager: the headline, and what is due."""
    due = _due(facts)
    if not due or facts["level"] in (Level.WELL, Level.NOTE):
        return str(facts["headline"])
    oldest = words.span(facts["oldest_pending_seconds"] or 0.0)
    return f"{facts['headline']} {words.count(due, 'instance')} due, the oldest for {oldest}."


def _due(facts: Facts) -> int:
    return sum(facts["counts"][state] for state in ("pending", "sending", "unconfirmed"))


def concerns(facts: Facts, how: How) -> Iterator[Concern]:
    """Give what is not as it should be."""
    yield from _daemon(facts, how)
    yield from _ledger(facts, how)
    yield from _archive(facts, how)
    yield from _lateness(facts, how)
    for folder in facts["folders"]:
        yield from _folder(folder, facts["daemon"]["state"] == "running", how)
        yield from _silence(folder, facts["daemon"], how)
    for folder in facts["deletions"]:
        yield from _deletions(folder, how)
    yield from _cases(facts, how)
    if facts["daemon"]["state"] == "running":
        yield from _certificates(facts, how)
        yield from _unsent(facts["alerts"], how)


def _daemon(facts: Facts, how: How) -> Iterator[Concern]:
    daemon = facts["daemon"]
    due = _due(facts)
    other = daemon["other_pid"]
    busy = f"; process {other} has the ledger (a backfill, or a daemon that starts?)" if other else ""
    start = f"systemctl start {how.service}" if how.service else how.run("run")
    match daemon["state"]:
        case "stopped":
            told = f"no daemon is running{busy}"
            yield Concern("daemon-stopped", Level.WRONG, told, daemon["sign_seconds"], start)
        case "silent":
            todo = f"systemctl restart {how.service}" if how.service else f"kill {daemon['pid']}; {start}"
            told = "the daemon hangs: it gives no sign of life"
            yield Concern("daemon-silent", Level.WRONG, told, daemon["sign_seconds"], todo)
        case "never" if due and not other:
            told = f"{words.count(due, 'instance')} still due, and no daemon or backfill is running"
            yield Concern("daemon-never", Level.PERSON, told, None, how.run("backfill"))


def _ledger(facts: Facts, how: How) -> Iterator[Concern]:
    ledger, doubt = facts["ledger"], facts["doubt"]
    free, least = ledger["free_bytes"], facts["limits"]["free_bytes"]
    if ledger["blocked"]:
        why = ledger["blocked"][0].lower() + ledger["blocked"][1:]
        room = f" ({words.size(free)} free)" if free is not None and free < least else ""
        told = f"{why}{room}: nothing is sent until it can be written; then it goes on by itself"
        yield Concern("ledger-blocked", Level.WRONG, told, ledger["blocked_seconds"], how.run("doctor"))
    elif free is not None and free < least:
        level = Level.WRONG if free < least * TOO_LITTLE else Level.PERSON
        told = f"{words.size(free)} free where the ledger is: free some, with a full disk nothing is sent"
        yield Concern("ledger-disk", level, told, None, how.run("doctor"))
    if doubt is not None and doubt["unsettled"]:
        told = (
            f"the ledger is in doubt, and the archive is asked about "
            f"{words.count(doubt['unsettled'], 'instance')} before anything is sent"
        )
        yield Concern("ledger-doubted", Level.NOTE, told, doubt["seconds"], how.run("ledger info"))


def _archive(facts: Facts, how: How) -> Iterator[Concern]:
    archive = facts["archive"]
    if archive["trouble"] is None or facts["daemon"]["state"] != "running":
        return
    kind, seconds = archive["trouble_kind"], archive["trouble_seconds"]
    level = Level.NOTE if kind == "busy" and (seconds or 0.0) < PATIENT_SECONDS else Level.WRONG
    told = f"the archive cannot be used: {archive['trouble']}"
    yield Concern(f"archive-{kind}", level, told, seconds, how.run("doctor"))


def _lateness(facts: Facts, how: How) -> Iterator[Concern]:
    """Tell what is due for too long although daemon and archive are well: what else it is, is told above."""
    if facts["daemon"]["state"] != "running" or facts["archive"]["trouble"] or facts["ledger"]["blocked"]:
        return
    live, oldest = facts["oldest_live"], facts["oldest_pending_seconds"]
    answered, limit = facts["last_answer_seconds"], facts["limits"]["late_seconds"]
    if live is not None and live["seconds"] > limit * SLOW:
        level = Level.WRONG if live["seconds"] > limit else Level.NOTE
        told = f"something of {live['study']} is still not stored, though it came as the daemon watched"
        todo = how.run("explain", shlex.quote(live["study"]))
        yield Concern("late", level, told, live["seconds"], todo)
    elif (oldest or 0.0) > limit and (answered is None or answered > limit):
        told = f"something is due, and nothing has moved for over {words.span(limit)}"
        yield Concern("stalled", Level.WRONG, told, answered or oldest, how.run("doctor"))


_CURE = "see that it is mounted, and that dicomsync may read it"
_CURES = {"Permission denied": "let the user that dicomsync runs as read it"}


def _folder(folder: Facts, running: bool, how: How) -> Iterator[Concern]:
    number = str(folder["number"])
    name = f"folder {number}"
    if running and folder["watch"] is None:
        return  # it is in the config no more
    explain = how.run("explain", shlex.quote(folder["handle"]))
    if folder["hanging_seconds"] is not None:
        told = f"{name} does not answer: is the server of this mount there? The others go on"
        yield Concern("folder-hangs", Level.WRONG, told, folder["hanging_seconds"], explain, number)
    if folder["lost"]:
        told = f"{name} cannot be read ({folder['lost']}): {_CURES.get(folder['lost'], _CURE)}"
        yield Concern("folder-gone", Level.WRONG, told, folder["lost_seconds"], how.run("doctor"), number)
    elif folder["problems"]:
        told = (
            f"{name}: {words.count(folder['problems'], 'directory', 'directories')} cannot be read, "
            "and what is in there is not stored"
        )
        yield Concern("folder-unreadable", Level.PERSON, told, None, how.run("doctor"), number)
    if folder["watch"] not in (None, "events", "scan", "not watched yet", "gone") and not folder["lost"]:
        told = f"{name} is only scanned, and not watched: {folder['watch']}"
        yield Concern("folder-unwatched", Level.NOTE, told, None, how.run("doctor"), number)
    if folder["sampled_dicom"]:
        told = (
            f"{name}: {words.count(folder['excluded'], 'file')} with names that are not included; "
            f"{folder['sampled_dicom']} of {folder['sampled']} looked into are DICOM: include them with '*'"
        )
        yield Concern("folder-left-out", Level.NOTE, told, None, how.run("doctor"), number)


def _silence(folder: Facts, daemon: Facts, how: How) -> Iterator[Concern]:
    """Tell that nothing comes, once this daemon has read the folder whole and found what came before."""
    expected, silent = folder["expected_seconds"], folder["silent_seconds"]
    if expected is None or daemon["state"] != "running" or folder["watch"] is None:
        return
    scan, lost = folder["last_scan_seconds"], folder["lost"] or folder["hanging_seconds"] is not None
    if silent <= expected or lost or scan is None or scan > daemon["up_seconds"]:
        return
    number = str(folder["number"])
    told = (
        f"nothing new has come into folder {number}, where something is expected every "
        f"{words.span(expected)}: does its sender still send?"
    )
    explain = how.run("explain", shlex.quote(folder["handle"]))
    yield Concern("folder-silent", Level.PERSON, told, silent, explain, number)


def _deletions(folder: Facts, how: How) -> Iterator[Concern]:
    number, todo = str(folder["number"]), how.run("deletions list")
    name = f"mirrored deletions of folder {number}"
    if folder["frozen"]:
        told = f"{name} are frozen: {failures.in_words(folder['frozen'])}"
        yield Concern("deletions-frozen", Level.PERSON, told, folder["frozen_seconds"], todo, number)
    elif folder["unhealthy"]:
        told = f"{name} wait: {failures.in_words(folder['unhealthy'])}"
        yield Concern("deletions-waiting", Level.NOTE, told, None, todo, number)
    if folder["without_room"]:
        told = (
            f"{words.count(folder['without_room'], 'mirrored deletion')} of folder {number} without room for "
            "the copy that undoes it: free some where the ledger is, or raise undo_max_bytes"
        )
        yield Concern("deletions-no-room", Level.PERSON, told, None, todo, number)


_CASES = {
    # state: level, what it is called, the command and what follows
    "missing": (Level.PERSON, "which the archive had stored and does not have any more", "verify", ""),
    "differs": (Level.PERSON, "of which the archive has other bytes than were stored", "verify", "--bytes"),
    "missed": (Level.PERSON, "left before being stored: export again, or bring back", "explain", ""),
    "conflict": (Level.PERSON, "in conflict: other content under a taken UID", "conflicts list", "--compare"),
    "rejected": (Level.PERSON, "refused by the archive", "explain", ""),
    "held": (Level.PERSON, "held: not whole, or not readable", "explain", ""),
}  # fmt: skip


def _cases(facts: Facts, how: How) -> Iterator[Concern]:
    for state, (level, told, command, rest) in _CASES.items():
        cases = [case for case in facts["cases"] if case["state"] == state]
        number = sum(case["n"] for case in cases)
        if not number:
            continue
        kinds = {case["what"] for case in cases}
        noun = "file" if kinds == {"file"} else "instance" if "file" not in kinds else "case"
        seconds = max((case["seconds"] for case in cases if case["seconds"] is not None), default=None)
        yield Concern(state, level, f"{words.count(number, noun)} {told}", seconds, how.run(command, rest))


_WHOSE = {"archive": "the archive's TLS certificate", "client": "our TLS certificate for the archive"}


def _certificates(facts: Facts, how: How) -> Iterator[Concern]:
    for name, left in facts["certificates"].items():
        if left >= facts["limits"]["certificate_seconds"]:
            continue
        whose = _WHOSE[name]
        if left <= 0:
            told = f"{whose} has expired: nothing is stored until it is renewed"
            yield Concern("certificate", Level.WRONG, told, -left, how.run("doctor"), name)
        else:
            told = f"{whose} ends in {words.span(left)}: renew it"
            yield Concern("certificate", Level.PERSON, told, None, how.run("doctor"), name)


_RECEIVERS = {
    "webhook": ("alerts-unsent", "the webhook does not take alerts, so that nobody is told"),
    "heartbeat": ("heartbeat-unsent", "the heartbeat is not taken, so that its receiver may believe us dead"),
}


def _unsent(receivers: Facts, how: How) -> Iterator[Concern]:
    for name, one in receivers.items():
        if not one["failing"]:
            continue
        code, told = _RECEIVERS[name]
        level = Level.PERSON if one["failing_seconds"] >= UNSENT_SECONDS else Level.NOTE
        todo = how.run("doctor", "--alert-test")
        yield Concern(code, level, f"{told}: {one['failing']}", one["failing_seconds"], todo)


_CAUSES = {
    # code: what, while it is there, keeps us from knowing whether it is over
    "late": ("daemon", "ledger-blocked", "archive"),
    "stalled": ("daemon", "ledger-blocked", "archive"),
    "folder-silent": ("folder-gone", "folder-hangs"),
    "ledger-disk": ("ledger-blocked",),
}


def unknown(code: str, about: str, facts: Facts) -> bool:
    """Say whether nobody can know now if a concern, which these judged facts do not tell of, is over."""
    if code == "certificate":
        return about not in facts["certificates"]
    if code == "folder-silent":
        up_seconds = facts["daemon"]["up_seconds"]
        for folder in facts["folders"]:
            scan = folder["last_scan_seconds"]
            if str(folder["number"]) == about and (up_seconds is None or scan is None or scan > up_seconds):
                return True
    return any(
        one["code"].startswith(cause) and one["about"] in ("", about)
        for cause in _CAUSES.get(code, ())
        for one in facts["concerns"]
    )

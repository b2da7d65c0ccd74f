"""What is wrong, since when, and what helps: told of every fact that calls for it, and of nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dicomsync import concerns, status
from dicomsync.concerns import How, Level
from dicomsync.model import FileState, InstanceState

Facts = dict[str, Any]

HOW = How.by("/etc/dicomsync/main.toml")


def facts(**changes: Any) -> Facts:
    """A daemon at work, an archive that answers, one folder, everything stored; and then what differs."""
    well: Facts = {
        "schema": 1,
        "at": 1_780_000_000.0,
        "daemon": {
            "state": "running",
            "sign_seconds": 1.0,
            "up_seconds": 9000.0,
            "pid": 12,
            "version": "0",
            "other_pid": None,
        },
        "archive": {
            "url": "http://a.test",
            "kind": "orthanc",
            "trouble": None,
            "trouble_kind": None,
            "trouble_seconds": None,
            "retry_seconds": None,
        },
        "ledger": {"blocked": None, "blocked_seconds": None, "size_bytes": 1, "free_bytes": 10**11},
        "doubt": None,
        "oldest_pending_seconds": None,
        "oldest_live": None,
        "last_answer_seconds": 5.0,
        "studies": {"known": 1, "pending": 0},
        "lost": {"missing": 0, "differs": 0},
        "deletions": [],
        "counts": {state.value: 0 for state in InstanceState} | {"stored": 7},
        "files": {state.value: 0 for state in FileState} | {"ready": 7},
        "cases": [],
        "folders": [
            {
                "number": 1,
                "handle": "folder d3a266",
                "path": "/data/secret",
                "watch": "events",
                "last_scan_seconds": 60.0,
                "scan_seconds": 1.0,
                "hanging_seconds": None,
                "lost": None,
                "lost_seconds": None,
                "files": 7,
                "problems": 0,
                "excluded": 0,
                "links": 0,
                "special": 0,
                "sampled": 0,
                "sampled_dicom": 0,
                "silent_seconds": 7200.0,
                "expected_seconds": None,
            }
        ],
        "certificates": {"archive": 90 * 86400.0},
        "alerts": {},
        "limits": concerns.Limits()._asdict(),
    }
    for path, value in changes.items():
        where: Any = well
        *before, last = path.split("__")
        for key in before:
            where = where[int(key)] if key.isdecimal() else where[key]
        where[last] = value
    return well


def case(state: str, n: int = 3, what: str = "instance") -> list[Facts]:
    return [{"what": what, "state": state, "reason": "differs", "n": n, "seconds": 86400.0}]


def mirror(**more: Any) -> list[Facts]:
    usual = {"number": 1, "path": "/data/secret", "mode": "on", "enrolled": True, "waiting": 3, "deleted": 2}
    return [{**usual, "unhealthy": "", "frozen": "", "frozen_seconds": None, "without_room": 0, **more}]


def receiver(name: str, failing: str | None = "its receiver answered 500") -> Facts:
    return {name: {"failing": failing, "failing_seconds": 600.0 if failing else None, "taken_seconds": None}}


def trouble(kind: str, seconds: float = 840.0) -> Facts:
    return {
        "archive__trouble": "connection refused",
        "archive__trouble_kind": kind,
        "archive__trouble_seconds": seconds,
        "archive__retry_seconds": 42.0,
    }


DUE = {"counts__pending": 4, "oldest_pending_seconds": 7200.0}

ALL: dict[str, tuple[Facts, Level, str, str]] = {
    # code: what makes it, how bad it is, words of it, words of the command that helps
    "daemon-stopped": ({"daemon__state": "stopped"}, Level.WRONG, "no daemon", "start dicomsync@main"),
    "daemon-silent": ({"daemon__state": "silent"}, Level.WRONG, "hangs", "restart dicomsync@main"),
    "daemon-never": ({"daemon__state": "never", **DUE}, Level.PERSON, "4 instances still due", "backfill"),
    "ledger-blocked": (
        {"ledger__blocked": "The ledger cannot grow: its disk is full"},
        *(Level.WRONG, "disk is full: nothing is sent", "doctor"),
    ),
    "ledger-disk": ({"ledger__free_bytes": 10**7}, Level.WRONG, "10.0 MB free", "doctor"),
    "ledger-doubted": (
        {"doubt": {"why": "older", "seconds": 60.0, "unsettled": 3}},
        *(Level.NOTE, "asked about 3 instances", "ledger info"),
    ),
    "archive-unreachable": (trouble("unreachable"), Level.WRONG, "connection refused", "doctor"),
    "archive-failing": (trouble("failing"), Level.WRONG, "connection refused", "doctor"),
    "archive-busy": (trouble("busy", 60.0), Level.NOTE, "connection refused", "doctor"),
    "archive-auth": (trouble("auth"), Level.WRONG, "connection refused", "doctor"),
    "archive-setup": (trouble("setup"), Level.WRONG, "connection refused", "doctor"),
    "certificate": (
        {"certificates": {"client": 3 * 86400.0}},
        *(Level.PERSON, "our TLS certificate for the archive ends in 3 d", "doctor"),
    ),
    "late": (
        {**DUE, "oldest_live": {"seconds": 4000.0, "study": "study 7f3a9c"}},
        *(Level.WRONG, "study 7f3a9c is still", "explain -c /etc/dicomsync/main.toml 'study 7f3a9c'"),
    ),
    "stalled": ({**DUE, "last_answer_seconds": 4000.0}, Level.WRONG, "nothing has moved", "doctor"),
    "folder-gone": (
        {"folders__0__lost": "No such file or directory", "folders__0__lost_seconds": 60.0},
        *(Level.WRONG, "folder 1 cannot be read", "doctor"),
    ),
    "folder-hangs": ({"folders__0__hanging_seconds": 300.0}, Level.WRONG, "not answer", "folder d3a266"),
    "folder-silent": (
        {"folders__0__expected_seconds": 3600.0},
        *(Level.PERSON, "nothing new has come into folder 1", "folder d3a266"),
    ),
    "folder-unreadable": ({"folders__0__problems": 2}, Level.PERSON, "2 directories", "doctor"),
    "folder-unwatched": ({"folders__0__watch": "limit reached"}, Level.NOTE, "limit reached", "doctor"),
    "folder-left-out": (
        {"folders__0__excluded": 9, "folders__0__sampled": 5, "folders__0__sampled_dicom": 5},
        *(Level.NOTE, "5 of 5 looked into are DICOM", "doctor"),
    ),
    "deletions-frozen": ({"deletions": mirror(frozen="many")}, Level.PERSON, "frozen", "deletions list"),
    "deletions-waiting": (
        {"deletions": mirror(unhealthy="marker-missing")},
        *(Level.NOTE, "marker is gone", "deletions list"),
    ),
    "deletions-no-room": (
        {"deletions": mirror(without_room=2)},
        *(Level.PERSON, "2 mirrored deletions of folder 1 without room", "deletions list"),
    ),
    "missing": ({"cases": case("missing", what="stored")}, Level.PERSON, "3 instances", "verify"),
    "differs": ({"cases": case("differs", what="stored")}, Level.PERSON, "other bytes", "--bytes"),
    "missed": ({"cases": case("missed")}, Level.PERSON, "3 instances left before", "explain"),
    "conflict": ({"cases": case("conflict")}, Level.PERSON, "3 instances in conflict", "--compare"),
    "rejected": ({"cases": case("rejected")}, Level.PERSON, "refused by the archive", "explain"),
    "held": ({"cases": case("held", what="file")}, Level.PERSON, "3 files held", "explain"),
    "alerts-unsent": ({"alerts": receiver("webhook")}, Level.PERSON, "answered 500", "--alert-test"),
    "heartbeat-unsent": ({"alerts": receiver("heartbeat")}, Level.PERSON, "answered 500", "--alert-test"),
}  # fmt: skip


def judged(changes: Facts, how: How = HOW) -> Facts:
    return concerns.judged(facts(**changes), how)


def test_nothing_is_told_where_all_is_well() -> None:
    found = judged({})
    assert (found["level"], found["concerns"]) == ("well", [])
    assert found["headline"] == "All is well: everything that was found is stored."


@pytest.mark.parametrize("code", concerns.CODES)
def test_each_concern_is_told_with_its_level_and_the_command_that_helps(code: str) -> None:
    changes, level, words, todo = ALL[code]
    found = judged(changes)
    (one,) = found["concerns"]
    assert (one["code"], one["level"]) == (code, level.value)
    assert words in one["words"]
    assert todo in one["todo"]
    assert found["level"] == level.value
    assert found["headline"].startswith("All is well") == (level is Level.NOTE)


@pytest.mark.parametrize("code", concerns.CODES)
def test_a_person_reads_every_concern_before_any_count(code: str) -> None:
    found = judged(ALL[code][0])
    told = status.text(found)
    (one,) = found["concerns"]
    assert told.index(one["words"]) < told.index(one["todo"]) < told.index("Instances")
    assert "/data/secret" not in found["headline"] + str(found["concerns"])


@pytest.mark.parametrize(
    ("first", "second"),
    [("conflict", "daemon-stopped"), ("ledger-doubted", "held"), ("folder-left-out", "archive-auth")],
)
def test_the_worst_comes_first_and_is_the_headline(first: str, second: str) -> None:
    found = judged({**ALL[first][0], **ALL[second][0]})
    assert [one["code"] for one in found["concerns"]] == [second, first]
    assert found["level"] == ALL[second][1].value


def test_how_many_other_things_there_are_is_told_in_the_headline() -> None:
    found = judged({**ALL["archive-auth"][0], **ALL["conflict"][0], **ALL["folder-left-out"][0]})
    assert found["headline"] == (
        "The archive cannot be used: connection refused (for 14 min). And 1 other thing."
    )


def test_what_is_due_while_nothing_is_wrong_is_well_with_its_age() -> None:
    found = judged({"counts__pending": 1200, "oldest_pending_seconds": 12.0})
    assert found["headline"] == "All is well: 1,200 instances on the way, the oldest for 12 s."


def test_a_backlog_that_gets_on_is_no_concern_however_old_it_is() -> None:
    assert judged({**DUE, "oldest_pending_seconds": 9e5})["concerns"] == []


def test_an_archive_that_is_busy_for_long_is_wrong() -> None:
    (one,) = judged(trouble("busy", 3600.0))["concerns"]
    assert one["level"] == "wrong"


def test_what_takes_long_is_called_slow_before_it_is_wrong() -> None:
    live = {"seconds": 1500.0, "study": "study 7f3a9c"}
    found = judged({"counts__pending": 3, "oldest_pending_seconds": 1500.0, "oldest_live": live})
    assert [(one["code"], one["level"]) for one in found["concerns"]] == [("late", "note")]
    assert found["headline"] == "Slow: 3 instances on the way, the oldest for 25 min."


def test_lateness_is_not_told_beside_what_causes_it() -> None:
    late = {**ALL["late"][0], **trouble("unreachable", 5000.0)}
    assert [one["code"] for one in judged(late)["concerns"]] == ["archive-unreachable"]


def test_trouble_that_a_daemon_had_before_it_ended_is_not_told_as_of_now() -> None:
    found = judged({**trouble("auth"), "daemon__state": "stopped"})
    assert [one["code"] for one in found["concerns"]] == ["daemon-stopped"]


def test_a_backfill_that_is_at_work_is_named_where_no_daemon_is() -> None:
    (one,) = judged({"daemon__state": "stopped", "daemon__other_pid": 99})["concerns"]
    assert "process 99 has the ledger" in one["words"]
    assert judged({"daemon__state": "never", "daemon__other_pid": 99, **DUE})["concerns"] == []


def test_a_folder_that_is_in_the_config_no_more_is_no_concern() -> None:
    gone = {"folders__0__lost": "No such file or directory", "folders__0__watch": None}
    assert judged(gone)["concerns"] == []


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (How(), "dicomsync conflicts list -c FILE --compare"),
        (How.by("/srv/my site.toml"), "dicomsync conflicts list -c '/srv/my site.toml' --compare"),
        (How.by(None, "/l.db"), "dicomsync conflicts list -c FILE --compare"),
    ],
)
def test_a_command_is_given_as_it_is_to_be_typed_here(how: How, expected: str) -> None:
    (one,) = judged(ALL["conflict"][0], how)["concerns"]
    assert one["todo"] == expected


def test_what_needs_a_config_is_not_told_with_a_ledger_alone() -> None:
    (one,) = judged(ALL["archive-auth"][0], How.by(None, "/l.db"))["concerns"]
    assert one["todo"] == "dicomsync doctor -c FILE"


def test_judging_changes_no_fact() -> None:
    before = facts(**ALL["conflict"][0])
    kept = copy.deepcopy(before)
    concerns.judged(before, HOW)
    assert before == kept


@pytest.mark.parametrize(
    ("limits", "changes", "codes"),
    [
        ({"late_seconds": 86400.0}, ALL["late"][0], []),
        ({"late_seconds": 600.0}, {**DUE, "last_answer_seconds": 700.0}, ["stalled"]),
        ({"free_bytes": 10**12}, {}, ["ledger-disk"]),
        ({"certificate_seconds": 100 * 86400.0}, {}, ["certificate"]),
    ],
)
def test_from_where_on_it_is_a_concern_the_config_says(
    limits: Facts, changes: Facts, codes: list[str]
) -> None:
    changed = {f"limits__{key}": value for key, value in limits.items()}
    assert [one["code"] for one in judged({**changes, **changed})["concerns"]] == codes


def test_a_certificate_that_has_expired_is_wrong() -> None:
    (one,) = judged({"certificates": {"archive": -60.0}})["concerns"]
    assert (one["level"], one["about"]) == ("wrong", "archive")


SILENT = {"folders__0__expected_seconds": 3600.0}


@pytest.mark.parametrize(
    "why",
    [
        {"folders__0__silent_seconds": 60.0},
        {"folders__0__expected_seconds": None},
        {"folders__0__last_scan_seconds": None},
        {"folders__0__last_scan_seconds": 9001.0},
        {"folders__0__lost": "No such file or directory", "folders__0__lost_seconds": 60.0},
        {"folders__0__hanging_seconds": 60.0},
        {"folders__0__watch": None},
        {"daemon__state": "stopped", "daemon__up_seconds": None},
    ],
    ids=["something came", "no wish", "never read", "not since the start", "lost", "hangs", "left", "down"],
)
def test_a_folder_is_not_called_silent_unless_this_daemon_has_looked_and_nothing_came(why: Facts) -> None:
    assert "folder-silent" not in [one["code"] for one in judged({**SILENT, **why})["concerns"]]


def test_a_receiver_that_failed_just_now_is_no_matter_for_a_person() -> None:
    failing = receiver("webhook")
    failing["webhook"]["failing_seconds"] = 20.0
    assert [one["level"] for one in judged({"alerts": failing})["concerns"]] == ["note"]
    assert judged({"alerts": receiver("webhook", failing=None)})["concerns"] == []


@pytest.mark.parametrize(
    ("code", "about", "changes", "unknown"),
    [
        ("late", "", trouble("auth"), True),
        ("late", "", {}, False),
        ("folder-silent", "1", {"folders__0__hanging_seconds": 300.0}, True),
        ("folder-silent", "2", {"folders__0__hanging_seconds": 300.0}, False),
        ("folder-silent", "1", {"folders__0__last_scan_seconds": 9001.0}, True),
        ("folder-silent", "1", {}, False),
        ("certificate", "client", {}, True),
        ("certificate", "archive", {}, False),
        ("conflict", "", trouble("auth"), False),
    ],
)
def test_what_its_cause_only_hides_is_not_known_to_be_over(
    code: str, about: str, changes: Facts, unknown: bool
) -> None:
    assert concerns.unknown(code, about, judged(changes)) is unknown


def test_a_headline_that_asks_ends_with_its_question() -> None:
    assert judged(SILENT)["headline"].endswith("does its sender still send?")
    both = {**SILENT, **ALL["held"][0]}
    assert judged(both)["headline"].endswith("does its sender still send? And 1 other thing.")


# what a service manager and a log are told


def test_one_line_says_what_is_wrong_and_what_is_due() -> None:
    wrong = concerns.judged(facts(**trouble("unreachable", 60.0), **DUE), How())
    assert concerns.line(wrong) == (
        "The archive cannot be used: connection refused (for 1 min). 4 instances due, the oldest for 2 h."
    )
    well = concerns.judged(facts(), How())
    assert concerns.line(well) == well["headline"]


def test_a_full_disk_is_one_trouble_and_says_since_when() -> None:
    full: Facts = {
        "ledger__blocked": "The ledger cannot grow: its disk is full",
        "ledger__blocked_seconds": 90.0,
        "ledger__free_bytes": 0,
    }
    [one] = concerns.judged(facts(**full), How())["concerns"]
    assert (one["code"], one["seconds"]) == ("ledger-blocked", 90.0)
    assert one["words"].startswith("the ledger cannot grow: its disk is full (0 B free): nothing is sent")
    assert concerns.unknown("ledger-disk", "", concerns.judged(facts(**full), How()))


@pytest.mark.parametrize(
    ("lost", "todo"),
    [
        ("Permission denied", "let the user that dicomsync runs as read it"),
        ("No such file or directory", "see that it is mounted"),
    ],
)
def test_a_folder_that_cannot_be_read_says_what_helps(lost: str, todo: str) -> None:
    [one] = concerns.judged(facts(folders__0__lost=lost, folders__0__lost_seconds=9.0), How())["concerns"]
    assert f"({lost}): {todo}" in one["words"]

"""How it stands, as plain values: the one source of what status, status.json, page and metrics tell.

The ledger says what was done and what is due; a running daemon's status.json adds what it alone knows
(the archive's circuit, how folders are watched); the kernel says whether anyone has the ledger.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dicomsync import concerns, mirror_report
from dicomsync.concerns import How, Limits
from dicomsync.handles import handle
from dicomsync.ledger import Standing, holding
from dicomsync.states import InstanceState

SCHEMA = 1

SILENT_SECONDS = 120.0  # a daemon writes every 5 s, and systemd kills it after as long without a sign of life
STATUS_FILE = "status_file"  # the fact of the ledger that names the place of its daemon's status.json

Facts = dict[str, Any]

USUAL = Limits()


@dataclass(frozen=True, slots=True)
class Life:
    """What a daemon alone knows. Moments are wall seconds; nothing in it names a person or a place.

    `trouble` says in words what is wrong with the archive, `kind` as one of `pacing.Trouble`;
    `blocked` what keeps the ledger from being written; `watch` how each folder is watched, by its row, and
    `expected` how often something is expected to come there (seconds). `certificates` are ends of TLS
    certificates, the archive's and ours; `alerts` says of each receiver how it took what it was sent.
    """

    at: float
    pid: int
    started_at: float
    version: str
    trouble: str = ""
    kind: str = "none"
    trouble_at: float | None = None
    retry_at: float | None = None
    blocked: str = ""
    blocked_at: float | None = None
    watch: Mapping[int, str] = field(default_factory=dict)
    expected: Mapping[int, float] = field(default_factory=dict)
    limits: Limits = USUAL
    certificates: Mapping[str, float] = field(default_factory=dict)
    alerts: Mapping[str, Facts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Beside:
    """What is to be seen beside the ledger: its daemon's life, who has it, its size, the room left there.

    `holder` is the process that has the ledger, None if none has, -1 if that cannot be known;
    `changed_at` when the ledger was last written (wall seconds); `daemon` whether it ever had one.
    """

    life: Life | None = None
    daemon: bool = False
    holder: int | None = -1
    changed_at: float | None = None
    size_bytes: int | None = None
    free_bytes: int | None = None


_NOTHING_BESIDE, _ANYHOW = Beside(), How()


def look(ledger: Path, wall: float, how: How) -> Facts:
    """Look at a ledger and what is beside it, read-only; raises LedgerProblem where it cannot be read."""
    with Standing.open(ledger) as reader:
        return seen(reader.hold(), ledger, wall, how)


def seen(reader: Standing, ledger: Path, wall: float, how: How) -> Facts:
    """Give what an open reader of that ledger, and what is beside it, show."""
    return snapshot(reader, wall, beside(ledger, reader.fact(STATUS_FILE)), how)


def beside(ledger: Path, status_file: str | None) -> Beside:
    """Look at what is beside the ledger; `status_file` is what it says of its daemon's."""
    real = Path(os.path.realpath(ledger))
    try:
        holder = holding.holder(real)
        holder = -1 if holder == 0 else holder  # one that cannot be seen from in here
    except OSError:  # hidden from a hardened service
        holder = -1
    files = [found for name in (real, f"{real}-wal") if (found := _stat(name)) is not None]
    rooms = [free for place in (real.parent, f"{real}.trash") if (free := _free(place)) is not None]
    return Beside(
        life=read_life(Path(status_file)) if status_file else None,
        daemon=status_file is not None,
        holder=holder,
        changed_at=max((one.st_mtime for one in files), default=None),
        size_bytes=sum(one.st_size for one in files),
        free_bytes=min(rooms, default=None),
    )


def _free(place: str | Path) -> int | None:
    """Say how much room is left at a place; of the trash, which may be on another disk, once it is there."""
    with contextlib.suppress(OSError):
        room = os.statvfs(place)
        return room.f_bavail * room.f_frsize
    return None


def _stat(path: str | Path) -> os.stat_result | None:
    with contextlib.suppress(OSError):
        return os.stat(path)
    return None


def snapshot(reader: Standing, wall: float, near: Beside = _NOTHING_BESIDE, how: How = _ANYHOW) -> Facts:
    """Give all of it; `schema` changes only when a key changes its meaning.

    Ages are in seconds. Every state is there, also with 0.
    """
    ages = _ages(wall)
    counts = reader.counts()
    known, pending = reader.studies()
    doubt, doubted = reader.doubt()
    live = reader.oldest_live()
    late = None if live is None else {"seconds": ages(live[0]), "study": handle("study", live[1])}
    facts: Facts = {
        "schema": SCHEMA,
        "at": round(wall, 3),
        "daemon": _daemon(near, wall),
        "archive": _archive(reader, near.life, wall),
        "ledger": {
            "blocked": (near.life.blocked if near.life else "") or None,
            "blocked_seconds": ages(near.life.blocked_at if near.life else None),
            "size_bytes": near.size_bytes,
            "free_bytes": near.free_bytes,
        },
        "doubt": None
        if doubt is None
        else {"why": doubt.why, "seconds": ages(doubt.at), "unsettled": doubted},
        "oldest_pending_seconds": ages(reader.oldest_due()),
        "oldest_live": late,
        "last_answer_seconds": ages(reader.last_answered()),
        "studies": {"known": known, "pending": pending},
        "lost": reader.lost(),
        "deletions": _deletions(reader, wall),
        "counts": {state.value: n for state, n in counts.instances.items()},
        "files": {state.value: n for state, n in counts.files.items()},
        "cases": [
            {**{key: case[key] for key in ("what", "state", "reason", "n")}, "seconds": ages(case["since"])}
            for case in reader.cases()
        ],
        "folders": [_folder(folder, near.life, wall) for folder in reader.folders()],
        "certificates": {} if near.life is None else _until(near.life.certificates, wall),
        "alerts": {} if near.life is None else dict(near.life.alerts),
        "limits": (near.life.limits if near.life is not None else USUAL)._asdict(),
    }
    return concerns.judged(facts, how)


def _ages(wall: float) -> Any:
    return lambda at: None if at is None else max(0.0, round(wall - at, 3))


def _until(ends: Mapping[str, float], wall: float) -> dict[str, float]:
    return {name: round(end - wall, 3) for name, end in ends.items()}


def _daemon(near: Beside, wall: float) -> Facts:
    """Say whether a daemon is at work: it says so itself, and the kernel does not deny it."""
    life = near.life
    held = near.holder is not None  # or it cannot be known
    if life is not None and abs(wall - life.at) <= SILENT_SECONDS and held:
        state = "running"
    elif life is not None and near.holder == life.pid:
        state = "silent"
    else:
        state = "stopped" if near.daemon else "never"
    sign = life.at if life is not None else near.changed_at
    return {
        "state": state,
        "sign_seconds": _ages(wall)(sign),
        "up_seconds": _ages(wall)(life.started_at) if life and state == "running" else None,
        "pid": life.pid if life and state in ("running", "silent") else None,
        "version": life.version if life and state == "running" else None,
        "other_pid": near.holder if state in ("stopped", "never") and (near.holder or 0) > 0 else None,
    }


def _archive(reader: Standing, life: Life | None, wall: float) -> Facts:
    ages = _ages(wall)
    troubled = life is not None and life.trouble
    return {
        "url": reader.fact("archive"),
        "kind": reader.fact("archive_kind"),
        "trouble": life.trouble if life and troubled else None,
        "trouble_kind": life.kind if life and troubled else None,
        "trouble_seconds": ages(life.trouble_at) if life and troubled else None,
        "retry_seconds": max(0.0, round(life.retry_at - wall, 3))
        if life and troubled and life.retry_at is not None
        else None,
    }


def _deletions(reader: Standing, wall: float) -> list[Facts]:
    """Give each folder that mirrors its deletions, by the number it has among the folders."""
    ages, waiting = _ages(wall), reader.without_room()
    roots = {os.fsdecode(root.path): root for root in reader.roots()}
    numbers = {folder["path"]: folder["id"] for folder in reader.folders()}
    return [
        {
            "number": numbers.get(one["path"]),
            **one,
            "frozen_seconds": ages(roots[one["path"]].frozen_at),
            "without_room": waiting.get(roots[one["path"]].root_id, 0),
        }
        for one in mirror_report.snapshot(reader)
    ]


COUNTED = ("files", "problems", "excluded", "links", "special", "sampled", "sampled_dicom")


def _folder(folder: Facts, life: Life | None, wall: float) -> Facts:
    ages = _ages(wall)
    return {
        "number": folder["id"],
        "handle": handle("folder", folder["id"]),
        "path": folder["path"],
        "watch": life.watch.get(folder["id"]) if life is not None else None,
        "last_scan_seconds": ages(folder["scanned_at"]),
        "scan_seconds": folder.get("seconds"),
        "hanging_seconds": ages(folder.get("hangs_since")),
        "lost": folder.get("lost"),
        "lost_seconds": ages(folder.get("lost_at")),
        "silent_seconds": ages(folder["seen_at"] if folder["filed_at"] is None else folder["filed_at"]),
        "expected_seconds": life.expected.get(folder["id"]) if life is not None else None,
        **{key: folder.get(key, 0) for key in COUNTED},
    }


def for_operators(facts: Facts) -> Facts:
    """Give the same without anything that names a place: folders by number and handle, no address."""
    folders, deletions = (
        [{key: value for key, value in one.items() if key != "path"} for one in facts[name]]
        for name in ("folders", "deletions")
    )
    archive = {key: value for key, value in facts["archive"].items() if key != "url"}
    return {**facts, "archive": archive, "folders": folders, "deletions": deletions}


def read_life(path: Path) -> Life | None:
    """Read what a daemon wrote to its status.json; None where there is none, or it makes no sense."""
    import json  # where there is something to read alone: 2 of the 80 ms of `status`

    try:
        told = json.loads(path.read_bytes())
        at, daemon, archive = float(told["written_at"]), told["daemon"], told["archive"]
        late, retry = archive["trouble_seconds"], archive["retry_seconds"]
        blocked = told["ledger"]["blocked_seconds"]
        return Life(
            at,
            int(daemon["pid"]),
            at - float(daemon["up_seconds"]),
            str(daemon["version"]),
            str(archive["trouble"] or ""),
            str(archive["trouble_kind"] or "none"),
            None if late is None else at - float(late),
            None if retry is None else at + float(retry),
            str(told["ledger"]["blocked"] or ""),
            None if blocked is None else at - float(blocked),
            {int(one["number"]): str(one["watch"]) for one in told["folders"] if one["watch"]},
            {
                int(one["number"]): float(one["expected_seconds"])
                for one in told["folders"]
                if one["expected_seconds"]
            },
            Limits(**{key: float(value) for key, value in told["limits"].items()}),
            {str(name): at + float(left) for name, left in told["certificates"].items()},
            {str(name): dict(one) for name, one in told["alerts"].items()},
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def due(facts: Facts) -> int:
    """Say how many instances are still to be stored or asked about."""
    counts = facts["counts"]
    states = (InstanceState.PENDING, InstanceState.SENDING, InstanceState.UNCONFIRMED)
    return sum(int(counts[state]) for state in states)

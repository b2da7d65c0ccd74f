"""What comes from people and from disks: configs, commands through the socket, names of files, subjects."""

from __future__ import annotations

import atexit
import csv
import dataclasses
import json
import logging
import os
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from dicomsync import config, control, facts, orders, report, resolution, status
from dicomsync.dicomweb.response import parse
from dicomsync.errors import DicomsyncError, UsageProblem
from dicomsync.explain import explain, problems
from tests.world import STUDY, World, answer

from . import promised

# configs

SECRET = "zzTr0ub4dor"  # what must never come back out of a refusal
MODELS: dict[str, type[config.Section]] = {
    "archive": config.ArchiveConfig,
    "ledger": config.LedgerConfig,
    "folders": config.FolderConfig,
    "batch": config.BatchConfig,
    "upload": config.UploadConfig,
    "verify": config.VerifyConfig,
    "control": config.ControlConfig,
}
SOUND: dict[str, dict[str, object]] = {
    "archive": {"url": "http://127.0.0.1:1/d"},
    "ledger": {"path": "/l/x.db"},
}
words = st.sampled_from(
    [
        *("", "auto", "10s", "1h30min", "-1s", "1e309s", "NaN", "32MiB", "1e9", "\uff11\uff10s", "9" * 5000),
        *("none", "basic", "azure", "*.dcm", "a/b", "[", "/a", "/a/b", "/", "relative"),
        *(SECRET, f"/etc/{SECRET}", f"env:{SECRET}", f"http://u:{SECRET}@h/", f"https://h/?k={SECRET}"),
        *("http://h/v2", "a\0b", "a\r\nb", "\x1b[31m", "\u202e"),
    ]
)
numbers = st.integers() | st.floats() | st.booleans() | st.none() | st.datetimes()
scalars = words | st.text(max_size=12) | numbers
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=6,
)


def sections(model: type[config.Section]) -> st.SearchStrategy[dict[str, Any]]:
    keys = st.sampled_from([one.name for one in dataclasses.fields(model)]) | st.sampled_from(
        ["\x1b[31m", "a b", "", "url\n", "ürl"]
    )
    return st.dictionaries(keys, values, max_size=4)


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """Nearly a config: sound sections, each with something laid over it."""
    found: dict[str, Any] = {name: dict(section) for name, section in SOUND.items()}
    for name in draw(st.lists(st.sampled_from(list(MODELS)), max_size=2, unique=True)):
        section = draw(sections(MODELS[name]))
        if name == "folders":
            found[name] = [{"path": "/data"} | section]
        else:
            found[name] = found.get(name, {}) | section
    if draw(st.integers(0, 9)) == 0:
        found[draw(st.sampled_from([*MODELS, "archiv", "\x1b]0;x\x07"]))] = draw(values)
    return found


@promised(configs())
def a_config_that_is_taken_is_the_same_when_it_is_written_down(data: dict[str, Any]) -> None:
    try:
        taken = config.build(data)
    except UsageProblem as problem:
        refused_with_its_key(problem, data)
        return
    written = {one.name: _written(getattr(taken, one.name)) for one in dataclasses.fields(taken)}
    assert config.build(json.loads(json.dumps(written))) == taken


def _written(section: Any) -> Any:
    """Write down what was read: the keys that are not as they are where they are left out."""
    if isinstance(section, tuple):
        return [_written(one) for one in section]
    found = {one.name: (getattr(section, one.name), one.default) for one in dataclasses.fields(section)}
    return {name: _as_toml(value) for name, (value, default) in found.items() if value != default}


def _as_toml(value: object) -> object:
    """Write a value as a person may: None was "always", a limit of bandwidth came as one rate for the day."""
    match value:
        case None:
            return "always"
        case ((0, int(rate)),):
            return f"{rate}b"
    return value


def refused_with_its_key(problem: UsageProblem, data: dict[str, Any]) -> None:
    _, *lines = problem.message.split("\n  - ")
    assert lines
    for line in lines:
        assert line.isprintable(), line
        assert any(line.startswith(key) for key in (*MODELS, *map(config.shown, data))), line
        assert SECRET not in line, line
    assert problem.for_logs.isprintable()
    assert SECRET not in problem.for_logs


_TOML = [
    "[archive]\n",
    "[[folders]]\n",
    "[ledger]\n",
    "url",
    "path",
    "=",
    '"',
    "'''",
    "{",
    "}",
    "[",
    "]",
    "\n",
]
_TOML += ["#", ".", "\ufeff", "\r\n", "\0", "1979-05-27", "0x", "1_000", "9" * 5000, "nan", "\\u0000"]
_TOML += ['"\\ud800"', SECRET]
tomls = st.lists(st.sampled_from(_TOML) | st.text(max_size=6), max_size=20).map("".join)


@promised(tomls)
def any_text_is_a_config_or_told_why_not(text: str) -> None:
    problem = None
    try:
        config.parse(text)
    except UsageProblem as told:
        problem = told
    try:
        data = tomllib.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        assert problem is not None
        assert problem.message.isprintable()
        assert problem.for_logs.isprintable()
        return
    if problem is not None:
        refused_with_its_key(problem, data)


@promised(
    st.tuples(
        st.sampled_from(
            ["archive.url", "upload.transfers", "folders.settle", "ledger.path", "archive", "a.b.c", ""]
        ),
        tomls | st.integers(1, 30_000).map(lambda n: "[" * n),
    )
)
def any_override_is_taken_or_told_why_not(drawn: tuple[str, str]) -> None:
    with suppress(UsageProblem):
        config.parse("", [f"{drawn[0]}={drawn[1]}"], given=SOUND)


# commands through the socket

texts = st.sampled_from(["1.2.3", STUDY, "", "\ud800", "\udcff", "a\0b", "\x1b[31m", "A700", "/in", "9" * 70])
rows = st.sampled_from([0, 1, 2, -1, 2**63 - 1, 2**63, 10**400, 1.5, float("nan"), float("inf"), True, None])
_ORDERS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "retry": {
        "uids": st.lists(texts, max_size=2),
        "rejected": st.booleans(),
        "reason": texts,
        "held": st.booleans(),
    },
    "backfill": {
        "archive": texts,
        "paths": st.lists(texts, max_size=2),
        "include": st.lists(texts, max_size=1),
        "exclude": st.lists(texts, max_size=1),
    },
    "withdraw": {"study": texts, "series": texts | st.none(), "sop": texts | st.none()},
    "settle": {
        "study": texts,
        "series": texts | st.none(),
        "sop": texts | st.none(),
        "deleted": st.booleans(),
    },
    "saw": {
        "asked_at": rows,
        "seen": st.lists(
            st.tuples(
                rows,
                st.sampled_from(["present", "equal", "missing", "absent", "differs", "?"]),
                st.sampled_from(["", "0f" * 32, "0f", "x"]),
            ).map(list),
            max_size=2,
        ),
    },
    "heal": {"instance_ids": st.lists(rows, max_size=2)},
    "resolve": {
        "step": st.sampled_from([*resolution.Step, "burn"]),
        "of": st.lists(
            st.tuples(rows, st.sampled_from(["", "0f" * 32, "pixels", "\ud800"])).map(list), max_size=2
        ),
    },
}


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """A command, sound or with one of its values exchanged."""
    name = draw(st.sampled_from(sorted(_ORDERS)))
    message = {"order": name} | {key: draw(value) for key, value in _ORDERS[name].items()}
    if draw(st.booleans()):
        message[draw(st.sampled_from([*message, "more"]))] = draw(values.filter(_is_json))
    return message


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


class UndoneError(Exception):
    """Ends a transaction that was only for a look."""


@promised(messages())
def any_command_is_an_order_or_refused_and_breaks_no_turn(message: dict[str, Any]) -> None:
    try:
        order = orders.from_message(json.loads(json.dumps(message)))
    except UsageProblem:
        return
    assert orders.from_message(json.loads(json.dumps(orders.to_message(order)))) == order
    ledger = hostile_world().ledger
    with suppress(DicomsyncError, UndoneError), ledger.transaction():
        match order:
            case orders.Retry():
                orders.retry(ledger, order, 1.0, 1.0)
            case orders.Withdraw():
                orders.withdraw(ledger, order)
            case orders.Settle():
                orders.settle(ledger, order, 1.0)
            case orders.Saw():
                orders.saw(ledger, order)
            case orders.Heal():
                orders.heal(ledger, order, 1.0, 1.0)
            case resolution.Resolve():
                resolution.resolve(ledger, order, 1.0, 1.0)
            case orders.Backfill():
                [os.fsencode(path) for path in order.paths]
        raise UndoneError


@promised(
    st.binary(max_size=80) | messages().map(lambda one: json.dumps(one).encode()) | tomls.map(str.encode)
)
def any_line_on_the_socket_is_answered(line: bytes) -> None:
    server = object.__new__(control.Server)  # no socket: what it says to a line is all that is looked at
    server._answer = lambda message: iter(
        [{"heard": sorted(orders.to_message(orders.from_message(message)))}]
    )
    with own_lines():
        told = [json.dumps(one) for one in server._messages(line)]
    assert len(told) == 1
    assert "heard" in told[0] or "error" in told[0]
    assert "inside the daemon" not in told[0]


# names of files, and what a person asks about


@contextmanager
def own_lines() -> Iterator[list[str]]:
    """Gather what dicomsync logs, at any level."""
    lines: list[str] = []

    class Gather(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    log, handler = logging.getLogger("dicomsync"), Gather()
    before, log.level = log.level, logging.DEBUG
    log.addHandler(handler)
    try:
        yield lines
    finally:
        log.removeHandler(handler)
        log.level = before


HOSTILE_NAMES = (
    b"plain.dcm",
    b"a\nERROR all is lost.dcm",
    b"\x1b[2J\x1b]0;title\x07.dcm",
    b"\xff\xfe\x80.dcm",
    "\u202egnp\u2028\u2066.dcm".encode(),
    b"%s%n%(x)s {0} $HOME `id`.dcm",
    b"..%2f..%2fetc.dcm",
    b"-rf --.dcm",
    b"=cmd|' /C calc'!A0.dcm",
    b"\xc2\x9b31m\x7f\x08.dcm",
)
any_names = st.binary(min_size=1, max_size=20).map(
    lambda noise: noise.replace(b"/", b"%").replace(b"\0", b"\x01") + b".dcm"
)
WORDS = "no\r\nERROR all is lost \x1b[31m \u2028 \u202e \x9b \x7f %s"
SAID = {
    "00081198": {
        "vr": "SQ",
        "Value": [
            {
                "00081155": {"vr": "UI", "Value": ["1.2.3.1"]},
                "00081197": {"vr": "US", "Value": [0xC000]},
                "00000902": {"vr": "LO", "Value": [WORDS]},
            }
        ],
    }
}


def made_world(home: Path, names: list[bytes]) -> World:
    """A ledger that knows files under these names, some stored, refused, held, in conflict."""
    with pytest.MonkeyPatch.context() as patched:
        world = World(home, patched)
        for number, name in enumerate(names):
            uid = f"1.2.3.{number // 2 + 1}"
            path = world.put(os.fsdecode(name), uid, pixel=number)
            if number % 3 == 2:
                path.write_bytes(path.read_bytes()[:-1])
            if number % 4 == 1:
                world.archive.refuse[uid] = 0xA900
        world.archive.answers = [lambda _: answer(409, parse(json.dumps(SAID).encode()))]
        world.until_done()
    return world


@lru_cache
def hostile_world() -> World:
    """One such ledger, for all that only ask it, or undo what they did."""
    home = tempfile.TemporaryDirectory()
    atexit.register(home.cleanup)
    return made_world(Path(home.name), list(HOSTILE_NAMES))


@promised(
    st.lists(st.sampled_from(HOSTILE_NAMES) | any_names, min_size=1, max_size=4, unique=True), costly=True
)
def no_name_gets_into_a_log_and_none_reaches_a_terminal_raw(names: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as home, own_lines() as lines:
        world = made_world(Path(home), names)
        reader, wall = world.reader, world.now.wall
        for line in lines:
            assert line.isprintable(), line
            assert not any(os.fsdecode(name) in line for name in names), line
        told = problems(reader)
        for name in names:
            told += explain(reader, os.path.join(world.folder, os.fsdecode(name)), wall) or []
        records = list(report.files(reader))
        told += report.as_table(records)
        told += report.as_jsonl(records)
        told += status.text(facts.snapshot(reader, wall)).splitlines()
        for record in csv.reader(report.as_csv(records)):
            told += record
        for line in told:
            assert line.isprintable(), line
        world.die()


@promised(
    st.text(max_size=20)
    | st.sampled_from(
        ["", ".", "..", "~", "\0", "\ud800", "\udcff", "ffffffffffffffff", "file 0x12", "-1", "9" * 70]
    )
    | st.from_regex(r"((study|instance|file|batch|directory|folder)[ :-]?)?[0-9a-f]{6,16}", fullmatch=True)
    | st.from_regex(r"[0-9.]{1,70}", fullmatch=True)
)
def anything_can_be_asked_about(subject: str) -> None:
    reader = hostile_world().reader
    for line in explain(reader, subject, 0.0) or []:
        assert line.isprintable(), line
    with suppress(UsageProblem):
        report.study_named(reader, subject)
    reader.conflicts(uid=subject)

"""TOML text to one frozen `Config`; every problem is told at once, with its place."""

from __future__ import annotations

import itertools
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dicomsync import addresses, credentials
from dicomsync.errors import UsageProblem

from .model import ArchiveConfig, Config
from .sections import Problem, Problems, table

_CONFIG = table(Config)


def _across(data: Mapping[str, Any]) -> list[str]:
    """Say what is wrong between keys; looked for in the plain values, so that it is told with the rest."""
    archive = _table(data.get("archive"))
    written = {
        "ledger.path": _table(data.get("ledger")).get("path"),
        "control.socket": _table(data.get("control")).get("socket"),
    }
    listed = data.get("folders")
    folders = [_table(one).get("path") for one in listed] if isinstance(listed, (list, tuple)) else []
    paths = {
        number: path
        for number, path in enumerate(folders, 1)
        if isinstance(path, str) and path and "\0" not in path
    }
    web, alerts = addresses.problems(_table(data.get("web"))), _table(data.get("alerts"))
    problems = [*credentials.problems(archive), *_overlaps(paths), *web]
    problems += [
        f"alerts: {key} and {key}_from are two places for one URL: leave one out"
        for key in ("webhook", "heartbeat")
        if alerts.get(key) and alerts.get(f"{key}_from")
    ]
    problems += [
        f"{key} lies inside folder {number}: folders are only read, so put it elsewhere"
        for key, place in written.items()
        if isinstance(place, str) and place
        for number, path in paths.items()
        if _inside(_absolute(place), _absolute(path))
    ]
    return problems


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _overlaps(paths: Mapping[int, str]) -> list[str]:
    """Say which folders overlap: by their numbers, as paths are not for logs."""
    real = {number: _absolute(path) for number, path in paths.items()}
    told = ["folders: '/' is the whole file system; name the folder" for path in real.values() if path == "/"]
    told += [
        f"folders {first} and {second} overlap; keep the outer one"
        for (first, one), (second, other) in itertools.combinations(real.items(), 2)
        if _inside(one, other) or _inside(other, one)
    ]
    return told


def _absolute(path: str) -> str:
    return re.sub("^//+", "/", os.path.abspath(path))


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def parse(
    text: str,
    overrides: Sequence[str] = (),
    *,
    given: Mapping[str, Mapping[str, Any]] | None = None,
    source: str = "the config",
) -> Config:
    """Read a config from TOML text, with `given` sections and `KEY=VALUE` overrides laid over it.

    Raises UsageProblem that tells every problem, with the key it is about; never a value of a secret
    (the config holds none: only the files they are in).
    """
    try:
        data: dict[str, Any] = tomllib.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:  # numbers of 5,000 digits and the like are bare ValueErrors
        where = re.search(r"\(at [^()]*\)$", str(error))
        raise UsageProblem(
            f"{source} is not TOML: {error}.",
            hint="Nothing was done.",
            for_logs=f"it is not TOML {where[0] if where else ''}".strip(),
        ) from None
    for section, values in (given or {}).items():
        if isinstance(data.setdefault(section, {}), dict):  # what is no table is told below
            data[section] |= values
    for override in overrides:
        _lay_over(data, override)
    return build(data, source=source)


def warnings(config: Config) -> list[str]:
    """Say what is allowed and unwise, fit for a log: mirrored deletions with less care than is usual."""
    if all(folder.mirror_deletions == "off" for folder in config.folders):
        return []
    told = []
    for key, least, words in (
        ("confirm_after", 600.0, "10min"),
        ("grace", 86_400.0, "24h"),
    ):
        if getattr(config.deletions, key) < least:
            told.append(f"deletions.{key} is under {words}: that is for trials")
    if config.deletions.undo_window is None:
        told.append("deletions.undo_window is off: a mirrored deletion cannot be taken back")
    return told


def archive_alone(url: str, overrides: Sequence[str] = ()) -> ArchiveConfig:
    """Check an archive given by its URL, for a command that needs neither ledger nor folders."""
    return parse("", overrides, given={"archive": {"url": url}, "ledger": {"path": os.devnull}}).archive


def build(data: Mapping[str, Any], *, source: str = "the config") -> Config:
    """Check a config given as plain values."""
    found: list[Problem] = []
    across = _across(data)
    try:
        config = _CONFIG(data)
        if not across:
            return config
    except Problems as problems:  # and nothing that quotes what was given goes on from here
        found = problems.found
    told = [f"{_place(one, shown)}: {one.words}" for one in found]
    logged = [f"{_place(one, _plain)}: {one.words}" for one in found]
    raise UsageProblem(
        f"{source} cannot be used:\n" + "\n".join(f"  - {line}" for line in told + across),
        hint="Nothing was done. config.example.toml shows every key.",
        for_logs="; ".join(logged + across),
    )


def _place(problem: Problem, key: Callable[[str], str]) -> str:
    return ".".join(key(str(part)) for part in problem.place)


def _plain(key: str) -> str:
    """Leave out of a log what was given as a key and looks like none of ours: it may be anything."""
    return key if re.fullmatch(r"[\w-]{1,40}", key, re.ASCII) else "(a key)"


def shown(key: str) -> str:
    """Show a key to a person: TOML lets one hold any character at all."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in key)


def _lay_over(data: dict[str, Any], override: str) -> None:
    """Lay one `archive.confirm_wait=1s` over the config; `folders.settle=1s` means every folder."""
    key, equals, value = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name):
        raise UsageProblem(
            f"--set {override!r} is not KEY=VALUE.", hint="Such as --set archive.confirm_wait=1s"
        )
    for one in _tables(data, section):
        one[name] = _value(value)


def _tables(data: dict[str, Any], section: str) -> list[dict[str, Any]]:
    """Give the tables that a section stands for; what is none is told when the whole is checked."""
    found = data.setdefault(section, [] if section == "folders" else {})
    listed = found if isinstance(found, list) else [found]
    return [table for table in listed if isinstance(table, dict)]


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # as for the whole config: not every ValueError is tomllib's own
        return text

"""TOML text to one frozen `Config`; every problem is told at once, with its place."""

from __future__ import annotations

import difflib
import itertools
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from dicomsync import addresses, credentials
from dicomsync.errors import UsageProblem

from .model import SECTIONS, ArchiveConfig, Config


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
    problems = logged = _across(data)
    try:
        # Lists of TOML become tuples; strict mode keeps "yes" from passing for true.
        config = Config.model_validate(_frozen(data))
        if not problems:
            return config
    except ValidationError as error:
        found = [dict(one) for one in error.errors(include_url=False, include_input=False)]
        problems = list(dict.fromkeys(map(_told, found))) + problems
        logged = list(dict.fromkeys(_told(one | {"loc": _plain(one["loc"])}) for one in found)) + logged
    raise UsageProblem(
        f"{source} cannot be used:\n" + "\n".join(f"  - {line}" for line in problems),
        hint="Nothing was done. config.example.toml shows every key.",
        for_logs="; ".join(logged),
    )


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _frozen(one) for key, one in value.items()}
    if isinstance(value, list):
        return tuple(_frozen(one) for one in value)
    return value


def _plain(place: Any) -> tuple[str | int, ...]:
    """Leave out of a place what was given as a key and looks like none of ours: it may be anything."""
    return tuple(one if re.fullmatch(r"[\w\[\],-]{1,40}", str(one), re.ASCII) else "(a key)" for one in place)


def _told(error: dict[str, Any]) -> str:
    """Say one problem: where, what, and for an unknown key what was probably meant."""
    unknown = error["type"] == "extra_forbidden"  # then every part is a key; else one may name a validator
    place = [part for part in error["loc"] if unknown or not (isinstance(part, str) and "[" in part)]
    key = ".".join(str(part + 1) if isinstance(part, int) else shown(part) for part in place)
    if unknown:
        return f"{key}: no such key{_meant(place)}"
    message = str(error["msg"]).removeprefix("Value error, ")
    message = message.replace("a valid tuple", "a list").replace("a valid dictionary", "a table")
    if error["type"] == "missing":
        message = "is missing"
    return f"{key}: {message}" if key else message


def shown(key: str) -> str:
    """Show a key to a person: TOML lets one hold any character at all."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in key)


def _meant(place: Sequence[str | int]) -> str:
    section: Any = Config
    for part in place[:-1]:
        if isinstance(part, int):
            continue
        section = SECTIONS.get(part, section)
    near = difflib.get_close_matches(str(place[-1]), list(section.model_fields), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _lay_over(data: dict[str, Any], override: str) -> None:
    """Lay one `archive.confirm_wait=1s` over the config; `folders.settle=1s` means every folder."""
    key, equals, value = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name):
        raise UsageProblem(
            f"--set {override!r} is not KEY=VALUE.", hint="Such as --set archive.confirm_wait=1s"
        )
    for table in _tables(data, section):
        table[name] = _value(value)


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

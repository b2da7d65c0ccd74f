"""The page of every key of the config: what it takes from the model, its words from the example."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dicomsync import bwlimit, config, credentials, setup

INTRODUCTION = """\
# Configure

One TOML file, `/etc/dicomsync/NAME.toml` for the service `dicomsync@NAME`. `dicomsync init FILE` writes it
from a few questions, with the words below in it; `dicomsync doctor -c FILE` says what is wrong with it. An
unknown key is refused, so that a misspelt one is never silently ignored, and every problem is told at once.
A running service takes a changed config on `systemctl reload dicomsync@NAME`; one that cannot be used is
told, and the old one kept. `--set KEY=VALUE` lays a key over the file for one command, such as `--set
archive.confirm_wait=1s`.

Durations are `"500ms"`, `"10s"`, `"10min"`, `"1h30min"`, `"3d"`; sizes `"32MiB"`, `"500MB"`; a bare number
is seconds, or bytes. This page is made from the program's own model of the config, whenever the
documentation is built.
"""

READERS = {
    config.seconds: "a duration",
    config.size_bytes: "a size",
    config.share: 'a share, such as `"2%"`',
    credentials.secret_place: 'where a secret is: `"/path"`, `"env:NAME"` or `"credential:NAME"`',
    credentials.file_place: "the path of a file",
    bwlimit.timetable: 'a rate, a timetable, or `"off"`',
}
INSTEAD = ("auto", "always", "off")  # words that stand for no duration


@dataclass(frozen=True)
class Key:
    """One key, as the example shows it."""

    value: str  # in TOML
    used: bool  # not commented out
    words: str


def example() -> dict[str, dict[str, Key]]:
    """Read the words of every key from the example: those right above it."""
    found: dict[str, dict[str, Key]] = {}
    section, words, told = "", list[str](), False
    for line in setup.example().splitlines():
        key = re.match(r"(# )?([a-z_]+) = (.+)$", line)
        if head := re.match(r"\[+([a-z]+)\]+$", line):
            section, words = head[1], []
        elif key:
            found.setdefault(section, {})[key[2]] = Key(key[3], key[1] is None, " ".join(words))
            told = True
        elif line.startswith("# "):
            words, told = ([] if told else words), False
            words.append(line.removeprefix("# "))
        else:
            words, told = [], False
    return found


def every_key() -> Iterator[tuple[str, str, FieldInfo]]:
    """Give every key of the model with its section, in order."""
    for section, field in config.Config.model_fields.items():
        annotations = (field.annotation, *get_args(field.annotation))
        [model] = [one for one in annotations if hasattr(one, "model_fields")]
        for name, key in model.model_fields.items():
            yield section, name, key


def takes(field: FieldInfo) -> str:
    """Say what a key takes."""
    readers = [one.func for one in field.metadata if isinstance(one, BeforeValidator)]
    for reader in readers:
        if reader in READERS:
            return READERS[reader]
    if readers:  # a duration, or a word instead
        return " or ".join(["a duration", *(f'`"{word}"`' for word in INSTEAD if _stands(readers[0], word))])
    if get_origin(field.annotation) is Literal:
        return ", ".join(f'`"{choice}"`' for choice in get_args(field.annotation))
    if get_origin(field.annotation) is tuple:
        return "a list of texts"
    bounds = {type(one).__name__: one for one in field.metadata}
    if field.annotation is int and {"Ge", "Le"} <= bounds.keys():
        return f"a number from {bounds['Ge'].ge} to {bounds['Le'].le:,}"
    return {bool: "`true` or `false`", int: "a number", str: "a text"}[field.annotation]  # type: ignore[index]


def _stands(reader: Any, word: str) -> bool:
    try:
        return reader(word) is None
    except ValueError:
        return False


def default(field: FieldInfo, shown: Key) -> str:
    """Say what a key is where it is not given."""
    if field.default is PydanticUndefined:
        return "must be given"
    if shown.used:  # a test holds the example to the defaults
        return f"`{shown.value}`"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return "nothing" if value in ("", [], None) else f"`{json.dumps(value)}`"


def markdown() -> str:
    """Make the page."""
    words = example()
    parts, before = [INTRODUCTION], ""
    for section, name, field in every_key():
        if section != before:
            listed = section == "folders"
            brackets = f"[[{section}]]" if listed else f"[{section}]"
            parts.append(f"## `{brackets}` {{#{section}}}\n")
            if listed:
                parts.append("One section for each folder. Folders are only read, never written to.\n")
            before = section
        key = words[section][name]
        parts.append(f"### {name} {{#{section}.{name}}}\n")
        parts.append(f"{key.words}\n")
        parts.append(f"- Takes: {takes(field)}\n- Default: {default(field, key)}")
        parts[-1] += "\n" if key.used else f"\n- Such as: `{name} = {key.value}`\n"
    parts += ["## The whole example\n", f"```toml\n{setup.example()}```\n"]
    return "\n".join(parts)


if __name__ == "__main__":
    print(markdown())

"""The page of every key of the config: what it takes from the model, its words from the example."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, get_args, get_type_hints

from dicomsync import config, setup

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


def every_key() -> Iterator[tuple[str, str, Field[Any]]]:
    """Give every key of the model with its section, in order."""
    for section, kind in get_type_hints(config.Config).items():
        [model, *_] = get_args(kind) or [kind]  # of a list of sections: what is in it
        for key in fields(model):
            yield section, key.name, key


def takes(field: Field[Any]) -> str:
    """Say what a key takes, in the words in which its reader refuses what is nothing of the kind."""
    try:
        field.metadata["reader"](object())
    except ValueError as error:
        return re.sub(r'"[^"]*"', r"`\g<0>`", str(error).removeprefix("expected "))
    raise AssertionError(f"{field.name} takes anything")


def default(field: Field[Any], shown: Key) -> str:
    """Say what a key is where it is not given."""
    if field.default is MISSING:
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

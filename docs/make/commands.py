"""The command line as man pages and as a page of the documentation, from its own help text.

`python -m docs.make.commands DIRECTORY` writes the man pages.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from dicomsync import __version__
from dicomsync.cli import EXIT_CODES, cli

WIDTH = 100

INTRODUCTION = """\
# Commands

Each command with all that it takes, as `--help` says it; on the machine also `man dicomsync`, and
`man dicomsync-backfill` and so on, where the Debian package is installed. What ends a command with which exit
code, and what to do then: [When something is wrong](when-something-is-wrong.md#how-a-command-ends).
"""


@dataclass(frozen=True)
class Told:
    """One command, in the context it is called in."""

    names: tuple[str, ...]
    command: click.Command
    context: click.Context

    @property
    def name(self) -> str:
        """What is typed."""
        return " ".join(self.names)

    @property
    def page(self) -> str:
        """The name of its man page."""
        return "-".join(self.names)

    def subcommands(self) -> list[tuple[str, str]]:
        """Give the names and the words of those below it."""
        if not isinstance(self.command, click.Group):
            return []
        found = ((name, self.command.get_command(self.context, name)) for name in self.command.commands)
        return [(name, one.get_short_help_str(200)) for name, one in found if one and not one.hidden]


def told() -> Iterator[Told]:
    """Go through all commands, groups before what is in them."""
    root = cli.make_context("dicomsync", [], resilient_parsing=True, terminal_width=WIDTH)
    yield from _below(("dicomsync",), cli, root)


def _below(names: tuple[str, ...], command: click.Command, context: click.Context) -> Iterator[Told]:
    yield Told(names, command, context)
    if isinstance(command, click.Group):
        for name in command.commands:
            one = command.get_command(context, name)
            if one is not None and not one.hidden:
                below = one.make_context(name, [], context, resilient_parsing=True)
                yield from _below((*names, name), one, below)


def markdown() -> str:
    """Make the page of all commands."""
    parts = [INTRODUCTION]
    for one in told():
        mark = "#" * (len(one.names) + 1)
        parts.append(f"{mark} {one.name}\n\n```text\n{one.command.get_help(one.context)}\n```\n")
    return "\n".join(parts)


def roff(one: Told) -> str:
    """Make the man page of one command (man(7))."""
    short = one.command.get_short_help_str(200).rstrip(".")
    lines = [
        f'.TH "{_text(one.page.upper())}" "1" "" "dicomsync {__version__}" "dicomsync"',
        ".SH NAME",
        f"{_text(one.page)} \\- {_text(short)}",
        ".SH SYNOPSIS",
        f"\\fB{_text(one.name)}\\fR {_text(' '.join(one.command.collect_usage_pieces(one.context)))}",
        ".SH DESCRIPTION",
        *_prose(one.command.help or ""),
    ]
    options = (param for param in one.command.get_params(one.context) if isinstance(param, click.Option))
    records = (option.get_help_record(one.context) for option in options)
    lines += _listed("OPTIONS", [record for record in records if record is not None])
    below = one.subcommands()
    lines += _listed("COMMANDS", below)
    codes = re.findall(r"^ +(\d+) +(.+)$", EXIT_CODES, re.MULTILINE)
    lines += _listed("EXIT STATUS", codes)
    others = [f"{one.page}-{name}" for name, _ in below] or ["-".join(one.names[:-1])]
    lines += [".SH SEE ALSO", ",\n".join(f"\\fB{_text(name)}\\fR(1)" for name in others)]
    return "\n".join(lines) + "\n"


def _listed(heading: str, records: list[tuple[str, str]]) -> list[str]:
    lines = [f".SH {heading}"] if records else []
    for term, words in records:
        lines += [".TP", f"\\fB{_text(term)}\\fR", _text(" ".join(words.split()))]
    return lines


def _prose(text: str) -> list[str]:
    """Set paragraphs; those that click is told not to rewrap (by a backspace) stay as they are."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        if paragraph.startswith("\b"):
            lines += [".PP", ".nf", *map(_text, paragraph.splitlines()[1:]), ".fi"]
        else:
            lines += [".PP", _text(" ".join(paragraph.split()))]
    return lines


def _text(text: str) -> str:
    """Escape what roff would act on; a hyphen is to be one that can be copied."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def main(directory: Path) -> None:
    """Write every man page into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for one in told():
        (directory / f"{one.page}.1").write_text(roff(one), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The commands: each parses, calls, prints, and gives its exit code.

A command's module is imported when the command is called, and heavy imports wait within it for what needs
them: to import all of them would take as long again as all else that `--help` does.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import click

__all__ = ["COMMANDS", "Commands"]

COMMANDS = {
    # name: the module, and what the list of commands says
    "archive": ("archive", "DICOMweb by hand: store, retrieve, search, delete."),
    "backfill": ("backfill", "Store what is not stored yet, once, and say how it went."),
    "conflicts": ("conflicts", "Other contents under one UID: list, diff, resolve."),
    "deletions": ("deletions", "Mirrored deletions: enrol, list, approve, cancel, undo."),
    "demo": ("tryout", "Show the whole way in a minute."),
    "doctor": ("prepare", "Check config, folders, ledger and archive."),
    "explain": ("look", "Tell the life of one file, study or instance."),
    "help": ("help", "Say what a word in a message means, and what to do."),
    "init": ("prepare", "Write a config."),
    "ledger": ("ledger", "Look after the ledger: info, backup, check, rebuild, rebind, prune."),
    "metrics": ("watching", "Print metrics for Prometheus."),
    "report": ("report", "Account for every file; a study's receipt; what may be cleared away."),
    "retry": ("retry", "Try again what was rejected or held, or what waits."),
    "run": ("run", "Run for ever: store what comes, as it comes."),
    "sandbox": ("tryout", "Serve a DICOMweb archive to try things out."),
    "status": ("look", "Say how it stands."),
    "verify": ("verify", "Hold the ledger against the archive."),
    "web": ("watching", "Serve a page that says how it stands, and metrics."),
}


class _Imported(UserDict[str, click.Command]):
    """The commands by name, each imported when it is asked for."""

    def __getitem__(self, name: str) -> click.Command:
        command: click.Command = getattr(import_module(f"{__name__}.{COMMANDS[name][0]}"), name)
        return command

    def __contains__(self, name: object) -> bool:
        return name in COMMANDS

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Commands(click.Group):
    """A group of which only the command that is called is imported; `--help` imports none."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, commands=_Imported())

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click gives it
        """Write the list. It takes what click gives; nothing of the context is needed."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])

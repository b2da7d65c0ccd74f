"""`deletions`: what left a folder that mirrors, and what a person says to it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dicomsync import logs
from dicomsync.commands.options import configured, load
from dicomsync.errors import DeletionsFrozen, UsageProblem

if TYPE_CHECKING:
    from dicomsync.config import Config

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group(short_help="Mirrored deletions: enrol a folder, list, approve, cancel, undo.")
def deletions() -> None:
    """What was removed from folders with mirror_deletions, and is to be deleted from the archive.

    Nothing is deleted before a folder is enrolled. docs/deletions.md tells the whole protocol.
    """


@deletions.command(short_help="Place the marker of a folder, and record which folder it is.")
@click.argument("folder", type=_FOLDER)
@configured
def enrol(
    folder: Path, config_file: Path | None, overrides: tuple[str, ...], verbosity: int, quiet: bool
) -> None:
    """Place a marker into FOLDER, one of the config's, and record which folder it is.

    The marker, .dicomsync-root, is the one thing that dicomsync ever writes into a folder, and only this
    command does. Without it nothing is deleted; where it is missing or another, all deletions of the
    folder stop. Given again, it records the folder as it is now, and what has left is proved anew.
    """
    logs.configure(-1 if quiet else verbosity)
    from dicomsync import handover, mirror_orders, roots

    config = load(config_file, overrides, {})
    path = os.path.abspath(folder)
    modes = {os.path.abspath(one.path): one.mirror_deletions for one in config.folders}
    if path not in modes:
        raise UsageProblem("This is none of the config's folders; nothing was enrolled.")
    found = roots.place(os.fsencode(path))
    handover.mirrored(config, mirror_orders.Enrol(path, found))
    if not quiet:
        click.echo(f"Enrolled: {os.path.join(path, '.dicomsync-root')} marks it from now on.")
        if modes[path] != "on":
            click.echo(f'Its mirror_deletions is "{modes[path]}": nothing is deleted until that is "on".')


@deletions.command("list", short_help="Each candidate, what it waits for, and when it would go.")
@configured
@click.option("--json", "as_json", is_flag=True, help="Print it for a program; the keys are stable.")
def list_(
    config_file: Path | None, overrides: tuple[str, ...], verbosity: int, quiet: bool, as_json: bool
) -> int:
    """List what left a folder and may be deleted: since when, what it waits for, when it would go.

    Ends with 22 where the deletions of a folder are frozen. This prints paths and UIDs.
    """
    logs.configure(-1 if quiet else verbosity)
    from dicomsync import mirror_report

    found = _told(load(config_file, overrides, {}))
    if as_json:
        click.echo(json.dumps(found))
    elif not quiet:
        click.echo(mirror_report.text(found))
    return DeletionsFrozen.exit_code if any(one["frozen"] for one in found["folders"]) else 0


def _told(config: Config) -> dict[str, Any]:
    from dicomsync import mirror_report, wiring
    from dicomsync.ledger import Reader

    with Reader.open(Path(config.ledger.path)) as reader:
        return mirror_report.told(reader, wiring.deletions_of(config))


@deletions.command(short_help="Let the deletions of a frozen folder go on.")
@click.argument("folder", type=_FOLDER, required=False)
@configured
@click.option("--max-delete", type=click.IntRange(0), metavar="N", help="Only if it is at most so many.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask (needs --max-delete).")
def approve(
    folder: Path | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    max_delete: int | None,
    yes: bool,
) -> None:
    """Let what waits in a frozen FOLDER be deleted after all; says what, and wants the count typed back.

    In scripts, --max-delete N --yes approves at most N. Each is still looked at once more before it goes.
    Ends with 22 where nothing was approved.
    """
    logs.configure(-1 if quiet else verbosity)
    if yes and max_delete is None:
        raise UsageProblem("--yes needs --max-delete N: how many may go at most?")
    from dicomsync import handover, mirror_orders, mirror_report, words

    config = load(config_file, overrides, {})
    chosen = _frozen(_told(config), folder)
    count = len(chosen["candidates"])
    if not quiet or not yes:
        click.echo(mirror_report.to_approve(chosen), err=True)
    if max_delete is not None and count > max_delete:
        what = words.count(count, "instance")
        raise DeletionsFrozen(f"It is {what}, more than --max-delete {max_delete}; nothing was approved.")
    if not yes and click.prompt("How many may be deleted? Type the number", type=int, err=True) != count:
        raise DeletionsFrozen("That is another number; nothing was approved.")
    order = mirror_orders.Approve(chosen["path"], count, chosen["latest"])
    approved, _ = handover.mirrored(config, order)
    if not quiet:
        click.echo(f"{words.count(approved, 'deletion')} approved.")


def _frozen(found: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    """Give the one frozen folder that is meant."""
    frozen: list[dict[str, Any]] = [one for one in found["folders"] if one["frozen"]]
    if folder is not None:
        frozen = [one for one in frozen if one["path"] == os.path.abspath(folder)]
    if not frozen:
        raise UsageProblem("No folder's deletions are frozen, or not this one's; nothing was changed.")
    if len(frozen) > 1:
        raise UsageProblem("Several folders are frozen; nothing was changed.", hint="Name one FOLDER.")
    return frozen[0]


@deletions.command(short_help="Keep instances in the archive whose files left.")
@click.argument("uids", nargs=-1, metavar="[UID]...")
@configured
@click.option("--all", "everything", is_flag=True, help="All that wait.")
def cancel(
    uids: tuple[str, ...],
    config_file: Path | None,
    overrides: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    everything: bool,
) -> None:
    """Let instances stay in the archive, by SOP Instance UID, or all that wait to be deleted."""
    logs.configure(-1 if quiet else verbosity)
    if bool(uids) == everything:
        raise UsageProblem("Which?", hint="Name SOP Instance UIDs (`deletions list`), or give --all.")
    from dicomsync import handover, mirror_orders, words

    order = mirror_orders.Cancel(uids, everything)
    cancelled, _ = handover.mirrored(load(config_file, overrides, {}), order)
    if not quiet:
        click.echo(f"{words.count(cancelled, 'deletion')} cancelled: what it was about stays in the archive.")


@deletions.command(short_help="Store again what was deleted.")
@click.argument("uid")
@configured
def undo(uid: str, config_file: Path | None, overrides: tuple[str, ...], verbosity: int, quiet: bool) -> None:
    """Store an instance again, by SOP Instance UID, from the copy that was kept before it was deleted."""
    logs.configure(-1 if quiet else verbosity)
    from dicomsync import handover, mirror_orders

    _, by_daemon = handover.mirrored(load(config_file, overrides, {}), mirror_orders.Undo(uid))
    if not quiet:
        ahead = "The daemon stores it" if by_daemon else "The next backfill, or the daemon, stores it"
        click.echo(f"{ahead} again.")

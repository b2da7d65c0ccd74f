"""`help`: what a word in a message means, and what to do."""

from __future__ import annotations

import click

from dicomsync.errors import UsageProblem


@click.command()
@click.argument("subject", required=False, metavar="[CODE|COMMAND]")
@click.pass_context
def help(context: click.Context, subject: str | None) -> int:  # noqa: A001 - the command has this name
    """Say what a state, a reason, a code or an exit code means, and what to do; or how a command is used.

    Such as `dicomsync help held`, `help truncated`, `help archive-auth`, `help 73`, `help backfill`. It says
    what the documentation says, at the machine. Without a word it lists all that it knows.
    """
    import textwrap

    from dicomsync import guide

    root = context.find_root()
    if subject is None:
        click.echo("States, reasons, codes and exit codes that have more to be said:\n")
        listed = textwrap.fill(", ".join(guide.known()), width=96, break_on_hyphens=False)
        click.echo(textwrap.indent(listed, "  "))
        return 0
    lines = guide.about(subject)
    command = root.command.get_command(root, subject) if isinstance(root.command, click.Group) else None
    if command is not None:  # some reasons have the name of a command
        lines += ["", *command.get_help(click.Context(command, parent=root, info_name=subject)).splitlines()]
    if not lines:
        raise UsageProblem(
            f"Nothing is known by the name {subject!r}.", hint="`dicomsync help` lists what there is."
        )
    click.echo("\n".join(lines).strip())
    return 0

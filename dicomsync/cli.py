"""The command line: the group of commands, and how every error ends."""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys

import click

from dicomsync import __version__, secrecy
from dicomsync.commands import Commands
from dicomsync.errors import DicomsyncError


def main() -> None:
    """Run the command line; every error ends as a sentence and an exit code, none as a traceback."""
    # Next to no garbage is made in cycles: to look for it after every 700 objects takes a twentieth of all
    # imports, and 3 % of a backfill of small files, which makes 2 MB of it in 10,000.
    gc.set_threshold(10_000, 20, 50)
    atexit.register(gc.freeze)  # or the end looks through all that was imported: a seventh of a `status`
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name need not be text, and must not end it
    try:
        code = cli.main(prog_name="dicomsync", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except DicomsyncError as error:
        click.echo(f"Error: {error.message}", err=True)
        if error.hint:
            click.echo(error.hint, err=True)
        if error.exit_code in LINKED:
            click.echo(f"More: dicomsync help {error.exit_code}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        click.echo(f"Error: something went wrong inside dicomsync ({secrecy.where(error)}).", err=True)
        click.echo(
            "Nothing is lost: what was not recorded as stored is still due. Please report this.", err=True
        )
        sys.exit(1)


LINKED = frozenset({1, 21, 22, 73})
"""The exit codes of errors of which the pages say more than the error itself."""

EXIT_CODES = """\b
Exit codes:
  0   all stored
  1   an error
  2   the command line or the config cannot be used
  5   some instances are still due: try again
  20  finished, but some are held, rejected, missed or in conflict
  21  verify found differences
  22  mirrored deletions of a folder are frozen
  73  the ledger is in use"""


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(__version__, "-V", "--version", message="dicomsync %(version)s")
def cli() -> None:
    """Get every DICOM file from a folder into a DICOMweb archive: complete, once, soon, with proof."""

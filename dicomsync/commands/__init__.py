"""The commands: each parses, calls, prints, and gives its exit code.

Heavy imports wait for the command that needs them.
"""

from __future__ import annotations

from dicomsync.commands.archive import archive
from dicomsync.commands.backfill import backfill
from dicomsync.commands.conflicts import conflicts
from dicomsync.commands.ledger import ledger
from dicomsync.commands.look import explain, status
from dicomsync.commands.prepare import doctor, init
from dicomsync.commands.report import report
from dicomsync.commands.retry import retry
from dicomsync.commands.run import run
from dicomsync.commands.tryout import demo, sandbox
from dicomsync.commands.verify import verify
from dicomsync.commands.watching import metrics, web

__all__ = ["COMMANDS"]

COMMANDS = (
    archive,
    backfill,
    conflicts,
    demo,
    doctor,
    explain,
    init,
    ledger,
    metrics,
    report,
    retry,
    run,
    sandbox,
    status,
    verify,
    web,
)

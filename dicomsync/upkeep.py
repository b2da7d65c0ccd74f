"""The ledger's care that needs the folders or the archive: rebuilding it, and binding it to another URL."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from dicomsync import dicomweb, jobs, service
from dicomsync.config import Config
from dicomsync.engine import Progress
from dicomsync.errors import ArchiveProblem, UsageProblem
from dicomsync.ledger import Ledger
from dicomsync.model import Due, InstanceState
from dicomsync.pacing import Trouble
from dicomsync.rules import Finding
from dicomsync.wiring import archive_of, folders_of, keep_out

SAMPLES = 40
COMPARED = 5
COMPARED_BYTES = 64 * 1024 * 1024  # of each, at most: a sample is to be quick


def rebuild(config: Config, watch: Callable[[Progress], None]) -> tuple[str, service.Report]:
    """Make a new ledger from the configured folders and the archive; nothing is sent.

    Gives where the one before is now ("" if there was none), and how it stands: what the archive has
    was compared and is stored or in conflict; what it does not have is pending. May be broken off: what
    is left is asked about by the next backfill or the daemon, before anything is sent.

    Raises LedgerInUse, LedgerProblem or UsageProblem: then the ledger is as it was.
    """
    path = Path(config.ledger.path)
    keep_out(path, folders_of(config))
    archive_of(config.archive)
    ledger = Ledger.rebuilt(path)
    aside = ledger.doubt.aside if ledger.doubt else ""
    ledger.close()
    return aside, service.backfill(config, stores=False, watch=watch)


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a look at an archive found of a ledger's stored instances."""

    before: str | None  # the URL that the ledger speaks of
    found: int
    compared: int
    stored: int  # all that the ledger calls so


@contextmanager
def rebinding(path: Path, archive: dicomweb.Archive) -> Iterator[tuple[Sampled, Callable[[], None]]]:
    """Look whether the archive at another URL is the one a ledger speaks of; gives what binds it to that.

    Some of what the ledger calls stored must be there, all of it, and a few be the same byte for byte.
    Raises ArchiveProblem where the archive does not answer or is another; then nothing was changed.
    """
    ledger = Ledger.open(path)
    try:
        before = ledger.fact("archive")
        if before == archive.url:
            raise UsageProblem("The ledger speaks of that URL already; nothing was changed.")
        probed = jobs.probe(archive)
        if probed.signal.trouble is not Trouble.NONE:
            raise ArchiveProblem(
                f"The archive there cannot be asked: {probed.signal.words}; nothing was changed.",
                hint=probed.hint,
            )
        luck = random.Random()  # noqa: S311 - a sample, not a secret
        samples = ledger.sample(SAMPLES, luck)
        compared = _compare(replace(archive, kind=probed.kind), samples)
        stored = ledger.count(InstanceState.STORED)

        def bind() -> None:
            with ledger.transaction():
                ledger.set_fact("archive", archive.url)
                ledger.set_fact("archive_kind", probed.kind)
                ledger.remember("archive", 0, "rebound", before or "", time.time())

        yield Sampled(before, len(samples), compared, stored), bind
    finally:
        ledger.close()
        dicomweb.close_clients()


def _compare(archive: dicomweb.Archive, samples: Sequence[Due]) -> int:
    """Find all samples in the archive, and compare a few; gives how many were the same."""
    client = dicomweb.client_for(archive)
    missing = 0
    for study, group in groupby(sorted(samples, key=_study), _study):
        wanted = {one.sop_instance_uid: one.series_instance_uid for one in group}
        missing += len(wanted) - len(client.present(study, wanted))
    if missing:
        raise _another(f"{missing} of {len(samples)} instances that are stored are not there")
    few = [one for one in samples if one.sha256 and one.size_bytes <= COMPARED_BYTES][:COMPARED]
    findings = [jobs.ask(archive, (one,)).found[0].finding for one in few]
    different = findings.count(Finding.DIFFERENT)
    if different:
        raise _another(f"{different} of {len(few)} instances that were compared are not the same")
    if Finding.FAILED in findings or Finding.ABSENT in findings:
        raise _another("an instance that it lists could not be retrieved")
    return findings.count(Finding.EQUAL)


def _another(why: str) -> ArchiveProblem:
    problem = ArchiveProblem(
        f"That is not the archive this ledger speaks of, or not all of it: {why}; nothing was changed.",
        hint="Another archive needs a ledger of its own.",
    )
    problem.exit_code = 1
    return problem


def _study(due: Due) -> str:
    return due.study_instance_uid

"""Folders to archives, by us and by our peers in turn: speed, and our memory and the ledger's share."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks.corpora import Corpus
from benchmarks.goals import GOALS, Finding
from benchmarks.measuring import FailedRun, Runs, Sample, in_turn, median, ratios, run, seconds_of
from benchmarks.senders import DICOMSYNC, OURS, Sender, dicomsync
from benchmarks.servers import Server, Starts
from dicomsync.ledger.opening import read_only

MB = 1e6


def send(sender: Sender, corpus: Corpus, start: Starts, place: Path) -> Sample:
    """Send a corpus to a fresh server; raises FailedRun too if it does not have every instance then."""
    corpus.warm()  # each time: dicomsync lets go of what it has sent
    with tempfile.TemporaryDirectory(dir=place) as home, start() as server:
        sample = run(sender.command(corpus.path, server, Path(home)), sender.environment)
        if (arrived := server.count()) != corpus.files:
            raise FailedRun(f"{sender.name} brought {arrived} of {corpus.files} instances")
        for one in unclear(Path(home) / "ledger.db"):
            print(f"{corpus.name}, in {sample.seconds:.1f} s: {one}", file=sys.stderr, flush=True)
        return sample


def unclear(ledger: Path) -> list[str]:
    """Tell of our requests whose instances were not all stored at once: asking about them takes long."""
    if not ledger.exists():
        return []
    with closing(read_only(ledger)) as database:
        rows = database.execute(
            "SELECT instances, status, outcome FROM batches WHERE outcome <> instances || ' stored'"
        ).fetchall()
    return [f"a request of {instances}, status {status}: {outcome}" for instances, status, outcome in rows]


def contest(
    title: str, corpus: Corpus, start: Starts, peers: Sequence[Sender], rounds: int, place: Path
) -> tuple[list[Finding], Runs]:
    """Have everyone who is installed send a corpus, in turn; who is not, or fails, is named."""
    senders = {one.name: one for one in (DICOMSYNC, *peers)}
    absent = {name: why for name, one in senders.items() if (why := one.missing())}

    def failed(name: str, problem: FailedRun) -> None:
        if name == OURS:
            raise problem
        absent[name] = str(problem)

    runs = in_turn(
        {
            name: partial(send, one, corpus, start, place)
            for name, one in senders.items()
            if name not in absent
        },
        rounds,
        failed,
    )
    findings = [
        Finding(title, name, goal=GOALS.get((title, name)), missing=why) for name, why in absent.items()
    ]
    ours = seconds_of(runs[OURS])
    for name, samples in runs.items():
        if name != OURS:
            found = ratios(seconds_of(samples), ours)
            detail = f"{corpus.files / median(ours):.0f} against "
            detail += f"{corpus.files / median(seconds_of(samples)):.0f} files/s"
            goal = GOALS.get((title, name))
            findings.append(Finding(title, name, median(found), "x", goal, tuple(found), detail))
    return findings, runs


def memory(title: str, samples: Sequence[Sample]) -> Finding:
    """Say the most memory a run of ours took."""
    figures = [one.rss_bytes / MB for one in samples]
    return Finding(title, "", max(figures), "MB", GOALS.get((title, "")), tuple(figures))


def above(title: str, corpus: Corpus, usual: Sequence[Sample], start: Starts, place: Path) -> Finding:
    """Say how much more memory another corpus takes than the usual one did."""
    base = max(one.rss_bytes for one in usual)
    more = (send(DICOMSYNC, corpus, start, place).rss_bytes - base) / MB
    return Finding(title, "", more, "MB", GOALS.get((title, "")), detail=f"{corpus.size_bytes / 1e9:.2f} GB")


def ledger_share(corpora: Sequence[Corpus], start: Starts, rounds: int, place: Path) -> Iterator[Finding]:
    """Say what share of a backfill's processor time its loop spends in the ledger, in percent.

    Of wall time it is more: it waits for the disk and for the interpreter's lock, while others read and send.
    """
    title = "ledger's share of a backfill"
    for corpus in corpora:
        both = [_share(corpus, start, place) for _ in range(rounds)]
        shares = [share for _, share in both]
        detail = f"{median([share for share, _ in both]):.1f} % of wall time"
        name = corpus.name.partition("-")[0]
        yield Finding(title, name, median(shares), "%", GOALS.get((title, name)), tuple(shares), detail)


def _share(corpus: Corpus, start: Starts, place: Path) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(dir=place) as home:
        report = Path(home) / "report"

        def command(folder: Path, server: Server, kept: Path) -> list[str]:
            words = dicomsync(folder, server, kept)[3:]
            return [sys.executable, "-m", "benchmarks.ledger_share", str(report), *words]

        send(Sender(OURS, command), corpus, start, place)
        ledger, process, ledger_cpu, process_cpu = map(float, report.read_text().split())
        return 100 * ledger / process, 100 * ledger_cpu / process_cpu


def kept_rate(corpus: Corpus, start: Starts, place: Path) -> Finding:
    """Say by how much a limit of bandwidth is missed, in percent of it; start and end of the run left out.

    The rate is such that it takes ten seconds.
    """
    kib = corpus.size_bytes // 10 // 1024

    def slowly(folder: Path, server: Server, kept: Path) -> list[str]:
        return [*dicomsync(folder, server, kept), "--bwlimit", str(kib)]

    with tempfile.TemporaryDirectory(dir=place) as nothing:
        empty = Corpus("nothing", Path(nothing), 0, 0)
        rest = send(DICOMSYNC, empty, start, place).seconds
        seconds = send(Sender(OURS, slowly), corpus, start, place).seconds - rest
    off = 100 * abs(corpus.size_bytes / seconds / (kib * 1024) - 1)
    title = "--bwlimit, off its rate"
    return Finding(title, "", off, "%", GOALS.get((title, "")), detail=f"{kib / 1024:.1f} MiB/s")

"""How much is measured: profiles, and the sections that they fill. A section that fails stops no other."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import (
    adapting,
    arrivals,
    commands,
    header,
    latency,
    ledger,
    senders,
    servers,
    trees,
    uploads,
)
from benchmarks.corpora import Corpus, Shelf
from benchmarks.goals import Finding
from benchmarks.measuring import FailedRun, percentile
from dicomsync.ledger import Ledger, Reader
from tests import orthanc


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How many of everything; without multi-frame files only CT and MR are sent."""

    name: str
    rounds: int
    orthanc_rounds: int
    ct_files: int
    mr_files: int
    adapting_files: int
    multiframe_files: int
    multiframe_frames: int
    mixed_files: int
    big_files: int
    big_frames: int
    tree_files: int
    tree_directories: int
    tree_sizes: tuple[int, ...]
    header_files: int
    latency_studies: int
    backlog_files: int
    burst_files: int
    ledger_instances: int


QUICK = Profile(
    name="quick",
    rounds=3,
    orthanc_rounds=2,
    ct_files=400,
    mr_files=2_000,
    adapting_files=1_000,
    multiframe_files=0,
    multiframe_frames=0,
    mixed_files=0,
    big_files=1,
    big_frames=400,
    tree_files=20_000,
    tree_directories=200,
    tree_sizes=(5_000, 20_000),
    header_files=500,
    latency_studies=15,
    backlog_files=2_000,
    burst_files=2_000,
    ledger_instances=50_000,
)
FULL = Profile(
    name="full",
    rounds=5,
    orthanc_rounds=3,
    ct_files=2_000,
    mr_files=10_000,
    adapting_files=2_000,
    multiframe_files=20,
    multiframe_frames=100,
    mixed_files=3_000,
    big_files=4,
    big_frames=1_000,
    tree_files=200_000,
    tree_directories=2_000,
    tree_sizes=(10_000, 100_000, 1_000_000),
    header_files=2_000,
    latency_studies=100,
    backlog_files=12_000,
    burst_files=50_000,
    ledger_instances=1_000_000,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and on what a profile is measured."""

    profile: Profile
    shelf: Shelf
    place: Path
    seed: int

    def corpora(self) -> tuple[Corpus, ...]:
        """What is sent to archives."""
        profile, shelf = self.profile, self.shelf
        usual = (shelf.ct(profile.ct_files), shelf.mr(profile.mr_files))
        if not profile.multiframe_files:
            return usual
        multiframe = shelf.multiframe(profile.multiframe_files, profile.multiframe_frames)
        return (*usual, multiframe, shelf.mixed(profile.mixed_files))

    def startup(self) -> Iterator[Finding]:
        """How soon a command answers."""
        yield from commands.startup(2 * self.profile.rounds + 1, self.place)

    def header(self) -> Iterator[Finding]:
        """Headers, against pydicom."""
        yield header.finding(self.profile.header_files, self.profile.rounds, self.seed)

    def ledger(self) -> Iterator[Finding]:
        """What the loop asks of a large ledger, alone."""
        with tempfile.TemporaryDirectory(dir=self.place) as home:
            path = Path(home) / "ledger.db"
            written = Ledger.open(path)
            instances = self.profile.ledger_instances
            ledger.build(written, instances)
            reader = Reader.open(path)
            asked = ledger.questions(written, reader, instances, random.Random(self.seed))
            for name in ledger.OF_THE_LOOP:
                times = list(ledger.timed(asked[name], 200))
                yield Finding(f"ledger of {instances:,}, p95", name, percentile(times, 0.95), "ms")
            reader.close()
            written.close()

    def scan(self) -> Iterator[Finding]:
        """A look at an unchanged tree."""
        profile = self.profile
        tree = self.shelf.tree(profile.tree_files, profile.tree_directories)
        yield from commands.rescan(tree, servers.sink, profile.rounds, self.place)

    def trees(self) -> Iterator[Finding]:
        """What a folder costs as it grows."""
        yield from trees.findings(self.profile.tree_sizes, self.place)

    def sink(self) -> Iterator[Finding]:
        """As fast as an archive could ever be: only the sender's own cost counts."""
        peers = (
            senders.LIMIT,
            senders.DICOMWEB_CLIENT,
            senders.ONE_BY_ONE,
            senders.ALL_AT_ONCE,
            senders.CURL,
        )
        usual = None
        for corpus in self.corpora():
            title = f"{_short(corpus)} to the sink"
            found, runs = uploads.contest(title, corpus, servers.sink, peers, self.profile.rounds, self.place)
            yield from found
            if usual is None:
                usual = runs[senders.OURS]
                yield uploads.memory(f"backfill of {_short(corpus)}, memory", usual)
        assert usual is not None
        big = self.shelf.multiframe(self.profile.big_files, self.profile.big_frames)
        yield uploads.above("2 GB study above ct's memory", big, usual, servers.sink, self.place)
        few = self.corpora()[:2]
        yield uploads.kept_rate(few[0], servers.sink, self.place)
        yield from uploads.ledger_share(few, servers.sink, self.profile.rounds, self.place)

    def orthanc(self) -> Iterator[Finding]:
        """A real archive, which is what most of the time goes into."""
        if why := orthanc.missing():
            yield Finding("anything to orthanc", "", missing=why)
            return
        peers = (
            senders.LIMIT_ABREAST,
            senders.DCMSEND,
            senders.STORESCU,
            senders.DICOMWEB_CLIENT,
            senders.CURL,
        )
        start = servers.orthanc(self.place)
        for corpus in self.corpora():
            title = f"{_short(corpus)} to orthanc"
            yield from uploads.contest(title, corpus, start, peers, self.profile.orthanc_rounds, self.place)[
                0
            ]

    def adapting(self) -> Iterator[Finding]:
        """Requests at a time as the archive takes them, without a person's finding out."""
        profile, shelf = self.profile, self.shelf
        ct, one = shelf.ct(profile.adapting_files), shelf.mr(profile.mr_files, 1)
        ten = shelf.mr(profile.mr_files, 10)
        starts: dict[str, servers.Starts] = {"the sink": servers.sink}
        for name, line in adapting.LINES.items():
            title = f"the sink {name}, adapting"
            start = adapting.over(line, servers.sink)
            yield adapting.against_fixed(title, ct, start, profile.orthanc_rounds, self.place)
        if why := orthanc.missing():
            yield Finding("orthanc, adapting", "the best fixed number", missing=why)
        else:
            starts["orthanc"] = servers.orthanc(self.place)
            yield adapting.against_fixed(
                "orthanc, adapting", ct, starts["orthanc"], profile.orthanc_rounds, self.place
            )
        for name, start in starts.items():
            title = f"one study to {name}"
            yield adapting.one_study(title, one, ten, start, profile.orthanc_rounds, self.place)

    def latency(self) -> Iterator[Finding]:
        """From the last byte written to stored, beyond what settling asks for."""
        for name in ("sink", "orthanc"):
            if name == "orthanc" and (why := orthanc.missing()):
                yield Finding("to visible, p95", name, missing=why)
                continue
            yield from latency.findings(
                name, self.profile.latency_studies, self.profile.backlog_files, self.seed
            )

    def burst(self) -> Iterator[Finding]:
        """Many files at once."""
        yield from arrivals.findings(self.profile.burst_files, self.place, self.seed)


SECTIONS: dict[str, Callable[[Bench], Iterator[Finding]]] = {
    "startup": Bench.startup,
    "header": Bench.header,
    "ledger": Bench.ledger,
    "scan": Bench.scan,
    "trees": Bench.trees,
    "sink": Bench.sink,
    "orthanc": Bench.orthanc,
    "adapting": Bench.adapting,
    "latency": Bench.latency,
    "burst": Bench.burst,
}


def measured(name: str, bench: Bench) -> Iterator[Finding]:
    """Measure one section; what could not be is a finding that says so."""
    try:
        yield from SECTIONS[name](bench)
    except FailedRun as problem:
        yield Finding(f"the rest of {name}", "", missing=str(problem))


def _short(corpus: Corpus) -> str:
    return corpus.name.partition("-")[0]


def machine() -> dict[str, str]:
    """Say what it is measured on."""
    import platform

    from dicomsync import __version__

    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "dicomsync": __version__,
        "processors": f"{os.cpu_count()} x {cpu}",
        "memory": f"{memory / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": f"{os.getloadavg()[0]:.1f} when it began",
    }

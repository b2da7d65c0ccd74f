"""kill -9 at every named point, twice: afterwards all is stored, and nothing was sent again unasked."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dicomsync.samples import uid, write_studies

from . import accounts
from .conftest import AnyArchive, by_uid
from .faultproxy import Act, Fault, FaultProxy, Way
from .killpoints import POINTS, dying_at
from .recording_proxy import RecordingProxy
from .test_daemon import Site, until

INSTANCES = 3
LOST_ANSWERS = ("K10", "K11")  # there the archive stores, and its answer does not arrive

# What the ledger has to say when the process has died there for the first time
FILES = {"K1": set(), "K2": {"settling"}}
INSTANCES_THEN = {
    "K1": set(),
    "K2": set(),
    "K3": {"pending"},
    "K4": {"pending"},
    "K10": {"unconfirmed"},
    "K11": {"unconfirmed"},
    "K12": {"stored"},
}  # all others: sending


class Life:
    """A site between a folder and an archive, on a network that is recorded and can lose answers."""

    def __init__(self, home: Path, archive: AnyArchive, stack: ExitStack) -> None:
        self.archive = archive
        self.proxy = stack.enter_context(RecordingProxy(archive.url))
        self.network = stack.enter_context(FaultProxy(self.proxy.url))
        self.site = Site(home, self.network)
        self.site.configure("[upload]\ntransfers = 1")
        self.written: dict[str, bytes] = {}
        self.studies = 0

    def study_comes(self) -> None:
        """Write one more study, each file under another name first."""
        self.studies += 1
        elsewhere = self.site.home / "elsewhere" / str(self.studies)
        paths = write_studies(
            elsewhere, studies=1, series=1, instances=INSTANCES, rows=16, columns=16, seed=self.studies
        )
        self.written |= by_uid(paths)
        elsewhere.rename(self.site.folder / str(self.studies))

    @property
    def places(self) -> dict[str, tuple[str, str]]:
        return {
            uid(seed, 0, 0, place): (uid(seed, 0), uid(seed, 0, 0))
            for seed in range(1, self.studies + 1)
            for place in range(INSTANCES)
        }

    def dies(self, point: str, passage: int) -> None:
        """Start a daemon that dies as it comes by this point so many times; studies come until it has."""
        self.site.prelude = dying_at(point, passage)
        self.site.start()
        process = self.site.process
        assert process is not None

        def more() -> bool:
            if process.poll() is None and passage > 1 and self.known() == len(self.written):
                self.study_comes()
            return process.poll() is not None

        until(more, 40)
        assert process.returncode == -signal.SIGKILL, self.site.said()
        # What was on the way when it died the archive has now, or never will
        until(lambda: self.network.quiet and self.proxy.quiet)

    def known(self) -> int:
        return sum(accounts.states(self.site.ledger).values())

    def lives(self) -> None:
        """Start a daemon that is left alone, until everything is stored."""
        self.site.prelude = ""
        self.site.start()
        until(lambda: accounts.states(self.site.ledger) == {"stored": len(self.written)}, 60)


CASES = [
    *(pytest.param("sandbox", point, id=f"sandbox {point} {POINTS[point]}") for point in POINTS),
    *(
        pytest.param("orthanc", point, id=f"orthanc {point} {POINTS[point]}", marks=pytest.mark.orthanc)
        for point in list(POINTS)[4:]  # before that no archive has been told of anything
    ),
]


@pytest.fixture
def life(tmp_path: Path, archive: AnyArchive) -> Iterator[Life]:
    with ExitStack() as stack:
        one = Life(tmp_path, archive, stack)
        yield one
        if one.site.process is not None and one.site.process.poll() is None:
            one.site.process.kill()
            one.site.process.wait()
        one.site.socket.close()


@pytest.mark.parametrize(("archive", "point"), CASES, indirect=["archive"])
def test_killed_there_twice_it_stores_everything_and_nothing_twice(point: str, life: Life) -> None:
    if point in LOST_ANSWERS:
        life.network.faults = [Fault(Act.RESET, Way.ANSWER, at=0, head=True, times=1000)]
    life.study_comes()
    life.dies(point, 1)
    ledger = life.site.ledger
    assert set(accounts.states(ledger)) == INSTANCES_THEN.get(point, {"sending"})
    assert set(accounts.states(ledger, "files")) == FILES.get(point, {"ready"})
    stores = life.proxy.stores
    assert len(stores) == (0 if point in ("K1", "K2", "K3", "K4", "K5") else 1), "intent before effect"
    assert all(one.whole == (point not in ("K6", "K7")) for one in stores)

    life.study_comes()
    life.dies(point, 2)
    life.network.faults = []
    life.study_comes()
    life.lives()

    accounts.agree(ledger, life.archive, life.written)
    assert set(life.proxy.given_whole().values()) == {1}
    assert life.proxy.twice_in_flight() == set()
    assert life.proxy.sent_again_unasked(life.places, looks=2) == set()

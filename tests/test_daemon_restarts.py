"""A daemon that dies again and again: it does not hammer the archive, and sends nothing twice."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from dicomsync import samples
from dicomsync.samples import write_ct_files, write_studies

from .recording_proxy import RecordingProxy
from .test_daemon import Site, opened, until

DEATHS = 10
COUNT, STUDIES, TRANSFERS = 40, 10, 4


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with opened(tmp_path) as one:
        yield one


def kill(site: Site) -> None:
    site.tell(signal.SIGKILL)
    site.ends()


def start(site: Site) -> None:
    site.told.clear()
    site.start()
    site.ready()


def until_more(things: Sequence[object], before: int) -> None:
    until(lambda: len(things) > before)


def test_killed_ten_times_while_it_stores_it_gives_no_instance_twice_and_asks_little(site: Site) -> None:
    luck = random.Random(5)
    instances = {
        samples.uid(0, "ct", study, 0, number): (samples.uid(0, "ct", study), samples.uid(0, "ct", study, 0))
        for number in range(COUNT)
        for study in [number * STUDIES // COUNT]
    }
    write_ct_files(site.folder, count=COUNT, studies=STUDIES, size=256)
    site.archive.set_faults(["stall=0.3"])
    with RecordingProxy(site.archive.url) as proxy:
        site.archive.url = proxy.url
        site.configure("[upload]\ntransfers = 4", folder='full_scan_interval = "1h"')
        for _ in range(DEATHS):
            before = len(proxy.exchanges)
            start(site)
            until_more(proxy.exchanges, before)
            time.sleep(luck.uniform(0, 1.2))
            kill(site)
            until(lambda: proxy.quiet)
        start(site)
        until(lambda: site.stored() == COUNT, 60)
        assert set(proxy.given_whole().values()) == {1}
        assert proxy.twice_in_flight() == set()
        assert proxy.sent_again_unasked(instances, looks=2) == set()
        kill(site)
        done = len(proxy.exchanges)
        for _ in range(3):
            before = len(proxy.exchanges)
            start(site)
            until_more(proxy.exchanges, before)
            time.sleep(0.5)
            kill(site)
        assert len(proxy.exchanges) - done <= 3 * 3, "where nothing is due, only whether it is there"


@contextmanager
def dead_archive() -> Iterator[tuple[str, list[float]]]:
    """An archive that closes each connection at once; gives its URL, and when it was connected to."""
    times: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    times.append(time.monotonic())
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v2", times
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_killed_ten_times_while_the_archive_is_down_it_knocks_a_few_times_at_each_start(site: Site) -> None:
    write_studies(site.folder, studies=5, series=1, instances=2, rows=8, columns=8)
    with dead_archive() as (url, knocks):
        site.archive.url = url
        site.configure()
        per_start = []
        for _ in range(DEATHS):
            already = len(knocks)
            start(site)
            until_more(knocks, already)
            time.sleep(1)
            kill(site)
            per_start.append(len(knocks) - already)
    assert max(per_start) <= 8, "the short retries of a probe or two"

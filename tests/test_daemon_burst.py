"""Twenty thousand files at once, and a watcher that loses count of them: nothing is lost."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomsync.samples import write_ct_files

from .test_daemon import Site, opened, until, watches

COUNT, STUDIES = 20_000, 40
QUEUED_EVENTS = Path("/proc/sys/fs/inotify/max_queued_events")
MOST_MEMORY_KIB = 200_000
OVERFLOWS = """
from dicomsync.watch.hints import Hints
everywhere = Hints.everywhere
def counted(self):
    print("hints were lost", flush=True)
    everywhere(self)
Hints.everywhere = counted
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with opened(tmp_path, OVERFLOWS) as one:
        yield one


def peak_kib(site: Site) -> int:
    """Say how much memory the daemon has had at most."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{site.pid}/status").read_text())
    assert found is not None
    return int(found[1])


@pytest.mark.watcher
@pytest.mark.timeout(300)
def test_a_burst_that_overflows_the_watcher_is_stored_to_the_last_file_in_bounded_memory(
    site: Site,
) -> None:
    if int(QUEUED_EVENTS.read_text()) >= COUNT:
        pytest.skip("this system queues more events than there are files")
    site.configure(folder='watch = "events"\nfull_scan_interval = "1h"')
    site.config.write_text(
        site.config.read_text().replace('scan_interval = "0.2s"', 'scan_interval = "1h"', 1)
    )
    for study in range(1, STUDIES + 1):
        (site.folder / f"study{study}").mkdir()
    site.start()
    site.ready()
    until(lambda: watches(site.pid) == STUDIES + 1)
    site.tell(signal.SIGSTOP)
    write_ct_files(site.folder, count=COUNT, studies=STUDIES, size=8)
    assert "hints were lost" not in site.said()
    site.tell(signal.SIGCONT)
    until(lambda: "hints were lost" in site.said(), 60)
    until(lambda: site.stored() == COUNT, 200)
    assert len(site.archive.stored()) == COUNT
    assert peak_kib(site) < MOST_MEMORY_KIB

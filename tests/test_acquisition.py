"""A day at the scanner, in a minute: studies arrive interleaved while archive and network fail."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from dicomsync.samples import instance, retold, uid

from .orthanc import Orthanc
from .recording_proxy import RecordingProxy
from .test_daemon import Site, until

STUDIES, SERIES, INSTANCES = 20, 3, 40


class Generator(threading.Thread):
    """Writes studies as modalities do: interleaved, some files slowly, some under another name first."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.written: dict[str, bytes] = {}
        self.places: dict[str, tuple[str, str]] = {}
        self.last_write: dict[str, float] = {}
        self.gate = threading.Semaphore(0)
        self._template = instance(study_uid=uid("t"), series_uid=uid("t", 0), sop_uid=uid("t", 0, 0))

    @property
    def total(self) -> int:
        return STUDIES * SERIES * INSTANCES

    def run(self) -> None:
        luck = random.Random(3)
        order = [
            (study, series, number)
            for study in range(STUDIES)
            for series in range(SERIES)
            for number in range(INSTANCES)
        ]
        luck.shuffle(order)
        for count, (study, series, number) in enumerate(order):
            if count % (self.total // 4) == 0:
                self.gate.acquire()
            place = (uid("a", study), uid("a", study, series), uid("a", study, series, number))
            old = (uid("t"), uid("t", 0), uid("t", 0, 0))
            data = retold(self._template, dict(zip(old, place, strict=True)))
            path = self.folder / f"study{study}" / f"series{series}" / f"{number:04}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write(path, data, luck.random())
            self.written[place[2]], self.places[place[2]] = data, place[:2]
            self.last_write[place[2]] = time.time()

    @staticmethod
    def _write(path: Path, data: bytes, luck: float) -> None:
        if luck < 0.3:
            part = path.with_suffix(".part")
            part.write_bytes(data)
            part.rename(path)
        elif luck < 0.4:
            with path.open("wb", 0) as file:  # a writer that takes its time
                file.write(data[:1000])
                time.sleep(0.01)
                file.write(data[1000:])
        else:
            path.write_bytes(data)


@pytest.mark.orthanc
@pytest.mark.timeout(600)
def test_generator_ledger_status_and_orthanc_agree_to_the_instance(
    tmp_path: Path, own_orthanc: Orthanc, capsys: pytest.CaptureFixture[str]
) -> None:
    with RecordingProxy(own_orthanc.url) as proxy:
        site = Site(tmp_path, proxy)
        site.configure(folder='full_scan_interval = "3s"')
        generator = Generator(site.folder)
        site.start()
        try:
            site.ready()
            generator.start()
            generator.gate.release()
            until(lambda: own_orthanc.count() > 50, 120)
            own_orthanc.stop()  # restarted in order, with requests on their way
            generator.gate.release()
            own_orthanc.start()
            proxy.hold(at_byte=0)  # and the network cuts every connection there is
            until(proxy.held.is_set, 120)
            proxy.release(drop=True)
            until(lambda: proxy.quiet)
            proxy.release()
            generator.gate.release()
            until(lambda: own_orthanc.count() > 600, 240)
            own_orthanc.kill()  # and once without any order
            own_orthanc.start()
            generator.gate.release()
            until(lambda: not generator.is_alive(), 120)
            until(lambda: site.stored() == generator.total, 300)
        finally:
            if site.process is not None:
                site.process.kill()
                site.process.wait()
            site.socket.close()
        assert own_orthanc.stored() == generator.written
        assert proxy.twice_in_flight() == set()
        with capsys.disabled():
            print(f"\nlast write to stored, less settle and quiet: {_waits(site, generator)}")


def _waits(site: Site, generator: Generator) -> str:
    """Say how long instances took, outages among them."""
    with sqlite3.connect(site.ledger) as database:
        rows = database.execute("SELECT sop_instance_uid, stored_at FROM instances").fetchall()
    database.close()
    waits = sorted(max(0.0, stored - generator.last_write[sop] - 0.2) for sop, stored in rows)
    middle, late = waits[len(waits) // 2], waits[int(len(waits) * 0.95)]
    return f"median {middle:.2f} s, p95 {late:.2f} s, worst {waits[-1]:.1f} s ({os.cpu_count()} processors)"

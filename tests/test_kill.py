"""The process dies, or is told to stop, in the middle of an upload: nothing is lost, nothing sent twice."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from dicomsync import samples, sandbox
from tests.conftest import AnyArchive, Site, by_uid, eventually, finished, same_from_128, small, uid_of
from tests.recording_proxy import RecordingProxy
from tests.test_sandbox_support import JSON, PLAIN, STORE, related

COUNT, STUDIES, A_BATCH = 24, 2, 6
PART_BYTES = 131_072 + 2_000  # about what one file is

LOST, ARRIVES = True, False  # what the buffers of a dead machine, or of a dead process, still held

MOMENTS: dict[str, tuple[Callable[[RecordingProxy], None], bool]] = {
    "with nothing but the head gone": (lambda proxy: proxy.hold(0), LOST),
    "after the first byte": (lambda proxy: proxy.hold(1), ARRIVES),
    "inside the first file": (lambda proxy: proxy.hold(70_000), LOST),
    "inside a later batch": (lambda proxy: proxy.hold(2 * A_BATCH * PART_BYTES + 60_000), ARRIVES),
    "before the last byte": (lambda proxy: proxy.hold(last_byte=True), ARRIVES),
    "before the last byte, which is lost": (lambda proxy: proxy.hold(last_byte=True), LOST),
    "stored, and not yet answered": (lambda proxy: proxy.hold(answer=True), LOST),
}


@pytest.fixture
def files(site: Site) -> list[Path]:
    return samples.write_ct_files(site.folder, count=COUNT, studies=STUDIES, size=256)


@pytest.fixture
def instances() -> dict[str, tuple[str, str]]:
    """The SOP Instance UIDs of the files, with their study and series."""
    found = {}
    for number in range(COUNT):
        study = number * STUDIES // COUNT
        found[samples.uid(0, "ct", study, 0, number)] = (
            samples.uid(0, "ct", study),
            samples.uid(0, "ct", study, 0),
        )
    return found


@pytest.fixture
def proxy(archive: AnyArchive, site: Site) -> Iterator[RecordingProxy]:
    with RecordingProxy(archive.url) as proxy:
        site.configure(proxy.url, batch={"max_instances": A_BATCH}, upload={"transfers": 2})
        yield proxy


def post(url: str, *contents: bytes) -> None:
    httpx.post(f"{url}/studies", content=related(*contents), headers=STORE, **PLAIN)


def test_the_proxy_sees_what_it_is_there_to_see(site: Site, sandboxed: sandbox.Archive) -> None:
    one, other = small("1"), small("2")
    names = {uid_of(content): (samples.uid("s"), samples.uid("s", "1")) for content in (one, other)}
    with RecordingProxy(sandboxed.url) as proxy, ThreadPoolExecutor(3) as pool:
        post(proxy.url, one, other)
        assert [set(store.in_flight) for store in proxy.stores] == [set(names)]
        assert proxy.given_whole() == dict.fromkeys(names, 1)
        assert proxy.sent_again_unasked(names) == set()
        post(proxy.url, one)
        assert proxy.sent_again_unasked(names) == {uid_of(one)}
        study, series = names[uid_of(other)]
        for path in (f"studies/{study}/instances", f"series/{series}/instances"):
            httpx.get(f"{proxy.url}/{path}", headers={"accept": JSON}, **PLAIN)
        post(proxy.url, other)
        assert proxy.sent_again_unasked(names, looks=1) == {uid_of(one)}
        assert proxy.sent_again_unasked(names, looks=2) == set(names)
        assert proxy.twice_in_flight() == set()
        proxy.hold(last_byte=True)
        late = [pool.submit(post, proxy.url, content) for content in (one, one, other)]
        eventually(lambda: len([store for store in proxy.stores if store.in_flight]) == 6)
        proxy.release()
        for future in late:
            future.result()
        assert proxy.twice_in_flight() == {uid_of(one)}


def strike(site: Site, proxy: RecordingProxy, *arguments: str) -> subprocess.Popen[str]:
    """Start a backfill and wait until it is where the proxy holds it."""
    return struck(site.start_backfill(*arguments), proxy)


def struck(process: subprocess.Popen[str], proxy: RecordingProxy) -> subprocess.Popen[str]:
    """Wait until a process is where the proxy holds it."""
    eventually(lambda: proxy.held.is_set() or process.poll() is not None)
    assert process.poll() is None, finished(process)
    return process


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_in_the_middle_of_an_upload_it_stores_everything_and_nothing_twice(
    moment: str,
    archive: AnyArchive,
    site: Site,
    files: list[Path],
    proxy: RecordingProxy,
    instances: dict[str, tuple[str, str]],
) -> None:
    hold, lost = MOMENTS[moment]
    hold(proxy)
    process = strike(site, proxy)
    process.kill()
    process.wait()
    assert site.instances().get("sending"), "the intent was on record before the first byte"
    proxy.release(drop=lost)
    eventually(lambda: proxy.quiet)
    proxy.release()
    assert any(one.cut for one in proxy.stores)

    done = site.run_backfill("--set", "archive.confirm_wait=0.3s")

    assert done.code == 0, done
    assert same_from_128(archive.stored(), by_uid(files))
    assert archive.count() == COUNT
    assert site.instances() == {"stored": COUNT}
    assert site.files() == {"ready": COUNT}
    assert proxy.twice_in_flight() == set()
    assert proxy.sent_again_unasked(instances, looks=2) == set()
    assert set(proxy.given_whole().values()) == {1}, "what the archive got whole was not sent again"


def test_killed_again_and_again_it_gets_there_in_the_end(
    archive: AnyArchive,
    site: Site,
    files: list[Path],
    proxy: RecordingProxy,
    instances: dict[str, tuple[str, str]],
) -> None:
    for number in range(3):
        proxy.hold(300_000 + number * 500_000)
        process = strike(site, proxy, "--set", "archive.confirm_wait=0.1s")
        process.kill()
        process.wait()
        proxy.release(drop=True)
        eventually(lambda: proxy.quiet)
        proxy.release()
    assert site.run_backfill("--set", "archive.confirm_wait=0.1s").code == 0
    assert same_from_128(archive.stored(), by_uid(files))
    assert site.instances() == {"stored": COUNT}
    assert proxy.twice_in_flight() == set()
    assert proxy.sent_again_unasked(instances, looks=2) == set()


def test_told_to_stop_it_finishes_what_is_on_its_way_and_leaves_the_rest_due(
    archive: AnyArchive, site: Site, files: list[Path], proxy: RecordingProxy
) -> None:
    proxy.hold(PART_BYTES)
    process = strike(site, proxy)
    process.send_signal(signal.SIGTERM)
    proxy.release()
    done = finished(process, within=10)
    assert done.code == 5, done
    assert "stopped by a signal" in done.out
    stored = archive.count()
    assert 0 < stored <= 2 * A_BATCH, "no new batch was begun"
    assert site.instances() == {"stored": stored, "pending": COUNT - stored}
    assert f"{COUNT - stored} files still due" in done.out
    assert site.run_backfill().code == 0
    assert same_from_128(archive.stored(), by_uid(files))
    assert set(proxy.given_whole().values()) == {1}


def test_told_to_stop_while_nothing_moves_it_ends_within_its_bound(
    site: Site, files: list[Path], sandboxed: sandbox.Archive, instances: dict[str, tuple[str, str]]
) -> None:
    with RecordingProxy(sandboxed.url) as proxy:
        site.configure(proxy.url, batch={"max_instances": A_BATCH}, upload={"transfers": 2})
        proxy.hold(PART_BYTES)
        code = (
            "from dicomsync import cli, service; assert service.DRAIN_SECONDS <= 30; "
            "service.DRAIN_SECONDS = 1; cli.main()"
        )
        process = struck(site.start_python(code, "backfill", "-c", site.config_file), proxy)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        done = finished(process, within=20)
        assert time.monotonic() - began < 5
        assert done.code == 5, done
        assert "Traceback" not in done.err
        counts = site.instances()
        assert sum(counts.values()) == COUNT
        assert counts.get("sending"), "what was on its way is asked about by the next run"
        proxy.release(drop=True)
        eventually(lambda: proxy.quiet)
        proxy.release()
        assert site.run_backfill().code == 0
        assert site.instances() == {"stored": COUNT}
        assert proxy.twice_in_flight() == set()
        assert proxy.sent_again_unasked(instances, looks=2) == set()


def test_a_second_signal_ends_it_at_once(site: Site, files: list[Path], sandboxed: sandbox.Archive) -> None:
    with RecordingProxy(sandboxed.url) as proxy:
        site.configure(proxy.url)
        proxy.hold(PART_BYTES)
        process = strike(site, proxy)
        process.send_signal(signal.SIGINT)
        end = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < end:
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        assert finished(process, within=1).code != 0
        assert sum(site.instances().values()) == COUNT


def test_a_second_process_on_the_same_ledger_does_nothing_at_all(
    site: Site, files: list[Path], proxy: RecordingProxy
) -> None:
    proxy.hold(PART_BYTES)
    first = strike(site, proxy, "--transfers", "1")
    asked = len(proxy.exchanges)
    second = site.run_backfill(within=10)
    assert second.code == 73
    assert "in use" in second.err
    assert len(proxy.exchanges) == asked
    proxy.release()
    assert finished(first).code == 0
    assert site.instances() == {"stored": COUNT}
    assert set(proxy.given_whole().values()) == {1}

"""Uploads are held to a rate, or to the timetable of the day, all of them together."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from benchmarks import servers
from dicomsync.bwlimit import timetable
from dicomsync.dicomweb import Archive, BytesPart, client_for, close_clients
from dicomsync.dicomweb.throttle import Throttle, rate_at
from dicomsync.samples import write_ct_files


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10M", ((0, 10 * 2**20),)),
        ("1.5m", ((0, 3 * 2**19),)),
        ("512", ((0, 512 * 2**10),)),  # as for rclone, a bare number is KiB
        (512, ((0, 512 * 2**10),)),
        ("2048b", ((0, 2048),)),
        ("off", ()),
        ("0", ()),
        ("08:00,off 20:00,0", ()),
        ("19:00,off 8:00,512k", ((480, 512 * 2**10), (1140, 0))),
        ("23:59,1G", ((1439, 2**30),)),
    ],
    ids=str,
)
def test_a_rate_and_a_timetable_are_read_as_rclone_writes_them(text: object, expected: object) -> None:
    assert timetable(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        " ",
        "fast",
        "-1",
        "10X",
        "1b",
        "nan",
        "inf",
        "10M:1M",
        "24:00,1M",
        "8:60,1M",
        "8:00",
        "8:00,",
        "8:00 1M",
        "Mon-08:00,1M",
        "8:00,1M 08:00,2M",
        "10M 20M",
        "true",
        "99999999999999999999G",
    ],
)
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|two rates"):
        timetable(text)


@pytest.mark.parametrize(
    ("minute", "expected"), [(0, 7), (479, 7), (480, 5), (1139, 5), (1140, 0), (1200, 7), (1439, 7)]
)
def test_each_entry_lasts_until_the_next_and_the_last_one_over_midnight(minute: int, expected: int) -> None:
    assert rate_at(((480, 5), (1140, 0), (1200, 7)), minute) == expected


class Clock:
    """A clock that only moves when somebody sleeps, or works."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def test_what_is_sent_takes_as_long_as_the_rate_says_however_it_is_cut() -> None:
    for size in (100, 5_000, 40_000, 1_000_000):
        clock = Clock()
        throttle = Throttle(((0, 100_000),), now=clock, sleep=clock.sleep, minute=lambda: 0)
        chunks = [b"x" * size] * (1_000_000 // size)
        pieces = [piece for chunk in chunks for piece, _ in throttle.slowed(chunk)]
        assert b"".join(pieces) == b"".join(chunks)
        assert max(map(len, pieces)) <= 5_000  # never more than a twentieth of a second's worth
        assert 9.8 < clock.at - 1000.0 < 10.0


def test_time_that_was_not_used_is_not_made_up_for() -> None:
    clock = Clock()
    throttle = Throttle(((0, 100_000),), now=clock, sleep=clock.sleep, minute=lambda: 0)
    list(throttle.slowed(b"x" * 1000))
    clock.at += 3600.0
    list(throttle.slowed(b"x" * 100_000))
    assert 0.8 < clock.at - 4600.0 < 1.1


def test_a_rate_that_changes_does_so_within_a_chunk() -> None:
    clock = Clock()
    throttle = Throttle(
        ((0, 100_000), (1, 0)), now=clock, sleep=clock.sleep, minute=lambda: int(clock.at >= 1005.0)
    )
    list(throttle.slowed(b"x" * 10_000_000))
    assert 4.8 < clock.at - 1000.0 < 5.3


def test_without_a_limit_a_chunk_is_handed_on_as_it_is() -> None:
    chunk = b"x" * 1_000_000
    ((piece, held_seconds),) = Throttle(()).slowed(chunk)
    assert piece is chunk
    assert held_seconds == 0.0


def test_several_threads_share_one_rate() -> None:
    throttle = Throttle(((0, 2_000_000),))
    chunk = b"x" * 250_000
    threads = [threading.Thread(target=lambda: list(throttle.slowed(chunk))) for _ in range(4)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began > 0.35  # half a second, less what was saved


def test_a_request_that_we_slow_down_is_not_cut_off_for_being_slow(tmp_path: Path) -> None:
    (path,) = write_ct_files(tmp_path, count=1, size=300)
    content = path.read_bytes()
    with servers.sink() as server:
        archive = Archive(
            server.url,
            kind=server.kind,
            idle_timeout=0.2,
            floor_bytes_per_second=10**9,
            bandwidth=((0, len(content)),),
        )
        began = time.monotonic()
        answer = client_for(archive).store([BytesPart(content)])
        assert answer.response is not None
        assert len(answer.response.referenced) == 1
        assert time.monotonic() - began > 0.8
        close_clients()

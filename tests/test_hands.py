"""Threads that do what they are given and never hold up the end."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from dicomsync.hands import Threads


def test_jobs_are_done_and_their_errors_come_back() -> None:
    hands = Threads(2)
    assert [hands.submit(pow, 2, n).result(10) for n in range(5)] == [1, 2, 4, 8, 16]
    with pytest.raises(ZeroDivisionError):
        hands.submit(lambda: 1 // 0).result(10)
    hands.shutdown()


def test_as_many_jobs_run_at_once_as_there_are_hands() -> None:
    hands = Threads(3)
    gate = threading.Barrier(3)
    futures = [hands.submit(gate.wait, 10) for _ in range(3)]
    assert sorted(future.result(10) for future in futures) == [0, 1, 2]
    hands.shutdown()


def test_a_thread_begins_only_where_a_job_finds_none_free() -> None:
    hands = Threads(3)
    assert threads(hands) == 0
    for _ in range(5):
        hands.submit(pow, 2, 2).result(10)
        until_free(hands)
    assert threads(hands) == 1
    gate = threading.Event()
    stuck = [hands.submit(gate.wait, 10) for _ in range(7)]
    assert threads(hands) == 3
    gate.set()
    assert all(future.result(10) for future in stuck)
    hands.shutdown()


def threads(hands: Threads) -> int:
    return sum(thread in hands._threads for thread in threading.enumerate())


def until_free(hands: Threads) -> None:
    """A result is there a moment before its thread is free again."""
    assert hands._free.acquire(timeout=10)
    hands._free.release()


def test_a_job_that_hangs_does_not_keep_the_process_from_ending() -> None:
    script = (
        "import threading\n"
        "from dicomsync.hands import Threads\n"
        "Threads(1).submit(threading.Event().wait)\n"
        "print('left')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout) == (0, "left\n")

"""The default hands: plain threads that never hold up the end of the process."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class Threads(Executor):
    """An executor of daemon threads, `workers` at most; `submit` is for one thread alone.

    The standard library's pool joins its threads when the interpreter ends; a thread stuck in a dead
    mount would then keep the service from stopping. What such a thread had to do is in the ledger.
    """

    def __init__(self, workers: int) -> None:
        self._most = workers
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._free = threading.Semaphore(0)  # one for each thread that waits for a job, or is about to
        self._threads: list[threading.Thread] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Give a job to the next free thread; a new one begins only where none is free."""
        future: Future[Any] = Future()
        self._jobs.put((future, lambda: fn(*args, **kwargs)))
        if not self._free.acquire(blocking=False) and len(self._threads) < self._most:
            name = f"hand-{len(self._threads) + 1}"
            self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
            self._threads[-1].start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 - Executor's own form
        """Let the threads end after their present job; does not wait for them."""
        for _ in self._threads:
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, run = job
            try:
                result = run()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            del job, future, run  # a waiting thread must not keep a batch alive
            self._free.release()

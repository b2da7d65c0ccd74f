"""Hands that do a job, and bring back what came of it, only when they are told to, and in any order."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

from .archive import Request
from .disk import Hangs

if TYPE_CHECKING:
    from .site import Site


class Job:
    """One job that is out."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.function, self.arguments = function, arguments
        self.name = function.__name__
        self.future: Future[Any] = Future()
        self.result: Any = None
        self.done = False
        self.request: Request | None = None


class Hands(Executor):
    """Hands that keep every job until they are told to do it, and its result until told to bring it back."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.out: list[Job] = []
        self.keeps: Callable[[Job], bool] = lambda _job: False  # what quick hands do not even begin

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        job = Job(fn, args)
        if fn.__name__ != "_nothing":
            self._site.faults.meet("hand-out")
            self._site.oracle.handed_out(job)
        self.out.append(job)
        return job.future

    def do(self, job: Job) -> bool:
        """Do a job, unless it is about a folder that hangs."""
        if job.done:
            return True
        site = self._site
        before = len(site.archive.requests)
        site.oracle.begins(job)
        try:
            job.result = job.function(*job.arguments)
        except Hangs:
            site.disk.open_files.clear()
            return False
        job.done = True
        if len(site.archive.requests) > before:
            job.request = site.archive.requests[before]
        site.oracle.did(job)
        return True

    def bring(self, job: Job) -> None:
        """Bring what a job gave back into the loop's inbox."""
        self.out.remove(job)
        self._site.oracle.brought(job)
        job.future.set_result(job.result)

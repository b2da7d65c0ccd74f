"""A ledger with what a test puts in it, a daemon that tells of itself, and `dicomsync web` beside them."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path

from dicomsync import facts
from dicomsync.ledger import Ledger, NewFile, Reader
from dicomsync.model import FileState, InstanceState, Moment, StatKey, Transition, Whole
from dicomsync.pacing import Circuit, Trouble
from dicomsync.statusfile import StatusFile

FOLDER = b"/data/Doe^Jane"
ARCHIVE = "http://archive.test/v2"
TOKEN = "a-token-for-tests-7f3a9c"
CLOSED = Circuit(closed=True)
OUTAGE = Circuit(False, Trouble.UNREACHABLE, "connection refused", 3, since=900.0, probe_at=1042.0)
MARKERS = ("Doe", "/data", "archive.test", "1.2.826.0.1.3680043")
"""What may be shown only to who has the token and asks for it."""


class Post:
    """A ledger under its lock, as a daemon has it; this process is the daemon."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / "ledger.db"
        self.config = home / "site.toml"
        self.ledger = Ledger.open(self.path)
        self.numbers = 0
        self.config.write_text(
            f'[archive]\nurl = "{ARCHIVE}"\n[ledger]\npath = "{self.path}"\n'
            f'[[folders]]\npath = "{FOLDER.decode()}"\n[web]\nlisten = "127.0.0.1:0"\n'
        )
        with self.ledger.transaction():
            self.ledger.bind(ARCHIVE)
            self.ledger.set_fact(facts.STATUS_FILE, str(home / "status.json"))
            scan = self.ledger.begin_scan(FOLDER, time.time())
            self.ledger.end_scan(scan, time.time(), '{"files": 7, "seconds": 2.5}')
            self.directory = self.ledger.directory(FOLDER, scan)

    def put(
        self, state: InstanceState, reason: str = "", n: int = 1, *, study: int = 1, seconds: float = 20.0
    ) -> None:
        """Record instances that came live, so long ago, and are in this state now."""
        now = time.time()
        with self.ledger.transaction():
            for _ in range(n):
                self.numbers += 1
                uid, key = f"1.2.826.0.1.3680043.{study}", StatKey(1_000_000, 1, 1, self.numbers)
                whole = Whole(key, uid, f"{uid}.1", f"{uid}.1.{self.numbers}", "1.2.840", "1.2.840.10008.1.2")
                row = self.ledger.add_instance(
                    whole, InstanceState.SENDING, "", now - seconds, now, None, live=True
                )
                self._file(FileState.READY, "", key, row)
                self.ledger.move([Transition(row, state, reason)], now, [now])
            self.ledger.touched_studies()

    def hold(self, reason: str, n: int = 1) -> None:
        """Record files that are held."""
        self.find(FileState.HELD, reason, n)

    def find(self, state: FileState, reason: str, n: int = 1) -> None:
        """Record files of which no instance is known."""
        with self.ledger.transaction():
            for _ in range(n):
                self.numbers += 1
                self._file(state, reason, StatKey(1, 1, 1, self.numbers), None)

    def freeze(self, why: str) -> None:
        """Record that a guard has frozen the mirrored deletions of the folder."""
        with self.ledger.transaction():
            root = self.ledger.mirror(FOLDER, "on", "", time.time())
            self.ledger.freeze(root.root_id, why, time.time())

    def batch(self, status: int | None, seconds: float) -> None:
        """Record a request that was answered after so long."""
        with self.ledger.transaction():
            study = self.ledger.study("1.2.826.0.1.3680043.1", time.time())
            row = self.ledger.open_batch(study, [], time.time() - seconds)
            self.ledger.close_batch(row, time.time(), status, "")
            self.ledger.touched_studies()

    def _file(self, state: FileState, reason: str, key: StatKey, instance: int | None) -> None:
        name = b"%d.dcm" % self.numbers
        file = NewFile(self.directory, name, key, state, reason, instance_id=instance)
        self.ledger.put_file(file, time.time())

    def tell(self, circuit: Circuit = CLOSED, *, seconds_ago: float = 0.0) -> None:
        """Write status.json as a daemon did that long ago."""
        with Reader.over(self.ledger) as reader:
            now = Moment(time.time() - seconds_ago, 1000.0)
            StatusFile(self.path, "").write(reader, circuit, {FOLDER: "events"}, now)


@contextmanager
def posted(home: Path) -> Iterator[Post]:
    """Make one; its ledger is closed in the end."""
    home.mkdir(exist_ok=True)
    post = Post(home)
    try:
        yield post
    finally:
        post.ledger.close()


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    text: str


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@dataclass
class Web:
    """A running `dicomsync web`."""

    url: str
    process: subprocess.Popen[str]
    log: list[str] = field(default_factory=list)

    def get(
        self, path: str = "/", *, bearer: str = "", password: str = "", host: str = "", method: str = "GET"
    ) -> Answer:
        """Ask for something."""
        request = urllib.request.Request(self.url.rstrip("/") + path, method=method)
        if bearer:
            request.add_header("Authorization", f"Bearer {bearer}")
        if password:
            credential = base64.b64encode(f"anybody:{password}".encode()).decode()
            request.add_header("Authorization", f"Basic {credential}")
        if host:
            request.add_header("Host", host)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, _lower(answer.headers), answer.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(error.code, _lower(error.headers), error.read().decode())

    def end(self) -> int:
        """End it in good order; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def serving(post: Post, *more: str) -> Iterator[Web]:
    """Serve a post, with more of the config laid over."""
    options = [part for one in more for part in ("--set", one)]
    process = subprocess.Popen(
        [sys.executable, "-m", "dicomsync", "web", "-c", str(post.config), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "WEB_TOKEN": TOKEN},
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("listening: "), line + process.stdout.read()
        yield Web(line.removeprefix("listening: ").strip(), process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

"""What several test modules share: the archives, and a site with a folder, a config and a ledger."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from dicomsync import config, samples, sandbox, service
from dicomsync.ledger import Counts, Reader
from tests import booted
from tests import orthanc as orthancs

# A watcher that never fires: with --dead-watch every daemon of the tests has one, and everything must work

DEAF = """
from dicomsync.watch import inotify
inotify.Reader.handle_event = lambda self, event: None
"""  # it watches, believes that all is well, and hears nothing


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--dead-watch", action="store_true", help="let no watcher ever fire")


def pytest_configure(config: pytest.Config) -> None:
    global dead_watch
    dead_watch = config.getoption("--dead-watch")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in a script's background
        signal.signal(signal.SIGINT, signal.default_int_handler)


dead_watch = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if dead_watch:
        skip = pytest.mark.skip(reason="it is about the watcher, which is dead")
        for item in items:
            if item.get_closest_marker("watcher"):
                item.add_marker(skip)


# The archives


class AnyArchive(Protocol):
    """What a test asks of any archive; it looks behind the archive's DICOMweb, which is being tested."""

    kind: str

    @property
    def url(self) -> str:
        """The DICOMweb base URL."""
        ...

    def stored(self) -> dict[str, bytes]:
        """The very file that is kept under each SOP Instance UID."""

    def count(self) -> int:
        """How many instances there are."""


class SandboxArchive:
    """A sandbox, looked at from behind."""

    kind = "dicom-server"

    def __init__(self, archive: sandbox.Archive) -> None:
        self.inner = archive

    @property
    def url(self) -> str:
        return self.inner.url

    def stored(self) -> dict[str, bytes]:
        return {uid: kept.path.read_bytes() for uid, kept in self.inner.stored().items()}

    def count(self) -> int:
        return len(self.inner.stored())


class OrthancArchive:
    """A real Orthanc, looked at from behind."""

    kind = "orthanc"

    def __init__(self, inner: orthancs.Orthanc) -> None:
        self.inner = inner

    @property
    def url(self) -> str:
        return self.inner.url

    def stored(self) -> dict[str, bytes]:
        return self.inner.stored()

    def count(self) -> int:
        return self.inner.count()


def need(reason: str | None) -> None:
    """Skip for this reason, if there is one, what needs more than Python."""
    if reason is not None:
        # The CI promises to run it all: there it is no choice.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def _need_orthanc() -> None:
    need(orthancs.missing())


@pytest.fixture(scope="session")
def _orthanc_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[orthancs.Orthanc]:
    _need_orthanc()
    with orthancs.running(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def orthanc(_orthanc_process: orthancs.Orthanc) -> orthancs.Orthanc:
    """A real Orthanc, empty; one process serves all tests."""
    _orthanc_process.wipe()
    return _orthanc_process


@pytest.fixture
def own_orthanc(tmp_path: Path) -> Iterator[orthancs.Orthanc]:
    """A real Orthanc for one test alone, which may stop and start it."""
    _need_orthanc()
    with orthancs.running(tmp_path / "orthanc") as server:
        yield server


@pytest.fixture
def own_dicom_orthanc(tmp_path: Path) -> Iterator[orthancs.Orthanc]:
    """A real Orthanc for one test alone that speaks DIMSE too."""
    _need_orthanc()
    with orthancs.running(tmp_path / "orthanc", dicom=True) as server:
        yield server


@pytest.fixture
def sandboxed(tmp_path: Path) -> Iterator[sandbox.Archive]:
    """A sandbox, empty and well-behaved until it is told otherwise."""
    with sandbox.running(tmp_path / "archive") as archive:
        yield archive


@pytest.fixture(params=["sandbox", pytest.param("orthanc", marks=pytest.mark.orthanc)])
def archive(request: pytest.FixtureRequest) -> AnyArchive:
    """Each archive in turn, behind one interface."""
    if request.param == "sandbox":
        return SandboxArchive(request.getfixturevalue("sandboxed"))
    return OrthancArchive(request.getfixturevalue("orthanc"))


# A machine


@pytest.fixture(scope="session")
def debian() -> Iterator[Path]:
    """A small Debian's tree with a checkout and a wheelhouse in its /srv, of which copies can be booted."""
    if os.geteuid() != 0:
        pytest.skip("only root can boot a tree")
    need(booted.missing())
    try:
        with booted.tree() as tree:
            yield tree
    except booted.NoMachine as reason:
        need(str(reason))


# A site


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, where that is JSON."""
        return json.loads(self.out)


@dataclass
class Site:
    """A folder of DICOM files, a config and a ledger, and dicomsync run on them as people run it."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    before: tuple[str, ...] = ()  # what every command is given to, to be run by that

    @property
    def folder(self) -> Path:
        return self.home / "incoming"

    @property
    def ledger(self) -> Path:
        return self.home / "state" / "ledger.db"

    @property
    def config_file(self) -> Path:
        return self.home / "config.toml"

    def write(self, name: str, content: bytes) -> Path:
        """Put one file into the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def settings(self, url: str, **sections: dict[str, Any]) -> dict[str, Any]:
        """Give a config as plain values: impatient where a test would only wait."""
        self.folder.mkdir(exist_ok=True)
        return {
            "archive": {"url": url, "confirm_wait": 0.2, **sections.pop("archive", {})},
            "ledger": {"path": str(self.ledger)},
            "folders": [{"path": str(self.folder), "settle": 0, **sections.pop("folders", {})}],
            "batch": {"quiet": 0.1, **sections.pop("batch", {})},
            **sections,
        }

    # in this process

    def backfill(
        self,
        url: str,
        *,
        paths: Sequence[Path] = (),
        dry_run: bool = False,
        patience: float = 30,
        **sections: dict[str, Any],
    ) -> service.Report:
        """Run a backfill here and say how it went."""
        return service.backfill(
            config.build(self.settings(url, **sections)), paths, patience_seconds=patience, dry_run=dry_run
        )

    # as a process

    def configure(self, url: str, **sections: dict[str, Any]) -> None:
        """Write the config file."""
        lines: list[str] = []
        for name, section in self.settings(url, **sections).items():
            one = section[0] if isinstance(section, list) else section
            lines.append(f"[[{name}]]" if isinstance(section, list) else f"[{name}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in one.items()]
        self.config_file.write_text("\n".join(lines) + "\n")

    def start(self, *arguments: str | os.PathLike[str]) -> subprocess.Popen[str]:
        """Start a command; it is ended with the test at the latest."""
        return self._start("-m", "dicomsync", *arguments)

    def start_python(self, code: str, *arguments: str | os.PathLike[str]) -> subprocess.Popen[str]:
        """Start some Python, such as the command line with another constant."""
        return self._start("-c", code, *arguments)

    def _start(self, *arguments: str | os.PathLike[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*self.before, sys.executable, *(os.fspath(one) for one in arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
        )
        self.processes.append(process)
        return process

    def start_backfill(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a backfill of the configured folder."""
        return self.start("backfill", "-c", self.config_file, *arguments)

    def run(self, *arguments: str | os.PathLike[str], within: float = 60) -> Done:
        """Run a command to its end."""
        return finished(self.start(*arguments), within)

    def run_backfill(self, *arguments: str, within: float = 60) -> Done:
        """Run a backfill of the configured folder to its end."""
        return finished(self.start_backfill(*arguments), within)

    # the ledger

    def counts(self) -> Counts:
        """Count the ledger's files and instances by state."""
        reader = Reader.open(self.ledger)
        try:
            return reader.counts()
        finally:
            reader.close()

    def instances(self) -> dict[str, int]:
        """Count the ledger's instances by state, leaving out states without any."""
        return {str(state): n for state, n in self.counts().instances.items() if n}

    def files(self) -> dict[str, int]:
        """Count the ledger's files by state, leaving out states without any."""
        return {str(state): n for state, n in self.counts().files.items() if n}

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the ledger, read-only."""
        db = sqlite3.connect(f"{self.ledger.as_uri()}?mode=ro", uri=True)
        try:
            return db.execute(sql, values).fetchall()
        finally:
            db.close()


def finished(process: subprocess.Popen[str], within: float = 60) -> Done:
    """Wait for a process to end, and say what it did."""
    out, err = process.communicate(timeout=within)
    return Done(process.returncode, out, err)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site with an empty folder; what it started is ended with the test."""
    home = tmp_path / "site"
    home.mkdir()
    made = Site(home)
    made.folder.mkdir()
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


# Words of the tests


def uid_of(content: bytes) -> str:
    """Read the SOP Instance UID from the file meta information, without any code of ours (PS3.10 7.1)."""
    at = content.index(b"\x02\x00\x03\x00UI") + 6
    length = int.from_bytes(content[at : at + 2], "little")
    return content[at + 2 : at + 2 + length].rstrip(b"\0").decode("ascii")


def by_uid(paths: Sequence[Path]) -> dict[str, bytes]:
    """Give what files hold, by SOP Instance UID."""
    contents = [path.read_bytes() for path in paths]
    return {uid_of(content): content for content in contents}


def same_from_128(kept: dict[str, bytes], sent: dict[str, bytes]) -> bool:
    """Say whether just these instances are kept, each as it was sent; some archives zero the preamble."""
    return {uid: one[128:] for uid, one in kept.items()} == {uid: one[128:] for uid, one in sent.items()}


def small(name: str, study: str = "s", *, series: str = "1", size: int = 16, **extra: object) -> bytes:
    """Build a small instance whose UIDs are made from these names."""
    return samples.instance(
        study_uid=samples.uid(study),
        series_uid=samples.uid(study, series),
        sop_uid=samples.uid(study, series, name),
        rows=size,
        columns=size,
        extra={"PatientName": "Demo^Anna", "PatientID": "DEMO", **extra},
    )


def eventually(condition: Callable[[], object], within: float = 60.0, every: float = 0.005) -> None:
    """Wait until a condition holds; fail if it does not in time."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(every)

"""A small Debian of this machine's own release, with a checkout and a wheelhouse in it, and booted.

systemd-nspawn runs it beside this machine, on this machine's network, so that an archive on loopback is an
archive for both. Every process is tied to the one that runs the tests: it does not outlive it.
"""

from __future__ import annotations

import email
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
CHECKED_OUT = ("CHANGELOG.md", "README.md", "config.example.toml", "docs", "packaging", "systemd")
APT = Path("/etc/apt")
CGROUPS = Path("/sys/fs/cgroup")
SYSTEMD = Path("/run/systemd/system")  # there where systemd is process 1 (sd_booted(3))
NAME = f"dicomsync-boot-{os.getpid()}"
# Not /tmp, which may be small, or mounted so that there can be no devices; debootstrap makes some.
SPACE = Path("/var/tmp")
PACKAGES = "systemd-sysv,python3-venv"
TOOLS = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WHEELS = "--no-index --find-links=wheels dicomsync"  # instead of what pip would build and download
BUILD_SECONDS = 600.0
BOOT_SECONDS = 120.0
HALT_SECONDS = 60.0
TIED = ("setpriv", "--pdeathsig", "KILL")


class NoMachine(Exception):
    """There can be no booted machine here; says why."""


def missing() -> str | None:
    """Say why no tree can be booted here, or None; cheap, so that nothing is built in vain."""
    lacking = sorted({package for tool, package in TOOLS.items() if shutil.which(tool, path=PATH) is None})
    if lacking:
        return f"the boot test needs more (Debian: apt-get install {' '.join(lacking)})"
    if own_source() is None:
        return f"no Debian mirror is named in {APT}/sources.list or {APT}/sources.list.d"
    # What a container engine's root often may not: namespaces of its own, and mounts in them.
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "tmpfs", str(SPACE)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    return f"this root may not mount: {done.stderr.strip()}" if done.returncode else None


# The mirror


@dataclass(frozen=True)
class Source:
    """One suite of one mirror, as apt's sources name it; `keyring` is a file, or empty for the usual one."""

    mirror: str
    suite: str
    components: tuple[str, ...]
    keyring: str = ""


def one_line(text: str) -> Iterator[Source]:
    """Read sources of the form "deb [options] mirror suite components" (sources.list(5))."""
    for line in text.splitlines():
        found = re.match(r"\s*deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line)
        if found:
            _, mirror, suite, components = found.groups()
            signed = re.search(r"signed-by=(/[^\s,]+)", found["options"] or "", re.IGNORECASE)
            yield Source(mirror, suite, tuple(components.split()), signed[1] if signed else "")


def deb822(text: str) -> Iterator[Source]:
    """Read sources in stanzas of fields (sources.list(5), "deb822-style format")."""
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", "\n".join(lines).strip()):
        fields = email.message_from_string(stanza)
        if "deb" not in fields.get("Types", "").split() or fields.get("Enabled", "yes").lower() == "no":
            continue
        signed = fields.get("Signed-By", "").strip()
        keyring = signed if re.fullmatch(r"/\S+", signed) else ""  # else a fingerprint, or the key itself
        for mirror in fields.get("URIs", "").split():
            for suite in fields.get("Suites", "").split():
                yield Source(mirror, suite, tuple(fields.get("Components", "").split()), keyring)


def own_source(apt: Path = APT, release: Mapping[str, str] | None = None) -> Source | None:
    """Find where this machine gets its own release from."""
    release = release or platform.freedesktop_os_release()
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    found: list[Source] = []
    for file in files:
        reader = {".list": one_line, ".sources": deb822}.get(file.suffix)
        if reader is not None and file.is_file():
            found += reader(file.read_text())
    own = [
        one
        for one in found
        if one.suite == release.get("VERSION_CODENAME")
        and "main" in one.components
        and one.mirror.startswith(("http://", "https://"))
    ]
    # Other people's repositories use the same names of suites; the archive itself is at ".../debian".
    own.sort(key=lambda one: not one.mirror.rstrip("/").endswith(f"/{release.get('ID')}"))
    return next(iter(own), None)


# The tree


def build(root: Path) -> None:
    """Make a tree at `root`, with what a checkout and pip bring to a machine below its /srv/checkout.

    Raises NoMachine where debootstrap cannot do its part; anything of ours that fails is a plain failure.
    """
    source = own_source()
    assert source is not None
    # What debootstrap mounts and starts is in namespaces that end with it, however it ends.
    command = [*TIED, "unshare", "--mount", "--pid", "--fork", "--kill-child", "debootstrap"]
    command += ["--variant=minbase", f"--include={PACKAGES}", f"--components={','.join(source.components)}"]
    command += [f"--keyring={source.keyring}"] if source.keyring else []
    done = subprocess.run(
        [*command, source.suite, str(root), source.mirror],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_SECONDS,
        env={**os.environ, "PATH": PATH},
    )
    if done.returncode:
        said = done.stdout.strip().splitlines()[-3:]
        raise NoMachine(f"debootstrap could not make a tree: {' | '.join(said)}")
    checkout = root / "srv/checkout"
    checkout.mkdir()
    for name in CHECKED_OUT:
        (shutil.copytree if (CHECKOUT / name).is_dir() else shutil.copy)(CHECKOUT / name, checkout / name)
    # By this machine's pip, which knows where packages come from here; for the tree's Python.
    version = (root / "usr/bin/python3").readlink().name.removeprefix("python")
    done = subprocess.run(
        [*TIED, CHECKOUT / "packaging/wheelhouse", checkout / "wheels"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_SECONDS,
        env={**os.environ, "PYTHON": sys.executable, "FOR": version},
    )
    assert done.returncode == 0, done.stdout


def installation() -> str:
    """Give README's own commands that install the service, before there is a config."""
    _, _, text = (CHECKOUT / "README.md").read_text().partition("## Run it as a service")
    commands = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    first = takewhile(lambda line: "dicomsync init" not in line, commands)
    here, times = re.subn(r"pip install \.$", f"pip install {WHEELS}", "\n".join(first), flags=re.MULTILINE)
    assert times == 1, here
    return here


# The machine


@dataclass
class Machine:
    """A tree that is booted: `root` is its "/", `leader` its process 1 as this machine numbers it."""

    root: Path
    leader: int

    def path(self, inside: str) -> Path:
        """Say where one of its paths is on this machine."""
        return self.root / inside.lstrip("/")

    def run(self, *command: str, within: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command in it as root, to its end."""
        return subprocess.run(
            [*TIED, "nsenter", f"--target={self.leader}", "--all", *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
        )

    def ask(self, *command: str, within: float = 60.0) -> str:
        """Run a command in it that must do well, and give what it printed."""
        done = self.run(*command, within=within)
        assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
        return done.stdout.strip()


@contextmanager
def tree() -> Iterator[Path]:
    """Build a tree, to be copied and booted as long as the block lasts; raises NoMachine as `build` does."""
    with _orderly_end(), _space() as space:
        build(space / "tree")
        yield space / "tree"


@contextmanager
def booted(pristine: Path) -> Iterator[Machine]:
    """Boot a copy of a tree for as long as the block lasts. Raises NoMachine where that cannot be done."""
    with _orderly_end(), _space() as space:
        # By cp: shutil makes no devices.
        subprocess.run(["cp", "--archive", pristine, space / "tree"], check=True, timeout=BUILD_SECONDS)
        with _booted(space / "tree", space) as machine:
            yield machine


@contextmanager
def _space() -> Iterator[Path]:
    """Make a directory that is removed whole: nothing is mounted below it but in namespaces."""
    with tempfile.TemporaryDirectory(prefix=f"{NAME}-", dir=SPACE) as directory:
        yield Path(directory)


@contextmanager
def _orderly_end() -> Iterator[None]:
    """Let SIGTERM end the tests as ^C does: what was built is removed."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _booted(root: Path, space: Path) -> Iterator[Machine]:
    # Where systemd is not process 1 there is nobody to give the machine a scope: it stays in our cgroup.
    scope = [] if SYSTEMD.is_dir() else ["--keep-unit"]
    enter = 'for one; do shift; [ "$one" = -- ] && break; echo $$ >"$one/cgroup.procs"; done; exec "$@"'
    nspawn = ["systemd-nspawn", "--quiet", "--settings=no", "--register=no", "--link-journal=no", *scope]
    nspawn += [f"--directory={root}", f"--machine={NAME}", "--boot", "--notify-ready=yes", "--console=pipe"]
    console = space / "console"
    with (
        _own_cgroups() as cgroups,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard,
        console.open("wb") as said,
    ):
        heard.bind(str(space / "notify"))
        process = subprocess.Popen(
            ["sh", "-ec", enter, "sh", *map(str, cgroups), "--", "setpriv", "--pdeathsig", "TERM", *nspawn],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": PATH, "NOTIFY_SOCKET": heard.getsockname()},
            start_new_session=True,  # ^C is for the tests, which then halt it
        )
        try:
            leader = _leader(process, heard, console)
            heard.close()  # it would be told for ever, and wait when nobody listened
            yield Machine(root, leader)
        finally:
            _halt(process)


def _leader(process: subprocess.Popen[bytes], heard: socket.socket, console: Path) -> int:
    """Wait until systemd-nspawn has told that the boot is finished; give the process that is 1 inside."""
    told = ""
    deadline = time.monotonic() + BOOT_SECONDS
    heard.settimeout(1)
    while "READY=1" not in told or "X_NSPAWN_LEADER_PID" not in told:
        with suppress(TimeoutError):
            told += heard.recv(4096).decode() + "\n"
            continue
        if process.poll() is not None or time.monotonic() > deadline:
            said = console.read_text(errors="replace").strip().splitlines()[-3:]
            raise NoMachine(f"the tree does not boot under systemd-nspawn: {' | '.join(said)}")
    [leader] = set(re.findall(r"X_NSPAWN_LEADER_PID=(\d+)", told))
    return int(leader)


def _halt(process: subprocess.Popen[bytes]) -> None:
    """Shut the machine down in good order, and on a second SIGTERM at once."""
    for _ in range(2):
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(HALT_SECONDS)
            return
    process.kill()
    process.wait()
    raise AssertionError("the machine could not be halted")


@contextmanager
def _own_cgroups() -> Iterator[list[Path]]:
    """Make a cgroup for the machine in each hierarchy that its systemd uses, unless this one's systemd does.

    Unified, all is one hierarchy; hybrid, systemd's own and the unified one beside it. Two machines in one
    cgroup would end each other's services.
    """
    made: list[Path] = []
    unified = (CGROUPS / "cgroup.procs").exists()
    hierarchies = [CGROUPS] if unified else [CGROUPS / "systemd", CGROUPS / "unified"]
    try:
        if not SYSTEMD.is_dir():
            for hierarchy in filter(Path.is_dir, hierarchies):
                one = hierarchy / NAME
                try:
                    one.mkdir()
                except OSError as error:
                    raise NoMachine(f"no cgroup can be made for the tree: {error.strerror}") from None
                made.append(one)
        yield made
    finally:
        for one in made:
            _remove_cgroup(one)


def _remove_cgroup(cgroup: Path) -> None:
    """Remove a cgroup and those below it, once the last process has left it."""
    deadline = time.monotonic() + HALT_SECONDS
    while cgroup.exists():
        for directory, _, _ in os.walk(cgroup, topdown=False):
            with suppress(OSError):
                os.rmdir(directory)
        assert time.monotonic() < deadline, f"{cgroup} is still in use"
        time.sleep(0.05)

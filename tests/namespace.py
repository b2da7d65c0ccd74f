"""A mount namespace (mount_namespaces(7)): what is mounted and unmounted in it, nobody outside it sees."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# It ends with whoever made it, however that ends; and it says when it is there.
_HOLDER = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private")
_HOLD = ("sh", "-c", "echo there && exec sleep infinity")
WITHOUT_PRIVILEGES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--")
"""As the service has none: root without them is refused what the modes of files refuse."""


def missing() -> str | None:
    """Say why there can be no namespace of our own here, or None."""
    if os.geteuid() != 0:
        return "mounting in a namespace of our own needs root"
    try:
        done = subprocess.run(
            ["unshare", "--mount", *WITHOUT_PRIVILEGES, "true"], capture_output=True, text=True, timeout=30
        )
    except FileNotFoundError:
        return "unshare and setpriv are not installed (Debian: apt-get install util-linux)"
    return (
        f"there may be no mount namespace of our own here: {done.stderr.strip()}" if done.returncode else None
    )


@dataclass(frozen=True)
class Namespace:
    """A namespace, held by a process of its own."""

    pid: int

    @property
    def enter(self) -> tuple[str, ...]:
        """What a command is given to, to be run inside, and without privileges."""
        return ("nsenter", f"--mount=/proc/{self.pid}/ns/mnt", "--", *WITHOUT_PRIVILEGES)

    def seen(self, path: Path) -> Path:
        """Give the path at which those outside see what is at `path` inside."""
        return Path(f"/proc/{self.pid}/root{path}")

    def mount(self, *arguments: str | Path) -> None:
        """Mount something inside, as mount(8) takes it."""
        self._run("mount", *arguments)

    def unmount(self, where: Path) -> None:
        """Take away what was mounted last; lazily, as a device that is pulled out goes."""
        self._run("umount", "--lazy", where)

    def tmpfs(self, where: Path) -> None:
        """Mount an empty disk."""
        self.mount("-t", "tmpfs", "-o", "size=64m,mode=0755", "none", where)

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(
            ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt", "--", *map(str, command)],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"


@contextmanager
def namespace() -> Iterator[Namespace]:
    """Make one that begins as a copy of what is mounted here."""
    holder = subprocess.Popen([*_HOLDER, *_HOLD], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "there\n"
        yield Namespace(holder.pid)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()

"""The pictures: the program's own output on a terminal, as SVG.

`python -m docs.make.pictures` makes them anew. It needs tmux, which is the terminal, and the extra `web`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

from dicomsync import sandbox
from dicomsync.samples import write_studies

PICTURES = Path(__file__).parent.parent / "pictures"
HOME = Path("/tmp/pictures")
SOCKET = f"pictures-{os.getpid()}"
PROGRAM = Path(sys.executable).parent
PATIENCE_SECONDS = 30.0
# Without the fonts that rich would have a browser fetch from elsewhere.
FORMAT = re.sub(r"@font-face {{.*?}}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace("Fira Code,", "")


class Terminal:
    """A terminal of so many columns and lines, with a shell in it."""

    def __init__(self, columns: int, lines: int) -> None:
        self.columns = columns
        self._tmux("new-session", "-d", "-x", str(columns), "-y", str(lines), "sh")
        self._tmux("set-option", "-g", "status", "off")
        self.type(f"PS1='$ ' PATH={PROGRAM}:$PATH; cd {HOME}; clear")
        self.until(lambda text: text.strip() == "$")

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", SOCKET, "-f", "/dev/null", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def type(self, line: str) -> None:
        """Type a line."""
        self._tmux("send-keys", "-l", line)
        self._tmux("send-keys", "Enter")

    def screen(self) -> str:
        """Give what is to be seen, with its colours."""
        return self._tmux("capture-pane", "-e", "-p").rstrip()

    def until(self, so: Callable[[str], object]) -> str:
        """Wait until something is to be seen; gives the whole screen then."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not so(Text.from_ansi(seen := self.screen()).plain):
            assert time.monotonic() < deadline, seen
            time.sleep(0.1)
        return seen

    def picture(self, name: str, screen: str) -> None:
        """Draw a screen."""
        console = Console(record=True, width=self.columns, file=open(os.devnull, "w"))  # noqa: SIM115
        console.print(Text.from_ansi(screen))
        svg = console.export_svg(
            title="dicomsync", theme=SVG_EXPORT_THEME, code_format=FORMAT, unique_id=name
        )
        PICTURES.mkdir(exist_ok=True)
        (PICTURES / f"{name}.svg").write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE))

    def close(self) -> None:
        """End it, and what runs in it."""
        self._tmux("kill-server")


@contextmanager
def terminal(columns: int, lines: int) -> Iterator[Terminal]:
    """Have one, in a new home."""
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    one = Terminal(columns, lines)
    try:
        yield one
    finally:
        one.close()
        shutil.rmtree(HOME, ignore_errors=True)


def ended(text: str) -> bool:
    """Say whether the shell waits for the next line."""
    return text.rstrip().endswith("\n$")


def demo() -> None:
    """Draw the whole of the demonstration."""
    with terminal(112, 78) as one:
        one.type("dicomsync demo --keep demo")
        one.picture("demo", one.until(ended).rpartition("\n")[0])


def backfill() -> None:
    """Draw a backfill in the middle."""
    with terminal(112, 14) as one, sandbox.running(HOME / "archive") as archive:
        write_studies(HOME / "studies", studies=12, series=2, instances=40, rows=256, columns=256)
        one.type(f"dicomsync backfill studies --archive {archive.url} --ledger ledger.db --bwlimit 12M")
        one.picture("backfill", one.until(lambda text: re.search(r"\b[45]\d\d/960", text)))


def status() -> None:
    """Draw how it stands when the archive is away and a file is cut short."""
    with terminal(112, 40) as one:
        daemon = None
        try:
            with sandbox.running(HOME / "archive") as archive:
                files = write_studies(
                    HOME / "modality", studies=3, series=2, instances=20, rows=64, columns=64
                )
                (HOME / "modality" / "cut-short.dcm").write_bytes(files[0].read_bytes()[:3000])
                config = HOME / "main.toml"
                config.write_text(CONFIG.format(url=archive.url))
                with (HOME / "log").open("wb") as log:
                    daemon = subprocess.Popen(
                        [PROGRAM / "dicomsync", "run", "-c", config], stdout=log, stderr=log, cwd=HOME
                    )
                told = HOME / "log"
                wait(lambda: len(archive.stored()) == len(files) and b"held" in told.read_bytes())
            write_studies(
                HOME / "modality" / "later", studies=1, series=1, instances=8, rows=64, columns=64, seed=2
            )
            wait(lambda: "archive-unreachable" in codes(config))
            time.sleep(10)  # what has been so for a moment has no age to be shown
            one.type("dicomsync status -c main.toml")
            one.picture("status", one.until(ended).rpartition("\n")[0])
        finally:
            if daemon is not None:
                daemon.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    daemon.wait(30)
                daemon.kill()


def codes(config: Path) -> set[str]:
    """Ask what is wrong."""
    command = [str(PROGRAM / "dicomsync"), "status", "--json", "-c", str(config)]
    done = subprocess.run(command, check=True, capture_output=True)
    return {one["code"] for one in json.loads(done.stdout)["concerns"]}


CONFIG = """
[archive]
url = "{url}"
[ledger]
path = "/tmp/pictures/ledger.db"
[[folders]]
path = "/tmp/pictures/modality"
settle = "0.3s"
[batch]
quiet = "0.5s"
"""


def wait(so: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


if __name__ == "__main__":
    demo()
    backfill()
    status()

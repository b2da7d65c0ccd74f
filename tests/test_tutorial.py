"""The tutorial does what it says: its blocks are run in order, as a reader would, and say what it shows."""

from __future__ import annotations

import code
import contextlib
import io
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dicomsync import dicomweb
from tests.orthanc import free_port

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
SECONDS = 60.0  # for one block
TRANSACTIONS = (
    "store",
    "store_single_part",
    "retrieve",
    "instance",
    "frames",
    "metadata",
    "search",
    "delete",
)


@dataclass(frozen=True)
class Block:
    """What a reader types in one go, where it stands in the page, and what the page shows of it."""

    language: str
    text: str
    line: int
    shown: str = ""

    def is_as_shown(self, said: str) -> bool:
        """Compare with what was said; … on the page stands for anything within a line."""
        pattern = ".*".join(map(re.escape, self.shown.split("…")))
        return re.fullmatch(pattern, said) is not None


def blocks(page: str) -> list[Block]:
    """Take the blocks out of a page; a text block belongs to the one before it."""
    found: list[Block] = []
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", page, re.M | re.S):
        language, text = match.groups()
        line = page.count("\n", 0, match.start()) + 1
        if language == "text":
            typed = found.pop()
            assert not typed.shown, f"line {line} shows something of nothing"
            found.append(Block(typed.language, typed.text, typed.line, text.strip("\n")))
        else:
            found.append(Block(language, text, line))
    return found


def plain(said: str) -> str:
    return "\n".join(line.rstrip() for line in said.split("\n")).strip("\n")


class Python(code.InteractiveConsole):
    """An interactive Python, typed into line by line."""

    def write(self, data: str) -> None:
        """Take a traceback."""
        raise AssertionError(data)

    def type(self, block: Block) -> str:
        """Type a block and an empty line; gives what was printed."""
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            for line in [*block.text.splitlines(), ""]:
                unfinished = self.push(line)
        assert not unfinished
        return plain(printed.getvalue())


class Shell:
    """A shell in a directory, in which `dicomsync` is this tree's; what it starts ends with it."""

    DONE = "-- that was the block, with status "

    def __init__(self, home: Path, tools: Path) -> None:
        tools.mkdir()
        command = tools / "dicomsync"
        command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m dicomsync "$@"\n')
        command.chmod(0o755)
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=home,
            env={**os.environ, "PATH": path},
            start_new_session=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)

    def type(self, block: Block) -> str:
        """Type a block; gives all that was said until it was done, and what it shows had come."""
        assert self._process.stdin is not None
        self._process.stdin.write(f'{block.text}echo "{self.DONE}$?"\n')
        self._process.stdin.flush()
        end, said, status = time.monotonic() + SECONDS, "", ""
        while not (status and block.is_as_shown(plain(said))) and time.monotonic() < end:
            with contextlib.suppress(queue.Empty):
                line = self._lines.get(timeout=0.1 if status else SECONDS)
                if line.startswith(self.DONE):
                    status = line.removeprefix(self.DONE).strip()
                    end = min(end, time.monotonic() + SECONDS / 4)  # for what goes on in the background
                else:
                    said += line
        assert status == "0", f"{said}\nended with {status or 'nothing'}"
        return plain(said)

    def end(self) -> None:
        """End the shell and all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


@pytest.fixture
def terminals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Callable[[Block], str]]]:
    """The reader's two terminals, in one new directory."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    shell = Shell(home, tmp_path / "tools")
    yield {"python": Python().type, "sh": shell.type}
    dicomweb.close_clients()
    shell.end()


@pytest.mark.timeout(600)
def test_every_block_says_what_the_page_shows(terminals: dict[str, Callable[[Block], str]]) -> None:
    port = str(free_port())
    page = re.sub(r"\b8080\b", port, PAGE)
    for block in blocks(page):
        said = terminals[block.language](block)
        assert block.is_as_shown(said), f"line {block.line} of the page shows otherwise:\n{said}"


STEPS = re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", PAGE[PAGE.index("\n## Store") :], re.M | re.S)


@pytest.mark.parametrize(("step", "text"), STEPS, ids=[step for step, _ in STEPS])
def test_every_step_is_there_in_python_and_as_a_command_and_shows_what_comes_of_it(
    step: str, text: str
) -> None:
    found = blocks(text)
    assert [block.language for block in found] == ["python", "sh"]
    assert all(block.shown for block in found)


def test_every_transaction_and_every_search_resource_has_its_step() -> None:
    typed = "".join(block.text for block in blocks(PAGE))
    assert [name for name in TRANSACTIONS if f"client.{name}(" not in typed] == []
    assert [
        name for name in ("store", "retrieve", "search", "delete") if f"archive {name} " not in typed
    ] == []
    assert len(STEPS) == 3 + 7 + 6 + 3


def test_a_page_that_shows_something_else_is_found_out() -> None:
    [block] = blocks("```sh\necho hello\n```\n\n```text\nhe…o\nyou\n```\n")
    assert (block.language, block.text, block.line) == ("sh", "echo hello\n", 1)
    assert block.is_as_shown("hello\nyou")
    assert not block.is_as_shown("hello\nthere")
    assert not block.is_as_shown("hel\nlo\nyou")
    assert not block.is_as_shown("")

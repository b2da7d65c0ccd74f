"""What the pages say of a state, a reason, a code or an exit code: the pages themselves, at the machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

TROUBLES, CODES = "when-something-is-wrong.md", "operate.md"
_CHECKOUT = (
    Path(__file__).parent.parent / "docs"
)  # where the pages are written; a wheel brings its own copies


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a page: its headings from the top, and its lines."""

    headings: tuple[str, ...]
    lines: tuple[str, ...]


def about(code: str) -> list[str]:
    """Say what the pages say of a code; nothing if they do not know it.

    A number is an exit code. A code may be a state and stand for several reasons: then all is said.
    """
    wanted = f"exit code {code}" if code.isdigit() else code.lower()
    found: list[str] = []
    for section in (*_sections(TROUBLES), *_sections(CODES)):
        title = section.headings[-1]
        if wanted in [name.strip().lower() for name in title.split(",")]:
            found += ["", title, *(f"  {line}" for line in _plain(section.lines))]
            continue
        for row in _rows(section.lines):
            if any(_stands_for(name, wanted) for name in re.findall(r"`([^`]+)`", row[0])):
                where = "status" if "`status`" in title else title
                found += ["", f"{where}: {code}", f"  means: {_unmarked(row[1])}"]
                found += [f"  do: {_unmarked(row[2])}" for _ in row[2:3] if row[2]]
    return found[1:]


def known() -> list[str]:
    """Give every state, exit code and code that has a section or a row of its own."""
    names: list[str] = []
    for section in (*_sections(TROUBLES), *_sections(CODES)):
        if section.headings[-1].startswith("Exit code "):
            names.append(section.headings[-1].removeprefix("Exit code "))
        elif len(section.headings) > 1 and section.headings[-2].startswith("Where "):
            names += section.headings[-1].split(", ")
        names += [name for row in _rows(section.lines) for name in re.findall(r"`([^`]+)`", row[0])]
    return list(dict.fromkeys(names))


def _stands_for(name: str, wanted: str) -> bool:
    return name == wanted or (name.endswith("…") and wanted.startswith(name[:-1]))


def _page(name: str) -> str:
    packed = resources.files("dicomsync").joinpath("pages", name)
    return (packed if packed.is_file() else _CHECKOUT / name).read_text(encoding="utf-8")


def _sections(name: str) -> Iterator[Section]:
    headings: list[str] = []
    lines: list[str] = []
    for line in _page(name).splitlines():
        if head := re.match(r"(#+) (.+)$", line):
            if headings:
                yield Section(tuple(headings), tuple(lines))
            headings = [*headings[: len(head[1]) - 1], head[2]]
            lines = []
        else:
            lines.append(line)
    yield Section(tuple(headings), tuple(lines))


def _rows(lines: tuple[str, ...]) -> Iterator[list[str]]:
    """Give the rows of tables about reasons and codes: the others are about keys and metrics."""
    told = False
    for line in lines:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            told = False
        elif cells[0] in ("reason", "code"):
            told = True
        elif told and not cells[0].startswith("--"):
            yield cells


def _plain(lines: tuple[str, ...]) -> list[str]:
    """Give prose as it stands, and tables as a line for each row."""
    told = []
    for line in lines:
        cells = [_unmarked(cell.strip()) for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            told.append(_unmarked(line))
        elif not cells[0].startswith("--") and cells[0] != "reason":
            told.append(f"{cells[0]}: " + "; to do: ".join(cell for cell in cells[1:] if cell))
    return "\n".join(told).strip().splitlines()


def _unmarked(text: str) -> str:
    """Leave out the marks of Markdown that say nothing on a terminal."""
    return re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", text).replace("**", "")

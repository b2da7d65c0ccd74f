"""Making a config from a few answers: the text is the example's own, with the answers put into it."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from dicomsync import config
from dicomsync.errors import UsageProblem

EXAMPLE = "config.example.toml"
MODE = 0o640  # a config holds no secret, and it is still nobody else's business where images come from
SERVICE_LEDGER = "/var/lib/dicomsync/NAME/ledger.db"  # of dicomsync@NAME.service

Ask = Callable[[str, str], str]
"""Put a question with a default ("" if there is none) to a person, and give the answer."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What only the site knows; paths are absolute, so that they mean the same to a service."""

    archive: str
    folders: tuple[str, ...]
    ledger: str


def example() -> str:
    """Give the example config that the package ships: every key, with its default and its words."""
    return resources.files("dicomsync").joinpath(EXAMPLE).read_text(encoding="utf-8")


def refuse_existing(path: Path, force: bool) -> None:
    """Raise UsageProblem where a file stands in the way: before a person is asked anything."""
    if path.is_dir():
        raise UsageProblem(f"{path} is a directory; nothing was written.", hint="Name the file to write.")
    if not force and os.path.lexists(path):
        raise UsageProblem(
            f"{path} is there already, and was left as it is.",
            hint="Edit it, give another name, or replace it with --force.",
        )


def complete(
    archive: str | None,
    folders: Sequence[str | Path],
    ledger: str | Path | None,
    *,
    ask: Ask | None,
    tell: Callable[[str], None] = lambda _: None,
    defaults: bool = False,
    name: str = "main",
) -> Answers:
    """Make what was given whole, by asking; `ask` None: there is nobody to ask, so that all must be given.

    With `defaults` what has a sensible default (the ledger of service `name`) takes it without a
    question. Raises UsageProblem for what is missing and for what no config may say.
    """
    usual = default_ledger(name)
    if ask is None:
        _nothing_missing(archive, folders, ledger or defaults)
        asked = Answers(archive or "", tuple(map(_place, folders)), _place(ledger or usual))
    else:
        archive = archive or _archive(ask, tell)
        asked_folders = tuple(map(_place, folders)) or _folders(ask)
        ledger = ledger or (usual if defaults else ask("The ledger file", usual))
        asked = Answers(archive, asked_folders, _place(ledger))
    render(asked)
    return asked


def _nothing_missing(archive: object, folders: object, ledger: object) -> None:
    wanted = {
        "--archive URL": archive,
        "--folder DIR": folders,
        "--ledger FILE (or --yes for the usual place)": ledger,
    }
    missing = [flag for flag, given in wanted.items() if not given]
    if missing:
        raise UsageProblem(
            "There is nobody to ask, and not all is given; nothing was written.",
            hint=f"Give {', '.join(missing)}.",
        )


def _archive(ask: Ask, tell: Callable[[str], None]) -> str:
    """Ask until it is a URL that a config may hold."""
    while True:
        url = ask("DICOMweb base URL of the archive, such as https://HOST/v2", "").strip()
        try:
            config.build({"archive": {"url": url}, "ledger": {"path": "ledger.db"}}, source="This URL")
        except UsageProblem as problem:
            tell(problem.message)
        else:
            return url


def _folders(ask: Ask) -> tuple[str, ...]:
    found: list[str] = []
    while True:
        answer = ask("Another folder (empty: no more)" if found else "Folder with DICOM files", "").strip()
        if answer:
            found.append(_place(answer))
        elif found:
            return tuple(found)


def default_ledger(name: str) -> str:
    """Say where a ledger usually is: for root the place of service `name`, else the user's own."""
    if os.geteuid() == 0:
        return SERVICE_LEDGER.replace("NAME", name)
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "dicomsync", "ledger.db")


def _place(path: str | Path) -> str:
    return os.path.abspath(os.path.expanduser(path))


def render(answers: Answers) -> str:
    """Put the answers into the example; raises UsageProblem if that gives no config that can be used."""
    pieces = []
    for piece in re.split(r"(?m)^(?=\[)", example()):  # what is above the first section, then the sections
        header = piece.partition("\n")[0]
        if header == "[archive]":
            pieces.append(_with(piece, "url", answers.archive))
        elif header == "[ledger]":
            pieces.append(_with(piece, "path", answers.ledger))
        elif header == "[[folders]]":
            pieces += [
                _with(piece if at == 0 else _bare(piece), "path", folder)
                for at, folder in enumerate(answers.folders)
            ]
        else:
            pieces.append(piece)
    text = "".join(pieces)
    config.parse(text, source="What was given")
    return text


def _bare(piece: str) -> str:
    """Leave the words out of a section that was explained above."""
    lines = [line for line in piece.splitlines() if line and not line.startswith("#")]
    return "\n".join(lines) + "\n\n"


def _with(piece: str, key: str, value: str) -> str:
    line = f"{key} = {_quoted(value)}"
    changed, n = re.subn(rf"(?m)^{key} = .*$", lambda _: line, piece, count=1)
    if not n:
        raise AssertionError(f"the example has no {key}")
    return changed


def _quoted(text: str) -> str:
    """Say a string in TOML. What is not Unicode (a path of other bytes) no TOML can say."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageProblem(
            "A path that is not UTF-8 cannot stand in a config; nothing was written.",
            hint="Rename it, or make a symbolic link to it and name that.",
        ) from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def write(path: Path, text: str, *, force: bool = False) -> None:
    """Write the config, for its owner and group; an old one is replaced with `force` alone, and at once.

    One that is replaced passes its owner and mode on: a service must still be able to read it.
    """
    refuse_existing(path, force)
    try:
        if os.path.lexists(path):
            _replace(Path(os.path.realpath(path)), text)
        else:
            _create(path, text)
    except FileExistsError:
        refuse_existing(path, force=False)
        raise
    except OSError as error:
        raise UsageProblem(
            f"{path} cannot be written: {error.strerror}.", hint="Does its directory exist, and is it yours?"
        ) from None


def _create(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink()
        raise


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    _create(beside, text)
    try:
        with suppress(OSError):
            before = path.stat()
            os.chown(beside, before.st_uid, before.st_gid)
            os.chmod(beside, before.st_mode & 0o660)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def told(path: Path, answers: Answers) -> list[str]:
    """Say what was written and what comes next."""
    lines = [f"Written: {path}", f"The ledger will be {answers.ledger}; nothing else was touched."]
    lines += [f"Not there yet: {folder}" for folder in answers.folders if not os.path.isdir(folder)]
    return [*lines, f"Next: dicomsync doctor -c {shlex.quote(str(path))}"]

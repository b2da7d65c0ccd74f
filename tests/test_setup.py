"""What `init` writes is a config, says what was answered, and never costs anybody a file."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dicomsync import config, setup
from dicomsync.errors import UsageProblem
from dicomsync.setup import Answers
from tests.conftest import Done, finished

ROOT = Path(__file__).parent.parent
URL = "https://archive.example/v2"


def init(*arguments: str | Path, cwd: Path) -> Done:
    """Run `dicomsync init` where there is nobody to ask."""
    return finished(
        subprocess.Popen(
            [sys.executable, "-m", "dicomsync", "init", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
        )
    )


def person(*answers: str) -> tuple[Callable[[str, str], str], list[str]]:
    """Someone who gives these answers in turn; "" takes the default; and what was asked."""
    asked: list[str] = []
    left: Iterator[str] = iter(answers)

    def ask(words: str, default: str) -> str:
        asked.append(words)
        return next(left) or default

    return ask, asked


@pytest.mark.parametrize(
    "name",
    [
        'quo"te',
        "back\\slash",
        "\\1\\g<0>",
        "tab\tnew\nline",
        "\x7f\x01",
        "Übung 😀",
        "# no comment",
        "' ''' \"\"\"",
    ],
)
def test_what_is_written_says_what_was_answered_however_odd_it_is(tmp_path: Path, name: str) -> None:
    folders = (str(tmp_path / name), str(tmp_path / "second"), str(tmp_path / "third"))
    answers = Answers(URL, folders, str(tmp_path / "state" / name / "ledger.db"))
    written = config.parse(setup.render(answers))
    assert written.archive.url == answers.archive
    assert tuple(folder.path for folder in written.folders) == answers.folders
    assert written.ledger.path == answers.ledger


def test_all_that_was_not_asked_is_as_in_the_example() -> None:
    example = config.parse(setup.example())
    answers = Answers(URL, ("/a", "/b"), "/l/ledger.db")
    written = config.parse(setup.render(answers))
    assert written.archive == replace(example.archive, url=URL)
    assert (written.batch, written.upload) == (example.batch, example.upload)
    (folder,) = example.folders
    assert written.folders == tuple(replace(folder, path=path) for path in ("/a", "/b"))


def test_the_examples_own_answers_give_the_example() -> None:
    example = config.parse(setup.example())
    own = Answers(example.archive.url, tuple(one.path for one in example.folders), example.ledger.path)
    assert setup.render(own) == setup.example()


def test_the_package_ships_the_example_that_everybody_sees() -> None:
    seen = (ROOT / "config.example.toml").read_text()
    assert setup.example() == seen, "cp config.example.toml dicomsync/config.example.toml"


def test_a_path_that_no_config_can_say_is_refused() -> None:
    with pytest.raises(UsageProblem, match="not UTF-8"):
        setup.render(Answers(URL, (os.fsdecode(b"/data/\xff"),), "/l.db"))


@pytest.mark.parametrize(
    ("archive", "folders", "ledger", "words"),
    [
        ("ftp://x", ["/a"], "/l.db", "begins with https"),
        ("https://me:secret@x/v2", ["/a"], "/l.db", "user name or password"),
        (URL, ["/a", "/a/b"], "/l.db", "overlap"),
        (URL, ["/a"], "/a/l.db", "lies inside folder 1"),
        (URL, ["/"], "/l.db", "whole file system"),
    ],
)
def test_answers_that_make_no_config_are_told_and_nothing_is_written(
    tmp_path: Path, archive: str, folders: list[str], ledger: str, words: str
) -> None:
    given = [part for folder in folders for part in ("--folder", folder)]
    done = init("--archive", archive, *given, "--ledger", ledger, cwd=tmp_path)
    assert done.code == 2
    assert words in done.err
    assert "secret" not in done.err
    assert not list(tmp_path.iterdir())


def test_with_nobody_to_ask_what_is_missing_is_named_at_once(tmp_path: Path) -> None:
    done = init(cwd=tmp_path)
    assert done.code == 2
    for flag in ("--archive", "--folder", "--ledger", "--yes"):
        assert flag in done.err
    assert not list(tmp_path.iterdir())


def test_yes_takes_the_usual_ledger_and_never_makes_up_an_archive(tmp_path: Path) -> None:
    assert init("--yes", "--folder", "in", cwd=tmp_path).code == 2
    done = init("--yes", "--folder", "in", "--archive", URL, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert config.parse((tmp_path / "dicomsync.toml").read_text()).ledger.path == setup.default_ledger(
        "dicomsync"
    )


def test_a_user_has_a_ledger_of_their_own_and_the_service_its_usual_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert setup.default_ledger("x") == "/home/anna/.local/state/dicomsync/ledger.db"
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert setup.default_ledger("x") == "/state/dicomsync/ledger.db"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert setup.default_ledger("NAME") == config.parse(setup.example()).ledger.path


def test_init_writes_absolute_paths_for_few_eyes_and_says_what_is_next(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    flags = ("--archive", URL, "--folder", "in", "--folder", "later", "--ledger", "state/l.db")
    done = init("my site.toml", *flags, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    path = tmp_path / "my site.toml"
    written = config.parse(path.read_text())
    assert [one.path for one in written.folders] == [str(tmp_path / "in"), str(tmp_path / "later")]
    assert written.ledger.path == str(tmp_path / "state/l.db")
    assert path.stat().st_mode & 0o137 == 0
    assert f"Not there yet: {tmp_path / 'later'}" in done.out
    assert "dicomsync doctor -c 'my site.toml'" in done.out
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("stands", ["a file", "a dangling link", "a directory"])
def test_what_is_there_is_left_as_it_is_and_nobody_is_asked_in_vain(tmp_path: Path, stands: str) -> None:
    path = tmp_path / "dicomsync.toml"
    if stands == "a file":
        path.write_text("mine")
    elif stands == "a directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nothing")
    done = init(cwd=tmp_path)  # were anything asked for, its absence would be told
    assert done.code == 2
    assert ("nothing was written" if stands == "a directory" else "left as it is") in done.err
    assert [one.name for one in tmp_path.iterdir()] == ["dicomsync.toml"]
    assert stands != "a file" or path.read_text() == "mine"


def test_force_replaces_a_file_and_keeps_who_may_read_it(tmp_path: Path) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "dicomsync.toml"
    real.write_text("old")
    real.chmod(0o600)
    link.symlink_to(real)
    done = init("--force", "--archive", URL, "--folder", "/in", "--ledger", "/l.db", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert link.is_symlink()
    assert config.parse(real.read_text()).archive.url == URL
    assert real.stat().st_mode & 0o777 == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == ["dicomsync.toml", "real.toml"]


def test_a_disk_that_fills_up_costs_neither_the_old_config_nor_leaves_half_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text("mine")
    monkeypatch.setattr(os, "fsync", full)
    for path in (old, new):
        with pytest.raises(UsageProblem, match="No space left"):
            setup.write(path, "text", force=True)
    assert [one.name for one in tmp_path.iterdir()] == ["old.toml"]
    assert old.read_text() == "mine"


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="No such file or directory"):
        setup.write(tmp_path / "none" / "c.toml", "text")


def test_a_person_is_asked_only_for_what_was_not_given_and_again_after_a_bad_url() -> None:
    ask, asked = person("nonsense", URL, "", "/in", "~/more", "", "")
    told: list[str] = []
    answers = setup.complete(None, (), None, ask=ask, tell=told.append)
    assert answers == Answers(URL, ("/in", os.path.expanduser("~/more")), setup.default_ledger("main"))
    assert [words.split()[0] for words in asked] == [
        *("DICOMweb", "DICOMweb"),
        *("Folder", "Folder", "Another", "Another"),
        "The",
    ]
    assert "https://" in told[0]
    ask, asked = person("/l.db")
    assert setup.complete(URL, ["/in"], None, ask=ask).ledger == "/l.db"
    assert len(asked) == 1


def test_on_a_terminal_it_asks(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, f"{URL}\n{tmp_path / 'in'}\n\n{tmp_path / 'l.db'}\n".encode())
    process = subprocess.Popen(
        [sys.executable, "-m", "dicomsync", "init"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    os.close(theirs)
    done = finished(process)
    os.close(ours)
    assert done.code == 0, done.err
    written = config.parse((tmp_path / "dicomsync.toml").read_text())
    assert (written.archive.url, written.ledger.path) == (URL, str(tmp_path / "l.db"))
    assert [one.path for one in written.folders] == [str(tmp_path / "in")]

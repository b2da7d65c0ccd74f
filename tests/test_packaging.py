"""What is given away: sdist and wheel, man pages, completions, the container's health check."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from docs.make import commands
from tests.conftest import need
from tests.lookout import posted

CHECKOUT = Path(__file__).parent.parent
MADE = {"__pycache__", "dist", "build", "site"}  # what is made from the rest, beside it


def made(path: Path) -> bool:
    return any(part in MADE or (part.startswith(".") and path.name != part) for part in path.parts)


def checked_out() -> set[str]:
    """Every file that belongs to the project, without asking git: an sdist has none."""
    found = (path.relative_to(CHECKOUT) for path in CHECKOUT.rglob("*") if path.is_file())
    return {str(path) for path in found if path.parts[0] in ROOMS and not made(path)}


ROOMS = {"dicomsync", "tests", "docs", "benchmarks", "packaging", "systemd", "README.md", "CHANGELOG.md"}
ROOMS |= {"pyproject.toml", "config.example.toml", "mkdocs.yml"}


def build(source: Path, target: Path, kind: str) -> Path:
    """Build a distribution by the backend that pyproject.toml names, without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=60)
    [built] = target.iterdir()
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(CHECKOUT, tmp_path_factory.mktemp("sdist"), "sdist")


def test_the_sdist_holds_all_that_its_tests_need(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert checked_out() - packed == set()
    assert not any(made(Path(name)) for name in packed - {".ci/run", ".ci/lowest.py"})


def test_the_wheel_made_from_the_sdist_is_the_package_and_no_more(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    [source] = (tmp_path / "source").iterdir()
    with zipfile.ZipFile(build(source, tmp_path / "wheel", "wheel")) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    pages = {"dicomsync/pages/operate.md", "dicomsync/pages/when-something-is-wrong.md"}
    assert packed == {name for name in checked_out() if name.startswith("dicomsync/")} | pages


def test_python_m_is_the_program(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dicomsync", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        cwd=tmp_path,
    )
    assert re.fullmatch(r"dicomsync \d+\.\d+\.\d+\n", done.stdout)


# From the help text


def test_every_command_has_a_man_page_that_says_all_its_options() -> None:
    pages = {one.page: (one, commands.roff(one)) for one in commands.told()}
    assert {"dicomsync", "dicomsync-backfill", "dicomsync-archive", "dicomsync-archive-store"} <= pages.keys()
    for one, text in pages.values():
        for option in one.command.params:
            for name in (*option.opts, *option.secondary_opts):
                assert not name.startswith("-") or name.replace("-", "\\-") in text, (one.name, name)


def test_the_man_pages_are_well_formed(tmp_path: Path) -> None:
    need(None if shutil.which("groff") else "groff is not here (Debian: apt-get install groff-base)")
    commands.main(tmp_path)
    pages = sorted(tmp_path.iterdir())
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", *pages], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_takes_its_completion(shell: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from dicomsync.cli import main; sys.argv[0] = 'dicomsync'; main()",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "_DICOMSYNC_COMPLETE": f"{shell}_source"},
    )
    script = tmp_path / f"dicomsync.{shell}"
    script.write_text(done.stdout)
    assert "_dicomsync_completion" in done.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n", script], check=True, timeout=60)


# The container


def test_the_container_is_healthy_while_a_daemon_gives_signs_of_life(tmp_path: Path) -> None:
    text = (CHECKOUT / "packaging" / "Containerfile").read_text()
    [check] = re.findall(r"^HEALTHCHECK [^\n]*\\\n +CMD (.+)$", text, re.MULTILINE)
    check = check.replace("dicomsync", f"{sys.executable} -m dicomsync", 1)

    def healthy() -> bool:
        environment = {**os.environ, "DICOMSYNC_CONFIG": str(post.config)}
        return subprocess.run(["sh", "-c", check], env=environment, timeout=60).returncode == 0

    with posted(tmp_path / "site") as post:
        post.tell()
        assert healthy()
        post.tell(seconds_ago=600)
        assert not healthy()
    assert not healthy()


def test_the_container_runs_as_nobody_in_particular() -> None:
    last = (CHECKOUT / "packaging" / "Containerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER dicomsync$", last, re.MULTILINE)

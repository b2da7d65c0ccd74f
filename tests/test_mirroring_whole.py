"""Mirrored deletions as people have them: commands and a daemon, a sandbox and a real Orthanc."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dicomsync import samples, sandbox
from dicomsync.model import MARKER

from .conftest import AnyArchive, Done, Site, eventually, finished, small, uid_of

SHORT: dict[str, dict[str, Any]] = {
    "folders": {"mirror_deletions": "on", "scan_interval": 0.3, "full_scan_interval": 0.3},
    "deletions": {"confirm_after": 0.5, "grace": 8, "max_deletions": 2, "max_deletion_share": "50%"},
}


@pytest.fixture
def daemon(site: Site, archive: AnyArchive) -> Iterator[subprocess.Popen[str]]:
    """A daemon whose folder is enrolled, and has been read once."""
    site.configure(archive.url, **SHORT)
    assert command(site, "enrol", site.folder).code == 0
    process = site.start("run", "-c", site.config_file)
    eventually(lambda: site.ledger.exists() and "last read whole, " in status(site).out)
    yield process
    process.terminate()
    process.communicate(timeout=30)


def command(site: Site, *arguments: str | os.PathLike[str], answer: str = "") -> Done:
    """Run `deletions` as people do, beside the daemon or without one."""
    words = [sys.executable, "-m", "dicomsync", "deletions", *arguments, "-c", site.config_file]
    done = subprocess.run(words, input=answer, capture_output=True, text=True, timeout=60)
    return Done(done.returncode, done.stdout, done.stderr)


def status(site: Site) -> Done:
    process = site.start("status", "-c", site.config_file)
    out, err = process.communicate(timeout=60)
    return Done(process.returncode, out, err)


def stored(site: Site, archive: AnyArchive, *names: str) -> dict[str, Path]:
    """Have files stored that come live; gives their paths by UID."""
    paths = {
        uid_of(content): site.write(f"{name}.dcm", content) for name in names for content in [small(name)]
    }
    eventually(lambda: set(paths) <= set(archive.stored()) and site.instances() == {"stored": len(names)})
    return paths


def test_one_test_image_is_removed_goes_after_its_grace_and_is_stored_again(
    site: Site, archive: AnyArchive, daemon: subprocess.Popen[str]
) -> None:
    paths = stored(site, archive, "1", "2", "3", "4")
    uid, path = next(iter(paths.items()))
    before = archive.stored()[uid]
    path.unlink()
    eventually(lambda: "goes in" in command(site, "list").out)
    listed = command(site, "list", "--json")
    (folder,) = listed.json["folders"]
    (candidate,) = folder["candidates"]
    assert (candidate["sop_instance_uid"], candidate["files"]) == (uid, [str(path)])
    eventually(lambda: archive.count() == 3)
    eventually(lambda: site.instances() == {"stored": 3, "deleted": 1})
    assert set(archive.stored()) == set(paths) - {uid}
    assert (site.folder / os.fsdecode(MARKER) / "id").exists()
    told = command(site, "list").out
    assert f"  {uid}\n        {path}" in told.partition("`dicomsync deletions undo UID -c FILE`")[2]
    undone = command(site, "undo", uid)
    assert undone.code == 0, undone
    eventually(lambda: archive.count() == 4)
    assert archive.stored()[uid][128:] == before[128:]
    eventually(lambda: site.instances() == {"stored": 4})
    assert command(site, "undo", uid).code == 2
    assert "undo UID" not in command(site, "list").out
    assert daemon.poll() is None


def test_what_came_back_after_it_was_deleted_is_stored_and_is_not_offered_again(
    site: Site, archive: AnyArchive, daemon: subprocess.Popen[str]
) -> None:
    paths = stored(site, archive, "1", "2", "3", "4")
    uid, path = next(iter(paths.items()))
    content = path.read_bytes()
    path.unlink()
    eventually(lambda: site.instances() == {"stored": 3, "deleted": 1})
    assert "undo UID -c FILE` stores it again:\n      " in command(site, "list").out
    path.write_bytes(content)
    eventually(lambda: site.instances() == {"stored": 4})
    assert archive.stored().keys() == paths.keys()
    assert uid not in command(site, "list").out
    assert daemon.poll() is None


def test_a_folder_without_a_marker_is_told_and_how_it_gets_one(
    site: Site, archive: AnyArchive, daemon: subprocess.Popen[str]
) -> None:
    paths = stored(site, archive, "1", "2", "3", "4")
    shutil.rmtree(site.folder / os.fsdecode(MARKER))
    next(iter(paths.values())).unlink()
    eventually(lambda: "cannot go yet: the folder's marker is gone" in command(site, "list").out)
    assert archive.count() == 4
    assert daemon.poll() is None


def test_what_is_removed_at_once_freezes_and_goes_only_if_a_person_types_how_many(
    site: Site, archive: AnyArchive, daemon: subprocess.Popen[str]
) -> None:
    paths = stored(site, archive, "1", "2", "3", "4", "5", "6")
    removed = list(paths.items())[:3]
    for _, path in removed:
        path.unlink()
    eventually(lambda: command(site, "list").code == 22)
    told = status(site)
    assert told.code == 22
    assert "FROZEN" in told.out
    eventually(lambda: len(json.loads(command(site, "list", "--json").out)["folders"][0]["candidates"]) == 3)
    wrong = command(site, "approve", answer="2\n")
    assert (wrong.code, archive.count()) == (22, 6)
    assert "3 instances of 1 study" in wrong.err
    assert command(site, "approve", "--max-delete", "2", "--yes").code == 22
    assert command(site, "cancel", removed[0][0]).code == 0
    assert command(site, "cancel", removed[0][0]).code == 2
    right = command(site, "approve", answer="2\n")
    assert right.code == 0, right
    eventually(lambda: archive.count() == 4)
    assert set(archive.stored()) == set(paths) - {uid for uid, _ in removed[1:]}
    assert daemon.poll() is None


def test_what_is_cancelled_as_a_whole_leaves_nothing_frozen_and_explain_told_of_it_meanwhile(
    site: Site, archive: AnyArchive, daemon: subprocess.Popen[str]
) -> None:
    paths = stored(site, archive, "1", "2", "3", "4", "5", "6")
    for path in list(paths.values())[:3]:
        path.unlink()
    eventually(lambda: command(site, "list").code == 22)
    told = command(site, "list").out
    assert "approve" in told
    assert "goes in" not in told  # as long as it is frozen it does not go
    explained = finished(site.start("explain", next(iter(paths)), "-c", site.config_file))
    assert (
        "next: its file has left: `dicomsync deletions list -c FILE` says what becomes of it" in explained.out
    )
    assert daemon.poll() is None
    done = command(site, "cancel", "--all")
    assert (done.code, done.out) == (
        0,
        "3 deletions cancelled: their instances stay in the archive.\n",
    )
    assert command(site, "list").code == 0
    assert command(site, "cancel", "--all").out == "Nothing waited to be deleted; nothing was changed.\n"
    assert archive.count() == 6


def test_without_a_daemon_the_commands_work_on_the_ledger_and_a_backfill_deletes_nothing(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    site.configure(sandboxed.url, **SHORT)
    path = site.write("1.dcm", small("1"))
    assert command(site, "enrol", site.folder).code == 0
    assert command(site, "enrol", site.home).code == 2
    assert site.run_backfill().code == 0
    path.unlink()
    for _ in range(2):
        assert site.run_backfill().code == 0
    assert len(sandboxed.stored()) == 1
    assert command(site, "list").code == 0
    assert command(site, "approve", "--yes").code == 2
    assert command(site, "approve", "--max-delete", "1", "--yes").code == 2
    assert command(site, "undo", samples.uid("s", "1", "1")).code == 2
    assert command(site, "cancel").code == 2
    assert command(site, "cancel", "--all").code == 0

"""Mirrored deletions on a real folder and ledger, with a made-up archive, clock and hands."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomsync import roots
from dicomsync.deletion import Rules
from dicomsync.ledger import Removal
from dicomsync.model import InstanceState

from .world import World

S = InstanceState
RULES = Rules(confirm_after_seconds=600.0, grace_seconds=3600.0, max_deletions=3, max_share=0.5)


class Mirrored(World):
    """A world of a daemon whose folder is enrolled and mirrors its deletions."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, kind: str = "dicom-server") -> None:
        super().__init__(home, monkeypatch, kind)
        self.once = False
        self.mirror = "on"
        self.rules = RULES
        self.again()
        self.enrol()
        self.passes(30)  # the first pass: what comes from now on comes live

    def enrol(self) -> None:
        root = roots.place(os.fsencode(self.folder))
        with self.ledger.transaction():
            self.ledger.enrol(os.fsencode(self.folder), root, self.now.wall)
            self.engine.mirroring.enrolled()

    def store(self, *names: str) -> list[str]:
        """Have files come live, and be stored."""
        uids: list[str] = []
        for name in names:
            uids.append(f"1.2.3.{len(self.archive.held) + len(uids) + 1}")
            self.put(name, uids[-1])
        self.engine.hint([], everywhere=True)
        self.passes(120, step=5)
        assert all(self.state(uid) is S.STORED for uid in uids)
        return uids

    def hours(self, hours: float) -> None:
        """Let time pass, step by step."""
        self.passes(hours * 3600, step=20)

    @property
    def removals(self) -> list[Removal]:
        return self.ledger.removals()

    @property
    def frozen(self) -> str:
        return self.ledger.roots()[0].frozen

    def why(self, uid: str) -> list[str]:
        """The history of an instance: its events, each with its detail."""
        (row,) = self.reader.instances_under(uid)
        return [
            " ".join(filter(None, (one["event"], one["detail"])))
            for one in self.reader.history("instance", row["id"])
        ]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirrored]:
    one = Mirrored(tmp_path, monkeypatch)
    yield one
    one.check()
    one.die()


def test_what_is_removed_soon_after_it_was_stored_is_deleted_after_its_grace_and_not_before(
    world: Mirrored,
) -> None:
    uid, *others = world.store("test.dcm", "a.dcm", "b.dcm", "c.dcm")
    (world.folder / "test.dcm").unlink()
    world.hours(0.9)
    assert world.state(uid) is S.LEAVING
    assert not world.archive.deletions
    world.hours(1.0)
    assert world.archive.deletions == [("1.2.3", "1.2.3.1", uid)]
    assert world.state(uid) is S.DELETED
    assert world.reason(uid) == "mirrored"
    assert set(world.archive.held) == set(others)
    assert world.why(uid) == ["file-left", "proved-absent", "grace-begins", "deletion-begun", "mirrored"]
    (kept,) = world.trash.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert world.trash.stat().st_mode & 0o777 == 0o700

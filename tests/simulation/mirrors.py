"""The world's side of mirrored deletions: config, markers, mounts, and what a person orders about them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

from dicomsync import commanded, mirror_orders, roots
from dicomsync.deletion import Rules
from dicomsync.mirror_orders import MirrorOrder
from dicomsync.model import MARKER, Folder, Mirror

from .disk import Hangs
from .private import BothOs

if TYPE_CHECKING:
    from .disk import Node
    from .site import Site

RULES = (
    Rules(300.0, 900.0, 3, 0.5),
    Rules(120.0, 600.0, 2, 1.0),
    Rules(600.0, 1200.0, 20, 0.1),
    Rules(300.0, 900.0, 20, 1.0, undo_seconds=None),
    Rules(60.0, 300.0, 20, 1.0, undo_seconds=1800.0, undo_max_bytes=6_000),
)
MODES: tuple[tuple[Mirror, Mirror], ...] = (
    ("on", "on"),
    ("on", "off"),
    ("on", "on"),
    ("on", "report"),
    ("report", "on"),
    ("off", "off"),
)
WITHIN = (86_400.0, None, None, 1800.0)
EXCLUDED = ((), (), ("1.dcm",), ("b",))
FULL_SCAN_SECONDS = 200.0
OTHER_DISK, NESTED_DISK = 9, 2


@dataclass(frozen=True)
class Config:
    """What the config says of deletions, and of the names that are left out."""

    modes: tuple[Mirror, Mirror] = ("off", "off")
    within: float | None = 86_400.0
    rules: Rules = RULES[0]
    excluded: tuple[str, ...] = ()

    @property
    def mirrors(self) -> bool:
        """Whether any folder does."""
        return self.modes != ("off", "off")


class Mirrors:
    """The part of a life that mirrored deletions are about."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.config = Config()
        self.trash = os.fsencode(site.ledger_path) + b".trash"
        self.hybrid = BothOs(site.disk, self.trash)
        self._markers = 0
        self._orders: list[tuple[Future[int], Callable[[], None], Callable[[], bool]]] = []
        self.mounted: dict[bytes, tuple[Node, Node]] = {}  # what is hidden below a mount, and the mount

    def patch(self, stack: ExitStack) -> None:
        """Stand in for the disk in the rooms of mirrored deletions."""
        for room in ("quiet", "roots", "removal", "copies", "jobs"):
            stack.enter_context(mock.patch(f"dicomsync.{room}.os", self.hybrid))
        stack.enter_context(mock.patch("dicomsync.mounts.filesystem", return_value="ext4"))
        stack.enter_context(mock.patch("dicomsync.mounts.below", self._site.disk.mounts))
        look = roots.look

        def looked(path: bytes) -> Any:
            self._site.oracle.deletions.looked_at(path)
            return look(path)

        stack.enter_context(mock.patch("dicomsync.roots.look", looked))

    def folders(self, paths: tuple[bytes, ...], settle: float) -> list[Folder]:
        """Give the folders as the config has them."""
        config = self.config
        full = FULL_SCAN_SECONDS if config.mirrors else 600.0
        return [
            Folder(
                path,
                exclude=config.excluded,
                settle_seconds=settle,
                scan_seconds=60.0,
                full_scan_seconds=full,
                mirror=mode,
                delete_within_seconds=config.within,
            )
            for path, mode in zip(paths, config.modes, strict=True)
        ]

    # what a person does

    def configure(self, config: Config) -> None:
        """Change the config, and have it read."""
        if config != self.config:
            self.config = config
            self._site.reload()

    def _order(
        self, order: MirrorOrder, done: Callable[[], None], recorded: Callable[[], bool] = lambda: False
    ) -> None:
        engine = self._site.engine
        if engine is not None:
            self._orders.append((engine.order(partial(commanded.mirrored, engine, order)), done, recorded))

    def settle(self) -> None:
        """Take what became of orders."""
        for one in [one for one in self._orders if one[0].done()]:
            self._orders.remove(one)
            if not one[0].cancelled() and one[0].exception() is None:
                one[1]()

    def forget(self) -> None:
        """The daemon that had the orders is no more; what it recorded was done, if nobody was told."""
        self.settle()
        for _, done, recorded in self._orders:
            if recorded():
                done()
        self._orders.clear()

    def enrol(self, root: bytes) -> None:
        """`dicomsync deletions enrol`: a marker, and an order."""
        site = self._site
        node = site.disk.find(root)
        if site.engine is None or node is None:
            return
        marker = root + b"/" + MARKER
        if site.disk.find(marker) is None:
            self._markers += 1
            site.disk.mkdir(marker)
            site.disk.write(marker + b"/id", b"%032x\n" % self._markers)
        with suppress(Hangs):
            seen = roots.look(root)
            if not seen.problem:
                told = partial(site.oracle.deletions.enrolled, root, node, seen.marker)
                recorded = partial(
                    self._has, "roots WHERE path = ? AND enrolled_at >= ?", root, self._site.wall
                )
                self._order(mirror_orders.Enrol(os.fsdecode(root), seen), told, recorded)

    def approve(self, root: bytes) -> None:
        """`dicomsync deletions approve`, of what is listed now."""
        waiting = self._site.oracle.deletions.waiting(root)
        if waiting:
            uids = frozenset(uid for _, uid in waiting)
            latest = max(row for row, _ in waiting)
            order = mirror_orders.Approve(os.fsdecode(root), len(waiting), latest)
            told = partial(self._site.oracle.deletions.approved, uids)
            self._order(order, told, partial(self._has, "removals WHERE id = ? AND approved", latest))

    def cancel(self, which: int) -> None:
        """`dicomsync deletions cancel`: one of what waits, or all."""
        waiting = sorted({uid for root in self._site.folders for _, uid in self._all_waiting(root)})
        if waiting:
            wanted = waiting if which % 3 == 0 else [waiting[which % len(waiting)]]
            order = mirror_orders.Cancel(() if which % 3 == 0 else tuple(wanted), which % 3 == 0)
            self._order(order, partial(self._site.oracle.deletions.cancelled, frozenset(wanted)))

    def _all_waiting(self, root: bytes) -> list[tuple[int, str]]:
        return self._site.oracle.deletions.waiting(root)

    def undo(self, uid: str) -> None:
        """`dicomsync deletions undo`."""
        self._order(mirror_orders.Undo(uid), partial(self._site.oracle.deletions.cancelled, frozenset({uid})))

    def _has(self, rows: str, *values: object) -> bool:
        return bool(self._site.oracle.ask(f"SELECT 1 FROM {rows}", *values))

    # what happens to a folder

    def spoil_marker(self, root: bytes, how: int) -> None:
        """The marker is removed, changed, unreadable or something else; or is as it was."""
        disk = self._site.disk
        marker = root + b"/" + MARKER
        node = disk.find(marker + b"/id")
        match how % 5:
            case 0:
                disk.remove(marker)
            case 1 if node is not None:
                disk.write(marker + b"/id", b"f" * 32 + b"\n")
            case 2 if node is not None:
                node.fault = 0 if node.fault else 13
            case 3:
                disk.remove(marker + b"/id")
            case 4:
                disk.remove(marker)
                disk.special(marker, stat.S_IFLNK)

    def mount(self, path: bytes) -> None:
        """A disk is mounted below a folder, or is there no more."""
        disk = self._site.disk
        if path in self.mounted:
            hidden, mounted = self.mounted.pop(path)
            if disk.find(path) is mounted:
                disk.leave(path)
                disk.enter(path, hidden)
                self._site.lost_mounts[path] = mounted
        elif path in self._site.lost_mounts and (hidden_now := disk.find(path)) is not None:
            mounted = self._site.lost_mounts.pop(path)
            disk.leave(path)
            disk.enter(path, mounted)
            self.mounted[path] = (hidden_now, mounted)
        elif (hidden_now := disk.mount(path, NESTED_DISK)) is not None:
            fresh = disk.find(path)
            assert fresh is not None
            self.mounted[path] = (hidden_now, fresh)

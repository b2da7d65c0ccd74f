"""Watching real directories with real inotify: every hint is waited for, none is hoped for."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from watchdog.observers import inotify_c

from dicomsync.watch import DIED, EVENTS, GONE, STOPPED, Hints, Watch, raising
from dicomsync.watch import roots as roots_module
from dicomsync.watch.inotify import Emitter, Reader

PATIENCE = 10.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)


class Site:
    """A folder that is watched, something outside it, and what was hinted at so far."""

    def __init__(self, place: Path) -> None:
        self.root = place / "root"
        self.root.mkdir()
        self.outside = place / "outside"
        self.outside.mkdir()
        self.woken = 0
        self.hinted: set[bytes] = set()
        self.everywhere = False
        self.watch = self.watching(self.root)

    def watching(self, *roots: Path, most: int = 1_000) -> Watch:
        return Watch([os.fsencode(root) for root in roots], self._wake, most)

    def begin(self) -> None:
        self.watch.start()
        self.until_watched()

    def until_watched(self, root: Path | None = None) -> None:
        self.until_state(EVENTS, root)
        self.look()  # who was watched before is looked at everywhere first, and single hints begin after that

    def until_state(self, words: str, root: Path | None = None) -> None:
        path = os.fsencode(root or self.root)
        until(lambda: self.watch.state()[path].startswith(words))

    def look(self) -> set[bytes]:
        directories, everywhere = self.watch.hints.take()
        self.hinted |= directories
        self.everywhere |= everywhere
        return self.hinted

    def until_hinted(self, directory: Path) -> None:
        until(lambda: os.fsencode(directory) in self.look())

    def until_everywhere(self) -> None:
        def told() -> bool:
            self.look()
            return self.everywhere

        until(told)

    def settled(self) -> set[bytes]:
        """What was hinted at by all that happened up to now: the queue is in order, so a mark ends it."""
        mark = self.root / f"mark-{len(os.listdir(self.root))}"
        mark.mkdir()
        self.until_hinted(mark)
        return self.hinted - {os.fsencode(mark)}

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.watch.stop()


def below(*paths: Path) -> set[bytes]:
    return {os.fsencode(path) for path in paths}


# What is hinted at


def test_a_slow_writer_is_hinted_at_when_it_closes_and_not_before(site: Site) -> None:
    site.begin()
    with (site.root / "slow.dcm").open("wb") as file:
        for _ in range(3):
            file.write(b"part")
            file.flush()
        assert site.settled() == set()
    site.until_hinted(site.root)


def test_a_file_renamed_from_its_temporary_name_is_hinted_at_by_the_rename(site: Site) -> None:
    (site.root / "one").mkdir()
    (site.root / "one" / "a.part").write_bytes(b"x")
    site.begin()
    (site.root / "one" / "a.part").rename(site.root / "one" / "a.dcm")
    site.until_hinted(site.root / "one")


def test_a_file_moved_to_another_directory_is_hinted_at_where_it_went(site: Site) -> None:
    (site.root / "one").mkdir()
    (site.root / "two").mkdir()
    (site.root / "one" / "a.dcm").write_bytes(b"x")
    site.begin()
    (site.root / "one" / "a.dcm").rename(site.root / "two" / "a.dcm")
    site.until_hinted(site.root / "two")
    assert site.settled() == below(site.root / "two")


def test_a_file_renamed_in_from_outside_is_hinted_at(site: Site) -> None:
    (site.outside / "a.dcm").write_bytes(b"x")
    site.begin()
    (site.outside / "a.dcm").rename(site.root / "a.dcm")
    site.until_hinted(site.root)


def test_a_thousand_renames_are_hinted_at_without_half_a_second_for_each_lull(site: Site) -> None:
    site.begin()
    began = time.monotonic()
    for number in range(1_000):
        part = site.root / f"{number}.part"
        part.write_bytes(b"x")
        part.rename(part.with_suffix(".dcm"))
    assert site.settled() == below(site.root)
    assert not site.everywhere
    assert time.monotonic() - began < PATIENCE / 2


def test_a_file_moved_out_is_no_hint(site: Site) -> None:
    (site.root / "a.dcm").write_bytes(b"x")
    site.begin()
    (site.root / "a.dcm").rename(site.outside / "a.dcm")
    assert site.settled() == set()


def test_a_hard_link_makes_no_event_and_is_left_to_the_scan(site: Site) -> None:
    (site.outside / "a.dcm").write_bytes(b"x")
    site.begin()
    os.link(site.outside / "a.dcm", site.root / "a.dcm")
    assert site.settled() == set()


def test_a_new_sub_directory_is_hinted_at_even_if_its_files_came_before_its_watch(site: Site) -> None:
    site.begin()
    for number in range(50):
        deep = site.root / f"study{number}" / "series" / "more"
        deep.mkdir(parents=True)
        (deep / "a.dcm").write_bytes(b"x")
    made = {site.root / f"study{number}" for number in range(50)}
    until(lambda: below(*made) <= site.look())
    site.hinted.clear()
    (site.root / "study49" / "series" / "more" / "b.dcm").write_bytes(b"x")
    site.until_hinted(site.root / "study49" / "series" / "more")


def test_a_tree_moved_in_is_hinted_at_and_watched(site: Site) -> None:
    (site.outside / "study" / "series").mkdir(parents=True)
    site.begin()
    (site.outside / "study").rename(site.root / "study")
    site.until_hinted(site.root / "study")
    site.until_hinted(site.root / "study" / "series")
    site.settled()
    site.hinted.clear()
    (site.root / "study" / "series" / "a.dcm").write_bytes(b"x")
    site.until_hinted(site.root / "study" / "series")


def test_a_moved_directory_is_hinted_at_under_its_new_name_and_so_are_its_files(site: Site) -> None:
    (site.root / "old" / "series").mkdir(parents=True)
    site.begin()
    (site.root / "old").rename(site.root / "new")
    site.until_hinted(site.root / "new")
    (site.root / "new" / "series" / "a.dcm").write_bytes(b"x")
    site.until_hinted(site.root / "new" / "series")


def test_names_that_are_not_text_come_back_byte_for_byte(site: Site) -> None:
    odd = os.path.join(os.fsencode(site.root), b"caf\xe9\n")
    os.mkdir(odd)
    site.begin()
    Path(os.fsdecode(odd), "a.dcm").write_bytes(b"x")
    until(lambda: odd in site.look())


def test_a_root_that_is_a_link_is_hinted_at_by_its_own_name(site: Site) -> None:
    link = site.outside / "link"
    link.symlink_to(site.root)
    (site.root / "one").mkdir()
    site.watch = site.watching(link)
    site.watch.start()
    site.until_watched(link)
    (site.root / "a.dcm").write_bytes(b"x")
    (site.root / "one" / "a.dcm").write_bytes(b"x")
    site.until_hinted(link)
    site.until_hinted(link / "one")


# Hints are few


def test_too_many_hints_become_one_scan(site: Site) -> None:
    site.watch = site.watching(site.root, most=10)
    site.begin()
    for number in range(20):
        (site.root / str(number)).mkdir()
    until(lambda: site.watch.hints._everywhere)  # to take them meanwhile would be to keep them few
    assert site.watch.hints.take() == (frozenset(), True)


def test_after_everywhere_was_taken_hints_are_single_again() -> None:
    hints = Hints(most=2)
    for name in (b"a", b"b", b"b", b"c", b"d"):
        hints.add(name)
    assert hints.take() == (frozenset(), True)
    hints.add(b"e")
    assert hints.take() == (frozenset({b"e"}), False)
    assert hints.take() == (frozenset(), False)


def test_the_loop_is_woken_once_for_all_hints_between_two_takes() -> None:
    woken: list[bool] = []
    hints = Hints(most=2, wake=lambda: woken.append(True))
    for name in (b"a", b"b", b"c", b"d"):
        hints.add(name)
    assert len(woken) == 1
    hints.take()
    hints.everywhere()
    hints.everywhere()
    assert len(woken) == 2


def test_a_hint_wakes_the_loop(site: Site) -> None:
    site.begin()
    (site.root / "a.dcm").write_bytes(b"x")
    until(lambda: site.woken > 0)


def test_a_loop_that_cannot_be_woken_does_not_stop_the_watcher(site: Site) -> None:
    def broken() -> None:
        raise RuntimeError("the inbox is closed")

    site.watch = Watch([os.fsencode(site.root)], broken)
    site.begin()
    (site.root / "a.dcm").write_bytes(b"x")
    site.until_hinted(site.root)
    assert site.watch.alive()


# What inotify refuses or loses

WATCHING = """
import os, sys
from dicomsync.watch import STARTING, Watch
root = os.fsencode(sys.argv[1])
watch = Watch([root], lambda: None)
watch.start()
while watch.state()[root] == STARTING: pass
print(watch.state()[root], flush=True)
if not sys.stdin.readline(): sys.exit()
seen, everywhere = set(), False
while not everywhere:
    directories, everywhere = watch.hints.take()
print("everywhere", watch.alive(), watch.state()[root], flush=True)
"""


def other_process(site: Site, *before: str) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-c", WATCHING, os.fspath(site.root)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_burst_of_twenty_thousand_files_through_a_full_queue_means_look_everywhere(site: Site) -> None:
    files = 20_000
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit >= 2 * files:
        pytest.skip(f"the kernel queues {limit} events here: {files} files do not fill that")
    with other_process(site) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "events\n"
            process.send_signal(signal.SIGSTOP)
            for number in range(files):
                os.close(os.open(site.root / f"{number}.dcm", os.O_WRONLY | os.O_CREAT))
            process.send_signal(signal.SIGCONT)
            out, err = process.communicate("go on\n", timeout=PATIENCE)
        finally:
            process.kill()
    assert out == "everywhere True events\n"
    assert err == ""  # watchdog's warnings hold paths


def test_the_real_watch_limit_is_told_with_what_to_do(site: Site) -> None:
    for number in range(11):
        (site.root / str(number)).mkdir()
    fewer = 'echo 5 > /proc/sys/user/max_inotify_watches && exec "$@"'
    namespace = ("unshare", "--user", "--map-root-user", "sh", "-c", fewer, "sh")
    try:
        subprocess.run([*namespace, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no user namespace of our own, in which to lower the limit")
    with other_process(site, *namespace) as process:
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
    assert "watch limit reached: 5 of 12 directories" in out
    assert "sysctl -w fs.inotify.max_user_watches=" in out
    assert err == ""


class Limit:
    """The kernel's limit, as low as a test wants it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refuse: Callable[[bytes], bool] = lambda _path: False
        self.value = 8_192
        self._really = inotify_c.inotify_add_watch
        monkeypatch.setattr(inotify_c, "inotify_add_watch", self._add)
        monkeypatch.setattr(roots_module, "_limit", lambda _name: self.value)

    def _add(self, descriptor: int, path: bytes, mask: int) -> Any:
        if self.refuse(path):
            ctypes.set_errno(errno.ENOSPC)
            return -1
        return self._really(descriptor, path, mask)


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    return Limit(monkeypatch)


def test_a_root_over_the_limit_is_scanned_and_the_others_go_on(site: Site, limit: Limit) -> None:
    limit.refuse = lambda path: path.endswith(b"/root/2")
    for number in range(5):
        (site.root / str(number)).mkdir()
    site.watch = site.watching(site.root, site.outside)
    site.watch.start()
    site.until_state("watch limit reached: 5 of 6 directories")
    site.until_watched(site.outside)
    (site.outside / "a.dcm").write_bytes(b"x")
    site.until_hinted(site.outside)
    assert site.watch.alive()
    assert site.watch.state()[os.fsencode(site.root)].endswith(raising("max_user_watches", 0))


def test_the_line_asks_for_more_than_there_is(site: Site, limit: Limit) -> None:
    limit.refuse = lambda path: True
    limit.value = 100_000
    site.watch.start()
    site.until_state("watch limit reached: 0 of 1 directories")
    assert site.watch.state()[os.fsencode(site.root)].endswith(raising("max_user_watches", 100_000))


def test_a_limit_reached_later_is_told_and_everything_looked_at(site: Site, limit: Limit) -> None:
    limit.refuse = lambda path: path.endswith(b"/new")
    site.begin()
    (site.root / "new").mkdir()
    site.until_state("watch limit reached: 1 of 2 directories")
    site.until_everywhere()
    site.watch.refresh()
    until(lambda: not watchers())  # what it had is left to the others
    site.until_state("watch limit reached: 1 of 2 directories")


def test_after_a_limit_was_raised_the_root_is_watched_again(site: Site, limit: Limit) -> None:
    limit.refuse = lambda path: True
    site.watch.start()
    site.until_state("watch limit reached")
    limit.refuse = lambda path: False
    for _ in range(3):
        site.watch.refresh()
        until(lambda: not tending())
        site.until_state("watch limit reached")  # as long as the limit is what it was
    limit.value *= 2
    site.watch.refresh()
    site.until_watched()
    site.until_everywhere()


def test_no_inotify_instance_left_is_told_with_what_to_do(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> int:
        ctypes.set_errno(errno.EMFILE)
        return -1

    monkeypatch.setattr(inotify_c, "inotify_init", refused)
    site.watch.start()
    site.until_state("inotify instance limit reached")
    assert "sysctl -w fs.inotify.max_user_instances=" in site.watch.state()[os.fsencode(site.root)]


def test_a_root_that_may_not_be_read_is_said_to_be_so_and_does_not_keep_the_loop_awake(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_descriptor: int, _path: bytes, _mask: int) -> int:
        ctypes.set_errno(errno.EACCES)
        return -1

    monkeypatch.setattr(inotify_c, "inotify_add_watch", refused)
    site.watch.start()
    site.until_state("Permission denied")
    for _ in range(20):
        site.watch.refresh()
        until(lambda: not tending() and not watchers())
    site.until_state("Permission denied")
    assert site.woken == 0


# Roots come and go


def test_a_root_missing_at_the_start_is_watched_when_it_comes(site: Site) -> None:
    later = site.outside / "later"
    site.watch = site.watching(later, site.root)
    site.watch.start()
    site.until_state(GONE, later)
    site.until_watched()
    later.mkdir()
    site.watch.refresh()
    site.until_watched(later)
    site.until_everywhere()
    (later / "a.dcm").write_bytes(b"x")
    site.until_hinted(later)


def test_a_deleted_root_is_gone_at_once_and_can_come_back(site: Site) -> None:
    site.begin()
    site.root.rmdir()
    site.until_state(GONE)
    site.until_everywhere()
    assert site.watch.alive()
    site.root.mkdir()
    site.watch.refresh()
    site.until_watched()


def test_a_root_that_was_moved_is_gone_at_the_next_refresh(site: Site) -> None:
    site.begin()
    site.root.rename(site.outside / "moved")
    site.watch.refresh()
    site.until_state(GONE)


def test_a_root_that_was_replaced_is_watched_in_its_new_place(site: Site) -> None:
    site.begin()
    site.root.rename(site.outside / "moved")
    site.root.mkdir()
    site.watch.refresh()
    site.until_everywhere()
    site.until_watched()
    (site.root / "a.dcm").write_bytes(b"x")
    site.until_hinted(site.root)


def test_an_unmounted_root_is_gone(site: Site) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "none", os.fspath(site.root)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    try:
        site.begin()
    finally:
        subprocess.run(["umount", os.fspath(site.root)], check=True)
    site.until_state(GONE)
    site.until_everywhere()


def test_a_root_that_is_a_file_is_not_watched(site: Site) -> None:
    site.root.rmdir()
    site.root.write_bytes(b"x")
    site.watch.start()
    site.until_state("not a directory")


# Threads


def watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if isinstance(thread, Emitter | Reader)]


def tending() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "watch-tend"]


def descriptors() -> int:
    """How many there are, once the tests before are over."""
    until(lambda: not watchers() and not tending())
    return len(os.listdir("/proc/self/fd"))


def test_a_refresh_leaves_alone_what_is_watched(site: Site) -> None:
    until(lambda: not watchers())  # of the tests before
    site.begin()
    before = set(watchers())
    site.watch.refresh()
    until(lambda: not tending())
    assert set(watchers()) == before
    assert site.watch.hints.take() == (frozenset(), False)


@pytest.mark.parametrize(("who", "verb"), [(Reader, "handle_event"), (Emitter, "queue_event")])
def test_a_thread_that_dies_is_noticed_without_a_word_and_replaced(
    who: type, verb: str, site: Site, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_anything: object) -> None:
        raise KeyError(os.fsencode(site.root))

    site.begin()
    with monkeypatch.context() as patch:
        patch.setattr(who, verb, broken)
        (site.root / "a.dcm").write_bytes(b"x")
        site.until_state(DIED)
    assert not site.watch.alive()
    site.until_everywhere()
    site.watch.refresh()
    site.until_watched()
    assert site.watch.alive()
    (site.root / "a.dcm").write_bytes(b"x")
    site.until_hinted(site.root)
    assert capfd.readouterr() == ("", "")


def test_directories_that_move_out_come_again_and_go_leave_hints_behind_or_a_watcher_that_is_known_to_be_dead(
    site: Site,
) -> None:
    """watchdog 7.1 goes on watching what was moved out, under its old name, and can trip over that."""
    (site.root / "study").mkdir()
    site.begin()
    (site.root / "study").rename(site.outside / "study")
    (site.root / "study").mkdir()
    site.until_hinted(site.root / "study")
    (site.root / "study").rmdir()
    (site.outside / "study").rmdir()
    (site.root / "more").mkdir()
    until(lambda: os.fsencode(site.root / "more") in site.look() or not site.watch.alive())
    site.watch.refresh()
    site.until_watched()
    (site.root / "a.dcm").write_bytes(b"x")
    site.until_hinted(site.root)


def test_to_stop_is_quick_and_leaves_neither_thread_nor_descriptor(site: Site) -> None:
    before = descriptors()
    for number in range(200):
        (site.root / str(number)).mkdir()
    site.begin()
    began = time.monotonic()
    site.watch.stop()
    assert time.monotonic() - began < 1.0
    assert site.watch.state() == {os.fsencode(site.root): STOPPED}
    until(lambda: not watchers())
    until(lambda: descriptors() <= before)
    site.watch.refresh()
    assert site.watch.state() == {os.fsencode(site.root): STOPPED}


def test_to_stop_before_it_began_leaves_nothing_either(site: Site) -> None:
    before = descriptors()
    for _ in range(20):
        watch = site.watching(site.root)
        watch.start()
        watch.stop()
    until(lambda: not watchers() and not tending())
    until(lambda: descriptors() <= before)


def test_a_disk_that_hangs_holds_up_neither_start_nor_stop_nor_the_other_roots(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    really = inotify_c.inotify_add_watch

    def hangs(descriptor: int, path: bytes, mask: int) -> Any:
        if path == os.fsencode(site.root):
            released.wait()
        return really(descriptor, path, mask)

    monkeypatch.setattr(inotify_c, "inotify_add_watch", hangs)
    site.watch = site.watching(site.root, site.outside)
    began = time.monotonic()
    site.watch.start()
    site.until_watched(site.outside)
    site.watch.refresh()
    assert site.watch.state()[os.fsencode(site.root)] == "not watched yet"
    (site.outside / "a.dcm").write_bytes(b"x")
    site.until_hinted(site.outside)
    site.watch.stop()
    assert time.monotonic() - began < 3.0
    released.set()
    until(lambda: not watchers())


def test_nothing_of_watchdog_reaches_a_log(site: Site) -> None:
    told: list[logging.LogRecord] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record)

    listener = Listener()
    logging.getLogger().addHandler(listener)
    try:
        site.begin()
        logging.getLogger("watchdog.observers.inotify").warning("a path")
    finally:
        logging.getLogger().removeHandler(listener)
    assert told == []


def test_to_import_it_does_not_import_watchdog() -> None:
    code = "import sys, dicomsync.watch; sys.exit('watchdog' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_where_there_is_no_inotify_everything_is_scanned(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dicomsync.watch.inotify", None)
    site.watch.start()
    site.until_state("cannot be watched here")
    assert site.watch.alive()


def test_a_whole_tree_deleted_while_it_is_watched_leaves_the_watcher_well(site: Site) -> None:
    for number in range(100):
        (site.root / "tree" / str(number) / "more").mkdir(parents=True)
    site.begin()
    shutil.rmtree(site.root / "tree")
    site.settled()
    assert site.watch.alive()
    assert site.watch.state() == {os.fsencode(site.root): EVENTS}


@pytest.mark.parametrize(
    ("limit", "needed", "enough"),
    [(0, 0, 65_536), (8_192, 9_000, 65_536), (65_536, 70_000, 140_000), (524_288, 1, 1_048_576)],
)
def test_a_limit_is_raised_to_twice_what_is_needed_and_twice_what_it_is(
    limit: int, needed: int, enough: int
) -> None:
    assert f"fs.inotify.max_user_watches={enough} " in raising("max_user_watches", limit, needed)

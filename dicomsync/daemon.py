"""The daemon: the same engine, for ever; its start, its end, its reload, and what it tells systemd.

Trouble with the ledger is answered as a restart would answer it: nothing more goes out, what is on its
way comes to its end, and a new engine takes over from the ledger alone. A ledger that is damaged, or
replaced under its hands, ends the process: the next start mends it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from types import FrameType

from dicomsync import concerns, control, dicomweb, words
from dicomsync.config import Config, warnings
from dicomsync.engine import Engine
from dicomsync.errors import LedgerDamaged, LedgerProblem, UsageProblem
from dicomsync.handles import handle
from dicomsync.hands import Threads
from dicomsync.ledger import Ledger, Reader
from dicomsync.model import Folder
from dicomsync.notify import Notify
from dicomsync.pacing import Circuit, Trouble
from dicomsync.renewals import Renewals
from dicomsync.service import moment, open_ledger, tame_malloc
from dicomsync.serving import Desk
from dicomsync.telling import Telling
from dicomsync.watch import Watch
from dicomsync.wiring import (
    alerts_of,
    archive_of,
    caps_of,
    deletions_of,
    folders_of,
    keep_out,
    trash_of,
    uploads_of,
)
from dicomsync.work import Pace

log = logging.getLogger("dicomsync.daemon")

DRAIN_SECONDS = 20.0
QUIESCE_SECONDS = 90.0  # longer than any healthy answer takes: after that only a new process is safe
LEDGER_RETRY_SECONDS = 5.0
STATUS_SECONDS = 5.0


class Daemon:
    """One daemon: a config, a ledger under its lock, an engine, and a watcher whose hints it takes."""

    def __init__(
        self,
        config: Config,
        load: Callable[[], Config],
        notify: Notify,
        *,
        sends: bool = True,
        say: Callable[[str], None] = print,
    ) -> None:
        self._config = config
        self._sends = sends
        self._say = say
        self._telling: Telling | None = None
        self._folders: Sequence[Folder] = ()
        self._blocked: tuple[str, float] | None = None  # why the ledger cannot be written, and since when
        self._renewals = Renewals(archive_of(config.archive))
        self._load = load
        self._notify = notify
        self._stop = self._reload = False
        self._engine: Engine | None = None
        self._watch: Watch | None = None
        self._told_status = self._told_life = float("-inf")

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; gives the exit code.

        Raises UsageProblem, LedgerInUse or LedgerProblem where it cannot start.
        """
        tame_malloc()
        self._check(self._config)
        path = Path(self._config.ledger.path)
        ledger = open_ledger(path) if self._sends else Ledger.scratch(path)
        commands = None
        try:
            with ledger.transaction():
                ledger.bind(archive_of(self._config.archive).url)
            runtime = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
            if runtime or self._sends:  # in shadow there may be a daemon at work beside it
                self._telling = Telling(self._config, ledger, runtime, sends=self._sends)
            commands = self._take_commands() if self._sends else None
            before = Reader.over(ledger).last_batch()
            with self._signals():
                self._notify.ready()
                log.info("ready")
                while not self._stop:
                    self._serve_until_trouble(ledger)
            if not self._sends:
                self._say(shadow(ledger, before))
        finally:
            self._notify.stopping()
            self._unwatch()
            if commands is not None:
                commands.close()
            if self._telling is not None:
                self._telling.end()
            ledger.close()
            dicomweb.close_clients()
        log.info("stopped")
        return 0

    def _take_commands(self) -> control.Server:
        """Listen for commands; they are answered as long as an engine is at work."""
        given = self._config.control
        desk = Desk(lambda: self._engine, lambda: self._config)
        place = control.place(given.socket, self._config.ledger.path)
        return control.Server(place, desk.answer, group=given.access == "group")

    @staticmethod
    def _check(config: Config) -> Sequence[Folder]:
        folders = folders_of(config)
        keep_out(Path(config.ledger.path), folders)
        archive_of(config.archive)
        alerts_of(config)
        return folders

    # serving

    def _serve_until_trouble(self, ledger: Ledger) -> None:
        """Run one engine until the end, a reload, or trouble with the ledger."""
        folders = self._folders = self._check(self._config)
        transfers = self._config.upload.transfers
        hands = Threads(Engine.workers_for(len(folders), transfers))
        pace = Pace(
            moment(),
            caps_of(self._config),
            self._config.archive.confirm_wait,
            transfers,
            once=False,
            sends=self._sends,
            after_store=self._config.verify.after_store,
        )
        self._renewals = Renewals(archive_of(self._config.archive))
        for warning in warnings(self._config):
            log.warning("%s", warning)
        engine = Engine(
            ledger,
            folders,
            uploads_of(self._config),
            pace,
            hands,
            deletions=deletions_of(self._config),
            trash=trash_of(self._config),
        )
        self._watch_folders(folders, engine)
        try:
            engine.begin(moment())
            self._engine = engine
            self._loop(engine)
        except LedgerDamaged:
            raise  # only a start can mend it
        except LedgerProblem as problem:
            log.error("%s %s", problem.message, problem.hint)
            why = problem.message.partition(";")[0]
            self._blocked = (why, self._blocked[1] if self._blocked else time.time())
            self._notify.status(f"{why}: nothing is sent until it can be written")
        finally:
            self._engine = None
            self._unwatch()
            self._quiesce(engine)
            hands.shutdown()
        if not (self._stop or self._reload):
            self._wait_for_ledger(ledger)
        if self._reload:
            self._take_new_config()

    def _loop(self, engine: Engine) -> None:
        while not (self._stop or self._reload):
            now = moment()
            if self._watch is not None:
                directories, everywhere = self._watch.hints.take()
                if directories or everywhere:
                    engine.hint(directories, everywhere=everywhere)
            busy = engine.turn(now)
            self._tell(engine)
            if not busy:
                engine.wait(moment())

    def _tell(self, engine: Engine) -> None:
        """Give signs of life: the loop has turned, and the ledger has committed."""
        now = time.monotonic()
        every = (self._notify.watchdog_seconds or 60.0) / 4
        if now - self._told_life >= every:
            self._told_life = now
            self._notify.watchdog()
        if now - self._told_status >= STATUS_SECONDS:
            self._told_status = now
            self._tell_all(engine.delivery.circuit)
            if self._renewals.changed() and engine.delivery.circuit.trouble is Trouble.AUTH:
                log.info("a secret was renewed: the archive is tried at once")
                engine.delivery.hurry(moment())
            if self._watch is not None:
                self._watch.refresh()

    def _tell_all(self, circuit: Circuit) -> None:
        """Tell how it stands to who looks, and to who does not."""
        if self._telling is not None:
            watch = {folder.path: "scan" for folder in self._folders}
            watch |= self._watch.state() if self._watch is not None else {}
            told = self._telling.tell(circuit, watch, moment(), self._blocked)
            shadow = "" if self._sends else "nothing is sent (-n); as if it were: "
            self._notify.status(shadow + concerns.line(told))

    def _quiesce(self, engine: Engine) -> None:
        """Start nothing more and let what is on its way come to its end, recorded where that is possible.

        Only when nothing is on its way any more may another engine ask the archive about it.
        """
        engine.stop()
        ending = self._stop
        trouble: LedgerProblem | None = None
        if ending:
            self._notify.stopping()
        deadline = time.monotonic() + (DRAIN_SECONDS if ending else QUIESCE_SECONDS)
        while engine.delivery.sending and time.monotonic() < deadline:
            try:
                trouble = None
                engine.turn(moment())
            except LedgerProblem as problem:
                trouble = problem
            engine.wait(moment())
            self._notify.watchdog()
        engine.part()
        if engine.delivery.sending and not ending:
            why = "the ledger cannot record them" if trouble else "the archive or a folder does not answer"
            todo = f"{trouble.hint} " if trouble else ""
            raise LedgerProblem(
                f"Requests are still on their way, and {why}; dicomsync ends, and nothing is lost.",
                hint=f"{todo}Start it again, as a service manager does: the archive is asked about them.",
            )

    def _wait_for_ledger(self, ledger: Ledger) -> None:
        """Try the ledger until it can be written again; nothing goes on the wire meanwhile."""
        while not (self._stop or self._reload):
            try:
                with ledger.transaction():
                    ledger.set_fact("tried", str(time.time()))
            except LedgerDamaged:
                raise
            except LedgerProblem:
                self._notify.watchdog()  # alive, and waiting for a disk: a restart would not mend that
                with contextlib.suppress(LedgerProblem):
                    self._tell_all(Circuit())
                time.sleep(LEDGER_RETRY_SECONDS)
            else:
                self._blocked = None
                log.info("the ledger can be written again")
                return

    # watching

    def _watch_folders(self, folders: Sequence[Folder], engine: Engine) -> None:
        roots = [folder.path for folder in folders if folder.watched]
        if not roots:
            return
        self._watch = Watch(roots, engine.wake)
        self._watch.start()

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    # signals

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end it in good order, a second one at once; SIGHUP reads the config anew."""

        def asked(number: int, _frame: FrameType | None) -> None:
            if number == signal.SIGHUP:
                self._reload = True
            elif self._stop:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            else:
                self._stop = True
            if self._engine is not None:
                self._engine.wake()

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, asked) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take_new_config(self) -> None:
        """Read the config anew; a bad one is told, and the old one kept."""
        self._reload = False
        self._notify.reloading()
        try:
            new = self._load()
            self._check(new)
            self._refuse_what_needs_a_restart(new)
        except UsageProblem as problem:
            log.error(
                "the new config was not taken, the old one is kept: %s; `dicomsync doctor -c FILE` says all",
                problem.for_logs,
            )
        else:
            names = [one.name for one in fields(new)]
            changed = [name for name in names if getattr(new, name) != getattr(self._config, name)]
            log.info("the new config was taken; changed: %s", ", ".join(changed) or "nothing")
            self._config = new
            if self._telling is not None:
                self._telling.take(new)
        self._notify.ready()

    def _refuse_what_needs_a_restart(self, new: Config) -> None:
        old = self._config
        if (new.ledger, new.archive.url, new.control) != (old.ledger, old.archive.url, old.control):
            words = "archive.url, ledger.path and [control] cannot change while it runs: restart it"
            raise UsageProblem(f"{words}.", for_logs=words)


SHADOW_LINES = 1000


def shadow(ledger: Ledger, before: int) -> str:
    """Say what a daemon that sends nothing would have stored, and when: a line a batch, then the sums.

    `before` is the last batch of the ledger that it had a copy of: what came before was really sent.
    """
    reader = Reader.over(ledger)
    requests, instances, size_bytes = reader.batches_in_all(before)
    if not requests:
        return "Nothing was sent, and nothing would have been."
    lines = ["Nothing was sent. This is what would have gone to the archive:"]
    lines += [
        f"  {words.moment(row['sent_at'])}  {handle('study', row['study_id'])}: "
        f"{words.count(row['instances'], 'instance')}, {words.size(row['size_bytes'])}"
        for row in reader.batches(before, most=SHADOW_LINES)
    ]
    if requests > SHADOW_LINES:
        lines.append(f"  … and {words.count(requests - SHADOW_LINES, 'request')} more")
    told = words.count(requests, "request")
    lines.append(f"{words.count(instances, 'instance')}, {words.size(size_bytes)}, in {told}.")
    return "\n".join(lines)

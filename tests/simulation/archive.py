"""An archive that keeps instances in memory, answers in every way an archive can, and logs all it is sent."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from dicomsync import dicomweb
from dicomsync.dicomweb import (
    Deletion,
    Failed,
    Identified,
    Part,
    Referenced,
    StoreAnswer,
    StoreResponse,
)
from dicomsync.errors import BadAnswer, NoAnswer, NotThere, Refused

from . import erasing
from .disk import Hangs
from .erasing import Crash

CHUNKS_READ = 2  # of a body that is cut off in the middle
LATE_BROKEN_SECONDS, LATE_TIMEOUT_SECONDS = 25.0, 250.0  # for so long it may still be storing
LAG_SECONDS = 20.0  # for so long searches may not show what was stored

STATUSES = (200, 202, 204, 302, 400, 401, 403, 404, 405, 408, 409, 411, 413, 415, 418, 424, 425, 429, 500,
            501, 502, 503, 507)  # fmt: skip
NOTHING_TAKEN = frozenset({302, 401, 403, 404, 405, 408, 411, 413, 415, 418, 425, 429, 501})
"""Statuses without a module that say that the request was not taken; the others say nothing."""
REASONS = (0x0000, 0x0110, 0x0111, 0x0122, 0x0124, 0xA700, 0xA77A, 0xA77B, 0xA900, 0xB00E, 0xB00F, 0xC000,
           45071, 0xBEEF, None)  # fmt: skip
RETRY_AFTER = (None, 0.0, 3.0, 60.0, 3600.0)

WAYS = ("keep", "lose", "some", "cut", "reset", "unreachable", "late-broken", "late-timeout", "timeout",
        "status", "status-kept", "early", "silent", "strangers", "both", "nameless", "fail",
        "fail-some", "lie", "crash", "crash-kept", "crash-before")  # fmt: skip
ASKED_WAYS = (
    "honest",
    "unreachable",
    "broken",
    "timeout",
    "status",
    "garbage",
    "cut",
    "not-there",
    "refused",
)
SILENT_WAYS = ("lose", "crash-kept", "some", "late-broken", "late-timeout", "timeout")
REFUSING_WAYS = ("status", "status-kept", "early", "lie", "fail")
KINDS = ("dicom-server", "orthanc", "google", "dcm4chee", "generic")


@dataclass
class Request:
    """One request to store, as it arrived. `answer`: what each instance was said to be, None: nothing was."""

    number: int
    uids: tuple[str, ...]
    bodies: dict[str, bytes] = field(default_factory=dict)
    taken: bool = False  # something of it may have arrived
    said: dict[str, str] = field(default_factory=dict)  # stored, failed, both
    status: int | None = None
    complete: bool = False
    module: bool = False


@dataclass
class Archive:
    """What a client offers, over a dictionary; `way` is how the next requests are answered."""

    now: Callable[[], float]  # true seconds: they go on while the machine sleeps
    kind: str = "dicom-server"
    held: dict[str, bytes] = field(default_factory=dict)
    studies: dict[str, str] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    log: list[tuple[str, object]] = field(default_factory=list)  # what the judge reads
    way: str = "keep"
    argument: int = 0
    times: int = 0  # how often still; then it is honest again
    asked_way: str = "honest"
    asked_argument: int = 0
    asked_times: int = 0
    down: bool = False
    locked_out: bool = False  # 401 to everything
    full: bool = False
    most_bytes: int = 1 << 40
    lag: float = 0.0
    shown_at: dict[str, float] = field(default_factory=dict)
    late: list[tuple[float, str, str, bytes]] = field(default_factory=list)
    delete_way: str = "delete"
    delete_argument: int = 0
    late_deletes: list[tuple[float, str]] = field(default_factory=list)
    deletes: Callable[[tuple[str, str, str], bool], None] = lambda _uids, _alone: None
    leaves: Callable[[Sequence[str]], None] = lambda _uids: None
    during: Callable[[], None] = lambda: None
    luck: random.Random = field(default_factory=lambda: random.Random(1))
    faults: dict[str, int] = field(default_factory=dict)

    # the world's side

    def settle_late(self) -> None:
        """Store what was still on its way inside."""
        now = self.now()
        for at, uid, study, body in [one for one in self.late if one[0] <= now]:
            self.late.remove((at, uid, study, body))
            self._keep(uid, study, body)
            self.shown_at[uid] = now  # late is late enough
        for at, uid in [one for one in self.late_deletes if one[0] <= now]:
            self.late_deletes.remove((at, uid))
            self.erase(uid)

    def put(self, uid: str, study: str, body: bytes) -> None:
        """Somebody else stores something."""
        if uid not in self.held:
            self.held[uid], self.studies[uid] = body, study
            self.log.append(("foreign", uid))

    def remove(self, uid: str) -> None:
        """Somebody else deletes something."""
        if self.held.pop(uid, None) is not None:
            self.log.append(("deleted", uid))

    def restore(self, backup: tuple[dict[str, bytes], dict[str, str]]) -> None:
        """An old backup is put in its place."""
        self.late.clear()
        self.late_deletes.clear()
        held, self.studies = dict(backup[0]), dict(backup[1])
        for uid in set(self.held) - set(held):
            self.log.append(("deleted", uid))
        for uid in held:
            if self.held.get(uid) != held[uid]:
                self.log.append(("foreign", uid))
        self.held = held

    def heal(self) -> None:
        """Be honest from now on."""
        self.way = self.asked_way = "honest"
        self.delete_way = "delete"
        self.times = self.asked_times = 0
        self.down = self.locked_out = self.full = False
        self.lag = 0.0
        self.most_bytes = 1 << 40

    # what a Client offers

    def identify(self) -> Identified:
        """Answer the probe."""
        self.log.append(("probe", None))
        self._reach()
        self._ask_oddly()
        return Identified(self.kind, "made up")

    def store(self, parts: Sequence[Part], study: str | None = None) -> StoreAnswer:
        """Take a request, in the way that is on."""
        if self.down:
            raise NoAnswer("unreachable", "no connection")
        way, argument = self._next_way()
        total = sum(part.size_bytes for part in parts)
        if way == "unreachable":
            raise NoAnswer("unreachable", "no connection")
        if way == "reset":
            raise NoAnswer("broken", "gone", total_bytes=total)
        uids = tuple(part.due.sop_instance_uid for part in parts)  # type: ignore[attr-defined]  # parts are ours
        request = Request(len(self.requests), uids)
        self.requests.append(request)
        self.leaves(uids)
        if way == "crash-before":
            raise Crash("sent: nothing of the body")
        studies = {part.due.sop_instance_uid: part.due.study_instance_uid for part in parts}  # type: ignore[attr-defined]  # parts are ours
        most = argument % (len(parts) * CHUNKS_READ + 1) if way in ("cut", "crash") else None
        self._read(request, parts, most)
        if way == "cut":
            for uid, body in list(request.bodies.items())[: argument % 3]:
                self._keep(uid, studies[uid], body)
            raise NoAnswer(
                "broken" if argument % 2 else "timeout",
                "gone",
                sent_bytes=max(1, total // 2),
                total_bytes=total,
            )
        if way == "crash":
            raise Crash("sent: a part of the body")
        return self._answer(request, way, argument, total, studies)

    def _next_way(self) -> tuple[str, int]:
        if self.times <= 0:
            return "keep", 0
        self.times -= 1
        self.faults[self.way] = self.faults.get(self.way, 0) + 1
        return self.way, self.argument

    def _read(self, request: Request, parts: Sequence[Part], most: int | None) -> None:
        """Read the parts; of a file that fails in the middle nothing whole arrives."""
        request.taken = True
        read = 0
        for part in parts:
            body = b""
            chunks = part.chunks()
            try:
                for chunk in chunks:
                    body += chunk
                    read += 1
                    self.during()
                    if most is not None and read > most:
                        return
            except Hangs:
                raise NoAnswer("broken", "gone", sent_bytes=max(1, len(body))) from None
            finally:
                chunks.close()  # type: ignore[attr-defined]  # the outside
            uid = part.due.sop_instance_uid  # type: ignore[attr-defined]  # parts are ours
            request.bodies[uid] = body
            self.log.append(("body", (request, uid, body)))

    def _answer(
        self, request: Request, way: str, argument: int, total: int, studies: Mapping[str, str]
    ) -> StoreAnswer:
        bodies = request.bodies
        if self.locked_out:
            return self._plain(request, 401, None)
        if total > self.most_bytes:
            return self._plain(request, 413, None)
        if self.full:
            return self._module(request, dict.fromkeys(bodies, 42752), (), None)
        if way in SILENT_WAYS:
            return self._says_nothing(request, way, argument, total, studies)
        if way in REFUSING_WAYS:
            return self._refuses(request, way, argument, studies)
        if way == "nameless":  # it could not read some, and does not know which
            return self._nameless(request, argument, studies)
        failed, stored = self._keep_all(request, studies, spare=argument if way == "fail-some" else None)
        if way in ("silent", "strangers"):
            stored = stored[: argument % (len(stored) + 1)]
            others = ("1.2.3.4",) if way == "strangers" else ()
            return self._module(request, {}, (*stored, *others), None)
        if way == "both":
            return self._module(request, dict.fromkeys(stored, 0x0110) | failed, tuple(stored), None)
        return self._module(request, failed, tuple(stored), None)

    def _says_nothing(
        self, request: Request, way: str, argument: int, total: int, studies: Mapping[str, str]
    ) -> StoreAnswer:
        """Store all, some, none or all of it later, and let the connection go."""
        bodies = request.bodies
        lost = NoAnswer("broken", "gone", sent_bytes=total, total_bytes=total)
        match way:
            case "lose" | "crash-kept":
                self._keep_all(request, studies)
                if way == "crash-kept":
                    raise Crash("sent: no answer read")
                raise lost
            case "some":
                for uid, body in list(bodies.items())[: argument % (len(bodies) + 1)]:
                    self._keep(uid, studies[uid], body)
                raise lost
            case "late-broken" | "late-timeout":
                longest = LATE_BROKEN_SECONDS if way == "late-broken" else LATE_TIMEOUT_SECONDS
                at = self.now() + longest * self.luck.random()
                self.late += [(at, uid, studies[uid], body) for uid, body in bodies.items()]
                why = "broken" if way == "late-broken" else "timeout"
                raise NoAnswer(why, "gone", sent_bytes=total, total_bytes=total)
        raise NoAnswer("timeout", "no answer", sent_bytes=total, total_bytes=total)

    def _refuses(self, request: Request, way: str, argument: int, studies: Mapping[str, str]) -> StoreAnswer:
        """Answer with a status alone, too early, or of instances what is not so."""
        bodies = request.bodies
        match way:
            case "status" | "status-kept":
                status = STATUSES[argument % len(STATUSES)]
                if way == "status-kept" and status not in NOTHING_TAKEN:
                    for uid in list(bodies)[argument % 2 :]:
                        self._keep(uid, studies[uid], bodies[uid])
                return self._plain(request, status, RETRY_AFTER[argument % len(RETRY_AFTER)])
            case "early":
                status = (200, 401, 200, 500)[argument % 4]
                if status == 200:
                    return self._module(request, {}, tuple(bodies), None, complete=False)
                return self._plain(request, status, None, complete=False)
            case "lie":
                self.log.append(("lie", tuple(uid for uid in bodies if uid not in self.held)))
                return self._module(request, {}, tuple(bodies), None)
        reason = REASONS[argument % len(REASONS)]
        return self._module(request, dict.fromkeys(bodies, reason), (), RETRY_AFTER[argument % 5])

    def _keep_all(
        self, request: Request, studies: Mapping[str, str], spare: int | None = None
    ) -> tuple[dict[str, int | None], list[str]]:
        """Store what is new and say what became of each, in the way of this kind of archive."""
        failed: dict[str, int | None] = {}
        stored: list[str] = []
        for number, (uid, body) in enumerate(request.bodies.items()):
            held = self.held.get(uid)
            if spare is not None and (number + spare) % 2:
                failed[uid] = REASONS[spare % len(REASONS)]
            elif held is None:
                self._keep(uid, studies[uid], body)
                stored.append(uid)
            elif dicomweb.KINDS[self.kind].hides_duplicates or (self.kind == "google" and held == body):
                if held[128:] != self.altered(body)[128:]:
                    self.log.append(("lie", (uid,)))
                stored.append(uid)
            else:
                failed[uid] = 45070
        return failed, stored

    def _nameless(self, request: Request, argument: int, studies: Mapping[str, str]) -> StoreAnswer:
        uids = list(request.bodies)
        unread = uids[len(uids) - 1 - argument % 2 :]
        stored = [uid for uid in uids if uid not in unread]
        for uid in stored:
            self._keep(uid, studies[uid], request.bodies[uid])
        named = tuple(uid for uid in stored if self.held[uid] == self.altered(request.bodies[uid]))
        return self._module(request, {}, named, None, nameless=(0x0110,) * len(unread))

    def _keep(self, uid: str, study: str, body: bytes) -> None:
        if uid not in self.held:
            self.held[uid], self.studies[uid] = self.altered(body), study
            self.shown_at[uid] = self.now() + self.lag
            self.log.append(("kept", (uid, body)))

    def altered(self, body: bytes) -> bytes:
        """Some archives clear the preamble, and some rewrite the file."""
        if self.kind == "orthanc":
            return bytes(128) + body[128:]
        rewritten = body[128:].replace(b"Nowhere Clinic", b"Another Clinic")
        return bytes(128) + rewritten if self.kind == "dcm4chee" else body

    def _plain(
        self, request: Request, status: int, retry_after: float | None, *, complete: bool = True
    ) -> StoreAnswer:
        request.status, request.complete = status, complete
        return StoreAnswer(status, None, retry_after, 1, 1, complete)

    def _module(
        self,
        request: Request,
        failed: Mapping[str, int | None],
        stored: Sequence[str],
        retry_after: float | None,
        *,
        complete: bool = True,
        nameless: tuple[int, ...] = (),
    ) -> StoreAnswer:
        request.status = 200 if not failed and not nameless else 202 if stored else 409
        request.complete, request.module = complete, True
        request.said = dict.fromkeys(stored, "stored")
        for uid in failed:
            request.said[uid] = "both" if uid in request.said else "failed"
        if nameless:
            request.said = dict.fromkeys(request.uids, "perhaps failed") | request.said
        named = tuple(Failed(uid, "", reason) for uid, reason in failed.items())
        response = StoreResponse(tuple(Referenced(uid) for uid in stored), named, nameless)
        return StoreAnswer(request.status, response, retry_after, 1, 1, complete)

    # deleting

    def delete(self, study: str, series: str, sop: str, *, alone: bool) -> Deletion:
        """Delete one instance, in the way that is on."""
        self._reach()
        return erasing.delete(self, (study, series, sop), alone)

    def erase(self, uid: str) -> None:
        """Let go of what a DELETE named."""
        if self.held.pop(uid, None) is not None:
            self.log.append(("mirrored", uid))

    # questions

    def present(self, study: str, uids: Mapping[str, str]) -> frozenset[str]:
        """Search for instances."""
        self._reach()
        self._ask_oddly()
        now = self.now()
        found = frozenset(
            uid
            for uid in uids
            if uid in self.held and self.studies[uid] == study and self.shown_at.get(uid, 0.0) <= now
        )
        self.log.append(("searched", (tuple(uids), found)))
        return found

    @contextmanager
    def instance(self, study: str, series: str, sop: str) -> Iterator[Iterator[bytes]]:
        """Give an instance back."""
        self._reach()
        way = self.asked_way if self.asked_times > 0 else ""
        if way == "not-there":  # it was deleted since it was found
            self.asked_times -= 1
            self.remove(sop)
        if sop not in self.held:
            self.log.append(("searched", ((sop,), frozenset())))
            raise NotThere("not there", status=404)
        if way == "refused":
            self.asked_times -= 1
            raise Refused("no", status=(400, 403, 406)[self.asked_argument % 3])
        body = self.held[sop]
        if way == "cut":
            self.asked_times -= 1
            yield self._cut(body)
            return
        self.log.append(("given", (sop, body)))
        yield iter([body[:100], body[100:]])

    @staticmethod
    def _cut(body: bytes) -> Iterator[bytes]:
        yield body[:100]
        raise NoAnswer("broken", "gone")

    def _reach(self) -> None:
        if self.down:
            raise NoAnswer("unreachable", "no connection")
        if self.locked_out:
            raise Refused("no", status=401)

    def _ask_oddly(self) -> None:
        if self.asked_times <= 0 or self.asked_way in ("honest", "cut", "not-there", "refused"):
            return
        self.asked_times -= 1
        self.faults[f"asked {self.asked_way}"] = self.faults.get(f"asked {self.asked_way}", 0) + 1
        match self.asked_way:
            case "unreachable" | "broken" | "timeout":
                raise NoAnswer(self.asked_way, "gone")
            case "garbage":
                raise BadAnswer("not DICOMweb")
        status = [one for one in STATUSES if one >= 400][self.asked_argument % 18]
        raise Refused("no", status=status, retry_after_seconds=RETRY_AFTER[self.asked_argument % 5])

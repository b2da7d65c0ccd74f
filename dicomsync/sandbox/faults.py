"""The language of `--fault`: how the archive is told to misbehave, and for which requests.

Each fault counts the requests of its scope from the moment it was set, so `@1-3` always means the
next three. The sandbox's event loop alone counts; another thread may only put a new list in place.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from dicomsync.errors import UsageProblem
from dicomsync.sandbox.kinds import KINDS, SCOPES, SHAPES

_WHEN = re.compile(
    rf"(?:(?P<scope>{'|'.join(SCOPES)})(?::|$))?(?:every:(?P<every>[1-9]\d*)|(?P<first>[1-9]\d*)(?P<to>-)?(?P<last>[1-9]\d*)?)?"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault as it was asked for; `first` to `last`, or each `every`th, request of `scope`."""

    name: str
    argument: str = ""
    retry_after: str = ""
    scope: str = "store"
    first: int = 1
    last: int | None = None
    every: int = 1

    def strikes(self, number: int) -> bool:
        """Say whether request `number` of its scope, counted from 1, is hit."""
        in_range = self.first <= number and (self.last is None or number <= self.last)
        return in_range and number % self.every == 0

    @property
    def seconds(self) -> float:
        """The argument as seconds."""
        return float(self.argument)

    @property
    def number(self) -> int:
        """The argument as a number; a Failure Reason may be written as in PS3.4, A700H."""
        return int(self.argument[:-1], 16) if self.argument.endswith("H") else int(self.argument)


def parse(spec: str) -> Fault:
    """Read one `NAME[=ARGUMENT][@[SCOPE:]WHEN]`, or raise UsageProblem that says what would be right."""
    written, when = _split(spec)
    name, equals, argument = written.partition("=")
    kind = KINDS.get(name)
    if kind is None:
        raise UsageProblem(f"there is no fault {name!r}.", hint=f"the faults are {', '.join(KINDS)}.")
    retry_after = ""
    if kind.reads == "status":
        argument, retry_after = _retry_after(spec, argument)
    if kind.reads and (equals or not kind.optional):
        shape, words = SHAPES[kind.reads]
        if not shape.fullmatch(argument):
            raise UsageProblem(f"{spec!r} needs {words}.", hint=f"write it {kind.usage}.")
    elif equals:
        raise UsageProblem(f"{spec!r}: {name} takes no argument.", hint=f"write it {kind.usage}.")
    scope = when["scope"] or kind.scope
    if scope not in kind.scopes:
        raise UsageProblem(
            f"{spec!r}: {name} cannot apply to {scope!r}.", hint=f"it applies to {', '.join(kind.scopes)}."
        )
    return Fault(name, argument, retry_after, scope, *_numbers(spec, when))


def _split(spec: str) -> tuple[str, dict[str, str | None]]:
    """Part a spec at its last @ that a WHEN follows: a password or a URL may hold an @ of its own."""
    written, at, when = spec.rpartition("@")
    match = _WHEN.fullmatch(when) if at and when else None
    if match:
        return written, match.groupdict()
    if at and spec.partition("=")[0] not in ("token", "basic", "redirect", "retrieve-url"):
        raise UsageProblem(
            f"{spec!r}: {when!r} does not say which requests.",
            hint=f"write @3, @1-3, @4- or @every:5, after {', '.join(SCOPES)} and a colon if need be.",
        )
    return spec, dict.fromkeys(("scope", "every", "first", "to", "last"))


def _numbers(spec: str, when: dict[str, str | None]) -> tuple[int, int | None, int]:
    if when["every"]:
        return 1, None, int(when["every"])
    if not when["first"]:
        return 1, None, 1
    first = int(when["first"])
    if when["last"]:
        last: int | None = int(when["last"])
    else:
        last = None if when["to"] else first
    if last is not None and last < first:
        raise UsageProblem(f"{spec!r} ends before it begins.", hint="write the smaller number first.")
    return first, last, 1


def _retry_after(spec: str, argument: str) -> tuple[str, str]:
    status, semicolon, rest = argument.partition(";")
    if not semicolon:
        return status, ""
    key, _, value = rest.partition("=")
    if key != "retry-after" or not value.isprintable() or not value:
        raise UsageProblem(f"{spec!r}: {rest!r} is unknown.", hint="write status=429;retry-after=2.")
    return status, value


@dataclass(slots=True)
class _Live:
    """A fault that is set: how many requests of its scope it has seen, how many instances."""

    fault: Fault
    requests: int = 0
    instances: Iterable[int] = field(default_factory=itertools.count)

    def seen(self) -> bool:
        self.requests += 1
        return self.fault.strikes(self.requests)


class Plan:
    """The faults that one request meets."""

    def __init__(self, live: Iterable[_Live] = ()) -> None:
        self._live = tuple(live)

    def get(self, name: str) -> Fault | None:
        """Return the first fault of this name, or None."""
        return next((live.fault for live in self._live if live.fault.name == name), None)

    def arguments(self, name: str) -> frozenset[str]:
        """Return what all the faults of this name were given: some may be asked for several times."""
        return frozenset(live.fault.argument for live in self._live if live.fault.name == name)

    def hushes(self) -> Callable[[], bool]:
        """Return what says, for one stored instance after another, whether to be silent about it."""
        live = next((live for live in self._live if live.fault.name == "silent"), None)
        if live is None:
            return lambda: False
        counter, every = iter(live.instances), live.fault.number
        return lambda: (next(counter) + 1) % every == 0


class Faults:
    """The faults set now, each with its own count. Raises UsageProblem for a spec it cannot read."""

    def __init__(self, specs: Iterable[str] = ()) -> None:
        self.specs = tuple(specs)
        faults = [parse(spec) for spec in self.specs]
        names = {fault.name for fault in faults}
        if bool(names & {"refuse-batch", "mixed-batch"}) is not ("poison-uid" in names):
            raise UsageProblem(
                "refuse-batch or mixed-batch, and poison-uid, only work together.",
                hint="give both: --fault refuse-batch --fault poison-uid=1.2.3",
            )
        self._live = [_Live(fault) for fault in faults]

    def begin(self, scope: str) -> Plan:
        """Count one request of `scope` ("" for what only `any` covers) and say which faults it meets."""
        concerned = [live for live in self._live if live.fault.scope in (scope, "any")]
        return Plan([live for live in concerned if live.seen()])

    def shuts(self) -> bool:
        """Say whether a connection just made is to be closed; it then counts as a request of `down`."""
        downs = [live for live in self._live if live.fault.name == "down"]
        hit = [live for live in downs if live.fault.strikes(live.requests + 1)]
        for live in hit:
            live.requests += 1
        return bool(hit)

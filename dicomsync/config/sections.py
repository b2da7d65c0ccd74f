"""How values make sections: keys, tables and lists, with every problem of all of them at its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, NamedTuple, TypeVar

from .values import Reader, T


class Problem(NamedTuple):
    """One thing that is wrong: where (keys, and numbers in lists from 1 on), and in words what."""

    place: tuple[str | int, ...]
    words: str


class Problems(ValueError):
    """All that is wrong with a table or a list."""

    def __init__(self, found: list[Problem]) -> None:
        super().__init__(f"{len(found)} problems")
        self.found = found


@dataclass(frozen=True)
class Section:
    """What all sections are: a frozen value whose fields are `key` or `needed`."""


S = TypeVar("S", bound=Section)
D = TypeVar("D")


def key(reader: Reader[T], default: D) -> T | D:
    """Make a field that may be left out; where that means "", an empty text says so too."""
    found: D = field(default=default, metadata={"reader": reader})
    return found


def needed(reader: Reader[T]) -> T:
    """Make a field that must be given."""
    found: T = field(metadata={"reader": reader})
    return found


def table(section: type[S]) -> Reader[S]:
    """A section, in which a key that nobody knows is refused: a misspelt one is never ignored."""

    def read(value: object) -> S:
        if not isinstance(value, Mapping):
            raise ValueError("expected a table")
        taken: dict[str, Any] = {}
        problems: list[Problem] = []
        keys = {one.name: one for one in fields(section)}
        for name, one in keys.items():
            if name in value and not (value[name] == "" == one.default):
                try:
                    taken[name] = one.metadata["reader"](value[name])
                except ValueError as error:
                    problems += _placed(name, error)
            elif one.default is MISSING:
                problems.append(Problem((name,), "is missing"))
        problems += [Problem((name,), _unknown(name, keys)) for name in value if name not in keys]
        if problems:
            raise Problems(problems)
        return section(**taken)

    return read


def listed(reader: Reader[T], such_as: str, *, empty: bool = True) -> Reader[tuple[T, ...]]:
    """A list of what another reader takes."""

    def read(value: object) -> tuple[T, ...]:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"expected a list such as {such_as}")
        if not value and not empty:
            raise ValueError(f"names nothing: expected a list such as {such_as}")
        taken: list[T] = []
        problems: list[Problem] = []
        for number, one in enumerate(value, 1):
            try:
                taken.append(reader(one))
            except ValueError as error:
                problems += _placed(number, error)
        if problems:
            raise Problems(problems)
        return tuple(taken)

    return read


def _placed(part: str | int, error: ValueError) -> list[Problem]:
    """Say of what a reader refused where it is."""
    below = error.found if isinstance(error, Problems) else [Problem((), str(error))]
    return [Problem((part, *one.place), one.words) for one in below]


def _unknown(name: str, keys: Iterable[str]) -> str:
    import difflib  # for those who misspell alone

    near = difflib.get_close_matches(name, keys, n=1, cutoff=0.5)
    return f"no such key (did you mean {near[0]!r}?)" if near else "no such key"

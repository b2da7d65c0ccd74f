"""Hostile input: promises that hold for any bytes at all, each with a way to think of bad ones.

`tests/test_fuzz.py` tries a little of each, `benchmarks/fuzz.py` tries on.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis.strategies import SearchStrategy

T = TypeVar("T")

MODULES = ("headers", "answers", "people")


@dataclass(frozen=True)
class Property:
    """A promise about any input: `check` fails for one that it does not hold for."""

    inputs: SearchStrategy[Any]
    check: Callable[[Any], None]
    costly: bool


_promises: dict[str, Property] = {}


def promised(
    inputs: SearchStrategy[T], *, costly: bool = False
) -> Callable[[Callable[[T], None]], Callable[[T], None]]:
    """Add a promise, under its own name, to what `promises` gives."""

    def add(check: Callable[[T], None]) -> Callable[[T], None]:
        _promises[check.__name__] = Property(inputs, check, costly)
        return check

    return add


def promises() -> Mapping[str, Property]:
    """Give every promise by its name."""
    for module in MODULES:
        importlib.import_module(f"{__name__}.{module}")
    return _promises

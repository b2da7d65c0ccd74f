"""How the headers of alike files are laid out: one regular expression steps over all that is plain in them.

Slices of a series have the same elements; some values differ, and a few lengths with them. Two such files in
turn, both proved whole by the walk, teach a layout: it spells tag, VR and length of each element up to the
pixels, and where the values of the two differ it takes the lengths around. What fits a layout, the walk would
step over in the same way: it goes on from there. What fits none is walked from the start. So no answer
depends on what was learnt. It buys half of a header's time: a CT of 38 µs takes 19.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

from .walk import EXPLICIT, PIXELS, UNDEFINED, Form, form_at

_META_START = 132  # after preamble and "DICM"
_AT_ONCE = 4  # layouts: the series of a folder may lie mixed, but each is tried on what fits none
_AROUND = 8  # bytes by which a length that varies may leave those that were seen
_SHORT = 128  # bytes; a longer value that varies has one of the two lengths that were seen
_DEPTH = 8
# In µs: what learning costs is paid from half of what fits have saved. A file that fits nothing earns a
# little, so that a daemon learns again one day. Where all files differ, the start is lost, and a little each.
_LESSON, _TRIAL, _FITS, _MISSES = 3000, 100, 10, 1
_START, _MOST = 12_000, 60_000


class _Step(NamedTuple):
    """One element, item or delimiter: its start, that of its length, that of its value, and its end."""

    start: int
    field: int
    value: int
    end: int


_Element = list[_Step]
"""An element of the top level, then what is inside it where its length is undefined."""


@dataclass(frozen=True, slots=True)
class Example:
    """A whole file to learn from: its first bytes, where its dataset starts, and how that is encoded."""

    head: bytes
    start: int
    form: Form

    def elements(self) -> Iterator[_Element]:
        """Give the elements up to the first that is not plain."""
        yield from _plain(self.head, _META_START, self.start, EXPLICIT)
        yield from _plain(self.head, self.start, len(self.head), self.form)

    def spelling(self, element: _Element) -> list[bytes]:
        """Give what must be alike: tags, VRs and delimiters."""
        return [self.head[step.start : step.field] for step in element]


@dataclass(frozen=True, slots=True)
class Layout:
    """What was learnt: `pattern` fits from byte 132 on; its groups are the values of the wanted tags."""

    pattern: re.Pattern[bytes]
    tags: tuple[int, ...]
    varying: tuple[tuple[int, int], ...]  # groups that begin with the length, and the bytes of that
    form: Form  # of the dataset
    count: int  # its elements


Fit = tuple[Layout, dict[int, bytes], int]
"""The layout of a file, the wanted values, and where the layout ends."""


class Layouts:
    """The layouts of late. Threads may share them: what one takes from another is learnt again.

    `syntax` is the tag of the File Meta Information whose value says how the dataset is encoded.
    """

    def __init__(self, meta: frozenset[int], dataset: frozenset[int], syntax: int) -> None:
        self._meta, self._dataset, self._syntax = meta, dataset, syntax
        self._known: tuple[Layout, ...] = ()
        self._last: Example | None = None
        self._credit = _START

    def fit(self, head: bytes) -> Fit | None:
        """Find the layout of a file by its first bytes."""
        for layout in self._known:
            if found := layout.pattern.match(head, _META_START):
                if layout is not self._known[0]:
                    self._known = (layout, *(other for other in self._known if other is not layout))
                if self._credit < _MOST:
                    self._credit += _FITS
                groups = list(found.groups())
                for group, width in layout.varying:
                    groups[group] = groups[group][width:]
                return layout, dict(zip(layout.tags, groups, strict=True)), found.end()
        return None

    def learn(self, example: Example) -> None:
        """Take note of a whole file that fits no layout: the second of two alike teaches one."""
        last, self._last = self._last, example
        self._credit += _MISSES
        if last is None or last.form is not example.form or self._credit < _LESSON:
            return
        self._credit -= _TRIAL
        if layout := self._common(last, example):
            self._credit -= _LESSON
            self._known = (layout, *self._known[: _AT_ONCE - 1])

    def _common(self, one: Example, other: Example) -> Layout | None:
        """Spell two files that have the same elements; None if they have not."""
        spelt: list[bytes] = []
        tags: list[int] = []
        varying: list[tuple[int, int]] = []
        count = 0
        for mine, its in _paired(one, other):
            step, in_meta = mine[0], mine[0].start < one.start
            tag = EXPLICIT.tag(EXPLICIT.long.unpack_from(one.head, step.start)[0])
            lengths = [_lengths(one.head, a, other.head, b) for a, b in zip(mine, its, strict=True)]
            values = [_value(a, found) for a, found in zip(mine, lengths, strict=True)]
            if tag in (self._meta if in_meta else self._dataset):
                width = 2 if in_meta or one.form.explicit else 4
                if tag in tags or step.value - step.field != width or max(lengths[0]) > _SHORT + _AROUND:
                    break  # A second one, or an odd one: it is left to the walk, with all that follows.
                value = one.head[step.value : step.end] if tag == self._syntax else None
                if len(lengths[0]) == 1:
                    values[0] = _value(step, lengths[0], value, b"(%b)")
                elif value:
                    return None  # They may differ in how their datasets are encoded.
                else:
                    varying.append((len(tags), width))
                    values[0] = b"(" + values[0] + b")"
                tags.append(tag)
            spelt += [re.escape(a) + b for a, b in zip(one.spelling(mine), values, strict=True)]
            count += not in_meta
        if not count or self._syntax not in tags:
            return None
        pattern = re.compile(b"".join(spelt), re.DOTALL)
        return Layout(pattern, tuple(tags), tuple(varying), one.form, count)


def _paired(one: Example, other: Example) -> list[tuple[_Element, _Element]]:
    """Pair the elements of two files; none if they differ, or if one before the dataset is not plain."""
    pairs: list[tuple[_Element, _Element]] = []
    ends = _META_START, _META_START
    nothing: _Element = []
    for mine, its in zip_longest(one.elements(), other.elements(), fillvalue=nothing):
        if one.spelling(mine) != other.spelling(its) or (mine[0].start, its[0].start) != ends:
            return []
        ends = mine[-1].end, its[-1].end
        pairs.append((mine, its))
    return pairs


def _lengths(head: bytes, step: _Step, other: bytes, twin: _Step) -> list[int]:
    """Give the lengths that a value may have: that of both, and those around if the values differ."""
    one, its = step.end - step.value, twin.end - twin.value
    lengths = dict.fromkeys((one, its))  # These are tried first.
    if head[step.value : step.end] != other[twin.value : twin.end] and max(one, its) <= _SHORT:
        start = max(0, min(one, its) - _AROUND)
        lengths |= dict.fromkeys(range(start + start % 2, max(one, its) + _AROUND + 1, 2))
    return list(lengths)


def _value(step: _Step, lengths: list[int], value: bytes | None = None, group: bytes = b"%b") -> bytes:
    """Match a length and as many bytes, or this value; nothing where a step has no length."""
    width = step.value - step.field
    if not width:
        return b""
    either = [
        re.escape(length.to_bytes(width, "little"))
        + group % (b".{%d}" % length if value is None else re.escape(value))
        for length in lengths
    ]
    return either[0] if len(either) == 1 else b"(?:" + b"|".join(either) + b")"


def _plain(head: bytes, offset: int, stop: int, form: Form) -> Iterator[_Element]:
    """Step as the walk does, up to what is not plain: pixels, what is beyond the bytes, anything odd."""
    element: _Element = []
    inside: list[bool] = []  # what is open: sequences are False, items True
    while offset < stop and offset + 12 <= len(head):
        among_items = inside and not inside[-1]
        step = (_item if among_items else _one)(head, offset, form, inside)
        if step is None or step.end > len(head) or len(inside) > _DEPTH:
            return
        offset = step.end
        element.append(step)
        if not inside:
            yield element
            element = []


def _item(head: bytes, offset: int, form: Form, inside: list[bool]) -> _Step | None:
    """Step over an item of a stated length, into one of undefined length, or out of the sequence."""
    (raw,) = form.long.unpack_from(head, offset)
    (length,) = form.long.unpack_from(head, offset + 4)
    value = offset + 8
    if raw == form.sequence_end:
        inside.pop()
    elif raw != form.item:
        return None
    elif length != UNDEFINED:
        return _Step(offset, offset + 4, value, value + length)
    elif form_at(head, value, form) is form:
        inside.append(True)
    else:
        return None  # It is empty, or encoded in another way.
    return _Step(offset, value, value, value)


def _one(head: bytes, offset: int, form: Form, inside: list[bool]) -> _Step | None:
    """Step over an element, into a sequence of undefined length, or out of an item."""
    raw, vr, length = form.head.unpack_from(head, offset)
    if not inside and form.tag(raw) in PIXELS:
        return None
    value = offset + 8
    if vr in form.short:
        return _Step(offset, offset + 6, value, value + length)
    if inside and raw == form.item_end:
        inside.pop()
        return _Step(offset, value, value, value)
    if raw in form.stray or (form.explicit and vr not in form.known):
        return None
    field = offset + (8 if form.explicit else 4)
    (length,) = form.long.unpack_from(head, field)
    value = field + 4
    if length != UNDEFINED:
        return _Step(offset, field, value, value + length)
    if form.explicit and vr != form.sq:
        return None
    inside.append(False)
    return _Step(offset, value, value, value)

"""The faults that make an honest answer over once it is whole: what is sent instead. Nothing here sends."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dicomsync.sandbox.faults import Plan
from dicomsync.sandbox.media import JSON

_BLANKS = b" " * (1 << 16)
_BOMB_BYTES = 200 << 20
_DEPTH = 100_000
_XML = b'<?xml version="1.0" encoding="UTF-8"?><NativeDicomModel xml:space="preserve"></NativeDicomModel>'


@dataclass(frozen=True, slots=True)
class Made:
    """An answer made over: its status, its header fields, and its body in pieces."""

    status: int
    fields: dict[str, str]
    pieces: Iterable[bytes] = field(default=())


def makes_over(plan: Plan, *, is_json: bool) -> bool:
    """Say whether an answer is to be made over; some faults leave alone what is not JSON."""
    return any(plan.get(name) and (is_json or not needs_json) for name, (needs_json, _) in _MAKERS.items())


def made_over(plan: Plan, status: int, body: bytes, *, is_json: bool) -> Made:
    """Return what is sent in place of this answer, for which `makes_over` holds."""
    faults = ((plan.get(name), needs_json, make) for name, (needs_json, make) in _MAKERS.items())
    fault, make = next((fault, make) for fault, needs, make in faults if fault and (is_json or not needs))
    return make(status, body, fault.argument)


def _disown(_status: int, _body: bytes, argument: str) -> Made:
    text = f"Status {argument} on request".encode() if int(argument) not in (204, 304) else b""
    return Made(int(argument), {"content-type": "text/plain", **_length(len(text))}, (text,))


def _blank(_status: int, _body: bytes, argument: str) -> Made:
    return Made(int(argument), {} if int(argument) in (204, 304) else _length(0))


def _truncated(status: int, body: bytes, _argument: str) -> Made:
    half = body[: len(body) // 2]
    return Made(status, {"content-type": JSON, **_length(len(half))}, (half,))


def _huge(status: int, body: bytes, argument: str) -> Made:
    return Made(
        status, {"content-type": JSON, **_length(len(body) + int(argument))}, _padded(body, int(argument))
    )


def _garbage(status: int, body: bytes, argument: str) -> Made:
    if argument == "bomb":
        return Made(
            status, {"content-type": JSON, "content-encoding": "gzip"}, _zipped(_padded(body, _BOMB_BYTES))
        )
    spoilt = _SPOILERS[argument](body)
    media_type = "application/dicom+xml" if argument == "xml" else JSON
    return Made(status, {"content-type": media_type, **_length(len(spoilt))}, (spoilt,))


_MAKERS: dict[str, tuple[bool, Callable[[int, bytes, str], Made]]] = {
    "disown": (False, _disown),
    "blank": (False, _blank),
    "truncated-json": (True, _truncated),
    "garbage": (True, _garbage),
    "huge": (True, _huge),
}


def _length(size: int) -> dict[str, str]:
    return {"content-length": str(size)}


def _padded(body: bytes, blanks: int) -> Iterator[bytes]:
    yield body
    yield from itertools.repeat(_BLANKS, blanks // len(_BLANKS))
    yield _BLANKS[: blanks % len(_BLANKS)]


def _zipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=31)  # gzip
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def _values(body: bytes, change: Callable[[Any], Any]) -> bytes:
    """Change every value that is no list and no dataset."""

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: one if key == "vr" else changed(one) for key, one in value.items()}
        return [changed(one) for one in value] if isinstance(value, list) else change(value)

    return json.dumps(changed(json.loads(body))).encode()


def _nested(body: bytes) -> bytes:
    def nested(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: [nested(one)] if key == "Value" else nested(one) for key, one in value.items()}
        return [nested(one) for one in value] if isinstance(value, list) else value

    return json.dumps(nested(json.loads(body))).encode()


def _with_first(body: bytes, attribute: bytes) -> bytes:
    """Put an attribute at the beginning of the first dataset."""
    at = body.find(b"{") + 1
    return body[:at] + attribute + (b"" if body[at : at + 1] in (b"", b"}") else b",") + body[at:]


_SPOILERS: dict[str, Callable[[bytes], bytes]] = {
    "xml": lambda _: _XML,
    "strings": lambda body: _values(body, str),
    "nan": lambda body: _values(body, lambda one: float("nan") if isinstance(one, int | float) else one),
    "twice": lambda body: _with_first(body, b'"00081199":{"vr":"SQ"}'),
    "bom": lambda body: b"\xef\xbb\xbf" + body,
    "latin-1": lambda body: _with_first(body, b'"00081030":{"vr":"LO","Value":["Sch\xe4del"]}'),
    "nesting": _nested,
    "nulls": lambda body: _values(body, lambda _: None),
    "deep": lambda _: b"[" * _DEPTH + b"]" * _DEPTH,
}

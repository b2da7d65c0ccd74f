"""The value of one raw DICOM element, checked (PS3.5 6.2) and as DICOM JSON (PS3.18 F.2.2)."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import MutableSequence
from typing import Any

from pydicom import config
from pydicom.charset import decode_bytes
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS, validate_value

BULK = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
"""The VRs that metadata leaves out (conformance statement, "Retrieve Metadata")."""

_BINARY = {"FL": "f", "FD": "d", "SS": "h", "US": "H", "SL": "i", "UL": "I", "SV": "q", "UV": "Q"}
_SINGLE = frozenset({"LT", "ST", "UT", "UR"})  # a backslash is text in these
_PROSE = frozenset({"LT", "ST", "UT"})  # which may have tabs, line and page ends (PS3.5 6.1.3)
_CONTROLS = re.compile(r"[\x00-\x1a\x1c-\x1f\x7f]")  # escape belongs to character sets
_CONTROLS_IN_PROSE = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
_TRANSLATED = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})  # Specific Character Set applies
_COMPONENTS = ("Alphabetic", "Ideographic", "Phonetic")


class Invalid(Exception):
    """A value that its VR does not allow; the words are those of the archive's ErrorComment."""


class TooLong(Invalid):
    """A value so long that it was left on the disk: it is not indexed, but nothing is wrong with it."""


def vr_of(element: RawDataElement | DataElement) -> str:
    """Return an element's VR; Implicit VR has it from the dictionary, private elements are unknown."""
    vr = str(element.VR or "")
    if not vr:
        try:
            vr = dictionary_VR(element.tag)
        except KeyError:
            return "UN"
    if " or " in vr:  # "US or SS" depends on another element; unsigned is what most files mean
        return "OW" if "OW" in vr else "US"
    return vr


def decoded(vr: str, element: RawDataElement | DataElement, encodings: list[str]) -> dict[str, Any]:
    """Return {"Value": […]} for a raw element, {} for an empty one; Invalid for what `vr` forbids."""
    raw = element.value
    if raw is None and isinstance(element, RawDataElement) and element.length:
        raise TooLong("the value is too long to index")
    if not isinstance(raw, bytes | None):  # pydicom has converted it already, as the character set
        converted = list(raw) if isinstance(raw, MutableSequence) else [raw]
        if vr in _BINARY:
            return {"Value": converted}
        raw = "\\".join(map(str, converted)).encode("latin-1", "replace")
    if not raw:
        return {}
    little = bool(getattr(element, "is_little_endian", True))
    values = _numbers(vr, raw, little) if vr in _BINARY or vr == "AT" else _texts(vr, raw, encodings)
    return {"Value": values} if any(value is not None for value in values) else {}


def _numbers(vr: str, raw: bytes, little: bool) -> list[Any]:
    order = "<" if little else ">"
    code = "HH" if vr == "AT" else _BINARY[vr]
    try:
        found = list(struct.iter_unpack(order + code, raw))
    except struct.error:
        raise Invalid(f"Content of {len(raw)} bytes does not validate VR {vr}: wrong length") from None
    if vr == "AT":
        return [f"{group:04X}{element:04X}" for group, element in found]
    return [_json_number(value) for (value,) in found]


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)  # JSON has no infinity


def _texts(vr: str, raw: bytes, encodings: list[str]) -> list[Any]:
    text = _text(vr, raw, encodings)
    parts = [text] if vr in _SINGLE else text.split("\\")
    return [_value(vr, part) for part in parts]


def _text(vr: str, raw: bytes, encodings: list[str]) -> str:
    if vr not in _TRANSLATED:
        return raw.decode("latin-1")
    if len(encodings) == 1:
        return raw.decode(encodings[0], "replace")
    try:
        return str(decode_bytes(raw, encodings, PN_DELIMS if vr == "PN" else TEXT_VR_DELIMS))
    except Exception:  # a warning or an error, as this process treats warnings
        raise Invalid("Content does not follow its Specific Character Set") from None


def _value(vr: str, text: str) -> Any:
    text = text.rstrip(" \0") if vr in _SINGLE else text.strip(" \0")
    if not text:
        return None
    if (_CONTROLS_IN_PROSE if vr in _PROSE else _CONTROLS).search(text):
        raise Invalid(f"Content does not validate VR {vr}: it has control characters")
    try:
        # UIDs are judged by the archive's own, wider rule.
        if vr != "UI":
            validate_value(vr, text, config.RAISE)
        if vr == "PN":
            parts = zip(_COMPONENTS, text.split("="), strict=False)
            return {name: part for name, part in parts if part}
        if vr == "IS":
            return int(text)
        return _json_number(float(text)) if vr == "DS" else text
    except (ValueError, TypeError):
        raise Invalid(f'Content "{text}" does not validate VR {vr}') from None

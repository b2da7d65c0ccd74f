"""What the archive reads of a DICOM file: what it indexes, its metadata, and what is wrong with it.

pydicom finds the elements, raw; their values are decoded here, so that an invalid value is a finding of
the archive and never a warning of a library that might name a patient.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from pydicom.charset import convert_encodings
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from dicomsync.sandbox.attributes import ATTRIBUTES, Attribute
from dicomsync.sandbox.values import BULK, Invalid, TooLong, decoded, vr_of

UID = re.compile(r"[0-9.]{0,63}[0-9]")
"""What the Medical Imaging Server takes for a UID: leading zeros are no error to it."""

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
_REQUIRED_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_LARGE_BYTES = 65_536  # longer values stay on disk: they are never metadata worth sending

Json = dict[str, Any]


@dataclass(slots=True)
class Header:
    """One DICOM file as the archive indexes it.

    `values` maps tags to DICOM JSON attributes (PS3.18 F.2); `failures` are reasons to refuse the
    instance, `doubts` values that are not given back though the instance is stored; `several` says that
    an attribute which is searched by one value has more.
    """

    transfer_syntax: str
    values: dict[str, Json] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    several: bool = False

    def text(self, keyword: str) -> str:
        """Return the first value of an indexed attribute without its padding, "" if there is none."""
        values = self.values.get(_TAGS[keyword], {}).get("Value") or [""]
        first = values[0]
        return str(first.get("Alphabetic", "") if isinstance(first, dict) else first).strip(" \0")

    @property
    def uids(self) -> tuple[str, str, str]:
        """Study, Series and SOP Instance UID: what makes an instance the same one."""
        return self.text("StudyInstanceUID"), self.text("SeriesInstanceUID"), self.text("SOPInstanceUID")


_TAGS = {attribute.keyword: attribute.tag for attribute in ATTRIBUTES}
_INDEXED = {attribute.tag: attribute for attribute in ATTRIBUTES}


class _Nameless(io.BufferedReader):
    """A file whose name, which holds UIDs, no message of a library can repeat."""

    name = "<kept file>"


def read(path: Path) -> Header | None:
    """Read what is indexed and check the rest, never the pixels; None if this is not DICOM (PS3.10 7.1)."""
    dataset = _dataset(path)
    if dataset is None:
        return None
    header = Header(str(dataset.file_meta.get("TransferSyntaxUID", "")))
    encodings = _encodings(dataset)
    for tag, attribute in _INDEXED.items():
        found = element(dataset, tag)
        if found is not None:
            _take(header, attribute, dataset, found, encodings)
    for tag, _, problem in _attributes(dataset, encodings):
        if problem and tag not in _INDEXED:
            header.doubts.append(f"{_label(tag)} - {problem}")
    _judge(header, present={f"{tag:08X}" for tag in dataset.keys()})  # noqa: SIM118 - without it, elements
    return header


def metadata(path: Path) -> Json:
    """Return an instance's metadata as DICOM JSON (PS3.18 F.2), without bulk and invalid values."""
    dataset = _dataset(path)
    return {} if dataset is None else _json(dataset, _encodings(dataset))


def opened(path: Path, **options: Any) -> Any:
    """Open a file with pydicom's `options`; None for what pydicom cannot read in any way."""

    def read() -> Any:
        with _Nameless(io.FileIO(path)) as file:
            return pydicom.dcmread(file, **options)

    try:
        try:
            return read()
        except Warning:  # This process makes errors of warnings; a doubtful file is still a file.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return read()
    except Exception:  # hostile bytes raise whatever they meet first
        return None


def _dataset(path: Path) -> Any:
    return opened(path, stop_before_pixels=True, defer_size=_LARGE_BYTES)


def _encodings(dataset: Dataset) -> list[str]:
    found = element(dataset, "00080005")
    names = found.value if found is not None else None
    text = names.decode("ascii", "replace") if isinstance(names, bytes) else names
    try:
        return list(convert_encodings(text.rstrip(" \0").split("\\") if isinstance(text, str) else text))
    except Exception:  # an unknown character set, as a warning or an error: what is left is Latin-1
        return ["iso8859"]


def element(dataset: Dataset, tag: str) -> RawDataElement | DataElement | None:
    """Return an element as it lies in the file, its value perhaps left on the disk; None if it is missing."""
    if int(tag, 16) not in dataset:
        return None
    return dataset.get_item(BaseTag(int(tag, 16)), keep_deferred=True)


def _take(
    header: Header,
    attribute: Attribute,
    dataset: Dataset,
    raw: RawDataElement | DataElement,
    encodings: list[str],
) -> None:
    try:
        if attribute.vr == "SQ":
            found, problem = _items(dataset, BaseTag(int(attribute.tag, 16)), encodings)
            header.doubts += [f"{_label(attribute.tag)} - {problem}"] if problem else []
        else:
            found = decoded(attribute.vr, raw, encodings)
        header.values[attribute.tag] = {"vr": attribute.vr, **found}
        header.several |= attribute.searchable and len(found.get("Value", ())) > 1
    except Invalid as invalid:
        required = attribute.keyword in (*_REQUIRED_UIDS, "PatientID")
        (header.failures if required else header.doubts).append(f"{_label(attribute.tag)} - {invalid}")


def _judge(header: Header, present: Iterable[str]) -> None:
    """Say what is wrong as v2 does: what is required must be there; only PatientID may be empty."""
    present = set(present)
    for keyword in (*_REQUIRED_UIDS, "PatientID"):
        tag = _TAGS[keyword]
        value = header.text(keyword)
        if tag not in present or (not value and keyword != "PatientID" and tag in header.values):
            header.failures.append(f"{_label(tag)} - The required tag is missing.")
        elif keyword == "PatientID" and not value and tag in header.values:
            header.doubts.append(f"{_label(tag)} - The required tag has no value.")
        elif keyword in _REQUIRED_UIDS and value and not UID.fullmatch(value):
            header.failures.append(f'{_label(tag)} - Content "{value}" does not validate VR UI.')


def _label(tag: str) -> str:
    return f"DICOM100: ({tag[:4].lower()},{tag[4:].lower()})"


def _json(dataset: Dataset, encodings: list[str]) -> Json:
    found = _attributes(dataset, encodings)
    return {tag: value for tag, value, _ in found if value is not None}


def _attributes(dataset: Dataset, encodings: list[str]) -> Iterator[tuple[str, Json | None, str]]:
    """Go through what metadata can hold: a tag, its value unless it is invalid, and what is wrong, or ""."""
    for tag in sorted(dataset.keys()):
        raw = dataset.get_item(BaseTag(tag), keep_deferred=True)
        vr = vr_of(raw)
        if vr in BULK or (int(tag) & 0xFFFF) == 0:  # bulk is retrieved, group lengths say nothing
            continue
        try:
            if vr == "SQ":
                found, problem = _items(dataset, tag, encodings)
            else:
                found, problem = decoded(vr, raw, encodings), ""
            yield f"{tag:08X}", {"vr": vr, **found}, problem
        except TooLong:
            continue
        except Invalid as invalid:
            yield f"{tag:08X}", None, str(invalid)


def _items(dataset: Dataset, tag: BaseTag, encodings: list[str]) -> tuple[Json, str]:
    """Return a sequence without its invalid values, and what is wrong with the first of them, or ""."""
    problems: list[str] = []
    try:
        items = []
        for item in dataset[tag].value:
            found = list(_attributes(item, encodings))
            items.append({name: value for name, value, _ in found if value is not None})
            problems += [problem for _, _, problem in found if problem]
    except Exception:  # a sequence that cannot be walked is an invalid value like any other
        raise Invalid("the sequence cannot be read") from None
    return ({"Value": items} if items else {}), problems[0] if problems else ""

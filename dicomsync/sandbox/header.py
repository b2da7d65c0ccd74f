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
from dicomsync.sandbox.values import BULK, Invalid, decoded, vr_of

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
    instance, `doubts` values that are not indexed though the instance is stored.
    """

    transfer_syntax: str
    values: dict[str, Json] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

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


class _Nameless(io.BufferedReader):
    """A file whose name, which holds UIDs, no message of a library can repeat."""

    name = "<kept file>"


def read(path: Path) -> Header | None:
    """Read what is indexed, never the pixels; None if this is not a DICOM file (PS3.10 7.1)."""
    dataset = _dataset(path, [int(attribute.tag, 16) for attribute in ATTRIBUTES])
    if dataset is None:
        return None
    header = Header(str(dataset.file_meta.get("TransferSyntaxUID", "")))
    encodings = _encodings(dataset)
    for attribute in ATTRIBUTES:
        element = _element(dataset, attribute.tag)
        if element is not None:
            _take(header, attribute, element, encodings)
    _judge(header, present={f"{tag:08X}" for tag in dataset.keys()})  # noqa: SIM118 - without it, elements
    return header


def metadata(path: Path) -> Json:
    """Return an instance's metadata as DICOM JSON (PS3.18 F.2), without bulk and invalid values."""
    dataset = _dataset(path, None)
    return {} if dataset is None else _json(dataset, _encodings(dataset))


def _dataset(path: Path, tags: list[int] | None) -> Any:
    """Open a file with pydicom up to its pixels; what pydicom cannot read in any way is not DICOM."""

    def opened() -> Any:
        with _Nameless(io.FileIO(path)) as file:
            return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags, defer_size=_LARGE_BYTES)

    try:
        try:
            return opened()
        except Warning:  # This process makes errors of warnings; a doubtful file is still a file.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return opened()
    except Exception:  # hostile bytes raise whatever they meet first
        return None


def _encodings(dataset: Dataset) -> list[str]:
    element = _element(dataset, "00080005")
    names = element.value if element is not None else None
    text = names.decode("ascii", "replace") if isinstance(names, bytes) else names
    try:
        return list(convert_encodings(text.rstrip(" \0").split("\\") if isinstance(text, str) else text))
    except Exception:  # an unknown character set, as a warning or an error: what is left is Latin-1
        return ["iso8859"]


def _element(dataset: Dataset, tag: str) -> RawDataElement | DataElement | None:
    if int(tag, 16) not in dataset:
        return None
    return dataset.get_item(BaseTag(int(tag, 16)), keep_deferred=True)


def _take(
    header: Header, attribute: Attribute, element: RawDataElement | DataElement, encodings: list[str]
) -> None:
    try:
        header.values[attribute.tag] = {"vr": attribute.vr, **decoded(attribute.vr, element, encodings)}
    except Invalid as problem:
        required = attribute.keyword in (*_REQUIRED_UIDS, "PatientID")
        (header.failures if required else header.doubts).append(f"{_label(attribute.tag)} - {problem}")


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
    return dict(_attributes(dataset, encodings))


def _attributes(dataset: Dataset, encodings: list[str]) -> Iterator[tuple[str, Json]]:
    for tag in sorted(dataset.keys()):
        element = dataset.get_item(BaseTag(tag), keep_deferred=True)
        vr = vr_of(element)
        if vr in BULK or (int(tag) & 0xFFFF) == 0:  # bulk is retrieved, group lengths say nothing
            continue
        try:
            if vr == "SQ":
                yield f"{tag:08X}", {"vr": vr, **_items(dataset, tag, encodings)}
            else:
                yield f"{tag:08X}", {"vr": vr, **decoded(vr, element, encodings)}
        except Invalid:
            continue


def _items(dataset: Dataset, tag: BaseTag, encodings: list[str]) -> Json:
    try:
        sequence = dataset[tag].value
        items = [_json(item, encodings) for item in sequence]
    except Exception:  # a sequence that cannot be walked is an invalid value like any other
        raise Invalid("the sequence cannot be read") from None
    return {"Value": items} if items else {}

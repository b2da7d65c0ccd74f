"""Media types as a strict server reads them: Accept and Content-Type (RFC 9110 8.3 and 12.5.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass

JSON = "application/dicom+json"
DICOM = "application/dicom"
MULTIPART = "multipart/related"
OCTETS = "application/octet-stream"
JPEG_2000 = "image/jp2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_USUAL_SYNTAX = {  # what a media type means without transfer-syntax
    DICOM: EXPLICIT_VR_LITTLE_ENDIAN,
    OCTETS: EXPLICIT_VR_LITTLE_ENDIAN,
    JPEG_2000: "1.2.840.10008.1.2.4.90",
}

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - RFC 9110's word for a name, no secret
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PARAMETER = re.compile(rf"\s*;\s*({_TOKEN})=({_TOKEN}|{_QUOTED})")
_MEDIA_TYPE = re.compile(rf"\s*({_TOKEN}/{_TOKEN})((?:\s*;\s*{_TOKEN}=(?:{_TOKEN}|{_QUOTED}))*)\s*;?\s*")
_ITEM = re.compile(rf"(?:[^,\"]|{_QUOTED})+")


class Refusal(Exception):
    """A request that is answered with a status and a sentence in plain text, and nothing done."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class MediaType:
    """One media type or range; parameter names in lower case, quotes taken off the values."""

    name: str
    parameters: dict[str, str]

    @property
    def quality(self) -> float:
        """Its weight in an Accept header; 1 unless it says so."""
        try:
            return float(self.parameters.get("q", "1"))
        except ValueError:
            return 0.0


def parse(text: str) -> MediaType | None:
    """Read one media type; None if it does not follow the grammar, as an unquoted type=a/b does not."""
    match = _MEDIA_TYPE.fullmatch(text)
    if match is None:
        return None
    parameters = {key.lower(): _unquoted(value) for key, value in _PARAMETER.findall(match[2])}
    return MediaType(match[1].lower(), parameters)


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def accepted(header: str | None) -> list[MediaType]:
    """Read an Accept header, the preferred first; what cannot be read is as if it were not there."""
    types = [media for item in _ITEM.findall(header or "") if (media := parse(item)) and media.quality > 0]
    return sorted(types, key=lambda media: -media.quality)  # stable: the order written decides among equals


def require_json(header: str | None) -> None:
    """Refuse with 406 unless DICOM JSON is acceptable; a missing Accept is not (conformance statement)."""
    good = (JSON, "application/json", "application/*", "*/*")
    if not any(media.name in good for media in accepted(header)):
        raise Refusal(406, f"The Accept header must allow {JSON}.")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A form in which instances or frames are to be sent; `syntax` is * for as they were stored."""

    name: str
    multipart: bool
    syntax: str

    def suits(self, transfer_syntax: str) -> bool:
        """Say whether what is stored in this transfer syntax can be sent without transcoding."""
        return self.syntax in ("*", transfer_syntax)


def wanted(header: str | None, *names: str, single: bool) -> list[Wanted]:
    """Say in which forms what has one of these media types may be sent, the preferred first; 406 if in none.

    `single` allows one part without multipart. Without transfer-syntax, Explicit VR Little Endian is meant
    (conformance statement, "Retrieve an Instance" and "Retrieve Frames").
    """
    forms = []
    for media in accepted(header):
        multipart = media.name == MULTIPART
        name = media.parameters.get("type", "").lower() if multipart else media.name
        if media.name == "*/*":
            forms.append(Wanted(names[0], True, "*"))
        elif name in names and (multipart or single):
            forms.append(
                Wanted(name, multipart, media.parameters.get("transfer-syntax", _USUAL_SYNTAX[name]))
            )
    if not forms:
        raise Refusal(406, "None of the accepted media types can be sent.")
    return forms


def boundary_of(content_type: str | None) -> str | None:
    """Return the boundary of a multipart store request, None for one that is a single DICOM file.

    415 for anything else, and for multipart without a boundary or without a quoted type="application/dicom";
    400 for `start`, which is not supported.
    """
    if content_type is not None and content_type.strip().lower() == DICOM:
        return None
    media = parse(content_type or "")
    if media is None or media.name != MULTIPART or media.parameters.get("type", "").lower() != DICOM:
        raise Refusal(415, f'The Content-Type must be {MULTIPART}; type="{DICOM}" or {DICOM}.')
    boundary = media.parameters.get("boundary", "")
    if not boundary:
        raise Refusal(415, "The Content-Type has no boundary.")
    if "start" in media.parameters:
        raise Refusal(400, "The start parameter is not supported.")
    if len(boundary) > 70:  # RFC 2046 5.1.1
        raise Refusal(400, "The boundary has more than 70 characters.")
    return boundary

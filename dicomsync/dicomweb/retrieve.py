"""The Retrieve transaction (PS3.18 10.4): files, frames and metadata as they come, never held whole.

A part whose chunks come to their end without an error is whole. What breaks off raises NoAnswer or
BadAnswer in the middle of the part that it breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from ..errors import BadAnswer, UsageProblem
from .dicomjson import Dataset, stream_rows
from .kinds import Kind
from .multipart import ReceivedPart, boundary_of, read_parts
from .session import NOT_DICOM_JSON, Exchange, Session

_SINGLE_FILE: Final = "application/dicom; transfer-syntax=*"
_FILES: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_BYTES: Final = "application/octet-stream"
_FRAMES: Final = 'multipart/related; type="application/octet-stream"'

_URL_BYTES: Final = 6000  # what every server and proxy takes in one line
_WHERE: Final = "the archive has no such study, series or instance; or the base URL is not its DICOMweb root."
_METADATA_ADVICE: Final = {404: _WHERE, 410: "the archive had it, and has it no longer."}
_FILE_ADVICE: Final = {
    **_METADATA_ADVICE,
    406: "the archive cannot give it in the form in which it was stored.",
}
_FRAME_ADVICE: Final = {
    400: "the instance may have fewer frames, or none that this archive can read.",
    404: "the archive has no such instance, or the instance has no such frame.",
    406: "the archive cannot give the frames in this form: ask for them uncompressed, or as they are stored.",
}


@dataclass(frozen=True, slots=True)
class Metadata:
    """The datasets of a study, series or instance without their bulk data, to be read as they come.

    `etag` is "" where the archive gives none. `unchanged` says that it is still the one that was
    given (304): there are no datasets then.
    """

    etag: str
    unchanged: bool
    datasets: Iterator[Dataset]


@contextmanager
def files(
    session: Session, kind: Kind, study: str, series: str | None = None
) -> Iterator[Iterator[ReceivedPart]]:
    """Retrieve all instances of a study or series as they were stored."""
    url = session.resource(study, series)
    if kind.instances_only:
        raise UsageProblem(
            f"{kind.words} gives no study or series at once; nothing was sent",
            hint="search for its instances, and retrieve them one by one.",
        )
    with session.exchange("GET", url, accept=_FILES) as exchange:
        if exchange.status not in (200, 206):
            raise exchange.refusal(_FILE_ADVICE)
        yield _files(exchange)


@contextmanager
def file(
    session: Session, single_part: bool, study: str, series: str, sop: str
) -> Iterator[tuple[bool, ReceivedPart]]:
    """Retrieve one instance as it was stored, asked for in this form first; says which form it came in."""
    url = session.resource(study, series, sop)
    for asked in (single_part, not single_part):
        with session.exchange("GET", url, accept=_SINGLE_FILE if asked else _FILES) as exchange:
            again = asked is single_part
            if again and (exchange.status in (400, 406) or _may_be_cut(exchange)):
                continue  # Orthanc, dcm4chee: multipart only
            if exchange.status != 200:
                raise exchange.refusal(_FILE_ADVICE)
            yield asked, _only(_files(exchange))
            return


@contextmanager
def frames(
    session: Session, kind: Kind, uids: tuple[str, str, str], numbers: Sequence[int], as_stored: bool
) -> Iterator[Iterator[ReceivedPart]]:
    """Retrieve frames by number, in the order asked for (PS3.18 10.4.1.1.6)."""
    if not numbers or min(numbers) < 1:
        raise UsageProblem("frames are numbered from 1; nothing was sent")
    if kind.instances_only and len(numbers) > 1:
        raise UsageProblem(f"{kind.words} gives one frame at a time; nothing was sent")
    url = f"{session.resource(*uids)}/frames/{','.join(map(str, numbers))}"
    if len(url) > _URL_BYTES:
        raise UsageProblem(
            "these are more frames than one request can name; nothing was sent",
            hint="ask for fewer at a time.",
        )
    accept = _BYTES if kind.single_part_frame and len(numbers) == 1 else _FRAMES
    if as_stored:
        accept += "; transfer-syntax=*"
    with session.exchange("GET", url, accept=accept) as exchange:
        if exchange.status != 200:
            raise exchange.refusal(_FRAME_ADVICE)
        yield _counted(_parts(exchange, _is_frame), len(numbers))


@contextmanager
def metadata(
    session: Session, kind: Kind, study: str, series: str | None, sop: str | None, etag: str
) -> Iterator[Metadata]:
    """Retrieve the metadata (PS3.18 10.4.1.1.2); `etag` as one of these answers gave it, or ""."""
    url = f"{session.resource(study, series, sop)}/metadata"
    if kind.instances_only and series is None:
        raise UsageProblem(
            f"{kind.words} gives no study's metadata at once; nothing was sent",
            hint="search for its series, and ask for the metadata of each.",
        )
    if not (etag.isascii() and etag.isprintable()):
        raise UsageProblem("what should be an ETag is none; nothing was sent")
    headers = {"If-None-Match": etag} if etag else None
    with session.exchange("GET", url, headers=headers) as exchange:
        found_etag = exchange.headers.get("etag", "")
        if exchange.status == 304 and etag:
            yield Metadata(found_etag or etag, True, iter(()))
            return
        if exchange.status != 200:
            raise exchange.refusal(_METADATA_ADVICE)
        if exchange.media_type.startswith("multipart/"):
            raise BadAnswer(NOT_DICOM_JSON, status=200)
        cap = session.archive.response_cap_bytes
        yield Metadata(found_etag, False, stream_rows(exchange.chunks(), cap))


def _files(exchange: Exchange) -> Iterator[ReceivedPart]:
    """At least one file; after the last, an error if the archive says that they are not all (206)."""
    count = 0
    for part in _parts(exchange, _is_file):
        count += 1
        yield part
    if not count:
        raise BadAnswer("the archive answered with a multipart body that has no parts", status=200)
    if exchange.status == 206:
        raise BadAnswer(
            "the archive could give only some of the instances; those that came are whole", status=206
        )


def _counted(parts: Iterator[ReceivedPart], count: int) -> Iterator[ReceivedPart]:
    """Just so many parts as there were frames asked for."""
    came = 0
    for part in parts:
        came += 1
        if came > count:
            break
        yield part
    if came != count:
        raise BadAnswer("the archive answered with another number of frames than were asked for", status=200)


def _only(parts: Iterator[ReceivedPart]) -> ReceivedPart:
    """The only part, whose chunks come to their end only once it is known that no other follows."""
    part = next(parts)

    def chunks() -> Iterator[bytes]:
        yield from part.chunks
        if next(parts, None) is not None:
            raise BadAnswer("the archive answered one instance's request with several files", status=200)

    return ReceivedPart(part.headers, chunks())


def _parts(exchange: Exchange, fits: Callable[[str], bool]) -> Iterator[ReceivedPart]:
    """The parts of a multipart body, or the one that is all of a single-part body."""
    if exchange.media_type.startswith("multipart/"):
        parts = read_parts(exchange.chunks(), boundary_of(exchange.content_type))
    elif _may_be_cut(exchange):
        raise BadAnswer(
            "the archive's answer does not tell where it ends: half of it could pass for it", status=200
        )
    else:
        parts = iter([ReceivedPart({"content-type": exchange.content_type}, exchange.chunks())])
    for headers, chunks in parts:
        if not fits(headers.get("content-type", _BYTES).partition(";")[0].strip().lower()):
            raise BadAnswer("the archive answered with something other than what was asked for", status=200)
        yield ReceivedPart(headers, _not_empty(chunks))


def _is_file(media_type: str) -> bool:
    return media_type in ("application/dicom", _BYTES)


def _is_frame(media_type: str) -> bool:
    return media_type == _BYTES or media_type.startswith(("image/", "video/"))


def _may_be_cut(exchange: Exchange) -> bool:
    return not exchange.media_type.startswith("multipart/") and not exchange.tells_its_end


def _not_empty(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """No file is empty: an empty one would compare as different, and be taken for a conflict."""
    got_bytes = 0
    for chunk in chunks:
        got_bytes += len(chunk)
        yield chunk
    if not got_bytes:
        raise BadAnswer("the archive answered with an empty file", status=200)

"""Retrieving to files: whole ones only, under names made of checked UIDs, and nothing twice."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from dicomsync import dicomweb, header
from dicomsync.errors import BadAnswer, DicomsyncError, Refused, UsageProblem
from dicomsync.model import StatKey, Whole

PREFIX, SUFFIX = ".dicomsync-", ".part"
STALE_SECONDS = 24 * 3600
_UID = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)
_EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/jp2": "jp2",
    "image/jpx": "jpx",
    "image/jls": "jls",
    "image/x-jls": "jls",
    "image/dicom-rle": "rle",
    "image/x-dicom-rle": "rle",
    "video/mp4": "mp4",
    "video/mpeg": "mpg",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A study, series or instance in an archive."""

    study: str
    series: str | None = None
    sop: str | None = None

    def __post_init__(self) -> None:
        for uid in self.uids:
            if not _UID.fullmatch(uid) or len(uid) > 64:
                raise UsageProblem(
                    f"{uid!r} is no UID; nothing was asked for.",
                    hint="A UID is digits and single dots, at most 64.",
                )

    @property
    def uids(self) -> tuple[str, ...]:
        """The UIDs that are given, from the study down."""
        return tuple(uid for uid in (self.study, self.series, self.sop) if uid is not None)


@dataclass(slots=True)
class Retrieved:
    """What a retrieve has brought: files new and files that were there; `amiss` says what is not well."""

    wanted: int | None = None  # instances, None while that is not known
    new: int = 0
    there: int = 0
    in_the_way: int = 0  # their places are taken by other files
    size_bytes: int = 0
    amiss: list[str] = field(default_factory=list)
    trouble: DicomsyncError | None = None

    @property
    def missing(self) -> int:
        """How many instances have not come."""
        return max(0, (self.wanted or 0) - self.new - self.there - self.in_the_way)


def files(
    client: dicomweb.Client, place: Place, into: Path, tell: Callable[[Retrieved], None] = lambda _: None
) -> Retrieved:
    """Retrieve what `place` names to `into`/study/series/instance.dcm, each file as it was stored.

    What is there already, whole and under its name, is not asked for again; nothing is ever written
    over another file. What breaks off is in `trouble`; what had come by then stays.
    """
    report = Retrieved()
    _sweep(into)
    try:
        listed = _listed(client, place)
        if listed is None:
            _take(client, place, into, report, tell)
            return report
        report.wanted = len(listed)
        wanted = [one for one in listed if not _is_there(into, one, report)]
        report.there = len(listed) - len(wanted) - report.in_the_way
        tell(report)
        for request in _requests(place, listed, wanted, client.kind.instances_only):
            _take(client, request, into, report, tell)
    except DicomsyncError as error:
        report.trouble = error
    return report


def _listed(client: dicomweb.Client, place: Place) -> list[Place] | None:
    """Say which instances there are, by searching; None where this archive cannot be searched for that."""
    if place.sop is not None:
        return [place]
    try:
        series: list[str | None] = [place.series]
        if place.series is None and not client.kind.searches_across:
            series = [_uid(row, "0020000E") for row in client.search("series", study=place.study)]
        found: list[Place] = []
        for one in series:
            for row in client.search("instances", study=place.study, series=one):
                its_series = one or _uid(row, "0020000E")
                found.append(Place(place.study, its_series, _uid(row, "00080018")))
    except Refused as error:
        if error.status in (400, 403, 404, 405, 406, 501):
            return None
        raise
    return found or None


def _uid(row: dicomweb.Dataset, tag: str) -> str:
    found = dicomweb.uid(row, tag)
    if found is None:
        raise BadAnswer("the archive's search names an instance without its UIDs", status=200)
    return found


def _path(into: Path, place: Place) -> Path:
    return into / place.study / (place.series or "") / f"{place.sop}.dcm"


def _is_there(into: Path, place: Place, report: Retrieved) -> bool:
    """Whether this instance need not be asked for: it is there and whole, or something else is."""
    path = _path(into, place)
    try:
        key = StatKey.of(os.lstat(path))
    except OSError:
        return False
    found = header.read(os.fsencode(path), key)
    if isinstance(found, Whole) and _place(found) == place:
        return True
    report.in_the_way += 1
    report.amiss.append(f"{path} is something else, and was left as it is")
    return True


def _place(whole: Whole) -> Place:
    return Place(whole.study_instance_uid, whole.series_instance_uid, whole.sop_instance_uid)


def _requests(
    place: Place, listed: Sequence[Place], wanted: Sequence[Place], instances_only: bool
) -> Iterator[Place]:
    """Say what to ask for: the whole where all of it is missing, else what is missing."""
    if not wanted:
        return
    if len(wanted) == len(listed) and not instances_only:
        yield place
        return
    for series in dict.fromkeys(one.series for one in wanted):
        its_wanted = [one for one in wanted if one.series == series]
        whole = len(its_wanted) == sum(one.series == series for one in listed)
        if whole and len(its_wanted) > 1 and not instances_only:
            yield Place(place.study, series)
        else:
            yield from its_wanted


def _take(
    client: dicomweb.Client,
    place: Place,
    into: Path,
    report: Retrieved,
    tell: Callable[[Retrieved], None],
) -> None:
    with client.retrieve(*place.uids) as parts:
        for part in parts:
            with _incoming(into) as (file, name):
                for chunk in part.chunks:
                    file.write(chunk)
                    report.size_bytes += len(chunk)
                    tell(report)
                file.flush()
                os.fsync(file.fileno())
                _keep(name, place, into, report)
            tell(report)


def _keep(name: Path, place: Place, into: Path, report: Retrieved) -> None:
    """Give a file that has come its name, if it is whole and what was asked for, and the name is free."""
    found = header.read(os.fsencode(name), StatKey.of(name.stat()))
    if not isinstance(found, Whole):
        report.amiss.append("the archive gave a file that is not a whole DICOM instance; it was not kept")
        return
    got = _place(found)
    if got.uids[: len(place.uids)] != place.uids:
        report.amiss.append("the archive gave an instance that was not asked for; it was not kept")
        return
    path = _path(into, got)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _name(name, path)
    except FileExistsError:
        if _equal(name, path):
            report.there += 1
        else:
            report.in_the_way += 1
            report.amiss.append(f"{path} is there with other content, and was left as it is")
        return
    _persist(path.parent)
    report.new += 1


def _name(name: Path, path: Path) -> None:
    """Give the file its name where no file has it; not every file system can link."""
    try:
        os.link(name, path)
    except FileExistsError:
        raise
    except OSError:
        if path.exists():
            raise FileExistsError from None
        os.rename(name, path)


def _equal(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while chunk := first.read(1 << 20):
            if chunk != second.read(1 << 20):
                return False
    return True


@contextmanager
def _incoming(into: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Give a file to write into that is gone afterwards, whatever happens, unless it got another name."""
    name = into / f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}"
    try:
        with name.open("xb") as file:
            try:
                yield file, name
            finally:
                name.unlink(missing_ok=True)
    except OSError as error:
        raise DicomsyncError(
            f"{into} cannot be written: {error.strerror}.", hint="What had come whole by then is kept."
        ) from None


def _sweep(into: Path) -> None:
    """Take away what a retrieve that was killed has left."""
    try:
        into.mkdir(parents=True, exist_ok=True)
        for left in into.glob(f"{PREFIX}*{SUFFIX}"):
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                left.unlink()
    except OSError as error:
        raise UsageProblem(
            f"{into} cannot be used: {error.strerror}.", hint="Nothing was retrieved."
        ) from None


def _persist(directory: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def metadata(client: dicomweb.Client, place: Place, into: Path) -> tuple[Path, int | None]:
    """Retrieve metadata to one JSON file, named by the last UID; gives it, and None if nothing is new.

    Beside it the archive's ETag is kept, so that what has not changed is not sent again.
    """
    path = into / f"{place.uids[-1]}.metadata.json"
    mark = path.with_suffix(".etag")
    _sweep(into)
    known = mark.read_text("utf-8").strip() if path.exists() and mark.exists() else ""
    with client.metadata(*place.uids, etag=known) as found, _incoming(into) as (file, name):
        if found.unchanged:
            return path, None
        count = 0
        for piece in json_array(found.datasets):
            count += piece != "\n]\n"
            file.write(piece.encode())
        file.flush()
        os.fsync(file.fileno())
        mark.unlink(missing_ok=True)
        os.replace(name, path)
        if found.etag:
            mark.write_text(found.etag, "utf-8")
    return path, count


def json_array(datasets: Iterable[dicomweb.Dataset]) -> Iterator[str]:
    """Give datasets as the text of one JSON array, a line each, as they come."""
    before = "["
    for dataset in datasets:
        yield f"{before}\n{json.dumps(dataset)}"
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def frames(client: dicomweb.Client, place: Place, numbers: Sequence[int], into: Path) -> list[Path]:
    """Retrieve frames, as they are stored, to instance-frame-N.EXT each; an older one is replaced."""
    if place.series is None or place.sop is None:
        raise UsageProblem("Frames are of one instance: name its study, series and instance.")
    _sweep(into)
    kept: list[Path] = []
    with client.frames(place.study, place.series, place.sop, numbers) as parts:
        for number, part in zip(numbers, parts, strict=False):
            media_type = part.headers.get("content-type", "").partition(";")[0].strip().lower()
            path = into / f"{place.sop}-frame-{number}.{_EXTENSIONS.get(media_type, 'raw')}"
            with _incoming(into) as (file, name):
                for chunk in part.chunks:
                    file.write(chunk)
                file.flush()
                os.replace(name, path)
            kept.append(path)
    return kept

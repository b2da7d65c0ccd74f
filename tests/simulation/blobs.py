"""The small universe of instances: so few UIDs that files collide all the time, made once by template."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256

from dicomsync.samples import instance, retold, uid

STUDIES, SERIES, SOPS = 3, 2, 4


Names = tuple[str, str, str]
"""The UIDs of study, series and instance."""


@dataclass(frozen=True)
class Blob:
    """One content of one instance, whole; `pixels_at` is where the last value of the file begins."""

    study: str
    series: str
    sop: str
    data: bytes
    pixels_at: int

    @property
    def digest(self) -> bytes:
        return sha256(self.data).digest()


@cache
def universe() -> tuple[Blob, ...]:
    """Every instance in several contents: of one size, of another size, with a preamble, in another study."""
    old = (uid("old study"), uid("old series"), uid("old sop"))
    made = {}
    for columns in (4, 8):
        made[columns] = instance(
            study_uid=old[0],
            series_uid=old[1],
            sop_uid=old[2],
            rows=4,
            columns=columns,
            pixels=bytes(8 * columns),
        )
    blobs = []
    for study in range(STUDIES):
        for series in range(SERIES):
            for sop in range(SOPS):
                new = (uid("study", study), uid("series", study, series), uid("sop", study, series, sop))
                blobs += [_blob(made, old, new, variant) for variant in range(3)]
    # UIDs given twice: the same SOP Instance UID in another study and in another series
    twice = uid("sop", 0, 0, 0)
    blobs.append(_blob(made, old, (uid("study", 1), uid("series", 1, 0), twice), 0))
    blobs.append(_blob(made, old, (uid("study", 0), uid("series", 0, 1), twice), 0))
    return tuple(blobs)


def _blob(made: dict[int, bytes], old: Names, new: Names, variant: int) -> Blob:
    columns = 8 if variant == 2 else 4
    data = retold(made[columns], dict(zip(old, new, strict=True)))
    length = 8 * columns
    pixels = bytes([variant * 16 + 1]) * length
    preamble = b"made up preamble".ljust(128, b".") if variant == 1 else data[:128]
    data = preamble + data[128:-length] + pixels
    return Blob(*new, data, len(data) - length)


@cache
def by_data() -> dict[bytes, Blob]:
    """Every whole content."""
    return {blob.data: blob for blob in universe()}


def told_by(data: bytes) -> Blob | None:
    """Give the content whose header these bytes begin with, whatever follows."""
    return next((blob for blob in universe() if data.startswith(blob.data[: blob.pixels_at])), None)


@cache
def by_digest() -> dict[bytes, Blob]:
    """Every whole content by its SHA-256."""
    return {blob.digest: blob for blob in universe()}

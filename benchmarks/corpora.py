"""The files that measurements are made on: made up from a seed, once, and kept.

A corpus that was not finished is made again; its name holds all that it was made from.
"""

from __future__ import annotations

import random
import shutil
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicomsync.samples import instance, retold, uid, write_ct_files

MR = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
IMPLICIT = "1.2.840.10008.1.2"
FRAME_BYTES = 512 * 512 * 2
SETTLED_SECONDS = 6.0  # younger files than `settle` are looked at twice, which would be measured too
_RECIPE = 1  # of the makers below: another recipe, another folder


@dataclass(frozen=True, slots=True)
class Corpus:
    """A folder of files to send."""

    name: str
    path: Path
    files: int
    size_bytes: int

    def warm(self) -> None:
        """Read it once, so that nobody pays for the disk who happens to come first."""
        for file in paths_in(self.path):
            with file.open("rb", buffering=0) as opened:
                while opened.read(1 << 20):
                    pass


def paths_in(folder: Path) -> Iterator[Path]:
    """Give every DICOM file below, in order."""
    yield from sorted(folder.rglob("*.dcm"))


class Shelf:
    """Where corpora are kept."""

    def __init__(self, place: Path, seed: int) -> None:
        self._place = place
        self._seed = seed

    def ct(self, files: int, studies: int = 8) -> Corpus:
        """CT slices of 526 KB."""
        studies = min(studies, files)
        return self._made(
            f"ct-{files}-{studies}",
            lambda at: write_ct_files(at, count=files, studies=studies, seed=self._seed),
        )

    def mr(self, files: int, studies: int = 20) -> Corpus:
        """MR slices of 34 KB."""
        studies = min(studies, files)
        return self._made(f"mr-{files}-{studies}", lambda at: _mr(at, files, studies, self._seed))

    def tree(self, files: int, directories: int) -> Corpus:
        """Images of 1.7 KB in many directories, a study each: for scans."""
        return self._made(
            f"tree-{files}-{directories}",
            lambda at: write_ct_files(at, count=files, studies=directories, size=8, seed=self._seed),
        )

    def multiframe(self, files: int, frames: int) -> Corpus:
        """Enhanced CT, all slices of a series in one file, each with its functional groups."""
        return self._made(
            f"multiframe-{files}-{frames}", lambda at: _multiframe(at, files, frames, self._seed)
        )

    def mixed(self, files: int) -> Corpus:
        """CT, MR, compressed, implicit and multi-frame in one folder, beside what is not DICOM."""
        return self._made(f"mixed-{files}", lambda at: _mixed(at, files, self._seed))

    def _made(self, name: str, make: Callable[[Path], object]) -> Corpus:
        place = self._place / f"{name}-seed{self._seed}-recipe{_RECIPE}"
        done = place / "complete"
        if not done.exists():
            shutil.rmtree(place, ignore_errors=True)
            (place / "files").mkdir(parents=True)
            make(place / "files")
            time.sleep(SETTLED_SECONDS)
            sizes = [path.stat().st_size for path in paths_in(place / "files")]
            done.write_text(f"{len(sizes)} {sum(sizes)}")
        files, size_bytes = map(int, done.read_text().split())
        return Corpus(name, place / "files", files, size_bytes)


def _mr(folder: Path, files: int, studies: int, seed: int) -> list[Path]:
    named = {"SOPClassUID": MR, "Modality": "MR"}
    return write_ct_files(folder, count=files, studies=studies, size=128, seed=seed, extra=named)


def _multiframe(folder: Path, files: int, frames: int, seed: int) -> None:
    """Write the header of one with a single frame by pydicom, then the pixels of all, a frame at a time."""
    old = (uid("old study"), uid("old series"), uid("old sop"))
    template = instance(
        study_uid=old[0],
        series_uid=old[1],
        sop_uid=old[2],
        sop_class=ENHANCED_CT,
        rows=512,
        columns=512,
        pixels=b"\0\0",
        extra={
            "PatientID": "DEMO-0000",
            "NumberOfFrames": frames,
            "PerFrameFunctionalGroupsSequence": _functional_groups(frames),
        },
    )
    assert template.endswith(b"OW\0\0\x02\0\0\0\0\0")
    head = template[:-6] + struct.pack("<I", frames * FRAME_BYTES)
    frame = random.Random(seed).randbytes(FRAME_BYTES)
    for number in range(files):
        new = (uid(seed, "mf", number), uid(seed, "mf", number, 0), uid(seed, "mf", number, 0, 0))
        with _named(folder, f"study{number + 1}", "1.dcm").open("wb") as file:
            file.write(retold(head, dict(zip(old, new, strict=True))))
            for _ in range(frames):
                file.write(frame)


def _functional_groups(frames: int) -> object:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items

    def one(**values: object) -> Dataset:
        found = Dataset()
        for keyword, value in values.items():
            setattr(found, keyword, value)
        return found

    return Items(
        one(
            FrameContentSequence=Items([one(InStackPositionNumber=number + 1, TemporalPositionIndex=1)]),
            PlanePositionSequence=Items([one(ImagePositionPatient=["0", "0", str(number)])]),
        )
        for number in range(frames)
    )


def _mixed(folder: Path, files: int, seed: int) -> None:
    most, few = max(1, files * 2 // 5), max(1, files // 10)
    write_ct_files(folder / "ct", count=most, studies=min(4, most), seed=seed)
    _mr(folder / "mr", most, min(4, most), seed + 1)
    _multiframe(folder / "multiframe", max(1, few // 10), 20, seed)
    noise = random.Random(seed).randbytes(60_000)
    for syntax, place in ((JPEG_BASELINE, "compressed"), (IMPLICIT, "implicit")):
        _singles(folder / place, few, syntax, noise, (seed, place))
    _named(folder, "notes", "readme.txt").write_text("not DICOM\n")


def _singles(folder: Path, files: int, syntax: str, pixels: bytes, names: Sequence[object]) -> None:
    for number in range(files):
        content = instance(
            study_uid=uid(*names),
            series_uid=uid(*names, 0),
            sop_uid=uid(*names, 0, number),
            transfer_syntax=syntax,
            rows=150,
            columns=200,
            pixels=pixels,
            extra={"PatientID": "DEMO-0001"},
        )
        _named(folder, f"{number + 1:06}.dcm").write_bytes(content)


def _named(folder: Path, *names: str) -> Path:
    path = folder.joinpath(*names)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path

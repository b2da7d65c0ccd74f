"""How fast `header.read` is against pydicom, over CT files made for the purpose, in turn, warm cache.

Only the ratio is a claim: it is taken a round at a time, because absolute speeds swing with the machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from benchmarks.goals import GOALS, HEADS, Finding
from benchmarks.measuring import median, ratios, table
from dicomsync import header
from dicomsync.model import Whole
from dicomsync.samples import CT, uid, write_ct_files


def references(count: int) -> Sequence:
    """Make a sequence as scanners write it, of undefined length."""
    items = []
    for number in range(count):
        item = Dataset()
        item.ReferencedSOPClassUID = CT
        item.ReferencedSOPInstanceUID = uid("referenced", number)
        item.is_undefined_length_sequence_item = True
        items.append(item)
    found = Sequence(items)
    found.is_undefined_length = True
    return found


def scanner_header() -> dict[str, object]:
    """Give what a scanner adds to the plainest CT header: references, a request, a procedure code."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "CTCHEST", "99LOCAL", "CT of the chest"
    request = Dataset()
    request.RequestedProcedureDescription = request.ScheduledProcedureStepDescription = "CT of the chest"
    request.ScheduledProcedureStepID = request.RequestedProcedureID = "12345"
    return {
        "ReferencedStudySequence": references(1),
        "ReferencedImageSequence": references(3),
        "SourceImageSequence": references(2),
        "ProcedureCodeSequence": Sequence([code]),
        "RequestAttributesSequence": Sequence([request]),
    }


def by_pydicom(path: bytes) -> None:
    """Read what pydicom needs to give the same UIDs."""
    dataset = pydicom.dcmread(path.decode(), stop_before_pixels=True)
    _ = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID, dataset.SOPClassUID


def by_us(path: bytes) -> None:
    """Read and prove whole."""
    found = header.read(path)
    assert isinstance(found, Whole), found


def rate(one: Callable[[bytes], None], paths: list[bytes]) -> float:
    """Headers a second."""
    start = time.perf_counter()
    for path in paths:
        one(path)
    return len(paths) / (time.perf_counter() - start)


def compared(files: int, rounds: int, seed: int = 0) -> Iterator[tuple[float, float]]:
    """Give our rate and pydicom's, a round at a time."""
    with tempfile.TemporaryDirectory() as folder:
        made = write_ct_files(Path(folder), count=files, seed=seed, extra=scanner_header())
        paths = [bytes(path) for path in made]
        rate(by_us, paths)
        for _ in range(rounds):
            yield rate(by_us, paths), rate(by_pydicom, paths)


def finding(files: int, rounds: int, seed: int = 0) -> Finding:
    """Say how many of our headers go to one of pydicom's."""
    ours, theirs = zip(*compared(files, rounds, seed), strict=True)
    found = ratios(ours, theirs)
    detail = f"{median(ours):,.0f} against {median(theirs):,.0f} headers/s"
    key = ("header of a CT", "pydicom")
    return Finding(*key, median(found), "x", GOALS[key], tuple(found), detail)


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = finding(options.files, options.rounds, options.seed)
    print(table(HEADS, [found.row]), found.detail, sep="\n")


if __name__ == "__main__":
    main()

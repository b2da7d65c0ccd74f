"""How fast `header.read` is against pydicom, over CT files made for the purpose, in turn, warm cache.

Only the ratio is a claim: it is taken a round at a time, because absolute speeds swing with the machine.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

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


def main() -> None:
    """Print a line a round, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = write_ct_files(Path(folder), count=options.files, seed=options.seed, extra=scanner_header())
        paths = [bytes(path) for path in files]
        size = Path(paths[0].decode()).stat().st_size
        print(f"{len(paths)} CT files of {size} bytes")
        rate(by_us, paths)
        rounds = []
        for number in range(options.rounds):
            ours, theirs = rate(by_us, paths), rate(by_pydicom, paths)
            rounds.append((ours, theirs, ours / theirs))
            print(f"round {number + 1}: {ours:,.0f}/s, pydicom {theirs:,.0f}/s, ratio {ours / theirs:.1f}")
    ours, theirs, ratio = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"median: {ours:,.0f}/s, pydicom {theirs:,.0f}/s, ratio {ratio:.1f}")


if __name__ == "__main__":
    main()

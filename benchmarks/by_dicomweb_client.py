"""A folder stored with dicomweb-client, as its documentation shows, 100 instances of one folder a request.

python -m benchmarks.by_dicomweb_client URL FOLDER [MOST-A-REQUEST]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pydicom
from dicomweb_client.api import DICOMwebClient

AT_ONCE = 100
AT_ONCE_BYTES = 32 << 20  # both as dicomsync's batches


def main() -> None:
    """Read, store, and end with 1 if an instance failed."""
    url, folder, *more = sys.argv[1:]
    most = int(more[0]) if more else AT_ONCE
    client = DICOMwebClient(url)
    for directory, _, names in os.walk(folder):
        paths = [os.path.join(directory, name) for name in sorted(names) if name.endswith(".dcm")]
        for group in groups(paths, most):
            answer = client.store_instances([pydicom.dcmread(path) for path in group])
            if answer.get("FailedSOPSequence"):  # Orthanc's is there, and empty
                sys.exit("an instance was refused")


def groups(paths: list[str], most: int = AT_ONCE) -> Iterator[list[str]]:
    """Cut a list of files into requests."""
    size = 0
    group: list[str] = []
    for path in paths:
        length = os.path.getsize(path)
        if group and (len(group) == most or size + length > AT_ONCE_BYTES):
            yield group
            group, size = [], 0
        group.append(path)
        size += length
    if group:
        yield group


if __name__ == "__main__":
    main()

"""The faults that keep another file than the one that was sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pydicom

from dicomsync.sandbox import header as headers
from dicomsync.sandbox.header import IMPLICIT_VR_LITTLE_ENDIAN, Header
from dicomsync.sandbox.media import EXPLICIT_VR_LITTLE_ENDIAN

ALTERATIONS = ("zero-preamble", "coerce", "transcode")
_OTHER = {
    EXPLICIT_VR_LITTLE_ENDIAN: IMPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN: EXPLICIT_VR_LITTLE_ENDIAN,
}
_PREAMBLE_BYTES = 128


def alter(path: Path, header: Header, alterations: Sequence[str]) -> tuple[Header, bool]:
    """Change a file as asked; return its header as it is now, and whether values in it were coerced."""
    if "coerce" in alterations or "transcode" in alterations:
        dataset = headers.opened(path)
        if dataset is None:  # its pixels cannot be read, which nothing else here minds
            return header, False
        if "coerce" in alterations:
            dataset.InstitutionName = "Sandbox"
        if "transcode" in alterations:
            syntax = dataset.file_meta.TransferSyntaxUID
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(_OTHER.get(syntax, syntax))
        pydicom.dcmwrite(path, dataset)
        header = headers.read(path) or header
    if "zero-preamble" in alterations:
        with path.open("r+b") as file:
            file.write(bytes(_PREAMBLE_BYTES))
    return header, "coerce" in alterations

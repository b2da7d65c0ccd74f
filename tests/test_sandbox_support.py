"""What the sandbox's tests share: DICOM bytes, store bodies written by hand, and requests. No tests here."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import httpx
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"
BOUNDARY = "a-boundary-of-32-plain-characters"
RELATED = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'
JSON = "application/dicom+json"
STORE = {"content-type": RELATED, "accept": JSON}
# Plain HTTP: loading certificates would take longer than the requests.
PLAIN: dict[str, Any] = {"trust_env": False, "verify": False, "timeout": 10}
AS_STORED = {"accept": "application/dicom; transfer-syntax=*"}


def dicom(
    sop: str | None = "1.2.3.4",
    *,
    study: str | None = "1.2.3",
    series: str | None = "1.2.3.1",
    syntax: str = ExplicitVRLittleEndian,
    payload: bytes = b"\1\2\3\4",
    **attributes: Any,
) -> bytes:
    """Return a small DICOM file; None leaves an attribute out."""
    dataset = Dataset()
    values = {
        "SOPClassUID": CT,
        "SOPInstanceUID": sop,
        "StudyInstanceUID": study,
        "SeriesInstanceUID": series,
        "PatientID": "P-1",
        "PatientName": "Doe^Jane",
        "StudyDate": "20240102",
        "Modality": "CT",
        "Rows": 2,
        "Columns": 2,
        "BitsAllocated": 8,
        **attributes,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # impossible values are written on purpose
        for keyword, value in values.items():
            if value is not None:
                setattr(dataset, keyword, value)
    dataset.add_new("PixelData", "OB" if syntax != "1.2.840.10008.1.2" else "OW", payload)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = UID(CT)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def related(*parts: bytes, head: str = "Content-Type: application/dicom\r\n") -> bytes:
    """Write a multipart/related body."""
    opened = (f"--{BOUNDARY}\r\n{head}\r\n".encode() + part + b"\r\n" for part in parts)
    return b"".join(opened) + f"--{BOUNDARY}--\r\n".encode()


def post(
    url: str, *parts: bytes, study: str = "", body: bytes | Iterable[bytes] | None = None, **headers: str
) -> httpx.Response:
    """Store parts, or a body written by the test, and return the answer."""
    fields = {**STORE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    address = f"{url}/studies/{study}" if study else f"{url}/studies"
    content = related(*parts) if body is None else body
    return httpx.post(address, content=content, headers=fields, **PLAIN)


def get(url: str, path: str, accept: str = JSON, **headers: str) -> httpx.Response:
    """Get a path under the base address."""
    fields = {"accept": accept, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return httpx.get(f"{url}{path}", headers=fields, **PLAIN)


def referenced(answer: httpx.Response) -> list[str]:
    """Return the SOP Instance UIDs the answer names as stored."""
    items = answer.json().get("00081199", {}).get("Value", [])
    return [item["00081155"]["Value"][0] for item in items]


def failed(answer: httpx.Response) -> list[tuple[str, int]]:
    """Return what the answer names as failed: SOP Instance UID, or "", and Failure Reason."""
    items = answer.json().get("00081198", {}).get("Value", [])
    return [(item.get("00081155", {}).get("Value", [""])[0], item["00081197"]["Value"][0]) for item in items]


def values(answer: httpx.Response, tag: str) -> list[str]:
    """Return the first value of one attribute from each dataset found."""
    return [dataset[tag]["Value"][0] for dataset in answer.json()]


def eventually(condition: Callable[[], object], within: float = 5.0) -> None:
    """Wait until a condition holds; fail if it does not in time."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)

"""Small made-up studies, written on the spot: for `demo`, for rehearsals, the write test and the tests.

Nobody in them exists. The same seed gives the same UIDs and, with the same pydicom, the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import struct
import time
from collections.abc import Mapping
from pathlib import Path

CT = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
EXPLICIT = "1.2.840.10008.1.2.1"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_NATIVE = frozenset({"1.2.840.10008.1.2", EXPLICIT, "1.2.840.10008.1.2.1.99", _BIG_ENDIAN})

PATIENTS = ("Demo^Anna", "Demo^Bruno", "Demo^Chiara", "Demo^Diego", "Demo^Elin", "Demo^Farid")
SHAPES = ("circle", "square", "gradient")

_CT_ATTRIBUTES: dict[str, object] = {
    "SpecificCharacterSet": "ISO_IR 192",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "InstanceCreationDate": "20240102",
    "InstanceCreationTime": "101500",
    "StudyDate": "20240102",
    "SeriesDate": "20240102",
    "AcquisitionDate": "20240102",
    "ContentDate": "20240102",
    "StudyTime": "101112",
    "SeriesTime": "101213",
    "AcquisitionTime": "101314",
    "ContentTime": "101314",
    "Modality": "CT",
    "Manufacturer": "Sample Works",
    "InstitutionName": "Nowhere Clinic",
    "ReferringPhysicianName": "Demo^Doctor",
    "StationName": "SAMPLE1",
    "StudyDescription": "Made-up study",
    "ManufacturerModelName": "Drawing Board",
    "PatientBirthDate": "19700101",
    "PatientSex": "O",
    "PatientAge": "054Y",
    "PatientWeight": "70",
    "BodyPartExamined": "PHANTOM",
    "ScanOptions": "AXIAL MODE",
    "SliceThickness": "1.25",
    "KVP": "120",
    "DataCollectionDiameter": "500",
    "DeviceSerialNumber": "0001",
    "SoftwareVersions": "1.0",
    "ProtocolName": "Made up",
    "ReconstructionDiameter": "360",
    "DistanceSourceToDetector": "949",
    "DistanceSourceToPatient": "541",
    "GantryDetectorTilt": "0",
    "TableHeight": "150",
    "RotationDirection": "CW",
    "ExposureTime": "1000",
    "XRayTubeCurrent": "170",
    "Exposure": "170",
    "FilterType": "BODY FILTER",
    "GeneratorPower": "20400",
    "FocalSpots": "0.7",
    "ConvolutionKernel": "STANDARD",
    "PatientPosition": "FFS",
    "StudyID": "1",
    "AcquisitionNumber": "1",
    "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    "PositionReferenceIndicator": "OM",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "PixelSpacing": ["0.7", "0.7"],
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
    "WindowCenter": "2048",
    "WindowWidth": "4096",
    "RescaleIntercept": "-1024",
    "RescaleSlope": "1",
    "RescaleType": "HU",
}


def uid(*parts: object) -> str:
    """Derive a UID from anything; all have one length, so that one can take another's place in a file.

    Under 2.25 (PS3.5 B.2), where any number below 2 to the power of 128 may stand.
    """
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return f"2.25.{10**37 + int.from_bytes(digest, 'big') % (9 * 10**37)}"


def draw(shape: str, rows: int, columns: int, step: int = 0) -> bytes:
    """Draw a circle, a square or a gradient in 12-bit grey, little endian; `step` makes it grow."""
    size = min(rows, columns) * (3 + step % 6) // 20
    values = []
    for y in range(rows):
        for x in range(columns):
            dy, dx = abs(y - rows // 2), abs(x - columns // 2)
            if shape == "gradient":
                inside = 4095 * ((x + 3 * step) % columns) // columns
            elif shape == "square":
                inside = 3000 if max(dy, dx) < size else 200
            else:
                inside = 3600 if dy * dy + dx * dx < size * size else 200
            values.append(inside)
    return struct.pack(f"<{len(values)}H", *values)


def instance(
    *,
    study_uid: str,
    series_uid: str,
    sop_uid: str,
    sop_class: str = CT,
    transfer_syntax: str = EXPLICIT,
    rows: int = 64,
    columns: int = 64,
    pixels: bytes | None = None,
    extra: Mapping[str, object] | None = None,
) -> bytes:
    """Build one file (PS3.10 section 7): a CT image unless `extra` says otherwise.

    `pixels` default to a drawn circle; in a compressed syntax they are one fragment, given as they are
    (nothing here compresses). `extra` sets attributes by keyword; None there leaves the attribute out.
    """
    data = draw("circle", rows, columns) if pixels is None else pixels
    attributes = _CT_ATTRIBUTES | {
        "SOPClassUID": sop_class,
        "SOPInstanceUID": sop_uid,
        "StudyInstanceUID": study_uid,
        "SeriesInstanceUID": series_uid,
        "FrameOfReferenceUID": uid("frame", series_uid),
        "Rows": rows,
        "Columns": columns,
        "PixelData": data,
    }
    return _file(attributes | dict(extra or {}), transfer_syntax)


def harmless(study_uid: str, series_uid: str, sop_uid: str, patient_id: str) -> bytes:
    """Build the one file of `doctor --write-test`: a grey square of nobody's, which says what it is."""
    now = time.localtime()
    attributes = {
        "SOPClassUID": SECONDARY_CAPTURE,
        "SOPInstanceUID": sop_uid,
        "StudyDate": time.strftime("%Y%m%d", now),
        "StudyTime": time.strftime("%H%M%S", now),
        "AccessionNumber": "",
        "Modality": "OT",
        "ConversionType": "SYN",
        "ReferringPhysicianName": "",
        "StudyDescription": "dicomsync write test: may be deleted",
        "PatientName": "DICOMSYNC^WRITE TEST",
        "PatientID": patient_id,
        "PatientBirthDate": "",
        "PatientSex": "",
        "StudyInstanceUID": study_uid,
        "SeriesInstanceUID": series_uid,
        "StudyID": "",
        "SeriesNumber": 1,
        "InstanceNumber": 1,
        "PatientOrientation": "",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": 16,
        "Columns": 16,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "PixelData": draw("square", 16, 16),
    }
    return _file(attributes, EXPLICIT)


def _file(attributes: Mapping[str, object], transfer_syntax: str) -> bytes:
    """Write attributes as a file; its native pixels are given in little endian."""
    from pydicom.dataset import Dataset, FileMetaDataset  # slow to import, and not needed by the daemon
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    dataset = Dataset()
    for keyword, value in attributes.items():
        if value is not None:
            setattr(dataset, keyword, value)
    if "PixelData" in dataset:
        data = dataset.PixelData
        if transfer_syntax == _BIG_ENDIAN:
            data = struct.pack(f">{len(data) // 2}H", *struct.unpack(f"<{len(data) // 2}H", data))
        elif transfer_syntax not in _NATIVE:
            data = encapsulate([data])
        dataset.PixelData = data
        dataset["PixelData"].VR = "OW" if transfer_syntax in _NATIVE else "OB"
        dataset["PixelData"].is_undefined_length = transfer_syntax not in _NATIVE
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def retold(data: bytes, changes: Mapping[str, str]) -> bytes:
    """Give a copy of a file with other text of the same length: far faster than to build it again."""
    for old, new in changes.items():
        if len(old) != len(new):
            raise ValueError("the lengths in the file would no longer be true")
        data = data.replace(old.encode("ascii"), new.encode("ascii"))
    return data


def write_studies(
    directory: Path,
    *,
    studies: int = 2,
    series: int = 2,
    instances: int = 3,
    rows: int = 64,
    columns: int = 64,
    seed: int = 0,
) -> list[Path]:
    """Write small CT studies, a folder each, and give the paths in order."""
    paths = []
    for study in range(studies):
        for number in range(series):
            for place in range(instances):
                content = instance(
                    study_uid=uid(seed, study),
                    series_uid=uid(seed, study, number),
                    sop_uid=uid(seed, study, number, place),
                    rows=rows,
                    columns=columns,
                    pixels=draw(SHAPES[(study + number) % len(SHAPES)], rows, columns, place),
                    extra={
                        "PatientName": PATIENTS[study % len(PATIENTS)],
                        "PatientID": f"DEMO{seed:03}{study:03}",
                        "AccessionNumber": f"A{seed:03}{study:03}",
                        "SeriesDescription": SHAPES[(study + number) % len(SHAPES)],
                        "SeriesNumber": number + 1,
                        "InstanceNumber": place + 1,
                        "ImagePositionPatient": ["0", "0", str(place * 5)],
                    },
                )
                path = directory / f"study{study + 1}" / f"series{number + 1}" / f"{place + 1:04}.dcm"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                paths.append(path)
    return paths


def write_ct_files(
    directory: Path,
    *,
    count: int,
    studies: int = 8,
    size: int = 512,
    seed: int = 0,
    extra: Mapping[str, object] | None = None,
) -> list[Path]:
    """Write `count` CT files of usual size (512 by 512: 526 KB), fast: one is built, the others retold."""
    old = (uid("old study"), uid("old series"), uid("old sop"))
    named = {"PatientName": PATIENTS[0], "PatientID": "DEMO-0000", "SeriesNumber": 1, "InstanceNumber": 1}
    study_uid, series_uid, sop_uid = old
    template = instance(
        study_uid=study_uid,
        series_uid=series_uid,
        sop_uid=sop_uid,
        rows=size,
        columns=size,
        extra=named | dict(extra or {}),
    )
    paths = []
    for number in range(count):
        study = number * studies // count
        new = (uid(seed, "ct", study), uid(seed, "ct", study, 0), uid(seed, "ct", study, 0, number))
        changes = dict(zip(old, new, strict=True)) | {"DEMO-0000": f"DEMO-{study:04}"}
        path = directory / f"study{study + 1}" / f"{number + 1:06}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(retold(template, changes))
        paths.append(path)
    return paths

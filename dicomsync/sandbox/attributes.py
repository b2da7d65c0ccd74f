"""Which attributes the archive indexes, searches and returns, as its conformance statement lists them.

Source: the Medical Imaging Server's v2 conformance statement, "Searchable Attributes" and "Search Response".
A table of facts; nothing here reads or writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """Where an attribute lives, and what a search can return."""

    STUDY = 0
    SERIES = 1
    INSTANCE = 2


@dataclass(frozen=True, slots=True)
class Attribute:
    """One indexed attribute: `default` is returned unasked, `searchable` has a column of its name."""

    keyword: str
    tag: str  # eight upper-case hexadecimal digits
    vr: str
    level: Level
    default: bool = False
    searchable: bool = False


def _rows(level: Level, default: bool, searchable: bool, text: str) -> list[Attribute]:
    rows = (line.split() for line in text.strip().splitlines())
    return [Attribute(keyword, tag, vr, level, default, searchable) for tag, vr, keyword in rows]


ATTRIBUTES: tuple[Attribute, ...] = (
    *_rows(
        Level.STUDY,
        True,
        True,
        """
        0020000D UI StudyInstanceUID
        00080020 DA StudyDate
        00080050 SH AccessionNumber
        00081030 LO StudyDescription
        00080090 PN ReferringPhysicianName
        00100010 PN PatientName
        00100020 LO PatientID
        00100030 DA PatientBirthDate
        """,
    ),
    *_rows(
        Level.STUDY,
        False,
        False,
        """
        00080005 CS SpecificCharacterSet
        00080030 TM StudyTime
        00080056 CS InstanceAvailability
        00080063 SQ AnatomicRegionsInStudyCodeSequence
        00080201 SH TimezoneOffsetFromUTC
        00081032 SQ ProcedureCodeSequence
        00081060 PN NameOfPhysiciansReadingStudy
        00081080 LO AdmittingDiagnosesDescription
        00081110 SQ ReferencedStudySequence
        00100040 CS PatientSex
        00101010 AS PatientAge
        00101020 DS PatientSize
        00101030 DS PatientWeight
        00102180 SH Occupation
        001021B0 LT AdditionalPatientHistory
        00200010 SH StudyID
        """,
    ),
    *_rows(
        Level.SERIES,
        True,
        True,
        """
        0020000E UI SeriesInstanceUID
        00080060 CS Modality
        00081090 LO ManufacturerModelName
        00400244 DA PerformedProcedureStepStartDate
        """,
    ),
    *_rows(
        Level.SERIES,
        False,
        False,
        """
        00080005 CS SpecificCharacterSet
        00080201 SH TimezoneOffsetFromUTC
        00200011 IS SeriesNumber
        00200060 CS Laterality
        00080021 DA SeriesDate
        00080031 TM SeriesTime
        0008103E LO SeriesDescription
        00400245 TM PerformedProcedureStepStartTime
        00400275 SQ RequestAttributesSequence
        """,
    ),
    *_rows(Level.INSTANCE, True, True, "00080018 UI SOPInstanceUID"),
    *_rows(
        Level.INSTANCE,
        False,
        False,
        """
        00080005 CS SpecificCharacterSet
        00080016 UI SOPClassUID
        00080056 CS InstanceAvailability
        00080201 SH TimezoneOffsetFromUTC
        00200013 IS InstanceNumber
        00280010 US Rows
        00280011 US Columns
        00280100 US BitsAllocated
        00280008 IS NumberOfFrames
        """,
    ),
)

COMPUTED = {
    "ModalitiesInStudy": ("00080061", "CS", Level.STUDY),
    "NumberOfStudyRelatedInstances": ("00201208", "IS", Level.STUDY),
    "NumberOfSeriesRelatedInstances": ("00201209", "IS", Level.SERIES),
}
"""Worked out when asked for with `includefield`, at their own level; the first may be searched for too."""

BY_NAME: dict[str, Attribute] = {
    **{a.keyword: a for a in ATTRIBUTES},
    **{a.tag: a for a in ATTRIBUTES},
}
"""By keyword and by tag: both are ways to write an attribute in a query (PS3.18 8.3.4.1).

An attribute that several levels have is one attribute; nothing searchable is among those.
"""


def searchable(level: Level) -> tuple[Attribute, ...]:
    """Return the attributes that have a column of their own in the index table of `level`."""
    return tuple(a for a in ATTRIBUTES if a.searchable and a.level is level)

"""The states that a file and an instance go through."""

from __future__ import annotations

from enum import StrEnum


class FileState(StrEnum):
    """Where a file is."""

    SETTLING = "settling"  # still changing, or too fresh to trust
    HELD = "held"  # looked finished but is not a whole, storable DICOM file, or cannot be read
    IGNORED = "ignored"  # left alone on purpose: not DICOM, a DICOMDIR, or from before the daemon
    READY = "ready"  # whole; its instance says the rest
    GONE = "gone"  # has left the folder
    MISSED = "missed"  # left before its instance was known: an alarm


class InstanceState(StrEnum):
    """Where one content of one SOP Instance UID is."""

    PENDING = "pending"
    SENDING = "sending"
    UNCONFIRMED = "unconfirmed"
    STORED = "stored"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"  # a person kept another content under its UID
    MISSED = "missed"
    LEAVING = "leaving"
    DELETING = "deleting"
    DELETED = "deleted"


CLAIMING = (
    InstanceState.PENDING,
    InstanceState.SENDING,
    InstanceState.UNCONFIRMED,
    InstanceState.STORED,
    InstanceState.LEAVING,
    InstanceState.DELETING,
)
"""The states of which only one row per SOP Instance UID may be: it is the one the archive has, or gets."""

DUE = (InstanceState.PENDING, InstanceState.SENDING, InstanceState.UNCONFIRMED)
"""The states in which something is still to be done without a person."""


class Sighting(StrEnum):
    """What the archive had of a stored instance when it was last asked."""

    PRESENT = "present"  # a search found it; its bytes were not compared
    EQUAL = "equal"  # there, and the same from byte 128 on
    ABSENT = "absent"  # one look did not find it: it is looked for once more
    MISSING = "missing"  # two looks did not find it: an alarm
    DIFFERS = "differs"  # there, with other bytes than were stored: an alarm

"""A DICOMweb archive for demonstrations, tests and rehearsals. It is not for patients.

It keeps files in a directory with a SQLite index, answers as the Medical Imaging Server for DICOM
documents (its v2 conformance statement), and misbehaves on request (`kinds.HELP`). It shares no code
with the client, the engine or the header reader, so that it can judge them.

Left out on purpose: transcoding (406 where it would be needed) and rendering, frames of deflated
files, extended query tags, bulk updates, expiry, partitions and worklists.
"""

from dicomsync.sandbox.kinds import HELP
from dicomsync.sandbox.records import NOT_FOR_PATIENTS, Kept, Recorded
from dicomsync.sandbox.server import Archive, running, serve

__all__ = ["HELP", "NOT_FOR_PATIENTS", "Archive", "Kept", "Recorded", "running", "serve"]

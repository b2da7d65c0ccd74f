"""What is known of each kind of archive: facts, each with where it is from. No behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of archive differs from what PS3.18 promises, as far as a client must know."""

    name: str
    words: str
    hides_duplicates: bool  # a Store of what is there already is answered as a success, the old copy kept
    uid_list_matching: bool  # a Search understands SOPInstanceUID=a,b,c (PS3.18 8.3.4.1 UID list matching)
    keepalive_seconds: float  # an idle connection is used again only this long: less than the server's own
    returns_sent_bytes: (
        bool | None
    )  # a Retrieve gives the very bytes from 128 on that were stored; None: unknown
    single_part_retrieve: bool  # an instance may be asked for as application/dicom, without multipart
    store_by_study_url: bool  # Store to /studies/{study}: a guard where that is sound
    page_limit: int = 200  # the largest `limit` of a Search that every known archive takes
    max_request_bytes: int | None = None  # a larger Store is refused with 413; None: not known, or a setting
    batch_bytes: int = 32 * MIB  # the largest batch worth sending
    batch_instances: int = 50


DICOM_SERVER: Final = Kind(
    name="dicom-server",
    words="Medical Imaging Server for DICOM (Azure DICOM service)",
    hides_duplicates=False,  # 45070 per instance: FailureReasonCodes.cs, conformance statement v2 "Store"
    uid_list_matching=False,  # not in the conformance statement: not relied on
    keepalive_seconds=60.0,  # Kestrel keeps 130 s; front ends and load balancers cut idle ones at 240 s
    returns_sent_bytes=True,  # its own test ShouldRetrieveEquivalentBytes, asked with transfer-syntax=*
    single_part_retrieve=True,  # conformance statement v2, "Retrieve instance"
    store_by_study_url=True,  # strangers fail one by one: StoreService.cs
    page_limit=200,  # conformance statement v2: limit 1 to 200, beyond is 400
    max_request_bytes=2_147_483_647,  # Kestrel's limit in the web host's settings; the managed service: 4 GB
)

ORTHANC: Final = Kind(
    name="orthanc",
    words="Orthanc",
    hides_duplicates=True,  # OverwriteInstances is off by default: 200, and the old copy stays
    uid_list_matching=True,  # with commas: measured on 1.10.1 with DICOMweb plug-in 1.7
    keepalive_seconds=0.4,  # idle connections are closed after 0.5 s (older) or 1 s (KeepAliveTimeout)
    returns_sent_bytes=True,  # unless IngestTranscoding is set there: Orthanc Book, "Transcoding"
    single_part_retrieve=False,  # 400, only multipart: WadoRs.cpp
    store_by_study_url=False,  # stores the strangers' neighbours and answers 409: StowRs.cpp
    batch_bytes=32 * MIB,  # it holds the whole body in memory: HttpServer.cpp, ReadBodyToStream
)

GENERIC: Final = Kind(
    name="generic",
    words="a DICOMweb archive",
    hides_duplicates=True,  # dcm4chee and AWS HealthImaging do: the careful assumption
    uid_list_matching=False,
    keepalive_seconds=4.0,  # under the 5 s of common proxies
    returns_sent_bytes=None,  # dcm4chee and AWS HealthImaging rewrite, Google does not
    single_part_retrieve=True,  # asked first; the answer decides
    store_by_study_url=False,
)

KINDS: Final = {kind.name: kind for kind in (DICOM_SERVER, ORTHANC, GENERIC)}

"""What is known of each kind of archive: facts, each with where it is from. No behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

MIB: Final = 1 << 20

DeleteWay = Literal["dicomweb", "rest", "reject", "operation", "none"]
"""DELETE below /studies; Orthanc's own REST; dcm4chee's reject; DELETE whose end is polled; not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How one kind of archive differs from what PS3.18 promises, as far as a client must know.

    What has a default here is what PS3.18 promises, or the careful assumption.
    """

    name: str
    words: str

    # Store
    hides_duplicates: bool  # a Store of what is there already is answered as a success, the old copy kept
    store_by_study_url: bool = False  # Store to /studies/{study}: a guard where that is sound
    single_part_store: bool = False  # Store of one instance as a bare application/dicom body (no standard's)
    upsert: bool = False  # PUT /studies stores and replaces
    max_request_bytes: int | None = None  # a larger Store is refused with 413; None: not known, or a setting
    batch_bytes: int = 32 * MIB  # the largest batch worth sending
    batch_instances: int = 100  # of 34 KB; of 50 Orthanc and we took a tenth more processor time (measured)
    shares_studies: bool = False  # takes several Stores into one study at a time, of different instances

    # Retrieve
    returns_sent_bytes: bool | None  # a Retrieve gives the very bytes stored, from 128 on; None: unknown
    single_part_retrieve: bool  # an instance may be asked for as application/dicom, without multipart
    single_part_frame: bool = False  # one frame may be asked for as application/octet-stream
    instances_only: bool = (
        False  # no Retrieve of a study or series, nor a study's metadata; frames one by one
    )

    # Search
    uid_list_matching: bool = False  # SOPInstanceUID=a,b,c is understood (PS3.18 8.3.4.1)
    page_limit: int = 200  # the largest `limit` it takes for sure
    searches_across: bool = True  # /series, /instances and /studies/{study}/instances too
    decodes_queries: bool = True  # %5E in a Search's value is understood as ^
    ignores_unknown_names: bool = False  # a filter by a name it does not know is dropped: everything matches

    # Delete, and the connection
    delete: DeleteWay = "dicomweb"
    keepalive_seconds: float = (
        4.0  # an idle connection is used again only so long: under 5 s of common proxies
    )


# A number is the section of servers.md that has the fact with its sources; some are named here.

DICOM_SERVER: Final = Kind(
    name="dicom-server",
    words="Medical Imaging Server for DICOM (Azure DICOM service)",
    hides_duplicates=False,  # 3: 45070 per instance (FailureReasonCodes.cs; conformance statement v2 "Store")
    store_by_study_url=True,  # 8: strangers fail one by one (StoreService.cs)
    single_part_store=True,  # 1.1: the header exactly so, without parameters
    shares_studies=True,  # 2.4: what collides is one instance in two requests (45071)
    upsert=True,  # 1.1: the managed service only (its conformance statement v2); the open code has none
    max_request_bytes=2_147_483_647,  # 1.3: Kestrel's limit in the web host; the managed service: 4 GB
    returns_sent_bytes=True,  # 3: its test ShouldRetrieveEquivalentBytes, asked with transfer-syntax=*
    single_part_retrieve=True,  # 4: conformance statement v2, "Retrieve instance"
    single_part_frame=True,  # 4: likewise
    page_limit=200,  # 5: conformance statement v2: 1 to 200, beyond is 400
    keepalive_seconds=60.0,  # 8: Kestrel keeps 130 s; front ends and load balancers cut idle ones at 240 s
)

ORTHANC: Final = Kind(
    name="orthanc",
    words="Orthanc",
    hides_duplicates=True,  # 3: OverwriteInstances is off by default: 200, and the old copy stays
    # 8: /studies/{study} stores the strangers' neighbours and answers 409 (StowRs.cpp): no guard
    shares_studies=True,  # measured on 1.10.1: ten studies made by eight requests each are ten, and whole
    batch_bytes=32 * MIB,  # 1.4: it holds the whole body in memory (HttpServer.cpp, ReadBodyToStream)
    returns_sent_bytes=True,  # 3: unless IngestTranscoding is set there (Orthanc Book, "Transcoding")
    single_part_retrieve=False,  # 4: 400, only multipart (WadoRs.cpp)
    uid_list_matching=True,  # with commas: measured on 1.10.1 with DICOMweb plug-in 1.7
    decodes_queries=False,  # measured on the same: taken as it is, so that only raw characters match
    ignores_unknown_names=True,  # 5; measured on the same
    delete="rest",  # 6: DICOMweb's DELETE is 405 (orthanc-tests, test_allowed_methods)
    keepalive_seconds=0.4,  # 8: idle connections are closed after 0.5 s (older) or 1 s (KeepAliveTimeout)
)

DCM4CHEE: Final = Kind(
    name="dcm4chee",
    words="dcm4chee",
    hides_duplicates=True,  # 3: without a source, SAME_SOURCE is NEVER (StoreServiceEJB isSameSource)
    returns_sent_bytes=False,  # 3: rewritten on receipt, merged with the database on retrieve
    single_part_retrieve=False,  # 4: 406 (WadoRS.java)
    delete="reject",  # 6: IocmRS.java; DELETE is for what has been rejected
)

GOOGLE: Final = Kind(
    name="google",
    words="Google Cloud Healthcare",
    hides_duplicates=False,  # 3: 200 if the bytes are equal, 409 if they are not
    shares_studies=True,  # 1.3: its quota is the only bound on requests at a time
    single_part_store=True,  # 1.1: what Google's own adapter sends
    returns_sent_bytes=True,  # 3: asked with transfer-syntax=*
    single_part_retrieve=True,  # 4
    delete="operation",  # 6: for studies and series ("Deleting DICOM data")
)

HEALTH_IMAGING: Final = Kind(
    name="healthimaging",
    words="AWS HealthImaging",
    hides_duplicates=True,  # 3: stored again as an image set that searches do not show, and billed
    single_part_store=True,  # 1.1: its own example
    max_request_bytes=1_000_000_000,  # 1.3: 1 GB of DICOM data
    returns_sent_bytes=False,  # 3: may be transcoded to HTJ2K
    single_part_retrieve=True,  # 4
    single_part_frame=True,  # 4: the only form
    instances_only=True,  # 4: no study level
    searches_across=False,  # 5: three of the six resources
    delete="none",  # 6: only DeleteImageSet of its own interface
)

GENERIC: Final = Kind(
    name="generic",
    words="a DICOMweb archive",
    hides_duplicates=True,  # dcm4chee and AWS HealthImaging do: the careful assumption
    single_part_store=True,  # asked for by a person; 415 tells
    returns_sent_bytes=None,  # dcm4chee and AWS HealthImaging rewrite, Google does not
    single_part_retrieve=True,  # asked first; the answer decides
)

KINDS: Final = {
    kind.name: kind for kind in (DICOM_SERVER, ORTHANC, DCM4CHEE, GOOGLE, HEALTH_IMAGING, GENERIC)
}

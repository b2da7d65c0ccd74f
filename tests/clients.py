"""What the client's tests share: impatient clients of scripted servers, and DICOM JSON in few words."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from dicomsync.dicomweb import Archive, BytesPart, Client, StoreBody, client_for

from .scripted_server import Request, ScriptedServer, answer

STUDY, SERIES, SOP = "1.2.840.99.1", "1.2.840.99.1.2", "1.2.840.99.1.2.3"
MULTIPART_FILES = 'multipart/related; type="application/dicom"; transfer-syntax=*'

GOOGLE = "/v1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb"
DCM4CHEE = "/dcm4chee-arc/aets/DCM4CHEE/rs"
HEALTH_IMAGING = f"/datastore/{'0123456789abcdef' * 2}"
PATHS = {"google": GOOGLE, "dcm4chee": DCM4CHEE, "healthimaging": HEALTH_IMAGING, "orthanc": "/dicom-web"}


def client(server: ScriptedServer, kind: str = "generic", *, path: str = "/v2", **settings: Any) -> Client:
    """Make a client of this server that gives up soon."""
    quick: dict[str, Any] = {"connect_timeout": 5, "idle_timeout": 5, "answer_timeout": 5, "short_retries": 1}
    url = f"http://127.0.0.1:{server.port}{path}"
    return client_for(Archive(url, kind=kind, **{**quick, **settings}))


def row(sop: str = "", series: str = SERIES, study: str = STUDY, **more: str) -> dict[str, Any]:
    """A result with these UIDs; "" leaves one out. `more` are attributes by tag: T00100010="x"."""
    pairs = {"0020000D": study, "0020000E": series, "00080018": sop}
    found: dict[str, Any] = {tag: {"vr": "UI", "Value": [uid]} for tag, uid in pairs.items() if uid}
    return found | {tag.removeprefix("T"): {"vr": "LO", "Value": [value]} for tag, value in more.items()}


def results(rows: Sequence[object], **headers: str) -> bytes:
    """Answer with DICOM JSON."""
    return answer(200, json.dumps(rows).encode(), Content_Type="application/dicom+json", **headers)


def files(*payloads: bytes, status: int = 200) -> bytes:
    """Answer with these files as multipart."""
    body = StoreBody([BytesPart(payload) for payload in payloads])
    return answer(status, b"".join(body), Content_Type=body.content_type)


def routes(**found: bytes) -> Callable[[Request], bytes]:
    """Answer by method and the last word of the path: `GET_studies=…`; 404 for all else."""

    def respond(request: Request) -> bytes:
        path = urlsplit(request.target).path.rstrip("/")
        return found.get(f"{request.method}_{path.rpartition('/')[2]}", answer(404, b"no such thing"))

    return respond


def asked(server: ScriptedServer) -> list[str]:
    """Say the requests that came, each as method and target."""
    return [f"{request.method} {request.target}" for request in server.seen]

"""A DICOMweb client: values in, values out (PS3.18 chapters 8 and 10).

Store, Retrieve of an instance, and the searches that tell what an archive has. It decides nothing:
what an answer means for an instance is the caller's business, and every answer can be had.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from ..errors import BadAnswer, NoAnswer, UsageProblem
from .archive import Archive, check_kind
from .dicomjson import clean_text
from .identify import Identified, identify
from .kinds import GENERIC, KINDS, ORTHANC
from .multipart import Part, ReceivedPart, StoreBody, boundary_of, read_parts
from .presence import present
from .response import StoreResponse, parse
from .session import Exchange, Session, checked_uid
from .urls import check_url
from .wire import refused, retry_after_seconds

_SINGLE_PART: Final = "application/dicom; transfer-syntax=*"
_MULTIPART: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'

_PLAIN_REFUSALS: Final = frozenset({401, 403, 404, 405, 406, 411, 413, 415, 421, 429, 431})
"""Statuses that need no body to be understood: nothing was stored (PS3.18 10.5.3, RFC 9110)."""


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """What came back from one Store, at whatever status; what it means per instance is not said here.

    `response` is None if the body was no Store Instances Response Module; `excerpt` then has its
    first words, for the ledger alone. `complete` says that the whole body had been taken when the
    answer came: an answer to half a request proves nothing about the rest, not even 200.
    """

    status: int
    response: StoreResponse | None
    retry_after_seconds: float | None
    sent_bytes: int
    total_bytes: int
    complete: bool
    excerpt: str = ""


class Client:
    """All that is asked of one archive; threads may share it. Make it with `client_for`.

    Every request may raise NoAnswer (no whole answer came; `sent_bytes` says how far it got) and
    SecretProblem; all but `store` raise Refused (a status that is no result) and BadAnswer.
    """

    def __init__(self, archive: Archive) -> None:
        problem = check_url(archive.url) or check_kind(archive.kind)
        if problem:
            raise UsageProblem(f"the archive cannot be used: {problem}")
        self.archive = archive
        self.kind = KINDS.get(archive.kind, GENERIC)  # "auto": the careful assumptions until identified
        keepalive = KINDS.get(archive.kind, ORTHANC).keepalive_seconds  # "auto": the shortest
        self._session = Session(archive, keepalive)
        self._single_part = self.kind.single_part_retrieve

    def close(self) -> None:
        """Close its connections; it may not be used any more."""
        self._session.close()

    def store(self, parts: Iterable[Part], study: str | None = None) -> StoreAnswer:
        """Store one batch of instances, of one study if `study` is given (PS3.18 10.5).

        The study is put into the URL where the kind makes that a sound guard. Any answer is
        returned; whatever a part raises while it is read is raised here, the request broken off.
        """
        parts = tuple(parts)
        if not parts:
            raise ValueError("a Store needs at least one instance")
        segments = ["studies"]
        if study is not None and checked_uid(study) and self.kind.store_by_study_url:
            segments.append(study)
        url = self._session.url(*segments)
        with self._session.exchange("POST", url, body=lambda: StoreBody(parts)) as exchange:
            return _store_answer(exchange)

    def present(self, study: str, uids: Mapping[str, str]) -> frozenset[str]:
        """Say which of these instances the archive has: SOP to Series Instance UIDs in, SOP UIDs out.

        "Not there" is only said when the archive has proved, by an answer to a search, that this is
        where it would be. Raises ValueError for a UID that may not stand in a URL.
        """
        return present(self._session, self.kind, study, uids)

    @contextmanager
    def instance(self, study: str, series: str, sop: str) -> Iterator[Iterator[bytes]]:
        """Retrieve one instance as it was stored, in pieces as they come (PS3.18 10.4).

        The transfer syntax is never converted. Raises NotThere at 404 and 410 (see its `status`);
        the pieces raise NoAnswer or BadAnswer when the answer breaks off.
        """
        url = self._session.url(
            "studies", checked_uid(study), "series", checked_uid(series), "instances", checked_uid(sop)
        )
        for single_part in (True, False) if self._single_part else (False, True):
            accept = _SINGLE_PART if single_part else _MULTIPART
            with self._session.exchange("GET", url, accept=accept) as exchange:
                if exchange.status in (400, 406) and single_part is self._single_part:
                    continue  # Orthanc, dcm4chee: multipart only
                if exchange.status != 200:
                    raise refused(exchange.status, exchange.headers)
                self._single_part = single_part  # what worked is asked first from now on
                yield _file_chunks(exchange)
                return

    def identify(self) -> Identified:
        """Prove that this is a DICOMweb archive that lets us in, and say of which kind.

        This client keeps to the kind found; others are told by an Archive that names it.
        """
        identified = identify(self._session, self.archive.kind)
        self.kind = KINDS[identified.kind]
        self._single_part = self.kind.single_part_retrieve
        return identified


def _store_answer(exchange: Exchange) -> StoreAnswer:
    body = exchange.body
    assert body is not None  # noqa: S101 - a Store has one
    sent_bytes, complete = body.sent_bytes, body.exhausted
    raw = b""
    try:
        raw = exchange.read()
    except BadAnswer as error:  # too large, or compressed: no module, but the status stands
        raw = error.message.encode()
    except NoAnswer:
        if exchange.status not in _PLAIN_REFUSALS and exchange.status < 500:
            raise
    response = parse(raw, exchange.content_type)
    return StoreAnswer(
        status=exchange.status,
        response=response,
        retry_after_seconds=retry_after_seconds(exchange.headers),
        sent_bytes=sent_bytes,
        total_bytes=body.content_length,
        complete=complete,
        excerpt="" if response else clean_text(raw[:4000].decode("utf-8", "replace"), 500),
    )


def _file_chunks(exchange: Exchange) -> Iterator[bytes]:
    """The one file in an answer, bare or as the only part of a multipart body."""
    media_type = exchange.content_type.partition(";")[0].strip().lower()
    if media_type.startswith("multipart/"):
        return _only_part(read_parts(exchange.chunks(), boundary_of(exchange.content_type)))
    if media_type in ("application/dicom", "application/octet-stream"):
        return _not_empty(exchange.chunks())
    raise BadAnswer("the archive answered with something other than a DICOM file", status=exchange.status)


def _only_part(parts: Iterator[ReceivedPart]) -> Iterator[bytes]:
    part = next(parts, None)
    if part is None:
        raise BadAnswer("the archive answered with a multipart body that has no parts", status=200)
    yield from _not_empty(part.chunks)
    if next(parts, None) is not None:
        raise BadAnswer("the archive answered one instance's request with several files", status=200)


def _not_empty(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """No file is empty: an empty one would compare as different, and be taken for a conflict."""
    got_bytes = 0
    for chunk in chunks:
        got_bytes += len(chunk)
        yield chunk
    if not got_bytes:
        raise BadAnswer("the archive answered with an empty file", status=200)


_clients: Final[dict[tuple[int, Archive], Client]] = {}
_making: Final = threading.Lock()


def client_for(archive: Archive) -> Client:
    """Give this process's one client for an archive, made at its first use; raises UsageProblem.

    A process that was forked makes its own: connections cannot be shared between processes.
    """
    key = (os.getpid(), archive)
    with _making:
        if key not in _clients:
            _clients[key] = Client(archive)
        return _clients[key]


def close_clients() -> None:
    """Close every client of this process; `client_for` makes new ones."""
    with _making:
        for key in [key for key in _clients if key[0] == os.getpid()]:
            _clients.pop(key).close()

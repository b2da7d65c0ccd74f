"""A DICOMweb client: values in, values out (PS3.18 chapters 8 and 10).

Each transaction has its module; this is their front. It decides nothing: what an answer means for an
instance is the caller's business, and every answer can be had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ..errors import UsageProblem
from . import delete, retrieve, store
from .archive import Archive, check_kind
from .bodies import Part, SinglePartBody, StoreBody
from .delete import Deletion
from .identify import Identified, identify
from .kinds import GENERIC, KINDS, ORTHANC
from .multipart import ReceivedPart
from .presence import inventory, present
from .retrieve import Metadata
from .search import Level, Query, SearchResults
from .session import Session
from .store import StoreAnswer
from .urls import check_url


class Client:
    """All that is asked of one archive; threads may share it. Make it with `clients.client_for`.

    Every request may raise UsageProblem (it cannot be made; nothing was sent), NoAnswer (no whole
    answer came; `sent_bytes` says how far it got) and SecretProblem; all but the Stores raise Refused
    (a status that is no result; NotThere for 404 and 410) and BadAnswer. What is given piece by
    piece raises them as it breaks off, and comes to its end only if all of it has come.
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
        self._is_known = archive.kind in KINDS

    def close(self) -> None:
        """Close its connections; it may not be used any more."""
        self._session.close()

    def identify(self) -> Identified:
        """Prove that this is a DICOMweb archive that lets us in, and say of which kind.

        This client keeps to the kind found; others are told by an Archive that names it.
        """
        identified = identify(self._session, self.archive.kind)
        self.kind = KINDS[identified.kind]
        self._single_part = self.kind.single_part_retrieve
        self._is_known = True
        return identified

    # Store: any answer is returned; whatever a part raises while it is read is raised, the request broken off

    def store(self, parts: Iterable[Part], study: str | None = None) -> StoreAnswer:
        """Store one batch of instances, of one study alone if `study` is given (PS3.18 10.5).

        What an archive does with instances of another study than that differs: see `kind.store_by_study_url`.
        """
        batch = _batch(parts)
        return store.store(self._session, "POST", study, lambda: StoreBody(batch))

    def store_single_part(self, part: Part, study: str | None = None) -> StoreAnswer:
        """Store one instance as a bare application/dicom body, of this study if given; no standard's."""
        self._need(self.kind.single_part_store, "takes no single-part Store")
        return store.store(self._session, "POST", study, lambda: SinglePartBody(part))

    def upsert(self, parts: Iterable[Part], study: str | None = None) -> StoreAnswer:
        """Store one batch, replacing what the archive has of it: only ever because a person says so."""
        batch = _batch(parts)
        self._need(self.kind.upsert, "cannot replace by a Store")
        return store.store(self._session, "PUT", study, lambda: StoreBody(batch))

    # Retrieve: `with` blocks; what they give is read inside them, as it comes

    @contextmanager
    def instance(self, study: str, series: str, sop: str) -> Iterator[Iterator[bytes]]:
        """Retrieve one instance as it was stored, in pieces as they come (PS3.18 10.4).

        The transfer syntax is never converted. Raises NotThere at 404 and 410 (see its `status`).
        """
        with retrieve.file(self._session, self._single_part, study, series, sop) as (form, part):
            self._single_part = form  # what worked is asked first from now on
            yield part.chunks

    @contextmanager
    def retrieve(
        self, study: str, series: str | None = None, sop: str | None = None
    ) -> Iterator[Iterator[ReceivedPart]]:
        """Retrieve the instances of a study or series, or one, as they were stored: one part after another.

        There is at least one. Going on to the next skips what was left of the one before.
        """
        if series is not None and sop is not None:
            with retrieve.file(self._session, self._single_part, study, series, sop) as (form, part):
                self._single_part = form
                yield iter((part,))
            return
        self._session.resource(study, series, sop)
        with retrieve.files(self._session, self.kind, study, series) as parts:
            yield parts

    @contextmanager
    def frames(
        self, study: str, series: str, sop: str, numbers: Sequence[int], *, as_stored: bool = True
    ) -> Iterator[Iterator[ReceivedPart]]:
        """Retrieve frames by number, from 1, in the order asked for: as stored, or uncompressed.

        Each part's content-type tells in which form it came. Raises NotThere where there is no such
        frame; Orthanc answers 400 then, which is Refused.
        """
        uids = (study, series, sop)
        with retrieve.frames(self._session, self.kind, uids, tuple(numbers), as_stored) as parts:
            yield parts

    @contextmanager
    def metadata(
        self, study: str, series: str | None = None, sop: str | None = None, *, etag: str = ""
    ) -> Iterator[Metadata]:
        """Retrieve the datasets of a study, series or instance without bulk data, one after another.

        With the `etag` of an earlier answer, an archive that has nothing new says so alone.
        """
        with retrieve.metadata(self._session, self.kind, study, series, sop, etag) as found:
            yield found

    # Search

    def search(
        self,
        level: Level,
        *,
        study: str | None = None,
        series: str | None = None,
        matching: Mapping[str, str] | None = None,
        include: Sequence[str] = (),
        fuzzy: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> SearchResults:
        """Search for studies, series or instances, in a study or series if they are given (PS3.18 10.6).

        Attributes are named by keyword or tag, in sequences with dots; `include` may be ("all",). All
        results come, or `limit` of them. Requests are made as the results are taken.
        """
        pairs = tuple((matching or {}).items())
        query = Query(level, study, series, pairs, tuple(include), fuzzy)
        return SearchResults(self._session, self.kind, query, limit, offset)

    def present(self, study: str, uids: Mapping[str, str]) -> frozenset[str]:
        """Say which of these instances the archive has: SOP to Series Instance UIDs in, SOP UIDs out.

        "Not there" is only said when the archive has proved, by an answer to a search, that this is
        where it would be.
        """
        return present(self._session, self.kind, study, uids)

    def inventory(self, study: str) -> Iterator[tuple[str, str]]:
        """Give the SOP and Series Instance UIDs of all that the archive has in a study, page by page.

        What it does not give is not proved absent: `present` is for that.
        """
        return inventory(self._session, self.kind, study)

    # Delete

    def delete(
        self,
        study: str,
        series: str | None = None,
        sop: str | None = None,
        *,
        reject_code: str = "113039^DCM",
        wait_seconds: float = 60,
        alone: bool = False,
    ) -> Deletion:
        """Delete a study, series or instance in the archive's own way, which is found out if need be.

        With `alone`, nothing is deleted where the archive has more than one thing under these UIDs.

        dcm4chee hides it under `reject_code` (113039: it may be stored again). Google may take longer
        than `wait_seconds`. It is safe to ask again after NoAnswer.
        """
        self._session.resource(study, series, sop)
        if not self._is_known:
            self.identify()
        uids = tuple(uid for uid in (study, series, sop) if uid is not None)
        return delete.delete(self._session, self.kind, uids, reject_code, wait_seconds, alone=alone)

    def _need(self, offered: bool, words: str) -> None:
        if not offered:
            raise UsageProblem(f"{self.kind.words} {words}; nothing was sent")


def _batch(parts: Iterable[Part]) -> tuple[Part, ...]:
    batch = tuple(parts)
    if not batch:
        raise UsageProblem("a Store needs at least one instance; nothing was sent")
    return batch

"""The Store transaction (PS3.18 10.5): parts in, one outcome for each, a Store Instances Response out."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dicomsync.sandbox import header as headers
from dicomsync.sandbox.alter import ALTERATIONS, alter
from dicomsync.sandbox.faults import Plan
from dicomsync.sandbox.header import Header
from dicomsync.sandbox.media import Refusal
from dicomsync.sandbox.shelf import Shelf

VALIDATION_FAILED = 43264
ALREADY_STORED = 45070
DOUBTFUL_VALUES = 1
NOT_AS_SOP_CLASS = 45063
COERCED = 45056
RAW_DATA = "1.2.840.10008.5.1.4.1.1.66"
SEVERAL_VALUES = "Searchable attributes of some instances have several values; only the first is indexed."

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conduct:
    """How one request is treated: honestly, unless a fault says otherwise (`kinds.KINDS`)."""

    reason: int | None = None
    refused: frozenset[str] = frozenset()
    poison: frozenset[str] = frozenset()
    poison_status: int = 400
    stores_beside_poison: bool = False
    keeps: bool = True
    hides_duplicates: bool = False
    kills_duplicates: bool = False
    foreign: bool = False
    wrong_class: bool = False
    tattles: bool = False
    retrieve_url: str = ""
    recycles: int | None = None
    altered: tuple[str, ...] = ()
    hushes: Callable[[], bool] = field(default=lambda: False)

    @classmethod
    def of(cls, plan: Plan) -> Conduct:
        """Read from a request's faults what concerns the transaction."""
        reason, refuses, mixes = plan.get("reason"), plan.get("refuse-batch"), plan.get("mixed-batch")
        url, recycles = plan.get("retrieve-url"), plan.get("recycle")
        batch = refuses or mixes
        foreign = plan.get("foreign") is not None
        return cls(
            reason=reason.number if reason else None,
            refused=plan.arguments("refuse-uid"),
            poison=plan.arguments("poison-uid") if batch else frozenset(),
            poison_status=int(batch.argument) if batch and batch.argument else 400,
            stores_beside_poison=refuses is None,
            keeps=plan.get("liar") is None and not foreign,
            hides_duplicates=plan.get("hide-duplicates") is not None,
            kills_duplicates=plan.get("double-kill") is not None,
            foreign=foreign,
            wrong_class=plan.get("wrong-class") is not None,
            tattles=plan.get("tattle") is not None,
            retrieve_url=url.argument if url else "",
            recycles=recycles.number if recycles else None,
            altered=tuple(name for name in ALTERATIONS if plan.get(name)),
            hushes=plan.hushes(),
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one part: a Failure Reason, or stored, perhaps with a Warning Reason."""

    header: Header | None
    failure: int | None = None
    warning: int | None = None
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """What a request asks for beside its parts.

    `study` is the one in the URL, if any: instances of another are refused (Failure Reason 43264, which is
    what the Medical Imaging Server's code answers; its text says 43265). `upsert` replaces what is there.
    """

    base_url: str
    study: str | None = None
    upsert: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, the Store Instances Response Module (PS3.18 I.1), and a warning for the header, if any."""

    status: int
    module: Json
    warning: str = ""


def transaction(shelf: Shelf, parts: Sequence[Path], order: Order, conduct: Conduct) -> Answer:
    """Store the parts one after another, as sent."""
    found = [(headers.read(path), path) for path in parts]
    healthy = [(one, path) for one, path in found if one is None or one.uids[2] not in conduct.poison]
    poisoned = len(healthy) < len(found)
    if poisoned and not conduct.stores_beside_poison:
        raise Refusal(conduct.poison_status, "The request could not be processed.")
    outcomes = [_store_one(shelf, one, path, order, conduct) for one, path in healthy]
    if conduct.recycles is not None:
        shelf.recycle(conduct.recycles)
    several = any(one.header and one.header.several for one in outcomes if one.failure is None)
    status = conduct.poison_status if poisoned else status_of(outcomes)
    return Answer(status, _module(outcomes, order, conduct), SEVERAL_VALUES if several else "")


def _store_one(shelf: Shelf, header: Header | None, path: Path, order: Order, conduct: Conduct) -> Outcome:
    if header is None:
        return Outcome(None, VALIDATION_FAILED)
    if header.failures:
        return Outcome(header, VALIDATION_FAILED, comments=tuple(header.failures))
    if order.study is not None and header.uids[0] != order.study:
        return Outcome(header, VALIDATION_FAILED, comments=("DICOM100: the study is not the one in the URL",))
    if conduct.reason is not None:
        return Outcome(header, conduct.reason)
    if conduct.tattles:
        told = f"{header.text('PatientName')}\r\nSet-Cookie: a=b\r\n\x1b[31mred\x1b]0;title\x07"
        return Outcome(header, VALIDATION_FAILED, comments=(told,))
    if header.uids[2] in conduct.refused:
        return Outcome(header, VALIDATION_FAILED, comments=("DICOM100: refused on request",))
    kept, altered = alter(path, header, conduct.altered)
    if conduct.keeps and not shelf.keep(kept, path, replace=order.upsert):
        if conduct.kills_duplicates:
            shelf.remove(*header.uids)
        elif not conduct.hides_duplicates:
            return Outcome(header, ALREADY_STORED)
    return Outcome(header, warning=COERCED if altered else _warning(header), comments=tuple(header.doubts))


def _warning(header: Header) -> int | None:
    if header.doubts:
        return DOUBTFUL_VALUES
    if header.transfer_syntax == headers.IMPLICIT_VR_LITTLE_ENDIAN:
        return NOT_AS_SOP_CLASS
    return None


def status_of(outcomes: Sequence[Outcome]) -> int:
    """Return 200 when all is stored, 409 when nothing is, 202 for a mixture or any warning (v2)."""
    failed = sum(outcome.failure is not None for outcome in outcomes)
    if failed == len(outcomes):
        return 409
    return 202 if failed or any(outcome.warning is not None for outcome in outcomes) else 200


def _module(outcomes: Sequence[Outcome], order: Order, conduct: Conduct) -> Json:
    """Write the response: sequences in request order, empty ones left out."""
    base_url = conduct.retrieve_url or order.base_url
    failed = [_failed_item(one) for one in outcomes if one.failure is not None]
    stored = [one for one in outcomes if one.failure is None]
    referenced = [_referenced_item(one, base_url, conduct) for one in stored if not conduct.hushes()]
    module: Json = {}
    if order.study is not None and stored:
        module["00081190"] = {"vr": "UR", "Value": [f"{base_url}/studies/{order.study}"]}
    if failed:
        module["00081198"] = {"vr": "SQ", "Value": failed}
    if referenced:
        module["00081199"] = {"vr": "SQ", "Value": referenced}
    return module


def _failed_item(outcome: Outcome) -> Json:
    """Write an item of Failed SOP Sequence; a part that could not be read has a reason and no UIDs."""
    item: Json = {}
    if outcome.header is not None:
        for tag, keyword in (("00081150", "SOPClassUID"), ("00081155", "SOPInstanceUID")):
            if value := outcome.header.text(keyword):
                item[tag] = {"vr": "UI", "Value": [value]}
    item["00081197"] = {"vr": "US", "Value": [outcome.failure]}
    if outcome.comments:
        item["00741048"] = _comments(outcome)
    return item


def _referenced_item(outcome: Outcome, base_url: str, conduct: Conduct) -> Json:
    """Write an item of Referenced SOP Sequence; v2 adds 00741048 to each, empty when all is well."""
    header = outcome.header or Header("")
    study, series, sop = header.uids
    if conduct.foreign:
        series, sop = _new_uid(), _new_uid()
    item: Json = {
        "00081150": {"vr": "UI", "Value": [RAW_DATA if conduct.wrong_class else header.text("SOPClassUID")]},
        "00081155": {"vr": "UI", "Value": [sop]},
        "00081190": {"vr": "UR", "Value": [f"{base_url}/studies/{study}/series/{series}/instances/{sop}"]},
        "00741048": _comments(outcome),
    }
    if outcome.warning is not None:
        item["00081196"] = {"vr": "US", "Value": [outcome.warning]}
    return item


def _comments(outcome: Outcome) -> Json:
    items = [{"00000902": {"vr": "LO", "Value": [comment]}} for comment in outcome.comments]
    return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}


def _new_uid() -> str:
    return f"2.25.{uuid.uuid4().int}"  # PS3.5 B.2

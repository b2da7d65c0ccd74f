"""The Store Instances Response Module: what an archive says became of each instance (PS3.18 10.5.3, Annex I).

The body is read at every status. An instance is `referenced` only if an item of the Referenced SOP
Sequence names it; whatever cannot be understood names nothing, and what is not named is not known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from .dicomjson import Dataset, ambiguous, code, datasets, items, text, uid

_RETRIEVE_URL: Final = "00081190"
_FAILED: Final = "00081198"
_REFERENCED: Final = "00081199"
_OTHER_FAILURES: Final = "0008119A"
_SOP_CLASS_UID: Final = "00081150"
_SOP_INSTANCE_UID: Final = "00081155"
_WARNING_REASON: Final = "00081196"
_FAILURE_REASON: Final = "00081197"
_ERROR_COMMENT: Final = "00000902"
_ORIGINAL_ATTRIBUTES: Final = "04000561"
_FAILED_ATTRIBUTES: Final = "00741048"  # Medical Imaging Server, v2: its conformance statement
_GOOGLE_TEXT: Final = "00090097"  # Google Cloud Healthcare says in words what its reason 272 means

_MODIFIED_ATTRIBUTES: Final = "04000550"  # in an item of Original Attributes: what they were before
_MODIFICATION_REASON: Final = "04000565"  # COERCE or CORRECT
_SELECTOR_ATTRIBUTE: Final = "00720026"
_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_MOST_TAGS: Final = 50

_PLAIN: Final = frozenset({_SOP_CLASS_UID, _SOP_INSTANCE_UID, _RETRIEVE_URL})

_COERCED: Final = "the archive changed attributes of it (Original Attributes Sequence)"


class Referenced(NamedTuple):
    """One instance the archive says it has stored, with what it remarked; the URL is never followed."""

    sop_instance_uid: str
    sop_class_uid: str = ""
    warning: int | None = None
    warnings: tuple[str, ...] = ()
    retrieve_url: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """One instance the archive says it has not stored.

    The UID is None where the archive could not read one; some archives invent one instead. `text`
    is the archive's own, for the ledger alone: it may quote the patient.
    """

    sop_instance_uid: str | None
    sop_class_uid: str = ""
    reason: int | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class StoreResponse:
    """The module as values, in the archive's order. `other_failures` has 0 where no reason is given."""

    referenced: tuple[Referenced, ...] = ()
    failed: tuple[Failed, ...] = ()
    other_failures: tuple[int, ...] = ()


def parse(body: bytes, content_type: str = "") -> StoreResponse | None:
    """Read a store answer, DICOM JSON or XML; None if it is not a Store Instances Response Module.

    Never raises, on any bytes. Which of the two it is, the body itself tells: proxies mislabel.
    """
    found = [dataset for dataset in datasets(body, content_type) or () if _is_module(dataset)]
    if not found or any(ambiguous(d, tag) for d in found for tag in (_REFERENCED, _FAILED, _OTHER_FAILURES)):
        return None
    return StoreResponse(
        referenced=tuple(instance for dataset in found for instance in _referenced(dataset)),
        failed=tuple(instance for dataset in found for instance in _failed(dataset)),
        other_failures=tuple(
            code(item, _FAILURE_REASON) or 0 for dataset in found for item in items(dataset, _OTHER_FAILURES)
        ),
    )


def _is_module(dataset: Dataset) -> bool:
    """An empty dataset is none: with nothing named it would claim that the archive looked at the request."""
    return any(tag in dataset for tag in (_REFERENCED, _FAILED, _OTHER_FAILURES, _RETRIEVE_URL))


def _referenced(dataset: Dataset) -> list[Referenced]:
    coerced = _coerced(dataset)
    found = []
    for item in items(dataset, _REFERENCED):
        sop_instance_uid = uid(item, _SOP_INSTANCE_UID)
        if sop_instance_uid is None:
            continue
        sop_class_uid = uid(item, _SOP_CLASS_UID) or ""
        retrieve_url = text(item, _RETRIEVE_URL, 2048)
        if item.keys() <= _PLAIN:  # as good as always: nothing is remarked
            found.append(Referenced(sop_instance_uid, sop_class_uid, None, coerced, retrieve_url))
            continue
        warnings = _comments(item) + (_coerced(item) or coerced)
        warning = code(item, _WARNING_REASON)
        found.append(Referenced(sop_instance_uid, sop_class_uid, warning, warnings, retrieve_url))
    return found


def _coerced(holder: Dataset) -> tuple[str, ...]:
    """Say which attributes the archive changed: their tags, never what they held."""
    if _ORIGINAL_ATTRIBUTES not in holder:
        return ()
    changes = items(holder, _ORIGINAL_ATTRIBUTES)
    modified = (one for change in changes for one in items(change, _MODIFIED_ATTRIBUTES))
    tags = list(dict.fromkeys(tag.upper() for one in modified for tag in one if _TAG.fullmatch(tag)))
    whys = dict.fromkeys(why for change in changes if (why := text(change, _MODIFICATION_REASON, 16)))
    more = ["…"] if len(tags) > _MOST_TAGS else []
    told = " ".join([_COERCED + (":" if tags else ""), *tags[:_MOST_TAGS], *more, *(f"({w})" for w in whys)])
    return (told,)


def _failed(dataset: Dataset) -> list[Failed]:
    general = text(dataset, _GOOGLE_TEXT) or text(dataset, _ERROR_COMMENT)
    return [
        Failed(
            sop_instance_uid=uid(item, _SOP_INSTANCE_UID),
            sop_class_uid=uid(item, _SOP_CLASS_UID) or "",
            reason=code(item, _FAILURE_REASON),
            text=text(item, _GOOGLE_TEXT) or "; ".join(_comments(item))[:1000] or general,
        )
        for item in items(dataset, _FAILED)
    ]


def _comments(item: Dataset) -> tuple[str, ...]:
    """The Error Comments of one item: its own, and one for each attribute that failed."""
    own = text(item, _ERROR_COMMENT)
    failed = [_failed_attribute(one) for one in items(item, _FAILED_ATTRIBUTES)]
    return tuple(comment for comment in (own, *failed) if comment)


def _failed_attribute(one: Dataset) -> str:
    """Say what is wrong with one attribute: its tag where it is named apart, and the archive's words."""
    tag, comment = text(one, _SELECTOR_ATTRIBUTE, 8), text(one, _ERROR_COMMENT)
    return " ".join(word for word in (tag if _TAG.fullmatch(tag) else "", comment) if word)

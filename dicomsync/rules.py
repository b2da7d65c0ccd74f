"""An answer of the archive, or none, turned into what each instance becomes. Pure; a table at heart.

Three habits: decide per instance, never per status; read the response at every status; an instance
the answer does not name is unknown, whatever the status. The codes are those of PS3.7 Annex C,
PS3.18 Annex I and the archives' own documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from dicomsync.dicomweb.response import Failed, Referenced, StoreResponse
from dicomsync.failures import Act, failure, in_words, warning
from dicomsync.model import Due, InstanceState, Sighting, Transition
from dicomsync.pacing import Signal, Trouble

ALONE_AFTER = 2  # attempts with an unclear failure before an instance travels alone
GIVE_UP_AFTER = 5  # attempts, the last ones alone, before an unclear failure is final


ASK_WAITS: Mapping[str, tuple[float, float]] = {
    # reason -> multiples of confirm_wait before the first and the second look
    "silent": (0.0, 1.0),
    "duplicate": (0.0, 1.0),
    "already-there": (0.0, 1.0),
    "doubted": (0.0, 1.0),
    "refused": (0.0, 1.0),
    "refused-alone": (0.0, 1.0),
    "broken": (1 / 6, 1.0),
    "restart": (1 / 6, 1.0),
    "timeout": (2.0, 8.0),  # the server may still be storing, one by one
    "server-error": (2.0, 8.0),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer to a store request. `complete`: it came after the whole body was taken."""

    status: int
    response: StoreResponse | None
    complete: bool
    sent_bytes: int
    retry_after_seconds: float | None = None
    excerpt: str = ""  # the archive's own words, where there is no module: for the ledger alone


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one request: each instance's transition, and what it says of the archive."""

    transitions: tuple[Transition, ...]
    signal: Signal | None = Signal()  # None: it says nothing of the archive, good or bad
    too_large: bool = False


def unconfirmed(due: Due, reason: str, confirm_wait: float, *, together: int | None = None) -> Transition:
    """The archive may or may not have it: ask, after the wait that the reason calls for.

    It then travels with `together` others at most, or with as few as before.
    """
    known = [most for most in (due.together, together) if most is not None]
    return Transition(
        due.instance_id,
        InstanceState.UNCONFIRMED,
        reason,
        wait_seconds=ASK_WAITS[reason][0] * confirm_wait,
        together=min(known, default=None),
    )


def _doubted(batch: Sequence[Due], reason: str, confirm_wait: float) -> tuple[Transition, ...]:
    """A request came to grief on its way: ask about all of it, and send half as many together again.

    One file can be what makes an archive fail; halving brings it to stand alone.
    """
    half = max(1, len(batch) // 2)
    return tuple(unconfirmed(due, reason, confirm_wait, together=half) for due in batch)


def _alone(batch: Sequence[Due]) -> bool:
    """Whether a request holds just one instance that has been isolated: its failures are its own."""
    return len(batch) == 1 and batch[0].together == 1


def after_answer(batch: Sequence[Due], answer: Answer, confirm_wait: float) -> Verdict:
    """Turn the answer to one store request into transitions, one for each instance of the batch."""
    if not answer.complete and (answer.status < 300 or answer.response is not None):
        # What is said of instances before the whole body was read proves nothing.
        signal = Signal(Trouble.FAILING, "it answered before it had read the request")
        return Verdict(_doubted(batch, "broken", confirm_wait), None if _alone(batch) else signal)
    if answer.response is None:
        verdict = _without_module(batch, answer, confirm_wait)
        said = f"status {answer.status} {answer.excerpt}".strip()
        return replace(verdict, transitions=tuple(t._replace(detail=said) for t in verdict.transitions))
    transitions = _by_module(batch, answer, answer.response, confirm_wait)
    return Verdict(transitions, _signal_of_failures(batch, transitions, answer))


def _signal_of_failures(batch: Sequence[Due], transitions: Sequence[Transition], answer: Answer) -> Signal:
    """Say what it tells of the archive when every instance of a batch failed without being to blame.

    An archive that is full, or broken inside, refuses one batch as it refuses the next: it is to be
    tried seldom, and not once for every batch there is.
    """
    if any(one.state is not InstanceState.PENDING for one in transitions):
        return Signal()
    codes = {one.reason for one in transitions}
    if codes == {"failure-0124"}:
        return Signal(Trouble.AUTH, in_words("failure-0124"))
    if all(code.startswith("failure-A7") and code != "failure-A77A" for code in codes):
        return Signal(Trouble.BUSY, in_words(min(codes)), answer.retry_after_seconds)
    if answer.retry_after_seconds is not None:
        return Signal(Trouble.BUSY, f"status {answer.status}", answer.retry_after_seconds)
    unclear = all(failure(_code(code))[0] is Act.TRY for code in codes)
    return Signal(Trouble.FAILING, "it fails every instance") if unclear and len(batch) > 1 else Signal()


def _code(reason: str) -> int | None:
    number = reason.removeprefix("failure-")
    return None if number == "none" else int(number, 16)


def _by_module(
    batch: Sequence[Due], answer: Answer, response: StoreResponse, confirm_wait: float
) -> tuple[Transition, ...]:
    """Take each instance by what the Store Instances Response says of it (PS3.18 Annex I)."""
    named = {d.sop_instance_uid for d in batch}
    stored = {r.sop_instance_uid: r for r in response.referenced}
    failed: dict[str, Failed] = {}
    nameless = [Failed(None, reason=code) for code in response.other_failures]
    for item in response.failed:
        if item.sop_instance_uid in named:
            failed[str(item.sop_instance_uid)] = item
        else:  # without a UID, or with one made up by the archive for a part it could not read
            nameless.append(item)
    silent = [d for d in batch if d.sop_instance_uid not in stored and d.sop_instance_uid not in failed]
    shared = _shared_failure(nameless, len(silent))
    transitions = []
    for due in batch:
        uid = due.sop_instance_uid
        if uid in stored and uid in failed:
            transitions.append(unconfirmed(due, "silent", confirm_wait))
        elif uid in stored:
            transitions.append(_stored(due, stored[uid]))
        elif uid in failed:
            transitions.append(_failed(due, failed[uid], len(batch), confirm_wait))
        elif shared is not None:
            transitions.append(_failed(due, shared, len(batch), confirm_wait))
        else:
            transitions.append(_unnamed(due, answer.status, len(batch), confirm_wait))
    return tuple(transitions)


def _shared_failure(nameless: Sequence[Failed], silent: int) -> Failed | None:
    """Give the failure of the instances that were not named, where the nameless items can tell.

    Only when there are as many of one as of the other, and all ask for the same act.
    """
    if not nameless or len(nameless) != silent or any(item.reason is None for item in nameless):
        return None
    return nameless[0] if len({_act(item) for item in nameless}) == 1 else None


def _act(item: Failed) -> Act:
    """Say what a failed item asks for: by its code, and for a code that says nothing by its words."""
    if item.reason == 0x0110 and "already exist" in item.text.lower():
        return Act.ASK
    return failure(item.reason)[0]


def _stored(due: Due, item: Referenced) -> Transition:
    """Take the archive's word for it, and keep its warnings."""
    remark = "" if item.warning is None else warning(item.warning)
    words = "; ".join(text for text in (remark, *item.warnings) if text)
    reason = "warning" if words else ""
    return Transition(due.instance_id, InstanceState.STORED, reason, detail=words)


def _failed(due: Due, item: Failed, together: int, confirm_wait: float) -> Transition:
    """Take one failed item by the table."""
    reason = f"failure-{item.reason:04X}" if item.reason is not None else "failure-none"
    text = item.text
    match _act(item):
        case Act.ASK:
            ask = unconfirmed(due, "duplicate", confirm_wait)
            return ask._replace(detail=f"{reason} {text}".strip())
        case Act.CONFLICT:
            return Transition(due.instance_id, InstanceState.CONFLICT, reason, detail=text)
        case Act.REJECT:
            return Transition(due.instance_id, InstanceState.REJECTED, reason, detail=text)
        case Act.LATER:
            return Transition(
                due.instance_id, InstanceState.PENDING, reason, detail=text, wait_seconds=None, counts=True
            )
    return _tried(due, reason, text, together)


def _tried(due: Due, reason: str, text: str, together: int) -> Transition:
    """Try again: with others, then alone, and after enough tries leave it to a person."""
    tries = due.unclear + 1
    if tries >= GIVE_UP_AFTER and together == 1:
        return Transition(due.instance_id, InstanceState.REJECTED, reason, detail=text, counts=True)
    return Transition(
        due.instance_id,
        InstanceState.PENDING,
        reason,
        detail=text,
        wait_seconds=None,
        counts=True,
        unclear=True,
        together=1 if tries >= ALONE_AFTER else None,
    )


def _unnamed(due: Due, status: int, together: int, confirm_wait: float) -> Transition:
    """Take an instance that the response does not mention."""
    if status == 400:  # some archives answer so when one part is unreadable, and keep the others
        return _refused(due, together, confirm_wait)
    return unconfirmed(due, "silent", confirm_wait, together=1 if status == 409 else None)


def _refused(due: Due, together: int, confirm_wait: float) -> Transition:
    """Ask first; what turns out absent travels with half as many, until the one to blame is alone."""
    if together == 1:
        return unconfirmed(due, "refused-alone", confirm_wait, together=1)
    return unconfirmed(due, "refused", confirm_wait, together=together // 2)


_STATUS_WORDS = {
    401: "it does not accept the credential",
    403: "this account may not store there",
    404: "the URL is not a DICOMweb store address (does the base need /v2 or /dicom-web?)",
    407: "a proxy on the way wants a credential",
    405: "the URL does not take POST: not a DICOMweb base, or storing is switched off",
    406: "it does not answer in application/dicom+json",
    411: "it wants a Content-Length: something between has removed it",
    415: "it does not take multipart/related application/dicom",
    501: "it does not offer storing",
}


def signal_for(status: int, retry_after_seconds: float | None = None) -> Signal:
    """Say what a status, with nothing in its body that speaks of instances, tells of the archive."""
    if status in (401, 403, 407):
        return Signal(Trouble.AUTH, _STATUS_WORDS[status])
    if status in _STATUS_WORDS or 300 <= status < 400:
        words = _STATUS_WORDS.get(status, f"it redirects (status {status}): give the final URL")
        return Signal(Trouble.SETUP, words)
    if status in (408, 425, 429, 503):
        return Signal(Trouble.BUSY, f"status {status}", retry_after_seconds)
    if status < 300:
        return Signal(Trouble.FAILING, f"status {status} without a DICOMweb answer: a proxy's page?")
    if status >= 500 or status == 424:
        return Signal(Trouble.FAILING, f"status {status}", retry_after_seconds)
    return Signal()


def _without_module(batch: Sequence[Due], answer: Answer, confirm_wait: float) -> Verdict:
    """Take the whole batch by the status: there is nothing in the body that speaks of instances."""
    status = answer.status
    signal = signal_for(status, answer.retry_after_seconds)
    if status < 300 or status == 409:
        return Verdict(tuple(unconfirmed(d, "silent", confirm_wait) for d in batch), signal)
    if status == 400:
        return Verdict(tuple(_refused(d, len(batch), confirm_wait) for d in batch))
    if status == 413:
        return _too_large(batch)
    if signal.trouble is Trouble.AUTH:
        return _paused(batch, "no-access", signal)
    if signal.trouble is Trouble.SETUP:
        return _paused(batch, "setup", signal)
    if status in (408, 425, 429) or (status >= 500 and answer.sent_bytes == 0):
        return _paused(batch, "busy", signal)
    if signal.trouble is not Trouble.NONE:
        told = None if _alone(batch) and signal.retry_after_seconds is None else signal
        return Verdict(_doubted(batch, "server-error", confirm_wait), told)
    return Verdict(tuple(_tried(d, f"status-{status}", "", len(batch)) for d in batch))


def _paused(batch: Sequence[Due], reason: str, signal: Signal) -> Verdict:
    """Nothing was stored and it is not the instances' fault: due again when the archive is."""
    back = (Transition(d.instance_id, InstanceState.PENDING, reason, together=d.together) for d in batch)
    return Verdict(tuple(back), signal)


def _too_large(batch: Sequence[Due]) -> Verdict:
    """Halve the next request; a file too large by itself waits for a person."""
    if len(batch) == 1:
        return Verdict((Transition(batch[0].instance_id, InstanceState.REJECTED, "too-large"),))
    half = len(batch) // 2
    back = (Transition(d.instance_id, InstanceState.PENDING, "split", together=half) for d in batch)
    return Verdict(tuple(back), too_large=True)


def after_no_answer(batch: Sequence[Due], why: str, sent_bytes: int, confirm_wait: float) -> Verdict:
    """Turn a request that got no answer into transitions: what may have arrived is asked about.

    `why` is unreachable, broken, timeout or local (our own side ended it: a file changed).
    """
    trouble = {"unreachable": Trouble.UNREACHABLE, "local": Trouble.NONE}.get(why, Trouble.FAILING)
    words = {
        "unreachable": "no connection",
        "broken": "the connection broke",
        "timeout": "no answer in time",
    }.get(why, "")
    signal = Signal(trouble, words)
    if sent_bytes == 0:
        return _paused(batch, "no-answer", signal)
    if why == "local":
        return Verdict(tuple(unconfirmed(due, "broken", confirm_wait) for due in batch), None)
    # A server that refuses a large body and stops reading shows as a timeout and never as 413.
    reason = "timeout" if why == "timeout" else "broken"
    return Verdict(_doubted(batch, reason, confirm_wait), None if _alone(batch) else signal)


class Finding(StrEnum):
    """What asking the archive about one instance found."""

    ABSENT = "absent"
    EQUAL = "equal"  # there, and the same from byte 128 on
    AGREES = "agrees"  # there and rewritten: UIDs, SOP class, transfer syntax and pixel data are the same
    DIFFERENT = "different"
    INCOMPARABLE = "incomparable"  # there, but its bytes are not to be had, or no file holds ours any more
    PRESENT = "present"  # there; its bytes were not asked for
    UNREAD = "unread"  # there, but our file cannot be read just now
    FAILED = "failed"  # the question itself got no good answer


_FROM_US = ("silent", "broken", "restart", "timeout", "server-error", "refused", "refused-alone", "doubted")


def after_look(due: Due, finding: Finding, sha256: bytes | None, confirm_wait: float) -> Transition:
    """Turn what was found into what the instance becomes; only two absent looks allow a resend."""
    same = due.instance_id
    match finding:
        case Finding.EQUAL:
            found = due.reason in ("duplicate", "already-there", "doubted")
            reason = "already-there" if found else "confirmed"
            return Transition(same, InstanceState.STORED, reason, verified=True, sha256=sha256)
        case Finding.AGREES:
            return Transition(same, InstanceState.STORED, "agrees", sha256=sha256)
        case Finding.DIFFERENT:
            return Transition(same, InstanceState.CONFLICT, "differs", sha256=sha256)
        case Finding.INCOMPARABLE:
            if due.reason in _FROM_US:
                return Transition(same, InstanceState.STORED, "presence-only", sha256=sha256)
            return Transition(same, InstanceState.CONFLICT, "incomparable", sha256=sha256)
        case Finding.FAILED | Finding.UNREAD | Finding.PRESENT:
            return Transition(
                same,
                InstanceState.UNCONFIRMED,
                due.reason,
                wait_seconds=confirm_wait,
                looks=due.looks,
                together=due.together,
            )
    if due.looks + 1 < 2:
        wait = ASK_WAITS.get(due.reason, (0.0, 1.0))[1] * confirm_wait
        return Transition(
            same,
            InstanceState.UNCONFIRMED,
            due.reason,
            wait_seconds=wait,
            looks=due.looks + 1,
            together=due.together,
        )
    if due.reason == "refused-alone":
        return Transition(same, InstanceState.REJECTED, "refused")
    if due.reason == "duplicate":
        return _insisted_on(due)
    return Transition(same, InstanceState.PENDING, "absent", counts=True, together=due.together)


def _insisted_on(due: Due) -> Transition:
    """The archive says that it has this UID and does not show it: some tries, then it is a person's."""
    tried_enough = due.unclear + 1 >= GIVE_UP_AFTER
    return Transition(
        due.instance_id,
        InstanceState.REJECTED if tried_enough else InstanceState.PENDING,
        "elsewhere" if tried_enough else "absent",
        wait_seconds=None,
        counts=True,
        unclear=True,
        together=due.together,
    )


def sighted(due: Due, finding: Finding) -> Sighting | None:
    """Say what a look at a stored instance saw; None where the question got no good answer.

    Only a second look that does not find it either makes it missing: an archive's index may lag.
    """
    match finding:
        case Finding.FAILED:
            return None
        case Finding.ABSENT:
            return Sighting.MISSING if due.looks else Sighting.ABSENT
        case Finding.EQUAL:
            return Sighting.EQUAL
        case Finding.DIFFERENT:
            return Sighting.DIFFERS
        case Finding.PRESENT | Finding.AGREES | Finding.INCOMPARABLE | Finding.UNREAD:
            return Sighting.PRESENT

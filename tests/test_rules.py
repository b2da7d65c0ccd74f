"""An answer, or none, turned into what each instance becomes: the decision tables, as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomsync.dicomweb.response import Failed, Referenced, StoreResponse
from dicomsync.failures import FAILURES, Act, failure, in_words
from dicomsync.model import Due, InstanceState, Transition
from dicomsync.pacing import Signal, Trouble
from dicomsync.rules import (
    ALONE_AFTER,
    ASK_WAITS,
    GIVE_UP_AFTER,
    Answer,
    Finding,
    Verdict,
    after_answer,
    after_look,
    after_no_answer,
    signal_for,
    unconfirmed,
)

PENDING, UNCONFIRMED = InstanceState.PENDING, InstanceState.UNCONFIRMED
STORED, CONFLICT, REJECTED = InstanceState.STORED, InstanceState.CONFLICT, InstanceState.REJECTED
WAIT = 30.0


def due(number: int = 1, **fields: object) -> Due:
    blank = Due(number, "1.2", "1.2.3", f"1.2.3.{number}", 10, b"", None, "", 0, 0, 0, None)
    return blank._replace(**fields)  # type: ignore[arg-type]  # the test's own shorthand


def batch(n: int) -> list[Due]:
    return [due(number) for number in range(1, n + 1)]


def referenced(
    *numbers: int, warning: int | None = None, warnings: tuple[str, ...] = ()
) -> tuple[Referenced, ...]:
    return tuple(Referenced(f"1.2.3.{n}", warning=warning, warnings=warnings) for n in numbers)


def failed(*codes: tuple[int | str | None, int | None], text: str = "") -> tuple[Failed, ...]:
    """Failed items as (instance number, a foreign UID or None) and Failure Reason."""
    return tuple(
        Failed(f"1.2.3.{who}" if isinstance(who, int) else who, reason=code, text=text) for who, code in codes
    )


def answer(
    status: int,
    response: StoreResponse | None = None,
    *,
    complete: bool = True,
    sent_bytes: int = 1000,
    retry_after_seconds: float | None = None,
) -> Answer:
    return Answer(status, response, complete, sent_bytes, retry_after_seconds)


def said(
    dues: Sequence[Due],
    status: int,
    stored: tuple[Referenced, ...] = (),
    not_stored: tuple[Failed, ...] = (),
    others: tuple[int, ...] = (),
) -> list[Transition]:
    """What comes of an answer with a Store Instances Response."""
    verdict = after_answer(dues, answer(status, StoreResponse(stored, not_stored, others)), WAIT)
    assert [t.instance_id for t in verdict.transitions] == [d.instance_id for d in dues]
    return list(verdict.transitions)


def states(transitions: Sequence[Transition]) -> list[InstanceState]:
    return [one.state for one in transitions]


def reasons(verdict: Verdict) -> set[tuple[InstanceState, str]]:
    return {(one.state, one.reason) for one in verdict.transitions}


def signal(verdict: Verdict) -> Signal:
    """What a request said of the archive, where it said anything."""
    assert verdict.signal is not None
    return verdict.signal


def togethers(verdict: Verdict) -> set[int | None]:
    return {one.together for one in verdict.transitions}


# Failure Reasons

ROWS: list[tuple[int, int, Act]] = [
    # first code, last code, what is to be done; the rows of the decision table
    (0x0000, 0x0000, Act.LATER),
    (0x0110, 0x0110, Act.TRY),
    (0x0111, 0x0111, Act.ASK),
    (0x0120, 0x0122, Act.REJECT),
    (0x0124, 0x0124, Act.LATER),
    (0xA700, 0xA76F, Act.LATER),
    (0xA770, 0xA779, Act.REJECT),
    (0xA77A, 0xA77A, Act.LATER),
    (0xA77B, 0xA77B, Act.CONFLICT),
    (0xA77C, 0xA7FF, Act.LATER),
    (0xA900, 0xA9FF, Act.REJECT),
    (0xB00E, 0xB00E, Act.ASK),
    (0xB00F, 0xB00F, Act.LATER),
    (0xC000, 0xCFFF, Act.REJECT),
]
BECOMES = {
    Act.ASK: (UNCONFIRMED, 0.0, False),
    Act.CONFLICT: (CONFLICT, 0.0, False),
    Act.LATER: (PENDING, None, True),
    Act.TRY: (PENDING, None, True),
    Act.REJECT: (REJECTED, 0.0, False),
}


def test_every_code_there_is_asks_for_what_the_table_says_and_an_unknown_one_for_a_few_tries() -> None:
    expected = dict.fromkeys(range(0x10000), Act.TRY)
    for first, last, act in ROWS:
        expected |= dict.fromkeys(range(first, last + 1), act)
    found = {code: failure(code)[0] for code in range(0x10000)}
    wrong = {f"{code:04X}": found[code] for code in expected if found[code] is not expected[code]}
    assert wrong == {}
    assert failure(None)[0] is Act.TRY
    assert failure(-1)[0] is Act.TRY
    assert failure(0x1B00E)[0] is Act.TRY


def test_no_row_of_the_table_is_hidden_by_an_earlier_one_and_each_has_words() -> None:
    for row, (first, last, _, words) in enumerate(FAILURES):
        assert words
        assert first <= last
        assert any(
            not any(a <= code <= b for a, b, _, _ in FAILURES[:row]) for code in range(first, last + 1)
        ), f"row {row} is never reached"


@pytest.mark.parametrize(("first", "last", "act"), ROWS, ids=[f"{row[0]:04X}" for row in ROWS])
@pytest.mark.parametrize("status", [200, 202, 400, 409, 500])
def test_each_row_decides_alike_whatever_the_status(first: int, last: int, act: Act, status: int) -> None:
    for code in {first, last}:
        good, bad = said(batch(2), status, referenced(1), failed((2, code)))
        assert good.state is STORED, "its neighbour's failure is not its own"
        assert (bad.state, bad.wait_seconds, bad.counts) == BECOMES[act]
        if act is Act.ASK:
            assert bad.reason == "duplicate"
            assert bad.detail == f"failure-{code:04X}"
        else:
            assert bad.reason == f"failure-{code:04X}"


def test_a_mixture_in_one_answer_is_decided_one_by_one() -> None:
    mixed = failed((2, 0xB00E), (3, 0xA900), (4, 0xA700), (5, 0xA77B), (6, 0x0110), (7, None))
    found = said(batch(8), 202, referenced(1), mixed)
    assert states(found) == [STORED, UNCONFIRMED, REJECTED, PENDING, CONFLICT, PENDING, PENDING, UNCONFIRMED]
    assert found[6].reason == "failure-none"


@pytest.mark.parametrize(
    "text", ["instance already exists and differs", "Already Exists", "ALREADY EXISTING"]
)
def test_the_one_code_for_everything_means_a_duplicate_where_its_text_says_so(text: str) -> None:
    (found,) = said(batch(1), 409, not_stored=failed((1, 0x0110), text=text))
    assert (found.state, found.reason) == (UNCONFIRMED, "duplicate")
    assert text in found.detail


def test_the_text_of_no_other_code_is_believed() -> None:
    (found,) = said(batch(1), 409, not_stored=failed((1, 0xA900), text="already exists"))
    assert (found.state, found.detail) == (REJECTED, "already exists")


def test_an_unclear_failure_is_tried_with_others_then_alone_then_left_to_a_person() -> None:
    seen: list[tuple[InstanceState, int | None]] = []
    one = due(1)
    while len(seen) < 20:
        company = [one] if one.together == 1 else [one, due(2)]
        found = said(company, 409, not_stored=failed((1, 0x0110), (2, 0xA700)))[0]
        seen.append((found.state, found.together))
        if found.state is REJECTED:
            break
        assert found.counts
        one = one._replace(unclear=one.unclear + int(found.unclear), together=found.together)
    assert len(seen) == GIVE_UP_AFTER
    assert [together for _, together in seen[: ALONE_AFTER - 1]] == [None] * (ALONE_AFTER - 1)
    assert seen[ALONE_AFTER - 1 : -1] == [(PENDING, 1)] * (GIVE_UP_AFTER - ALONE_AFTER)
    assert seen[-1][0] is REJECTED


def test_an_unclear_failure_in_company_is_never_final() -> None:
    found = said([due(1, unclear=99), due(2)], 409, not_stored=failed((1, 0x0110), (2, 0x0110)))
    assert (found[0].state, found[0].together) == (PENDING, 1)


def test_what_is_not_the_instances_fault_is_tried_for_ever() -> None:
    (found,) = said([due(1, attempts=10_000, unclear=10_000)], 409, not_stored=failed((1, 0xA700)))
    assert (found.state, found.wait_seconds, found.unclear) == (PENDING, None, False)


@pytest.mark.parametrize("together", [None, 1])
def test_only_unclear_failures_bring_an_instance_nearer_to_being_given_up(together: int | None) -> None:
    patient = due(1, attempts=10_000, together=together)  # an archive that was full for a week
    for found in (
        said([patient], 409, not_stored=failed((1, 0x0110)))[0],
        after_answer([patient], answer(418), WAIT).transitions[0],
    ):
        assert (found.state, found.counts, found.unclear) == (PENDING, True, True)


@pytest.mark.parametrize(
    ("codes", "trouble"),
    [
        ([0xA700, 0xA700], Trouble.BUSY),  # the archive is full: the next batch would fare no better
        ([0xA700, 0xA7FF], Trouble.BUSY),
        ([0xA700], Trouble.BUSY),
        ([0xA700, 0x0000], Trouble.NONE),
        ([0x0124, 0x0124], Trouble.AUTH),  # this account may not store: nor will it the next batch
        ([0x0124], Trouble.AUTH),
        ([0x0124, 0xA700], Trouble.NONE),
        ([0x0110, 0x0110], Trouble.FAILING),
        ([0x0110, 0x1234], Trouble.FAILING),
        ([None, None], Trouble.FAILING),
        ([0x0110, 0xA700], Trouble.NONE),
        ([0x0110], Trouble.NONE),  # one alone: that may well be its own fault
        ([0x0000, 0x0000], Trouble.NONE),
        ([0xA77A], Trouble.NONE),  # its study is being deleted: that is not the archive
        ([0xA77A, 0xA77A], Trouble.NONE),
        ([0xA77A, 0xA700], Trouble.NONE),
        ([0xB00F], Trouble.NONE),  # another writer stores it at this moment
        ([0xB00F, 0xB00F], Trouble.NONE),
        ([0xA900, 0xA900], Trouble.NONE),  # the archive works: it has judged them
        ([0xA700, 0xA900], Trouble.NONE),
        ([0xA700, 0xB00E], Trouble.NONE),
        ([0xB00E, 0xB00E], Trouble.NONE),
    ],
)
def test_only_a_batch_that_failed_as_a_whole_without_blame_says_something_of_the_archive(
    codes: list[int | None], trouble: Trouble
) -> None:
    response = StoreResponse((), failed(*enumerate(codes, 1)))
    said_of_it = signal(after_answer(batch(len(codes)), answer(409, response), WAIT))
    assert said_of_it.trouble is trouble
    assert bool(said_of_it.words) is (trouble is not Trouble.NONE)
    assert said_of_it.retry_after_seconds is None


@pytest.mark.parametrize(
    ("codes", "trouble", "waits"),
    [
        ([0xA700], Trouble.BUSY, 60.0),
        ([0xA700, 0xA701], Trouble.BUSY, 60.0),
        ([0x0110], Trouble.BUSY, 60.0),
        ([0x0110, 0x0000], Trouble.BUSY, 60.0),
        ([0xA77A], Trouble.BUSY, 60.0),
        ([0x0124], Trouble.AUTH, None),  # no wait mends an account
        ([0xA900], Trouble.NONE, None),  # it works: it has judged
        ([0xA700, 0xA900], Trouble.NONE, None),
    ],
)
def test_a_retry_after_beside_failures_of_every_instance_is_obeyed(
    codes: list[int | None], trouble: Trouble, waits: float | None
) -> None:
    response = StoreResponse((), failed(*enumerate(codes, 1)))
    for status in (409, 503):
        told = answer(status, response, retry_after_seconds=60.0)
        said_of_it = signal(after_answer(batch(len(codes)), told, WAIT))
        assert (said_of_it.trouble, said_of_it.retry_after_seconds) == (trouble, waits)


def test_one_stored_instance_shows_that_the_archive_stores() -> None:
    verdict = after_answer(batch(2), answer(202, StoreResponse(referenced(1), failed((2, 0xA700)))), WAIT)
    assert signal(verdict).trouble is Trouble.NONE


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("failure-A700", "the archive is out of resources (Failure Reason A700)"),
        ("failure-B00E", "already stored (Failure Reason B00E)"),
        ("failure-none", "no known reason"),
        ("failure-1234", "no known reason for (Failure Reason 1234)"),
        ("status-418", "the archive answered status 418"),
        ("truncated", "the file ends in the middle of an element"),
        ("absent", "the archive was asked twice"),
        ("", ""),
        ("a-code-of-a-later-version", "a-code-of-a-later-version"),
    ],
)
def test_every_reason_can_be_said_in_words(code: str, words: str) -> None:
    assert words in in_words(code)


def test_the_archives_own_words_are_kept_for_the_ledger_where_there_is_no_module() -> None:
    told = Answer(500, None, True, 1000, excerpt="ORA-00001")
    assert {one.detail for one in after_answer(batch(2), told, WAIT).transitions} == {"status 500 ORA-00001"}
    assert "ORA" not in signal(after_answer(batch(2), told, WAIT)).words, "a log shows the signal's words"


# success


def test_a_warning_is_kept_and_the_instance_is_stored_all_the_same() -> None:
    plain, warned, told = (
        said(batch(1), 202, referenced(1, warning=code, warnings=texts))[0]
        for code, texts in ((None, ()), (0xB000, ()), (None, ("DICOM100: (0010,0020) - too long",)))
    )
    assert (plain.state, plain.reason, plain.detail) == (STORED, "", "")
    assert (warned.state, warned.reason, warned.detail) == (
        STORED,
        "warning",
        "warning B000: data elements were coerced",
    )
    assert (told.state, told.reason) == (STORED, "warning")
    assert "too long" in told.detail


def test_stored_means_acknowledged_and_never_verified() -> None:
    assert said(batch(1), 200, referenced(1))[0].verified is False


@pytest.mark.parametrize("status", [200, 202, 409])
def test_an_instance_in_both_sequences_is_asked_about(status: int) -> None:
    for code in (0xA900, 0xB00E, 0xA700, None):
        (found,) = said(batch(1), status, referenced(1), failed((1, code)))
        assert (found.state, found.reason) == (UNCONFIRMED, "silent")


def test_what_was_not_sent_and_is_named_all_the_same_changes_nothing() -> None:
    assert states(said(batch(1), 200, referenced(9))) == [UNCONFIRMED]
    assert states(said(batch(1), 200, referenced(1, 9), failed(("1.2.9", 0xA900)))) == [STORED]


# silence


@pytest.mark.parametrize(
    ("status", "n", "reason", "together"),
    [
        (200, 1, "silent", None),
        (200, 6, "silent", None),
        (202, 6, "silent", None),
        (409, 6, "silent", 1),  # not stored, or it would have been named: alone, if it is absent
        (400, 7, "refused", 3),  # one part was unreadable; the others may be stored
        (400, 2, "refused", 1),
        (400, 1, "refused-alone", 1),
        (500, 6, "silent", None),
    ],
)
def test_an_instance_that_is_not_named_is_asked_about(
    status: int, n: int, reason: str, together: int | None
) -> None:
    for found in said(batch(n), status):
        assert (found.state, found.reason, found.together) == (UNCONFIRMED, reason, together)


NAMELESS: list[tuple[list[int | None], InstanceState, str]] = [
    # the failures without a UID, for two instances that are not named
    ([0xA900, 0xA900], REJECTED, "failure-A900"),
    ([0xA900, 0xC000], REJECTED, "failure-A900"),  # two reasons, one act
    ([0xA700, 0x0000], PENDING, "failure-A700"),
    ([0x0110, 0x0110], PENDING, "failure-0110"),
    ([0xA900], UNCONFIRMED, "silent"),  # fewer than instances
    ([0xA900] * 3, UNCONFIRMED, "silent"),  # more than instances
    ([0xA900, 0xA700], UNCONFIRMED, "silent"),  # whose is which?
    ([0xA900, None], UNCONFIRMED, "silent"),
    ([0xB00E, 0xB00E], UNCONFIRMED, "duplicate"),  # all that are not named are there already
    ([0xB00E, 0x0111], UNCONFIRMED, "duplicate"),
    ([0xB00E, 0xA77B], UNCONFIRMED, "silent"),
    ([0xA77B, 0xA77B], CONFLICT, "failure-A77B"),
]


@pytest.mark.parametrize(("codes", "state", "reason"), NAMELESS)
@pytest.mark.parametrize("uid", [None, "1.2.40.0.13.9"], ids=["no UID", "an invented UID"])
def test_failures_without_a_name_are_given_to_the_unnamed_only_where_that_cannot_be_wrong(
    codes: list[int | None], state: InstanceState, reason: str, uid: str | None
) -> None:
    found = said(batch(3), 202, referenced(1), failed(*[(uid, code) for code in codes]))
    assert found[0].state is STORED
    assert [(one.state, one.reason) for one in found[1:]] == [(state, reason)] * 2


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["already exists", "it Already Exists"], "duplicate"),
        (["already exists", ""], "silent"),  # two acts: whose is which?
    ],
)
def test_the_words_of_a_failure_without_a_name_count_as_they_do_with_one(
    texts: list[str], reason: str
) -> None:
    nameless = tuple(Failed(None, reason=0x0110, text=text) for text in texts)
    found = said(batch(3), 409, referenced(1), nameless)
    assert [(one.state, one.reason) for one in found[1:]] == [(UNCONFIRMED, reason)] * 2
    (alone,) = said(batch(1), 409, not_stored=nameless[:1])
    assert (alone.state, alone.reason) == (UNCONFIRMED, "duplicate")
    assert "already exists" in alone.detail


def test_other_failures_count_among_those_without_a_name() -> None:
    found = said(batch(3), 202, referenced(1), failed((None, 0xA900)), others=(0xC000,))
    assert states(found) == [STORED, REJECTED, REJECTED]
    found = said(batch(3), 202, referenced(1), others=(0xC000,))
    assert states(found) == [STORED, UNCONFIRMED, UNCONFIRMED]


# answers without a module

STATUSES: list[tuple[int, InstanceState, str, Trouble]] = [
    (200, UNCONFIRMED, "silent", Trouble.FAILING),
    (201, UNCONFIRMED, "silent", Trouble.FAILING),
    (202, UNCONFIRMED, "silent", Trouble.FAILING),
    (204, UNCONFIRMED, "silent", Trouble.FAILING),
    (301, PENDING, "setup", Trouble.SETUP),
    (302, PENDING, "setup", Trouble.SETUP),
    (307, PENDING, "setup", Trouble.SETUP),
    (308, PENDING, "setup", Trouble.SETUP),
    (400, UNCONFIRMED, "refused", Trouble.NONE),
    (401, PENDING, "no-access", Trouble.AUTH),
    (403, PENDING, "no-access", Trouble.AUTH),
    (404, PENDING, "setup", Trouble.SETUP),
    (405, PENDING, "setup", Trouble.SETUP),
    (406, PENDING, "setup", Trouble.SETUP),
    (407, PENDING, "no-access", Trouble.AUTH),
    (408, PENDING, "busy", Trouble.BUSY),
    (409, UNCONFIRMED, "silent", Trouble.NONE),
    (411, PENDING, "setup", Trouble.SETUP),
    (413, PENDING, "split", Trouble.NONE),
    (415, PENDING, "setup", Trouble.SETUP),
    (422, PENDING, "status-422", Trouble.NONE),
    (424, UNCONFIRMED, "server-error", Trouble.FAILING),
    (425, PENDING, "busy", Trouble.BUSY),
    (429, PENDING, "busy", Trouble.BUSY),
    (451, PENDING, "status-451", Trouble.NONE),
    (500, UNCONFIRMED, "server-error", Trouble.FAILING),
    (501, PENDING, "setup", Trouble.SETUP),
    (502, UNCONFIRMED, "server-error", Trouble.FAILING),
    (503, UNCONFIRMED, "server-error", Trouble.BUSY),
    (504, UNCONFIRMED, "server-error", Trouble.FAILING),
    (507, UNCONFIRMED, "server-error", Trouble.FAILING),
    (599, UNCONFIRMED, "server-error", Trouble.FAILING),
]
CONSUMES_AN_ATTEMPT = {422, 451}


@pytest.mark.parametrize(
    ("status", "state", "reason", "trouble"), STATUSES, ids=[str(r[0]) for r in STATUSES]
)
def test_a_status_alone_says_this_of_the_batch_and_of_the_archive(
    status: int, state: InstanceState, reason: str, trouble: Trouble
) -> None:
    verdict = after_answer(batch(4), answer(status), WAIT)
    assert reasons(verdict) == {(state, reason)}
    assert [one.instance_id for one in verdict.transitions] == [1, 2, 3, 4]
    assert signal(verdict).trouble is trouble
    assert bool(signal(verdict).words) is (trouble is not Trouble.NONE)
    assert {one.counts for one in verdict.transitions} == {status in CONSUMES_AN_ATTEMPT}
    assert verdict.too_large is (status == 413)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 507])
def test_a_server_error_before_any_byte_was_sent_left_nothing_to_ask_about(status: int) -> None:
    verdict = after_answer(batch(2), answer(status, sent_bytes=0), WAIT)
    assert reasons(verdict) == {(PENDING, "busy")}
    assert signal(verdict).trouble is not Trouble.NONE


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507])
def test_what_the_archive_asked_for_in_retry_after_is_passed_on(status: int) -> None:
    assert signal_for(status, 17.0).retry_after_seconds == 17.0
    assert signal_for(status).retry_after_seconds is None
    for one in (due(1), due(1, together=1)):  # who says when says it of the archive, isolated or not
        verdict = after_answer([one], answer(status, retry_after_seconds=17.0), WAIT)
        assert signal(verdict).retry_after_seconds == 17.0


@pytest.mark.parametrize("status", [401, 403, 404, 407, 415, 429, 500, 503])
def test_trouble_with_the_archive_keeps_what_was_learnt_of_a_suspect_instance(status: int) -> None:
    verdict = after_answer([due(1, together=1)], answer(status), WAIT)
    assert verdict.transitions[0].together == 1


def halvings(fate: Callable[[list[Due]], Verdict], n: int = 50) -> list[int]:
    """With how many together instances travel that are found absent after the same fate again and again."""
    found = []
    while n > 1:
        (half,) = togethers(fate(batch(n)))
        assert half is not None
        found.append(half)
        n = half
    return found


def test_a_whole_request_that_was_refused_is_halved_until_one_stands_alone() -> None:
    def refuse(sent: list[Due]) -> Verdict:
        verdict = after_answer(sent, answer(400), WAIT)
        assert reasons(verdict) == {(UNCONFIRMED, "refused" if len(sent) > 1 else "refused-alone")}
        return verdict

    assert halvings(refuse) == [25, 12, 6, 3, 1]
    refuse(batch(1))


GRIEFS: dict[str, Callable[[Sequence[Due]], Verdict]] = {
    # what one file of a request can bring about, in an archive that stumbles over it
    "status 500": lambda sent: after_answer(sent, answer(500), WAIT),
    "status 503": lambda sent: after_answer(sent, answer(503), WAIT),
    "status 424": lambda sent: after_answer(sent, answer(424), WAIT),
    "broken": lambda sent: after_no_answer(sent, "broken", 50, WAIT),
    "unreachable in the middle": lambda sent: after_no_answer(sent, "unreachable", 50, WAIT),
    "timeout": lambda sent: after_no_answer(sent, "timeout", 50, WAIT),
}


def answered_early(sent: Sequence[Due]) -> Verdict:
    return after_answer(sent, answer(200, complete=False), WAIT)


@pytest.mark.parametrize("fate", [*GRIEFS.values(), answered_early], ids=[*GRIEFS, "answered early"])
def test_a_file_the_archive_stumbles_over_is_brought_to_stand_alone_by_halving(
    fate: Callable[[Sequence[Due]], Verdict],
) -> None:
    assert halvings(fate) == [25, 12, 6, 3, 1]
    assert togethers(fate(batch(1))) == {1}
    mixed = [due(1), due(2, together=1), due(3, together=9), *batch(5)[3:]]
    assert [one.together for one in fate(mixed).transitions] == [2, 1, 2, 2, 2], "what was learnt stays"
    one = fate(batch(8)).transitions[0]
    absent = after_look(due(1, reason=one.reason, looks=1, together=one.together), Finding.ABSENT, None, WAIT)
    assert (absent.state, absent.together) == (PENDING, 4), "and it stays when it turns out absent"


@pytest.mark.parametrize("grief", GRIEFS)
def test_only_of_a_lone_isolated_instance_a_failed_request_says_nothing_of_the_archive(grief: str) -> None:
    fate = GRIEFS[grief]
    assert fate([due(1, together=1)]).signal is None
    for sent in ([due(1)], [due(1, together=2)], [due(1, together=1), due(2, together=1)]):
        assert signal(fate(sent)).trouble is not Trouble.NONE


def test_a_request_too_large_is_halved_and_a_lone_file_too_large_waits_for_a_person() -> None:
    verdict = after_answer(batch(5), answer(413), WAIT)
    assert {one.together for one in verdict.transitions} == {2}
    assert verdict.too_large
    alone = after_answer(batch(1), answer(413), WAIT)
    assert reasons(alone) == {(REJECTED, "too-large")}
    assert not alone.too_large, "one large file says nothing about what a request may hold"


def test_any_other_refusal_is_bounded_by_tries_and_final_only_alone() -> None:
    crowd = after_answer([due(1, unclear=99), due(2)], answer(418), WAIT)
    assert {(one.state, one.together) for one in crowd.transitions} == {(PENDING, 1), (PENDING, None)}
    last = after_answer([due(1, unclear=GIVE_UP_AFTER - 1, together=1)], answer(418), WAIT)
    assert reasons(last) == {(REJECTED, "status-418")}
    first = after_answer([due(1)], answer(418), WAIT)
    assert reasons(first) == {(PENDING, "status-418")}


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_success_that_came_before_the_request_was_read_is_none(status: int) -> None:
    verdict = after_answer(batch(2), answer(status, complete=False), WAIT)
    assert reasons(verdict) == {(UNCONFIRMED, "broken")}
    assert signal(verdict).trouble is Trouble.FAILING


@pytest.mark.parametrize("status", [200, 202, 400, 401, 409, 413, 429, 500, 503])
@pytest.mark.parametrize(
    "response",
    [
        StoreResponse(referenced(1, 2)),
        StoreResponse((), failed((1, 0xA900), (2, 0xA900))),
        StoreResponse(referenced(1), failed((2, 0xA900))),
        StoreResponse((), ()),
    ],
    ids=["stored", "refused", "mixed", "empty"],
)
def test_what_is_said_of_instances_before_the_request_was_read_proves_nothing(
    status: int, response: StoreResponse
) -> None:
    verdict = after_answer(batch(2), answer(status, response, complete=False), WAIT)
    assert reasons(verdict) == {(UNCONFIRMED, "broken")}
    assert signal(verdict).trouble is Trouble.FAILING
    assert signal(verdict).words


@pytest.mark.parametrize(
    ("status", "state"), [(401, PENDING), (413, PENDING), (415, PENDING), (500, UNCONFIRMED)]
)
def test_a_refusal_may_come_before_the_request_was_read(status: int, state: InstanceState) -> None:
    verdict = after_answer(batch(2), answer(status, complete=False), WAIT)
    assert set(states(verdict.transitions)) == {state}


# no answer


@pytest.mark.parametrize(
    ("why", "trouble"),
    [
        ("unreachable", Trouble.UNREACHABLE),
        ("broken", Trouble.FAILING),
        ("timeout", Trouble.FAILING),
        ("local", Trouble.NONE),
    ],
)
def test_where_no_byte_was_sent_the_archive_has_nothing_and_it_is_no_instances_fault(
    why: str, trouble: Trouble
) -> None:
    verdict = after_no_answer([due(1), due(2, together=1)], why, 0, WAIT)
    assert reasons(verdict) == {(PENDING, "no-answer")}
    assert [one.together for one in verdict.transitions] == [None, 1]
    assert not any(one.counts for one in verdict.transitions)
    assert signal(verdict).trouble is trouble
    assert bool(signal(verdict).words) is (trouble is not Trouble.NONE)


@pytest.mark.parametrize(
    ("why", "reason", "wait", "together", "trouble"),
    [
        ("broken", "broken", 5.0, 2, Trouble.FAILING),
        ("unreachable", "broken", 5.0, 2, Trouble.UNREACHABLE),
        ("timeout", "timeout", 60.0, 2, Trouble.FAILING),  # stopped reading, or is storing still
        ("local", "broken", 5.0, None, None),  # a file changed on the way: the others may have arrived
    ],
)
@pytest.mark.parametrize("sent", [1, 50, 10**12])
def test_where_bytes_were_sent_each_instance_is_asked_about(
    why: str, sent: int, reason: str, wait: float, together: int | None, trouble: Trouble | None
) -> None:
    verdict = after_no_answer(batch(4), why, sent, WAIT)
    assert reasons(verdict) == {(UNCONFIRMED, reason)}
    assert {(one.wait_seconds, one.together) for one in verdict.transitions} == {(wait, together)}
    assert (verdict.signal.trouble if verdict.signal else None) is trouble


def test_our_own_breaking_off_keeps_what_was_learnt_of_a_suspect_and_says_nothing_of_the_archive() -> None:
    verdict = after_no_answer([due(1, together=3), due(2)], "local", 50, WAIT)
    assert [one.together for one in verdict.transitions] == [3, None]
    assert verdict.signal is None


# asking

WAITS = {  # multiples of confirm_wait before the first and the second look
    "silent": (0, 1),
    "duplicate": (0, 1),
    "already-there": (0, 1),
    "doubted": (0, 1),
    "refused": (0, 1),
    "refused-alone": (0, 1),
    "broken": (1 / 6, 1),
    "restart": (1 / 6, 1),
    "timeout": (2, 8),
    "server-error": (2, 8),
}
FROM_AN_ANSWER = ("duplicate", "already-there")


def test_each_reason_to_ask_has_its_waits() -> None:
    assert dict(ASK_WAITS) == WAITS


@pytest.mark.parametrize("reason", WAITS)
def test_absent_needs_two_looks_and_the_waits_between_them(reason: str) -> None:
    first_wait, second_wait = WAITS[reason]
    asked = unconfirmed(due(1), reason, WAIT, together=3)
    assert asked.wait_seconds == first_wait * WAIT
    one = due(1, reason=asked.reason, looks=asked.looks, together=asked.together)
    first = after_look(one, Finding.ABSENT, None, WAIT)
    assert (first.state, first.reason, first.looks, first.together) == (UNCONFIRMED, reason, 1, 3)
    assert first.wait_seconds == second_wait * WAIT
    second = after_look(one._replace(looks=1), Finding.ABSENT, None, WAIT)
    if reason == "refused-alone":
        assert (second.state, second.reason) == (REJECTED, "refused")
    else:
        assert (second.state, second.reason, second.counts) == (PENDING, "absent", True)
        assert (second.looks, second.together) == (0, 3), "looks count anew, suspicion stays"
        assert second.wait_seconds == (None if reason == "duplicate" else 0.0)


def test_a_uid_that_the_archive_has_and_does_not_show_is_tried_some_times_and_then_a_persons() -> None:
    one = due(1, reason="duplicate", looks=1)
    tried = [after_look(one._replace(unclear=n), Finding.ABSENT, None, WAIT) for n in range(GIVE_UP_AFTER)]
    assert [now.state for now in tried] == [PENDING] * (GIVE_UP_AFTER - 1) + [REJECTED]
    assert all(now.unclear and now.counts and now.wait_seconds is None for now in tried)
    assert tried[-1].reason == "elsewhere"


@pytest.mark.parametrize("looks", [0, 1])
@pytest.mark.parametrize("reason", WAITS)
def test_what_is_there_is_compared_at_any_look(reason: str, looks: int) -> None:
    one, digest = due(1, reason=reason, looks=looks), b"\x05" * 32
    equal = after_look(one, Finding.EQUAL, digest, WAIT)
    assert (equal.state, equal.verified, equal.sha256) == (STORED, True, digest)
    there_before = (*FROM_AN_ANSWER, "doubted")
    assert equal.reason == ("already-there" if reason in there_before else "confirmed")
    different = after_look(one, Finding.DIFFERENT, digest, WAIT)
    assert (different.state, different.reason, different.verified) == (CONFLICT, "differs", False)
    assert different.sha256 == digest


@pytest.mark.parametrize("reason", WAITS)
def test_what_the_archive_has_rewritten_and_agrees_is_stored_and_never_called_verified(reason: str) -> None:
    found = after_look(due(1, reason=reason), Finding.AGREES, b"\x05" * 32, WAIT)
    assert (found.state, found.reason, found.verified) == (STORED, "agrees", False)


@pytest.mark.parametrize("reason", WAITS)
def test_what_is_there_and_cannot_be_compared_is_ours_only_where_nobody_said_it_was_there_before(
    reason: str,
) -> None:
    found = after_look(due(1, reason=reason), Finding.INCOMPARABLE, None, WAIT)
    if reason in FROM_AN_ANSWER:
        assert (found.state, found.reason) == (CONFLICT, "incomparable")
    else:
        assert (found.state, found.reason) == (STORED, "presence-only")
    assert found.verified is False


@pytest.mark.parametrize("reason", WAITS)
@pytest.mark.parametrize("finding", [Finding.FAILED, Finding.UNREAD])
def test_a_question_that_failed_waits_changes_nothing_else_and_is_no_attempt(
    reason: str, finding: Finding
) -> None:
    found = after_look(due(1, reason=reason, looks=1, together=4), finding, None, WAIT)
    assert (found.state, found.reason, found.looks, found.together) == (UNCONFIRMED, reason, 1, 4)
    assert (found.wait_seconds, found.counts) == (WAIT, False)


@pytest.mark.parametrize("finding", [Finding.FAILED, Finding.UNREAD])
def test_a_failed_question_is_not_a_look_that_found_nothing(finding: Finding) -> None:
    one = due(1, reason="silent")
    for _ in range(50):
        found = after_look(one, finding, None, WAIT)
        one = one._replace(looks=found.looks)
    assert after_look(one, Finding.ABSENT, None, WAIT).state is UNCONFIRMED


# whatever comes

codes = (
    st.none()
    | st.sampled_from([0, 0x0110, 0x0111, 0xA700, 0xA77B, 0xA900, 0xB00E, 0xC000])
    | st.integers(0, 0xFFFF)
)
uids = st.none() | st.integers(0, 6).map(lambda n: f"1.2.3.{n}") | st.just("2.25.1")
responses = st.builds(
    StoreResponse,
    st.lists(st.builds(Referenced, uids.map(lambda uid: uid or ""), warning=codes), max_size=6).map(tuple),
    st.lists(
        st.builds(Failed, uids, reason=codes, text=st.sampled_from(["", "already exists"])), max_size=6
    ).map(tuple),
    st.lists(st.integers(0, 0xFFFF), max_size=4).map(tuple),
)
instances = st.builds(
    due,
    attempts=st.integers(0, 9),
    unclear=st.integers(0, 9),
    looks=st.integers(0, 3),
    together=st.none() | st.integers(1, 9),
    reason=st.sampled_from(["", *WAITS]),
)
batches = st.lists(instances, min_size=1, max_size=6).map(
    lambda found: [
        one._replace(instance_id=n, sop_instance_uid=f"1.2.3.{n}") for n, one in enumerate(found, 1)
    ]
)


@settings(deadline=None, max_examples=400)
@given(
    batches,
    st.integers(200, 599) | st.sampled_from([200, 202, 400, 409]),
    st.none() | responses,
    st.booleans(),
    st.sampled_from([0, 1, 1000]),
)
def test_nothing_but_the_referenced_sequence_of_an_answer_makes_an_instance_stored(
    sent: list[Due], status: int, response: StoreResponse | None, complete: bool, sent_bytes: int
) -> None:
    verdict = after_answer(sent, answer(status, response, complete=complete, sent_bytes=sent_bytes), WAIT)
    assert [one.instance_id for one in verdict.transitions] == [one.instance_id for one in sent]
    named = {item.sop_instance_uid for item in response.referenced} if response else set()
    for one, found in zip(sent, verdict.transitions, strict=True):
        assert not found.verified
        if found.state is STORED:
            assert one.sop_instance_uid in named
            assert complete, "what was said before the whole was read proves nothing"
        if found.state is UNCONFIRMED:
            assert found.reason in ASK_WAITS
            assert found.looks == 0


@settings(deadline=None)
@given(
    batches,
    st.sampled_from(["unreachable", "broken", "timeout", "local"]),
    st.sampled_from([0, 1, 10]),
)
def test_no_answer_never_makes_an_instance_stored_or_final_or_less_suspect(
    sent: list[Due], why: str, sent_bytes: int
) -> None:
    verdict = after_no_answer(sent, why, sent_bytes, WAIT)
    assert [one.instance_id for one in verdict.transitions] == [one.instance_id for one in sent]
    assert set(states(verdict.transitions)) == ({PENDING} if sent_bytes == 0 else {UNCONFIRMED})
    for one, found in zip(sent, verdict.transitions, strict=True):
        assert one.together is None or (found.together or 99) <= one.together


@settings(deadline=None)
@given(instances, st.sampled_from(Finding), st.none() | st.just(b"\x05" * 32))
def test_nothing_but_being_there_makes_a_look_end_in_stored_and_only_equal_bytes_in_verified(
    one: Due, finding: Finding, sha256: bytes | None
) -> None:
    found = after_look(one, finding, sha256, WAIT)
    if found.state is STORED:
        assert finding in (Finding.EQUAL, Finding.AGREES, Finding.INCOMPARABLE)
    assert found.verified is (finding is Finding.EQUAL)
    if found.state is PENDING:
        assert finding is Finding.ABSENT
        assert one.looks >= 1, "absent takes two looks"

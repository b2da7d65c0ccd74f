"""Whose is a SOP Instance UID? One content goes; among the unsent it is that of the smallest path."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomsync.claims import Claim, Decision, Known, decide
from dicomsync.model import InstanceState, StatKey, Whole

PENDING, CONFLICT, MISSED = InstanceState.PENDING, InstanceState.CONFLICT, InstanceState.MISSED
OURS, OTHERS = b"\x01" * 32, b"\x02" * 32
A, B, C = b"/in/a.dcm", b"/in/b.dcm", b"/in/c.dcm"


def whole(size_bytes: int = 100, study: str = "1.2", series: str = "1.2.3") -> Whole:
    return Whole(StatKey(size_bytes, 1, 2, 3), study, series, "1.2.3.4", "1.2.840", "1.2.840.10008.1.2.1")


def known(
    state: InstanceState = PENDING,
    *,
    number: int = 7,
    size_bytes: int = 100,
    study: str = "1.2",
    series: str = "1.2.3",
    sha256: bytes | None = OTHERS,
    path: bytes | None = B,
    yielded: bool = False,
    resolving: bool = False,
) -> Known:
    return Known(number, state, study, series, size_bytes, sha256, path, yielded, resolving)


def claim(
    *rows: Known,
    path: bytes = A,
    sha256: bytes | None = OURS,
    own: int | None = None,
    new: Whole | None = None,
) -> Claim:
    return decide(new or whole(), path, sha256, rows, own).claim


# each claim


def test_a_uid_never_seen_before_is_new() -> None:
    assert decide(whole(), A, None, []) == Decision(Claim.NEW)


@pytest.mark.parametrize("state", InstanceState)
def test_equal_content_is_the_same_instance_and_nothing_is_sent_twice(state: InstanceState) -> None:
    expected = Claim.REVIVES if state is MISSED else Claim.SAME
    assert decide(whole(), A, OURS, [known(state, sha256=OURS)]) == Decision(expected, 7)


@pytest.mark.parametrize("state", InstanceState)
@pytest.mark.parametrize("ours", [None, OURS])
def test_contents_that_look_alike_are_compared_by_their_bytes(
    state: InstanceState, ours: bytes | None
) -> None:
    assert decide(whole(), A, ours, [known(state, sha256=None)]) == Decision(Claim.COMPARE, 7)
    assert decide(whole(), A, None, [known(state, sha256=OURS)]) == Decision(Claim.COMPARE, 7)


@pytest.mark.parametrize(
    "new",
    [whole(size_bytes=101), whole(study="1.9"), whole(series="1.2.9")],
    ids=["size", "study", "series"],
)
@pytest.mark.parametrize("sha256", [None, OURS, OTHERS])
def test_contents_that_differ_on_the_outside_need_no_reading(new: Whole, sha256: bytes | None) -> None:
    assert decide(new, A, None, [known(InstanceState.STORED, sha256=sha256)]) == Decision(Claim.CONFLICTS, 7)


CLASHES = [
    (InstanceState.PENDING, A, Claim.DISPLACES),  # smaller than b.dcm
    (InstanceState.PENDING, C, Claim.CONFLICTS),
    (InstanceState.SENDING, A, Claim.LATER),
    (InstanceState.SENDING, C, Claim.LATER),
    (InstanceState.UNCONFIRMED, A, Claim.LATER),
    (InstanceState.UNCONFIRMED, C, Claim.LATER),
    (InstanceState.STORED, A, Claim.CONFLICTS),  # stored first stands, whatever its path
    (InstanceState.STORED, C, Claim.CONFLICTS),
    (InstanceState.LEAVING, A, Claim.CONFLICTS),
    (InstanceState.DELETING, A, Claim.CONFLICTS),
    (InstanceState.CONFLICT, A, Claim.ASKS),  # the archive has another one still: this one, perhaps
    (InstanceState.CONFLICT, C, Claim.ASKS),
    (InstanceState.REJECTED, A, Claim.NEW),  # these claim nothing any more
    (InstanceState.MISSED, A, Claim.NEW),
    (InstanceState.DELETED, A, Claim.NEW),
    (InstanceState.SUPERSEDED, A, Claim.NEW),
]


@pytest.mark.parametrize(("state", "path", "expected"), CLASHES)
def test_other_content_under_a_known_uid(state: InstanceState, path: bytes, expected: Claim) -> None:
    decision = decide(whole(), path, OURS, [known(state)])
    assert decision == Decision(expected, None if expected is Claim.NEW else 7)


def test_the_table_above_has_every_state() -> None:
    assert {state for state, _, _ in CLASHES} == set(InstanceState)


def test_a_content_that_only_had_yielded_to_another_file_stands_in_nobodys_way() -> None:
    assert claim(known(CONFLICT, yielded=True)) is Claim.NEW
    rows = [known(CONFLICT, number=1, yielded=True), known(CONFLICT, number=2, sha256=b"\x03" * 32)]
    assert decide(whole(), A, OURS, rows) == Decision(Claim.ASKS, 2)


def test_nothing_is_asked_for_another_file_while_a_person_has_one_stored() -> None:
    assert claim(known(CONFLICT, sha256=b"\x03" * 32, resolving=True)) is Claim.CONFLICTS


def test_an_instance_that_no_file_holds_any_more_gives_way_to_any_path() -> None:
    assert claim(known(path=None), path=C) is Claim.DISPLACES


def test_paths_are_compared_as_bytes_and_not_by_any_alphabet() -> None:
    upper, non_utf8 = b"/in/Z.dcm", b"/in/\xff.dcm"
    assert claim(known(path=b"/in/a.dcm"), path=upper) is Claim.DISPLACES
    assert claim(known(path="/in/\u00e9.dcm".encode()), path=non_utf8) is Claim.CONFLICTS


# the file's own instance


def test_a_file_rewritten_before_it_was_sent_updates_its_own_instance() -> None:
    for sha256 in (None, OTHERS):  # no other file holds it
        row = known(path=None, sha256=sha256)
        assert decide(whole(size_bytes=5), A, None, [row], 7) == Decision(Claim.UPDATES, 7)
        assert claim(row, own=7) is Claim.UPDATES


@pytest.mark.parametrize("sha256", [None, OURS])
@pytest.mark.parametrize("new", [whole(), whole(size_bytes=5)], ids=["alike", "other size"])
def test_a_file_that_is_there_again_supplies_its_own_instance_that_the_archive_is_asked_about(
    new: Whole, sha256: bytes | None
) -> None:
    row = known(InstanceState.UNCONFIRMED, sha256=None, path=None)
    assert decide(new, A, sha256, [row], 7) == Decision(Claim.SUPPLIES, 7)
    assert decide(new, A, OURS, [row], 8).claim is not Claim.SUPPLIES, "it is another file's"


def test_a_file_of_another_study_or_series_now_leaves_its_instance_to_be_asked_about_alone() -> None:
    row = known(InstanceState.UNCONFIRMED, sha256=None, path=None)
    for new in (whole(study="9.9"), whole(series="9.9")):
        assert decide(new, A, None, [row], 7) == Decision(Claim.LEAVES, 7)


def test_a_file_rewritten_to_the_content_that_had_yielded_to_it_lets_that_one_go() -> None:
    rows = [known(path=None), known(CONFLICT, number=2, sha256=OURS, path=C, yielded=True)]
    assert decide(whole(), A, OURS, rows, 7) == Decision(Claim.PREVAILS, 2)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (known(path=B), Claim.DISPLACES),  # another file holds the old content still, and may go
        (known(path=b"/in/0.dcm"), Claim.CONFLICTS),
        (known(InstanceState.SENDING, path=None), Claim.LATER),
        (known(InstanceState.UNCONFIRMED, path=None), Claim.LATER),
        (known(InstanceState.STORED, path=None), Claim.CONFLICTS),
        (known(InstanceState.LEAVING, path=None), Claim.CONFLICTS),
        (known(InstanceState.REJECTED, path=None), Claim.NEW),  # "rejected" ends when the file changes
    ],
)
def test_a_file_rewritten_later_or_copied_before_does_not_update_what_others_rely_on(
    row: Known, expected: Claim
) -> None:
    assert claim(row, own=7) is expected


def test_a_file_that_only_was_touched_is_still_the_same_after_it_was_stored() -> None:
    assert claim(known(InstanceState.STORED, sha256=OURS, path=None), own=7) is Claim.SAME


def test_the_instance_of_another_file_is_never_updated() -> None:
    assert claim(known(number=8, path=B), own=7) is Claim.DISPLACES


# a file that is being looked at again


@pytest.mark.parametrize("sha256", [None, OURS])
@pytest.mark.parametrize("path", [A, C])
@pytest.mark.parametrize("new", [whole(), whole(size_bytes=5)], ids=["alike", "other size"])
def test_nothing_is_decided_while_the_only_file_of_what_is_due_is_being_looked_at_again(
    new: Whole, path: bytes, sha256: bytes | None
) -> None:
    row = known(sha256=None, path=None)
    assert decide(new, path, sha256, [row]) == Decision(Claim.LATER, 7)
    assert decide(new, path, sha256, [row], own=8) == Decision(Claim.LATER, 7)
    assert decide(new, path, sha256, [row], own=7) == Decision(Claim.UPDATES, 7), "it is this very file"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (known(sha256=OTHERS, path=None), Claim.DISPLACES),  # its bytes are known: that can be decided
        (known(sha256=OURS, path=None), Claim.SAME),
        (known(sha256=None, path=B), Claim.COMPARE),
        (known(CONFLICT, sha256=None, path=None), Claim.ASKS),  # it is not due
        (known(CONFLICT, sha256=None, path=None, yielded=True), Claim.NEW),
        (known(MISSED, sha256=None, path=None), Claim.REVIVES),
    ],
)
def test_only_what_is_due_without_file_and_hash_is_waited_for(row: Known, expected: Claim) -> None:
    assert claim(row) is expected


# several known


@pytest.mark.parametrize("sha256", [OURS, None])
@pytest.mark.parametrize(("path", "expected"), [(C, Claim.CONFLICTS), (A, Claim.DISPLACES)])
def test_what_was_missed_cannot_come_back_while_another_content_has_its_place(
    path: bytes, expected: Claim, sha256: bytes | None
) -> None:
    rows = [known(number=1, sha256=OTHERS), known(MISSED, number=2, sha256=sha256, path=None)]
    assert decide(whole(), path, OURS, rows) == Decision(expected, 1)


def test_what_was_missed_does_not_hide_that_the_content_is_there() -> None:
    rows = [known(InstanceState.STORED, number=1, sha256=OURS), known(MISSED, number=2, sha256=OURS)]
    assert decide(whole(), A, OURS, rows) == Decision(Claim.SAME, 1)


@pytest.mark.parametrize(
    ("state", "path", "expected"),
    [
        (PENDING, A, Claim.PREVAILS),  # smaller than b.dcm
        (PENDING, C, Claim.SAME),
        (InstanceState.STORED, A, Claim.SAME),  # stored first stands, whatever its path
        (InstanceState.STORED, C, Claim.SAME),
        (InstanceState.SENDING, A, Claim.SAME),
        (InstanceState.UNCONFIRMED, A, Claim.SAME),
        (InstanceState.LEAVING, A, Claim.SAME),
        (InstanceState.DELETING, A, Claim.SAME),
    ],
)
def test_a_content_that_had_yielded_prevails_by_a_smaller_path_over_what_is_unsent_alone(
    state: InstanceState, path: bytes, expected: Claim
) -> None:
    rows = [known(state, number=1), known(CONFLICT, number=2, sha256=OURS, path=C, yielded=True)]
    assert decide(whole(), path, OURS, rows) == Decision(expected, 2)


def test_a_content_that_had_yielded_prevails_over_one_that_no_file_holds_any_more() -> None:
    rows = [known(number=1, path=None), known(CONFLICT, number=2, sha256=OURS, path=C, yielded=True)]
    assert decide(whole(), C, OURS, rows) == Decision(Claim.PREVAILS, 2)


def test_a_content_that_is_a_conflict_for_another_reason_does_not_prevail() -> None:
    rows = [known(number=1), known(CONFLICT, number=2, sha256=OURS, path=C)]
    assert decide(whole(), A, OURS, rows) == Decision(Claim.SAME, 2)


def test_content_that_lost_before_has_lost_still_and_gives_no_second_alarm() -> None:
    rows = [known(number=1, sha256=OTHERS), known(CONFLICT, number=2, sha256=OURS, path=C)]
    assert decide(whole(), C, OURS, rows) == Decision(Claim.SAME, 2)


def test_a_third_content_is_a_conflict_of_its_own() -> None:
    rows = [known(number=1), known(CONFLICT, number=2, sha256=b"\x03" * 32)]
    assert decide(whole(), C, OURS, rows) == Decision(Claim.CONFLICTS, 1)


def test_everything_that_cannot_be_told_apart_is_compared_before_anything_is_decided() -> None:
    rows = [known(number=1), known(CONFLICT, number=2, sha256=None)]
    assert decide(whole(), C, OURS, rows) == Decision(Claim.COMPARE, 2)


def test_a_missed_instance_whose_bytes_were_never_read_comes_back_with_its_file() -> None:
    assert claim(known(MISSED, sha256=None, path=None), sha256=None) is Claim.REVIVES


def test_a_rejected_instance_nobody_can_compare_with_does_not_keep_a_file_from_going() -> None:
    assert claim(known(InstanceState.REJECTED, sha256=None, path=None), sha256=None) is Claim.NEW


# the order in which files are found


@dataclass
class Row:
    """One instance of the ledger in small."""

    state: InstanceState
    new: Whole
    sha256: bytes
    read: bool
    paths: set[bytes]
    yielded: bool = False  # to another unsent file, which went first


class Site:
    """Does with each claim what the ledger's rooms do, and hashes where bytes must be compared."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.compared = 0

    def find(self, path: bytes, new: Whole, content: bytes) -> None:
        sha256: bytes | None = None
        while True:
            decision = decide(new, path, sha256, self._known())
            if decision.claim is not Claim.COMPARE:
                break
            other = self.rows[decision.instance_id or 0]
            assert not (sha256 and other.read), "it compares what is known for ever"
            sha256, other.read = content, True
            self.compared += 1
        row = Row(PENDING, new, content, sha256 is not None, {path})
        found = self.rows.get(decision.instance_id or 0)
        match decision.claim, found:
            case Claim.SAME, Row():
                found.paths.add(path)
                return
            case Claim.PREVAILS, Row():
                self._yield(next(one for one in self.rows.values() if one.state is PENDING))
                found.state, found.yielded = PENDING, False
                found.paths.add(path)
                return
            case Claim.CONFLICTS, Row():
                row.state, row.yielded = CONFLICT, found.state is PENDING
            case Claim.DISPLACES, Row():
                self._yield(found)
            case unexpected:
                assert unexpected == (Claim.NEW, None)
        self.rows[len(self.rows) + 1] = row

    @staticmethod
    def _yield(row: Row) -> None:
        row.state, row.yielded = CONFLICT, True

    def _known(self) -> Sequence[Known]:
        return [
            Known(
                number,
                row.state,
                row.new.study_instance_uid,
                row.new.series_instance_uid,
                row.new.key.size_bytes,
                row.sha256 if row.read else None,
                min(row.paths),
                row.yielded,
            )
            for number, row in sorted(self.rows.items(), key=lambda one: one[1].state is not PENDING)
        ]

    def goes(self) -> list[bytes]:
        return [row.sha256 for row in self.rows.values() if row.state is PENDING]


names = st.binary(min_size=1, max_size=3).filter(lambda name: not set(name) & {0, 47})


@settings(deadline=None, max_examples=200)
@given(st.lists(names, min_size=2, max_size=4, unique=True), st.data())
def test_of_several_unsent_contents_that_of_the_smallest_path_goes_in_whatever_order_they_are_found(
    found: list[bytes], data: st.DataObject
) -> None:
    files = []
    for name in found:
        content = data.draw(st.integers(1, 3), label=f"content of {name!r}")  # copies among them
        new = (whole(), whole(), whole(size_bytes=101))[content - 1]
        files.append((b"/in/" + name, new, bytes([content]) * 32))
    contents = {content for _, _, content in files}
    for order in itertools.permutations(files):
        site = Site()
        for number, file in enumerate(order, 1):
            site.find(*file)
            assert site.goes() == [min(order[:number])[2]]
        assert {row.sha256 for row in site.rows.values()} == contents
        assert len(site.rows) == len(contents), "one instance a content"
        assert sum(row.state is CONFLICT for row in site.rows.values()) == len(contents) - 1
        for row in site.rows.values():
            assert row.paths == {path for path, _, content in files if content == row.sha256}


def test_two_copies_around_another_content_go_whatever_is_found_first() -> None:
    files = [(A, whole(), OURS), (B, whole(), OTHERS), (C, whole(), OURS)]
    for order in itertools.permutations(files):
        site = Site()
        for file in order:
            site.find(*file)
        assert site.goes() == [OURS]


@settings(deadline=None, max_examples=100)
@given(st.lists(names, min_size=1, max_size=5, unique=True))
def test_copies_of_one_content_are_one_instance_and_never_a_conflict(found: list[bytes]) -> None:
    site = Site()
    for name in found:
        site.find(b"/in/" + name, whole(), OURS)
    assert site.goes() == [OURS]
    assert site.rows[1].paths == {b"/in/" + name for name in found}


def test_files_of_different_size_are_never_read_to_be_told_apart() -> None:
    site = Site()
    for size, path in ((1, C), (2, B), (3, A)):
        site.find(path, whole()._replace(key=StatKey(size, 1, 2, 3)), bytes([size]) * 32)
    assert site.compared == 0
    assert site.goes() == [b"\x03" * 32]

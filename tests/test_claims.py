"""Whose is a SOP Instance UID? One content goes; among the unsent it is that of the smallest path."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
) -> Known:
    return Known(number, state, study, series, size_bytes, sha256, path)


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
    (InstanceState.CONFLICT, A, Claim.NEW),  # these claim nothing any more
    (InstanceState.REJECTED, A, Claim.NEW),
    (InstanceState.MISSED, A, Claim.NEW),
    (InstanceState.DELETED, A, Claim.NEW),
]


@pytest.mark.parametrize(("state", "path", "expected"), CLASHES)
def test_other_content_under_a_known_uid(state: InstanceState, path: bytes, expected: Claim) -> None:
    decision = decide(whole(), path, OURS, [known(state)])
    assert decision == Decision(expected, None if expected is Claim.NEW else 7)


def test_the_table_above_has_every_state() -> None:
    assert {state for state, _, _ in CLASHES} == set(InstanceState)


def test_an_instance_that_no_file_holds_any_more_gives_way_to_any_path() -> None:
    assert claim(known(path=None), path=C) is Claim.DISPLACES


def test_paths_are_compared_as_bytes_and_not_by_any_alphabet() -> None:
    upper, non_utf8 = b"/in/Z.dcm", b"/in/\xff.dcm"
    assert claim(known(path=b"/in/a.dcm"), path=upper) is Claim.DISPLACES
    assert claim(known(path="/in/\u00e9.dcm".encode()), path=non_utf8) is Claim.CONFLICTS


# the file's own instance


def test_a_file_rewritten_before_it_was_sent_updates_its_own_instance() -> None:
    assert decide(whole(size_bytes=5), A, None, [known(path=A)], 7) == Decision(Claim.UPDATES, 7)
    assert claim(known(path=None), own=7) is Claim.UPDATES  # being looked at, it holds nothing for now


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


# several known


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
        match decision.claim:
            case Claim.SAME:
                self.rows[decision.instance_id or 0].paths.add(path)
                return
            case Claim.CONFLICTS:
                row.state = CONFLICT
            case Claim.DISPLACES:
                self.rows[decision.instance_id or 0].state = CONFLICT
            case unexpected:
                assert unexpected is Claim.NEW
        self.rows[len(self.rows) + 1] = row

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
            )
            for number, row in self.rows.items()
        ]

    def goes(self) -> list[bytes]:
        return [row.sha256 for row in self.rows.values() if row.state is PENDING]


names = st.binary(min_size=1, max_size=3).filter(lambda name: not set(name) & {0, 47})


@settings(deadline=None, max_examples=200)
@given(st.lists(names, min_size=2, max_size=4, unique=True), st.data())
def test_of_different_unsent_contents_the_smallest_path_goes_in_whatever_order_they_are_found(
    found: list[bytes], data: st.DataObject
) -> None:
    files = []
    for number, name in enumerate(found):
        new = data.draw(st.sampled_from([whole(), whole(size_bytes=101), whole(series="1.2.9")]))
        files.append((b"/in/" + name, new, bytes([number]) * 32))
    smallest = min(files)
    for order in itertools.permutations(files):
        site = Site()
        for file in order:
            site.find(*file)
        assert site.goes() == [smallest[2]]
        assert sum(row.state is CONFLICT for row in site.rows.values()) == len(files) - 1


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
        site.find(path, replace(whole(), key=StatKey(size, 1, 2, 3)), bytes([size]) * 32)
    assert site.compared == 0
    assert site.goes() == [b"\x03" * 32]

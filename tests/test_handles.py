"""Handles name rows in logs: reversible, without an index, and without looking like a count."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomsync.handles import KINDS, handle, number

rows = st.integers(0, 2**63 - 1) | st.integers(0, 2**24 + 300)


def word(kind: str, row: int) -> str:
    name, _, found = handle(kind, row).partition(" ")
    assert name == kind
    return found


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(KINDS), rows)
def test_a_handle_leads_back_to_its_row_and_to_no_other(kind: str, row: int) -> None:
    assert number(kind, word(kind, row)) == row


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(KINDS), st.text("0123456789abcdef", min_size=0, max_size=18))
def test_a_word_that_leads_to_a_row_is_that_rows_handle(kind: str, text: str) -> None:
    row = number(kind, text)
    assert row is None or word(kind, row) == text


@pytest.mark.parametrize("row", [2**24 - 1, 2**24, 2**32 - 1, 2**32, 2**63 - 1])
def test_a_handle_grows_only_when_its_digits_run_out(row: int) -> None:
    assert len(word("file", row)) == max(6, (row.bit_length() + 7) // 8 * 2)


def test_neighbours_do_not_look_like_neighbours_and_no_two_are_the_same() -> None:
    words = [word("instance", row) for row in range(1, 20_000)]
    assert len(set(words)) == len(words)
    assert not any(abs(int(a, 16) - int(b, 16)) == 1 for a, b in pairwise(words))
    assert not any(int(found, 16) == row for row, found in enumerate(words, 1))


@pytest.mark.parametrize("row", [1, 2, 77, 10**6, 2**33 + 1])
def test_the_same_row_number_has_another_word_in_each_kind(row: int) -> None:
    assert len({word(kind, row) for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "abc",
        "abcde",
        "abcdefg",
        "zzzzzz",
        "abcdef0",
        "a" * 18,
        "1.2.840",
        "not hex",
        "ünïc0",
        "0x12ab",
        "-00001",
        "+00001",
        "a_b_cd",
        " 12ab ",
        "\uff11\uff12\uff13\uff14\uff15\uff16",
    ],
)
def test_a_word_that_cannot_be_a_handle_names_nothing(text: str) -> None:
    assert number("study", text) is None


def test_a_handle_copied_in_capitals_names_the_same_row() -> None:
    assert number("study", word("study", 77).upper()) == 77

"""Numbers, sizes, spans, moments and paths as people read them."""

from __future__ import annotations

import time

import pytest

from dicomsync import words


@pytest.mark.parametrize(
    ("number", "noun", "plural", "said"),
    [
        (0, "instance", "", "0 instances"),
        (1, "instance", "", "1 instance"),
        (2, "instance", "", "2 instances"),
        (1, "study", "studies", "1 study"),
        (1204, "study", "studies", "1,204 studies"),
        (10_000_000, "file", "", "10,000,000 files"),
    ],
)
def test_a_count_agrees_with_its_noun(number: int, noun: str, plural: str, said: str) -> None:
    assert words.count(number, noun, plural) == said


@pytest.mark.parametrize(
    ("size_bytes", "said"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1500, "1.5 kB"),
        (99_900, "99.9 kB"),
        (100_000, "100 kB"),
        (1_500_000, "1.5 MB"),
        (33_554_432, "33.6 MB"),
        (7_300_000_000, "7.3 GB"),
        (1.5e12, "1.5 TB"),
        (2.5e15, "2,500 TB"),
    ],
)
def test_a_size_has_a_unit_that_keeps_it_short(size_bytes: float, said: str) -> None:
    assert words.size(size_bytes) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0.0 s"),
        (0, "0.0 s"),
        (0.84, "0.8 s"),
        (9.9, "9.9 s"),
        (10, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (200, "3 min 20 s"),
        (3599, "59 min 59 s"),
        (3599.6, "1 h"),
        (3600, "1 h"),
        (18_600, "5 h 10 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d"),
        (187_200, "2 d 4 h"),
        (400 * 86_400, "400 d"),
    ],
)
def test_a_span_has_at_most_two_units_and_never_sixty_of_one(seconds: float, said: str) -> None:
    assert words.span(seconds) == said


def test_a_moment_is_local_time_and_no_moment_is_a_dash() -> None:
    noon = time.mktime((2026, 3, 4, 12, 30, 5, 0, 0, -1))
    assert words.moment(noon) == "2026-03-04 12:30:05"
    assert words.moment(None) == "-"
    assert words.moment(0.0) != "-"


def test_a_table_lines_names_up_on_the_left_and_figures_on_the_right() -> None:
    rows = [("stored", "1,204", "all"), ("held", "7"), ("alone",)]
    assert words.table(rows) == "  stored  1,204  all\n  held        7\n  alone"
    assert words.table([("a", "1")], indent="") == "a  1"
    assert words.table([]) == ""


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"/data/scan 1.dcm", "/data/scan 1.dcm"),
        ("/data/M\u00fcller\u2013\u6771\u4eac".encode(), "/data/M\u00fcller\u2013\u6771\u4eac"),
        (b"/data/\xff\xfe.dcm", "/data/\\xff\\xfe.dcm"),
        (b"/data/two\nlines", "/data/two\\nlines"),
        (b"/data/\x1b[2Jcleared", "/data/\\x1b[2Jcleared"),
        (b"/data/\r\t\x00", "/data/\\r\\t\\x00"),
        ("/data/\u202egnp.dcm".encode(), "/data/\\u202egnp.dcm"),
    ],
)
def test_a_path_is_shown_without_a_byte_that_could_move_the_terminal(path: bytes, shown: str) -> None:
    assert words.visible(path) == shown
    assert words.visible(path).isprintable()

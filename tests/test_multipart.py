"""Bodies that can be sent twice, and answers that are never held whole."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dicomsync.dicomweb.bodies import CHUNK_BYTES, BytesPart, PartChanged, StoreBody
from dicomsync.dicomweb.multipart import boundary_of, read_parts
from dicomsync.errors import BadAnswer


@dataclass
class PiecesPart:
    pieces: list[bytes]
    size_bytes: int

    def chunks(self) -> Iterator[bytes]:
        return iter(self.pieces)


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def read(data: bytes, boundary: str, size: int = 7) -> list[tuple[dict[str, str], bytes]]:
    return [(dict(part.headers), b"".join(part.chunks)) for part in read_parts(cut(data, size), boundary)]


def test_the_body_is_exactly_what_every_archive_takes() -> None:
    body = StoreBody([BytesPart(b"one"), BytesPart(b"")], boundary="B")
    assert b"".join(body) == (
        b"--B\r\nContent-Type: application/dicom\r\nContent-Length: 3\r\n\r\none"
        b"\r\n--B\r\nContent-Type: application/dicom\r\nContent-Length: 0\r\n\r\n"
        b"\r\n--B--\r\n"
    )
    assert body.content_type == 'multipart/related; type="application/dicom"; boundary="B"'


def test_boundaries_are_fresh_long_and_plain() -> None:
    boundaries = {StoreBody([]).boundary for _ in range(20)}
    assert len(boundaries) == 20
    assert all(re.fullmatch(r"[A-Za-z0-9-]{32,70}", boundary) for boundary in boundaries)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.integers(1, 40))
@example([b"\r\n--" + b"0" * 48 + b"--\r\n"], 1)
def test_what_is_written_is_what_is_read(payloads: list[bytes], size: int) -> None:
    body = StoreBody([BytesPart(payload) for payload in payloads])
    data = b"".join(body)
    assert len(data) == body.content_length
    assert [payload for _, payload in read(data, boundary_of(body.content_type), size)] == payloads


hostile_text = st.lists(
    st.sampled_from(
        [b"\r\n", b"--", b"B", b"--B", b"\r\n--B", b"\r\n--BB", b"--B--", b"\r", b"\n", b" ", b"x"]
    )
).map(b"".join)


@given(st.lists(hostile_text, min_size=1, max_size=4), st.integers(1, 12))
def test_a_part_with_its_length_may_hold_anything(payloads: list[bytes], size: int) -> None:
    data = b"".join(StoreBody([BytesPart(payload) for payload in payloads], boundary="B"))
    assert [payload for _, payload in read(data, "B", size)] == payloads


@given(st.lists(hostile_text, min_size=1, max_size=4), st.integers(1, 12), st.booleans())
def test_a_part_without_its_length_ends_at_a_line_that_is_the_boundary(
    texts: list[bytes], size: int, preamble: bool
) -> None:
    payloads = [re.sub(rb"(\r\n--B)(?=--|[ \t]*\r\n)", b"", text) for text in texts]
    payloads = [p for p in payloads if not re.search(rb"\r\n--B(--|[ \t]*\r\n|[ \t]*$|-$|[ \t]*\r$)", p)]
    data = b"hello" * preamble + b"\r\n" * preamble
    data += (
        b"".join(b"--B\r\nContent-Type: application/dicom\r\n\r\n" + p + b"\r\n" for p in payloads) + b"--B--"
    )
    assert [payload for _, payload in read(data, "B", size)] == payloads


@given(st.binary(max_size=200) | hostile_text, st.integers(1, 30))
def test_any_bytes_are_parts_or_a_bad_answer(data: bytes, size: int) -> None:
    with contextlib.suppress(BadAnswer):
        read(data, "B", size)


def test_a_body_can_be_sent_twice_and_counts_each_pass() -> None:
    body = StoreBody([BytesPart(b"x" * 3_000_000), BytesPart(b"y")])
    first = b"".join(body)
    assert (body.sent_bytes, body.exhausted) == (len(first), True)
    half = iter(body)
    next(half)
    assert 0 < body.sent_bytes < len(first)
    assert not body.exhausted
    assert b"".join(body) == first


def test_small_parts_share_chunks_and_large_ones_are_not_copied() -> None:
    small = list(StoreBody([BytesPart(b"s" * 1000) for _ in range(3000)]))
    assert len(small) == 4
    assert all(len(chunk) <= CHUNK_BYTES and type(chunk) is bytes for chunk in small)
    large = b"l" * CHUNK_BYTES
    assert any(chunk is large for chunk in StoreBody([BytesPart(large)]))
    assert max(map(len, StoreBody([BytesPart(large * 3 + b"more")]))) == CHUNK_BYTES


@pytest.mark.parametrize(("pieces", "given_bytes"), [([b"abc"], 3), ([b"abcd", b"ef"], 6), ([], 0)])
def test_a_part_that_gives_another_size_than_promised_breaks_the_body_off(
    pieces: list[bytes], given_bytes: int
) -> None:
    body = StoreBody([BytesPart(b"fine"), PiecesPart(pieces, 4)])
    with pytest.raises(PartChanged) as caught:
        list(body)
    assert (caught.value.index, caught.value.promised_bytes, caught.value.given_bytes) == (1, 4, given_bytes)
    assert not body.exhausted


def test_going_on_skips_what_was_left_of_a_part() -> None:
    data = b"".join(StoreBody([BytesPart(b"a" * 100), BytesPart(b"b")], boundary="B"))
    parts = read_parts(cut(data, 10), "B")
    assert next(next(parts).chunks).startswith(b"a")
    assert b"".join(next(parts).chunks) == b"b"


def test_an_endless_part_is_never_held_whole() -> None:
    def endless() -> Iterator[bytes]:
        yield b"--B\r\n\r\n"
        for _ in range(2000):
            yield b"z" * 65536

    sizes: list[int] = []
    with pytest.raises(BadAnswer):
        sizes.extend(len(chunk) for part in read_parts(endless(), "B") for chunk in part.chunks)
    assert max(sizes) <= 2 * 65536
    assert sum(sizes) > 2000 * 65536 - 100


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no boundary at all",
        b"--B\r\n\r\npayload without an end",
        b"--B\r\nContent-Length: 10\r\n\r\nshort",
        b"--B\r\nContent-Length: 2\r\n\r\nlonger\r\n--B--\r\n",
        b"--B\r\nContent-Length: -1\r\n\r\n\r\n--B--\r\n",
        b"--B\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx\r\n--B--\r\n",
        b"--B\r\nno colon\r\n\r\nx\r\n--B--\r\n",
        b"--B\r\nX: " + b"h" * 100_000 + b"\r\n\r\nx\r\n--B--\r\n",
        b"--B\r\n" + b"X: y\r\n" * 50_000,
        b"p" * 3_000_000,
        b"--B\n\npayload\n--B--\n",
        b"--other\r\n\r\npayload\r\n--other--\r\n",
        b"--B \r\n\r\npayload\r\n--B-",
    ],
)
def test_a_broken_answer_is_a_bad_answer(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        read(data, "B", 1000)


@pytest.mark.parametrize("more", range(-4, 6))
def test_the_longest_headers_are_taken_or_refused_however_they_come_in(more: int) -> None:
    data = b"--B\r\nX: " + b"h" * (16 * 1024 - 3 + more) + b"\r\n\r\nx\r\n--B--\r\n"
    came = []
    for size in (1, 2, 3, 1 << 20):
        try:
            came.append([payload for _, payload in read(data, "B", size)])
        except BadAnswer:
            came.append([])
    assert came == [[b"x"] if more <= 0 else []] * 4


@pytest.mark.parametrize(
    "rest", [b"", b"\r\n", b"\r\n--", b"more\r\n--B--\r\n", b"\r\n--BB--\r\n", b"\n--B--\n"]
)
def test_a_part_is_not_at_its_end_before_a_boundary_follows(rest: bytes) -> None:
    data = b"--B\r\nContent-Length: 7\r\n\r\npayload" + rest
    part = next(read_parts(cut(data, 5), "B"))
    kept: list[bytes] = []
    with pytest.raises(BadAnswer):
        kept.extend(part.chunks)
    assert b"".join(kept) == b"payload"


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=3), st.booleans(), st.integers(0, 400))
def test_a_cut_answer_never_gives_a_cut_part_as_a_whole_one(
    payloads: list[bytes], lengths: bool, cut_after: int
) -> None:
    lines = [b"Content-Length: %d\r\n" % len(payload) if lengths else b"" for payload in payloads]
    heads = [b"\r\n--a-boundary\r\n" + line + b"\r\n" for line in lines]
    body = b"".join(head + payload for head, payload in zip(heads, payloads, strict=True))
    kept: list[bytes] = []
    with contextlib.suppress(BadAnswer):
        kept.extend(
            b"".join(part.chunks) for part in read_parts([(body + b"\r\n")[:cut_after]], "a-boundary")
        )
    assert kept == payloads[: len(kept)]
    assert len(kept) < len(payloads), "the last has no boundary behind it"


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary="a b"', "a b"),
        ("multipart/related; boundary=7d-4e; type=application/dicom", "7d-4e"),
        ("Multipart/Related;BOUNDARY=x", "x"),
        ('multipart/related; type="a;boundary=no"; boundary=yes', "yes"),
        (f"multipart/related; boundary={'o' * 71}", "o" * 71),  # Orthanc's: one more than RFC 2046 allows
    ],
)
def test_boundaries_are_found(content_type: str, boundary: str) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "multipart/related",
        'x; boundary=""',
        "x; boundary=a; boundary=b",
        'x; boundary="a\r\nb"',
        'x; boundary="ä"',
    ],
)
def test_an_unusable_boundary_is_a_bad_answer(content_type: str) -> None:
    with pytest.raises(BadAnswer):
        boundary_of(content_type)

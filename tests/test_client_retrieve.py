"""Files, frames and metadata over a wire that breaks them; half a file is never a whole one."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomsync.dicomweb import BytesPart, Client, Dataset, ReceivedPart, StoreBody, close_clients
from dicomsync.dicomweb.dicomjson import stream_rows
from dicomsync.errors import BadAnswer, NoAnswer, NotThere, Refused, UsageProblem

from .clients import MULTIPART_FILES, SERIES, SOP, STUDY, asked, client, files, results, row
from .scripted_server import Peer, Request, Script, ScriptedServer, answer, answering

FILE, OTHER = bytes(range(256)) * 3000, b"another" * 10_000
RELATED = 'multipart/related; type="application/dicom"; boundary=B'


@pytest.fixture(autouse=True)
def _no_client_is_left_open() -> Iterator[None]:
    yield
    close_clients()


def whole(ours: Client, *uids: str, kept: list[bytes] | None = None) -> list[bytes]:
    """Take each part to its end; what is whole is in `kept` even if a later one breaks."""
    kept = [] if kept is None else kept
    with ours.retrieve(*uids) as parts:
        for part in parts:
            kept.append(b"".join(part.chunks))
    return kept


def first(parts: AbstractContextManager[Iterator[ReceivedPart]]) -> ReceivedPart:
    with parts as found:
        return next(found)


# --- files


@pytest.mark.parametrize(
    ("uids", "path"),
    [((STUDY,), f"/studies/{STUDY}"), ((STUDY, SERIES), f"/studies/{STUDY}/series/{SERIES}")],
)
def test_a_study_or_series_comes_file_by_file_as_it_was_stored(uids: tuple[str, ...], path: str) -> None:
    with ScriptedServer(answering(lambda _: files(FILE, OTHER, b"x"))) as server:
        assert whole(client(server), *uids) == [FILE, OTHER, b"x"]
    (request,) = server.seen
    assert (request.target, request.headers["accept"]) == (f"/v2{path}", MULTIPART_FILES)


def test_one_instance_is_a_part_too_in_whatever_form_it_comes() -> None:
    bare = answer(200, FILE, Content_Type="application/dicom; transfer-syntax=1.2.840.10008.1.2.1")
    with (
        ScriptedServer(answering(lambda _: bare)) as one,
        ScriptedServer(answering(lambda _: files(FILE))) as other,
    ):
        for server in (one, other):
            assert whole(client(server), STUDY, SERIES, SOP) == [FILE]
            assert server.seen[0].target == f"/v2/studies/{STUDY}/series/{SERIES}/instances/{SOP}"


def test_a_part_tells_its_transfer_syntax_where_the_archive_does() -> None:
    body = b"--B\r\nContent-Type: application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90\r\n\r\nx\r\n--B--"
    with ScriptedServer(answering(lambda _: answer(200, body, Content_Type=RELATED))) as server:
        part = first(client(server).retrieve(STUDY))
    assert part.headers["content-type"].endswith("transfer-syntax=1.2.840.10008.1.2.4.90")


def test_files_may_be_passed_over_and_left() -> None:
    with ScriptedServer(answering(lambda _: files(FILE, OTHER, FILE))) as server:
        ours = client(server)
        with ours.retrieve(STUDY) as parts:
            next(next(parts).chunks)
            assert b"".join(next(parts).chunks) == OTHER
        assert len(whole(ours, STUDY)) == 3


@pytest.mark.parametrize(
    ("body", "before"),
    [
        (b"", 0),
        (b"no parts at all", 0),
        (b"--B--\r\n", 0),
        (b"preamble\r\n--B--\r\nepilogue", 0),
        (b"--wrong\r\n\r\nx\r\n--wrong--\r\n", 0),
        (b"--B\n\nContent-Type: application/dicom\n\nx\n--B--\n", 0),
        (b"--B\r\nX: " + b"y" * 20_000 + b"\r\n\r\nx\r\n--B--\r\n", 0),
        (b"--B\r\nContent-Type: text/html\r\n\r\n<html>\r\n--B--\r\n", 0),
        (b"--B\r\nContent-Type: application/dicom\r\n\r\n\r\n--B--\r\n", 0),
        (b"--B\r\n\r\none\r\n--B\r\n\r\ntwo, without its end", 1),
        (b"--B\r\n\r\none\r\n--B\r\n\r\ntwo\r\n--B", 1),
        (b"--B\r\n\r\none\r\n--B\r\nContent-Length: 30\r\n\r\nless\r\n--B--\r\n", 1),
        (b"--B\r\n\r\none\r\n--B\r\nContent-Length: 2\r\n\r\nmore\r\n--B--\r\n", 1),
        (b"--B\r\n\r\none\r\n--B\r\nContent-Length: 4\r\n\r\nhalf", 1),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else "",
)
def test_broken_multipart_is_told_and_only_whole_files_came_before(body: bytes, before: int) -> None:
    kept: list[bytes] = []
    said = answer(200, body, Content_Type=RELATED)
    with ScriptedServer(answering(lambda _: said)) as server, pytest.raises(BadAnswer):
        whole(client(server), STUDY, kept=kept)
    assert kept == [b"one"] * before


def test_text_before_and_after_the_parts_is_no_part() -> None:
    body = b"preamble\r\n--B\r\n\r\nx\r\n--B--\r\nepilogue\r\n--B\r\n\r\ny"
    with ScriptedServer(answering(lambda _: answer(200, body, Content_Type=RELATED))) as server:
        assert whole(client(server), STUDY) == [b"x"]


def cut_at(size: int, said: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(said[:size])

    return script


def unframed(content_type: str, body: bytes) -> bytes:
    """An answer that ends where its connection does."""
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nConnection: close\r\n\r\n".encode() + body


TWO = StoreBody([BytesPart(FILE), BytesPart(FILE)], boundary="B")


@pytest.mark.parametrize("missing", [3, 40, 100_000])
@pytest.mark.parametrize(
    "said", [files(FILE, FILE), unframed(RELATED, b"".join(TWO))], ids=["with its length", "without"]
)
def test_an_answer_that_breaks_off_never_gives_a_whole_last_file(said: bytes, missing: int) -> None:
    kept: list[bytes] = []
    with ScriptedServer(cut_at(len(said) - missing, said)) as server, pytest.raises((BadAnswer, NoAnswer)):
        whole(client(server), STUDY, kept=kept)
    assert kept == [FILE]


def test_a_bare_file_that_does_not_tell_its_length_is_asked_for_in_another_form() -> None:
    script = cut_at(10**9, unframed("application/dicom", FILE[:1000]))
    with ScriptedServer(script, answering(lambda _: files(FILE))) as server:
        assert whole(client(server), STUDY, SERIES, SOP) == [FILE]
    with ScriptedServer(script) as server, pytest.raises(BadAnswer, match="where it ends"):
        whole(client(server), STUDY, SERIES, SOP)


def test_instances_the_archive_could_not_give_are_told_after_those_it_could() -> None:
    kept: list[bytes] = []
    with (
        ScriptedServer(answering(lambda _: files(FILE, status=206))) as server,
        pytest.raises(BadAnswer) as e,
    ):
        whole(client(server), STUDY, kept=kept)
    assert (kept, e.value.status) == ([FILE], 206)


@pytest.mark.parametrize("status", [302, 400, 401, 404, 406, 410, 500])
def test_a_refusal_is_told_with_what_to_do(status: int) -> None:
    with ScriptedServer(answering(lambda _: answer(status, b"DOE^JOHN"))) as server:
        for uids in ((STUDY,), (STUDY, SERIES, SOP)):
            with pytest.raises(Refused) as caught:
                whole(client(server), *uids)
            assert caught.value.status == status
            assert caught.value.hint
            assert isinstance(caught.value, NotThere) == (status in (404, 410))
            assert "DOE" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("uids", [("../1",), ("1.2", "x"), ("1.2", "1.3", ""), ("",), ("1.2\n",)])
def test_only_uids_go_into_a_path(uids: tuple[str, ...]) -> None:
    with ScriptedServer(answering(lambda _: files(FILE))) as server:
        ours = client(server)
        with pytest.raises(UsageProblem):
            whole(ours, *uids)
        with pytest.raises(UsageProblem), ours.metadata(*uids):
            pass
        with pytest.raises(UsageProblem):
            ours.delete(*uids)
        with pytest.raises(UsageProblem), ours.retrieve("1.2", None, "1.3"):
            pass
    assert server.connections == 0


# --- constant memory

MEBIBYTE = 1 << 20


def long_file(peer: Peer) -> None:
    """One file of 300 MiB, and a small one, never held by the server either."""
    peer.request()
    peer.send(f"HTTP/1.1 200 OK\r\nContent-Type: {RELATED}\r\nConnection: close\r\n\r\n".encode())
    peer.send(b"--B\r\nContent-Type: application/dicom\r\n\r\n")
    for _ in range(300):
        peer.send(bytes(MEBIBYTE))
    peer.send(b"\r\n--B\r\n\r\nend\r\n--B--\r\n")


def test_a_file_of_any_size_is_retrieved_in_constant_memory() -> None:
    with ScriptedServer(long_file) as server:
        ours = client(server, idle_timeout=60)
        tracemalloc.start()
        try:
            with ours.retrieve(STUDY) as parts:
                sizes = [sum(map(len, part.chunks)) for part in parts]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert sizes == [300 * MEBIBYTE, 3]
    assert peak < 8 * MEBIBYTE, peak


class Generated:
    """A part of 300 MiB that is never held."""

    size_bytes = 300 * MEBIBYTE

    def chunks(self) -> Iterator[bytes]:
        return (bytes(MEBIBYTE) for _ in range(300))


def test_a_file_of_any_size_is_stored_in_constant_memory() -> None:
    def swallow(peer: Peer) -> None:
        while (request := peer.head()) is not None:
            left = int(request.headers["content-length"])
            while left:
                left -= len(peer.body(min(left, MEBIBYTE)))
            peer.answer(200, b"{}")

    with ScriptedServer(swallow) as server:
        ours = client(server, "dicom-server", idle_timeout=60)
        tracemalloc.start()
        try:
            stored = [ours.store([Generated()]), ours.store_single_part(Generated())]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert all(one.complete for one in stored)
    assert peak < 16 * MEBIBYTE, peak


# --- frames


def frame_answer(*payloads: bytes, content_type: str = "application/octet-stream") -> bytes:
    body = b"".join(
        b"--B\r\nContent-Type: %s\r\n\r\n%s\r\n" % (content_type.encode(), payload) for payload in payloads
    )
    return answer(200, body + b"--B--\r\n", Content_Type="multipart/related; boundary=B")


def taken(ours: Client, *numbers: int, as_stored: bool = True) -> list[bytes]:
    with ours.frames(STUDY, SERIES, SOP, numbers, as_stored=as_stored) as parts:
        return [b"".join(part.chunks) for part in parts]


def test_frames_come_in_the_order_they_were_asked_for() -> None:
    with ScriptedServer(answering(lambda _: frame_answer(b"three", b"one"))) as server:
        assert taken(client(server), 3, 1) == [b"three", b"one"]
        assert taken(client(server), 3, 1, as_stored=False) == [b"three", b"one"]
    assert server.seen[0].target.endswith(f"/instances/{SOP}/frames/3,1")
    octets = 'multipart/related; type="application/octet-stream"'
    assert [one.headers["accept"] for one in server.seen] == [f"{octets}; transfer-syntax=*", octets]


def test_one_frame_is_asked_for_bare_where_that_is_offered() -> None:
    bare = answer(200, b"pixels", Content_Type="application/octet-stream")
    with ScriptedServer(answering(lambda _: bare)) as server:
        assert taken(client(server, "dicom-server"), 1) == [b"pixels"]
        assert taken(client(server, "healthimaging"), 1) == [b"pixels"]
        with pytest.raises(UsageProblem, match="one frame at a time"):
            taken(client(server, "healthimaging"), 1, 2)
    accepted = {one.headers["accept"] for one in server.seen}
    assert accepted == {"application/octet-stream; transfer-syntax=*"}


def test_a_compressed_frame_tells_what_it_is() -> None:
    with ScriptedServer(answering(lambda _: frame_answer(b"jpeg", content_type="image/jpeg"))) as server:
        assert first(client(server).frames(STUDY, SERIES, SOP, [1])).headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("said", [frame_answer(b"1"), frame_answer(b"1", b"2", b"3"), frame_answer()])
def test_another_number_of_frames_is_a_bad_answer(said: bytes) -> None:
    with (
        ScriptedServer(answering(lambda _: said)) as server,
        pytest.raises(BadAnswer, match="number of frames"),
    ):
        taken(client(server), 1, 2)


@pytest.mark.parametrize("numbers", [(), (0,), (1, -1), tuple(range(1, 5000))])
def test_what_numbers_no_frames_is_not_asked(numbers: tuple[int, ...]) -> None:
    with ScriptedServer(answering(lambda _: frame_answer())) as server, pytest.raises(UsageProblem):
        taken(client(server), *numbers)
    assert server.connections == 0


@pytest.mark.parametrize(
    ("status", "words"), [(404, "no such frame"), (406, "this form"), (400, "fewer frames")]
)
def test_a_frame_that_cannot_be_had_is_told_in_its_own_words(status: int, words: str) -> None:
    with ScriptedServer(answering(lambda _: answer(status))) as server, pytest.raises(Refused) as caught:
        taken(client(server), 7)
    assert words in caught.value.hint
    assert isinstance(caught.value, NotThere) == (status == 404)


# --- metadata


def datasets(ours: Client, *uids: str, **settings: str) -> list[Dataset]:
    with ours.metadata(*uids, **settings) as found:
        return list(found.datasets)


def test_metadata_is_read_at_each_level() -> None:
    rows = [row(f"1.{n}") for n in range(3)]
    with ScriptedServer(answering(lambda _: results(rows, ETag='"7-3"'))) as server:
        for uids in ((STUDY,), (STUDY, SERIES), (STUDY, SERIES, SOP)):
            assert datasets(client(server), *uids) == rows
        with client(server).metadata(STUDY) as found:
            assert (found.etag, found.unchanged) == ('"7-3"', False)
    assert {one.headers["accept"] for one in server.seen} == {"application/dicom+json"}
    assert asked(server)[1] == f"GET /v2/studies/{STUDY}/series/{SERIES}/metadata"


def test_metadata_that_is_known_already_is_not_sent_again() -> None:
    def respond(request: Request) -> bytes:
        return (
            answer(304, ETag='"8"') if request.headers.get("if-none-match") == '"8"' else results([row(SOP)])
        )

    with ScriptedServer(answering(respond)) as server:
        with client(server).metadata(STUDY, etag='"8"') as found:
            assert (found.etag, found.unchanged, list(found.datasets)) == ('"8"', True, [])
        assert len(datasets(client(server), STUDY, etag='"9"')) == 1
        with pytest.raises(UsageProblem):
            datasets(client(server), STUDY, etag='"\r\nX: y"')


def test_a_304_that_nobody_asked_for_is_a_refusal() -> None:
    with ScriptedServer(answering(lambda _: answer(304))) as server, pytest.raises(Refused):
        datasets(client(server), STUDY)


def many_datasets(peer: Peer) -> None:
    """Metadata of 4,001 instances: 20 MB of JSON."""
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\nConnection: close\r\n\r\n[")
    one = json.dumps(row(SOP, **{f"T{n:08X}": "a value of ordinary length" for n in range(70)})).encode()
    for _ in range(40):
        peer.send(b",".join([one] * 100) + b",")
    peer.send(one + b"]")


def test_metadata_of_any_number_of_instances_is_read_in_constant_memory() -> None:
    with ScriptedServer(many_datasets) as server:
        tracemalloc.start()
        try:
            with client(server, idle_timeout=60).metadata(STUDY) as found:
                count = sum(1 for _ in found.datasets)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert count == 4001
    assert peak < 4 * MEBIBYTE, peak


@pytest.mark.parametrize(
    ("body", "before"),
    [
        (b"", 0), (b"<html>", 0), (b"{}", 0), (b"null", 0), (b"[1]", 0), (b"[[]]", 0), (b"[,{}]", 0),
        (b"[", 0),
        (b"[{}", 1), (b"[{},", 1), (b"[{} {}]", 1), (b"[{},]", 1), (b"[{}, 5]", 1), (b'[{"a": "b]', 0),
        (b'[{"a": ' + b"[" * 200_000, 0), (b"[" * 200_000, 0), (b'[{"a": ' + b"9" * 5000 + b"}]", 0),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else "",
)  # fmt: skip
def test_what_is_no_array_of_datasets_is_a_bad_answer(body: bytes, before: int) -> None:
    kept: list[Dataset] = []
    with pytest.raises(BadAnswer):
        kept.extend(stream_rows([body], 1 << 20))
    assert len(kept) <= before


def test_one_dataset_may_not_be_of_any_size() -> None:
    endless = (b"x" * 65536 for _ in range(1000))
    with pytest.raises(BadAnswer, match="larger"):
        list(stream_rows(iter([b'[{"a": "', *endless]), 1 << 20))


def test_blanks_without_end_are_not_read_for_ever() -> None:
    for before in (b"", b"[", b"[{}", b"[{},"):
        with pytest.raises(BadAnswer):
            list(stream_rows(itertools.chain([before], itertools.repeat(b" " * 1000)), 1 << 20))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=10,
)
json_rows = st.lists(st.dictionaries(st.text(max_size=7), json_values, max_size=4), max_size=6)


@given(json_rows, st.integers(1, 50), st.booleans(), st.sampled_from([None, 1]))
def test_datasets_are_the_same_in_whatever_pieces_they_come(
    rows: list[Dataset], size: int, ascii_only: bool, indent: int | None
) -> None:
    body = json.dumps(rows, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    body = body.decode("utf-8", "replace").encode()
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert list(stream_rows(pieces, 1 << 20)) == json.loads(body)


@given(json_rows, st.integers(0, 400))
def test_datasets_that_break_off_are_never_all_of_them(rows: list[Dataset], cut: int) -> None:
    body = json.dumps(rows).encode()
    kept: list[Dataset] = []
    if cut < len(body):
        with pytest.raises(BadAnswer):
            kept.extend(stream_rows([body[:cut]], 1 << 20))
    assert kept == rows[: len(kept)]


@given(st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes_are_datasets_or_a_bad_answer(body: bytes, size: int) -> None:
    with suppress(BadAnswer):
        assert all(isinstance(one, dict) for one in stream_rows([body[:size], body[size:]], 1000))


# --- whatever comes


def test_nothing_compressed_is_unpacked() -> None:
    bomb = answer(200, b"\x1f\x8b", Content_Type="application/dicom", Content_Encoding="gzip")
    with ScriptedServer(answering(lambda _: bomb)) as server:
        ours = client(server)
        attempts: list[Callable[[], object]] = [
            lambda: whole(ours, STUDY),
            lambda: whole(ours, STUDY, SERIES, SOP),
            lambda: taken(ours, 1),
            lambda: datasets(ours, STUDY),
            lambda: list(ours.search("studies")),
        ]
        for attempt in attempts:
            with pytest.raises(BadAnswer):
                attempt()
    assert {one.headers["accept-encoding"] for one in server.seen} == {"identity"}


@given(
    st.binary(max_size=300),
    st.sampled_from(["application/dicom", RELATED, "multipart/related", "text/html", ""]),
)
def test_any_answer_is_files_or_a_bad_answer(body: bytes, content_type: str) -> None:
    with ScriptedServer(answering(lambda _: answer(200, body, Content_Type=content_type))) as server:
        ours = client(server)
        for uids in ((STUDY,), (STUDY, SERIES, SOP)):
            with suppress(BadAnswer):
                assert all(whole(ours, *uids))

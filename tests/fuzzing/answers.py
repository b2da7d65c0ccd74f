"""What an archive, or whoever stands before it, may send: multipart, Store responses, searches, metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

from hypothesis import strategies as st

from dicomsync import rules
from dicomsync.dicomweb import dicomjson, multipart
from dicomsync.dicomweb import response as store_response
from dicomsync.dicomweb.dicomjson import rows, stream_rows, uid, value
from dicomsync.dicomweb.response import StoreResponse, parse
from dicomsync.errors import BadAnswer
from dicomsync.model import Due, InstanceState

from . import promised

# multipart

_PIECES = [b"\r\n", b"--", b"B", b"--B", b"\r\n--B", b"\r\n--B\r\n", b"\r\n--B--", b"\r", b"\n", b" ", b"\t"]
_PIECES += [b"Content-Type: application/dicom\r\n", b"Content-Length: 3\r\n", b"Content-Length: 4\r\n\r\n"]
_PIECES += [b"Content-Length: 99999999999999999\r\n", b"Content-Length: -1\r\n", b"\r\n\r\n", b"x" * 300]
_PIECES += [b"X: " + b"y" * 16_300 + b"\r\n", b"Content-Length: \xb2\r\n", b"\0", b"\xff\xfe", b"DICM"]
multiparts = st.lists(st.sampled_from(_PIECES) | st.binary(max_size=8), max_size=24).map(b"".join)


@st.composite
def honest_multiparts(draw: st.DrawFn) -> bytes:
    """Parts with and without their length, between boundaries as they should be."""
    body = draw(st.binary(max_size=4))
    for payload in draw(st.lists(st.binary(max_size=60), max_size=3)):
        length = b"Content-Length: %d\r\n" % len(payload) if draw(st.booleans()) else b""
        body += b"\r\n--B\r\n" + length + b"\r\n" + payload
    return body + b"\r\n--B--\r\n"


@st.composite
def cuttings(draw: st.DrawFn) -> list[int]:
    """Where a body is cut into chunks: every so many bytes, in turn."""
    return draw(st.lists(st.integers(1, 40) | st.just(1 << 20), min_size=1, max_size=4))


def chunked(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        yield data[at : at + size]
        at, turn = at + size, turn + 1


def outcome(data: bytes, sizes: list[int]) -> tuple[list[tuple[dict[str, str], bytes, bool]], bool]:
    """What is read: each part with its payload and whether that came to an end; and whether all did."""
    parts: list[tuple[dict[str, str], bytes, bool]] = []
    try:
        for part in multipart.read_parts(chunked(data, sizes), "B"):
            parts.append((dict(part.headers), b"", False))
            for chunk in part.chunks:
                parts[-1] = (parts[-1][0], parts[-1][1] + chunk, False)
            parts[-1] = (*parts[-1][:2], True)
    except BadAnswer:
        return parts, False
    return parts, True


@promised(st.tuples(multiparts | honest_multiparts(), cuttings()))
def a_multipart_answer_is_the_same_however_it_comes_in(drawn: tuple[bytes, list[int]]) -> None:
    data, sizes = drawn
    at_once, whole = outcome(data, [max(1, len(data))])
    in_pieces, also = outcome(data, sizes)
    assert whole is also
    assert [(head, end) for head, _, end in at_once] == [(head, end) for head, _, end in in_pieces]
    for (_, one, ended), (_, other, _) in zip(at_once, in_pieces, strict=True):
        # What broke off may have been given further in one cutting than in another.
        assert one == other if ended else one.startswith(other) or other.startswith(one)


@promised(st.tuples(multiparts | honest_multiparts(), st.integers(0, 2_000)))
def half_a_multipart_answer_never_ends_without_an_error(drawn: tuple[bytes, int]) -> None:
    data, cut = drawn
    parts, whole = outcome(data, [64])
    closing = data.find(b"--B--")
    fewer, also = outcome(data[: min(cut, max(0, closing))], [64])
    assert not also
    for (_, before, ended), (_, payload, end) in zip(parts, fewer, strict=False):
        if end:
            assert (before, True) == (payload, ended or not whole)


@promised(st.tuples(multiparts | honest_multiparts(), st.integers(1, 3), st.integers(1, 70_000)))
def no_more_of_a_multipart_answer_is_held_than_a_chunk_and_a_header(drawn: tuple[bytes, int, int]) -> None:
    data, times, size = drawn
    stream = multipart._Parts(chunked(data * times, [size]), "B")
    most = size + 16 * 1024 + 512
    try:
        while stream.open_part():
            stream.headers()
            for _ in iter(stream.payload, b""):
                assert len(stream._buffer) <= most
    except BadAnswer:
        pass
    assert len(stream._buffer) <= most


# stores

UIDS = ("1.2.3", "1.2.4")
_TAGS = ["00081199", "00081198", "0008119A", "0008119a", "00081155", "00081150", "00081197", "00081196"]
_TAGS += ["00741048", "00000902", "00081190", "04000561", "04000550", "00090097", "Value", "vr", "\ud800"]
_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(
        [*UIDS, "1.2.3 ", "1.2.3\0", "\u0661.\u0662", "1.2.3\r\n", "\x1b[31m", "\u2028", 45070, 272.0, 1e999]
    )
    | st.text(max_size=8)
)
trees = st.recursive(
    _leaves,
    lambda t: st.lists(t, max_size=3) | st.dictionaries(st.sampled_from(_TAGS), t, max_size=4),
    max_leaves=30,
)


@dataclass(frozen=True)
class Told:
    """A Store response as it was made: what it says of each UID, and how that is written down."""

    body: bytes
    content_type: str
    referenced: frozenset[str]


@st.composite
def modules(draw: st.DrawFn) -> Told:
    """A Store Instances Response Module in one of the ways to write it."""
    named = draw(st.lists(st.sampled_from(UIDS), max_size=2, unique=True))
    failed = draw(st.lists(st.sampled_from(UIDS), max_size=2, unique=True))
    sequences: dict[str, list[tuple[str, int | None]]] = {
        "00081199": [(one, None) for one in named],
        "00081198": [(one, 272) for one in failed],
    }
    if draw(st.booleans()):
        body = json.dumps(
            {
                tag: {"vr": "SQ", "Value": [_json_item(*item) for item in items]}
                for tag, items in sequences.items()
                if items
            }
        )
        kind = "application/dicom+json"
    else:
        attributes = "".join(_xml_sequence(tag, items) for tag, items in sequences.items() if items)
        body, kind = f"<NativeDicomModel>{attributes}</NativeDicomModel>", "application/dicom+xml"
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-be"]))
    return Told(body.encode(encoding), kind, frozenset(named))


def _json_item(one: str, reason: int | None) -> dict[str, Any]:
    item: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [one]}}
    return item if reason is None else item | {"00081197": {"vr": "US", "Value": [reason]}}


def _xml_sequence(tag: str, items: list[tuple[str, int | None]]) -> str:
    return (
        f'<DicomAttribute tag="{tag}" vr="SQ">{"".join(_xml_item(*item) for item in items)}</DicomAttribute>'
    )


def _xml_item(one: str, reason: int | None) -> str:
    said = f'<DicomAttribute tag="00081155" vr="UI"><Value number="1">{one}</Value></DicomAttribute>'
    if reason is not None:
        said += f'<DicomAttribute tag="00081197" vr="US"><Value number="1">{reason}</Value></DicomAttribute>'
    return f'<Item number="1">{said}</Item>'


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, str]:
    """The body of an answer to a store, and its Content-Type: made well, made badly, damaged, noise."""
    told = draw(modules())
    body = told.body
    match draw(st.integers(0, 3)):
        case 0:
            body = draw(st.binary(max_size=300))
        case 1:
            body = json.dumps(draw(trees)).encode("utf-8", "surrogatepass")
        case 2:
            for _ in range(draw(st.integers(1, 3))):
                at = draw(st.integers(0, len(body)))
                body = body[:at] + draw(st.binary(max_size=4)) + body[at + draw(st.integers(0, 4)) :]
    charset = draw(
        st.sampled_from(["", "utf-8", "utf-16", "cp1252", "punycode", "idna", "zlib_codec", "utf-7"])
    )
    return body, draw(st.sampled_from([told.content_type, "text/html", ""])) + f"; charset={charset}"


def due(number: int, sop: str) -> Due:
    return Due(number, "1.2", "1.2.9", sop, 100, b"", None, "", 0, 0, 0, None)


BATCH = [due(number, sop) for number, sop in enumerate(UIDS, 1)]


@promised(
    st.tuples(answers(), st.sampled_from([100, 200, 202, 204, 301, 400, 401, 409, 500, 503]), st.booleans())
)
def no_answer_stores_what_it_does_not_name(drawn: tuple[tuple[bytes, str], int, bool]) -> None:
    (body, content_type), status, complete = drawn
    response = parse(body, content_type)
    verdict = rules.after_answer(BATCH, rules.Answer(status, response, complete, 1), 30.0)
    assert [one.instance_id for one in verdict.transitions] == [1, 2]
    named = {one.sop_instance_uid for one in response.referenced} if response else set()
    failed = {one.sop_instance_uid for one in response.failed} if response else set()
    for one, transition in zip(BATCH, verdict.transitions, strict=True):
        assert transition.detail.isprintable()
        if transition.state is InstanceState.STORED:
            assert complete
            assert one.sop_instance_uid in named - failed
            assert one.sop_instance_uid.encode() in body.replace(b"\0", b"") or b"\\u" in body


@promised(modules())
def a_well_made_answer_is_read_in_every_way_to_write_it(told: Told) -> None:
    response = parse(told.body, told.content_type)
    if response is None:
        assert not told.referenced
    else:
        assert {one.sop_instance_uid for one in response.referenced} == told.referenced


@promised(st.tuples(modules(), st.integers(0, 4_000)))
def half_a_store_response_is_none(drawn: tuple[Told, int]) -> None:
    told, cut = drawn
    half = told.body[: cut % max(1, len(told.body.rstrip(b"\0\n")))]
    assert parse(half, told.content_type) is None


@promised(answers())
def what_an_archive_says_can_be_kept_and_shown(drawn: tuple[bytes, str]) -> None:
    response = parse(*drawn) or StoreResponse()
    texts = [text for one in response.referenced for text in (*one.warnings, one.retrieve_url)]
    texts += [one.text for one in response.failed]
    for text in texts:
        assert text.isprintable()
        assert len(text.encode()) <= 4 * 2048


def _written(pairs: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in pairs) + "}"


_written_trees = st.recursive(
    _leaves.map(json.dumps),
    lambda t: (
        st.lists(t, max_size=2).map(lambda found: f"[{','.join(found)}]")
        | st.lists(st.tuples(st.sampled_from(_TAGS), t), max_size=4).map(_written)
    ),
    max_leaves=12,
)
_values = st.lists(st.sampled_from(['"1.2.3"', '"1.2.4 "', '"a\\u0007b"', "45070", "null"]), max_size=2)
_plain = _values.map(lambda found: f'{{"vr":"UI","Value":[{",".join(found)}]}}')
_attributes = _plain | _plain | _written_trees
_named = st.just([("00081155", '{"vr":"UI","Value":["1.2.3"]}')])
_more = st.lists(st.tuples(st.sampled_from(_TAGS[4:12]), _attributes), max_size=3)
_items = st.tuples(_named | st.just([]), _more).map(lambda found: _written([*found[0], *found[1]]))
_sequences = st.lists(_items, min_size=1, max_size=3).map(
    lambda found: f'{{"vr":"SQ","Value":[{",".join(found)}]}}'
)
_stored = st.tuples(st.just("00081199"), _sequences).map(lambda found: [found])
_others = st.lists(st.tuples(st.sampled_from(_TAGS[:4] + _TAGS[10:13]), _sequences), max_size=2)
written = st.tuples(_stored, _others).map(lambda found: _written([*found[0], *found[1]]))
"""JSON as somebody writes it who gives a name twice, or a tag in small letters."""


def _name_by_name(pairs: list[tuple[str, object]]) -> dict[str, object]:
    kept: dict[str, object] = {}
    for name, said in pairs:
        kept[name] = said if kept.get(name, said) == said else dicomjson._AMBIGUOUS
    return kept


def _upper(found: dict[str, object]) -> dict[str, object]:
    return _name_by_name([(name.upper() if len(name) == 8 else name, value) for name, value in found.items()])


@promised(written | _written_trees)
def what_is_read_at_a_glance_is_what_is_read_name_by_name(text: str) -> None:
    body = text.encode("utf-8", "surrogatepass")
    at_a_glance = parse(body), rows(body)
    reader = json.JSONDecoder(object_pairs_hook=_name_by_name, parse_constant=lambda _: None)
    with (
        mock.patch.object(dicomjson, "_JSON", reader),
        mock.patch.object(dicomjson, "_tags_upper", _upper),
        mock.patch.object(store_response, "_PLAIN", frozenset()),
    ):
        assert at_a_glance == (parse(body), rows(body))


# searches and metadata

arrays = st.lists(trees, max_size=4).map(lambda found: json.dumps(found).encode())
searched = arrays | answers().map(lambda drawn: drawn[0]) | multiparts


@promised(st.tuples(searched, cuttings(), st.sampled_from([50, 1 << 20])))
def what_is_read_as_it_comes_is_what_is_read_whole(drawn: tuple[bytes, list[int], int]) -> None:
    body, sizes, cap_bytes = drawn
    found, ended = streamed(body, sizes, cap_bytes)
    again, also = streamed(body, [max(1, len(body))], 1 << 20)
    for dataset in found:
        for tag in ("00080018", *dataset):
            assert uid(dataset, tag) is None or set(str(uid(dataset, tag))) <= set("0123456789.")
            assert value(dataset, tag).isprintable()
    if cap_bytes > len(body):
        assert (found, ended) == (again, also)
    else:
        assert found == again[: len(found)]
    if ended:
        at_once = rows(body)
        assert at_once is None or at_once == found


def streamed(body: bytes, sizes: list[int], cap_bytes: int) -> tuple[list[dict[str, object]], bool]:
    found: list[dict[str, object]] = []
    try:
        found.extend(stream_rows(chunked(body, sizes), cap_bytes))
    except BadAnswer:
        return found, False
    return found, True

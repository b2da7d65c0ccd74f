"""What an archive says became of each instance, in every form archives and proxies say it."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dicomsync.dicomweb.response import Failed, Referenced, StoreResponse, parse

CT = "1.2.840.10008.5.1.4.1.1.2"


def ui(*values: object) -> dict[str, object]:
    return {"vr": "UI", "Value": list(values)}


def us(*values: object) -> dict[str, object]:
    return {"vr": "US", "Value": list(values)}


def sq(*items: object) -> dict[str, object]:
    return {"vr": "SQ", "Value": list(items)}


def ref(uid: object, **more: object) -> dict[str, object]:
    return {"00081150": ui(CT), "00081155": ui(uid), **more}


def fail(uid: object, reason: object) -> dict[str, object]:
    return ref(uid, **{"00081197": us(reason)})


def parsed(module: Any, content_type: str = "application/dicom+json") -> StoreResponse | None:
    return parse(json.dumps(module).encode(), content_type)


def test_a_plain_module_is_read_in_order() -> None:
    module = {
        "00081190": {"vr": "UR", "Value": ["http://a/studies/1"]},
        "00081198": sq(fail("1.3", 45070)),
        "00081199": sq(
            ref("1.1", **{"00081190": {"vr": "UR", "Value": ["http://evil/"]}}),
            ref("1.2", **{"00081196": us(45063)}),
        ),
        "0008119A": sq({"00081197": us(272)}, {}),
    }
    assert parsed(module) == StoreResponse(
        referenced=(Referenced("1.1", CT, retrieve_url="http://evil/"), Referenced("1.2", CT, 45063)),
        failed=(Failed("1.3", CT, 45070),),
        other_failures=(272, 0),
    )


def test_medical_imaging_server_v2_gives_its_warnings_in_words() -> None:
    comments = sq({"00000902": {"vr": "LO", "Value": ["DICOM100: (0010,0030) -\r\n\x1b[31m bad"]}})
    module = {
        "00081199": sq(
            ref("1.1", **{"00741048": comments, "00081196": us(1)}), ref("1.2", **{"00741048": {"vr": "SQ"}})
        )
    }
    answer = parsed(module)
    assert answer is not None
    assert answer.referenced[0].warnings == ("DICOM100: (0010,0030) - [31m bad",)
    assert answer.referenced[0].warning == 1
    assert answer.referenced[1].warnings == ()


def test_coerced_attributes_are_a_warning() -> None:
    for module in (
        {"00081199": sq(ref("1.1", **{"04000561": sq({})}))},
        {"04000561": sq({}), "00081199": sq(ref("1.1"))},
    ):
        answer = parsed(module)
        assert answer is not None
        assert "Original Attributes" in answer.referenced[0].warnings[0]


def test_which_attributes_were_coerced_is_told_by_their_tags_and_never_by_what_they_held() -> None:
    before = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}, "0008009": {}, "00080080": {}}
    original = {"04000550": sq(before), "04000565": {"vr": "CS", "Value": ["COERCE"]}}
    answer = parsed(
        {"00081199": sq(ref("1.1", **{"04000561": sq(original, original), "00081196": us(0xB000)}))}
    )
    assert answer is not None
    (told,) = answer.referenced[0].warnings
    assert told.endswith("(Original Attributes Sequence): 00100010 00080080 (COERCE)")
    assert "Doe" not in told


def test_coerced_attributes_without_end_are_told_in_bounds() -> None:
    many: dict[str, object] = {f"{0x00110000 + number:08X}": {} for number in range(5000)}
    answer = parsed({"04000561": sq({"04000550": sq(many)}), "00081199": sq(ref("1.1"))})
    assert answer is not None
    assert len(answer.referenced[0].warnings[0]) < 1000
    assert answer.referenced[0].warnings[0].endswith("…")


def test_a_failed_attribute_that_is_named_apart_is_told_with_its_tag() -> None:
    failed = sq(
        {"00720026": {"vr": "AT", "Value": ["00100030"]}, "00000902": {"vr": "LO", "Value": ["bad date"]}},
        {"00720026": {"vr": "AT", "Value": ["00100040"]}},
        {"00720026": {"vr": "AT", "Value": ["\u001b[31mx"]}},
    )
    answer = parsed({"00081199": sq(ref("1.1", **{"00741048": failed}))})
    assert answer is not None
    assert answer.referenced[0].warnings == ("00100030 bad date", "00100040")


def test_google_says_in_words_what_its_reason_means() -> None:
    words = {"vr": "LT", "Value": ["already exists, data differ"]}
    for module in (
        {"00081198": sq({**fail("1.1", 272), "00090097": words})},
        {"00090097": words, "00081198": sq(fail("1.1", 272))},
    ):
        assert parsed(module) == StoreResponse(
            failed=(Failed("1.1", CT, 272, "already exists, data differ"),)
        )


@pytest.mark.parametrize(
    "sequence", [{"vr": "SQ"}, {"vr": "SQ", "Value": None}, {"vr": "SQ", "Value": []}, {"Value": "x"}]
)
def test_an_empty_or_malformed_sequence_has_no_items(sequence: dict[str, object]) -> None:
    assert parsed({"00081199": sequence, "00081198": sequence}) == StoreResponse()


def test_a_failure_may_come_without_uids_or_reason() -> None:
    answer = parsed({"00081198": sq({"00081197": us(43264)}, {}, ref("invented", **{"00081197": us(50329)}))})
    assert answer is not None
    assert [(f.sop_instance_uid, f.reason) for f in answer.failed] == [
        (None, 43264),
        (None, None),
        (None, 50329),
    ]


@pytest.mark.parametrize("uid", ["1.2.3 ", "1.2.3\0", " 1.2.3\0\0 "])
def test_uids_come_without_their_padding(uid: str) -> None:
    answer = parsed({"00081199": sq(ref(uid)), "00081198": sq(fail(uid, 1))})
    assert answer is not None
    assert answer.referenced[0].sop_instance_uid == answer.failed[0].sop_instance_uid == "1.2.3"


@pytest.mark.parametrize(
    "uid", ["", " ", "..", "1.2/3", "1" * 65, "1.2\n.3", None, 5, True, ["1.2"], {"x": 1}, "\u0661.2"]
)
def test_what_is_no_uid_references_nothing(uid: object) -> None:
    answer = parsed({"00081199": sq(ref(uid))})
    assert answer == StoreResponse()


def test_two_uids_in_one_item_reference_nothing() -> None:
    assert parsed({"00081199": sq({"00081155": ui("1.1", "1.2")})}) == StoreResponse()


@pytest.mark.parametrize(
    ("given_reason", "reason"),
    [
        (272, 272), ("272", 272), (" 272 ", 272), (272.0, 272), (0, 0), (65535, 65535),
        (272.5, None), (-1, None), (65536, None), (True, None), (None, None), ("0x110", None),
        ("\u00b2", None), ([1], None),
    ],
)  # fmt: skip
def test_reasons_are_sixteen_bit_numbers_however_they_are_written(
    given_reason: object, reason: int | None
) -> None:
    answer = parsed({"00081198": sq(fail("1.1", given_reason))})
    assert answer is not None
    assert answer.failed[0].reason == reason


def test_nan_is_no_number() -> None:
    body = b'{"00081198":{"Value":[{"00081155":{"Value":["1.1"]},"00081197":{"Value":[NaN]}}]}}'
    assert parse(body) == StoreResponse(failed=(Failed("1.1"),))


def test_a_name_given_twice_with_two_values_is_not_believed() -> None:
    item = b'{"00081155":{"Value":["1.1"]},"00081155":{"Value":["1.2"]}}'
    assert parse(b'{"00081199":{"Value":[' + item + b"]}}") == StoreResponse()
    one, two = (json.dumps(sq(ref(uid))).encode() for uid in ("1.1", "1.2"))
    assert parse(b'{"00081199":' + one + b',"00081199":' + two + b"}") is None
    assert parse(b'{"0008119a":' + one + b',"0008119A":' + two + b"}") is None
    assert parse(b'{"00081199":' + one + b',"00081199":' + one + b"}") is not None


def test_tags_may_be_in_lower_case_and_the_module_in_an_array() -> None:
    assert parsed([{"0008119a": sq({"00081197": us(1)})}]) == StoreResponse(other_failures=(1,))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "latin-1"])
def test_every_usual_encoding_is_read(encoding: str) -> None:
    module = {"00081198": sq({**fail("1.1", 1), "00000902": {"vr": "LO", "Value": ["schräg"]}})}
    answer = parse(json.dumps(module, ensure_ascii=False).encode(encoding), "application/dicom+json")
    assert answer == StoreResponse(failed=(Failed("1.1", CT, 1, "schräg"),))


XML = """<?xml version="1.0" encoding="UTF-8"?>
<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">
 <DicomAttribute tag="00081198" vr="SQ" keyword="FailedSOPSequence">
  <Item number="1">
   <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.3</Value></DicomAttribute>
   <DicomAttribute tag="00081197" vr="US"><Value number="1">272</Value></DicomAttribute>
   <DicomAttribute tag="00090097" vr="LT" privateCreator="GOOGLE">
    <Value number="1">already &amp; exists</Value></DicomAttribute>
  </Item>
 </DicomAttribute>
 <DicomAttribute tag="00081199" vr="SQ"><Item number="1">
   <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.4</Value></DicomAttribute>
 </Item></DicomAttribute>
</NativeDicomModel>"""


@pytest.mark.parametrize("content_type", ["application/dicom+xml", "application/dicom+json", ""])
def test_xml_says_the_same(content_type: str) -> None:
    assert parse(XML.encode(), content_type) == StoreResponse(
        referenced=(Referenced("1.2.4"),), failed=(Failed("1.2.3", "", 272, "already & exists"),)
    )


def test_xml_with_a_dtd_is_refused_before_anything_expands() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    assert parse(XML.replace("\n<NativeDicomModel", bomb + "<NativeDicomModel", 1).encode()) is None


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"{}", b"5", b'"x"', b'[{"00081199":{}}, 5]', b"not json", b"{",
        b"\xff\xfe\xff", b'{"errorMessage": "no"}', b"<html><body>Sign in</body></html>",
        b"<!DOCTYPE html><html></html>",
        b"<", b"[" * 100_000, b'{"00081199":' * 100_000, b"<a>" * 100_000,
        b"<NativeDicomModel>" * 1000,
        b'{"00081199": ' + b"9" * 5000 + b"}", b"<?xml version='1.0' encoding='zlib_codec'?><a/>",
    ],
    ids=lambda body: repr(body[:24]),
)  # fmt: skip
def test_what_is_no_module_is_none(body: bytes) -> None:
    assert parse(body, "text/html; charset=zlib_codec") is None


@pytest.mark.timeout(60)
def test_a_charset_whose_codec_is_slow_is_not_used() -> None:
    body = b"a\0" + b"b" * 2_000_000 + b"-" + b"a" * 2_000_001  # Python's punycode takes hours for it
    assert parse(body, "application/json; charset=punycode") is None


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * 1_100_000 + b"{}]",
        b'{"00081199":[' + b"[]," * 1_100_000 + b"0]}",
        b"<NativeDicomModel>" + b"<a/>" * 510_000 + b"</NativeDicomModel>",
        b"<NativeDicomModel>" + b'<a b=""/>' * 260_000 + b"</NativeDicomModel>",
    ],
    ids=["objects", "arrays", "elements", "attributes"],
)
def test_an_answer_of_more_values_than_any_has_is_none_before_one_is_made(body: bytes) -> None:
    tracemalloc.start()
    try:
        assert parse(body) is None
        assert tracemalloc.get_traced_memory()[1] < 2 * len(body) + 100_000
    finally:
        tracemalloc.stop()


content_types = st.text(max_size=40) | st.sampled_from(
    ["application/dicom+json", "application/dicom+xml; charset=utf-16", "text/html; charset=zlib_codec"]
)
MODULE = json.dumps(
    {"00081199": sq(ref("1.2.4", **{"00081196": us(1)})), "00081198": sq(fail("1.2.3", 272))}
).encode()


@given(st.binary(max_size=400), content_types)
@example(b'{"\\u00300081199": {"Value": [{"00081155": {"Value": ["1.2"]}}]}}', "")
def test_any_bytes_are_read_without_raising_and_reference_nothing_unnamed(
    body: bytes, content_type: str
) -> None:
    answer = parse(body, content_type)
    if answer is not None and answer.referenced:
        assert set(uids_in_json(body)) >= {one.sop_instance_uid for one in answer.referenced}


def uids_in_json(body: bytes) -> list[str]:
    """The UIDs an ordinary reader finds in the Referenced SOP Sequence of a JSON body."""
    return [item["00081155"]["Value"][0] for item in json.loads(body)["00081199"]["Value"]]


def edited(body: bytes, edits: list[tuple[int, bytes]]) -> bytes:
    for at, new in edits:
        at %= len(body)
        body = body[:at] + new + body[at + len(new) :]
    return body


@given(
    st.sampled_from([MODULE, XML.encode(), XML.encode("utf-16"), MODULE.decode().encode("utf-32")]),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=3)), max_size=4),
    content_types,
)
def test_a_damaged_answer_never_references_what_failed(
    body: bytes, edits: list[tuple[int, bytes]], content_type: str
) -> None:
    answer = parse(edited(body, edits), content_type)
    if answer is not None:
        assert "1.2.3" not in {one.sop_instance_uid for one in answer.referenced} or changed_uid(edits)


def changed_uid(edits: list[tuple[int, bytes]]) -> bool:
    """Whether the damage itself may have made the one UID into the other, or the one tag into the other."""
    return any(set(new) & set(b"389") for _, new in edits)


@given(st.integers(0, 2000), st.sampled_from([MODULE, XML.encode()]), content_types)
def test_an_answer_that_is_cut_is_none(cut: int, body: bytes, content_type: str) -> None:
    assert parse(body[: cut % len(body)], content_type) is None


tags = st.sampled_from(
    [
        "00081199",
        "00081198",
        "0008119A",
        "0008119a",
        "00081155",
        "00081197",
        "00741048",
        "00000902",
        "Value",
        "vr",
        "00090097",
    ]
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1.2.3", "1.2 "])
)
trees = st.recursive(
    leaves, lambda t: st.lists(t, max_size=3) | st.dictionaries(tags, t, max_size=4), max_leaves=30
)


def named(tree: object) -> set[str]:
    """Every string below a Referenced SOP Sequence, found without our reader."""
    if isinstance(tree, dict):
        return set().union(*map(named, tree.values()))
    if isinstance(tree, list):
        return set().union(*map(named, tree))
    return {tree.strip(" \t\r\n\0")} if isinstance(tree, str) else set()


@given(trees)
def test_only_an_item_of_the_referenced_sequence_references(tree: object) -> None:
    answer = parse(json.dumps(tree).encode())
    modules = tree if isinstance(tree, list) else [tree]
    allowed: set[str] = set()
    for module in modules:
        if isinstance(module, dict):
            allowed |= named(module.get("00081199"))
    assert answer is None or {one.sop_instance_uid for one in answer.referenced} <= allowed


@given(trees)
def test_texts_can_always_be_kept_in_a_database_and_shown(tree: object) -> None:
    item = {"00081155": ui("1.1"), "00000902": {"Value": [tree]}, "00741048": tree}
    answer = parsed({"00081198": sq(item)})
    assert answer is not None
    for one in answer.failed:
        assert one.text.encode().decode() == one.text
        assert one.text.isprintable()

"""The faults there are: how each is written, what it does, and where it may apply. A table, no deeds."""

from __future__ import annotations

import re
from dataclasses import dataclass

SCOPES = ("store", "search", "retrieve", "delete", "any")


@dataclass(frozen=True, slots=True)
class Kind:
    """One fault as the help lists it: how it is written, what it does, where it may apply."""

    usage: str
    does: str
    reads: str = ""  # the shape of its argument; nothing: it takes none
    scope: str = "store"
    scopes: tuple[str, ...] = SCOPES
    optional: bool = False


_STORE = ("store",)
_ANY = ("any",)
_READS = ("search", "retrieve", "any")
SHAPES: dict[str, tuple[re.Pattern[str], str]] = {
    "status": (re.compile(r"[2-5]\d\d"), "a status from 200 to 599"),
    "seconds": (re.compile(r"\d+(\.\d+)?|\.\d+"), "seconds, such as 0.5"),
    "bytes": (re.compile(r"\d+"), "a number of bytes"),
    "count": (re.compile(r"[1-9]\d*"), "a number from 1"),
    "code": (re.compile(r"\d{1,5}|[0-9A-Fa-f]{4}H"), "a Failure Reason, such as 272 or A700H"),
    "uid": (re.compile(r"[0-9.]{1,64}"), "a UID"),
    "text": (re.compile(r".+"), "a value"),
    "mess": (
        re.compile("two-lengths|bad-chunk|many-headers|endless-1xx"),
        "two-lengths, bad-chunk, many-headers or endless-1xx",
    ),
    "garbage": (
        re.compile("xml|strings|nan|twice|bom|latin-1|nesting|nulls|deep|bomb"),
        "xml, strings, nan, twice, bom, latin-1, nesting, nulls, deep or bomb",
    ),
    "rate": (re.compile(r"[1-9]\d*"), "bytes per second, from 1"),
    "login": (re.compile(r"[^:]+:.*"), "user:password"),
}

KINDS: dict[str, Kind] = {
    # no answer at all
    "down": Kind("down", "close each connection at once, read and answer nothing", scope="any", scopes=_ANY),
    "reset-after": Kind(
        "reset-after=BYTES",
        "reset the connection after so many body bytes; store nothing",
        "bytes",
        scopes=_STORE,
    ),
    "hang-after": Kind(
        "hang-after=BYTES", "read so many body bytes, then nothing; stay connected", "bytes", scopes=_STORE
    ),
    "half-close": Kind(
        "half-close", "end our side of the connection first, then read the request; do nothing"
    ),
    "stale": Kind("stale", "close a connection when it is used again, unread", scope="any"),
    "lost-answer": Kind("lost-answer", "do all that was asked, then close without an answer"),
    # a late answer
    "latency": Kind("latency=SECONDS", "wait before each request is looked at", "seconds", scope="any"),
    "stall": Kind("stall=SECONDS", "do all that was asked, answer late", "seconds"),
    "throttle": Kind(
        "throttle=RATE", "read the body no faster than so many bytes a second", "rate", scopes=_STORE
    ),
    "drip": Kind(
        "drip=SECONDS", "do all that was asked, answer byte by byte, with this wait between them", "seconds"
    ),
    # a status instead of the work
    "status": Kind(
        "status=CODE[;retry-after=SECONDS]", "read the request, do nothing, answer this status", "status"
    ),
    "too-large": Kind(
        "too-large=BYTES",
        "413 when Content-Length is above, before the body is read; close",
        "bytes",
        scopes=_STORE,
    ),
    "unauthorized": Kind("unauthorized", "401 before the body is read", scope="any"),
    "forbidden": Kind("forbidden", "403 before the body is read", scope="any"),
    "token": Kind("token=VALUE", "401 unless the request bears this token", "text", scope="any"),
    "basic": Kind("basic=USER:PASSWORD", "401 unless the request has this login", "login", scope="any"),
    "redirect": Kind("redirect=URL", "read the request, do nothing, answer 307 with this Location", "text"),
    "deaf": Kind(
        "deaf=CODE",
        "answer this status before the body is read, then read nothing; stay connected",
        "status",
        scopes=_STORE,
    ),
    "disown": Kind(
        "disown=CODE", "do all that was asked, answer this status in plain text (as gateways do)", "status"
    ),
    "blank": Kind("blank=CODE", "do all that was asked, answer this status without a body", "status"),
    "not-found": Kind("not-found", "404 for everything", scope="any"),
    # an answer that is not one
    "empty-200": Kind("empty-200", "read the request, do nothing, answer 200 without a body"),
    "html-200": Kind("html-200", "read the request, do nothing, answer 200 with a web page"),
    "early-200": Kind(
        "early-200", "200 without a body before the request's body is read; close", scopes=_STORE
    ),
    "truncated-json": Kind("truncated-json", "do all that was asked, answer half of the JSON"),
    "cut-answer": Kind(
        "cut-answer", "do all that was asked, announce all of the answer, send half of it, close"
    ),
    "malformed": Kind(
        "malformed=HOW",
        "read the request, do nothing, break HTTP: two-lengths, bad-chunk, many-headers, endless-1xx",
        "mess",
    ),
    "garbage": Kind(
        "garbage=HOW",
        "do all that was asked, spoil the JSON: xml, strings (for numbers), nan, twice (a key), bom, latin-1,"
        " nesting, nulls, deep (100,000 arrays), bomb (200 MB in 200 KB of gzip)",
        "garbage",
    ),
    "huge": Kind(
        "huge=BYTES", "do all that was asked, answer the JSON with so many blanks behind it", "bytes"
    ),
    # untrue answers, and refusals by instance
    "silent": Kind(
        "silent=N", "store all, leave every Nth stored instance out of the answer", "count", scopes=_STORE
    ),
    "liar": Kind("liar", "name each instance as stored, keep none", scopes=_STORE),
    "foreign": Kind("foreign", "store nothing, answer 200 naming UIDs that were never sent", scopes=_STORE),
    "hide-duplicates": Kind(
        "hide-duplicates",
        "same UIDs again: keep the old one, answer as if stored (as Orthanc)",
        scopes=_STORE,
    ),
    "double-kill": Kind(
        "double-kill",
        "same UIDs again: lose both copies, answer as if stored (as one archive did)",
        scopes=_STORE,
    ),
    "wrong-class": Kind("wrong-class", "store, name another SOP Class in the answer", scopes=_STORE),
    "retrieve-url": Kind(
        "retrieve-url=URL", "store, begin every Retrieve URL in the answer like this", "text", scopes=_STORE
    ),
    "tattle": Kind(
        "tattle",
        "fail each instance with 43264 and tell the patient's name, line ends and terminal codes as comment",
        scopes=_STORE,
    ),
    "reason": Kind(
        "reason=CODE", "fail each instance with this Failure Reason, store nothing", "code", scopes=_STORE
    ),
    "refuse-uid": Kind(
        "refuse-uid=UID",
        "fail the instance of this SOP Instance UID with 43264 (A900H)",
        "uid",
        scopes=_STORE,
    ),
    "refuse-batch": Kind(
        "refuse-batch[=CODE]",
        "answer 400 (or CODE) in plain text, store nothing, if a poison-uid is in the request",
        "status",
        scopes=_STORE,
        optional=True,
    ),
    "mixed-batch": Kind(
        "mixed-batch[=CODE]",
        "store and name all but the poison-uid, do not mention that one, answer 400 (or CODE; as Orthanc)",
        "status",
        scopes=_STORE,
        optional=True,
    ),
    "poison-uid": Kind(
        "poison-uid=UID",
        "mark the SOP Instance UID that refuse-batch or mixed-batch looks for",
        "uid",
        scopes=_STORE,
    ),
    # an archive that keeps or shows something else
    "zero-preamble": Kind(
        "zero-preamble", "keep each file with zeros for its first 128 bytes", scopes=_STORE
    ),
    "coerce": Kind(
        "coerce", "keep each file with another Institution Name, warn with 45056 (B000H)", scopes=_STORE
    ),
    "transcode": Kind(
        "transcode",
        "keep each Explicit VR Little Endian file as Implicit, and the other way round",
        scopes=_STORE,
    ),
    "recycle": Kind(
        "recycle=N", "keep the newest N instances, lose the others without a word", "count", scopes=_STORE
    ),
    "lag": Kind(
        "lag=SECONDS",
        "show nothing that was stored later than so long ago",
        "seconds",
        scope="any",
        scopes=_READS,
    ),
    "emptied": Kind(
        "emptied",
        "show nothing of what is held, as an archive changed for an empty one",
        scope="any",
        scopes=_READS,
    ),
}

HELP: tuple[tuple[str, str], ...] = (
    *((kind.usage, kind.does + f" [{kind.scope}]") for kind in KINDS.values()),
    ("…@3   …@1-3   …@4-", "only for the 3rd, the 1st to 3rd, the 4th and later requests, from now on"),
    ("…@every:5", "only for every 5th request"),
    ("…@search   …@any:2-4", "for searches, or any request, instead of the kind in brackets:"),
    (
        "",
        "store, search, retrieve (metadata and frames too), delete, any (under the base path;"
        " `down` counts connections too)",
    ),
)
"""What can be asked for, as (how it is written, what it does): the table `--help` shows."""

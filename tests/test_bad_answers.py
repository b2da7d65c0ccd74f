"""Every bad answer an archive or a proxy is known to give, each through a whole backfill.

The end is always the same: every file is accounted for, nothing is lost, nothing that the archive has
kept was sent again, and nothing is called stored that is not there, byte for byte.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import httpx
import pytest

from dicomsync import pacing, samples, sandbox, service, wiring
from dicomsync.sandbox.kinds import KINDS
from tests import orthanc as orthancs
from tests.conftest import Site, by_uid, need, same_from_128, small, uid_of
from tests.recording_proxy import RecordingProxy
from tests.scripted_server import Request, ScriptedServer, answer, answering

COUNT = 8


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "BACKOFF_FIRST_SECONDS", 0.05)  # long retries are real time here


@pytest.fixture
def files(site: Site) -> list[Path]:
    """One study, to go in one request."""
    return samples.write_studies(
        site.folder, studies=1, series=1, instances=COUNT, rows=16, columns=16, seed=3
    )


@dataclass(frozen=True)
class Bad:
    """A bad answer to the first Store; `kept`: the archive has stored all of it nevertheless."""

    words: str
    fault: str
    kept: bool


TABLE = (
    Bad("200 with an empty body, and nothing was stored", "empty-200", kept=False),
    Bad("200 with an empty body, and all was stored", "blank=200", kept=True),
    Bad("202 with an empty body, and all was stored", "blank=202", kept=True),
    Bad("204, and all was stored", "blank=204", kept=True),
    Bad("200 naming UIDs that were never sent", "foreign", kept=False),
    Bad("200 for a body that was sent by half", "early-200", kept=False),
    Bad("200 that does not name every second instance", "silent=2", kept=True),
    Bad("200 that names another SOP Class", "wrong-class", kept=True),
    Bad("409 without a body, and nothing was stored", "status=409", kept=False),
    Bad("409 without a body, and all was stored", "blank=409", kept=True),
    Bad("400 in plain text, and all was stored", "disown=400", kept=True),
    Bad("400 in plain text, and nothing was stored", "status=400", kept=False),
    Bad("a gateway's 502 after all was stored", "disown=502", kept=True),
    Bad("a gateway's 504 after all was stored", "disown=504", kept=True),
    Bad("500 without a body after all was stored", "blank=500", kept=True),
    Bad("a web page of a proxy, and nothing was stored", "html-200", kept=False),
    Bad("a redirect to a login page", "redirect=http://127.0.0.1:9/login", kept=False),
    Bad("an answer of 200 MB", "huge=209715200", kept=True),
    Bad("an answer of 200 MB in 200 kB of gzip", "garbage=bomb", kept=True),
    Bad("XML that says nothing", "garbage=xml", kept=True),
    Bad("numbers as strings", "garbage=strings", kept=True),
    Bad("every value null", "garbage=nulls", kept=True),
    Bad("values nested in lists", "garbage=nesting", kept=True),
    Bad("a list in a list, a hundred thousand deep", "garbage=deep", kept=True),
    Bad("text that is not UTF-8", "garbage=latin-1", kept=True),
    Bad("the Referenced SOP Sequence twice", "garbage=twice", kept=True),
    Bad("half of the JSON", "truncated-json", kept=True),
    Bad("half of the answer, then the end", "cut-answer", kept=True),
    Bad("two lengths", "malformed=two-lengths", kept=False),
    Bad("a chunk that is none", "malformed=bad-chunk", kept=False),
    Bad("headers without end", "malformed=many-headers", kept=False),
    Bad("all was stored, and the connection closed", "lost-answer", kept=True),
    Bad("the connection reset in the middle", "reset-after=2000", kept=False),
    Bad("the answer after the timeout", "stall=2", kept=True),
)


@pytest.mark.parametrize("bad", TABLE, ids=lambda bad: bad.words)
def test_all_is_stored_once_and_accounted_for_after(
    bad: Bad, site: Site, files: list[Path], sandboxed: sandbox.Archive
) -> None:
    sandboxed.set_faults([f"{bad.fault}@1"])
    with RecordingProxy(sandboxed.url) as proxy:
        report = site.backfill(proxy.url, archive={"answer_timeout": 0.5, "confirm_wait": 0.1})
        assert (report.exit_code, report.due) == (0, 0)
        assert proxy.twice_in_flight() == set()
        if bad.kept:
            assert set(proxy.given_whole().values()) == {1}, "the archive had it"
        again = site.backfill(proxy.url)
        assert (again.exit_code, again.requests) == (0, 0)
    accounted_for(site, files, {uid: one.path.read_bytes() for uid, one in sandboxed.stored().items()})


OF_ANY_REQUEST = [bad for bad in TABLE if "search" in KINDS[bad.fault.partition("=")[0]].scopes]


@pytest.mark.parametrize("bad", OF_ANY_REQUEST, ids=lambda bad: bad.words)
def test_what_a_search_answers_so_is_not_believed_either(
    bad: Bad, site: Site, files: list[Path], sandboxed: sandbox.Archive
) -> None:
    """The answer to the Store is lost, and the first question about it is answered badly."""
    sandboxed.set_faults(["lost-answer@store:1", f"{bad.fault}@search:2-3"])
    with RecordingProxy(sandboxed.url) as proxy:
        report = site.backfill(proxy.url, archive={"answer_timeout": 0.5, "confirm_wait": 0.1})
        assert (report.exit_code, report.due) == (0, 0)
        assert set(proxy.given_whole().values()) == {1}, "the archive had it"
    accounted_for(site, files, {uid: one.path.read_bytes() for uid, one in sandboxed.stored().items()})


ENDLESS = (
    Bad("a byte of the answer now and then", "drip=0.3", kept=True),
    Bad("102 without end", "malformed=endless-1xx", kept=False),
)


@pytest.mark.parametrize("bad", ENDLESS, ids=lambda bad: bad.words)
def test_an_answer_without_end_is_given_up_in_time_and_asked_about(
    bad: Bad, site: Site, files: list[Path], sandboxed: sandbox.Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        service, "uploads_of", lambda config: replace(wiring.uploads_of(config), idle_timeout=1.0)
    )
    sandboxed.set_faults([f"{bad.fault}@1"])
    report = site.backfill(sandboxed.url, archive={"answer_timeout": 0.5, "confirm_wait": 0.1})
    assert (report.exit_code, report.due) == (0, 0)
    stores = [one for one in sandboxed.requests if one.method == "POST"]
    assert len(stores) == (1 if bad.kept else 3), "what came to grief goes again by halves"
    accounted_for(site, files, {uid: one.path.read_bytes() for uid, one in sandboxed.stored().items()})


def accounted_for(site: Site, files: list[Path], kept: dict[str, bytes]) -> None:
    """Every file is stored, and the archive has its very bytes."""
    assert same_from_128(kept, by_uid(files))
    assert site.instances() == {"stored": len(files)}
    assert site.files() == {"ready": len(files)}


def test_an_archive_that_keeps_some_and_names_the_culprit_by_silence_loses_none_of_the_others(
    site: Site, files: list[Path], sandboxed: sandbox.Archive
) -> None:
    """Orthanc's 400: all but one are stored and named, that one is not mentioned."""
    poison = uid_of(files[3].read_bytes())
    sandboxed.set_faults(["mixed-batch", f"poison-uid={poison}"])
    with RecordingProxy(sandboxed.url) as proxy:
        report = site.backfill(proxy.url, archive={"confirm_wait": 0.05})
        assert report.exit_code == 20
        assert {n for uid, n in proxy.given_whole().items() if uid != poison} == {1}
    assert set(sandboxed.stored()) == set(by_uid(files)) - {poison}
    assert site.instances() == {"stored": COUNT - 1, "rejected": 1}


# Recorded answers: the archive does its work, and what it says is said as another one would


Say = Callable[[dict[str, Any]], bytes]


@pytest.fixture
def saying(sandboxed: sandbox.Archive) -> Iterator[Callable[[Say], ScriptedServer]]:
    """Make a server that passes everything on, and says what came of a Store in its own way."""
    made: list[ScriptedServer] = []
    base = sandboxed.url.removesuffix("/v2")
    with httpx.Client(trust_env=False, verify=False) as http:

        def make(say: Say) -> ScriptedServer:
            def respond(request: Request) -> bytes:
                wanted = ("accept", "content-type")
                headers = {name: request.headers[name] for name in wanted if name in request.headers}
                got = http.request(
                    request.method, f"{base}{request.target}", headers=headers, content=request.body
                )
                if request.method == "POST" and got.status_code == 200:
                    return say(got.json())
                kind = got.headers.get("content-type", "text/plain")
                return answer(got.status_code, got.content, Content_Type=kind)

            server = ScriptedServer(answering(respond))
            server.__enter__()
            made.append(server)
            return server

        yield make
    for server in made:
        server.__exit__(None, None, None)


def referenced(module: dict[str, Any]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = module["00081199"]["Value"]
    return items


def overlapping(module: dict[str, Any]) -> bytes:
    """202, with each instance both stored and failed."""
    failed = [{**one, "00081197": {"vr": "US", "Value": [272]}} for one in referenced(module)]
    module["00081198"] = {"vr": "SQ", "Value": failed}
    return answer(202, json.dumps(module).encode(), Content_Type="application/dicom+json")


def google_xml(module: dict[str, Any]) -> bytes:
    """The Native DICOM Model, as Google Cloud Healthcare answers where nobody asks for JSON."""
    items = "".join(
        f'<Item number="{number}">'
        + "".join(
            f'<DicomAttribute tag="{tag}" vr="UI"><Value number="1">{escape(one[tag]["Value"][0])}</Value>'
            "</DicomAttribute>"
            for tag in ("00081150", "00081155")
        )
        + "</Item>"
        for number, one in enumerate(referenced(module), 1)
    )
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><NativeDicomModel xmlns='
        '"http://dicom.nema.org/PS3.19/models/NativeDICOM"><DicomAttribute tag="00081199" vr="SQ" '
        f'keyword="ReferencedSOPSequence">{items}</DicomAttribute></NativeDicomModel>'
    )
    return answer(200, text.encode(), Content_Type="application/dicom+xml")


def nameless_failures(module: dict[str, Any]) -> bytes:
    """409, with failures that say neither of what nor why, though all was stored."""
    failed: list[dict[str, Any]] = [{} for _ in referenced(module)]
    body = json.dumps({"00081198": {"vr": "SQ", "Value": failed}}).encode()
    return answer(409, body, Content_Type="application/dicom+json")


def other_study(module: dict[str, Any]) -> bytes:
    """200, naming as many instances as were sent, and other ones."""
    for number, one in enumerate(referenced(module)):
        one["00081155"]["Value"] = [f"1.2.3.{number}"]
    return answer(200, json.dumps(module).encode(), Content_Type="application/dicom+json")


def in_a_list(module: dict[str, Any]) -> bytes:
    """200, with the module as the only element of a list, as searches give theirs."""
    return answer(200, json.dumps([module]).encode(), Content_Type="application/json")


@pytest.mark.parametrize("say", [overlapping, google_xml, nameless_failures, other_study, in_a_list])
def test_all_is_stored_once_after_a_recorded_answer(
    say: Say,
    saying: Callable[[Say], ScriptedServer],
    site: Site,
    files: list[Path],
    sandboxed: sandbox.Archive,
) -> None:
    server = saying(say)
    report = site.backfill(server.url, archive={"confirm_wait": 0.05})
    assert (report.exit_code, report.due) == (0, 0)
    assert len([one for one in server.seen if one.method == "POST"]) == 1, "the archive had it"
    accounted_for(site, files, {uid: one.path.read_bytes() for uid, one in sandboxed.stored().items()})


# Archives that keep something else than they say


@pytest.mark.orthanc
@pytest.mark.parametrize("overwrites", [False, True])
def test_an_orthanc_that_answers_stored_to_a_second_content_is_never_given_one(
    overwrites: bool, site: Site, tmp_path: Path
) -> None:
    need(orthancs.missing())
    theirs, ours = small("1", StudyDescription="what was there"), small("1", StudyDescription="ours")
    site.write("1.dcm", ours)
    site.write("2.dcm", small("2"))
    with orthancs.running(tmp_path / "orthanc", overwrites=overwrites) as server:
        server.put(theirs)
        report = site.backfill(server.url, archive={"confirm_wait": 0.05})
        assert report.exit_code == 20
        assert server.file(uid_of(theirs))[128:] == theirs[128:]
        assert server.count() == 2
    assert site.instances() == {"stored": 1, "conflict": 1}
    assert site.query("SELECT reason FROM instances WHERE state = 'conflict'") == [("differs",)]


@pytest.mark.orthanc
def test_an_orthanc_brought_back_from_last_weeks_backup_is_sent_nothing_by_itself(
    site: Site, own_orthanc: orthancs.Orthanc
) -> None:
    site.write("1.dcm", small("1"))
    assert site.backfill(own_orthanc.url).exit_code == 0
    own_orthanc.stop()
    storage = own_orthanc.directory / "storage"
    shutil.copytree(storage, backup := own_orthanc.directory / "last-week")
    own_orthanc.start()
    site.write("2.dcm", small("2"))
    assert site.backfill(own_orthanc.url).exit_code == 0
    own_orthanc.stop()
    shutil.rmtree(storage)
    backup.rename(storage)
    own_orthanc.start()
    assert own_orthanc.count() == 1
    report = site.backfill(own_orthanc.url)
    assert report.requests == 0
    assert own_orthanc.count() == 1, "a person may have deleted it on purpose"
    assert site.instances() == {"stored": 2}

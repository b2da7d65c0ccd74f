"""`doctor --write-test`: what it says of archives that refuse, lose or spoil, and what it leaves behind."""

from __future__ import annotations

import io
from pathlib import Path

import pydicom
import pytest

from dicomsync import config, dicomweb, doctor, header, sandbox
from dicomsync.dicomweb.kinds import HEALTH_IMAGING
from dicomsync.doctor import writing
from dicomsync.doctor.check import Check, State
from dicomsync.model import Whole
from tests.conftest import AnyArchive, Site, small
from tests.orthanc import free_port

OK, PROBLEM, SKIPPED = State.OK, State.PROBLEM, State.SKIPPED
STEPS = ["test store", "test retrieve", "test compare", "test delete"]


def look(site: Site, url: str, **sections: dict[str, object]) -> dict[str, Check]:
    """Make a write test at a site; gives its checks, and no others."""
    checks = doctor.examine("c", lambda: config.build(site.settings(url, **sections)), write_test=True)
    told = {one.name: one for one in checks if one.name.startswith("test ")}
    assert list(told) == STEPS
    assert all(one.todo for one in checks if one.state is PROBLEM), "a problem without a way out"
    return told


def states(told: dict[str, Check]) -> list[State]:
    return [one.state for one in told.values()]


def sent(archive: sandbox.Archive) -> list[str]:
    return [one.method for one in archive.requests if one.method != "GET"]


# Well


def test_an_archive_that_is_well_takes_gives_and_deletes_it_and_keeps_what_it_had(
    site: Site, archive: AnyArchive
) -> None:
    dicomweb.client_for(dicomweb.Archive(archive.url)).store([dicomweb.BytesPart(small("1"))])
    before = archive.stored()
    assert states(look(site, archive.url)) == [OK] * 4
    assert archive.stored() == before


def test_only_a_person_who_asks_for_it_gets_it_and_the_ledger_is_left_alone(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    site.configure(sandboxed.url)
    before = sorted(site.home.rglob("*"))
    plain = site.run("doctor", "-c", site.config_file)
    assert (plain.code, "test store" in plain.out, sent(sandboxed)) == (0, False, [])
    asked = site.run("doctor", "-c", site.config_file, "--write-test")
    assert (asked.code, asked.err, asked.out.count("\nok       test ")) == (0, "", 4)
    assert sent(sandboxed) == ["POST", "DELETE"]
    assert sorted(site.home.rglob("*")) == before


def test_what_is_stored_is_whole_valid_and_says_that_it_is_a_test(tmp_path: Path) -> None:
    one, other = writing.generated(), writing.generated()
    path = tmp_path / "file"
    path.write_bytes(one.content)
    assert isinstance(header.read(bytes(path)), Whole)
    dataset = pydicom.dcmread(io.BytesIO(one.content))
    uids = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
    assert uids == (one.study, one.series, one.sop)
    assert all(pydicom.uid.UID(uid).is_valid and uid.startswith("2.25.") for uid in uids)
    assert dataset.PatientName == "DICOMSYNC^WRITE TEST"
    assert dataset.pixel_array.shape == (16, 16)
    assert {one.study, one.series, one.sop}.isdisjoint({other.study, other.series, other.sop})
    assert pydicom.dcmread(io.BytesIO(other.content)).PatientID != dataset.PatientID


# Refused, lost, spoilt


@pytest.mark.parametrize("fault", ["reason=43264", "forbidden@store", "too-large=100"])
def test_what_is_refused_is_told_and_the_rest_has_no_sense(
    site: Site, sandboxed: sandbox.Archive, fault: str
) -> None:
    sandboxed.set_faults([fault])
    told = look(site, sandboxed.url)
    assert states(told) == [PROBLEM, SKIPPED, SKIPPED, SKIPPED]
    assert "was not stored" in told["test delete"].words
    assert sent(sandboxed) == ["POST"]


def test_an_archive_that_says_stored_and_keeps_nothing_is_found_out(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    sandboxed.set_faults(["liar"])
    told = look(site, sandboxed.url)
    assert states(told) == [OK, PROBLEM, SKIPPED, PROBLEM]
    assert "was not there" in told["test delete"].words


@pytest.mark.parametrize("fault", ["coerce", "transcode"])
def test_an_archive_that_keeps_other_bytes_is_found_out_and_they_are_deleted(
    site: Site, sandboxed: sandbox.Archive, fault: str
) -> None:
    sandboxed.set_faults([fault])
    told = look(site, sandboxed.url)
    assert states(told) == [OK, OK, PROBLEM, OK]
    assert "other bytes" in told["test compare"].words
    assert not sandboxed.stored()


def test_zeros_for_the_preamble_are_no_difference(site: Site, sandboxed: sandbox.Archive) -> None:
    sandboxed.set_faults(["zero-preamble"])
    assert states(look(site, sandboxed.url)) == [OK] * 4


@pytest.mark.parametrize("fault", ["lost-answer@store", "silent=1"])
def test_after_an_unclear_answer_the_archive_is_asked_as_the_daemon_asks(
    site: Site, sandboxed: sandbox.Archive, fault: str
) -> None:
    sandboxed.set_faults([fault])
    assert states(look(site, sandboxed.url)) == [OK] * 4
    assert not sandboxed.stored()


def test_an_answer_cut_short_is_a_problem_and_what_is_there_is_deleted(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    sandboxed.set_faults(["cut-answer@retrieve:1"])
    assert states(look(site, sandboxed.url)) == [OK, PROBLEM, SKIPPED, OK]
    assert not sandboxed.stored()


# Left behind


@pytest.mark.parametrize(
    ("fault", "is_there", "words"),
    [
        ("forbidden@delete", True, "403"),
        ("status=204@delete", True, "still there"),
        ("status=202@delete", True, "not done"),
        ("lost-answer@delete", False, ""),
    ],
)
def test_what_may_be_left_behind_is_named_for_a_person_to_remove(
    site: Site, sandboxed: sandbox.Archive, fault: str, is_there: bool, words: str
) -> None:
    sandboxed.set_faults([fault])
    told = look(site, sandboxed.url)
    assert states(told) == [OK, OK, OK, PROBLEM]
    assert words in told["test delete"].words
    (study,) = {one.path.rpartition("/")[2] for one in sandboxed.requests if one.method == "DELETE"}
    assert f"remove study {study} " in told["test delete"].todo
    assert bool(sandboxed.stored()) is is_there


def test_an_archive_whose_bytes_differ_by_nature_and_that_cannot_delete_is_told_as_such(
    sandboxed: sandbox.Archive,
) -> None:
    assert HEALTH_IMAGING.delete == "none"
    sandboxed.set_faults(["coerce"])
    told = {
        one.name: one for one in writing.examine(dicomweb.Archive(sandboxed.url, kind=HEALTH_IMAGING.name))
    }
    assert states(told) == [OK, OK, SKIPPED, PROBLEM]
    assert "cannot delete" in told["test delete"].words
    assert len(sandboxed.stored()) == 1
    (dataset,) = [pydicom.dcmread(one.path) for one in sandboxed.stored().values()]
    assert f"remove study {dataset.StudyInstanceUID} " in told["test delete"].todo


# Not tried


@pytest.mark.parametrize(
    "url", ["http://host/a b", f"http://127.0.0.1:{free_port()}/v2"], ids=["malformed", "nobody there"]
)
def test_an_archive_that_cannot_be_used_is_sent_nothing(site: Site, url: str) -> None:
    assert states(look(site, url)) == [SKIPPED] * 4

"""`verify`: the ledger held against a sandbox and Orthanc; nothing is sent unless a person says so."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import click
import httpx
import pytest

from dicomsync import cli, samples, sandbox
from dicomsync.ledger import Ledger
from tests import orthanc as orthancs
from tests.conftest import AnyArchive, Done, SandboxArchive, Site, by_uid, eventually, same_from_128, small

STUDY = samples.uid("s")


def sop(name: str, study: str = "s") -> str:
    return samples.uid(study, "1", name)


class Person:
    """A person at the command line, in this process."""

    def __init__(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, site: Site
    ) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        self._site = site

    def __call__(self, *words: str, command: str = "verify") -> Done:
        arguments = ["dicomsync", command, "-c", str(self._site.config_file), *words]
        self._monkeypatch.setattr("sys.argv", arguments)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        return Done(int(ended.value.code or 0), out, err)


@pytest.fixture
def person(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, site: Site) -> Person:
    return Person(capsys, monkeypatch, site)


@pytest.fixture
def files(site: Site, archive: AnyArchive) -> list[Path]:
    """Three instances of one study and one of another, stored."""
    paths = [site.write(f"{name}.dcm", small(name)) for name in "abc"]
    paths.append(site.write("other.dcm", small("x", "t")))
    site.configure(archive.url)
    assert site.backfill(archive.url).exit_code == 0
    return paths


def signs(done: Done) -> list[tuple[str, str]]:
    """The lines of a check: each sign and UID."""
    lines = [line.split() for line in done.out.splitlines() if line[:2] in ("= ", "+ ", "- ", "* ", "! ")]
    return sorted((words[0], words[3]) for words in lines)


def lose(archive: AnyArchive, *uids: str) -> None:
    """Have the archive lose instances, behind everybody's back."""
    if isinstance(archive, SandboxArchive):
        shelf = archive.inner._shelf
        for one in shelf.all():
            if one.sop in uids:
                shelf.remove(one.study, one.series, one.sop)
        return
    with httpx.Client(base_url=archive.url.removesuffix("/dicom-web"), trust_env=False) as http:
        for uid in uids:
            (found,) = http.post("/tools/lookup", content=uid).json()
            http.delete(f"/instances/{found['ID']}").raise_for_status()


def add(archive: AnyArchive, home: Path, *contents: bytes) -> None:
    """Have somebody else store something."""
    other = Site(home)
    other.home.mkdir()
    other.folder.mkdir()
    for number, content in enumerate(contents):
        other.write(f"{number}.dcm", content)
    assert other.backfill(archive.url).exit_code == 0


def proofs(site: Site) -> dict[str, tuple[str, bool]]:
    rows = site.query("SELECT sop_instance_uid, found, verified_at IS NOT NULL FROM instances")
    return {uid: (found, bool(verified)) for uid, found, verified in rows}


def test_where_all_is_there_it_says_so_in_one_line_and_ends_with_0(
    archive: AnyArchive, site: Site, files: list[Path], person: Person
) -> None:
    done = person()
    assert done.code == 0, done
    assert signs(done) == []
    assert "4  in the archive; their bytes were not compared" in done.out
    assert set(proofs(site).values()) == {("present", False)}, "there, and honestly not called verified"


def test_with_v_every_instance_has_its_line(archive: AnyArchive, files: list[Path], person: Person) -> None:
    assert signs(person("-v")) == sorted(("=", uid) for uid in by_uid(files))


def test_with_bytes_what_is_equal_is_verified(
    archive: AnyArchive, site: Site, files: list[Path], person: Person
) -> None:
    done = person("--bytes")
    assert done.code == 0, done
    assert "with the bytes that were stored" in done.out
    assert set(proofs(site).values()) == {("equal", True)}
    told = person(sop("a"), command="explain").out
    assert "compared and found equal" in told
    assert len(person("--removable", command="report").out.splitlines()) == 4
    lose(archive, sop("a"))
    assert person().code == 21
    assert len(person("--removable", command="report").out.splitlines()) == 3, "the only copy stays"


def test_every_kind_of_difference_has_its_line_and_it_ends_with_21(
    archive: AnyArchive, site: Site, files: list[Path], person: Person
) -> None:
    lose(archive, sop("a"), sop("b"))
    add(archive, site.home / "else", small("b", PatientComments="other"), small("new"))
    done = person("--bytes", "-v")
    assert done.code == 21, done
    assert signs(done) == sorted(
        [("-", sop("a")), ("*", sop("b")), ("=", sop("c")), ("+", sop("new")), ("=", sop("x", "t"))]
    )
    assert proofs(site)[sop("a")] == ("missing", False)
    assert proofs(site)[sop("b")] == ("differs", False)
    assert site.instances() == {"stored": 4}
    told = json.loads(person("--json", command="status").out)
    assert told["lost"] == {"missing": 1, "differs": 1}
    receipt = person("--study", STUDY, command="report").out
    assert "the archive was asked twice since, and does not have it any more" in receipt
    assert "the archive was found to have other bytes since" in receipt
    listed = person(command="explain").out
    assert sop("a") in listed
    assert sop("b") in listed


def test_what_another_sender_added_is_no_difference_one_way(
    archive: AnyArchive, site: Site, files: list[Path], person: Person
) -> None:
    add(archive, site.home / "else", small("new"))
    assert person().code == 21
    assert person("--one-way").code == 0


def test_nothing_is_sent_again_by_itself_and_heal_brings_it_back(
    archive: AnyArchive, site: Site, files: list[Path], person: Person
) -> None:
    lose(archive, sop("a"), sop("b"))
    assert person().code == 21
    assert site.backfill(archive.url).exit_code == 0
    assert archive.count() == 2, "somebody may have deleted them on purpose"
    done = person("--heal", "--yes")
    assert done.code == 5, done
    assert "2 put back" in done.out
    assert site.instances() == {"stored": 2, "pending": 2}
    assert site.backfill(archive.url).exit_code == 0
    assert same_from_128(archive.stored(), by_uid(files))
    assert person("--bytes").code == 0


def test_healing_more_than_was_agreed_to_does_nothing_and_says_how_many(
    archive: AnyArchive, site: Site, files: list[Path], person: Person
) -> None:
    lose(archive, sop("a"), sop("b"))
    done = person("--heal", "--yes", "--max", "1")
    assert done.code == 21
    assert "2 instances would be sent again, more than --max 1; nothing was put back." in done.err
    assert site.instances() == {"stored": 4}
    assert person("--heal", "--yes", "--max", "2").code == 5


def test_a_person_who_says_no_heals_nothing(
    archive: AnyArchive, site: Site, files: list[Path], person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(archive, sop("a"))
    asked: list[str] = []

    def no(question: str, **how: Any) -> None:
        asked.append(question)
        raise click.exceptions.Abort

    monkeypatch.setattr("click.confirm", no)
    assert person("--heal").code == 130
    assert asked == ["Send 1 instance to the archive again?"]
    assert site.instances() == {"stored": 4}


def test_what_no_file_holds_any_more_is_missing_and_cannot_be_healed(
    archive: AnyArchive, site: Site, files: list[Path], person: Person
) -> None:
    lose(archive, sop("a"))
    files[0].unlink()
    site.backfill(archive.url)
    done = person("--heal", "--yes")
    assert done.code == 21
    assert "no file holds it any more" in done.out
    assert "0 of them could be sent again" in done.out
    assert site.instances() == {"stored": 4}


def test_what_a_person_deleted_is_no_difference_and_is_never_healed(
    archive: AnyArchive, site: Site, files: list[Path], person: Person
) -> None:
    assert site.run("archive", "delete", "-c", site.config_file, "--yes", STUDY).code == 0
    done = person("--heal", "--yes")
    assert done.code == 0, done
    assert site.instances() == {"stored": 1, "deleted": 3}
    assert archive.count() == 1


def test_one_study_or_what_was_stored_lately_can_be_named(
    archive: AnyArchive, site: Site, files: list[Path], person: Person
) -> None:
    lose(archive, sop("a"))
    assert person("--study", samples.uid("t")).code == 0
    assert signs(person("--study", STUDY)) == [("-", sop("a"))]
    with sqlite3.connect(site.ledger) as db:
        db.execute(
            "UPDATE instances SET stored_at = stored_at - 7200 WHERE sop_instance_uid = ?", (sop("a"),)
        )
    db.close()
    assert person("--since", "1h").code == 0
    assert person("--since", "3h").code == 21
    assert person("--since", "2020-01-01").code == 21
    assert person("--since", "sometime").code == 2


def test_a_study_of_which_nothing_is_stored_is_told_and_nobody_is_asked(
    archive: AnyArchive, files: list[Path], person: Person
) -> None:
    done = person("--study", "1.2.3.4")
    assert done.code == 2
    assert "the archive was not asked" in done.err


def test_json_is_an_object_a_line_and_the_summary_last(
    archive: AnyArchive, files: list[Path], person: Person
) -> None:
    lose(archive, sop("a"))
    done = person("--json")
    line, last = map(json.loads, done.out.splitlines())
    assert (line["sign"], line["uid"], line["study_instance_uid"]) == ("-", sop("a"), STUDY)
    assert last["summary"] == {"same": 3, "extra": 0, "missing": 1, "differs": 0, "unchecked": 0}
    assert (last["healable"], last["healed"], last["exit_code"], done.code) == (1, 0, 21, 21)


def test_another_archive_than_the_ledgers_is_not_asked(
    archive: AnyArchive, files: list[Path], person: Person, tmp_path: Path
) -> None:
    with sandbox.running(tmp_path / "empty") as empty:
        done = person("--archive", empty.url)
        assert done.code == 2
        assert "speaks of the archive" in done.err
        assert empty.requests == []


# A sandbox that misbehaves


@pytest.fixture
def stored(site: Site, sandboxed: sandbox.Archive) -> sandbox.Archive:
    """A sandbox with three studies of four instances, stored from this site."""
    samples.write_studies(site.folder, studies=5, series=1, instances=4, rows=16, columns=16, seed=7)
    site.configure(sandboxed.url)
    assert site.backfill(sandboxed.url).exit_code == 0
    sandboxed.requests.clear()
    return sandboxed


def test_it_asks_few_questions_and_sends_nothing(stored: sandbox.Archive, person: Person) -> None:
    assert person().code == 0
    assert {one.method for one in stored.requests} == {"GET"}
    assert len([one for one in stored.requests if "/instances" in one.path]) <= 2 * 5


def test_an_archive_that_is_away_ends_it_with_5_and_nothing_is_called_missing(
    stored: sandbox.Archive, site: Site, person: Person
) -> None:
    stored.set_faults(["down"])
    assert person().code == 5
    assert {found for found, _ in proofs(site).values()} == {""}


def test_an_archive_that_breaks_in_the_middle_ends_it_with_5_and_the_rest_is_told(
    stored: sandbox.Archive, site: Site, person: Person
) -> None:
    stored.set_faults(["status=500@search:3-"])
    done = person()
    assert done.code == 5, done
    assert [sign for sign, _ in signs(done)] == ["!"] * len(signs(done))
    assert "could not be asked about all of" in done.out
    assert "missing" not in {found for found, _ in proofs(site).values()}
    stored.set_faults([])
    assert person().code == 0


def test_an_archive_that_breaks_before_the_second_look_has_nothing_called_missing(
    stored: sandbox.Archive, site: Site, person: Person
) -> None:
    lose(SandboxArchive(stored), *stored.stored())
    stored.set_faults(["status=500@search:7-"])
    done = person("--heal", "--yes")
    assert done.code == 5, done
    assert {sign for sign, _ in signs(done)} == {"!"}
    assert {found for found, _ in proofs(site).values()} == {""}
    assert site.instances() == {"stored": 20}


def test_an_archive_that_breaks_while_it_is_compared_ends_it_with_5(
    stored: sandbox.Archive, site: Site, person: Person
) -> None:
    stored.set_faults(["status=500@retrieve:6-"])
    assert person("--bytes").code == 5
    verified = [verified for _, verified in proofs(site).values()]
    assert 0 < sum(verified) < 20


def test_an_archive_that_gives_out_no_bytes_leaves_them_unchecked_and_ends_with_21(
    stored: sandbox.Archive, site: Site, person: Person
) -> None:
    stored.set_faults(["forbidden@retrieve"])
    done = person("--bytes")
    assert done.code == 21, done
    assert "its bytes cannot be compared" in done.out
    assert set(proofs(site).values()) == {("present", False)}


def test_a_ledger_in_use_by_one_who_takes_no_commands_is_read_and_the_rest_is_told(
    stored: sandbox.Archive, site: Site, person: Person
) -> None:
    ledger = Ledger.open(site.ledger)
    try:
        done = person()
    finally:
        ledger.close()
    assert done.code == 0
    assert "20 instances could not be recorded. The ledger is in use" in done.out
    assert {found for found, _ in proofs(site).values()} == {""}


def test_a_page_at_a_time_finds_the_one_that_is_missing_among_many(
    site: Site, sandboxed: sandbox.Archive, person: Person
) -> None:
    template = small("t")
    for number in range(450):
        site.write(f"{number:03}.dcm", samples.retold(template, {sop("t"): sop(f"n{number}")}))
    site.configure(sandboxed.url)
    assert site.backfill(sandboxed.url).exit_code == 0
    lose(SandboxArchive(sandboxed), sop("n333"))
    sandboxed.requests.clear()
    done = person()
    assert signs(done) == [("-", sop("n333"))]
    assert len(sandboxed.requests) < 15


def test_a_warning_of_the_archive_is_kept_and_explained(
    site: Site, sandboxed: sandbox.Archive, person: Person
) -> None:
    site.write("doubtful.dcm", small("a", PatientBirthDate="20000101").replace(b"20000101", b"20001399"))
    site.configure(sandboxed.url)
    assert site.backfill(sandboxed.url).exit_code == 0
    ((reason, detail),) = site.query("SELECT reason, detail FROM instances")
    assert reason == "warning"
    assert detail.startswith("warning 0001: some attributes have values that are not valid; DICOM100")
    told = person(sop("a"), command="explain").out
    assert "stored, with a warning from the archive [warning 0001" in told
    assert person("--bytes").code == 0
    assert site.query("SELECT reason FROM instances") == [("warning",)], "it is kept"


def test_an_archive_that_coerces_says_so_and_is_found_to_have_other_bytes(
    site: Site, sandboxed: sandbox.Archive, person: Person
) -> None:
    sandboxed.set_faults(["coerce"])
    site.write("a.dcm", small("a"))
    site.configure(sandboxed.url)
    assert site.backfill(sandboxed.url).exit_code == 0
    assert person().code == 0
    assert signs(person("--bytes")) == [("*", sop("a"))]
    told = person(sop("a"), command="explain").out
    assert "warning B000: data elements were coerced" in told
    assert "the archive has other bytes than were stored" in told


# Beside a daemon


def test_beside_a_daemon_results_and_healing_go_through_it(
    stored: sandbox.Archive, site: Site, person: Person
) -> None:
    daemon = site.start("run", "-c", site.config_file)
    eventually(lambda: site.ledger.with_name("control.sock").exists())
    gone = next(iter(stored.stored()))
    lose(SandboxArchive(stored), gone)
    eventually(lambda: person().code == 21)
    assert proofs(site)[gone] == ("missing", False)
    assert sum(found == "present" for found, _ in proofs(site).values()) == 19
    done = person("--heal", "--yes")
    assert "The daemon has begun." in done.out
    eventually(lambda: gone in stored.stored())
    eventually(lambda: site.instances() == {"stored": 20})
    daemon.terminate()
    assert daemon.wait(30) == 0


def test_a_daemon_checks_what_it_has_stored_when_it_is_told_to(
    site: Site, sandboxed: sandbox.Archive, person: Person
) -> None:
    site.configure(sandboxed.url, verify={"after_store": "bytes"})
    site.start("run", "-c", site.config_file)
    eventually(lambda: site.ledger.with_name("control.sock").exists())
    site.write("a.dcm", small("a"))
    eventually(lambda: proofs(site).get(sop("a")) == ("equal", True))


# An archive restored from last week's backup


def _copied(orthanc: orthancs.Orthanc, source: str, target: str) -> None:
    shutil.rmtree(orthanc.directory / target, ignore_errors=True)
    shutil.copytree(orthanc.directory / source, orthanc.directory / target)


@pytest.mark.orthanc
def test_an_archive_restored_from_an_old_backup_is_found_out_not_filled_up_by_itself_and_healed(
    own_orthanc: orthancs.Orthanc, site: Site, person: Person
) -> None:
    old = [site.write(f"{name}.dcm", small(name)) for name in "abc"]
    site.configure(own_orthanc.url)
    assert site.backfill(own_orthanc.url).exit_code == 0
    own_orthanc.stop()
    _copied(own_orthanc, "storage", "backup")
    own_orthanc.start()
    new = [site.write(f"{name}.dcm", small(name)) for name in "de"]
    new.append(site.write("other.dcm", small("x", "t")))
    assert site.backfill(own_orthanc.url).exit_code == 0
    assert person().code == 0
    own_orthanc.stop()
    _copied(own_orthanc, "backup", "storage")
    own_orthanc.start()
    done = person()
    assert done.code == 21, done
    assert signs(done) == sorted(("-", uid) for uid in by_uid(new))
    assert site.backfill(own_orthanc.url).requests == 0
    assert same_from_128(own_orthanc.stored(), by_uid(old)), "nothing is sent again by itself"
    assert person("--heal", "--yes").code == 5
    assert site.backfill(own_orthanc.url).exit_code == 0
    assert same_from_128(own_orthanc.stored(), by_uid([*old, *new]))
    assert person("--bytes").code == 0

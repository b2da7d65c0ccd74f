"""`conflicts` list, diff and resolve, on the sandbox and on Orthanc: understood, decided, done, told."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dicomsync import cli, jobs, samples, sandbox
from dicomsync.dicomweb import Client
from dicomsync.errors import NoAnswer
from dicomsync.pacing import Signal, Trouble
from tests import orthanc as orthancs
from tests.conftest import (
    AnyArchive,
    Done,
    OrthancArchive,
    SandboxArchive,
    Site,
    eventually,
    need,
    same_from_128,
    small,
    uid_of,
)

Command = Callable[..., Done]


@pytest.fixture
def conflicts(site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """A person at the command line, in this process: `dicomsync conflicts …`."""

    def run(name: str, *words: str | Path, code: int = 0, group: tuple[str, ...] = ("conflicts",)) -> Done:
        argv = ["dicomsync", *group, name, "-c", str(site.config_file), *map(str, words)]
        monkeypatch.setattr("sys.argv", argv)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert ended.value.code == code, out + err
        assert "Traceback" not in err
        return Done(code, out, err)

    return run


def sop(name: str) -> str:
    return samples.uid("s", "1", name)


def put(site: Site, archive: AnyArchive, *files: tuple[str, bytes], code: int = 0) -> None:
    """Write files, and run a backfill."""
    for name, content in files:
        site.write(f"{name}.dcm", content)
    site.configure(archive.url)
    assert site.backfill(archive.url).exit_code == code


def edited(site: Site, archive: AnyArchive, *names: str, patient: str = "Demo^Anna") -> dict[str, bytes]:
    """Have these stored, then edited in their folder; gives what was stored."""
    put(site, archive, *((name, small(name)) for name in names))
    before = archive.stored()
    changed = {name: small(name, StudyDescription="x", PatientName=patient) for name in names}
    put(site, archive, *changed.items(), code=20)
    assert site.instances() == {"stored": len(names), "conflict": len(names)}
    return before


# understanding


def test_conflicts_are_listed_by_study_then_by_instance_and_compared_when_asked(
    archive: AnyArchive, site: Site, conflicts: Command
) -> None:
    edited(site, archive, "a", "b", "c")
    told = conflicts("list").out
    assert told.startswith("3 instances of study ")
    assert "not compared yet" in told
    assert "3 instances" in conflicts("list", "--compare").out
    assert "header differs, same pixels" in conflicts("list").out
    (one,) = conflicts("list", "--json").json["conflicts"]
    assert (one["likeness"], one["n"], one["study_instance_uid"]) == ("header", 3, samples.uid("s"))
    by_instance = conflicts("list", "--study", one["study"]).out
    assert sop("b") in by_instance
    assert str(site.folder / "b.dcm") in by_instance


def test_a_diff_tells_tag_by_tag_what_each_side_has(
    archive: AnyArchive, site: Site, conflicts: Command
) -> None:
    edited(site, archive, "a")
    told = conflicts("diff", sop("a")).out
    assert "header differs, same pixels" in told
    assert "StudyDescription (00081030)" in told
    (one,) = conflicts("diff", sop("a"), "--json").json["conflicts"]
    (difference,) = one["differences"]
    assert (difference["folder"], difference["other"]) == ("x", "Made-up study")
    assert one["pixels"]["folder"] == one["pixels"]["other"]
    assert one["other"] == "archive"
    assert conflicts("diff", one["instance"]).out == told, "by its handle too"
    assert "header differs" in conflicts("list").out, "it is kept"


def test_a_different_patient_is_shouted(archive: AnyArchive, site: Site, conflicts: Command) -> None:
    edited(site, archive, "a", patient="Someone^Else")
    assert (
        "!!! The folder's file and the archive are of DIFFERENT PATIENTS. !!!"
        in conflicts("diff", sop("a")).out
    )
    assert "DIFFERENT PATIENT" in conflicts("list").out


@pytest.mark.parametrize("keep", ["archive", "folder"])
def test_of_different_patients_nothing_is_decided_in_passing(
    sandboxed: sandbox.Archive, site: Site, conflicts: Command, keep: str
) -> None:
    archive = SandboxArchive(sandboxed)
    edited(site, archive, "a", "b")
    before = put_another_patient(site, archive, "b")
    resolve = ("resolve", "--study", samples.uid("s"), "--keep", keep, "--yes")
    told = conflicts(*resolve, code=20).out
    assert "1 instance left: DIFFERENT PATIENT" in told
    assert "1 instance resolved" in told
    assert archive.stored()[sop("b")] == before[sop("b")]
    assert site.instances() == {"stored": 2, "superseded": 1, "conflict": 1}
    conflicts(*resolve, "--different-patient")
    assert site.instances() == {"stored": 2, "superseded": 2}


def test_a_person_who_is_asked_is_told_what_it_is_about_and_that_a_no_changed_nothing(
    sandboxed: sandbox.Archive, site: Site, conflicts: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = SandboxArchive(sandboxed)
    edited(site, archive, "a", "b")
    before = put_another_patient(site, archive, "b")
    resolve = ("resolve", "--study", samples.uid("s"), "--keep", "folder", "--different-patient")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    told = conflicts(*resolve, code=130).err
    assert "1 instance: DIFFERENT PATIENT" in told
    assert "1 instance: header differs, same pixels" in told
    assert told.endswith("Nothing was changed.\n")
    assert archive.stored() == before


def put_another_patient(site: Site, archive: AnyArchive, name: str) -> dict[str, bytes]:
    """Edit an instance in its folder into another patient's; gives what the archive has."""
    put(site, archive, (name, small(name, PatientID="OTHER")), code=20)
    return archive.stored()


def test_the_different_patient_comes_first(
    sandboxed: sandbox.Archive, site: Site, conflicts: Command
) -> None:
    archive = SandboxArchive(sandboxed)
    edited(site, archive, "a", "b", "c")
    put_another_patient(site, archive, "c")
    first, second = conflicts("list", "--compare").out.splitlines()
    assert "DIFFERENT PATIENT" in first
    assert second.startswith("2 instances")
    assert "DIFFERENT PATIENT" in conflicts("list", "--study", samples.uid("s")).out.splitlines()[0]


def test_two_files_of_ours_are_compared_though_the_archive_is_away(site: Site, conflicts: Command) -> None:
    site.write("1.dcm", small("a"))
    site.write("2.dcm", small("a", StudyDescription="x"))
    site.configure("http://127.0.0.1:9/none")
    site.backfill("http://127.0.0.1:9/none")
    assert site.instances() == {"pending": 1, "conflict": 1}
    told = conflicts("diff", sop("a")).out
    assert "other file" in told
    assert "StudyDescription" in told


def test_what_cannot_be_compared_is_told_and_what_is_no_conflict_too(
    archive: AnyArchive, site: Site, conflicts: Command
) -> None:
    edited(site, archive, "a", "b")
    (site.folder / "a.dcm").unlink()
    site.backfill(archive.url)
    assert "no file holds this content any more" in conflicts("diff", sop("a"), code=2).err
    assert "no file holds this content" in conflicts("list", "--compare").err
    assert "knows no conflict" in conflicts("diff", "9.9.9", code=2).err
    assert "is a study" in conflicts("diff", samples.uid("s"), code=2).err
    assert "knows no conflict" in conflicts("list", "--study", "9.9.9", code=2).err


def test_what_was_decided_already_is_told_as_what_it_is(
    sandboxed: sandbox.Archive, site: Site, conflicts: Command
) -> None:
    edited(site, SandboxArchive(sandboxed), "a")
    (one,) = conflicts("list", "--study", samples.uid("s"), "--json").json["conflicts"]
    conflicts("resolve", one["instance"], "--keep", "archive", "--yes")
    told = conflicts("resolve", one["instance"], "--keep", "archive", "--yes", code=2).err
    assert "in no conflict: it is superseded" in told
    assert "it is stored and superseded" in conflicts("diff", sop("a"), code=2).err


def test_an_archive_that_is_away_is_told_and_nothing_was_changed(
    sandboxed: sandbox.Archive, site: Site, conflicts: Command
) -> None:
    edited(site, SandboxArchive(sandboxed), "a")
    sandboxed.set_faults(["down"])
    told = conflicts("resolve", sop("a"), "--keep", "archive", "--yes", code=5).err
    assert "cannot be asked, and nothing was changed" in told
    assert "dicomsync doctor" in told


def test_without_conflicts_it_says_so(sandboxed: sandbox.Archive, site: Site, conflicts: Command) -> None:
    site.configure(sandboxed.url)
    site.backfill(sandboxed.url)
    assert conflicts("list").out == "There are no conflicts.\n"


# deciding for the archive


def test_keeping_the_archives_content_settles_it_for_good(
    archive: AnyArchive, site: Site, conflicts: Command
) -> None:
    before = edited(site, archive, "a", "b")
    told = conflicts("resolve", "--study", samples.uid("s"), "--keep", "archive", "--yes").out
    assert "2 instances resolved: the archive's content is kept" in told
    assert site.instances() == {"stored": 2, "superseded": 2}
    assert "Nothing was there" in conflicts("retry", "--rejected", group=()).out
    report = site.backfill(archive.url)
    assert (report.exit_code, report.requests) == (0, 0), "no case for a person any more, and nothing sent"
    (site.folder / "a.dcm").rename(site.folder / "moved.dcm")
    assert site.backfill(archive.url).exit_code == 0
    assert site.instances() == {"stored": 2, "superseded": 2}
    assert archive.stored() == before


def test_what_the_archive_has_lost_is_not_kept_there(
    archive: AnyArchive, site: Site, conflicts: Command
) -> None:
    edited(site, archive, "a")
    conflicts("delete", samples.uid("s"), "--yes", group=("archive",))
    told = conflicts("resolve", sop("a"), "--keep", "archive", "--yes", code=20).out
    assert "would lose the instance" in told
    assert "1 instance resolved" in conflicts("resolve", sop("a"), "--keep", "folder", "--yes").out
    assert archive.stored()[sop("a")][128:] == (site.folder / "a.dcm").read_bytes()[128:]


# deciding for the folder


def test_the_folders_content_replaces_what_was_stored_from_here(
    archive: AnyArchive, site: Site, conflicts: Command
) -> None:
    edited(site, archive, "a", "b")
    told = conflicts("resolve", "--study", samples.uid("s"), "--keep", "folder", "--yes").out
    assert "2 instances resolved" in told
    wanted = {sop(name): (site.folder / f"{name}.dcm").read_bytes() for name in "ab"}
    assert same_from_128(archive.stored(), wanted)
    assert site.instances() == {"stored": 2, "superseded": 2}
    rows = site.query("SELECT verified_at IS NOT NULL, length(sha256) FROM instances WHERE state = 'stored'")
    assert rows == [(1, 32)] * 2
    report = site.backfill(archive.url)
    assert (report.exit_code, report.requests) == (0, 0)


def test_a_content_that_was_not_stored_from_here_is_replaced_by_put_and_else_only_explained(
    archive: AnyArchive, site: Site, conflicts: Command
) -> None:
    foreign = site.home / "foreign.dcm"
    foreign.write_bytes(small("a", StudyDescription="foreign"))
    site.configure(archive.url)
    conflicts("store", foreign, group=("archive",))
    put(site, archive, ("a", small("a")), code=20)
    replaces = archive.kind == "dicom-server"
    told = conflicts("resolve", sop("a"), "--keep", "folder", "--yes", code=0 if replaces else 20).out
    kept = site.folder / "a.dcm" if replaces else foreign
    assert archive.stored()[sop("a")][128:] == kept.read_bytes()[128:]
    assert site.instances() == ({"stored": 1} if replaces else {"conflict": 1})
    if not replaces:
        assert "was not stored from here" in told
        conflicts("delete", samples.uid("s"), "--yes", group=("archive",))  # as it was told
        conflicts("resolve", sop("a"), "--keep", "folder", "--yes")
        assert archive.stored()[sop("a")][128:] == (site.folder / "a.dcm").read_bytes()[128:]


def test_nobody_to_answer_is_no_yes(
    archive: AnyArchive, site: Site, conflicts: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = edited(site, archive, "a")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert (
        "will be replaced in the archive" in conflicts("resolve", sop("a"), "--keep", "folder", code=130).err
    )
    assert archive.stored() == before
    assert "Which conflicts?" in conflicts("resolve", "--keep", "folder", code=2).err


def test_between_several_files_a_person_chooses_by_handle(
    archive: AnyArchive, site: Site, conflicts: Command
) -> None:
    edited(site, archive, "a")
    put(site, archive, ("z", small("a", StudyDescription="third")), code=20)
    assert "Several files" in conflicts("resolve", sop("a"), "--keep", "folder", "--yes", code=2).err
    listed = conflicts("list", "--study", samples.uid("s"), "--json").json["conflicts"]
    (handle,) = (one["instance"] for one in listed if one["file"].endswith("z.dcm"))
    conflicts("resolve", handle, "--keep", "folder", "--yes")
    assert archive.stored()[sop("a")][128:] == (site.folder / "z.dcm").read_bytes()[128:]
    conflicts("resolve", sop("a"), "--keep", "archive", "--yes")
    assert site.instances() == {"stored": 1, "superseded": 2}


def test_a_file_that_left_or_changed_is_not_stored(
    archive: AnyArchive, site: Site, conflicts: Command
) -> None:
    before = edited(site, archive, "a")
    site.write("a.dcm", small("a", StudyDescription="once more"))
    told = conflicts("resolve", sop("a"), "--keep", "folder", "--yes", code=20).out
    assert "has changed" in told
    assert archive.stored() == before
    assert site.instances() == {"stored": 1, "conflict": 1}


# in the middle


def test_a_crash_between_delete_and_store_is_told_and_the_same_command_goes_on(
    orthanc: orthancs.Orthanc, site: Site, conflicts: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = OrthancArchive(orthanc)
    edited(site, archive, "a")

    def cut(*_: Any, **__: Any) -> Any:
        raise NoAnswer("broken", "the connection broke")

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "store", cut)
        told = conflicts("resolve", sop("a"), "--keep", "folder", "--yes", code=5)
    assert "keeps it as begun" in told.err
    assert "same command again" in told.err
    assert archive.count() == 0
    assert site.instances() == {"deleting": 1, "conflict": 1}
    assert "give the same command again" in conflicts("list").out
    site.backfill(archive.url)
    assert archive.count() == 0, "no backfill decides it"
    conflicts("resolve", sop("a"), "--keep", "folder", "--yes")
    assert archive.stored()[sop("a")] == (site.folder / "a.dcm").read_bytes()
    assert site.instances() == {"stored": 1, "superseded": 1}


def test_a_crash_after_the_store_is_found_out_whatever_the_person_says_then(
    archive: AnyArchive, site: Site, conflicts: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited(site, archive, "a")
    stored = jobs.store

    def cut(*given: Any, **more: Any) -> Any:
        stored(*given, **more)
        raise NoAnswer("broken", "the connection broke")

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "store", cut)
        conflicts("resolve", sop("a"), "--keep", "folder", "--yes", code=5)
    assert site.instances() == {"deleting": 1, "conflict": 1}
    assert "already" in conflicts("resolve", sop("a"), "--keep", "archive", "--yes").out
    assert site.instances() == {"stored": 1, "superseded": 1}
    assert site.backfill(archive.url).exit_code == 0


def test_where_it_was_begun_and_nothing_done_the_archives_may_still_be_kept(
    archive: AnyArchive, site: Site, conflicts: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = edited(site, archive, "a")

    def cut(*_: Any, **__: Any) -> Any:
        raise NoAnswer("broken", "the connection broke")

    with monkeypatch.context() as patch:
        patch.setattr(Client, "delete", cut)
        patch.setattr(jobs, "store", cut)
        conflicts("resolve", sop("a"), "--keep", "folder", "--yes", code=5)
    assert site.instances() == {"deleting": 1, "conflict": 1}
    assert "is kept" in conflicts("resolve", sop("a"), "--keep", "archive", "--yes").out
    assert site.instances() == {"stored": 1, "superseded": 1}
    assert archive.stored() == before
    states = dict(site.query("SELECT state, reason FROM instances"))
    assert states == {"stored": "", "superseded": "kept-archive"}


def test_what_the_archive_does_not_take_is_undone_and_what_it_had_put_back(
    archive: AnyArchive, site: Site, conflicts: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = edited(site, archive, "a")
    refusal = jobs.Stored(signal=Signal(Trouble.SETUP, "it does not take it"))
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "store", lambda *_: refusal)
        told = conflicts("resolve", sop("a"), "--keep", "folder", "--yes", code=20).out
    assert "did not take the file's content (it does not take it); what it had is there again" in told
    assert same_from_128(archive.stored(), before)
    assert site.instances() == {"stored": 1, "conflict": 1}
    assert dict(site.query("SELECT state, reason FROM instances")) == {"stored": "", "conflict": "differs"}


@pytest.mark.parametrize(
    ("fault", "words"),
    [("status=503", "failed"), ("html-200", "without naming it"), ("reason=43264", "validation failed")],
)
def test_where_a_put_fails_nothing_is_deleted_for_it(
    sandboxed: sandbox.Archive, site: Site, conflicts: Command, fault: str, words: str
) -> None:
    archive = SandboxArchive(sandboxed)
    before = edited(site, archive, "a")
    sandboxed.set_faults([f"{fault}@store"])
    told = conflicts("resolve", sop("a"), "--keep", "folder", "--yes", code=20).out
    assert words in told
    assert "it has what it had" in told
    assert archive.stored() == before
    assert dict(site.query("SELECT state, reason FROM instances")) == {"stored": "", "conflict": "differs"}


@pytest.mark.parametrize(
    ("fault", "words"), [("liar", "it said so, and does not show it"), ("status=503", "failed")]
)
def test_an_archive_that_was_left_with_nothing_is_told_and_how_to_go_on(
    sandboxed: sandbox.Archive,
    site: Site,
    conflicts: Command,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    words: str,
) -> None:
    """By delete and store, where the second half fails, and what was there is not taken back either."""
    archive, stored = SandboxArchive(sandboxed), jobs.store
    edited(site, archive, "a")

    def without_put(where: Any, batch: Any, way: jobs.Way) -> jobs.Stored:
        if way is jobs.Way.REPLACE:
            return jobs.Stored(signal=Signal(Trouble.SETUP, "it knows no PUT"))
        return stored(where, batch, way)

    monkeypatch.setattr(jobs, "store", without_put)
    sandboxed.set_faults([f"{fault}@store"])
    told = conflicts("resolve", sop("a"), "--keep", "folder", "--yes", code=5).err
    assert words in told
    assert "It has nothing under this UID now; the file is where it was" in told
    assert "same command again" in told
    life = conflicts("explain", sop("a"), group=()).out
    assert "the same `conflicts resolve` again" in life
    assert not re.search(r"why: .*\[", life), "the ledger's notes to itself are no reason"
    sandboxed.set_faults([])
    conflicts("resolve", sop("a"), "--keep", "folder", "--yes")
    assert archive.stored()[sop("a")][128:] == (site.folder / "a.dcm").read_bytes()[128:]


# beside a daemon, and archives that keep or replace in silence


def test_beside_a_daemon_it_goes_through_it(
    sandboxed: sandbox.Archive, site: Site, conflicts: Command
) -> None:
    archive = SandboxArchive(sandboxed)
    edited(site, archive, "a", "b")
    daemon = site.start("run", "-c", site.config_file)
    eventually((site.ledger.parent / "control.sock").is_socket)
    assert "header differs" in conflicts("list", "--compare").out
    conflicts("resolve", sop("a"), "--keep", "folder", "--yes")
    conflicts("resolve", sop("b"), "--keep", "archive", "--yes")
    assert site.instances() == {"stored": 2, "superseded": 2}
    assert daemon.poll() is None
    assert archive.stored()[sop("a")][128:] == (site.folder / "a.dcm").read_bytes()[128:]


@pytest.mark.orthanc
@pytest.mark.parametrize("overwrites", [False, True])
def test_an_archive_that_keeps_or_replaces_in_silence_is_never_believed(
    tmp_path: Path, site: Site, conflicts: Command, overwrites: bool
) -> None:
    need(orthancs.missing())
    with orthancs.running(tmp_path / "own", overwrites=overwrites) as server:
        archive = OrthancArchive(server)
        before = edited(site, archive, "a", "b")
        assert archive.stored() == before, "nothing was sent over it"
        assert "StudyDescription" in conflicts("diff", sop("a")).out
        conflicts("resolve", sop("a"), "--keep", "archive", "--yes")
        conflicts("resolve", sop("b"), "--keep", "folder", "--yes")
        assert archive.stored() == before | {sop("b"): (site.folder / "b.dcm").read_bytes()}
        assert site.instances() == {"stored": 2, "superseded": 2}
        assert site.backfill(archive.url).exit_code == 0


def test_the_names_of_the_samples_are_the_uids_in_them() -> None:
    assert uid_of(small("a")) == sop("a")

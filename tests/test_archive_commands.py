"""DICOMweb by hand: `archive store`, `retrieve`, `search` and `delete`, on the sandbox and on Orthanc."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dicomsync import cli, samples, sandbox
from tests.conftest import AnyArchive, Done, SandboxArchive, Site, by_uid, same_from_128, small

STUDY, SERIES = samples.uid("s"), samples.uid("s", "1")


def sop(name: str, series: str = "1") -> str:
    return samples.uid("s", series, name)


class Hand:
    """A person at the command line, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *words: str | Path, code: int = 0) -> Done:
        self._monkeypatch.setattr("sys.argv", ["dicomsync", "archive", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = self._capsys.readouterr()
        assert ended.value.code == code, out + err
        assert "Traceback" not in err
        return Done(code, out, err)


@pytest.fixture
def hand(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Hand:
    return Hand(capsys, monkeypatch)


@pytest.fixture
def files(site: Site) -> list[Path]:
    """Two series of one study, two instances each, and another study."""
    wanted = [("a", "1"), ("b", "1"), ("c", "2"), ("d", "2")]
    paths = [site.write(f"{name}.dcm", small(name, series=series)) for name, series in wanted]
    return [*paths, site.write("other.dcm", small("x", "t"))]


def uids(found: Done, tag: str) -> set[str]:
    return {row[tag]["Value"][0] for row in found.json}


# store


def test_what_is_stored_by_hand_is_there_as_it_was(
    archive: AnyArchive, hand: Hand, files: list[Path]
) -> None:
    assert "stored  5" in hand("store", "--archive", archive.url, *files).out
    assert same_from_128(archive.stored(), by_uid(files))


def test_a_second_time_everything_is_there_already(
    archive: AnyArchive, hand: Hand, files: list[Path]
) -> None:
    hand("store", "--archive", archive.url, *files)
    told = hand("store", "--archive", archive.url, "--json", *files).json
    assert {one["fate"] for one in told} == {"already there"}
    assert archive.count() == 5


def test_other_bytes_under_a_known_uid_are_a_conflict_and_change_nothing(
    archive: AnyArchive, hand: Hand, site: Site, files: list[Path]
) -> None:
    hand("store", "--archive", archive.url, *files)
    other = site.write("changed.dcm", small("a", PatientComments="other"))
    assert "conflict" in hand("store", "--archive", archive.url, other, code=20).out
    assert same_from_128(archive.stored(), by_uid(files))


def test_of_two_contents_under_one_uid_in_one_command_only_the_first_goes(
    archive: AnyArchive, hand: Hand, site: Site
) -> None:
    first, copy = site.write("1.dcm", small("a")), site.write("2.dcm", small("a"))
    other = site.write("3.dcm", small("a", PatientComments="other"))
    told = hand("store", "--archive", archive.url, "--json", first, copy, other, code=20).json
    assert [one["fate"] for one in told] == ["copy", "conflict", "stored"]
    assert same_from_128(archive.stored(), by_uid([first]))


def test_what_is_no_whole_file_is_not_sent_and_told_why(archive: AnyArchive, hand: Hand, site: Site) -> None:
    cut = site.write("cut.dcm", small("a")[:-10])
    text = site.write("notes.txt", b"hello")
    told = hand("store", "--archive", archive.url, "--json", cut, text, site.home / "none.dcm", code=20).json
    assert {one["fate"] for one in told} == {"not sent"}
    assert "cut short" in told[0]["why"]
    assert archive.count() == 0


def test_names_that_are_no_text_or_would_move_the_terminal_are_told_in_escapes(
    archive: AnyArchive, site: Site
) -> None:
    names = [b"\xff.dcm", b"\x1b[2J\n.dcm"]
    paths = [os.fsencode(site.folder) + b"/" + name for name in names]
    for path in paths:
        Path(os.fsdecode(path)).write_bytes(small("a")[:-10])
    command = [sys.executable, "-m", "dicomsync", "archive", "store", "--archive", archive.url]
    done = subprocess.run(
        [*map(os.fsencode, command), *paths], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (20, "")
    assert "/\\xff.dcm: not sent" in done.stdout
    assert "/\\x1b[2J\\n.dcm: not sent" in done.stdout


def test_only_files_of_the_study_named_are_stored(archive: AnyArchive, hand: Hand, files: list[Path]) -> None:
    told = hand("store", "--archive", archive.url, "--study", STUDY, *files, code=20).out
    assert "other.dcm: not sent, it is of another study" in told
    if isinstance(archive, SandboxArchive):
        assert [one.path for one in archive.inner.requests if one.method == "POST"] == [
            f"/v2/studies/{STUDY}"
        ]
    assert same_from_128(archive.stored(), by_uid(files[:4]))


def test_a_single_part_is_stored_where_the_archive_takes_it(
    sandboxed: sandbox.Archive, hand: Hand, files: list[Path]
) -> None:
    hand("store", "--archive", sandboxed.url, "--single", *files)
    assert len(sandboxed.stored()) == 5
    assert sum(request.method == "POST" for request in sandboxed.requests) == 5


@pytest.mark.orthanc
def test_a_single_part_is_refused_with_words_where_it_does_not(
    orthanc: Any, hand: Hand, files: list[Path]
) -> None:
    assert "single-part" in hand("store", "--archive", orthanc.url, "--single", *files, code=2).err
    assert orthanc.count() == 0


def test_replacing_needs_a_word_and_an_archive_that_can(
    sandboxed: sandbox.Archive, hand: Hand, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = site.write("1.dcm", small("a"))
    other = site.write("2.dcm", small("a", PatientComments="other"))
    hand("store", "--archive", sandboxed.url, first)
    monkeypatch.setattr("sys.stdin", io.StringIO())  # nobody answers
    hand("store", "--archive", sandboxed.url, "--replace", other, code=130)
    hand("store", "--archive", sandboxed.url, "--replace", "--yes", other)
    assert [kept.path.read_bytes() for kept in sandboxed.stored().values()] == [other.read_bytes()]


def test_an_archive_that_is_not_there_ends_it_with_5(hand: Hand, files: list[Path]) -> None:
    assert "127.0.0.1" not in hand("store", "--archive", "http://127.0.0.1:9/x", *files, code=5).out


def test_a_lost_answer_is_asked_about_at_once(
    sandboxed: sandbox.Archive, hand: Hand, files: list[Path]
) -> None:
    sandboxed.set_faults(["lost-answer@store:1"])
    assert "stored  5" in hand("store", "--archive", sandboxed.url, *files).out


def test_a_refusal_is_told_in_words(sandboxed: sandbox.Archive, hand: Hand, files: list[Path]) -> None:
    sandboxed.set_faults(["reason=43264"])
    assert "validation failed" in hand("store", "--archive", sandboxed.url, files[0], code=20).out


# retrieve


def kept(directory: Path) -> dict[str, bytes]:
    return by_uid(sorted(directory.rglob("*.dcm")))


@pytest.mark.parametrize(
    ("wanted", "names"),
    [((STUDY,), "abcd"), ((STUDY, SERIES), "ab"), ((STUDY, SERIES, sop("a")), "a")],
    ids=["study", "series", "instance"],
)
def test_what_is_retrieved_is_what_was_stored(
    archive: AnyArchive, hand: Hand, files: list[Path], tmp_path: Path, wanted: tuple[str, ...], names: str
) -> None:
    hand("store", "--archive", archive.url, *files)
    hand("retrieve", "--archive", archive.url, *wanted, "-o", tmp_path / "out")
    assert same_from_128(kept(tmp_path / "out"), by_uid([path for path in files if path.stem in names]))
    assert not list((tmp_path / "out").glob(".*"))


def test_what_is_there_is_not_fetched_again(
    sandboxed: sandbox.Archive, hand: Hand, files: list[Path], tmp_path: Path
) -> None:
    hand("store", "--archive", sandboxed.url, *files)
    hand("retrieve", "--archive", sandboxed.url, STUDY, "-o", tmp_path / "out")
    (tmp_path / "out" / STUDY / SERIES / f"{sop('a')}.dcm").unlink()
    before = len(sandboxed.requests)
    told = hand("retrieve", "--archive", sandboxed.url, STUDY, "-o", tmp_path / "out").out
    assert "1 file retrieved" in told
    assert "3 there already" in told
    fetched = [one.path for one in sandboxed.requests[before:] if "/instances/" in one.path]
    assert [path.rpartition("/")[2] for path in fetched] == [sop("a")]


def test_an_interrupted_retrieve_leaves_whole_files_alone_and_goes_on(
    sandboxed: sandbox.Archive, hand: Hand, files: list[Path], tmp_path: Path
) -> None:
    hand("store", "--archive", sandboxed.url, *files)
    sandboxed.set_faults(["cut-answer@retrieve:1"])
    told = hand("retrieve", "--archive", sandboxed.url, STUDY, "-o", tmp_path / "out", code=5)
    assert "What had come whole by then is kept" in told.err
    whole = kept(tmp_path / "out")
    assert 0 < len(whole) < 4
    assert not list((tmp_path / "out").glob(".*"))
    assert all(content[128:] == by_uid(files)[uid][128:] for uid, content in whole.items())
    hand("retrieve", "--archive", sandboxed.url, STUDY, "-o", tmp_path / "out")
    assert same_from_128(kept(tmp_path / "out"), by_uid(files[:4]))


def test_another_file_in_the_place_of_one_is_left_as_it_is(
    archive: AnyArchive, hand: Hand, files: list[Path], tmp_path: Path
) -> None:
    hand("store", "--archive", archive.url, *files)
    mine = tmp_path / "out" / STUDY / SERIES / f"{sop('a')}.dcm"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    assert (
        "was left as it is"
        in hand("retrieve", "--archive", archive.url, STUDY, "-o", tmp_path / "out", code=20).out
    )
    assert mine.read_bytes() == b"mine"
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 4


@pytest.mark.parametrize("odd", ["../../etc/passwd", "1..2", ".", "1.2/3", "1.2.", "x" * 3, "1" * 65, ""])
def test_what_is_no_uid_is_refused_before_anything_is_asked_or_written(
    hand: Hand, tmp_path: Path, odd: str
) -> None:
    told = hand("retrieve", "--archive", "http://127.0.0.1:9/x", odd, "-o", tmp_path / "out", code=2)
    assert "is no UID" in told.err
    assert not (tmp_path / "out").exists()


def test_nothing_there_is_said_so(archive: AnyArchive, hand: Hand, tmp_path: Path) -> None:
    told = hand("retrieve", "--archive", archive.url, "1.2.3", "-o", tmp_path / "out", code=5)
    assert "no such study" in told.err
    assert not list((tmp_path / "out").iterdir())


def test_a_directory_that_cannot_be_written_is_told_before_anything_is_fetched(
    sandboxed: sandbox.Archive, hand: Hand, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file")
    told = hand("retrieve", "--archive", sandboxed.url, STUDY, "-o", tmp_path / "out", code=2)
    assert "Not" not in told.out
    assert not [one for one in sandboxed.requests if "/instances" in one.path]


def test_metadata_is_printed_untouched_or_kept_with_the_archives_mark(
    archive: AnyArchive, hand: Hand, files: list[Path], tmp_path: Path
) -> None:
    hand("store", "--archive", archive.url, *files)
    printed = hand("retrieve", "--archive", archive.url, STUDY, "--metadata")
    assert uids(printed, "00080018") == {sop("a"), sop("b"), sop("c", "2"), sop("d", "2")}
    out = ("--metadata", "-o", tmp_path / "out")
    assert "4 instances" in hand("retrieve", "--archive", archive.url, STUDY, *out).out
    assert json.loads((tmp_path / "out" / f"{STUDY}.metadata.json").read_text()) == printed.json
    again = hand("retrieve", "--archive", archive.url, STUDY, *out).out
    assert ("nothing new" in again) == (archive.kind == "dicom-server")  # Orthanc gives no ETag


def test_frames_come_one_by_one(archive: AnyArchive, hand: Hand, site: Site, tmp_path: Path) -> None:
    pixels = b"".join(bytes([n]) * 512 for n in range(3))
    of = {"study_uid": STUDY, "series_uid": SERIES, "sop_uid": sop("m")}
    many = samples.instance(
        **of, rows=16, columns=16, pixels=pixels, extra={"NumberOfFrames": 3, "PatientID": "D"}
    )
    path = site.write("many.dcm", many)
    hand("store", "--archive", archive.url, path)
    where = (STUDY, SERIES, sop("m"))
    hand("retrieve", "--archive", archive.url, *where, "--frames", "3,1", "-o", tmp_path / "out")
    got = {one.name: one.read_bytes() for one in (tmp_path / "out").iterdir()}
    assert got == {
        f"{sop('m')}-frame-3.raw": pixels[2 * 512 : 3 * 512],
        f"{sop('m')}-frame-1.raw": pixels[:512],
    }
    told = hand("retrieve", "--archive", archive.url, *where, "--frames", "9", "-o", tmp_path / "out", code=5)
    assert "frame" in told.err


@pytest.mark.parametrize("numbers", ["0", "a", "1,,2", "-1"])
def test_frames_are_numbered_from_1(hand: Hand, tmp_path: Path, numbers: str) -> None:
    words = ("retrieve", "--archive", "http://127.0.0.1:9/x", "1.2", "1.3", "1.4", "-o", tmp_path)
    assert "frame numbers" in hand(*words, f"--frames={numbers}", code=2).err


# search


def test_a_search_finds_studies_series_and_instances(
    archive: AnyArchive, hand: Hand, files: list[Path]
) -> None:
    hand("store", "--archive", archive.url, *files)
    assert uids(hand("search", "--archive", archive.url, "studies", "--json"), "0020000D") == {
        STUDY,
        samples.uid("t"),
    }
    found = hand("search", "--archive", archive.url, "series", "--study", STUDY, "--json")
    assert uids(found, "0020000E") == {SERIES, samples.uid("s", "2")}
    within = ("--study", STUDY, "--series", SERIES)
    assert uids(hand("search", "--archive", archive.url, "instances", *within, "--json"), "00080018") == {
        sop("a"),
        sop("b"),
    }


def test_a_table_for_people_never_cuts_a_uid(archive: AnyArchive, hand: Hand, files: list[Path]) -> None:
    hand("store", "--archive", archive.url, *files)
    told = hand("search", "--archive", archive.url, "studies", "-f", "PatientID=DEMO")
    assert STUDY in told.out
    assert "Demo^Anna" in told.out
    assert "2 found" in told.err
    assert "nothing found" in hand("search", "--archive", archive.url, "studies", "-f", "PatientID=NO").err


def test_a_limit_is_kept_and_pages_go_on_to_the_end(
    archive: AnyArchive, hand: Hand, files: list[Path]
) -> None:
    hand("store", "--archive", archive.url, *files)
    assert len(hand("search", "--archive", archive.url, "instances", "--limit", "3", "--json").json) == 3
    assert len(hand("search", "--archive", archive.url, "instances", "--json").json) == 5


@pytest.mark.parametrize("wrong", ["PatientID", "=x", "PatientID="])
def test_a_filter_that_is_none_is_refused(hand: Hand, wrong: str) -> None:
    words = ("search", "--archive", "http://127.0.0.1:9/x", "studies", "-f", wrong)
    assert "NAME=VALUE" in hand(*words, code=2).err


# delete


@pytest.mark.parametrize(
    ("wanted", "left"),
    [((STUDY,), "other"), ((STUDY, SERIES), "c d other"), ((STUDY, SERIES, sop("a")), "b c d other")],
    ids=["study", "series", "instance"],
)
def test_just_what_is_named_is_deleted(
    archive: AnyArchive, hand: Hand, files: list[Path], wanted: tuple[str, ...], left: str
) -> None:
    hand("store", "--archive", archive.url, *files)
    assert "Deleted." in hand("delete", "--archive", archive.url, *wanted, "--yes").out
    assert same_from_128(archive.stored(), by_uid([path for path in files if path.stem in left.split()]))
    assert "It was not there." in hand("delete", "--archive", archive.url, *wanted, "--yes").out


def test_it_names_what_would_go_and_does_nothing_without_a_yes(
    archive: AnyArchive, hand: Hand, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    hand("store", "--archive", archive.url, *files)
    monkeypatch.setattr("sys.stdin", io.StringIO())  # nobody answers
    told = hand("delete", "--archive", archive.url, STUDY, code=130)
    assert "2 series, 4 instances" in told.err
    assert archive.count() == 5


@pytest.fixture
def kept_account(site: Site, sandboxed: sandbox.Archive, files: list[Path]) -> Site:
    """A ledger that has stored all files."""
    site.configure(sandboxed.url)
    assert site.run_backfill().code == 0
    assert len(sandboxed.stored()) == len(files)
    return site


def test_what_a_person_deleted_no_backfill_brings_back(
    kept_account: Site, sandboxed: sandbox.Archive, hand: Hand, files: list[Path]
) -> None:
    told = hand("delete", "-c", kept_account.config_file, STUDY, "--yes").out
    assert "The ledger marks 4 instances of it" in told
    kept_account.write("again/a.dcm", files[0].read_bytes())
    files[1].rename(files[1].with_name("renamed.dcm"))
    assert kept_account.run_backfill().code == 0
    assert set(sandboxed.stored()) == {samples.uid("t", "1", "x")}
    assert kept_account.instances() == {"stored": 1, "deleted": 4}


def test_where_there_is_no_ledger_none_is_made(
    site: Site, sandboxed: sandbox.Archive, hand: Hand, files: list[Path]
) -> None:
    hand("store", "--archive", sandboxed.url, *files)
    site.configure(sandboxed.url)
    assert "knows nothing of it" in hand("delete", "-c", site.config_file, STUDY, "--yes").out
    assert not site.ledger.exists()


def test_a_corrected_file_is_another_content_and_is_stored(
    kept_account: Site, sandboxed: sandbox.Archive, hand: Hand
) -> None:
    hand("delete", "-c", kept_account.config_file, STUDY, SERIES, sop("a"), "--yes")
    kept_account.write("a.dcm", small("a", PatientComments="corrected"))
    assert kept_account.run_backfill().code == 0
    assert len(sandboxed.stored()) == 5


def test_what_the_archive_refuses_to_delete_is_what_it_was(
    kept_account: Site, sandboxed: sandbox.Archive, hand: Hand
) -> None:
    sandboxed.set_faults(["status=403@delete"])
    hand("delete", "-c", kept_account.config_file, STUDY, "--yes", code=5)
    assert kept_account.instances() == {"stored": 5}
    assert len(sandboxed.stored()) == 5


def test_after_a_lost_answer_the_marks_stay_and_the_same_command_settles_it(
    kept_account: Site, sandboxed: sandbox.Archive, hand: Hand
) -> None:
    sandboxed.set_faults(["lost-answer@delete"])
    assert (
        "give the same command again"
        in hand("delete", "-c", kept_account.config_file, STUDY, "--yes", code=5).err
    )
    assert kept_account.instances() == {"stored": 1, "deleting": 4}
    sandboxed.set_faults([])
    assert "It was not there" in hand("delete", "-c", kept_account.config_file, STUDY, "--yes").out
    assert kept_account.instances() == {"stored": 1, "deleted": 4}


def test_what_waited_to_be_sent_is_not_sent_any_more(
    site: Site, sandboxed: sandbox.Archive, hand: Hand, files: list[Path]
) -> None:
    sandboxed.set_faults(["forbidden@store"])
    site.configure(sandboxed.url)
    site.run_backfill("--max-duration", "3s")
    sandboxed.set_faults([])
    assert site.instances()["pending"] == 5
    hand("delete", "-c", site.config_file, STUDY, "--yes")
    assert site.run_backfill().code == 0
    assert site.instances() == {"stored": 1, "deleted": 4}

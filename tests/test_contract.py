"""One contract, kept with the sandbox and with a real Orthanc: the client, and a whole backfill."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomsync import dicomweb, samples
from dicomsync.dicomweb import BytesPart
from dicomsync.errors import ArchiveProblem, NotThere
from tests.conftest import AnyArchive, Site, by_uid, same_from_128, small, uid_of
from tests.recording_proxy import RecordingProxy

STUDY, SERIES = samples.uid("s"), samples.uid("s", "1")
ABSENT = samples.uid("not there")


@pytest.fixture
def client(archive: AnyArchive) -> Iterator[dicomweb.Client]:
    """A client that has found out what it talks to."""
    client = dicomweb.Client(dicomweb.Archive(archive.url))
    client.identify()
    yield client
    client.close()


def store(client: dicomweb.Client, *contents: bytes, study: str | None = None) -> dicomweb.StoreAnswer:
    return client.store([BytesPart(content) for content in contents], study)


def stored_by(answer: dicomweb.StoreAnswer) -> set[str]:
    assert answer.response is not None, answer
    return {one.sop_instance_uid for one in answer.response.referenced}


def retrieved(client: dicomweb.Client, sop: str, *, study: str = STUDY, series: str = SERIES) -> bytes:
    with client.instance(study, series, sop) as chunks:
        return b"".join(chunks)


# The client


def test_the_archive_is_recognised(archive: AnyArchive, client: dicomweb.Client) -> None:
    found = client.identify()
    assert found.kind == archive.kind
    assert found.says


def test_an_empty_archive_has_nothing_and_says_so(client: dicomweb.Client) -> None:
    assert client.present(STUDY, {ABSENT: SERIES}) == frozenset()
    with pytest.raises(NotThere):
        retrieved(client, ABSENT)


def test_several_instances_in_one_request_are_stored_as_they_are(
    archive: AnyArchive, client: dicomweb.Client
) -> None:
    contents = [small(str(number), series=str(number % 2)) for number in range(12)]
    answer = store(client, *contents, study=STUDY)
    assert answer.status == 200
    assert answer.complete
    assert stored_by(answer) == {uid_of(one) for one in contents}
    assert same_from_128(archive.stored(), {uid_of(one): one for one in contents})


def test_what_comes_back_is_what_went_in_from_byte_128_on(client: dicomweb.Client) -> None:
    plain = small("1")
    contents = [
        b"vendor's own words".ljust(128, b".") + plain[128:],
        small("2", size=700),
        samples.instance(
            study_uid=STUDY,
            series_uid=SERIES,
            sop_uid=samples.uid("compressed"),
            transfer_syntax="1.2.840.10008.1.2.4.50",
            pixels=b"\xff\xd8 no real image, as nobody looks \xff\xd9",
            rows=8,
            columns=8,
            extra={"PatientID": "DEMO"},
        ),
        samples.instance(
            study_uid=STUDY,
            series_uid=SERIES,
            sop_uid=samples.uid("implicit"),
            transfer_syntax="1.2.840.10008.1.2",
            rows=8,
            columns=8,
            extra={"PatientID": "DEMO"},
        ),
    ]
    assert len(stored_by(store(client, *contents))) == len(contents)
    for content in contents:
        assert retrieved(client, uid_of(content))[128:] == content[128:]


@pytest.mark.parametrize("count", [1, 3, 25])
def test_a_search_finds_just_what_is_there(client: dicomweb.Client, count: int) -> None:
    contents = [small(str(number), series=str(number % 2)) for number in range(count)]
    store(client, *contents)
    series = {uid_of(one): samples.uid("s", str(number % 2)) for number, one in enumerate(contents)}
    assert client.present(STUDY, series | {ABSENT: SERIES}) == set(series)
    other_series = dict.fromkeys(series, samples.uid("another series"))
    assert client.present(STUDY, other_series) == frozenset()
    assert client.present(samples.uid("another study"), series) == frozenset()


def test_a_wrong_address_is_told_from_an_instance_that_is_not_there(
    archive: AnyArchive, client: dicomweb.Client
) -> None:
    store(client, small("1"))
    astray = dicomweb.Client(dicomweb.Archive(f"{archive.url}-astray", kind=client.kind.name))
    try:
        for count in (1, 20):
            wanted = {samples.uid(number): SERIES for number in range(count)}
            assert client.present(STUDY, wanted) == frozenset()
            with pytest.raises(ArchiveProblem):
                astray.present(STUDY, wanted)
        with pytest.raises(ArchiveProblem):
            astray.identify()
        answer = store(astray, small("2"))
        assert answer.status in (404, 405)
        assert answer.response is None
    finally:
        astray.close()


def test_a_duplicate_leaves_what_is_there_as_it_is(archive: AnyArchive, client: dicomweb.Client) -> None:
    first, other = small("1"), small("1", StudyDescription="something else")
    store(client, first)
    for again in (first, other):
        answer = store(client, again)
        assert answer.response is not None
        if client.kind.hides_duplicates:
            assert stored_by(answer) == {uid_of(first)}
        else:
            assert answer.status == 409
            assert [(one.sop_instance_uid, one.reason) for one in answer.response.failed] == [
                (uid_of(first), 45070)
            ]
        assert same_from_128(archive.stored(), {uid_of(first): first})


def test_an_unreadable_part_does_not_take_the_good_ones_with_it(
    archive: AnyArchive, client: dicomweb.Client
) -> None:
    good = [small("1"), small("2")]
    answer = store(client, good[0], b"this is no DICOM file at all" * 20, good[1])
    kept = archive.stored()
    assert same_from_128(kept, {uid: one for one in good if (uid := uid_of(one)) in kept})
    if answer.response is not None:  # what it says it has, it has
        assert stored_by(answer) <= set(kept)
    else:
        assert answer.status == 400
    assert kept, "neither archive throws the good ones away"


# A backfill


def assert_nothing_left(site: Site, archive: AnyArchive, files: list[Path]) -> None:
    contents = by_uid(files)
    assert same_from_128(archive.stored(), contents)
    assert site.instances() == {"stored": len(contents)}


@pytest.mark.parametrize("transfers", [1, 4])
def test_everything_is_stored_and_a_second_run_sends_nothing(
    archive: AnyArchive, site: Site, transfers: int
) -> None:
    files = samples.write_studies(site.folder, studies=3, series=2, instances=10, rows=16, columns=16)
    batch = {"max_instances": 7, "quiet": 10}
    with RecordingProxy(archive.url) as proxy:
        first = site.backfill(proxy.url, upload={"transfers": transfers}, batch=batch)
        assert (first.exit_code, first.stored, first.due) == (0, 60, 0)
        assert_nothing_left(site, archive, files)
        assert len(proxy.stores) == first.requests == 9
        assert [len(one.in_flight) for one in proxy.stores if len(one.in_flight) > 7] == []
        studies = {uid_of(path.read_bytes()): path.parent.parent.name for path in files}
        assert all(len({studies[uid] for uid in one.in_flight}) == 1 for one in proxy.stores), (
            "one study each"
        )
        assert proxy.studies_twice_in_flight(studies) == set()
        assert proxy.twice_in_flight() == set()
        asked = len(proxy.exchanges)
        second = site.backfill(proxy.url)
        assert (second.exit_code, second.stored, second.requests) == (0, 0, 0)
        assert len(proxy.stores) == 9
        assert len(proxy.exchanges) - asked <= 3, "no more than a look whether the archive is there"


def test_requests_keep_to_the_cap_in_bytes_and_a_larger_file_goes_alone(
    archive: AnyArchive, site: Site
) -> None:
    files = [site.write(f"{number:02}.dcm", small(str(number), size=100)) for number in range(9)]
    files.append(site.write("huge.dcm", small("huge", size=1000)))
    size = files[0].stat().st_size
    with RecordingProxy(archive.url) as proxy:
        report = site.backfill(proxy.url, batch={"max_bytes": 3 * size + 500, "quiet": 10})
        assert report.exit_code == 0
        huge = uid_of(files[-1].read_bytes())
        assert [list(one.in_flight) for one in proxy.stores if huge in one.in_flight] == [[huge]]
        others = [one for one in proxy.stores if huge not in one.in_flight]
        assert max(len(one.in_flight) for one in others) == 3
        assert sum(len(one.in_flight) for one in others) == 9
    assert_nothing_left(site, archive, files)


def test_a_fresh_ledger_finds_a_full_archive_and_verifies_it(
    archive: AnyArchive, site: Site, tmp_path: Path
) -> None:
    files = samples.write_studies(site.folder, studies=2, series=2, instances=3, rows=16, columns=16)
    with RecordingProxy(archive.url) as proxy:
        assert site.backfill(proxy.url).exit_code == 0
        stores = len(proxy.stores)
        site.ledger.rename(tmp_path / "lost.db")
        report = site.backfill(proxy.url)
        assert (report.exit_code, report.stored) == (0, 12)
        again = proxy.stores[stores:]
        if archive.kind == "orthanc":
            assert again == [], "it would have hidden what it has: it is asked before"
        assert all(one.status == 409 for one in again), "nothing was taken a second time"
        assert proxy.twice_in_flight() == set()
    assert_nothing_left(site, archive, files)
    assert site.query("SELECT count(*) FROM instances WHERE verified_at IS NOT NULL") == [(12,)]
    assert site.query("SELECT DISTINCT reason FROM instances") == [("already-there",)]


def test_other_content_in_the_archive_is_a_conflict_and_stays_as_it_is(
    archive: AnyArchive, client: dicomweb.Client, site: Site
) -> None:
    theirs = small("1", StudyDescription="what was there first")
    store(client, theirs)
    site.write("1.dcm", small("1", StudyDescription="what this site has now"))
    good = site.write("2.dcm", small("2"))
    report = site.backfill(archive.url)
    assert report.exit_code == 20
    assert site.instances() == {"stored": 1, "conflict": 1}
    assert site.query("SELECT reason FROM instances WHERE state = 'conflict'") == [("differs",)]
    kept = archive.stored()
    assert same_from_128(kept, {uid_of(theirs): theirs} | by_uid([good]))
    again = site.backfill(archive.url)
    assert (again.exit_code, again.requests) == (20, 0)


def test_a_copy_with_an_edited_pixel_is_a_conflict_and_is_never_sent(archive: AnyArchive, site: Site) -> None:
    original = small("1")
    edited = original[:-1] + bytes([original[-1] ^ 1])
    first = site.write("a/1.dcm", original)
    site.write("b/1.dcm", edited)
    report = site.backfill(archive.url)
    assert report.exit_code == 20
    assert site.instances() == {"stored": 1, "conflict": 1}
    # Which of the two it says depends on how far the first file is when the second is compared.
    ((reason,),) = site.query("SELECT reason FROM instances WHERE state = 'conflict'")
    assert reason in ("other-file", "differs")
    assert same_from_128(archive.stored(), by_uid([first]))


def test_a_file_edited_after_it_was_stored_is_a_conflict(archive: AnyArchive, site: Site) -> None:
    original = small("1")
    path = site.write("1.dcm", original)
    assert site.backfill(archive.url).exit_code == 0
    path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    report = site.backfill(archive.url)
    assert (report.exit_code, report.requests) == (20, 0)
    assert site.query("SELECT state, reason FROM instances ORDER BY id") == [
        ("stored", ""),
        ("conflict", "differs"),
    ]
    assert same_from_128(archive.stored(), {uid_of(original): original})


def test_copies_renames_and_links_are_one_instance_and_nothing_is_sent_for_them(
    archive: AnyArchive, site: Site
) -> None:
    path = site.write("1.dcm", small("1"))
    site.write("copy of 1.dcm", small("1"))
    os.link(path, site.folder / "linked.dcm")
    (site.folder / "soft.dcm").symlink_to(path)
    first = site.backfill(archive.url)
    assert (first.exit_code, first.requests, archive.count()) == (0, 1, 1)
    assert site.files() == {"ready": 3}
    (site.folder / "moved").mkdir()
    path.rename(site.folder / "moved" / "renamed.dcm")
    second = site.backfill(archive.url)
    assert (second.exit_code, second.requests, archive.count()) == (0, 0, 1)
    assert site.files() == {"ready": 3, "gone": 1}
    assert site.instances() == {"stored": 1}


def test_what_is_not_a_whole_instance_is_held_or_ignored_and_never_sent(
    archive: AnyArchive, site: Site
) -> None:
    whole = small("whole")
    site.write("empty.dcm", b"")
    site.write("zeros.dcm", bytes(4096))
    site.write("cut in the pixels.dcm", small("cut")[:-100])
    site.write("cut in the header.dcm", small("cut")[:900])
    site.write("cut in the preamble.dcm", small("cut")[:100])
    site.write("more than a file.dcm", small("more") + b"\x01\x02\x03")
    site.write("letter.dcm", b"Dear colleague, " * 100)
    good = site.write("good.dcm", whole)
    with RecordingProxy(archive.url) as proxy:
        report = site.backfill(proxy.url)
        assert set(proxy.given_whole()) == {uid_of(whole)}
    assert report.exit_code == 20
    assert_nothing_left(site, archive, [good])
    states = site.query("SELECT CAST(name AS TEXT), state, reason FROM files")
    unfit = {name: state for name, state, reason in states if name != "good.dcm" and reason}
    assert len(unfit) == 7
    assert set(unfit.values()) <= {"held", "ignored"}
    assert unfit["letter.dcm"] == "ignored"
    assert all(unfit[name] == "held" for name in unfit if name.startswith("cut in the pix"))


def test_a_file_mended_after_it_was_held_is_stored(archive: AnyArchive, site: Site) -> None:
    whole = small("1")
    path = site.write("1.dcm", whole[:-50])
    assert site.backfill(archive.url).exit_code == 20
    assert archive.count() == 0
    path.write_bytes(whole)
    assert site.backfill(archive.url).exit_code == 0
    assert_nothing_left(site, archive, [path])


def test_names_no_one_would_choose_are_stored_all_the_same(archive: AnyArchive, site: Site) -> None:
    names = [
        b"latin-1 \xe9\xe8.dcm",
        "Größe 5 µm.DCM".encode(),
        b"new\nline.dcm",
        b"-n.dcm",
        b"'quote\".dcm",
        b"\x1b[31mred.dcm",
        b"long" * 60 + b".dcm",
    ]
    files = []
    for number, name in enumerate(names):
        path = Path(os.fsdecode(os.path.join(os.fsencode(site.folder), name)))
        path.write_bytes(small(str(number)))
        files.append(path)
    deep = site.folder / "/".join(f"level {number}" for number in range(40)) / "deep.dcm"
    deep.parent.mkdir(parents=True)
    deep.write_bytes(small("deep"))
    assert site.backfill(archive.url).exit_code == 0
    assert_nothing_left(site, archive, [*files, deep])


def test_a_folder_with_nothing_in_it_is_done_at_once(archive: AnyArchive, site: Site) -> None:
    report = site.backfill(archive.url)
    assert (report.exit_code, report.requests, archive.count()) == (0, 0, 0)
    assert site.instances() == site.files() == {}


def test_a_dry_run_sends_and_writes_nothing(archive: AnyArchive, site: Site) -> None:
    samples.write_studies(site.folder, studies=1, series=1, instances=5, rows=16, columns=16)
    before = sorted(site.home.rglob("*"))
    with RecordingProxy(archive.url) as proxy:
        report = site.backfill(proxy.url, dry_run=True)
        assert proxy.exchanges == []
    assert (report.stored, report.due) == (0, 5)
    assert archive.count() == 0
    assert sorted(site.home.rglob("*")) == before, "not even a ledger"


def test_files_still_fresh_go_as_soon_as_they_have_settled(archive: AnyArchive, site: Site) -> None:
    files = samples.write_studies(site.folder, studies=1, series=1, instances=3, rows=16, columns=16)
    report = site.backfill(archive.url, folders={"settle": 0.5}, batch={"quiet": 10})
    assert_nothing_left(site, archive, files)
    assert report.seconds < 5, "a backfill does not wait for a study to become quiet"


def test_copies_of_a_file_that_is_known_do_not_hold_up_their_study(archive: AnyArchive, site: Site) -> None:
    first = site.write("a/1.dcm", small("1"))
    assert site.backfill(archive.url).exit_code == 0
    other = small("2")
    files = [first, site.write("b/2.dcm", other), site.write("c/2.dcm", other)]
    report = site.backfill(archive.url, batch={"quiet": 10})
    assert_nothing_left(site, archive, files)
    assert report.seconds < 5


def test_paths_that_were_given_are_all_that_is_looked_into(archive: AnyArchive, site: Site) -> None:
    files = samples.write_studies(site.folder, studies=2, series=1, instances=3, rows=16, columns=16)
    assert site.backfill(archive.url, paths=[files[0].parent]).exit_code == 0
    assert same_from_128(archive.stored(), by_uid(files[:3]))
    assert site.backfill(archive.url, paths=[files[4]]).exit_code == 0
    assert same_from_128(archive.stored(), by_uid([*files[:3], files[4]]))
    assert site.backfill(archive.url).exit_code == 0
    assert_nothing_left(site, archive, files)

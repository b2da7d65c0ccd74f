"""One contract, kept with the sandbox and with a real Orthanc: the client, and a whole backfill."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest

from dicomsync import dicomweb, samples
from dicomsync.dicomweb import BytesPart
from dicomsync.errors import ArchiveProblem, NotThere, UsageProblem
from tests.conftest import AnyArchive, Site, by_uid, same_from_128, small, uid_of
from tests.orthanc import Orthanc
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


# Retrieve, Search and Delete


def multiframe(frames: int = 3) -> tuple[bytes, list[bytes]]:
    """Build an instance of several frames, each different; give the frames too."""
    pixels = [bytes([number]) * 128 for number in range(1, frames + 1)]
    content = samples.instance(
        study_uid=STUDY,
        series_uid=SERIES,
        sop_uid=samples.uid("multiframe"),
        rows=8,
        columns=8,
        pixels=b"".join(pixels),
        extra={"PatientName": "Demo^Anna", "PatientID": "DEMO", "NumberOfFrames": str(frames)},
    )
    return content, pixels


def all_retrieved(client: dicomweb.Client, *uids: str) -> dict[str, bytes]:
    with client.retrieve(*uids) as parts:
        contents = [b"".join(part.chunks) for part in parts]
    found = {uid_of(content): content for content in contents}
    assert len(found) == len(contents)
    return found


def uids_found(client: dicomweb.Client, level: dicomweb.Level, tag: str, **how: Any) -> list[str | None]:
    return [dicomweb.uid(row, tag) for row in client.search(level, **how)]


def test_a_study_a_series_and_an_instance_come_back_as_they_are(client: dicomweb.Client) -> None:
    contents = [small(str(number), series=str(number % 2), size=40) for number in range(7)]
    store(client, *contents)
    series = samples.uid("s", "0")
    sent = {uid_of(one): one for one in contents}
    in_series = {uid: sent[uid] for uid in (samples.uid("s", "0", str(number)) for number in (0, 2, 4, 6))}
    one = samples.uid("s", "0", "2")
    assert same_from_128(all_retrieved(client, STUDY), sent)
    assert same_from_128(all_retrieved(client, STUDY, series), in_series)
    assert same_from_128(all_retrieved(client, STUDY, series, one), {one: sent[one]})
    for uids in ((ABSENT,), (STUDY, ABSENT), (STUDY, series, ABSENT)):
        with pytest.raises(NotThere):
            all_retrieved(client, *uids)


def test_metadata_is_there_at_each_level(client: dicomweb.Client) -> None:
    store(client, *(small(str(number), series=str(number % 2)) for number in range(7)))
    series = samples.uid("s", "0")
    for uids, count in (
        ((STUDY,), 7),
        ((STUDY, series), 4),
        ((STUDY, series, samples.uid("s", "0", "2")), 1),
    ):
        with client.metadata(*uids) as found:
            etag, rows = found.etag, list(found.datasets)
        assert len(rows) == len({dicomweb.uid(row, "00080018") for row in rows}) == count
        assert {dicomweb.value(row, "00100010") for row in rows} == {"Demo^Anna"}
        if client.kind.name == "dicom-server":
            assert etag
        with client.metadata(*uids, etag=etag) as again:
            assert again.unchanged == bool(etag)
            assert len(list(again.datasets)) == (0 if etag else count)
    with pytest.raises(NotThere), client.metadata(ABSENT):
        pass


def test_every_resource_is_searched_by_whatever_it_is_asked_for(client: dicomweb.Client) -> None:
    for patient in ("one", "two"):
        contents = [
            small(str(n), study=patient, series=str(n % 2), PatientID=patient, StudyDate="20240102")
            for n in range(6)
        ]
        store(client, *contents)
    first, second = samples.uid("one"), samples.uid("two")
    series = samples.uid("one", "0")
    below = {samples.uid("one", "0", str(n)) for n in (0, 2, 4)}
    for name in ("PatientID", "00100020"):
        assert uids_found(client, "studies", "0020000D", matching={name: "two"}) == [second]
    both = {"StudyDate": "20240101-20240131", "PatientName": "Demo^Anna"}
    assert set(uids_found(client, "studies", "0020000D", matching=both)) == {first, second}
    assert uids_found(client, "studies", "0020000D", matching={"StudyDate": "20250101-"}) == []
    assert len(uids_found(client, "series", "0020000E")) == 4
    assert len(uids_found(client, "instances", "00080018")) == 12
    assert len(uids_found(client, "series", "0020000E", study=first)) == 2
    assert len(uids_found(client, "instances", "00080018", study=first)) == 6
    found = uids_found(client, "instances", "00080018", study=first, series=series)
    assert set(found) == below
    assert uids_found(client, "series", "0020000E", study=samples.uid("nobody's")) == []
    (row,) = client.search("studies", matching={"PatientID": "one"}, include=("StudyDescription",))
    assert dicomweb.value(row, "00081030") == "Made-up study"
    (row,) = client.search("studies", matching={"PatientID": "one"}, include=("all",))
    assert dicomweb.value(row, "00100020") == "one"


def test_a_search_is_paged_to_its_end_and_no_further(client: dicomweb.Client) -> None:
    store(client, *(small(str(number)) for number in range(230)))
    found = uids_found(client, "instances", "00080018", study=STUDY)
    assert len(found) == len(set(found)) == 230
    assert len(uids_found(client, "instances", "00080018", study=STUDY, limit=210)) == 210
    assert len(uids_found(client, "instances", "00080018", study=STUDY, offset=225)) == 5
    assert uids_found(client, "instances", "00080018", study=STUDY, offset=500) == []


@pytest.mark.parametrize("as_stored", [True, False])
def test_frames_are_given_by_their_numbers(client: dicomweb.Client, as_stored: bool) -> None:
    content, pixels = multiframe()
    store(client, content)
    sop = uid_of(content)
    for numbers in ([1], [3], [1, 3], [1, 2, 3]):
        with client.frames(STUDY, SERIES, sop, numbers, as_stored=as_stored) as parts:
            frames = [b"".join(part.chunks) for part in parts]
        assert frames == [pixels[number - 1] for number in numbers]
    for numbers in ([4], [1, 4]):
        with pytest.raises(ArchiveProblem) as caught, client.frames(STUDY, SERIES, sop, numbers) as parts:
            [list(part.chunks) for part in parts]
        if client.kind.name != "orthanc":  # 400 there, or less than what was asked for
            assert isinstance(caught.value, NotThere)
    with pytest.raises(NotThere), client.frames(STUDY, SERIES, ABSENT, [1]):
        pass


def test_a_compressed_frame_is_given_as_it_is_stored(client: dicomweb.Client) -> None:
    jpeg = b"\xff\xd8 no real image, as nobody looks\xff\xd9 "
    content = samples.instance(
        study_uid=STUDY,
        series_uid=SERIES,
        sop_uid=samples.uid("compressed"),
        transfer_syntax="1.2.840.10008.1.2.4.50",
        pixels=jpeg,
        rows=8,
        columns=8,
        extra={"PatientID": "DEMO"},
    )
    store(client, content)
    with client.frames(STUDY, SERIES, uid_of(content), [1]) as parts:
        assert [b"".join(part.chunks) for part in parts] == [jpeg]


def test_what_is_deleted_is_gone_and_nothing_else_is(archive: AnyArchive, client: dicomweb.Client) -> None:
    contents = [small(str(number), series=str(number % 2)) for number in range(6)]
    store(client, *contents, small("stays", study="other"))
    series = [samples.uid("s", "0"), samples.uid("s", "1")]
    one = samples.uid("s", "0", "2")

    def left(*uids: str) -> int:
        assert client.delete(*uids).outcome is dicomweb.Outcome.DELETED
        assert client.delete(*uids).outcome is dicomweb.Outcome.ABSENT
        return archive.count()

    assert left(STUDY, series[0], one) == 6
    assert client.present(STUDY, {one: series[0]}) == frozenset()
    with pytest.raises(NotThere):
        retrieved(client, one, series=series[0])
    assert left(STUDY, series[1]) == 3
    assert left(STUDY) == 1
    assert set(archive.stored()) == {samples.uid("other", "1", "stays")}
    assert client.delete(STUDY, series[0], ABSENT).outcome is dicomweb.Outcome.ABSENT
    assert stored_by(store(client, contents[2])) == {one}, "it may be stored again at once"


def test_nothing_is_deleted_in_another_study_or_series(archive: AnyArchive, client: dicomweb.Client) -> None:
    content = small("1")
    store(client, content)
    for uids in ((ABSENT,), (STUDY, ABSENT), (ABSENT, SERIES), (STUDY, ABSENT, uid_of(content))):
        assert client.delete(*uids).outcome is dicomweb.Outcome.ABSENT
    assert archive.count() == 1


def test_a_delete_at_a_wrong_address_is_no_absence(archive: AnyArchive, client: dicomweb.Client) -> None:
    store(client, small("1"))
    astray = dicomweb.Client(dicomweb.Archive(f"{archive.url}-astray", kind=client.kind.name))
    try:
        with pytest.raises(ArchiveProblem):
            astray.delete(ABSENT)
        if client.kind.delete == "dicomweb":
            with pytest.raises(ArchiveProblem):
                astray.delete(STUDY)
    finally:
        astray.close()
    assert archive.count() == 1


def test_one_bare_instance_is_stored_where_that_is_taken(
    archive: AnyArchive, client: dicomweb.Client
) -> None:
    content = small("1")
    if not client.kind.single_part_store:
        with pytest.raises(UsageProblem):
            client.store_single_part(BytesPart(content))
        return
    answer = client.store_single_part(BytesPart(content), STUDY)
    assert (answer.status, stored_by(answer)) == (200, {uid_of(content)})
    assert same_from_128(archive.stored(), {uid_of(content): content})
    assert client.store_single_part(BytesPart(content)).status == 409


def test_an_upsert_replaces_what_is_there(archive: AnyArchive, client: dicomweb.Client) -> None:
    first, other = small("1"), small("1", StudyDescription="something else")
    store(client, first)
    if not client.kind.upsert:
        with pytest.raises(UsageProblem):
            client.upsert([BytesPart(other)])
        return
    answer = client.upsert([BytesPart(other), BytesPart(small("2"))])
    assert stored_by(answer) == {uid_of(first), samples.uid("s", "1", "2")}
    assert archive.stored()[uid_of(first)][128:] == other[128:]


@pytest.mark.orthanc
@pytest.mark.skipif(shutil.which("storescu") is None, reason="needs DCMTK's storescu (apt-get install dcmtk)")
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])
def test_what_we_store_is_what_storescu_stores(
    own_dicom_orthanc: Orthanc, tmp_path: Path, syntax: str
) -> None:
    content = samples.instance(
        study_uid=STUDY,
        series_uid=SERIES,
        sop_uid=samples.uid("both ways"),
        transfer_syntax=syntax,
        extra={"PatientName": "Demo^Bruno", "PatientID": "DEMO"},
    )
    path = tmp_path / "sent.dcm"
    path.write_bytes(content)
    ours = dicomweb.Client(dicomweb.Archive(own_dicom_orthanc.url, kind="orthanc"))
    assert stored_by(store(ours, content)) == {uid_of(content)}
    by_us = own_dicom_orthanc.file(uid_of(content))
    assert by_us[128:] == retrieved(ours, uid_of(content))[128:] == content[128:]
    assert ours.delete(STUDY).outcome is dicomweb.Outcome.DELETED
    ours.close()
    propose = "-xi" if syntax == "1.2.840.10008.1.2" else "-xe"
    command = ["storescu", propose, "127.0.0.1", str(own_dicom_orthanc.dicom_port), str(path)]
    subprocess.run(command, check=True, timeout=60)
    by_storescu = own_dicom_orthanc.file(uid_of(content))
    left, right = (pydicom.dcmread(BytesIO(one)) for one in (by_us, by_storescu))
    assert left == right
    assert left.file_meta.TransferSyntaxUID == right.file_meta.TransferSyntaxUID == syntax


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
        assert proxy.studies_not_begun_alone(studies) == set()
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

"""The archive is away, busy, slow, confused or wrong: what can be stored is stored, nothing is lost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dicomsync import pacing, samples, sandbox
from tests import orthanc as orthancs
from tests.conftest import Site, by_uid, eventually, finished, same_from_128, small, uid_of
from tests.recording_proxy import RecordingProxy

COUNT, STUDIES = 24, 2
PART_BYTES = 131_072 + 2_000  # about what one file is


def ct_files(site: Site) -> list[Path]:
    return samples.write_ct_files(site.folder, count=COUNT, studies=STUDIES, size=256)


def fresh_samples(site: Site, instances: int = 6) -> tuple[list[Path], dict[str, tuple[str, str]]]:
    """Write two small studies; give their files, and their instances with study and series."""
    files = samples.write_studies(
        site.folder, studies=2, series=1, instances=instances, rows=16, columns=16, seed=7
    )
    named = {
        samples.uid(7, study, 0, place): (samples.uid(7, study), samples.uid(7, study, 0))
        for study in range(2)
        for place in range(instances)
    }
    assert set(named) == set(by_uid(files))
    return files, named


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the long retries of this process be short: they are real time here."""
    monkeypatch.setattr(pacing, "BACKOFF_FIRST_SECONDS", 0.05)


# The archive goes and comes back


def noticed(site: Site) -> bool:
    """Say whether a request has ended without an answer."""
    return bool(site.query("SELECT 1 FROM batches WHERE answered_at IS NOT NULL AND status IS NULL"))


@pytest.mark.orthanc
def test_an_archive_that_is_gone_for_a_while_gets_everything(
    own_orthanc: orthancs.Orthanc, site: Site
) -> None:
    files = ct_files(site)
    site.configure(own_orthanc.url, batch={"max_instances": 1}, upload={"transfers": 2})
    process = site.start_backfill()
    eventually(lambda: own_orthanc.count() >= 3)
    own_orthanc.kill()
    eventually(lambda: noticed(site))
    assert process.poll() is None, "it waits"
    own_orthanc.start()
    done = finished(process)
    assert done.code == 0, done
    assert same_from_128(own_orthanc.stored(), by_uid(files))
    assert site.instances() == {"stored": COUNT}


@pytest.mark.orthanc
def test_an_archive_that_is_restarted_in_good_order_behind_a_proxy_gets_everything(
    own_orthanc: orthancs.Orthanc, site: Site
) -> None:
    files = ct_files(site)
    with RecordingProxy(own_orthanc.url) as proxy:
        proxy.bytes_per_second = 200_000
        site.configure(proxy.url, batch={"max_instances": 1}, upload={"transfers": 2})
        process = site.start_backfill()
        eventually(lambda: own_orthanc.count() >= 3)
        own_orthanc.stop()
        eventually(lambda: noticed(site))
        proxy.bytes_per_second = None
        own_orthanc.start()
        done = finished(process)
        assert done.code == 0, done
        assert proxy.twice_in_flight() == set()
    assert same_from_128(own_orthanc.stored(), by_uid(files))
    assert site.instances() == {"stored": COUNT}


@pytest.mark.orthanc
def test_an_archive_that_dies_with_half_a_request_gets_everything_once(
    own_orthanc: orthancs.Orthanc, site: Site
) -> None:
    files = ct_files(site)
    with RecordingProxy(own_orthanc.url) as proxy:
        site.configure(proxy.url, batch={"max_instances": 6}, upload={"transfers": 2})
        proxy.hold(8 * PART_BYTES)
        process = site.start_backfill()
        assert proxy.held.wait(20)
        own_orthanc.kill()
        proxy.release()
        eventually(lambda: [one for one in proxy.stores if one.cut == "archive"])
        own_orthanc.start()
        done = finished(process)
        assert done.code == 0, done
        assert proxy.twice_in_flight() == set()
    assert same_from_128(own_orthanc.stored(), by_uid(files))
    assert site.instances() == {"stored": COUNT}


def test_an_archive_that_is_not_there_is_told_within_half_a_minute_and_nothing_is_lost(
    site: Site, tmp_path: Path
) -> None:
    files = ct_files(site)
    port = orthancs.free_port()
    site.configure(f"http://127.0.0.1:{port}/v2")
    began = time.monotonic()
    done = site.run_backfill(within=30)
    assert time.monotonic() - began < 30
    assert done.code == 5, done
    assert "the archive could not be reached" in done.out
    assert "no connection" in done.out
    assert f"{COUNT} files still due; nothing is lost" in done.out
    assert "Traceback" not in done.err
    assert site.instances() == {"pending": COUNT}
    with sandbox.running(tmp_path / "archive", port=port) as archive:
        assert site.run_backfill().code == 0
        assert set(archive.stored()) == set(by_uid(files))
    assert site.instances() == {"stored": COUNT}


def test_an_archive_that_goes_for_good_is_waited_for_as_long_as_one_has_patience(
    site: Site, tmp_path: Path
) -> None:
    ct_files(site)
    with sandbox.running(tmp_path / "archive", ["latency=0.1@store"]) as archive:
        site.configure(archive.url, batch={"max_instances": 1}, upload={"transfers": 1})
        process = site.start_backfill("--patience", "2s")
        eventually(lambda: len(archive.stored()) >= 3)
    gone = time.monotonic()
    done = finished(process, within=30)
    assert 1.5 < time.monotonic() - gone < 15
    assert done.code == 5, done
    assert "--patience" in done.out
    assert "no connection" in done.out
    counts = site.instances()
    assert sum(counts.values()) == COUNT
    assert set(counts) <= {"stored", "pending", "unconfirmed"}
    due = COUNT - counts["stored"]
    assert f"{due} files still due" in done.out


def test_when_its_time_is_up_it_stops_in_good_order_and_says_what_is_left(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    files = ct_files(site)
    with RecordingProxy(sandboxed.url) as proxy:
        proxy.bytes_per_second = 500_000
        site.configure(proxy.url, batch={"max_instances": 1}, upload={"transfers": 2})
        began = time.monotonic()
        done = site.run_backfill("--max-duration", "1s", within=20)
        assert time.monotonic() - began < 20
        assert done.code == 5, done
        assert "--max-duration" in done.out
        stored = len(sandboxed.stored())
        assert 0 < stored < COUNT
        assert site.instances() == {"stored": stored, "pending": COUNT - stored}
        assert f"{COUNT - stored} files still due" in done.out
        assert not [one for one in proxy.stores if one.cut], "what was on its way was finished"
        proxy.bytes_per_second = None
        assert site.run_backfill().code == 0
        assert set(proxy.given_whole().values()) == {1}
    assert set(sandboxed.stored()) == set(by_uid(files))


def test_when_its_time_is_up_before_the_folder_was_read_it_does_not_say_that_all_is_stored(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    fresh_samples(site)
    site.configure(sandboxed.url)
    done = site.run_backfill("--max-duration", "0s")
    assert "--max-duration" in done.out
    assert sandboxed.stored() == {}
    assert done.code == 5, done
    assert site.run_backfill().code == 0
    assert site.instances() == {"stored": 12}


# The archive is there and lets nobody in


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("unauthorized", "it does not accept the credential"),
        ("forbidden", "this account may not store there"),
        ("not-found", "the URL is not a DICOMweb store address"),
        ("status=503@any", "status 503"),
        ("html-200@any", "its answer is not DICOMweb"),
        ("down", "the connection broke"),
    ],
)
def test_an_archive_that_refuses_everybody_is_told_in_words_and_nothing_is_rejected(
    fault: str, words: str, site: Site, sandboxed: sandbox.Archive
) -> None:
    fresh_samples(site)
    sandboxed.set_faults([fault])
    site.configure(sandboxed.url)
    done = site.run_backfill(within=30)
    assert done.code == 5, done
    assert words in done.out
    assert "12 files still due; nothing is lost" in done.out
    assert site.instances() == {"pending": 12}
    assert [one for one in sandboxed.requests if one.method == "POST"] == []
    sandboxed.set_faults([])
    assert site.run_backfill().code == 0
    assert site.instances() == {"stored": 12}


@pytest.mark.orthanc
def test_a_base_url_beside_the_right_one_is_told_in_words(site: Site, orthanc: orthancs.Orthanc) -> None:
    fresh_samples(site)
    site.configure(orthanc.url.removesuffix("/dicom-web"))
    done = site.run_backfill(within=30)
    assert done.code == 5, done
    assert "DICOMweb root" in done.out
    assert site.instances() == {"pending": 12}
    assert orthanc.count() == 0


def test_a_credential_that_cannot_be_read_is_told_and_nothing_is_sent(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    fresh_samples(site)
    token = site.home / "token"
    site.configure(sandboxed.url, archive={"auth": "bearer", "token_from": str(token)})
    sandboxed.set_faults(["token=good"])
    done = site.run_backfill(within=30)
    assert done.code == 5, done
    assert "credential" in done.out
    assert sandboxed.requests == []
    token.write_text("bad\n")
    assert site.run_backfill(within=30).code == 5
    token.write_text("good\n")
    assert site.run_backfill().code == 0
    assert site.instances() == {"stored": 12}


def test_a_credential_that_expires_in_the_middle_is_waited_for_and_costs_no_attempt(
    quick: None, site: Site, sandboxed: sandbox.Archive
) -> None:
    files, _ = fresh_samples(site)
    sandboxed.set_faults(["unauthorized@store:2-6", "unauthorized@search:3-4"])
    report = site.backfill(sandboxed.url, batch={"max_instances": 2}, upload={"transfers": 1})
    assert report.exit_code == 0
    assert set(sandboxed.stored()) == set(by_uid(files))
    assert site.query("SELECT max(attempts) FROM instances") == [(0,)]


# The archive misbehaves for a while


AMBIGUOUS = (
    "status=503@1-2",
    "status=503;retry-after=1@1",
    "status=500@1",
    "status=502@every:3",
    "lost-answer@1-2",
    "lost-answer@every:2",
    "reset-after=1000@1",
    "reset-after=3000@every:3",
    "silent=3",
    "silent=1@1-2",
    "stall=1@1",
    "empty-200@1",
    "html-200@1",
    "early-200@1",
    "foreign@1",
    "truncated-json@1",
)
PLAIN_NO = (
    "status=429;retry-after=1@1",
    "status=429@1-2",
    "reason=A700H@1-2",
    "reason=272@1",
    "reason=0@1",
    "reason=45071@1",
)
ELSEWHERE = (
    "latency=0.05",
    "status=503@search:1",
    "lost-answer@search:2",
    "down@3-6",
)


@pytest.mark.parametrize("fault", [*AMBIGUOUS, *PLAIN_NO, *ELSEWHERE])
def test_after_a_while_of_misbehaviour_everything_is_there_once(
    fault: str, quick: None, site: Site, sandboxed: sandbox.Archive
) -> None:
    files, instances = fresh_samples(site)
    sandboxed.set_faults([fault])
    with RecordingProxy(sandboxed.url) as proxy:
        report = site.backfill(
            proxy.url,
            archive={"answer_timeout": 0.5, "confirm_wait": 0.1},
            batch={"max_instances": 4},
            upload={"transfers": 2},
        )
        assert (report.exit_code, report.due) == (0, 0)
        assert proxy.twice_in_flight() == set()
        if fault not in PLAIN_NO:
            assert proxy.sent_again_unasked(instances, looks=2) == set()
    kept = {uid: one.path.read_bytes() for uid, one in sandboxed.stored().items()}
    assert same_from_128(kept, by_uid(files))
    assert site.instances() == {"stored": 12}
    assert site.query("SELECT count(*) FROM instances WHERE detail LIKE '%B00E%'") == [(0,)], "no duplicates"


def test_retry_after_is_obeyed(quick: None, site: Site, sandboxed: sandbox.Archive) -> None:
    site.write("1.dcm", small("1"))
    sandboxed.set_faults(["status=429;retry-after=2@1"])
    assert site.backfill(sandboxed.url).exit_code == 0
    refused, taken = (one for one in sandboxed.requests if one.method == "POST")
    assert refused.finished is not None
    others = [one for one in sandboxed.requests if one.started > refused.finished]
    assert min(one.started for one in others) - refused.finished >= 1.9, "not even a question before that"
    assert taken.status == 200


# The archive refuses some


def test_a_batch_refused_for_one_instance_is_bisected_until_that_one_is_alone(
    quick: None, site: Site, sandboxed: sandbox.Archive
) -> None:
    files, instances = fresh_samples(site, instances=8)
    poison = uid_of(files[5].read_bytes())
    sandboxed.set_faults(["refuse-batch", f"poison-uid={poison}"])
    with RecordingProxy(sandboxed.url) as proxy:
        report = site.backfill(proxy.url, archive={"confirm_wait": 0.05})
        assert report.exit_code == 20
        assert proxy.twice_in_flight() == set()
        assert proxy.sent_again_unasked(instances, looks=2) == set()
        assert len(proxy.stores) <= 12
        again = site.backfill(proxy.url)
        assert (again.exit_code, again.requests) == (20, 0)
    assert set(sandboxed.stored()) == set(by_uid(files)) - {poison}
    assert site.instances() == {"stored": 15, "rejected": 1}
    assert site.query("SELECT sop_instance_uid FROM instances WHERE state = 'rejected'") == [(poison,)]


def test_an_instance_the_archive_breaks_down_on_does_not_hold_up_the_others(
    quick: None, site: Site, sandboxed: sandbox.Archive
) -> None:
    files, instances = fresh_samples(site, instances=8)
    poison = uid_of(files[5].read_bytes())
    sandboxed.set_faults(["refuse-batch=500", f"poison-uid={poison}"])
    with RecordingProxy(sandboxed.url) as proxy:
        site.backfill(proxy.url, archive={"confirm_wait": 0.02}, patience=4)
        assert proxy.twice_in_flight() == set()
        assert proxy.sent_again_unasked(instances, looks=2) == set()
    assert set(sandboxed.stored()) == set(by_uid(files)) - {poison}
    assert site.instances()["stored"] == 15


def test_an_instance_refused_for_good_is_rejected_with_its_reason_and_the_others_are_stored(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    files, _ = fresh_samples(site)
    bad = uid_of(files[2].read_bytes())
    sandboxed.set_faults([f"refuse-uid={bad}"])
    report = site.backfill(sandboxed.url)
    assert report.exit_code == 20
    assert set(sandboxed.stored()) == set(by_uid(files)) - {bad}
    assert site.query("SELECT sop_instance_uid, reason FROM instances WHERE state = 'rejected'") == [
        (bad, "failure-A900")
    ]


def test_an_unclear_failure_without_end_is_left_to_a_person_after_some_tries_alone(
    quick: None, site: Site, sandboxed: sandbox.Archive
) -> None:
    site.write("1.dcm", small("1"))
    site.write("2.dcm", small("2"))
    sandboxed.set_faults(["reason=272"])
    with RecordingProxy(sandboxed.url) as proxy:
        report = site.backfill(proxy.url)
        assert report.exit_code == 20
        assert site.instances() == {"rejected": 2}
        assert site.query("SELECT DISTINCT reason FROM instances") == [("failure-0110",)]
        assert [len(one.in_flight) for one in proxy.stores[-4:]] == [1, 1, 1, 1]
        assert len(proxy.stores) <= 10


def test_too_large_a_request_is_halved_and_the_limit_is_remembered(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    files = ct_files(site)
    limit = 4 * PART_BYTES
    sandboxed.set_faults([f"too-large={limit}"])
    with RecordingProxy(sandboxed.url) as proxy:
        report = site.backfill(proxy.url)
        assert report.exit_code == 0
        assert set(sandboxed.stored()) == set(by_uid(files))
        assert 1 <= len([one for one in proxy.stores if one.status == 413]) <= 8
        files += [site.write(f"more/{number}.dcm", small(str(number), size=256)) for number in range(8)]
        before = len(proxy.stores)
        assert site.backfill(proxy.url).exit_code == 0
        assert [one.status for one in proxy.stores[before:]] == [200] * (len(proxy.stores) - before)
    assert set(sandboxed.stored()) == set(by_uid(files))


def test_a_file_too_large_by_itself_is_rejected_and_the_others_are_stored(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    files, _ = fresh_samples(site)
    site.write("large.dcm", small("0", size=300))
    sandboxed.set_faults(["too-large=150000"])
    report = site.backfill(sandboxed.url)
    assert report.exit_code == 20
    assert set(sandboxed.stored()) == set(by_uid(files))
    assert site.query("SELECT reason FROM instances WHERE state = 'rejected'") == [("too-large",)]


def test_a_file_too_large_in_the_same_study_takes_no_other_with_it(
    site: Site, sandboxed: sandbox.Archive
) -> None:
    others = [site.write(f"{number}.dcm", small(str(number))) for number in range(7)]
    site.write("large.dcm", small("large", size=300))
    sandboxed.set_faults(["too-large=150000"])
    assert site.backfill(sandboxed.url).exit_code == 20
    assert set(sandboxed.stored()) == set(by_uid(others))
    assert site.instances() == {"stored": 7, "rejected": 1}


def test_an_archive_that_hides_duplicates_is_not_believed(site: Site, sandboxed: sandbox.Archive) -> None:
    theirs = small("1", StudyDescription="what was there first")
    other = Site(site.home / "other")
    other.home.mkdir()
    other.write("1.dcm", theirs)
    other.write("2.dcm", small("2"))
    assert other.backfill(sandboxed.url).exit_code == 0
    sandboxed.set_faults(["hide-duplicates"])
    site.write("1.dcm", small("1", StudyDescription="what this site has"))
    site.write("2.dcm", small("2"))
    site.write("3.dcm", small("3"))
    report = site.backfill(sandboxed.url, archive={"kind": "generic"})
    assert report.exit_code == 20
    assert site.instances() == {"stored": 2, "conflict": 1}
    assert sandboxed.stored()[uid_of(theirs)].path.read_bytes() == theirs
    assert site.query("SELECT reason FROM instances WHERE verified_at IS NOT NULL") == [("already-there",)]
